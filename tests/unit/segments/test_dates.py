"""Dates and writes at their edges."""

import pytest

from schemas.events import Event, event_of
from schemas.rejected import Rejection
from segments import compile_program, load_data
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


def test_an_identify_uses_its_anonymous_id_so_it_must_be_text() -> None:
    """Once ids are linked, a number here would be a link to nobody."""
    with pytest.raises(Rejection, match="anonymousId"):
        event_of({"type": "identify", "userId": "c", "anonymousId": 5, "timestamp": 0})
