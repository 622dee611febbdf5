"""Many contacts due at one instant, or to be changed over: events don't wait for all of them."""

from __future__ import annotations

import asyncio

import pytest
from test_worker import GRACE_MS, Bench, plan_of

from streams import takeover
from streams.watchdog import standing_of

BESIDE_MAX, CROWD = 60, 100


@pytest.fixture(autouse=True)
def few_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is more than a few."""
    monkeypatch.setattr(takeover, "BESIDE_MAX", BESIDE_MAX)


async def crowded() -> Bench:
    """All have come in at one instant, and are committed."""
    bench = Bench()
    await bench.worker.take_over({0})
    for number in range(CROWD):
        bench.publish(contact=f"c{number}")
    while len(bench.worker.partitions[0].committed.states) < CROWD:
        await bench.commit()
    return bench


async def test_a_checkpoint_takes_so_many_timers_and_events_go_into_it_beside_them() -> None:
    """At midnight a million contacts are due, and who buys something then is in the next transaction."""
    bench = await crowded()
    bench.clock.at_ms += 10_000 + GRACE_MS + 1_000
    bench.publish(contact="buyer")
    await bench.apply()
    partition = bench.worker.partitions[0]

    assert BESIDE_MAX == partition.overlay.beside
    assert b"buyer" in partition.overlay.dirty
    assert not partition.ready(bench.clock.now_ms()), "with no room beside there is nothing to do"
    await bench.commit()
    await bench.apply()
    assert CROWD - BESIDE_MAX == partition.overlay.beside


async def test_new_definitions_are_taken_up_over_as_many_checkpoints_as_they_need() -> None:
    bench = await crowded()
    bench.plans.older.append(bench.plans.current)
    bench.plans.current = plan_of("segments: [{id: all, when: {everyone: true}}]", 2)
    for _ in range(6):
        await bench.apply()
        await bench.commit()

    told = [record for record in bench.broker.committed("transitions", 0) if b'"all"' in (record.value or b"")]
    assert CROWD == len(told)
    assert 2 == bench.worker.partitions[0].plan.revision


async def paced(bench: Bench, ms: int) -> None:
    """So long, with turns and checkpoints when they are due; nothing more is read."""
    committing = asyncio.ensure_future(bench.worker.commit_when_due())
    for _ in range(ms // 50):
        bench.clock.at_ms += 50
        bench.worker.turn()
        for _ in range(20):
            await asyncio.sleep(0)
    committing.cancel()
    await asyncio.wait([committing])


async def test_where_a_crowd_meets_a_backlog_checkpoints_come_as_soon_as_they_have_no_more_room_for_it() -> None:
    """A checkpoint that waits, as events gain nothing from it, would let so few of the crowd through every three seconds."""
    bench = await crowded()
    for number in range(5_000):
        bench.publish(contact=f"n{number % 7}")
    await bench.worker.feed()
    bench.plans.older.append(bench.plans.current)
    bench.plans.current = plan_of("segments: [{id: all, when: {everyone: true}}]", 2)
    await paced(bench, 1_000)

    assert bench.worker.partitions[0].inbox.lag > 1_250
    assert not bench.worker.partitions[0].to_change


async def test_a_partition_that_plays_a_crowd_before_new_definitions_has_not_stalled_where_it_takes_no_events() -> None:
    """A restart would only have it begin again with what is left."""
    bench = await crowded()
    bench.clock.at_ms += 60_000
    await bench.apply()
    bench.publish()
    await bench.worker.feed()
    bench.plans.older.append(bench.plans.current)
    bench.plans.current = plan_of("segments: [{id: all, when: {everyone: true}}]", 2)
    bench.worker.turn()
    before = standing_of(bench.worker)["position", 0]
    assert bench.worker.partitions[0].settling
    await bench.worker.checkpoint(bench.worker.partitions[0])

    assert before != standing_of(bench.worker)["position", 0]


async def test_contacts_that_are_only_played_make_no_room_of_those_whose_events_come() -> None:
    """Who has events is decoded once, not at each event while a crowd passes by."""
    bench = await crowded()
    contacts = bench.worker.partitions[0].contacts
    contacts.states.clear()
    bench.clock.at_ms += 10_000 + GRACE_MS + 1_000
    bench.publish(contact="buyer")
    for _ in range(3):
        await bench.commit()

    assert {b"buyer"} == set(contacts.states)
