"""Workers whose code raises, and state that can't be read, on a real broker: the rest flows, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
from confluent_kafka import Producer
from worker_runs import Sources, Stage, WorkerProcess

from schemas.topics import partition_of
from streams.checkpoint import META_KEY

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]

SEGMENTS = "segments: [{id: a, when: {event: A}}]"
# a worker that raises on some events under some revisions, when the step is done and the state is changed
RAISING = """
import dataclasses
from streams import plans
from streams.cli import main

class Raising:
    def __init__(self, program):
        self._program = program

    def __getattr__(self, name):
        return getattr(self._program, name)

    def follow(self, previous):
        self._program.follow(bare(previous))

    def apply(self, state, event, arrived_ms, received_ms):
        step = self._program.apply(state, event, arrived_ms, received_ms)
        if event.properties.get("poison") and self._program.revision == {revision}:
            raise ZeroDivisionError("by design")
        return step

def bare(program):
    return program._program if isinstance(program, Raising) else program

compiled = plans.compile_plan

def raising(in_force, settings, before=None):
    before = before and dataclasses.replace(before, program=bare(before.program))
    plan = compiled(in_force, settings, before)
    return dataclasses.replace(plan, program=Raising(plan.program))

plans.compile_plan = raising
main()
"""


def raising_worker(stage: Stage, *, revision: int) -> WorkerProcess:
    """One of the stage's, that raises under this revision."""
    made = WorkerProcess(
        "raising", stage.environment, stage.directory, main=RAISING.replace("{revision}", str(revision))
    )
    stage.workers["raising"] = made
    return made.start()


def write(path: Path, text: str) -> Path:
    """A file of definitions."""
    path.write_text(text)
    return path


