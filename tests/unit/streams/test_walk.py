"""Definitions that raise here and there, put in force in the midst of all else: every partition gets through."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random

import orjson
import pytest
from test_poison import Poisoned, poison
from test_worker import EVERYONE, SEGMENTS, Bench, plan_of

from schemas.topics import partition_of
from streams.worker import Worker

CONTACTS = [f"c{number}" for number in range(12)]
TEXTS = (SEGMENTS, EVERYONE, "segments: [{id: soon, when: {event: A, within: 3s}}]")
BESIDE_MAX = 2
Running = dict[int, asyncio.Task[None]]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_raises_newer_definitions_get_everywhere_and_no_transition_is_lost_or_doubled(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Timers, change-overs, records and encoding raise, with room for two beside the events of a checkpoint."""
    caplog.set_level(logging.CRITICAL)
    rng, bench = random.Random(seed), Bench()
    bench.rates = dataclasses.replace(bench.rates, partitions=2, chunk_events=3)
    bench.plans.current, _ = poison(bench.plans.current)
    await _walk(bench, rng)
    _apply_definitions(bench, rng, raises=False)
    await _get_through(bench)

    for partition in bench.worker.partitions.values():
        assert bench.plans.current.revision == partition.plan.revision
        assert (0, 0, 0) == (partition.to_change, partition.inbox.lag, partition.overdue_ms(bench.clock.now_ms()))
        written = {partition.plan.header(record)[1] for record in partition.committed.states.values()}
        assert written <= {bench.plans.current.revision}
        assert not (partition.settling or partition.closing or partition.void or partition.stopped)
    _check_told(bench)


async def _walk(bench: Bench, rng: random.Random) -> None:
    """This and that, in any order, with one worker after the other."""
    worker, running = await _owner(bench), Running()
    for _ in range(500):
        running = {number: task for number, task in running.items() if not task.done() or task.result()}
        worker._jobs = running
        partition, drawn = worker.partitions[rng.randrange(2)], rng.random()
        if drawn < 0.15:
            _publish(bench, rng)
        elif drawn < 0.4:
            await worker.feed()
        elif drawn < 0.6:
            worker.turn()
        elif drawn < 0.78 and partition.overlay.events and partition.number not in running:
            running[partition.number] = asyncio.ensure_future(worker.checkpoint(partition))
        elif 0.78 <= drawn < 0.8:
            _apply_definitions(bench, rng, raises=True)
        elif 0.8 <= drawn < 0.82:
            await worker.release(1.0)
            worker, running = await _owner(bench), {}
        else:
            await asyncio.sleep(0)
    await asyncio.gather(*running.values())
    worker._jobs = {}


async def _get_through(bench: Bench) -> None:
    for _ in range(400):
        bench.clock.at_ms += 200
        await bench.worker.feed()
        bench.worker.turn()
        for partition in bench.worker.partitions.values():
            if partition.overlay.events:
                await bench.worker.checkpoint(partition)


async def _owner(bench: Bench) -> Worker:
    bench.worker = bench.new_worker()
    await bench.worker.take_over({0, 1})
    for partition in bench.worker.partitions.values():
        partition.beside_max = partition.contacts.beside_max = BESIDE_MAX
    return bench.worker


def _publish(bench: Bench, rng: random.Random) -> None:
    bench.clock.at_ms += rng.choice([0, 1, 300, 4_000])
    contact = rng.choice(CONTACTS).encode()
    event = {"type": "track", "event": "A", "userId": contact.decode(), "timestamp": bench.clock.at_ms}
    event["properties"] = {"poison": rng.random() < 0.05}
    bench.broker.publish(rng.choice(["one", "two"]), partition_of(contact, 2), contact, orjson.dumps(event))


def _apply_definitions(bench: Bench, rng: random.Random, *, raises: bool) -> None:
    bench.plans.older.append(bench.plans.current)
    program: Poisoned
    bench.plans.current, program = poison(plan_of(rng.choice(TEXTS), bench.plans.current.revision + 1))
    if raises:
        program.events = lambda event: bool(event.properties.get("poison"))
        program.timers, program.changes, program.encodes = (
            {contact for contact in CONTACTS if rng.random() < share} for share in (0.15, 0.15, 0.08)
        )


def _check_told(bench: Bench) -> None:
    """Each contact's transitions of a segment are numbered from one on, without a hole."""
    last: dict[tuple[str, str], int] = {}
    for number in (0, 1):
        for record in bench.broker.committed("transitions", number):
            told = orjson.loads(record.value or b"")
            of = told["contact"], told["segment"]
            assert last.get(of, 0) + 1 == told["seq"], told
            last[of] = told["seq"]
    assert last
