"""Work is proportional to what changed: amounts, not times."""

from typing import Any

import pytest

from schemas.events import Event
from segments import ContactState, Program, compile_program, load_data
from segments.leaf import EventLeaf
from segments.program import Tally
from segments.windows import CountWithin


def many_segments(number: int) -> dict[str, Any]:
    """`number` segments, of which four ask for `Touched` and the others for names of their own."""
    asked = [
        {"event": "Touched", "within": "1h", "count": {"gte": 3}},
        {"not": {"event": "Touched", "within": "1h", "count": {"gte": 3}}},
        {"event": "Touched", "sum": {"of": "total", "gte": 100}},
        {"event": "Touched", "last_at": {"older_than": "30d"}},
    ]
    others = [{"event": f"Other {n}", "within": "1h"} for n in range(number - len(asked))]
    return {"segments": [{"id": f"s{n}", "when": when} for n, when in enumerate(asked + others)]}


def touched(at_ms: int) -> Event:
    return Event("track", "c", "Touched", {"total": 5}, occurred_at_ms=at_ms, received_at_ms=at_ms)


@pytest.mark.parametrize("number", [10, 100, 10_000])
def test_an_event_touches_the_leaves_of_its_name_and_no_tree_that_did_not_flip(number: int) -> None:
    """Ten thousand segments must cost a contact no more than the few that its event is about."""
    program = compile_program(load_data(many_segments(number)))
    state = program.apply(None, touched(1_000_000), 1_000_000, 1_000_000).state
    assert state is not None
    size = len(program.encode(state))
    program.tally = Tally()

    step = program.apply(state, touched(1_001_000), 1_001_000, 1_001_000)

    assert [] == step.transitions
    assert 3 == program.tally.leaves, "the two counts share a leaf"
    assert 0 == program.tally.trees
    assert len(program.encode(state)) - size < 20

    step = program.apply(state, touched(1_002_000), 1_002_000, 1_002_000)

    assert {("s0", "entered"), ("s1", "left")} == {(t.segment, t.transition) for t in step.transitions}
    assert 2 == program.tally.trees, "one leaf flipped, two trees stand above it"
    assert 0 == program.tally.instants


def test_conditions_that_mean_the_same_are_one_leaf() -> None:
    """Segments that share a condition share its state: that is what makes a thousand segments affordable."""
    whens = [
        {"event": "X", "count": 0},
        {"not": {"event": "X"}},
        {"event": ["X"], "count": {"lt": 1}},
        {"event": "X", "count": {"gte": "1"}},
        {"none": [{"event": "X", "count": {"gt": 0}}]},
    ]
    program = compile_program(load_data({"segments": [{"id": f"s{n}", "when": when} for n, when in enumerate(whens)]}))

    assert 1 == len(program.leaves)


def test_a_count_in_a_window_keeps_no_more_times_than_its_threshold_needs() -> None:
    """A contact who clicks a thousand times a day may not have a thousand times in the state."""
    program = compile_program(
        load_data({"segments": [{"id": "s", "when": {"event": "X", "within": "1d", "count": {"gte": 3}}}]})
    )
    state = None
    for n in range(1000):
        event = Event("track", "c", "X", occurred_at_ms=n, received_at_ms=n)
        state = program.apply(state, event, n, n).state
    assert state is not None
    (leaf,) = program.leaves.values()

    assert isinstance(leaf, CountWithin)
    assert [997, 998, 999] == leaf.times(state.kept[leaf.key])


@pytest.mark.parametrize("number", [10, 100, 10_000])
def test_one_instant_is_played_however_long_the_gap(number: int) -> None:
    """After a year of silence nothing is polled: what was due is found from the state."""
    program = compile_program(load_data(many_segments(number)))
    state = program.apply(None, touched(0), 0, 0).state
    assert state is not None
    program.tally = Tally()
    left = program.advance(state, 365 * 86_400_000)

    assert [("s3", 30 * 86_400_000)] == [(t.segment, t.at_ms) for t in left]
    assert (1, 1, 1) == (program.tally.instants, program.tally.leaves, program.tally.trees)
    assert state.due_ms is None


def test_every_event_leaf_is_false_of_nothing() -> None:
    """The state holds what happened; what didn't is nowhere, so its answer must be the default."""
    whens = [
        {"event": "X", "count": {"lte": 2}},
        {"event": "X", "sum": {"of": "n", "lt": 1}},
        {"event": "X", "count": {"ne": 3}},
    ]
    program: Program = compile_program(
        load_data({"segments": [{"id": f"s{n}", "when": when} for n, when in enumerate(whens)]})
    )

    for leaf in program.leaves.values():
        assert isinstance(leaf, EventLeaf)
        assert (False, None) == leaf.read(None, ContactState("c", 0), 0)
    assert [0, 1, 2] == program.at_once
