"""Scores against fractions: the value of each event by itself, at every millisecond that could matter."""

import dataclasses
import functools
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from segments.conditions import EventRule, Matching, Names, Score, TraitIs, TraitRef, TraitRule, Tz, Where
from segments.conditions import Test as Operator
from segments.decay import NEWEST_MAX
from segments.outlook import ENDS_MAX
from segments.scores import ScoreLeaf, ScoreTest

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PRECISE = Context(prec=60)


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


def rule(name: str, points: Any, where: Where | None = None, **more: Any) -> EventRule:
    return EventRule(Matching(Names((name,)), where, tz=more.pop("tz", Tz()), **more.pop("local", {})), points, **more)


def trait_rule(path: str, points: Any, operator: str, argument: Any) -> TraitRule:
    return TraitRule(TraitIs(path, Operator(operator, argument)), points)


def score(*rules: EventRule | TraitRule, half_life_ms: int | None = DAY_MS, **more: Any) -> Score:
    return Score("lead", rules, half_life_ms, **more)


def stored(kept: Any) -> Any:
    """What is kept, once it has been through the state's record."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(kept))


class Follower:
    """Feeds a score as the evaluator does, with one test of it: due instants first, the answer kept between them."""

    def __init__(self, defined: Score, operator: str, argument: Any, contact: Someone | None = None) -> None:
        self.leaf = ScoreLeaf(defined)
        self.test = ScoreTest(self.leaf, Operator(operator, argument))
        self.contact = contact or Someone()
        self.kept: Any = None
        self.due_ms: int | None = None
        self.played: list[int] = []
        self.turned: list[tuple[int, bool]] = []
        self.answer = self.test.flipped

    def read(self) -> None:
        found, self.due_ms = self.test.read(self.kept, self.contact, self.contact.clock_ms)
        answer = found is not self.test.flipped
        if answer is not self.answer:
            self.turned.append((self.contact.clock_ms, answer))
        self.answer = answer

    def advance(self, now_ms: int) -> None:
        while self.due_ms is not None and self.due_ms <= now_ms:
            before_ms = self.due_ms
            self.contact.clock_ms = max(self.contact.clock_ms, before_ms)
            self.played.append(before_ms)
            self.read()
            assert self.due_ms is None or self.due_ms > before_ms, "time has to move on"
        self.contact.clock_ms = max(self.contact.clock_ms, now_ms)

    def take(self, taken: Event, at_ms: int) -> None:
        if at_ms > self.contact.clock_ms:
            self.advance(at_ms - 1)
            self.contact.clock_ms = at_ms
        kept = self.leaf.take(self.kept, taken, at_ms, self.contact)
        if kept is not None:
            self.kept = stored(kept)
            self.read()
        elif self.due_ms is not None and self.due_ms <= self.contact.clock_ms:
            self.read()

    @property
    def value(self) -> Fraction:
        return self.leaf.value(self.kept, self.contact, self.contact.clock_ms)


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_decay_crosses_a_threshold_at_the_first_millisecond_below_it() -> None:
    """Eighty points are forty after one half-life, and forty are still at least forty."""
    reached, above = Follower(score(rule("A", 80)), "gte", 40), Follower(score(rule("A", 80)), "gt", 40)
    for follower in (reached, above):
        follower.take(event("A"), 1000)
        assert follower.answer
        follower.advance(100 * DAY_MS)

    assert [(1000, True), (1001 + DAY_MS, False)] == reached.turned
    assert [(1000, True), (1000 + DAY_MS, False)] == above.turned
    assert 1 == len(reached.played)


def test_points_that_expire_count_in_full_until_they_do() -> None:
    """At exactly the event plus its time they are gone."""
    follower = Follower(score(rule("A", 40, expires_ms=100)), "gte", 80)
    follower.take(event("A"), 0)
    follower.take(event("A"), 30)
    assert 80 == follower.value

    follower.advance(99)
    assert follower.answer
    follower.advance(100)

    assert not follower.answer
    assert 40 == follower.value
    assert follower.due_ms is None, "40 never become 80"


def test_an_event_counts_nothing_from_64_half_lives_on() -> None:
    """`gt: 0` of what only decays would never turn false; the page ends it."""
    for lasting in (0, 10):
        follower = Follower(score(rule("A", 5), rule("B", 10, lasting=True), half_life_ms=10), "gt", lasting)
        if lasting:
            follower.take(event("B"), 0)
        follower.take(event("A"), 7)
        assert follower.answer
        follower.advance(10_000)

        assert [(7, True), (647, False)] == follower.turned


def test_what_an_older_event_leaves_counts_beside_a_newer_and_opposite_one() -> None:
    """The older is cut first: of +100 and, later, -1, only the -1 is left for a while."""
    defined = score(rule("A", 100), rule("B", -1), half_life_ms=10)
    below = Follower(defined, "lt", 0)
    below.take(event("A"), 0)
    below.take(event("B"), 50)
    below.advance(10_000)

    assert [(640, True), (690, False)] == below.turned


def test_equal_points_of_opposite_sign_cancel_exactly() -> None:
    """Nothing may be left over of them to pass a threshold of zero."""
    for gap_ms, points in ((0, -5), (10, Decimal("-2.5")), (30, Decimal("-0.625"))):
        defined = score(rule("A", 5), rule("B", float(points)), rule("C", 0.1), half_life_ms=10)
        follower = Follower(defined, "gt", 0)
        follower.take(event("A"), 3)
        follower.take(event("B"), 3 + gap_ms)
        assert 0 == follower.value
        assert not follower.answer


def test_min_and_max_clamp_what_is_read_and_not_what_is_kept() -> None:
    """A score that sank to -50 needs 50 points to be back at 0."""
    defined = score(rule("Bad", -50), rule("Good", 20), half_life_ms=None, minimum=0, maximum=25)
    defined = dataclasses.replace(
        defined,
        rules=tuple(dataclasses.replace(one, lasting=True) for one in defined.rules),  # type: ignore[arg-type]
    )
    follower = Follower(defined, "gte", 10)
    values = []
    for name in ("Bad", "Good", "Good", "Good", "Good"):
        follower.take(event(name), 0)
        values.append(follower.value)

    assert [0, 0, 0, 10, 25] == values
    assert follower.answer


@pytest.mark.parametrize(
    ("operator", "argument", "expected"),
    [
        ("gte", 0, True),
        ("gt", 0, False),
        ("lte", 0, True),
        ("lt", 0, False),
        ("gte", 101, False),
        ("lte", 100, True),
        ("lt", 100, True),
        ("between", (0, 5), True),
        ("between", (1, 5), False),
        ("between", (101, 110), False),
    ],
)
def test_a_test_at_or_beyond_the_ends_of_a_score_is_decided_by_them(
    operator: str, argument: Any, expected: bool
) -> None:
    """Of nothing, the score is its `min`, and a test of it may hold; its leaf is false of nothing all the same."""
    follower = Follower(score(rule("A", 5), minimum=0, maximum=100), operator, argument)

    assert expected is follower.test.flipped
    assert (False, None) == follower.test.read(None, follower.contact, 0)
    follower.read()
    assert expected is follower.answer


def test_a_score_of_nothing_counts_the_traits_that_are_absent() -> None:
    """`ne` is true of an absent trait, so its points are there before anything has happened."""
    follower = Follower(score(trait_rule("plan", 20, "ne", "free"), trait_rule("n", 1, "gte", 3)), "gte", 20)
    assert follower.answer
    assert 20 == follower.value

    follower.contact.traits = {"plan": ["free", 0], "n": [3, 0]}
    follower.read()

    assert not follower.answer
    assert 1 == follower.value
    assert {"plan", "n"} == follower.test.traits


def test_a_trait_rule_that_moves_with_time_is_due_when_it_does() -> None:
    """Ten points while the trial ends within an hour."""
    follower = Follower(score(trait_rule("ends", 10, "within_next", HOUR_MS)), "gte", 10)
    follower.contact.traits["ends"] = ["1970-01-02T00:00:00Z", 0]
    follower.read()
    follower.advance(10 * DAY_MS)

    assert [(DAY_MS - HOUR_MS, True), (DAY_MS, False)] == follower.turned


def test_a_trait_rule_with_unchanged_for_is_told_of_writes() -> None:
    """A plan kept for a day is worth something; how long it was kept only its writes say."""
    follower = Follower(score(trait_rule("plan", 10, "unchanged_for", DAY_MS)), "gte", 10)
    assert follower.leaf.is_told_of_writes
    follower.contact.traits["plan"] = ["pro", 5]
    follower.kept = stored(follower.leaf.write(follower.kept, {"plan": "pro"}, 5, follower.contact))
    follower.read()
    follower.advance(10 * DAY_MS)

    assert [(DAY_MS + 5, True)] == follower.turned
    assert follower.leaf.write(None, {"other": 1}, 5, follower.contact) is None
    assert follower.leaf.forget_writes(follower.kept) is None


@pytest.mark.parametrize("more", [{}, {"expires_ms": 5 * HOUR_MS}, {"lasting": True}])
def test_a_rule_that_compares_with_a_trait_follows_it(more: dict[str, Any]) -> None:
    """The event is kept with what is asked of it, and counts or not as the trait is now."""
    where = Where("path", path="country", test=Operator("eq", TraitRef("country")))
    follower = Follower(score(rule("A", 10, where, **more)), "gte", 5)
    follower.take(event("A", country="NL", more="x" * 100), 0)
    assert frozenset(("country",)) == follower.test.traits
    assert not follower.answer
    assert b"xxx" not in msgspec.msgpack.encode(follower.kept)

    for country, answer in (("NL", True), ("DE", False), ("NL", True)):
        follower.contact.traits["country"] = [country, 0]
        follower.read()
        assert answer is follower.answer
    follower.advance(200 * DAY_MS)

    ends = {"{}": DAY_MS + 1, "{'expires_ms': 18000000}": 5 * HOUR_MS, "{'lasting': True}": None}[str(more)]
    assert ([] if ends is None else [(ends, False)]) == follower.turned[3:]
    follower.read()
    assert (ends is None) is bool(follower.leaf.times(follower.kept)), "what counts no more is dropped at a reading"


def test_decaying_points_take_no_more_room_however_many_there_are() -> None:
    """A contact who opens ten thousand mails has a score, not ten thousand mails, in the state."""
    follower = Follower(score(rule("A", 1), rule("B", -1)), "gte", 1)
    for n in range(5000):
        follower.take(event("A" if n % 3 else "B"), n * 1000)

    assert len(follower.kept["newest"]) == NEWEST_MAX
    assert len(msgspec.msgpack.encode(follower.kept)) < 250


@pytest.mark.parametrize("shape", ["in order", "backwards", "apart"])
def test_a_sum_of_many_decaying_events_is_good_to_a_part_in_a_billion(shape: str) -> None:
    """However often the sum was moved on, and whatever came first."""
    times = [n * 977_777 for n in range(400)]
    if shape == "apart":
        times = [n * DAY_MS + n for n in range(100)]
    defined = score(rule("A", 0.7), rule("B", -0.2))
    follower = Follower(defined, "gte", 1)
    events = [(at_ms, "B" if n % 4 == 0 else "A") for n, at_ms in enumerate(times)]
    if shape == "backwards":
        follower.contact.clock_ms = times[-1]
        events.reverse()
    for at_ms, name in events:
        follower.take(event(name), at_ms)

    exact = naive(defined, events, follower.contact.clock_ms)

    assert abs(follower.value - exact) < abs(exact) / 10**9


def test_the_order_of_arrival_makes_no_difference_to_an_answer() -> None:
    """Late or not, an event counts at its own time."""
    defined = score(rule("A", 8), rule("B", -3), rule("C", 5, expires_ms=40_000), half_life_ms=30_000)
    events = [(n * 7_001 % 90_000, "ABC"[n % 3]) for n in range(60)]
    due, values = set(), []
    for order in (events, sorted(events), sorted(events, reverse=True)):
        follower = Follower(defined, "gte", 10)
        follower.contact.clock_ms = 90_000
        for at_ms, name in order:
            follower.take(event(name), at_ms)
        due.add(follower.due_ms)
        values.append(follower.value)

    assert 1 == len(due) and due != {None}
    assert max(values) - min(values) < Fraction(1, 10**9)


def test_a_threshold_is_crossed_by_expiry_and_decay_whichever_comes_first() -> None:
    """What ends before the crossing changes where it lies."""
    defined = score(rule("A", 80), rule("B", 40, expires_ms=2 * HOUR_MS))
    follower = Follower(defined, "gte", 100)
    follower.take(event("A"), 0)
    follower.take(event("B"), 0)
    follower.advance(DAY_MS)
    assert [(0, True), (2 * HOUR_MS, False)] == follower.turned

    follower = Follower(defined, "between", (0, 70))
    follower.take(event("A"), 0)
    follower.take(event("B"), 0)
    follower.advance(DAY_MS)

    (dropped, (turned_ms, answer)) = follower.turned
    assert (0, False) == dropped and answer
    assert naive(defined, [(0, "A")], turned_ms) <= 70 < naive(defined, [(0, "A")], turned_ms - 1)


def test_more_ends_than_are_looked_past_are_played_early_and_not_missed() -> None:
    """A thousand expiries at one instant and at many: the test turns when it does."""
    defined = score(rule("A", 1, expires_ms=1000), half_life_ms=None)
    for spread_ms in (0, 1):
        follower = Follower(defined, "gte", 100)
        for n in range(1000):
            follower.take(event("A"), n * spread_ms)
        follower.advance(10_000)

        assert (1000 + 900 * spread_ms, False) == follower.turned[-1]
        assert len(follower.played) <= 1000 // (ENDS_MAX - 1) + 1


def test_no_more_expiring_events_than_the_limit_are_kept_of_a_rule() -> None:
    """The oldest go first, and it is counted."""
    where = Where("path", path="n", test=Operator("eq", TraitRef("n")))
    follower = Follower(score(rule("A", 1, expires_ms=1000), rule("B", 1, where, lasting=True)), "gte", 1)
    follower.leaf.limit(10, 10)
    for n in range(12):
        follower.take(event("A"), n)
        follower.take(event("B", n=1), n)

    assert sorted(2 * list(range(2, 12))) == sorted(follower.leaf.times(follower.kept))
    assert 4 == follower.contact.limits_passed
    shed = follower.leaf.shed(follower.kept, 5)
    assert sorted(2 * list(range(6, 12))) == sorted(follower.leaf.times(shed))
    assert follower.leaf.is_empty(follower.leaf.shed(shed, 50))


@pytest.mark.parametrize("points", [1e308, -1e308, 1e-300, 5e-324, 2**60, 123456789.125])
@pytest.mark.parametrize("more", [{}, {"expires_ms": 1000}, {"lasting": True}])
def test_points_of_any_size_are_counted_without_an_exception(points: float, more: dict[str, Any]) -> None:
    """Whoever writes 1e308 points gets what he asked for."""
    for operator, argument in (("gte", 3), ("lt", -1e308), ("between", (-5, 1e300)), ("gt", 0)):
        follower = Follower(score(rule("A", points, **more), rule("B", 1), half_life_ms=1000), operator, argument)
        for n in range(NEWEST_MAX + 5):
            follower.take(event("A"), n)
        follower.take(event("B"), 20)
        follower.advance(80_000)


def test_points_that_no_double_holds_meet_their_threshold_exactly() -> None:
    """0.3 points are at least 0.3, and not more, at the instant they are given."""
    for points in (0.1, 0.3, 0.7, 1.1):
        for operator, turned in (("gte", [(5, True), (6, False)]), ("gt", []), ("between", [(5, True), (6, False)])):
            argument = (points, points) if operator == "between" else points
            follower = Follower(score(rule("A", points), rule("B", 0.25)), operator, argument)
            follower.take(event("A"), 5)
            follower.advance(DAY_MS)
            assert turned == follower.turned


def test_what_is_left_of_an_old_event_lifts_a_newer_one_above_its_threshold() -> None:
    """A part in 10^18 is more than nothing, though a double of the sum wouldn't show it."""
    follower = Follower(score(rule("A", 1), rule("B", 40), half_life_ms=10), "gt", 40)
    follower.take(event("A"), 0)
    follower.take(event("B"), 600)
    follower.advance(10_000)

    assert [(600, True), (601, False)] == follower.turned


