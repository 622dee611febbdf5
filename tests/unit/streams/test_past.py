"""Memberships at an instant that is over: what the log of transitions and what holds now say of it together."""

from typing import Any

import pytest

from schemas.instants import format_instant
from schemas.transitions import TransitionRecord
from streams.lookups import Contact, Membership
from streams.past import Past, Stay

HOUR_MS = 3_600_000


def at(hour: int) -> str:
    return format_instant(hour * HOUR_MS)


def told(seq: int, hour: int, **changes: Any) -> TransitionRecord:
    values: dict[str, Any] = {"segment": "cart", "cause": "event"} | changes
    return TransitionRecord(
        id=f"{seq}",
        contact="c-17",
        segment_version=2,
        transition="entered" if seq % 2 else "left",
        seq=seq,
        at=at(hour),
        emitted_at=at(hour),
        revision=seq,
        **values,
    )


def now(*memberships: Membership) -> Contact:
    return Contact("c-17", {}, {}, None, list(memberships))


def cart(seq: int, hour: int, key: str | None = None) -> Membership:
    return Membership("cart", key, bool(seq % 2), at(hour), seq, 2)


def stays(hour: int, log: list[TransitionRecord], contact: Contact) -> list[Stay]:
    past = Past(hour * HOUR_MS)
    for record in log:
        past.take(record)
    return past.stays(contact)


IN_1, IN_3 = Stay("cart", None, at(1), 1, 2), Stay("cart", None, at(5), 3, 2)


@pytest.mark.parametrize(
    ("hour", "expected"), [(0, []), (1, [IN_1]), (2, [IN_1]), (3, []), (4, []), (5, [IN_3]), (9, [IN_3])]
)
def test_the_last_transition_up_to_the_instant_counts_that_of_the_instant_as_well(
    hour: int, expected: list[Stay]
) -> None:
    log = [told(1, 1), told(2, 3), told(3, 5)]
    assert stays(hour, log, now(cart(3, 5))) == expected


def test_of_two_transitions_at_one_instant_the_later_counts() -> None:
    """A contact may enter and leave at the same millisecond."""
    assert stays(1, [told(1, 1), told(2, 1)], now(cart(2, 1))) == []


def test_who_entered_before_the_log_begins_and_is_still_in_was_in_since_then() -> None:
    assert stays(4, [], now(cart(1, 1))) == [IN_1]


def test_who_left_since_was_in_though_nobody_can_say_since_when() -> None:
    """The first transition that is retained is the leaving."""
    assert stays(4, [told(4, 6), told(5, 8)], now(cart(5, 8))) == [Stay("cart", None, None, 3, None)]


def test_who_entered_since_was_out() -> None:
    assert stays(4, [told(5, 8)], now(cart(5, 8))) == []


def test_a_membership_that_is_forgotten_by_now_is_told_from_the_log() -> None:
    """As of a segment that was removed, or a value of `per` that made room for others."""
    log = [told(1, 1, key="a"), told(1, 2, key="b"), told(2, 9, key="a")]
    assert stays(5, log, now()) == [Stay("cart", "a", at(1), 1, 2), Stay("cart", "b", at(2), 1, 2)]


def test_segments_and_values_come_in_order_and_what_a_sequence_wrote_in_place_is_left_out() -> None:
    log = [told(1, 1, segment="z"), told(1, 1, segment="~goal-w"), told(1, 1, key="b"), told(1, 1, key="a")]
    found = stays(5, log, now(Membership("~goal-w", None, True, at(1), 1, 1)))
    assert [(stay.segment, stay.key) for stay in found] == [("cart", "a"), ("cart", "b"), ("z", None)]


def test_what_it_was_in_before_an_erasure_counts_for_nothing_though_numbers_begin_anew() -> None:
    """It had left when it was erased; who is new enters by transition 1 again, and Redis may be behind."""
    log = [told(1, 1), told(2, 2), told(1, 6), told(1, 7, segment="new")]
    assert stays(5, log, now(cart(2, 2))) == []
    assert stays(8, log, now(cart(2, 2))) == [Stay("cart", None, at(6), 1, 2), Stay("new", None, at(7), 1, 2)]
