"""State records: round trip, golden bytes, limits, and states written under other definitions."""

import copy
import pathlib
from typing import Any

import pytest

from schemas.events import Event, parse_event
from segments import ContactState, Limits, Program, StateError, compile_program, header, load_data
from segments.members import pack_member
from segments.state import Keyed, encode

HERE = pathlib.Path(__file__).parent
DAY_MS = 86_400_000

DEFINITIONS = {
    "segments": [
        {"id": "buyers", "when": {"event": "Order Completed", "within": "30d", "count": {"gte": 2}}},
        {"id": "spenders", "when": {"event": "Order Completed", "within": "30d", "sum": {"of": "total", "gte": 50}}},
        {"id": "lapsed", "when": {"event": "Order Completed", "last_at": {"older_than": "60d"}}},
        {"id": "pro", "when": {"trait": "plan", "eq": "pro"}, "hold": {"enter": "1h"}},
        {"id": "steady", "when": {"trait": "plan", "unchanged_for": "7d"}},
        {"id": "due", "when": {"event": "Booked", "where": {"starts_at": {"within_next": "1d"}}}},
        {"id": "good", "when": {"all": [{"segment": "buyers"}, {"not": {"segment": "lapsed"}}]}},
    ]
}


def program(data: dict[str, Any] = DEFINITIONS, **keywords: Any) -> Program:
    return compile_program(load_data(data), **keywords)


def stepped(under: Program) -> ContactState:
    state = None
    for n, event in enumerate(
        [
            Event("identify", "c", traits={"plan": "pro", "name": None}, occurred_at_ms=0, message_id="m-1"),
            Event("track", "c", "Order Completed", {"total": 30.1}, occurred_at_ms=1000, message_id="m-2"),
            Event("track", "c", "Order Completed", {"total": 20.2}, occurred_at_ms=2000, message_id="m-3"),
            Event("track", "c", "Booked", {"starts_at": "1970-01-03", "x": 1}, occurred_at_ms=3000, message_id="m-4"),
        ]
    ):
        state = under.apply(state, event, 1000 * n, 1000 * n).state
    assert state is not None
    return state


FIELDS = [
    "arrived_ms",
    "born_ms",
    "clock_ms",
    "consent",
    "contact",
    "first_ms",
    "known",
    "limits_passed",
    "lists",
    "members",
    "program_revision",
    "revision",
    "traits",
    "contact_changed",
    "due_ms",
    "kept",
    "live",
    "answers",
    "progress",
]


def fields(state: ContactState) -> dict[str, Any]:
    keyed = {
        id: {key: (one.seq, one.at_ms, one.born_ms, one.kept, one.live, one.answers) for key, one in by_key.items()}
        for id, by_key in state.keyed.items()
    }
    return {name: copy.copy(getattr(state, name)) for name in FIELDS} | {"keyed": keyed}


def test_what_was_written_is_read_again() -> None:
    """A field forgotten by the codec shows only after a restart."""
    under = program()
    state = stepped(under)
    state.progress = b"kept"
    again = under.decode("c", under.encode(state))
    state.contact_changed = False

    assert fields(state) == fields(again)


def test_the_bytes_of_format_5_are_what_they_were() -> None:
    """A change of format that nobody meant makes every state of a running system unreadable."""
    golden = HERE / "state_5.hex"
    record = encode(stepped(program()))

    assert golden.read_text().split() == [record.hex()], (
        "a new format needs a new number, a reader for the old, and a golden file"
    )


@pytest.mark.parametrize("format", [1, 2, 3, 4])
def test_a_record_of_an_earlier_format_goes_on_where_it_was(format: int) -> None:
    """Who was on the way into a segment before the upgrade gets there after it, and nobody is told twice."""
    under = program()
    old = under.decode("c", bytes.fromhex((HERE / f"state_{format}.hex").read_text().strip()))
    new = under.decode("c", under.encode(stepped(under)))
    later = [
        Event("track", "c", "Order Completed", {"total": 5}, occurred_at_ms=5000, message_id="m-5"),
        Event("track", "c", "Booked", {"starts_at": "1970-01-03"}, occurred_at_ms=6000, message_id="m-4"),
        Event("identify", "c", traits={"plan": "free"}, occurred_at_ms=9 * DAY_MS),
        Event("identify", "c", traits={"plan": "pro"}, occurred_at_ms=9 * DAY_MS + 1),
    ]
    for event in later:
        at_ms = event.occurred_at_ms
        assert at_ms is not None
        first, second = under.apply(old, event, at_ms, at_ms), under.apply(new, event, at_ms, at_ms)
        assert first.transitions == second.transitions
        assert first.duplicate == second.duplicate
    played = under.advance(old, 99 * DAY_MS)

    assert played == under.advance(new, 99 * DAY_MS)
    assert {"pro", "steady", "lapsed", "buyers", "good"} <= {transition.segment for transition in played}