def test_points_that_expire_do_so_in_order_of_their_events_and_not_of_their_arrival() -> None:
    """A late event ends before one that was heard of first."""
    follower = Follower(score(rule("A", 1, expires_ms=100)), "gte", 1)
    for at_ms in (50, 20, 30, 90, 10):
        follower.take(event("A"), at_ms)

    for now_ms, value in ((109, 5), (110, 4), (120, 3), (130, 2), (150, 1), (189, 1), (190, 0)):
        follower.advance(now_ms)
        assert value == follower.value
    assert [(50, True), (190, False)] == follower.turned


def test_a_score_that_decays_through_a_range_is_in_it_from_its_upper_to_its_lower_end() -> None:
    """Both ends are crossed by decay alone, the upper one first."""
    follower = Follower(score(rule("A", 80)), "between", (20, 40))
    follower.take(event("A"), 0)
    follower.advance(100 * DAY_MS)

    assert [(DAY_MS, True), (2 * DAY_MS + 1, False)] == follower.turned
    assert 2 == len(follower.played)


def test_what_is_kept_as_one_counts_until_its_last_event_ends_whatever_arrived_last() -> None:
    """Forty events heard of backwards: those joined into one sum end with the latest of them, not the last to arrive."""
    defined = score(rule("A", 1), half_life_ms=10)
    follower = Follower(defined, "gt", 0)
    follower.contact.clock_ms = 40
    for at_ms in reversed(range(40)):
        follower.take(event("A"), at_ms)
    joined_ms = 40 - NEWEST_MAX - 1

    follower.advance(joined_ms + 640 - 1)
    one_by_one = naive(defined, [(at_ms, "A") for at_ms in range(joined_ms + 1, 40)], follower.contact.clock_ms)
    assert follower.value > one_by_one * Fraction(11, 10)
    follower.advance(joined_ms + 640)
    assert abs(follower.value - naive(defined, [(t, "A") for t in range(40)], follower.contact.clock_ms)) < 2**-90
    follower.advance(10_000)
    assert (39 + 640, False) == follower.turned[-1]


