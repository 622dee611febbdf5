"""The torture run without a broker: what a seed draws, and that what is wrong afterwards is found."""

from __future__ import annotations

import dataclasses

import orjson
import pytest
from told import Committed
from torture_check import Arrived, Unequal, check_as_simulated, check_log, check_not_early, check_sequence
from torture_load import Sent
from torture_script import MINUTE_S, SECONDS, draw

AT_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
AT = "2026-03-01T00:00:00.000Z"
SENT = Sent("events.product", 0, b"ann", orjson.dumps({"userId": "ann", "timestamp": AT_MS}))
TOLD = {"ann": [("a", "ann", "entered", 1, AT, "event"), ("a", "ann", "left", 2, AT, "timer")]}


def record(value: bytes, time_ms: int = AT_MS) -> Committed:
    """A record of ann's."""
    return Committed(0, 7, time_ms, b"ann", value, {})


def test_a_seed_draws_the_same_again_and_every_kind_before_any_comes_twice() -> None:
    drawn = draw(3, 100)
    assert drawn == draw(3, 100)
    assert drawn != draw(4, 100)
    assert {each.what for each in drawn[: len(SECONDS)]} == set(SECONDS)
    assert [each.what for each in drawn if each.seconds == MINUTE_S] == ["broker away"]


def test_a_log_that_holds_other_than_what_was_sent_is_found() -> None:
    arrived = Arrived(AT_MS, SENT.topic, record(SENT.value))
    check_log([SENT], [arrived])
    for sent, found in (([SENT], []), ([SENT], [arrived, arrived]), ([], [arrived])):
        with pytest.raises(Unequal, match="the log itself"):
            check_log(sent, found)


def test_transitions_that_are_repeated_left_out_or_out_of_order_are_found() -> None:
    check_sequence(TOLD)
    entered, left = TOLD["ann"]
    for rows in ([entered, entered], [left], [left, entered], [entered, left, left]):
        with pytest.raises(Unequal, match="expected number"):
            check_sequence({"ann": rows})


def test_what_differs_from_simulate_is_found_and_shown_with_the_events_behind_it() -> None:
    source = [Arrived(AT_MS, SENT.topic, record(SENT.value))]
    check_as_simulated(TOLD, TOLD, set(), AT_MS, source)
    check_as_simulated(TOLD, {}, {"ann"}, AT_MS, source)
    check_as_simulated({}, TOLD, set(), AT_MS - 1, source)
    with pytest.raises(Unequal, match=r"2 transitions, the workers told 1(.|\n)*events.product 0/7"):
        check_as_simulated(TOLD, {"ann": TOLD["ann"][:1]}, set(), AT_MS, source)


def test_a_timer_that_came_early_is_found_and_one_that_a_later_event_played_is_not_early() -> None:
    timer = record(orjson.dumps({"contact": "ann", "at": AT, "cause": "timer"}), AT_MS + 1_999)
    check_not_early([dataclasses.replace(timer, time_ms=AT_MS + 2_000)], [], 2_000)
    check_not_early([timer], [Arrived(AT_MS + 1_000, SENT.topic, record(SENT.value))], 2_000)
    read_later = Arrived(AT_MS + 2_000, SENT.topic, record(SENT.value))
    for source in ([], [read_later]):
        with pytest.raises(Unequal, match="1 ms early"):
            check_not_early([timer], source, 2_000)
