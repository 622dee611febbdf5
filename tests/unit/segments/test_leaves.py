"""Every leaf over events against the plain reading of section 6: all events there have been, gone through at each instant."""

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from segments.calendar import Zone, weekday
from segments.conditions import (
    UTC,
    Ago,
    EventIs,
    Fixed,
    Local,
    Matching,
    Measure,
    Names,
    Range,
    Span,
    TraitRef,
    Tz,
    Where,
    Within,
)
from segments.conditions import (
    Test as Operator,
)
from segments.contact import named_zone
from segments.leaves import EventLeaf, event_leaf

H = 3_600_000
D = 24 * H
# two days before the clocks of Berlin go forward, on a Friday
START = 1_774_569_600_000
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "America/Los_Angeles")
OWN = Tz("Europe/Berlin", contact=True)

History = list[tuple[int, dict[str, Any]]]


class Person:
    """A contact as leaves see it."""

    def __init__(self, clock_ms: int = START) -> None:
        self.traits: dict[str, list[Any]] = {}
        self.clock_ms = clock_ms
        self.first_ms = clock_ms
        self.contact = "c"
        self.bytes_estimated = 0
        self.limits_passed = 0

    def trait(self, key: str) -> Any:
        return self.traits[key][0] if key in self.traits else None


# ---- what there is to ask, each with its meaning in plain Python -----------------------------------------------------

Meaning = Callable[..., Any]


def path(name: str, operator: str, argument: Any, tz: Tz = UTC) -> Where:
    return Where("path", path=name, test=Operator(operator, argument, tz=tz))


