"""Dates and writes at their edges."""

import json
from typing import Any

import pytest

from schemas.events import Event, event_of
from schemas.instants import format_instant, parse_instant
from schemas.rejected import Rejection
from segments import RejectedLine, compile_program, load_data, simulate
from segments.values import instant


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        (10**11 - 1, (10**11 - 1) * 1000),
        (10**11, 10**11),
        (1.0005, 1000),
        (-1.0005, -1001),
        (12345678901234567890, 12345678901234567890),
        ("1700000000", None),
        (True, None),
    ],
)
def test_a_number_is_a_date_in_seconds_or_ms_cut_to_ms(value: object, at_ms: int | None) -> None:
    """Seconds below 10^11, else ms; numeric text is no date; before 1970, too, a fraction is cut downwards as text is."""
    assert at_ms == instant(value)


def test_a_date_after_the_year_9999_is_further_away_and_never_due() -> None:
    """An instant that no record can say may not come into a state's header either."""
    program = compile_program(load_data({"segments": [{"id": "s", "when": {"trait": "d", "further_than": "1d"}}]}))
    step = program.apply(None, Event("identify", "c", traits={"d": 2**64 - 1}, occurred_at_ms=0), 0, 0)
    assert step.state is not None

    assert ["entered"] == [transition.transition for transition in step.transitions]
    assert step.state.due_ms is None
    assert program.encode(step.state)


def test_what_one_event_writes_to_two_traits_on_a_path_is_written_at_once() -> None:
    """Between the two the path has no value, at no instant: the run goes on."""
    when = {"trait": "o.n", "unchanged_for": "10s"}
    program = compile_program(load_data({"segments": [{"id": "s", "when": when}]}))
    first = Event("identify", "c", traits={"o": {"n": 2}}, occurred_at_ms=1_000)
    both = Event("identify", "c", traits={"o": 5, "o.n": 2}, occurred_at_ms=8_000)
    state = program.apply(None, first, 1_000, 1_000).state
    state = program.apply(state, both, 8_000, 8_000).state
    assert state is not None

    assert [("entered", 11_000)] == [(t.transition, t.at_ms) for t in program.advance(state, 60_000)]


def transitions(when: dict[str, Any], events: list[dict[str, Any]], until: str) -> list[tuple[str, str, str]]:
    """`(transition, at, cause)` of one segment and one contact."""
    lines = [json.dumps({"type": "identify", "userId": "c", **event}).encode() for event in events]
    until_ms = parse_instant(until, offset_required=True)
    definitions = load_data({"segments": [{"id": "s", "when": when}]})
    emitted = [one for one in simulate(definitions, lines, until_ms=until_ms) if not isinstance(one, RejectedLine)]
    return [(one.transition, format_instant(one.at_ms), one.cause) for one in emitted]


def test_a_date_alone_is_a_day_of_the_zone_that_the_contact_is_in_now() -> None:
    """It begins and ends by that zone's midnights; moving to another ends it there and then."""
    when = {"trait": "d", "calendar": "today", "tz": "contact"}
    told = {"timestamp": "2026-03-08T12:00:00Z", "traits": {"d": "2026-03-10", "timezone": "Asia/Tokyo"}}
    moved = {"timestamp": "2026-03-10T14:00:00Z", "traits": {"timezone": "Pacific/Kiritimati"}}
    stayed = [("entered", "2026-03-09T15:00:00.000Z", "timer"), ("left", "2026-03-10T15:00:00.000Z", "timer")]

    assert stayed == transitions(when, [told], "2026-03-20T00:00:00Z")
    assert [stayed[0], ("left", "2026-03-10T14:00:00.000Z", "event")] == transitions(
        when, [told, moved], "2026-03-20T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("tz", "at"),
    [
        ({}, "2026-03-29T02:30:00.000Z"),
        ({"tz": "Europe/Berlin"}, "2026-03-29T01:00:00.000Z"),  # skipped: the first instant after the gap
        ({"tz": "America/New_York"}, "2026-03-29T06:30:00.000Z"),
    ],
)
def test_a_time_without_offset_is_local_in_the_zone_of_the_condition(tz: dict[str, str], at: str) -> None:
    """Rolling operators ask for instants, so they too depend on where the clock hangs."""
    told = {"timestamp": "2026-03-28T00:00:00Z", "traits": {"d": "2026-03-29T02:30"}}

    assert [("entered", at, "timer")] == transitions(
        {"trait": "d", "within_last": "3d", **tz}, [told], "2026-04-01T00:00:00Z"
    )


def test_an_identify_uses_its_anonymous_id_so_it_must_be_text() -> None:
    """Once ids are linked, a number here would be a link to nobody."""
    with pytest.raises(Rejection, match="anonymousId"):
        event_of({"type": "identify", "userId": "c", "anonymousId": 5, "timestamp": 0})