# ---- against fractions ----------------------------------------------------------------------------------------------


def naive(defined: Score, events: list[tuple[int, str]], now_ms: int) -> Fraction:
    """The score at `now_ms`, event by event, to sixty digits."""
    total = Fraction(0)
    for t, name in events:
        for one in defined.rules:
            if isinstance(one, EventRule) and name in one.matching.names.names:
                total += Fraction(Decimal(str(one.points))) * _share(one, defined.half_life_ms, now_ms - t)
    if defined.minimum is not None:
        total = max(total, Fraction(Decimal(str(defined.minimum))))
    return total if defined.maximum is None else min(total, Fraction(Decimal(str(defined.maximum))))


def _share(one: EventRule, half_life_ms: int | None, age_ms: int) -> Fraction:
    if one.expires_ms is not None:
        return Fraction(age_ms < one.expires_ms)
    if one.lasting or half_life_ms is None:
        return Fraction(1)
    if age_ms >= 64 * half_life_ms:
        return Fraction(0)
    return _faded(age_ms, half_life_ms)


@functools.cache
def _faded(age_ms: int, half_life_ms: int) -> Fraction:
    return Fraction(PRECISE.power(Decimal(2), PRECISE.divide(Decimal(-age_ms), Decimal(half_life_ms))))


def passes(value: Fraction, operator: str, argument: Any) -> bool:
    if operator == "between":
        return argument[0] <= value <= argument[1]
    threshold = Fraction(Decimal(str(argument)))
    return {"gt": value > threshold, "gte": value >= threshold, "lt": value < threshold, "lte": value <= threshold}[
        operator
    ]


