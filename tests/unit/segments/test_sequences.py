"""Sequences against a matcher that tries every combination of events, at every millisecond."""

import dataclasses
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from segments.chains import standing
from segments.conditions import UTC, Matching, Names, SequenceIs, Step, TraitRef, Tz, Where
from segments.conditions import Test as Operator
from segments.sequences import SequenceLeaf

HOUR_MS = 3_600_000


@dataclasses.dataclass
class Someone:
    """A contact as far as leaves see one."""

    traits: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    clock_ms: int = 0
    first_ms: int = 0
    contact: str = "c"
    bytes_estimated: int = 0
    limits_passed: int = 0


def event(name: str, **properties: Any) -> Event:
    return Event("track", "c", name, properties)


def step(name: str, within_ms: int | None = None, **more: Any) -> Step:
    where = more.pop("where", None)
    return Step(Matching(Names((name,)), where, **more), within_ms)


def absent(name: str, within_ms: int | None = None) -> Step:
    return Step(Matching(Names((name,))), within_ms, absent=True)


def stored(kept: Any) -> Any:
    """What is kept, once it has been through the state's record."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(kept))


class Follower:
    """Feeds a leaf as the evaluator does: due instants first, the answer kept from one to the next."""

    def __init__(self, leaf: SequenceLeaf, contact: Someone | None = None) -> None:
        self.leaf = leaf
        self.contact = contact or Someone()
        self.kept: Any = None
        self.answer = False
        self.due_ms: int | None = None
        self.reads = 0

    def advance(self, now_ms: int) -> None:
        """Play what is due up to and including `now_ms`."""
        while self.due_ms is not None and self.due_ms <= now_ms:
            self.contact.clock_ms = max(self.contact.clock_ms, self.due_ms)
            before_ms = self.due_ms
            self.read()
            assert self.due_ms is None or self.due_ms > before_ms, "time has to move on"
        self.contact.clock_ms = max(self.contact.clock_ms, now_ms)

    def read(self) -> None:
        self.reads += 1
        self.answer, self.due_ms = self.leaf.read(self.kept, self.contact, self.contact.clock_ms)

    def take(self, taken: Event, at_ms: int) -> None:
        """Play what is due before the event, take it, then what is due at that instant."""
        if at_ms > self.contact.clock_ms:
            self.advance(at_ms - 1)
            self.contact.clock_ms = at_ms
        found = self.leaf.take(self.kept, taken, at_ms, self.contact)
        if found is not None:
            self.kept, self.answer, self.due_ms = stored(found[0]), found[1], found[2]
        if self.due_ms is not None and self.due_ms <= self.contact.clock_ms:
            self.read()


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_a_cart_left_alone_for_two_hours_completes_then_and_no_earlier() -> None:
    """The page's example: cart, checkout within an hour, and no order for two hours after."""
    steps = (step("Cart Updated"), step("Checkout Started", HOUR_MS), absent("Order Completed", 2 * HOUR_MS))
    follower = Follower(SequenceLeaf(SequenceIs(steps, completed_ms=7 * 24 * HOUR_MS)))

    follower.take(event("Cart Updated"), 0)
    assert (False, None) == (follower.answer, follower.due_ms)
    follower.take(event("Checkout Started"), HOUR_MS)
    assert (False, 3 * HOUR_MS) == (follower.answer, follower.due_ms)
    follower.advance(3 * HOUR_MS)
    assert (True, 3 * HOUR_MS + 7 * 24 * HOUR_MS) == (follower.answer, follower.due_ms)
    follower.take(event("Order Completed"), 3 * HOUR_MS + 1)
    assert follower.answer, "too late to undo it"
    follower.advance(3 * HOUR_MS + 7 * 24 * HOUR_MS)
    assert (False, None) == (follower.answer, follower.due_ms)


def test_an_order_at_the_very_instant_of_completion_forbids_it() -> None:
    """The window after an event includes its end."""
    leaf = SequenceLeaf(SequenceIs((step("A"), absent("B", 10))))
    at_the_end, after = Follower(leaf), Follower(leaf)
    for follower, at_ms in ((at_the_end, 10), (after, 11)):
        follower.take(event("A"), 0)
        follower.take(event("B"), at_ms)

    assert not at_the_end.answer
    assert after.answer


