"""Histories that mean harm, through every step: each event is taken or rejected, and what must hold of any state holds.

Definitions are those of `tests/histories.py`; events are not, as these are of the kind that only a broken or hostile
publisher sends: times from the year 1 to 9999, arrivals that run back, properties and traits named like paths, zones
that don't exist, links in chains and circles, deletes between.
"""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, format_instant
from schemas.rejected import Rejection
from schemas.transitions import Transition
from segments import Limits, RejectedLine, line_of, load_data, simulate
from segments.simulate import Run
from tests.histories import ALL, Case, cases

NAMES = ["t", "u", "t.a", "a..b", ".", "a.", ".a", "", "timezone", "plan", "group", "k", "items"]
texts = st.sampled_from(
    ["", " ", "x", "ß", "e\u0301", "\u0000", "\u202e", "٣", "5", "-0", "1e400", "true", "2026-02-30", "x" * 300]
)
zones = st.sampled_from(["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Nowhere/None", "../UTC", "utc"])
numbers = st.sampled_from(
    [0, -0.0, 1, 5, 0.1, 1e308, -1e308, 5e-324, 2**53 + 1, 2**63, -(2**63), INSTANT_MS_MAX, INSTANT_MS_MIN, 1e300]
)
scalars = st.none() | st.booleans() | numbers | texts | zones
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
)
fields = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
people = st.sampled_from(["a", "a", "b", "x", "y"])
limits = st.sampled_from(
    [Limits(), Limits(grace_ms=0, events=3, values=2, traits=3), Limits(state_bytes=20_000, dedup_horizon_ms=1000)]
)


@st.composite
def instants_ms(draw: st.DrawFn, case: Case) -> int:
    """Instants of the case, and some that are none of anyone's."""
    near_ms = st.sampled_from(case.world.instants_ms) if case.world.instants_ms else st.just(case.world.start_ms)
    far_ms = st.sampled_from([INSTANT_MS_MIN, INSTANT_MS_MAX, -1, 0, INSTANT_MS_MAX - 86_400_000])
    return draw(near_ms | near_ms | near_ms.map(lambda at_ms: at_ms - 1) | far_ms)


@st.composite
def hostile_events(draw: st.DrawFn, case: Case) -> dict[str, Any]:
    """An event of the case whose fields were tampered with, or one made up."""
    events = [line for line in case.lines if line.get("type") != "definitions"]
    made: dict[str, Any] = dict(draw(st.sampled_from(events))) if events and draw(st.booleans()) else {}
    if not made:
        made = {"type": draw(st.sampled_from(["track", "identify", "group", "alias", "list", "delete", "page"]))}
        made |= {"userId": draw(people), "event": draw(st.sampled_from(["A", "B", "Subscribed", "Unsubscribed"]))}
        made |= {"groupId": "g", "list": "l", "action": draw(st.sampled_from(["added", "removed", "x"]))}
    at_ms = draw(instants_ms(case))
    made["timestamp"] = draw(st.sampled_from([at_ms, at_ms, format_instant(at_ms), "2026-01-01", None, 1e300]))
    if draw(st.booleans()):
        made["receivedAt"] = draw(instants_ms(case))
    if draw(st.booleans()):
        made["properties"] = {**(made.get("properties") or {}), **draw(fields)}
        made["traits"] = {**(made.get("traits") or {}), **draw(fields)}
    if draw(st.integers(0, 4)) == 0:
        made |= {"anonymousId": draw(people), "previousId": draw(people), "messageId": draw(st.sampled_from("mn"))}
    if draw(st.integers(0, 4)) == 0:
        made["context"] = {"import": draw(scalars), "traits": draw(st.none() | fields)}
    return made


@st.composite
def hostile_cases(draw: st.DrawFn) -> tuple[Case, list[bytes]]:
    """A case, and lines that are its own and hostile ones in turn."""
    case = draw(cases(ALL))
    lines: list[Any] = list(case.lines)
    for event in draw(st.lists(hostile_events(case), min_size=1, max_size=12)):
        lines.insert(draw(st.integers(0, len(lines))), event)
    return case, [json.dumps(line).encode() for line in lines]


def taken(run: Run, line: bytes) -> list[Transition]:
    try:
        return list(run.take(line))
    except Rejection as rejection:
        note(rejection.sentence)
        return []


def written_and_read(run: Run, bounds: Limits) -> None:
    """Take each state over from its bytes, and hold it to what must be so of any."""
    for contact, state in run.states.items():
        record = run.program.encode(state)
        run.states[contact] = again = run.program.decode(contact, record)
        assert run.program.encode(again) == record
        assert len(record) <= bounds.state_bytes
        assert len(state.traits) <= bounds.traits
        assert all(len(by_key) <= bounds.values for by_key in state.keyed.values())
        assert state.due_ms is None or state.due_ms > state.clock_ms, "would be played at once, or twice"


def stretches(found: Iterator[Transition], contacts: dict[str, int]) -> Iterator[Transition]:
    """The same transitions, each at or after the one before it for its contact."""
    for one in found:
        assert one.at_ms >= contacts.get(one.contact, INSTANT_MS_MIN)
        contacts[one.contact] = one.at_ms
        line_of(one)
        yield one


@given(hostile_cases(), limits)
def test_whatever_comes_each_step_ends_in_a_state_that_holds(hostile: tuple[Case, list[bytes]], bounds: Limits) -> None:
    """An exception ends a worker, which comes back to the same event: one publisher would stop a partition."""
    case, lines = hostile
    run = Run(load_data(case.definitions), bounds)
    at_ms: dict[str, int] = {}
    seqs: dict[tuple[str, str, str | None], int] = {}
    for line in lines:
        for one in stretches(iter(taken(run, line)), at_ms):
            pair = one.contact, one.segment, one.key
            assert one.transition == ("entered" if one.seq % 2 else "left")
            # a value that a limit dropped begins anew, and so does whoever was erased, or became part of another
            assert one.seq == seqs.get(pair, 0) + 1 or (one.seq == 1 and seqs[pair] % 2 == 0)
            seqs[pair] = one.seq
        for contact in at_ms.keys() - run.states.keys():
            del at_ms[contact]
        written_and_read(run, bounds)
    list(stretches(run.end(min(case.world.start_ms + 400 * case.world.unit_ms, INSTANT_MS_MAX)), at_ms))
    written_and_read(run, bounds)


@given(hostile_cases())
def test_whatever_comes_a_run_is_the_same_with_and_without_its_bytes(hostile: tuple[Case, list[bytes]]) -> None:
    """What a checkpoint writes is all that the next owner of a partition has."""
    case, lines = hostile
    through_bytes, rejected = Run(load_data(case.definitions), Limits()), []
    emitted: list[bytes] = []
    for number, line in enumerate(lines, 1):
        try:
            emitted += map(line_of, through_bytes.take(line))
        except Rejection:
            rejected.append(number)
        written_and_read(through_bytes, Limits())
    emitted += map(line_of, through_bytes.end())
    out = list(simulate(load_data(case.definitions), lines))
    assert [one.line for one in out if isinstance(one, RejectedLine)] == rejected
    assert sorted(line_of(one) for one in out if not isinstance(one, RejectedLine)) == sorted(emitted)
