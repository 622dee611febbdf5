"""A worker whose contacts take more memory than they may: it says so early, takes nothing in, and loses nothing."""

from __future__ import annotations

import logging

import pytest
from memory_log import VirtualClock
from test_worker import Bench

from streams.committed import Committed
from streams.health import not_ready
from streams.memory import CONTACT_BYTES, Memory, MemoryBoundError
from streams.watchdog import standing_of
from streams.worker import Worker


def holding(contacts: int, record_bytes: int) -> Committed:
    """The state of so many contacts."""
    committed = Committed()
    committed.load(((f"c{number}".encode(), b"x" * record_bytes) for number in range(contacts)), contacts)
    return committed


async def holding_fifty() -> Bench:
    """A worker that has taken fifty contacts in, all of them committed."""
    bench = Bench()
    await bench.worker.take_over({0})
    for number in range(50):
        bench.publish(contact=f"c{number}")
    await bench.apply()
    await bench.worker.checkpoint(bench.worker.partitions[0])
    return bench


def test_it_is_said_once_from_four_fifths_on_once_beyond_and_once_when_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory(100 * (CONTACT_BYTES + 450))
    caplog.set_level(logging.WARNING)
    for contacts, full in ((80, False), (81, False), (90, False), (101, True), (120, True), (10, False)):
        memory.look([holding(contacts, 450)])
        assert memory.full is full

    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "WARNING"]
    assert "TIDEGATE_MEMORY_BYTES" in caplog.text


def test_at_the_bound_itself_it_is_said_once_and_not_with_every_timer(caplog: pytest.LogCaptureFixture) -> None:
    """Reading goes on for one event there, and stops, several times a second."""
    memory = Memory(1_000 * (CONTACT_BYTES + 450))
    caplog.set_level(logging.WARNING)
    for contacts in (1_001, 999, 1_001, 990, 1_001, 979):
        memory.look([holding(contacts, 450)])

    assert ["ERROR", "WARNING"] == [record.levelname for record in caplog.records]


async def test_beyond_the_bound_nothing_is_read_and_nothing_is_lost() -> None:
    """What waits in Kafka is taken in by a worker that has room for it."""
    bench = Bench()
    bench.worker = bench.new_worker(memory_bytes=3 * CONTACT_BYTES)
    await bench.worker.take_over({0})
    for number in range(5):
        bench.publish(contact=f"c{number}")
    await bench.apply()
    await bench.worker.checkpoint(bench.worker.partitions[0])
    await bench.worker.feed()
    bench.publish(contact="newcomer")
    await bench.apply()

    assert bench.worker.memory.full
    assert "newcomer" not in str(bench.worker.partitions[0].committed.states)
    assert ("position", 0) not in standing_of(bench.worker), "a restart would not help"
    successor = bench.new_worker()
    bench.worker = successor
    await successor.take_over({0})
    await bench.apply()
    assert 6 == len(successor.partitions[0].contacts.overlay.dirty) + len(successor.partitions[0].committed.states)


async def test_a_take_over_that_cannot_fit_ends_the_worker_with_what_to_do() -> None:
    """The machine's memory is not to be the first to say so, nor the operator to find out."""
    bench = await holding_fifty()

    with pytest.raises(MemoryBoundError, match="start another worker, or raise TIDEGATE_MEMORY_BYTES"):
        await bench.new_worker(memory_bytes=10 * CONTACT_BYTES).take_over({0})


async def test_a_worker_that_was_full_can_start_again() -> None:
    """Else a deploy would make of a worker that waits one that is gone."""
    bench = await holding_fifty()
    bench.worker.memory.look(bench.worker.committed.values())
    bound = int(bench.worker.memory.used_bytes / 1.2)
    successor = bench.new_worker(memory_bytes=bound)
    await successor.take_over({0})

    assert successor.memory.full


def test_readiness_says_it() -> None:
    class App:
        worker: Worker
        rebalancing = False

    app = App()
    bench = Bench()
    bench.clock = VirtualClock(0)
    app.worker = bench.worker
    app.worker.memory = Memory(1)
    app.worker.memory.look([holding(1, 1)])

    assert any("TIDEGATE_MEMORY_BYTES" in why for why in not_ready(app))