def test_a_late_event_undoes_a_match() -> None:
    """An order that is heard of after the fact has been made all the same."""
    follower = Follower(SequenceLeaf(SequenceIs((step("A"), absent("B"), step("C")))))
    follower.take(event("A"), 0)
    follower.take(event("C"), 10)
    assert follower.answer

    follower.take(event("B"), 5)

    assert not follower.answer


def test_events_of_one_instant_follow_each_other_in_no_order() -> None:
    """Steps are in strictly increasing time, whatever arrived first."""
    follower = Follower(SequenceLeaf(SequenceIs((step("A"), step("B")))))
    follower.take(event("A"), 5)
    follower.take(event("B"), 5)
    assert not follower.answer

    follower.take(event("B"), 6)

    assert follower.answer


def test_by_tells_a_number_and_its_text_as_one_value_and_forgets_who_carries_none() -> None:
    """Only an event that carries the same value goes on with a match, or forbids it."""
    leaf = SequenceLeaf(SequenceIs((step("A"), absent("X"), step("B")), by="cart"))
    follower = Follower(leaf)
    follower.take(event("A", cart=5), 0)
    follower.take(event("X"), 1)
    follower.take(event("X", cart="6"), 1)
    follower.take(event("B", cart="7"), 2)
    assert not follower.answer

    follower.take(event("B", cart="5"), 3)

    assert follower.answer


def test_a_sequence_that_nothing_can_undo_keeps_no_events_once_it_is_true() -> None:
    """An onboarding that was completed once is completed; its events are of no more use."""
    for by in (None, "id"):
        leaf = SequenceLeaf(SequenceIs((step("A"), step("B", 10)), by=by))
        follower = Follower(leaf)
        for at_ms in range(5):
            follower.take(event("A", id=at_ms % 2), at_ms)
        follower.take(event("B", id=0), 9)

        assert follower.answer
        assert [] == leaf.times(follower.kept)
        assert not leaf.is_empty(follower.kept)
        follower.take(event("A", id=1), 20)
        assert (True, None) == leaf.read(follower.kept, follower.contact, 99)


def test_events_that_no_window_reaches_any_more_are_dropped() -> None:
    """A thousand carts of last year may not be in the state for ever."""
    steps = (step("A"), step("B", 10), absent("X", 5))
    for by in (None, "id"):
        leaf = SequenceLeaf(SequenceIs(steps, by=by, completed_ms=100))
        follower = Follower(leaf)
        for at_ms in range(0, 100_000, 10):
            follower.take(event("A", id=at_ms), at_ms)
            follower.take(event("B", id=at_ms), at_ms + 1)

        assert 115 == leaf.keep_ms
        assert len(leaf.times(follower.kept)) <= 2 * 12
        assert by is None or len(follower.kept[3]) <= 12


def test_a_late_event_at_the_very_end_of_a_window_undoes_what_had_completed_there() -> None:
    """Nothing later was heard of, so it is the newest; and yet the clock, and the answer, had gone on without it."""
    follower = Follower(SequenceLeaf(SequenceIs((step("A"), absent("B", 10)))))
    follower.take(event("A"), 0)
    follower.advance(20)
    assert follower.answer

    follower.take(event("B"), 10)

    assert not follower.answer


def test_an_event_that_completes_nothing_costs_no_reading_anew() -> None:
    """A contact who does the first step a thousand times isn't matched a thousand times."""
    chains = SequenceLeaf(SequenceIs((step("A"), absent("X"), step("B", 10), absent("Y", 5)))).chains
    a, x, b, y = 0, 1, 2, 3
    entries = [[at_ms, [x if at_ms % 3 else a]] for at_ms in range(1000)]

    for n in range(1, 1000):
        assert not chains.may_turn(entries[:n], answer=False, due_ms=None)
    assert not chains.may_turn([*entries, [5000, [b]]], answer=False, due_ms=None), "no A lies within 10 ms before it"
    assert not chains.may_turn([*entries, [1001, [b]]], answer=True, due_ms=None), "one more match of what is true"
    assert not chains.may_turn([*entries, [1001, [y]]], answer=True, due_ms=None), (
        "nothing has completed that it could undo"
    )
    entries.append([1001, [b]])
    assert chains.may_turn(entries, answer=False, due_ms=None)
    assert chains.may_turn(entries, answer=False, due_ms=1007)
    assert not chains.may_turn(entries, answer=False, due_ms=1006), "one that completes no later is waited for"
    assert chains.may_turn([*entries, [1006, [y]]], answer=True, due_ms=None)
    assert not chains.may_turn([*entries, [1007, [y]]], answer=True, due_ms=None)


