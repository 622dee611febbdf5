"""`tidegate lists import` into a real broker and through a worker: killed, gone on with, taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
from worker_runs import Stage, WorkerProcess

pytestmark = pytest.mark.kafka

WaitUntil = Callable[[Callable[[], Any], float, str], Any]
ROWS = 20_000
DEFINITIONS = """
segments:
  - {id: visitors, when: {listed: Trade fair/2026}}
rules:
  - {id: usual, on: {segment: visitors}, channel: webhook, target: 'http://127.0.0.1:1/', secret: A}
  - id: lists-too
    on: {segment: visitors, causes: [event, timer, manual]}
    channel: webhook
    target: 'http://127.0.0.1:1/'
    secret: A
"""


def _import(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", runs.MAIN, "lists", "import", "Trade fair/2026", *arguments],
        cwd=runs.ROOT,
        env={"PATH": os.environ["PATH"]} | stage.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_import_that_was_killed_is_gone_on_with_and_the_list_is_whole_and_can_be_taken_back(
    broker: str, prefix: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Half a list is said by whoever runs the command again; only rules that ask for it act on what somebody does."""
    definitions, path = tmp_path / "lists.yaml", tmp_path / "visitors.csv"
    definitions.write_text(DEFINITIONS)
    people = [f"c-{n}" for n in range(ROWS)]
    path.write_text(
        "id,city\n" + "".join(f"{contact},{'x' * 200}\n" for contact in people[:-1]) + ",\n" + people[-1] + ",\n"
    )
    stage = Stage(broker, prefix, tmp_path, definitions, clock="wall", grace="10ms", slack="10ms")
    try:
        command = ("tidegate", "lists", "import", "Trade fair/2026", str(path), "--column", "id")
        importer = WorkerProcess("importer", stage.environment, tmp_path)
        importer.start((*command, "--rate", "8000"))
        wait_until(lambda: _reached(path), 30, "Kafka to have some of the file")
        importer.kill()
        refused = _import(stage, str(path), "--column", "id")
        assert (refused.returncode, "--resume goes on there" in refused.stderr) == (2, True), refused.stderr
        done = _import(stage, str(path), "--column", "id", "--resume")
        assert (done.returncode, f"{ROWS:,} events published" in done.stderr) == (1, True), done.stderr
        assert f"{path}:{ROWS + 1}: " in done.stderr, "the row without an id"

        stage.worker("a")
        wait_until(stage.through, 60, "all events taken")
        assert {contact: row for contact, (row,) in _told(stage).items()} == dict.fromkeys(
            people, ("visitors", "entered", "manual")
        )
        rules = {record.json()["rule"] for record in runs.committed(stage.settings, "deliveries")}
        assert rules == {"lists-too"}

        path.write_text("id\nc-0\nc-1\n")
        for arguments in (["--remove"], []):
            assert _import(stage, str(path), "--column", "id", *arguments).returncode == 0
        wait_until(stage.through, 60, "all events taken")
        told = _told(stage)
        assert [len(told[contact]) for contact in people[:3]] == [3, 3, 1], "entered, left, entered again"
    finally:
        stage.close()


def _told(stage: Stage) -> dict[str, list[tuple[str, str, str]]]:
    """Segment, transition and cause of what was told of each contact."""
    found = runs.transitions(stage.settings)
    return {contact: [(row[0], row[2], row[5]) for row in rows] for contact, rows in found.items()}


def _reached(path: Path) -> int:
    """Up to which byte of the file Kafka is known to have it."""
    for place in path.parent.glob(f"{path.name}.list.*.added.import"):
        return int(json.loads(place.read_bytes())["offset"])
    return 0
