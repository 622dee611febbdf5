"""Files of the past into a real broker: killed and gone on with, nothing is lost, repeats are known, nobody is messaged."""

from __future__ import annotations

import collections
import gzip
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

from schemas.topics import SOURCES, partition_of

pytestmark = pytest.mark.kafka

WaitUntil = Callable[[Callable[[], Any], float, str], Any]
MAPPING = runs.ROOT / "deploy" / "imports" / "baskets.yaml"
BASKETS = runs.ROOT / "tests" / "data" / "complete_journey_baskets.csv.gz"
ROWS = 60_000
# what doesn't depend on the instant at which the import is made
SEGMENTS = """
segments:
  - {id: first-orders, when: {event: Order Completed, count: {between: [1, 3]}}}
  - {id: spenders, when: {event: Order Completed, sum: {of: total, gte: 300}}}
  - {id: saver, when: {event: Order Completed, where: {coupon_disc: {gt: 0}}, count: {gte: 2}}}
  - {id: early, when: {event: Order Completed, first_at: {before: 2017-01-15}}}
"""


def _publish(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `tidegate publish` to its end."""
    return subprocess.run(
        [sys.executable, "-c", runs.MAIN, "publish", *arguments],
        cwd=runs.ROOT,
        env={"PATH": os.environ["PATH"]} | stage.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _lines(data: bytes, count: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[: count + 1])


def _records(stage: Stage) -> list[runs.Committed]:
    return [record for topic in SOURCES for record in runs.committed(stage.settings, topic.name)]


def _place(path: Path) -> dict[str, Any]:
    place = Path(f"{path}.baskets.import")
    found: dict[str, Any] = json.loads(place.read_bytes()) if place.exists() else {"offset": 0, "done": False}
    return found


def _answers(stage: Stage, name: str, wait_until: WaitUntil) -> tuple[Any, Any]:
    """What a worker says of all that was published: transitions by contact without their instants, members."""
    stage.worker(name)
    wait_until(stage.through, 90, "all events taken")
    told = {
        contact: sorted((segment, seq, change, cause) for segment, _, change, seq, _, cause in rows)
        for contact, rows in runs.transitions(stage.settings).items()
    }
    assert not runs.committed(stage.settings, "rejected")
    return told, runs.members(stage.settings)


def test_an_import_killed_twice_loses_nothing_and_says_what_an_unbroken_one_says(
    broker: str, prefix: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Repeats have the messageId that they had, so that a worker tells them."""
    segments, path = tmp_path / "segments.yaml", tmp_path / "baskets.csv"
    segments.write_text(SEGMENTS)
    path.write_bytes(_lines(gzip.decompress(BASKETS.read_bytes()), ROWS))
    whole = Stage(broker, prefix + "whole.", tmp_path, segments, clock="wall")
    broken = Stage(broker, prefix + "broken.", tmp_path, segments, clock="wall")
    try:
        command = ("tidegate", "publish", str(path), "--map", str(MAPPING))
        publisher = WorkerProcess("publisher", broken.environment, tmp_path)
        reached = 0
        for kill in range(2):
            # a second a block of the five that the file has, so that the end is seconds behind the second place that is noted
            publisher.start((*command, "--rate", "12000", *["--resume"] * (kill > 0)))
            wait_until(lambda: _place(path)["offset"] > reached, 30, "Kafka to have more of the file")  # noqa: B023
            publisher.kill()
            reached = _place(path)["offset"]
            assert not _place(path)["done"], "killed in its middle"
        refused = _publish(broken, str(path), "--map", str(MAPPING))
        assert (refused.returncode, "--resume goes on there" in refused.stderr) == (2, True)
        done = _publish(broken, str(path), "--map", str(MAPPING), "--resume")
        assert done.returncode == 0, done.stderr
        assert f"{ROWS:,} events published" in done.stderr
        again = _publish(broken, str(path), "--map", str(MAPPING), "--resume")
        assert (again.returncode, "nothing to do" in again.stderr) == (0, True)

        records = _records(broken)
        values = collections.defaultdict(set)
        for record in records:
            values[record.json()["messageId"]].add(record.value)
            assert record.partition == partition_of(record.key or b"", broken.settings.partitions)
        assert len(values) == ROWS
        assert all(len(each) == 1 for each in values.values())
        assert len(records) > ROWS, "some were under way when it was killed"
        print(f"{len(records) - ROWS} rows of {ROWS} were published twice")

        path.with_name("baskets.csv.baskets.import").unlink()
        assert _publish(whole, str(path), "--map", str(MAPPING)).returncode == 0
        assert len(_records(whole)) == ROWS
        assert _answers(broken, "b", wait_until) == _answers(whole, "w", wait_until)
    finally:
        whole.close()
        broken.close()


def test_an_import_whose_broker_goes_away_says_so_and_goes_on_when_it_is_back(
    services_module: Any, prefix: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Nothing is lost, and bad rows are written down once."""
    path, bad = tmp_path / "baskets.csv", tmp_path / "bad.csv"
    lines = _lines(gzip.decompress(BASKETS.read_bytes()), ROWS).splitlines(keepends=True)
    lines[5::10_000] = [b"no,row\n"] * len(lines[5::10_000])
    path.write_bytes(b"".join(lines))
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        segments = tmp_path / "segments.yaml"
        segments.write_text(SEGMENTS)
        stage = Stage(kafka.address, prefix, tmp_path, segments, clock="wall")
        arguments = (str(path), "--map", str(MAPPING), "--bad", str(bad))
        publisher = WorkerProcess("publisher", stage.environment, tmp_path)
        publisher.start(("tidegate", "publish", *arguments, "--rate", "8000"))
        wait_until(lambda: _place(path)["offset"], 30, "Kafka to have some of the file")
        kafka.kill()
        assert publisher.wait(60) == 1
        assert "Traceback" not in publisher.text()
        assert "failed after" in publisher.text() and "--resume" in publisher.text()
        kafka.start()
        done = _publish(stage, *arguments, "--resume")
        assert (done.returncode, "6 bad rows" in done.stderr) == (1, True), done.stderr
        assert len({record.json()["messageId"] for record in _records(stage)}) == ROWS - 6
        assert bad.read_bytes() == lines[0] + b"no,row\n" * 6


ACTIONS = """
segments:
  - {id: customers, when: {event: Order Completed}}
  - {id: on-pro, when: {trait: plan, eq: pro}}
rules:
  - {id: by-default, on: {segment: customers}, channel: webhook, target: 'http://127.0.0.1:1/', secret: A}
  - id: history-too
    on: {segment: customers, causes: [event, timer, import]}
    channel: webhook
    target: 'http://127.0.0.1:1/'
    secret: A
sequences:
  - id: welcome
    on: {segment: customers}
    steps: [{send: {channel: webhook, target: 'http://127.0.0.1:1/', secret: A}}]
  - id: welcome-all
    on: {segment: customers, causes: [event, import]}
    steps: [{send: {channel: webhook, target: 'http://127.0.0.1:1/', secret: A}}]
"""


def test_history_fires_no_rule_and_no_sequence_that_does_not_ask_for_it(
    broker: str, prefix: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """By a mapping or as events of our own; marked live, or not at all, they do. Who asks says so in `causes`."""
    definitions, mapping = tmp_path / "actions.yaml", tmp_path / "orders.yaml"
    definitions.write_text(ACTIONS)
    mapping.write_text(
        "id: orders\ntype: track\nevent: Order Completed\nuserId: who\ntimestamp: {column: at, zone: UTC}\n"
    )
    (tmp_path / "past.csv").write_text("who,at\npast,2017-03-01 10:00\npast,2017-04-01 10:00\n")
    (tmp_path / "live.csv").write_text("who,at\nlive,2017-03-01 10:00\n")
    event = {"type": "track", "event": "Order Completed", "timestamp": "2017-03-01T10:00:00Z"}
    traits = {"context": {"traits": {"plan": "pro"}}}
    (tmp_path / "own.jsonl").write_text(json.dumps(event | {"userId": "own"} | traits) + "\n")
    (tmp_path / "plain.jsonl").write_text(json.dumps(event | {"userId": "plain"}) + "\n")
    stage = Stage(broker, prefix, tmp_path, definitions, clock="wall", grace="10ms", slack="10ms")
    try:
        stage.worker("a")
        wait_until(stage.workers["a"].ready, 60, "a worker that owns partitions")
        for arguments in (
            ("past.csv", "--map", str(mapping)),
            ("live.csv", "--map", str(mapping), "--live"),
            ("own.jsonl", "--import"),
            ("plain.jsonl",),
        ):
            done = _publish(stage, str(tmp_path / arguments[0]), *arguments[1:])
            assert done.returncode == 0, done.stderr
        wait_until(stage.through, 60, "all events taken")
        told = {
            contact: {(row[0], row[5]) for row in rows} for contact, rows in runs.transitions(stage.settings).items()
        }
        assert told == {
            "past": {("customers", "import")},
            "own": {("customers", "import"), ("on-pro", "import")},
            "live": {("customers", "event")},
            "plain": {("customers", "event")},
        }
        sent = collections.defaultdict(set)
        for record in runs.committed(stage.settings, "deliveries"):
            sent[record.json()["contact"]].add(record.json()["rule"])
        everything = {"by-default", "history-too", "welcome", "welcome-all"}
        asked = {"history-too", "welcome-all"}
        assert sent == {"past": asked, "own": asked, "live": everything, "plain": everything}
        why = {
            (found["contact"], found["rule"], found["code"])
            for found in (record.json() for record in runs.committed(stage.settings, "outcomes"))
        }
        assert why == {(who, rule, "cause") for who in ("past", "own") for rule in everything - asked}
    finally:
        stage.close()