def test_no_more_events_than_the_limit_are_kept_and_the_oldest_go_first() -> None:
    """The limit is for each condition, over all values of `by`, and passing it is counted."""
    leaf = SequenceLeaf(SequenceIs((step("A"), step("B"))))
    leaf.limit(10, 4)
    follower = Follower(leaf)
    for at_ms in range(12):
        follower.take(event("A"), at_ms)
    assert list(range(2, 12)) == leaf.times(follower.kept)
    assert 2 == follower.contact.limits_passed

    leaf = SequenceLeaf(SequenceIs((step("A"), step("B")), by="id"))
    leaf.limit(10, 4)
    follower = Follower(leaf)
    for at_ms in range(12):
        follower.take(event("A", id=at_ms % 2), at_ms)
    assert list(range(2, 12)) == sorted(leaf.times(follower.kept))
    for at_ms in range(20, 24):
        follower.take(event("A", id=at_ms), at_ms)
    assert {"20", "21", "22", "23"} == set(follower.kept[3])
    assert 4 == follower.kept[2]


def test_a_step_that_compares_with_a_trait_follows_that_trait() -> None:
    """`where: {country: {eq: {trait: country}}}` means the country as it is now."""
    where = Where("path", path="country", test=Operator("eq", TraitRef("country")))
    leaf = SequenceLeaf(SequenceIs((step("A", where=where), step("B"))))
    follower = Follower(leaf)
    follower.take(event("A", country="NL"), 0)
    follower.take(event("B"), 1)
    assert frozenset(("country",)) == leaf.traits
    assert not follower.answer

    for country, answer in (("NL", True), ("DE", False), ("NL", True)):
        follower.contact.traits["country"] = [country, 0]
        follower.read()
        assert answer is follower.answer


def test_a_step_whose_test_moves_with_time_is_due_when_it_does() -> None:
    """An offer that has run out can't be what the contact came back for."""
    where = Where("path", path="ends", test=Operator("within_next", 1000))
    follower = Follower(SequenceLeaf(SequenceIs((step("A", where=where), step("B")))))
    follower.take(event("A", ends="1970-01-01T00:00:05Z"), 0)
    follower.take(event("B"), 1)
    assert not follower.answer

    follower.advance(3999)
    assert not follower.answer
    follower.advance(4000)
    assert follower.answer
    follower.advance(5000)
    assert not follower.answer


