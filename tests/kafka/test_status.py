"""`tidegate status` against a real group: with a worker, and after it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
from confluent_kafka import Producer
from worker_runs import Sources, Stage

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]
LATELY = "segments: [{id: lately, when: {event: A, within: 5s}}]"


def status(stage: Stage, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from streams.cli import main; main()", "status", *arguments],
        cwd=runs.ROOT,
        env=stage.environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_tells_who_owns_what_and_when_they_are_gone_what_waits(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    segments = tmp_path / "s.yaml"
    segments.write_text(LATELY)
    stage = make_stage(segments, clock="wall", session="2s")
    assert "no worker runs in the group" in status(stage)
    worker = stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions")
    sources = Sources(stage.settings)
    for number in range(50):
        event = {"type": "track", "event": "A", "userId": f"c{number}", "timestamp": time.time_ns() // 1_000_000}
        sources.send(event)
    sources.flush()
    wait_until(stage.through, 60, "all events taken")
    found = json.loads(status(stage, "--json"))
    assert found["problems"] == []
    (seen,) = found["workers"]
    assert (seen["name"], seen["partitions"], seen["metrics"]["contacts"]) == (worker.address(), [0, 1, 2, 3], 50)
    assert {each["revision"] for each in found["partitions"]} == {1}
    assert sum(found["lag"].values()) == 0
    assert any(each["due"] is not None for each in found["partitions"])
    assert "all is well" in status(stage)
    worker.kill()
    stuffing = Producer({"bootstrap.servers": stage.settings.broker})
    stuffing.produce(stage.settings.topic("state"), b"nonsense", b"\xffmeta", partition=2)
    stuffing.produce(stage.settings.topic("rejected"), b"x", headers=[("reason", b"not_json")])
    assert stuffing.flush(10) == 0
    for number in range(7):
        sources.send({"type": "track", "event": "A", "userId": f"c{number}"})
    sources.flush()
    said = wait_until(lambda: _without_worker(stage), 30, "a group that has noticed")
    assert "records wait" in said
    assert f"{stage.settings.topic('state')}, partition 2, offset" in said
    assert "1 records were rejected since" in said
    assert "(not_json 1)" in said


def _without_worker(stage: Stage) -> str | None:
    said = status(stage)
    return said if "no worker runs" in said else None
