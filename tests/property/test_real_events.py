"""The core against the oracle on real baskets, coupons and mailings, as the demo has them, in time and late."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import segments
from deploy import journey
from tests import oracle, oracle_input
from tests.histories import DAY_MS, START_MS

DEFINITIONS = Path(journey.__file__).parent / "segments" / "journey.yaml"
LAGS_MS = [0, 0, 0, 0, 1000, 2000, 2001, 60_000, DAY_MS, 9 * DAY_MS, 31 * DAY_MS]


def in_time() -> list[dict[str, Any]]:
    """The first events of ten households, of each as many at most: else one has most of them, and all of the oracle's time."""
    told: Counter[str] = Counter()
    kept = []
    for event in journey.events(START_MS, households=10, limit=600):
        told[event["userId"]] += 1
        if told[event["userId"]] <= 20:
            kept.append(event)
    return kept


def late() -> list[dict[str, Any]]:
    """The same events, many of them long after they happened and some of them twice."""
    chance = random.Random(1)
    events = in_time()
    for event in events:
        happened_ms = oracle_input.read_instant(event["timestamp"])
        assert happened_ms is not None
        event["receivedAt"] = oracle_input.shown(happened_ms + chance.choice(LAGS_MS))
    return sorted(events + chance.sample(events, 30), key=lambda event: str(event["receivedAt"]))


@pytest.mark.parametrize("arrival", [in_time, late])
def test_real_events_come_out_as_the_oracle_has_them(arrival: Any) -> None:
    """Random events are never like those of a shop: weeks apart, with the same hour again and again."""
    lines = [json.dumps(event).encode() for event in arrival()]
    transitions, rejected = oracle.simulate(oracle_input.load(DEFINITIONS.read_text()), lines)
    got = list(segments.simulate(segments.load(DEFINITIONS.read_text()), lines))

    def sort_key(one: dict[str, Any]) -> tuple[Any, ...]:
        return one["contact"], one["segment"], one["seq"]

    assert rejected == []
    assert len(transitions) > 50, "too few transitions to tell anything"
    assert sorted([one.simulated() for one in got], key=sort_key) == sorted(transitions, key=sort_key)
