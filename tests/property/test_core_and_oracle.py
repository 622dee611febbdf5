"""The core against the oracle, and what holds of any run, on random definitions and histories."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import segments
from schemas.events import parse_event
from tests.histories import ALL, CASES, MEASURED, cases, settled_cases
from tests.oracle_values import shown
from tests.property.engines import by_core, by_oracle, by_pair, members, untils_ms

few = settings(max_examples=settings().max_examples // 3)
"""Where there is one run a construct, or for what the comparison with the oracle would mostly show as well."""
graces_ms = st.sampled_from([2000, 2000, 0, 5000])


def assert_alike(data: st.DataObject, construct: str) -> None:
    case = data.draw(cases(construct), label="case")
    grace_ms, until_ms = (
        data.draw(graces_ms, label="grace_ms"),
        data.draw(st.sampled_from(untils_ms(case)), label="until_ms"),
    )
    transitions, rejected = by_oracle(case.definitions, case.raw(), until_ms, grace_ms)
    got, got_rejected = by_core(case.definitions, case.raw(), until_ms, grace_ms)
    assert by_pair(got) == by_pair(transitions)
    assert got_rejected == rejected


@pytest.mark.parametrize("construct", CASES)
@few
@given(st.data())
def test_the_core_emits_what_recomputing_every_instant_emits(construct: str, data: st.DataObject) -> None:
    """What is kept and updated step by step must answer as the whole history does."""
    assert_alike(data, construct)


@given(st.data())
def test_the_whole_language_at_once_comes_out_as_recomputing_emits_it(data: st.DataObject) -> None:
    """Constructs that are right alone may still disturb each other: they share state, timers and steps."""
    assert_alike(data, ALL)


@pytest.mark.parametrize("construct", [*(name for name in CASES if name not in MEASURED), ALL])
@few
@given(st.data(), st.randoms())
def test_the_order_of_arrival_leaves_the_same_members(construct: str, data: st.DataObject, random: Any) -> None:
    """Events that come late, by another way or from a queue that was stuck, must not end in other memberships."""
    case = data.draw(settled_cases(construct), label="case")
    until_ms = max(case.world.instants_ms) + 20 * case.world.unit_ms
    lines = case.raw()
    shuffled = random.sample(lines, len(lines))
    expected = members(by_oracle(case.definitions, lines, until_ms)[0])
    assert members(by_oracle(case.definitions, shuffled, until_ms)[0]) == expected
    assert members(by_core(case.definitions, shuffled, until_ms)[0]) == expected
    assert members(by_core(case.definitions, lines, until_ms)[0]) == expected


@given(st.data(), st.lists(st.booleans(), min_size=1))
def test_state_that_was_written_and_read_again_goes_on_alike(data: st.DataObject, written: list[bool]) -> None:
    """A worker that takes a partition over has nothing but the bytes of the last checkpoint."""
    case = data.draw(cases(ALL, leave_out=("link", "definitions")), label="case")
    program = segments.compile_program(segments.load_data(case.definitions))
    states: dict[str, segments.ContactState] = {}
    emitted = []
    for number, line in enumerate(case.raw()):
        event = parse_event(line)
        received_ms = event.received_at_ms if event.received_at_ms is not None else event.occurred_at_ms
        assert received_ms is not None
        if event.contact in states and written[number % len(written)]:
            record = program.encode(states[event.contact])
            states[event.contact] = program.decode(event.contact, record)
            assert program.encode(states[event.contact]) == record
        step = program.apply(states.get(event.contact), event, received_ms, received_ms)
        emitted += step.transitions
        states.pop(event.contact, None)
        if step.state is not None:
            states[event.contact] = step.state
    until_ms = case.world.start_ms + 400 * case.world.unit_ms
    for contact, state in states.items():
        emitted += program.advance(program.decode(contact, program.encode(state)), until_ms)
    assert by_pair([one.simulated() for one in emitted]) == by_pair(by_core(case.definitions, case.raw(), until_ms)[0])


@few
@given(st.data())
def test_time_that_is_played_in_steps_comes_out_as_in_one_go(data: st.DataObject) -> None:
    """A worker asks what is due at odd moments: never may a transition be early, or be left for the next time."""
    case = data.draw(cases(ALL, leave_out=("link", "definitions", "delete")), label="case")
    program = segments.compile_program(segments.load_data(case.definitions))
    stops_ms = data.draw(st.lists(st.integers(0, 400 * case.world.unit_ms), max_size=8).map(sorted), label="stops_ms")
    in_steps, at_once = states_after(program, case.raw()), states_after(program, case.raw())
    end_ms = max(case.world.instants_ms) + 400 * case.world.unit_ms
    for contact, state in in_steps.items():
        emitted: list[Any] = []
        before_ms = -1
        for stop_ms in [*(case.world.start_ms + stop_ms for stop_ms in stops_ms), end_ms]:
            due = [one.simulated() for one in program.advance(state, stop_ms)]
            assert all(shown(before_ms) < one["at"] <= shown(stop_ms) for one in due)
            emitted, before_ms = emitted + due, stop_ms
        assert emitted == [one.simulated() for one in program.advance(at_once[contact], end_ms)]


def states_after(program: segments.Program, lines: list[bytes]) -> dict[str, segments.ContactState]:
    """The contacts' states once the events have been applied."""
    states: dict[str, segments.ContactState] = {}
    for event in map(parse_event, lines):
        received_ms = event.received_at_ms if event.received_at_ms is not None else event.occurred_at_ms
        assert received_ms is not None
        state = program.apply(states.get(event.contact), event, received_ms, received_ms).state
        assert state is not None
        states[event.contact] = state
    return states


@few
@given(st.data())
def test_transitions_alternate_and_count_up_and_no_contact_goes_back_in_time(data: st.DataObject) -> None:
    """Whoever follows one contact and segment may rely on entered, left, entered and on the order of time."""
    case = data.draw(cases(ALL, leave_out=("delete",)), label="case")
    grace_ms, until_ms = (
        data.draw(graces_ms, label="grace_ms"),
        data.draw(st.sampled_from(untils_ms(case)), label="until_ms"),
    )
    transitions, _ = by_core(case.definitions, case.raw(), until_ms, grace_ms)
    for moves in by_pair(transitions).values():
        assert [seq for seq, *_ in moves] == list(range(1, len(moves) + 1))
        assert [move for _, move, *_ in moves] == ["entered" if n % 2 == 0 else "left" for n in range(len(moves))]
    for contact in ("a", "b", "x", "y"):
        times = [one["at"] for one in transitions if one["contact"] == contact]
        assert times == sorted(times)


@few
@given(st.data())
def test_a_contact_alone_comes_out_as_among_others(data: st.DataObject) -> None:
    """Nothing of one contact may reach another: they live on other partitions, and in other orders."""
    case = data.draw(cases(ALL, leave_out=("link",)), label="case")
    until_ms = case.world.start_ms + 400 * case.world.unit_ms
    together = by_pair(by_core(case.definitions, case.raw(), until_ms)[0])
    apart: dict[Any, Any] = {}
    for contact in ("a", "b"):
        own = [json.dumps(line).encode() for line in case.lines if line.get("userId", contact) == contact]
        apart |= by_pair(by_core(case.definitions, own, until_ms)[0])
    assert apart == together