WHERES: list[tuple[Where | None, Meaning]] = [
    (None, lambda p, now, person: True),
    (path("total", "gte", 2), lambda p, now, person: p.get("total") is not None and p["total"] >= 2),
    (
        path("due", "within_last", 7 * H),
        lambda p, now, person: p.get("due") is not None and now - 7 * H < p["due"] <= now,
    ),
    (
        Where("all", (path("total", "gte", 1), path("due", "within_next", 30 * H))),
        lambda p, now, person: (
            (p.get("total") or 0) >= 1 and p.get("due") is not None and now < p["due"] <= now + 30 * H
        ),
    ),
    (
        path("item", "eq", TraitRef("likes")),
        lambda p, now, person: person.trait("likes") is not None and p.get("item") == person.trait("likes"),
    ),
]
NUMBER_TESTS: list[tuple[tuple[Operator, ...], Meaning]] = [
    ((Operator("gte", 1),), lambda x: x >= 1),
    ((Operator("gte", 3),), lambda x: x >= 3),
    ((Operator("lt", 2),), lambda x: x < 2),
    ((Operator("lte", 0),), lambda x: x <= 0),
    ((Operator("gte", 0),), lambda x: x >= 0),
    ((Operator("eq", 2),), lambda x: x == 2),
    ((Operator("ne", 2),), lambda x: x != 2),
    ((Operator("between", (2, 4)),), lambda x: 2 <= x <= 4),
    ((Operator("gt", 1.5), Operator("ne", 3)), lambda x: x > Decimal("1.5") and x != 3),
    ((Operator("gt", 0.3),), lambda x: x > Decimal("0.3")),
]
DATE_TESTS: list[tuple[Operator, Meaning]] = [
    (Operator("within_last", 20 * H), lambda t, now, zone: now - 20 * H < t <= now),
    (Operator("older_than", 20 * H), lambda t, now, zone: t <= now - 20 * H),
    (Operator("within_next", H), lambda t, now, zone: False),
    (Operator("before", START + D), lambda t, now, zone: t < START + D),
    (
        Operator("calendar", Span("day", -1, 0), tz=OWN),
        lambda t, now, zone: zone.day(now) - 1 <= zone.day(t) <= zone.day(now),
    ),
]
RANGES: list[Range | None] = [
    None,
    Within(10 * H),
    Within(3 * D),
    Ago(10 * H),
    Ago(9 * H, 2 * D),
    Ago(0, 30 * H),
    Fixed(START + 5 * H, START + 3 * D),
    Fixed(None, START + 30 * H),
    Fixed(Local((START + D) // D, 2 * H), Local((START + 3 * D) // D)),
    Span("day", 0, 0),
    Span("day", -2, 0),
    Span("day", -1, -1),
    Span("day", -3, -2),
    Span("week", 0, 0),
    Span("month", -1, -1),
    Span("month", 0, 1),
    Span("day", 1, 2),
]


def in_range(range: Range | None, t: int, now: int, zone: Zone) -> bool:
    if range is None:
        return True
    if isinstance(range, Within):
        return now - range.ms < t <= now
    if isinstance(range, Ago):
        return t <= now - range.near_ms and (range.far_ms is None or t > now - range.far_ms)
    if isinstance(range, Fixed):
        ends = [
            end if not isinstance(end, Local) else zone.instant_ms(end.day, end.ms)
            for end in (range.since, range.until)
        ]
        return (ends[0] is None or ends[0] <= t) and (ends[1] is None or t < ends[1])
    first, end = zone.span_ms(range, now)
    return first <= t < end


@dataclasses.dataclass
class Asked:
    """A condition and the meaning of its parts."""

    condition: EventIs
    where: Meaning
    tests: Meaning
    then: Meaning

    def holds(self, history: History, now: int, person: Person) -> bool:
        """The condition by the page, of these events in order of arrival."""
        matching, zone = self.condition.matching, zone_of(self.condition.matching.tz, person)
        events = sorted(
            (
                (t, p)
                for t, p in history
                if self.where(p, now, person)
                and is_then(matching, t, zone)
                and in_range(self.condition.range, t, now, zone)
            ),
            key=lambda event: event[0],
        )
        if self.condition.by is None:
            return self.measures(events, now, person)
        values = {event[1][self.condition.by] for event in events if event[1].get(self.condition.by) is not None}
        return any(
            self.measures([event for event in events if event[1].get(self.condition.by) == value], now, person)
            for value in values
        )

    def measures(self, events: History, now: int, person: Person) -> bool:
        measure = self.condition.measure
        numbers = [Fraction(str(p["total"])) for _, p in events if p.get("total") is not None]
        match measure.kind:
            case "count":
                return self.tests(len(events))
            case "sum":
                return self.tests(Decimal(sum(numbers).numerator) / sum(numbers).denominator)
            case "avg":
                # no threshold has more than two digits
                return bool(numbers) and self.tests(Decimal(round(sum(numbers) / len(numbers) * 10**20)) / 10**20)
            case "min" | "max":
                extreme = {"min": min, "max": max}[measure.kind]
                return bool(numbers) and self.tests(Decimal(str(float(extreme(numbers)))))
            case "distinct":
                return self.tests(len({str(p["total"]) for _, p in events if p.get("total") is not None}))
            case "first_at" | "last_at":
                zone = zone_of(OWN, person)
                return bool(events) and self.tests(events[0 if measure.kind == "first_at" else -1][0], now, zone)
            case "earliest" | "latest":
                if measure.kind == "earliest":
                    return bool(events) and self.then(events[0][1], now, person)
                return bool(events) and self.then(events[-1][1], now, person)
        held = 0
        for period in range(measure.periods):
            end = now - period * measure.every_ms
            held += sum(end - measure.every_ms < t <= end for t, _ in events) >= measure.times
        return held >= measure.at_least


def zone_of(tz: Tz, person: Person) -> Zone:
    return named_zone(person.trait("timezone") or tz.name if tz.contact else tz.name)


def is_then(matching: Matching, t: int, zone: Zone) -> bool:
    if matching.weekdays is not None and weekday(zone.day(t)) not in matching.weekdays:
        return False
    if matching.local_time is None:
        return True
    start, end = matching.local_time
    clock = zone.clock_ms(t)
    return start <= clock < end if start < end else clock >= start or clock < end


KINDS = ("count", "sum", "avg", "min", "max", "distinct", "first_at", "last_at", "earliest", "latest", "regularly")


@st.composite
def conditions(draw: st.DrawFn) -> Asked:
    # half of them have nothing that would need the events one by one: the leaves of their own are asked as often
    plain = draw(st.booleans())
    where, where_means = draw(st.sampled_from(WHERES[:2] if plain else WHERES))
    range = draw(st.sampled_from(RANGES))
    local = isinstance(range, Fixed) and isinstance(range.since, Local)
    tz = (
        OWN
        if local
        else draw(st.sampled_from([UTC, Tz("Europe/Berlin")] if plain else [UTC, Tz("Europe/Berlin"), OWN]))
    )
    local_time = None if plain else draw(st.sampled_from([None, None, (8 * H, 20 * H), (22 * H, 4 * H)]))
    weekdays = None if plain else draw(st.sampled_from([None, None, (0, 5, 6)]))
    matching = Matching(Names(("A",)), where, local_time, weekdays, tz)
    kind = draw(st.sampled_from(KINDS))
    tests: tuple[Operator, ...] = ()
    means: Meaning = bool
    then, then_means = WHERES[1]
    if kind in ("first_at", "last_at"):
        test, means = draw(st.sampled_from(DATE_TESTS))
        measure = Measure(kind, (test,))
    elif kind in ("earliest", "latest"):
        then, then_means = draw(st.sampled_from(WHERES[1:]))
        measure = Measure(kind, where=then)
    elif kind == "regularly":
        periods = draw(st.integers(1, 4))
        every, least, times = draw(st.tuples(st.sampled_from([5 * H, D]), st.integers(1, periods), st.integers(1, 2)))
        measure = Measure(kind, every_ms=every, periods=periods, at_least=least, times=times)
    else:
        tests, means = draw(st.sampled_from(NUMBER_TESTS))
        measure = Measure(kind, tests, path="" if kind == "count" else "total")
    by = None if plain else draw(st.sampled_from([None, "item"]))
    return Asked(EventIs(matching, range, measure, by), where_means, means, then_means)


def instants(low: int, high: int) -> st.SearchStrategy[int]:
    """Hours from START mostly whole, so that windows end where others begin; some a millisecond off."""
    return st.builds(lambda h, off: START + h * H + off, st.integers(low, high), st.sampled_from([0, 0, 0, -1, 1]))


PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "total": st.sampled_from([0, 1, 2, 3, 5, -1, -2, 0.1, 0.2, 2.5]),
        "item": st.sampled_from(["x", "y"]),
        "due": instants(-10, 130),
    },
)
EVENTS = st.tuples(st.just("event"), instants(-30, 110), PROPERTIES)
OTHERS = st.one_of(
    st.tuples(st.just("advance"), instants(0, 130), st.none()),
    st.tuples(st.just("trait"), st.just("timezone"), st.sampled_from([*ZONES, None])),
    st.tuples(st.just("trait"), st.just("likes"), st.sampled_from(["x", "y", None])),
    st.tuples(st.just("codec"), st.none(), st.none()),
)
STEPS = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, OTHERS), max_size=25)