def test_the_header_says_due_and_revision_without_decoding() -> None:
    """Timers of a million contacts are found from headers alone."""
    under = program(revision=7)
    state = stepped(under)

    assert (state.due_ms, 7) == header(under.encode(state))
    assert 3_600_000 == state.due_ms, "the hold of `pro` ends an hour after the trait was written"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x01",
        b"\x06" + b"\0" * 30,
        b"\x01" + b"\0" * 12 + b"\xc1",
        b"\x02" + b"\0" * 12 + b"\xc1",
        b"\x03" + b"\0" * 12 + b"\xc1",
        b"\x04" + b"\0" * 12 + b"\xc1",
        b"\x05" + b"\0" * 12 + b"\xc1",
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_says_so(record: bytes) -> None:
    """A damaged record is quarantined by its error, not found by an IndexError somewhere."""
    with pytest.raises(StateError, match="expected"):
        program().decode("c", record)


def test_a_state_never_passes_its_limit_and_says_what_it_cost() -> None:
    """A record that the broker refuses stops its partition for good."""
    limits = Limits(state_bytes=20_000)
    under = program(limits=limits)
    state = None
    for n in range(3000):
        raw = (
            b'{"type":"track","userId":"c","event":"%s","timestamp":%d,"messageId":"m-%d",'
            b'"properties":{"total":1.5,"starts_at":"2040-01-01","note":"%s"}}'
        )
        event = parse_event(raw % (b"Order Completed" if n % 2 else b"Booked", n * 1000, n, b"x" * 200))
        state = under.apply(state, event, n * 1000, n * 1000).state
        assert state is not None
        assert len(under.encode(state)) <= limits.state_bytes

    assert state is not None
    assert state.limits_passed > 0


def test_traits_are_bounded_and_the_one_seen_longest_ago_goes_first() -> None:
    """A service that makes up trait names may not fill the broker."""
    under = program({"segments": [{"id": "s", "when": {"trait": "t0", "exists": True}}]}, limits=Limits(traits=3))
    state = under.apply(None, Event("identify", "c", traits={"t0": 1, "t1": 1, "t2": 1}, occurred_at_ms=0), 0, 0).state
    assert state is not None
    under.apply(state, Event("identify", "c", traits={"t0": 1}, occurred_at_ms=1), 1, 1)
    under.apply(state, Event("identify", "c", traits={"t3": 1}, occurred_at_ms=2), 2, 2)

    assert ["t2", "t0", "t3"] == list(state.traits)

    step = under.apply(state, Event("identify", "c", traits={"t4": 1, "t5": 1}, occurred_at_ms=3), 3, 3)

    assert [("s", "left")] == [(t.segment, t.transition) for t in step.transitions]


class TestChangeOver:
    """A state written under other definitions is taken over at its next touch, or by the sweep."""

    def test_a_new_segment_is_entered_with_cause_backfill_at_the_clock(self) -> None:
        """Traits are known, so who passes is a member at once; nobody waits for the next event."""
        state = stepped(program({"segments": [{"id": "all", "when": {"everyone": True}}]}, revision=1))
        new = {
            "segments": [
                {"id": "all", "when": {"everyone": True}},
                {"id": "pro", "when": {"trait": "plan", "eq": "pro"}},
            ]
        }

        (entered,) = program(new, revision=2).change_over(state, 0)

        assert ("pro", 1, 3000, "backfill") == (entered.segment, entered.seq, entered.at_ms, entered.cause)

    def test_a_changed_segment_is_left_with_cause_edit(self) -> None:
        """The old answer stood; the new one replaces it once, net."""
        old = {"segments": [{"id": "s", "when": {"trait": "plan", "eq": "pro"}}]}
        new = {"segments": [{"id": "s", "when": {"trait": "plan", "eq": "free"}}]}
        state = stepped(program(old, revision=1))

        (left,) = program(new, revision=2, versions={"s": 2}).change_over(state, 0)

        assert ("s", 2, "edit", 2) == (left.segment, left.seq, left.cause, left.segment_version)

    def test_a_removed_segment_is_left_and_its_seq_goes_on_when_it_comes_back(self) -> None:
        """Consumers that count on alternation must not see `entered` twice."""
        one = {"segments": [{"id": "s", "when": {"everyone": True}}, {"id": "t", "when": {"everyone": True}}]}
        without = {"segments": [{"id": "t", "when": {"everyone": True}}]}
        state = stepped(program(one, revision=1))

        (left,) = program(without, revision=2).change_over(state, 0)
        (again,) = program(one, revision=3).change_over(state, 0)

        assert ("s", 2, "edit") == (left.segment, left.seq, left.cause)
        assert ("s", 3, "edit") == (again.segment, again.seq, again.cause)

    def test_unchanged_definitions_change_nothing_but_the_revision(self) -> None:
        """An `apply` of the same file may message nobody."""
        state = stepped(program(revision=1))
        before = fields(state)

        assert [] == program(revision=2).change_over(state, 0)
        assert before | {"revision": 5, "program_revision": 2} == fields(state)

    def test_a_definition_takes_effect_at_an_instant_and_plays_nothing_of_before(self) -> None:
        """A contact at rest for weeks must not be mailed about what would have been due in them."""
        state = stepped(program({"segments": [{"id": "all", "when": {"everyone": True}}]}, revision=1))
        when = {"event": "Booked", "where": {"starts_at": {"older_than": "1d"}}}
        under = program(
            {"segments": [{"id": "ends", "when": {"trait": "ends", "within_next": "1d"}}, {"id": "b", "when": when}]}
        )
        state.traits["ends"] = ["1970-01-10", 0]
        under.revision = 2

        assert ["all"] == [transition.segment for transition in under.change_over(state, 30 * DAY_MS)]
        assert (30 * DAY_MS, None) == (state.clock_ms, state.due_ms)

    def test_a_state_of_these_definitions_is_left_as_it_is(self) -> None:
        """The sweep may meet a contact whose event came first."""
        under = program(revision=1)
        state = stepped(under)
        before = fields(state)

        assert [] == under.change_over(state, 99 * DAY_MS)
        assert before == fields(state)