POINTS = st.sampled_from([1, 2, 5, 10, 40, 0.5, 0.1, -1, -5, -10, -2.5])


@st.composite
def scores(draw: st.DrawFn) -> Score:
    rules: list[EventRule] = []
    for name in "ABC"[: draw(st.integers(1, 3))]:
        kind = draw(st.sampled_from(["decays", "decays", "expires", "lasts"]))
        expires_ms = draw(st.integers(1, 40)) if kind == "expires" else None
        rules.append(rule(name, draw(POINTS), expires_ms=expires_ms, lasting=kind == "lasts"))
    low = draw(st.sampled_from([None, None, 0, -3]))
    high = draw(st.sampled_from([None, None, 10, 0.5]))
    return score(*rules, half_life_ms=draw(st.sampled_from([1, 2, 3, 4])), minimum=low, maximum=high)


TESTS = st.tuples(
    st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([0, 0, 1, 2.5, 5, 10, 40, 0.1, -1, -5])
) | st.tuples(st.just("between"), st.sampled_from([(0, 5), (1, 1), (-5, 0), (2, 40)]))
EVENTS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ABC"), st.sampled_from([0, 0, 1, 9, 70])), max_size=12)


@settings(max_examples=200, deadline=None)
@given(scores(), TESTS, EVENTS, st.booleans())
def test_every_answer_at_every_millisecond_is_that_of_fractions(
    defined: Score, test: tuple[str, Any], events: list[tuple[int, str, int]], in_order: bool
) -> None:
    """Decay, expiry, the end at 64 half-lives, clamps, late and tied events: no answer is wrong, no due instant missed."""
    if in_order:
        events = sorted(events)
    follower = Follower(defined, *test)
    past: list[tuple[int, str]] = []
    clock_ms = 0
    last_ms = max((t for t, _, _ in events), default=0) + 64 * (defined.half_life_ms or 0) + 45
    for t, name, pause_ms in [*events, (last_ms, "Z", 0)]:
        for now_ms in range(clock_ms, max(clock_ms + pause_ms, t - 1) + 1):
            follower.advance(now_ms)
            check(follower, defined, test, past, now_ms)
            clock_ms = now_ms
        clock_ms = max(clock_ms, t)
        follower.take(event(name), t)
        past.append((t, name))
        check(follower, defined, test, past, clock_ms)


