"""Members of segments, counted beside the stream, are those that the committed states have."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest
from test_worker import Bench, plan_of

from streams.metrics import Metrics
from streams.showing import show

SEGMENTS = """
segments:
  - {id: a-lately, when: {event: A, within: 10s}}
  - {id: pro, when: {trait: plan, eq: pro}}
  - {id: carts, per: cart, when: {event: A, within: 30s}}
"""
EDITED = """
segments:
  - {id: a-lately, when: {event: A, within: 20s}}
  - {id: carts, per: cart, when: {event: A, within: 30s}}
  - {id: not-pro, when: {not: {trait: plan, eq: pro}}}
"""


def publish_some(bench: Bench, draw: random.Random) -> None:
    """Some events of a few contacts, erasure among them."""
    for _ in range(draw.randrange(1, 30)):
        contact, kind = f"c{draw.randrange(40)}", draw.random()
        if kind < 0.6:
            bench.publish(contact=contact, properties={"cart": draw.randrange(6)})
        elif kind < 0.9:
            bench.publish(contact=contact, type="identify", traits={"plan": draw.choice(["pro", "free"])})
        else:
            bench.publish(contact=contact, type="delete")


def recounted(bench: Bench) -> dict[str, int]:
    """Members by segment, from the committed states."""
    counts: collections.Counter[str] = collections.Counter()
    partition = bench.worker.partitions[0]
    for key, record in partition.committed.states.items():
        for segment, *_ in partition.plan.program.decode(key.decode(), record).memberships():
            counts[segment] += 1
    return dict(counts)


def counted(bench: Bench) -> dict[str, int]:
    """Members by segment as the metrics would show them."""
    partition = bench.worker.partitions[0]
    partition.count_sizes(bench.clock, bench.clock.spent_ms() + 1e9)
    return {segment: count for segment, count in partition.sizes.members.items() if count}


@pytest.mark.parametrize("seed", range(40))
async def test_counts_follow_events_timers_erasure_edits_and_restarts(seed: int) -> None:
    bench, draw = Bench(text=SEGMENTS), random.Random(seed)
    await bench.worker.take_over({0})
    for turn in range(30):
        publish_some(bench, draw)
        bench.clock.at_ms += draw.choice([100, 3_000, 15_000])
        await bench.commit()
        if draw.random() < 0.2:
            await bench.restart()
        if draw.random() < 0.3:  # some contacts are counted before the next events, some by them
            bench.worker.partitions[0].count_sizes(bench.clock, bench.clock.spent_ms() - 1)
        if turn == 15:
            bench.plans.older.append(bench.plans.current)
            bench.plans.current = plan_of(EDITED, 2)
    bench.clock.at_ms += 60_000
    await bench.commit()
    await bench.commit()
    assert counted(bench) == recounted(bench)


async def test_sizes_are_not_shown_before_every_contact_is_counted() -> None:
    bench = Bench()
    await bench.worker.take_over({0})
    for number in range(100):
        bench.publish(contact=f"c{number}")
    await bench.commit()
    await bench.restart()

    def sizes() -> tuple[Any, Any]:
        show(bench.worker)
        shown = {labels: gauge.value for labels, gauge in bench.worker.metrics.segment_members.items()}
        return shown, bench.worker.metrics.segment_members_uncounted.value

    assert sizes() == ({}, 100)
    counted(bench)
    assert sizes() == ({("a-lately",): 100, ("pro",): 0}, 0)


async def test_segments_beyond_the_set_number_are_other() -> None:
    bench = Bench()
    bench.worker.metrics = Metrics(segments_max=1)
    await bench.worker.take_over({0})
    bench.publish(type="identify", traits={"plan": "pro"})
    bench.publish()
    await bench.commit()
    show(bench.worker)
    text = bench.worker.metrics.text().decode()
    assert 'tidegate_segment_members{segment="a-lately"} 1.0' in text
    assert 'tidegate_segment_members{segment="other"} 1.0' in text
    assert 'segment="pro"' not in text
