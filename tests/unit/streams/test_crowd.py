"""Many contacts due at one instant, or to be changed over: events don't wait for all of them."""

from __future__ import annotations

import pytest
from test_worker import GRACE_MS, Bench, plan_of

from streams import takeover

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