def check(follower: Follower, defined: Score, test: tuple[str, Any], past: list[tuple[int, str]], now_ms: int) -> None:
    value = naive(defined, past, now_ms)
    if passes(value, *test) is follower.answer:
        return
    # nearer to a threshold than one part in 10^9 of all that is added up, the page allows a millisecond
    thresholds = test[1] if isinstance(test[1], tuple) else (test[1],)
    size = sum(abs(naive(dataclasses.replace(defined, minimum=None, maximum=None), [one], now_ms)) for one in past)
    distance = min(abs(value - Fraction(Decimal(str(threshold)))) for threshold in thresholds)
    assert distance <= size / 10**12 and distance != 0, f"{float(value)} at {now_ms}, due {follower.due_ms}"


@settings(max_examples=150, deadline=None)
@given(scores(), TESTS, EVENTS, EVENTS, st.integers(0, 40))
def test_two_histories_made_one_answer_as_if_they_had_been_one_contact(
    defined: Score, test: tuple[str, Any], ours: list[Any], theirs: list[Any], pause_ms: int
) -> None:
    """A link must not lose or double points."""
    both = [Follower(defined, *test), Follower(defined, *test)]
    for follower, events in zip(both, (ours, theirs), strict=True):
        for t, name, _ in events:
            follower.take(event(name), t)
    now_ms = max(follower.contact.clock_ms for follower in both) + pause_ms
    for follower in both:
        follower.advance(now_ms)
    survivor = both[0]

    survivor.kept = stored(survivor.leaf.merge(both[0].kept, both[1].kept, survivor.contact))
    survivor.read()

    past = [(t, name) for t, name, _ in ours + theirs]
    for later_ms in range(now_ms, now_ms + 50):
        survivor.advance(later_ms)
        check(survivor, defined, test, past, later_ms)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([DAY_MS, 14 * DAY_MS, 36_525 * DAY_MS, 90_001, 1]),
    st.lists(st.tuples(st.integers(0, 60 * DAY_MS), POINTS), min_size=1, max_size=30),
    st.sampled_from([0.001, 0.3, 1, 7, 33.3]),
)
def test_a_crossing_is_the_first_millisecond_at_which_the_test_changes(
    half_life_ms: int, points: list[tuple[int, float]], threshold: float
) -> None:
    """Of half-lives from a millisecond to a century: at the due instant it has turned, and one before it hadn't."""
    names = {value: str(value) for _, value in points}
    defined = score(*(rule(name, value) for value, name in names.items()), half_life_ms=half_life_ms)
    follower = Follower(defined, "gte", threshold)
    for at_ms, value in sorted(points):
        follower.take(event(names[value]), at_ms)
    past = [(at_ms, names[value]) for at_ms, value in points]
    for _ in range(20):
        due_ms = follower.due_ms
        if due_ms is None:
            return
        for at_ms in (follower.contact.clock_ms, due_ms - 1, due_ms):
            follower.advance(at_ms)
            distance = naive(defined, past, at_ms) - Fraction(Decimal(str(threshold)))
            size = sum(abs(value) for _, value in points)
            assert (distance >= 0) is follower.answer or abs(distance) < size / 10**12