def send(stage: Stage, contacts: list[str], poisonous: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """An event of each contact, in this order."""
    sources = Sources(stage.settings)
    now_ms = time.time_ns() // 1_000_000
    for contact in contacts:
        properties = {"poison": contact in poisonous}
        event = {"type": "track", "event": "A", "userId": contact, "timestamp": now_ms, "messageId": contact}
        sources.send(event | {"properties": properties})
    sources.flush()


def entered(stage: Stage) -> list[str]:
    """Who entered, as often as it is said."""
    return sorted(contact for contact, rows in runs.transitions(stage.settings).items() for _ in rows)


def rejected(stage: Stage) -> list[tuple[str, str]]:
    """Reason and contact of what was rejected, but for marks."""
    found = [
        (each.headers["reason"].decode(), (each.key or b"").decode())
        for each in runs.committed(stage.settings, "rejected")
    ]
    return sorted(each for each in found if each[0] != "replayed")


def test_records_that_raise_are_rejected_alone_and_replayed_once_that_is_mended(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", SEGMENTS), clock="wall", checkpoint_idle="5ms")
    contacts = [f"c{number}" for number in range(3_000)]
    poisonous = {f"c{number}" for number in (10, 11, 900, 1_500, 2_990)}
    worker = raising_worker(stage, revision=1)
    wait_until(worker.ready, 40, "a worker that owns partitions")
    for start in range(0, 3_000, 500):
        send(stage, contacts[start : start + 500], poisonous)
    wait_until(stage.through, 60, "all events taken")
    assert rejected(stage) == sorted(("raised", contact) for contact in poisonous)
    assert entered(stage) == sorted(set(contacts) - poisonous)
    assert "the record at events.product, offset" in worker.text()
    assert not any(contact in worker.text() for contact in poisonous)
    assert worker.stop() == 0

    stage.workers.clear()
    stage.worker("mended")
    runs.run_command(stage.environment, "rejected", "replay", "--reason", "raised")
    wait_until(stage.through, 60, "what was replayed taken")
    assert entered(stage) == sorted(contacts)
    assert len(rejected(stage)) == len(poisonous)


def test_definitions_on_which_a_record_raises_stop_its_partition_until_they_are_rolled_back(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """All else flows, and nothing goes to `rejected`."""
    stage = make_stage(write(tmp_path / "s.yaml", SEGMENTS), clock="wall")
    worker = raising_worker(stage, revision=2)
    wait_until(worker.ready, 40, "a worker that owns partitions")
    send(stage, ["before"])
    wait_until(stage.through, 30, "the first event taken")
    wrong = write(tmp_path / "wrong.yaml", "segments: [{id: b, when: {event: B}}]")
    runs.run_command(stage.environment, "segments", "apply", str(wrong))
    wait_until(
        lambda: "revision 2 of the definitions is in force" in worker.text(), 20, "the wrong definitions in force"
    )
    wait_until(lambda: worker.metric("tidegate_definitions_revision") == 2, 20, "them in force in all partitions")

    contacts = [f"c{number}" for number in range(100)]
    mine = partition_of(b"c7", stage.settings.partitions)
    others = [each for each in contacts if partition_of(each.encode(), stage.settings.partitions) != mine]
    send(stage, contacts, {"c7"})
    wait_until(lambda: worker.metric("tidegate_partitions_stopped") == 1, 20, "a partition that is stopped")
    wait_until(lambda: entered(stage) == sorted(["before", *others]), 20, "all others in")
    answer = worker.readiness()
    assert (answer["ok"], answer["stopped"]) == (True, [mine])
    assert "revision 2 of the definitions has only just been taken up" in worker.text()

    runs.run_command(stage.environment, "segments", "remove", "b")
    wait_until(stage.through, 30, "all events taken")
    assert entered(stage) == sorted(["before", *contacts])
    assert rejected(stage) == []
    assert worker.metric("tidegate_partitions_stopped") == 0
    assert worker.stop() == 0


def overwrite(stage: Stage, key: bytes, value: bytes) -> None:
    """Writes into the state topic what no worker writes."""
    producer = Producer(
        {"bootstrap.servers": stage.settings.broker, "transactional.id": stage.settings.prefix + "test"}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    partitions = stage.settings.partitions
    number = partition_of(b"ann", partitions)
    producer.produce(stage.settings.topic("state"), value, key, partition=number)
    producer.commit_transaction(20)


def test_a_state_record_that_cannot_be_read_keeps_its_contact_out_and_nobody_else(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", SEGMENTS), clock="wall")
    worker = stage.worker("a")
    send(stage, ["ann", "ben"])
    wait_until(stage.through, 60, "all events taken")
    assert worker.stop() == 0
    record = next(each.value for each in runs.committed(stage.settings, "state") if each.key == b"ann")
    overwrite(stage, b"ann", b"\x02damaged")

    stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions in spite of it")
    wait_until(lambda: worker.metric("tidegate_contacts_quarantined") == 1, 10, "one contact in quarantine")
    sources = Sources(stage.settings)
    for contact in ("ann", "ben"):
        sources.send({"type": "identify", "userId": contact, "traits": {"x": 1}, "messageId": f"{contact}-2"})
    sources.flush()
    wait_until(stage.through, 60, "all events taken")
    assert rejected(stage) == [("quarantined", "ann")]
    assert [each.value for each in runs.committed(stage.settings, "state") if each.key == b"ann"][-1] == b"\x02damaged"
    assert worker.stop() == 0

    assert record is not None
    overwrite(stage, b"ann", record)
    stage.worker("a")
    runs.run_command(stage.environment, "rejected", "replay", "--reason", "quarantined", "--contact", "ann")
    wait_until(stage.through, 60, "all events taken")
    told = {each.key: each.json()["traits"] for each in runs.committed(stage.settings, "contacts")}
    assert told == {b"ann": {"x": 1}, b"ben": {"x": 1}}
    assert entered(stage) == ["ann", "ben"]


def test_a_meta_record_that_cannot_be_read_ends_the_worker_with_what_to_do(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", SEGMENTS), clock="wall")
    worker = stage.worker("a")
    send(stage, ["ann"])
    wait_until(stage.through, 60, "all events taken")
    assert worker.stop() == 0
    overwrite(stage, META_KEY, b"damaged")
    stage.worker("a")
    assert worker.wait(60) == 1
    assert "expected a meta record, got bytes that can't be read" in worker.text()
    assert "restore the record, or start under another TIDEGATE_PREFIX" in worker.text()
