"""The core against the oracle, and what holds of any run, on random definitions and histories."""

import json
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import segments
from schemas.events import parse_event
from tests import oracle
from tests.histories import DAY_MS, START_MS, definitions, histories, settled_histories

few = settings(max_examples=settings().max_examples // 3)
"""For what the comparison with the oracle would mostly show as well."""
graces_ms = st.sampled_from([2000, 2000, 0, 5000])
untils_ms = st.sampled_from([None, START_MS + 45_000, START_MS + 10 * DAY_MS])


def by_core(
    defined: dict[str, Any], lines: list[bytes], until_ms: int | None = None, grace_ms: int = 2000
) -> tuple[list[dict[str, Any]], list[int]]:
    """The core's transitions, as `tidegate simulate` shows them, and the numbers of the lines it rejects."""
    out = list(segments.simulate(segments.load(json.dumps(defined)), lines, until_ms, grace_ms))
    transitions = [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)]
    return transitions, [one.line for one in out if isinstance(one, segments.RejectedLine)]


def by_pair(transitions: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """(seq, transition, at, cause) in order of emission, for each contact and segment."""
    pairs: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for one in transitions:
        pairs[one["contact"], one["segment"]].append((one["seq"], one["transition"], one["at"], one["cause"]))
    return dict(pairs)


def members(transitions: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Who is where at the end."""
    return {pair for pair, moves in by_pair(transitions).items() if moves[-1][1] == "entered"}


@given(definitions(), histories(), graces_ms, untils_ms)
def test_the_core_emits_what_recomputing_every_instant_emits(
    defined: dict[str, Any], lines: list[bytes], grace_ms: int, until_ms: int | None
) -> None:
    """What is kept and updated step by step must answer as the whole history does."""
    transitions, rejected = oracle.simulate(defined, lines, until_ms, grace_ms)
    got, got_rejected = by_core(defined, lines, until_ms, grace_ms)
    assert by_pair(got) == by_pair(transitions)
    assert got_rejected == [int(reason.split(":")[0]) for reason in rejected]


@given(definitions(hold=False), settled_histories(), st.randoms())
def test_the_order_of_arrival_leaves_the_same_members(defined: dict[str, Any], lines: list[bytes], random: Any) -> None:
    """Events that come late, by another way or from a queue that was stuck, must not end in other memberships."""
    until_ms = START_MS + 60_000
    shuffled = random.sample(lines, len(lines))
    assert members(by_core(defined, shuffled, until_ms)[0]) == members(by_core(defined, lines, until_ms)[0])
    assert members(oracle.simulate(defined, shuffled, until_ms)[0]) == members(
        oracle.simulate(defined, lines, until_ms)[0]
    )


@few
@given(definitions(), histories(), st.lists(st.booleans(), min_size=1))
def test_state_that_was_written_and_read_again_goes_on_alike(
    defined: dict[str, Any], lines: list[bytes], written: list[bool]
) -> None:
    """A worker that takes a partition over has nothing but the bytes of the last checkpoint."""
    program = segments.compile_program(segments.load(json.dumps(defined)))
    states: dict[str, segments.ContactState] = {}
    emitted = []
    for number, line in enumerate(lines):
        event = parse_event(line)
        received_ms = event.received_at_ms if event.received_at_ms is not None else event.occurred_at_ms
        assert received_ms is not None
        if event.contact in states and written[number % len(written)]:
            record = program.encode(states[event.contact])
            states[event.contact] = program.decode(event.contact, record)
            assert program.encode(states[event.contact]) == record
        step = program.apply(states.get(event.contact), event, received_ms, received_ms)
        assert step.state is not None
        states[event.contact] = step.state
        emitted += step.transitions
    until_ms = START_MS + 10 * DAY_MS
    for contact, state in states.items():
        emitted += program.advance(program.decode(contact, program.encode(state)), until_ms)
    assert by_pair([one.simulated() for one in emitted]) == by_pair(by_core(defined, lines, until_ms)[0])


@few
@given(definitions(), histories(), graces_ms, untils_ms)
def test_transitions_alternate_and_count_up_and_no_contact_goes_back_in_time(
    defined: dict[str, Any], lines: list[bytes], grace_ms: int, until_ms: int | None
) -> None:
    """Whoever follows one contact and segment may rely on entered, left, entered and on the order of time."""
    transitions, _ = by_core(defined, lines, until_ms, grace_ms)
    for moves in by_pair(transitions).values():
        assert [seq for seq, *_ in moves] == list(range(1, len(moves) + 1))
        assert [move for _, move, *_ in moves] == ["entered" if n % 2 == 0 else "left" for n in range(len(moves))]
    for contact in ("a", "b"):
        times = [one["at"] for one in transitions if one["contact"] == contact]
        assert times == sorted(times)


@few
@given(definitions(), histories(), graces_ms)
def test_a_contact_alone_comes_out_as_among_others(defined: dict[str, Any], lines: list[bytes], grace_ms: int) -> None:
    """Nothing of one contact may reach another: they live on other partitions, and in other orders."""
    until_ms = START_MS + 10 * DAY_MS
    together = by_pair(by_core(defined, lines, until_ms, grace_ms)[0])
    apart: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for contact in ("a", "b"):
        own = [line for line in lines if json.loads(line)["userId"] == contact]
        apart |= by_pair(by_core(defined, own, until_ms, grace_ms)[0])
    assert apart == together