def test_a_local_time_of_the_contact_follows_its_zone() -> None:
    """Ten at night is another instant once the contact has moved."""
    steps = (step("A", local_time=(0, HOUR_MS), tz=Tz("UTC", contact=True)), step("B"))
    leaf = SequenceLeaf(SequenceIs(steps))
    follower = Follower(leaf)
    follower.take(event("A"), 4 * HOUR_MS + HOUR_MS // 2)
    follower.take(event("B"), 5 * HOUR_MS)
    assert not follower.answer

    follower.contact.traits["timezone"] = ["Etc/GMT+4", 0]
    follower.read()

    assert follower.answer
    assert {"timezone"} == leaf.traits


def test_a_local_time_in_a_zone_of_its_own_is_asked_on_arrival() -> None:
    """What can't change is not kept to be asked again."""
    steps = (step("A", local_time=(22 * HOUR_MS, 4 * HOUR_MS), weekdays=(3,), tz=UTC), step("B"))
    leaf = SequenceLeaf(SequenceIs(steps))
    follower = Follower(leaf)
    follower.take(event("A"), 4 * HOUR_MS)  # Thursday, 1 January 1970, too late in the night
    assert follower.kept is None
    follower.take(event("A"), 4 * HOUR_MS + 24 * HOUR_MS - 1)  # Friday
    assert follower.kept is None
    follower.take(event("A"), 22 * HOUR_MS + 7 * 24 * HOUR_MS)
    follower.take(event("B"), 23 * HOUR_MS + 7 * 24 * HOUR_MS)

    assert follower.answer


def test_two_hundred_steps_are_matched_like_two() -> None:
    """As many as a segment may have conditions; which steps an event matches must fit into the record."""
    steps = tuple(step(f"S{n}") for n in range(200))
    follower = Follower(SequenceLeaf(SequenceIs(steps)))
    for n in range(200):
        assert not follower.answer
        follower.take(event(f"S{n}"), n)

    assert follower.answer


# ---- against every combination --------------------------------------------------------------------------------------


def naive(condition: SequenceIs, events: list[tuple[int, str, Any]], now_ms: int) -> bool:
    """Whether some match stands at `now_ms`, found by trying all of them."""
    values = {value for _, _, value in events if value is not None} if condition.by else {None}
    return any(
        _naive(condition, [(t, name) for t, name, found in events if not condition.by or found == value], now_ms)
        for value in values
    )


def _naive(condition: SequenceIs, events: list[tuple[int, str]], now_ms: int) -> bool:
    asked = [[t for t, name in events if name in step.matching.names.names] for step in condition.steps]
    event_steps = [n for n, step in enumerate(condition.steps) if not step.absent]
    for times in product(*(sorted(set(asked[n])) for n in event_steps)):
        completes_ms = _completes_ms(condition.steps, asked, dict(zip(event_steps, times, strict=True)))
        if completes_ms is None or completes_ms > now_ms:
            continue
        if condition.completed_ms is not None and completes_ms <= now_ms - condition.completed_ms:
            continue
        if condition.started_ms is None or times[0] > now_ms - condition.started_ms:
            return True
    return False


def _completes_ms(steps: tuple[Step, ...], asked: list[list[int]], chosen: dict[int, int]) -> int | None:
    last: int | None = None
    absents: list[int] = []
    for n, one in enumerate(steps):
        if one.absent:
            absents.append(n)
            continue
        at_ms = chosen[n]
        if last is not None:
            if at_ms <= last or (one.within_ms is not None and at_ms > last + one.within_ms):
                return None
            if any(_lies(asked[a], last, at_ms - 1, steps[a].within_ms) for a in absents):
                return None
        last, absents = at_ms, []
    assert last is not None
    if not absents:
        return last
    longest_ms = max(steps[a].within_ms or 0 for a in absents)
    if any(_lies(asked[a], last, last + longest_ms, steps[a].within_ms) for a in absents):
        return None
    return last + longest_ms


def _lies(times: list[int], after_ms: int, until_ms: int, within_ms: int | None) -> bool:
    if within_ms is not None:
        until_ms = min(until_ms, after_ms + within_ms)
    return any(after_ms < t <= until_ms for t in times)


NAMES = st.sampled_from("ABC")
MATCHING = st.lists(NAMES, min_size=1, max_size=2, unique=True).map(lambda names: Matching(Names(tuple(sorted(names)))))
WITHIN = st.none() | st.integers(1, 9)


@st.composite
def conditions(draw: st.DrawFn) -> SequenceIs:
    steps = [Step(draw(MATCHING))]
    for _ in range(draw(st.integers(0, 2))):
        steps += [Step(draw(MATCHING), draw(WITHIN), absent=True) for _ in range(draw(st.integers(0, 2)))]
        steps.append(Step(draw(MATCHING), draw(WITHIN)))
    steps += [Step(draw(MATCHING), draw(st.integers(1, 9)), absent=True) for _ in range(draw(st.integers(0, 2)))]
    window = st.none() | st.integers(1, 12)
    return SequenceIs(tuple(steps), draw(st.sampled_from([None, "id"])), draw(window), draw(window))


EVENTS = st.lists(
    st.tuples(st.integers(0, 30), NAMES, st.sampled_from([1, 1, 2, None]), st.sampled_from([0, 0, 0, 1, 5])),
    max_size=10,
)


@settings(max_examples=400, deadline=None)
@given(conditions(), EVENTS, st.booleans())
def test_every_answer_at_every_millisecond_is_that_of_all_combinations(
    condition: SequenceIs, events: list[tuple[int, str, Any, int]], in_order: bool
) -> None:
    """Late events, ties, windows, absent steps and values: no answer is wrong, and no due instant is missed."""
    if in_order:
        events = sorted(events, key=lambda one: one[0])
    leaf = SequenceLeaf(condition)
    follower = Follower(leaf)
    past: list[tuple[int, str, Any]] = []
    clock_ms = 0
    for t, name, value, pause_ms in [*events, (60, "Z", None, 0)]:
        for now_ms in range(clock_ms, max(clock_ms + pause_ms, t - 1) + 1):
            follower.advance(now_ms)
            assert naive(condition, past, now_ms) is follower.answer, f"at {now_ms}, due {follower.due_ms}"
            clock_ms = now_ms
        clock_ms = max(clock_ms, t)
        properties = {} if value is None else {"id": value}
        follower.take(event(name, **properties), t)
        past.append((t, name, value))
        assert naive(condition, past, clock_ms) is follower.answer, f"after {name} of {t} at {clock_ms}"


@settings(max_examples=200, deadline=None)
@given(conditions(), EVENTS, EVENTS, st.integers(0, 40))
def test_two_histories_made_one_answer_as_if_they_had_been_one_contact(
    condition: SequenceIs, ours: list[Any], theirs: list[Any], pause_ms: int
) -> None:
    """A link must not lose or double what either has done; and what one forgot was of no use to the other."""
    leaf = SequenceLeaf(condition)
    both = [Follower(leaf), Follower(leaf)]
    for follower, events in zip(both, (ours, theirs), strict=True):
        for t, name, value, _ in events:
            follower.take(event(name, **({} if value is None else {"id": value})), t)
    now_ms = max(follower.contact.clock_ms for follower in both) + pause_ms
    survivor = both[0]
    for follower in both:
        follower.advance(now_ms)

    survivor.kept = stored(leaf.merge(both[0].kept, both[1].kept, survivor.contact))
    survivor.read()

    past = [(t, name, value) for t, name, value, _ in ours + theirs]
    for later_ms in range(now_ms, now_ms + 20):
        survivor.advance(later_ms)
        assert naive(condition, past, later_ms) is survivor.answer


@settings(max_examples=200, deadline=None)
@given(conditions(), EVENTS, st.integers(0, 30))
def test_what_is_left_after_shedding_answers_for_what_is_left(
    condition: SequenceIs, events: list[Any], before_ms: int
) -> None:
    """A state that has grown too big forgets its oldest events, not its mind."""
    leaf = SequenceLeaf(condition)
    follower = Follower(leaf)
    for t, name, value, _ in events:
        follower.take(event(name, **({} if value is None else {"id": value})), t)
    if follower.kept is None or (leaf.lasts and follower.answer):
        return

    follower.kept = leaf.shed(follower.kept, before_ms)
    follower.read()

    past = [(t, name, value) for t, name, value, _ in events if t > before_ms]
    assert all(t > before_ms for t in leaf.times(follower.kept))
    for later_ms in range(follower.contact.clock_ms, follower.contact.clock_ms + 20):
        follower.advance(later_ms)
        assert naive(condition, past, later_ms) is follower.answer


@settings(max_examples=400, deadline=None)
@given(conditions(), EVENTS)
def test_at_the_limit_an_answer_is_that_of_what_is_left(condition: SequenceIs, events: list[Any]) -> None:
    """An event that the limit drops may have made a match, or have forbidden one."""
    leaf = SequenceLeaf(dataclasses.replace(condition, by=None))
    leaf.limit(3, 3)
    follower = Follower(leaf)

    def answer_of_all() -> bool:
        matches, now_ms = leaf.chains.matches(follower.kept[2]), follower.contact.clock_ms
        return standing(matches, now_ms, leaf.completed_ms, leaf.started_ms)[0]

    for t, name, *_ in events:
        follower.take(event(name), t)
        if follower.kept is not None and not (leaf.lasts and follower.answer):
            assert answer_of_all() is follower.answer
    if follower.kept is None or (leaf.lasts and follower.answer):
        return
    for later_ms in range(follower.contact.clock_ms, follower.contact.clock_ms + 20):
        follower.advance(later_ms)
        assert answer_of_all() is follower.answer


@pytest.mark.parametrize("last", [(step("E"),), (step("E"), absent("F", HOUR_MS)), (absent("F"), step("E"))])
def test_an_event_of_many_goes_through_none_of_the_chains_that_the_others_make(last: tuple[Step, ...]) -> None:
    """Where the event of all steps is sent ten thousand times, each of them took a tenth of a second."""
    leaf, contact, kept = SequenceLeaf(SequenceIs((*[step("E", HOUR_MS)] * 14, *last), completed_ms=1)), Someone(), None
    leaf.limit(1_000, 1_000)

    def take() -> None:
        nonlocal kept
        contact.clock_ms += 2
        taken = leaf.take(kept, event("E"), contact.clock_ms, contact)
        assert taken is not None
        kept = taken[0]
        leaf.read(kept, contact, contact.clock_ms + 1)

    def took_s(call: Callable[[], object], times: int) -> float:
        began_s = time.process_time()
        for _ in range(times):
            call()
        return (time.process_time() - began_s) / times

    for _ in range(1_100):
        take()
    assert kept is not None
    assert took_s(take, 20) < took_s(lambda: leaf.chains.matches(kept[2]), 3) / 10