class Played:
    """A leaf stepped as the evaluator does it, and held against the plain reading at each instant that could matter."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.leaf: EventLeaf = event_leaf(asked.condition)
        self.person = Person()
        self.history: History = []
        self.kept: Any = None
        self.answer = False
        self.due: int | None = None
        self.taken = 0

    def expected(self, now: int) -> bool:
        return self.asked.holds(self.history, now, self.person) is not self.leaf.flipped

    def check(self, what: str) -> None:
        now = self.person.clock_ms
        assert self.expected(now) is self.answer, f"{what} at START + {(now - START) / H} h, kept {self.kept}"

    def read(self) -> None:
        if self.kept is not None or self.leaf.traits:
            self.answer, self.due = self.leaf.read(self.kept, self.person, self.person.clock_ms)

    def advance(self, until: int) -> None:
        """Play what is due up to `until`, and see that nothing changes in between."""
        while self.due is not None and self.due <= until:
            assert self.due > self.person.clock_ms, "a due instant lies in the future"
            self.quiet(self.due - 1)
            self.person.clock_ms = self.due
            self.read()
            self.check("a due instant")
        self.quiet(until)
        self.person.clock_ms = max(self.person.clock_ms, until)

    def quiet(self, until: int) -> None:
        now = self.person.clock_ms
        for at in sorted(at for at in self.moments() if now < at <= until):
            assert self.expected(at) is self.answer, f"late: due {self.due}, changed at START + {(at - START) / H} h"

    def moments(self) -> set[int]:
        """Instants at which something may change."""
        found = {START + h * H for h in range(-12, 134, 12)} | {START + h * H - H // 2 for h in range(-12, 134, 6)}
        for t, p in self.history:
            for span in (0, 5 * H, 7 * H, 9 * H, 10 * H, 15 * H, 20 * H, 30 * H, D, 2 * D, 3 * D, 4 * D):
                found.add(t + span)
                found.add(p.get("due", t) + span)
                found.add(p.get("due", t) - span)
        return found

    def event(self, at: int, properties: dict[str, Any], size: int = 0) -> None:
        if self.due is not None and self.due < at:
            self.advance(at - 1)
        if at > self.person.clock_ms:
            self.quiet(at - 1)
            self.person.clock_ms = at
        self.history.append((at, properties))
        event = Event("track", "c", "A", properties)
        event.size = len(orjson.dumps(properties))
        if self.leaf.where is None or self.leaf.where((event.properties, event.context)):
            self.taken += 1
            taken = self.leaf.take(self.kept, event, at, self.person)
            if taken is not None:
                self.kept, self.answer, self.due = taken
        if self.due is not None and self.due <= self.person.clock_ms:
            self.read()
        self.check("an event")

    def trait(self, key: str, value: Any) -> None:
        self.person.traits[key] = [value, self.person.clock_ms]
        if key in self.leaf.traits:
            self.read()
        self.check(f"{key} is {value!r}")

    def step(self, step: tuple[str, Any, Any]) -> None:
        kind, first, second = step
        if kind == "event":
            self.event(first, second)
        elif kind == "advance":
            self.advance(first)
        elif kind == "trait":
            self.trait(first, second)
        else:
            encoded = msgspec.msgpack.encode(self.kept)
            assert len(encoded) <= self.person.bytes_estimated + 40 * self.taken + 20
            self.kept = msgspec.msgpack.decode(encoded)


@settings(max_examples=1_500, deadline=None)
@given(conditions(), STEPS)
def test_a_leaf_answers_what_the_page_says_at_each_instant_and_is_never_late(asked: Asked, steps: list[Any]) -> None:
    """Late and tied events, time alone, other zones, other traits, and an encoded state in between."""
    played = Played(asked)

    for step in steps:
        played.step(step)
    played.advance(START + 140 * H)

    assert played.person.limits_passed == 0


@settings(max_examples=300, deadline=None)
@given(conditions(), st.lists(EVENTS, max_size=10), st.lists(EVENTS, max_size=10))
def test_two_histories_that_are_merged_answer_as_one(asked: Asked, first: list[Any], second: list[Any]) -> None:
    """The absorbed contact's events lie a quarter of an hour off: of ties, the page promises nothing."""
    played, other = Played(asked), Played(asked)
    for step in first:
        played.step(step)
    for _, at, properties in second:
        other.event(at + H // 4, properties)
    clock = max(played.person.clock_ms, other.person.clock_ms)
    played.advance(clock)
    other.advance(clock)

    played.kept = played.leaf.merge(played.kept, other.kept, played.person)
    played.history += other.history
    played.read()
    played.check("a merge")
    played.advance(START + 140 * H)
    played.event(START + 100 * H, {"total": 1, "item": "x"})


@settings(max_examples=300, deadline=None)
@given(conditions(), st.lists(EVENTS, max_size=12), instants(-30, 110))
def test_what_is_shed_is_as_if_it_had_never_been(asked: Asked, events: list[Any], before: int) -> None:
    """Only of leaves that keep events one by one, and not of those that keep the oldest few of them."""
    if asked.condition.measure.kind == "distinct" or not one_by_one(asked):
        return
    played = Played(asked)
    for step in events:
        played.step(step)

    played.kept = played.leaf.shed(played.kept, before)

    assert all(at > before for at in played.leaf.times(played.kept))
    played.history = [event for event in played.history if event[0] > before]
    played.read()
    played.check("shed")
    played.advance(START + 140 * H)


def one_by_one(asked: Asked) -> bool:
    leaf = event_leaf(dataclasses.replace(asked.condition, by=None))
    return type(leaf).__name__ in ("Matches", "CountWithin", "SumWithin", "ExtremeWithin")


# ---- what is kept, and how often time alone has a leaf asked ----------------------------------------------------------


def leaf_of(range: Range | None, measure: Measure, by: str | None = None, where: Where | None = None) -> EventLeaf:
    return event_leaf(EventIs(Matching(Names(("A",)), where), range, measure, by))


def fed(leaf: EventLeaf, events: list[tuple[int, dict[str, Any]]], person: Person | None = None) -> tuple[Any, Person]:
    person = person or Person()
    kept = None
    for at, properties in events:
        person.clock_ms = max(person.clock_ms, at)
        taken = leaf.take(kept, Event("track", "c", "A", properties), at, person)
        if taken is not None:
            kept = taken[0]
    return kept, person


def dues_played(leaf: EventLeaf, kept: Any, person: Person) -> list[tuple[int, bool]]:
    """What time alone brings from here on: each due instant and its answer."""
    found = []
    _, due = leaf.read(kept, person, person.clock_ms)
    while due is not None:
        person.clock_ms = due
        answer, due = leaf.read(kept, person, person.clock_ms)
        found.append((person.clock_ms, answer))
    return found


THOUSAND = [(START + n * H, {"total": n % 7, "item": f"i{n % 5}"}) for n in range(1_000)]
AT_LEAST_3 = (Operator("gte", 3),)


@pytest.mark.parametrize(
    ("range", "measure", "bytes_max"),
    [
        (None, Measure("count", AT_LEAST_3), 3),
        (None, Measure("sum", AT_LEAST_3, "total"), 9),
        (None, Measure("avg", AT_LEAST_3, "total"), 13),
        (None, Measure("max", AT_LEAST_3, "total"), 9),
        (None, Measure("distinct", AT_LEAST_3, "total"), 34),
        (None, Measure("first_at", (Operator("older_than", D),)), 9),
        (None, Measure("latest", where=path("total", "gte", 3)), 11),
        (Within(90 * D), Measure("count", AT_LEAST_3), 28),
        (Within(90 * D), Measure("last_at", (Operator("older_than", D),)), 9),
        (Within(90 * D), Measure("latest", where=path("total", "gte", 3)), 11),
        (Within(90 * D), Measure("distinct", AT_LEAST_3, "total"), 34),
        (Within(90 * D), Measure("max", AT_LEAST_3, "total"), 80),
        (Ago(7 * D), Measure("count", AT_LEAST_3), 28),
        (Span("year", 0, 0), Measure("count", AT_LEAST_3), 28),
        # a week of 168 events yet to come in, and one number
        (Ago(7 * D), Measure("sum", AT_LEAST_3, "total"), 169 * 13),
        (Fixed(START, START + 900 * D), Measure("sum", AT_LEAST_3, "total"), 9),
    ],
)
def test_a_leaf_keeps_no_more_than_its_measure_needs(range: Range | None, measure: Measure, bytes_max: int) -> None:
    """A thousand matching events, hourly."""
    kept, _ = fed(leaf_of(range, measure), THOUSAND)

    assert len(msgspec.msgpack.encode(kept)) <= bytes_max


@pytest.mark.parametrize(
    ("range", "measure", "dues"),
    [
        (Within(9 * D), Measure("count", AT_LEAST_3), [START + 997 * H + 9 * D]),
        # the totals of the last two hours are 4 and 5
        (Within(9 * D), Measure("sum", (Operator("gte", 7),), "total"), [START + 998 * H + 9 * D]),
        (Within(9 * D), Measure("max", (Operator("gte", 6),), "total"), [START + 993 * H + 9 * D]),
        (Ago(9 * D, 10 * D), Measure("count", AT_LEAST_3), [START + 997 * H + 10 * D]),
        (Span("day", -1, -1), Measure("count", AT_LEAST_3), [START + 43 * D]),
        (Within(900 * D), Measure("regularly", every_ms=D, periods=7, at_least=5, times=1), [START + 999 * H + 3 * D]),
        (None, Measure("regularly", every_ms=D, periods=70, at_least=40, times=1), [START + 999 * H + 31 * D]),
    ],
)
def test_time_alone_has_a_leaf_asked_when_its_answer_turns_and_not_before(
    range: Range | None, measure: Measure, dues: list[int]
) -> None:
    """A thousand events go out of the window one after the other: the answer turns once."""
    leaf = leaf_of(range, measure)
    kept, person = fed(leaf, THOUSAND)

    played = dues_played(leaf, kept, person)

    assert [due for due, _ in played] == dues
    assert [answer for _, answer in played] == [False]


@pytest.mark.parametrize("seed", range(300))
def test_regularly_says_the_very_instant_at_which_it_turns(seed: int) -> None:
    """Periods of a few milliseconds, gone through one by one."""
    rng = Random(seed)
    every_ms, periods, times = rng.randint(2, 9), rng.randint(1, 6), rng.randint(1, 2)
    at_least = rng.randint(1, periods)
    ats_ms = sorted(START + rng.randrange(every_ms * periods) for _ in range(rng.randint(0, 20)))
    now_ms = START + every_ms * periods
    leaf = leaf_of(None, Measure("regularly", every_ms=every_ms, periods=periods, at_least=at_least, times=times))
    kept, person = fed(leaf, [(at_ms, {}) for at_ms in ats_ms])

    def holds(now_ms: int) -> bool:
        in_period = [(now_ms - at_ms) // every_ms for at_ms in ats_ms]
        return sum(in_period.count(period) >= times for period in range(periods)) >= at_least

    answer, turns_ms = leaf.read(kept, person, now_ms)

    assert answer is holds(now_ms)
    ahead = range(now_ms + 1, now_ms + every_ms * (periods + 1))
    assert turns_ms == next((then_ms for then_ms in ahead if holds(then_ms) is not answer), None)


def test_a_sum_that_is_far_from_its_threshold_is_asked_no_more_often_as_more_is_added() -> None:
    """A shop's best customers order daily; each order that leaves the window must not cost a step."""
    leaf = leaf_of(Within(90 * D), Measure("sum", (Operator("gte", 500),), "total"))
    person, kept, due, asked = Person(), None, None, 0
    for n in range(400):
        person.clock_ms = START + n * D
        while due is not None and due <= person.clock_ms:
            asked += 1
            _, due = leaf.read(kept, person, due)
        taken = leaf.take(kept, Event("track", "c", "A", {"total": 50}), person.clock_ms, person)
        assert taken is not None
        kept, _, due = taken

    assert asked <= 8


def test_one_value_of_by_is_asked_for_an_event_that_carries_it() -> None:
    """Two thousand products in a wish list must cost an event no more than one."""
    leaf = leaf_of(Within(90 * D), Measure("count", AT_LEAST_3), by="item")
    kept, person = fed(leaf, [(START + n * 1_000, {"item": f"i{n % 2_000}"}) for n in range(8_000)])
    for item, value in kept[2].items():
        if item != "i7":
            value[0] = "whoever asks this value fails"

    person.clock_ms = START + D
    taken = leaf.take(kept, Event("track", "c", "A", {"item": "i7"}), person.clock_ms, person)

    assert taken is not None
    # of three orders of i7 that count, the oldest is that of the third round: of all products, it goes last
    assert taken[1:] == (True, START + 4_007_000 + 90 * D)
    with pytest.raises(TypeError):
        leaf.read(taken[0], person, START + 4_007_000 + 90 * D)


def test_values_that_left_the_window_are_forgotten_without_passing_a_limit() -> None:
    """Each visitor sees a page of his own: none of them comes again."""
    leaf = leaf_of(Within(D), Measure("count", AT_LEAST_3), by="item")
    kept, person = fed(leaf, [(START + n * H, {"item": f"i{n}"}) for n in range(1_000)])

    assert person.limits_passed == 0
    assert len(kept[2]) <= 25


@pytest.mark.parametrize("by", [None, "item"])
def test_events_beyond_the_limit_go_oldest_first_and_it_is_said(by: str | None) -> None:
    """Over all values of `by` together, as the limit is one of the condition."""
    for range in (Within(900 * D), Ago(D, 900 * D)):
        leaf = leaf_of(range, Measure("sum", (Operator("gte", 10_000),), "total"), by=by)
        leaf.limit(100, 10_000)
        kept, person = fed(leaf, THOUSAND)
        times = sorted(set(leaf.times(kept)))

        assert person.limits_passed == 900
        assert times == [at for at, _ in THOUSAND[900:]]


def test_values_beyond_the_limit_go_in_the_order_in_which_they_were_seen() -> None:
    """The value seen longest ago goes first; one that is seen again stays."""
    leaf = leaf_of(None, Measure("count", (Operator("gte", 2),)), by="item")
    leaf.limit(10_000, 3)
    kept, person = fed(leaf, [(START + n, {"item": item}) for n, item in enumerate("abcad")])

    assert person.limits_passed == 1
    assert leaf.read(kept, person, person.clock_ms) == (True, None)
    kept, person = fed(leaf, [(START + n, {"item": item}) for n, item in enumerate("abcdab")])
    assert leaf.read(kept, person, person.clock_ms) == (False, None)


def test_counts_below_three_by_value_need_an_event_of_that_value() -> None:
    """`count: {lt: 3}` holds of nothing, but no value occurs in nothing."""
    leaf = leaf_of(Within(D), Measure("count", (Operator("lt", 3),)), by="item")
    kept, person = fed(leaf, [(START, {"item": "a"}), (START + 1, {"total": 5})])

    assert leaf.read(kept, person, START + 1) == (True, START + D)
    assert leaf.read(kept, person, START + D) == (False, None)


def test_an_event_of_yesterday_is_one_of_today_again_where_the_contact_flew_west() -> None:
    """Midnight has gone by in London, so the event went out of `today`; in Los Angeles it is still the evening before."""
    leaf = event_leaf(
        EventIs(Matching(Names(("A",)), tz=OWN), Span("day", 0, 0), Measure("count", (Operator("gte", 1),)))
    )
    evening = START - START % D + 20 * H
    person = Person(evening)
    person.traits["timezone"] = ["Europe/London", evening]
    kept, _ = fed(leaf, [(evening, {})], person)
    person.clock_ms = evening + 6 * H

    assert leaf.read(kept, person, person.clock_ms) == (False, None)
    person.traits["timezone"] = ["America/Los_Angeles", person.clock_ms]
    assert leaf.read(kept, person, person.clock_ms) == (True, evening + 11 * H)


@pytest.mark.parametrize("operator", ["gte", "gt", "eq", "between", "ne"])
def test_averages_are_compared_exactly(operator: str) -> None:
    """0.1, 0.2 and 0.3 are 0.2 on average, and a third of one isn't 0.3333333333333333."""
    holds = {"gte": True, "gt": False, "eq": True, "between": True, "ne": False}[operator]
    argument = (0.2, 0.2) if operator == "between" else 0.2
    leaf = leaf_of(None, Measure("avg", (Operator(operator, argument),), "total"))
    kept, person = fed(leaf, [(START + n, {"total": value}) for n, value in enumerate([0.1, "0.2", 0.3, "x", True])])
    assert leaf.read(kept, person, person.clock_ms)[0] is holds

    leaf = leaf_of(None, Measure("avg", (Operator("eq", 0.3333333333333333),), "total"))
    kept, person = fed(leaf, [(START, {"total": 1}), (START, {"total": 0}), (START, {"total": 0})])
    assert leaf.read(kept, person, person.clock_ms) == (False, None)


@pytest.mark.parametrize("range", [None, Within(D)])
def test_sums_that_no_integer_holds_stay_exact(range: Range | None) -> None:
    """1e308 and 1e-9 in one sum, of which the one leaves the other behind."""
    leaf = leaf_of(range, Measure("sum", (Operator("gt", 1e308),), "total"))
    kept, person = fed(leaf, [(START, {"total": 1e308}), (START + 1, {"total": 1e-9})])

    assert leaf.read(kept, person, person.clock_ms)[0]
    kept, person = fed(leaf, [(START, {"total": 1e308}), (START + 1, {"total": 1e-9}), (START + 2, {"total": "-1e-9"})])
    assert not leaf.read(kept, person, person.clock_ms)[0]


def test_nothing_is_kept_of_a_range_that_lies_ahead() -> None:
    """Events never lie after the clock."""
    leaf = leaf_of(Span("day", 1, 3), Measure("count", (Operator("gte", 1),)))

    assert fed(leaf, THOUSAND)[0] is None


def test_an_event_that_is_asked_for_what_was_then_can_be_shed_where_its_properties_are_kept() -> None:
    """A large property of the latest event must not keep a contact over its limit for ever."""
    for range in (None, Within(D)):
        leaf = leaf_of(range, Measure("latest", where=path("due", "within_last", D)))
        kept, _ = fed(leaf, [(START, {"due": START})])

        assert list(leaf.times(kept)) == [START]
        assert leaf.is_empty(leaf.shed(kept, START))
        assert not leaf.is_empty(leaf.shed(kept, START - 1))


def test_a_count_by_value_and_its_opposite_share_no_state() -> None:
    """Without `by` they are complements; with it, one contact may meet both."""
    few, many = (leaf_of(None, Measure("count", (Operator(op, 3),)), by="item") for op in ("lt", "gte"))

    assert few.key != many.key
    events = [(START, {"item": item}) for item in "aaab"]
    assert few.read(fed(few, events)[0], Person(), START) == (True, None)
    assert many.read(fed(many, events)[0], Person(), START) == (True, None)


MEASURES = [
    Measure("count", AT_LEAST_3),
    Measure("count", (Operator("between", (2, 5)),)),
    Measure("sum", (Operator("gte", 9),), "total"),
    Measure("avg", (Operator("gt", 3),), "total"),
    Measure("min", (Operator("gte", 1),), "total"),
    Measure("max", (Operator("gte", 6),), "total"),
    Measure("distinct", (Operator("gte", 4),), "total"),
    Measure("first_at", (Operator("older_than", 12 * H),)),
    Measure("last_at", (Operator("within_last", 12 * H),)),
    Measure("earliest", where=path("total", "gte", 3)),
    Measure("latest", where=path("total", "gte", 3)),
    Measure("regularly", every_ms=5 * H, periods=3, at_least=2, times=2),
]


@pytest.mark.parametrize("range", RANGES)
@pytest.mark.parametrize("measure", MEASURES)
def test_a_history_in_two_halves_is_the_same_once_they_are_merged(range: Range | None, measure: Measure) -> None:
    """Every leaf there is, with and without `by`: what the halves answer, and when, is what the whole does."""
    for by in (None, "item"):
        leaf = leaf_of(range, measure, by)
        whole, person = fed(leaf, THOUSAND[:60])
        ours, _ = fed(leaf, THOUSAND[0:60:2], Person(person.clock_ms))
        theirs, _ = fed(leaf, THOUSAND[1:60:2], Person(person.clock_ms))
        merged = leaf.merge(ours, theirs, person)

        for hours in (0, 7, 24, 60, 120):
            now = person.clock_ms + hours * H
            assert leaf.read(merged, person, now)[0] is leaf.read(whole, person, now)[0]
        assert leaf.merge(None, None, person) is None


def test_a_sum_too_small_grows_as_a_value_below_zero_leaves_the_window() -> None:
    """A refund leaves the window a day after it was made, an hour before the order does that stays."""
    leaf = leaf_of(Within(D), Measure("sum", (Operator("gte", 3),), "total"))
    kept, person = fed(leaf, [(START, {"total": -1}), (START + H, {"total": 3})])

    assert leaf.read(kept, person, person.clock_ms) == (False, START + D)
    assert dues_played(leaf, kept, person) == [(START + D, True), (START + H + D, False)]


def test_where_the_value_that_would_last_longest_turns_false_the_next_one_decides() -> None:
    """Bought once of two, then one of them again: the other is the only one left, and leaves earlier."""
    leaf = leaf_of(Within(D), Measure("count", (Operator("eq", 1),)), by="item")
    kept, person = fed(leaf, [(START, {"item": "a"}), (START + H, {"item": "b"})])

    person.clock_ms = START + 2 * H
    taken = leaf.take(kept, Event("track", "c", "A", {"item": "b"}), person.clock_ms, person)

    assert taken is not None
    assert taken[1:] == (True, START + D)