def test_numbers_that_take_more_room_than_their_text_do_not_pass_the_limit() -> None:
    """`1e9` is three characters and nine bytes: an estimate by text would let a record grow past what the broker takes."""
    limits = Limits(state_bytes=50_000)
    under = program(limits=limits)
    numbers = b"[" + b",".join([b"1e9"] * 3_000) + b"]"
    state = None
    for n in range(12):
        raw = b'{"type":"identify","userId":"c","timestamp":%d,"traits":{"t%d":%s}}' % (n, n, numbers)
        state = under.apply(state, parse_event(raw), n, n).state
        assert state is not None
        assert len(under.encode(state)) <= limits.state_bytes


def test_large_writes_that_unchanged_for_keeps_are_bounded_too() -> None:
    """Two of 200 kB kept beside the traits: the step must end, and the record fit."""
    limits = Limits(state_bytes=900 * 1024)
    whens = [{"trait": f"t{n}", "unchanged_for": "30d"} for n in range(3)]
    under = program({"segments": [{"id": f"s{n}", "when": when} for n, when in enumerate(whens)]}, limits=limits)
    state = None
    for n in range(9):
        text = bytes([65 + n]) * 200_000
        raw = b'{"type":"identify","userId":"c","timestamp":%d,"traits":{"t%d":"%s"}}' % (n, n % 3, text)
        state = under.apply(state, parse_event(raw), n, n).state
        assert state is not None
        assert len(under.encode(state)) <= limits.state_bytes


def test_a_new_unchanged_for_over_large_traits_does_not_pass_the_limit() -> None:
    """The sweep of an apply must not write what the broker refuses."""
    limits = Limits(state_bytes=900 * 1024)
    old = program({"segments": [{"id": "s", "when": {"everyone": True}}]}, limits=limits, revision=1)
    state = None
    for n in range(4):
        raw = b'{"type":"identify","userId":"c","timestamp":%d,"traits":{"t%d":"%s"}}' % (n, n, b"x" * 210_000)
        state = old.apply(state, parse_event(raw), n, n).state
    assert state is not None
    whens = [{"trait": f"t{n}", "unchanged_for": "30d"} for n in range(4)]
    new = program(
        {"segments": [{"id": f"s{n}", "when": when} for n, when in enumerate(whens)]}, limits=limits, revision=2
    )
    new.change_over(state, 10)

    assert len(new.encode(state)) <= limits.state_bytes


def test_a_transition_quotes_of_an_event_no_more_than_its_bounds() -> None:
    """A hundred segments entered by one event must not make twenty-five megabytes of it."""
    under = program({"segments": [{"id": "s", "when": {"everyone": True}}]})
    event = Event("track", "c", "n" * 100_000, {"a": "b" * 20_000}, occurred_at_ms=0, message_id="m" * 100_000)
    event.size = 220_000
    (entered,) = under.apply(None, event, 0, 0).transitions
    assert entered.event is not None

    assert (1_024, None, None, True) == (
        len(entered.event.name or ""),
        entered.event.message_id,
        entered.event.properties,
        entered.event.properties_cut,
    )


def test_what_was_forgotten_and_entered_anew_in_one_step_is_not_told_as_forgotten() -> None:
    """Its record would be a tombstone, and the contact a member."""
    state = ContactState("c", 1)
    state.forgotten = [("gone", None), ("back", None), ("cart", "gone"), ("cart", "back"), ("cart", "seen")]
    state.members["back"] = pack_member(1, 0)
    state.keyed["cart"] = {"back": Keyed(0), "seen": Keyed(0)}
    state.keyed["cart"]["back"].seq = 1

    assert [("gone", None), ("cart", "gone"), ("cart", "seen")] == state.take_forgotten()
    assert [] == state.take_forgotten()
