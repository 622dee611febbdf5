"""Random conditions: one function a construct of the language, in `CONSTRUCTS` by name."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.histories_values import (
    ABSOLUTE,
    CALENDAR,
    RELATIVE,
    World,
    calendar_words,
    number_tests,
    operands,
    value_tests,
    wheres,
)
from tests.oracle_values import duration, shown

Condition = dict[str, Any]
EVENT_NAMES = ["A", "B", "Ab"]
ASKED = [
    "A",
    "A",
    *EVENT_NAMES,
    ["A", "B"],
    "*",
    {"prefix": "A"},
    {"any_except": ["B", {"prefix": "Ab"}]},
    "Page Viewed",
]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
SCORES = ["p", "q"]


def durations(world: World) -> st.SearchStrategy[str]:
    return st.sampled_from(world.durations)


def zones(world: World) -> st.SearchStrategy[str]:
    """What may stand as `tz`."""
    return st.sampled_from([*world.zones, "contact", "contact"])


@st.composite
def zoned(draw: st.DrawFn, world: World, condition: st.SearchStrategy[Condition]) -> Condition:
    """The condition, now and then with a zone of its own."""
    drawn = draw(condition)
    return {**drawn, "tz": draw(zones(world))} if draw(st.integers(0, 2 if world.days else 5)) == 0 else drawn


# ---- one function a construct ----


@st.composite
def trait(draw: st.DrawFn, world: World) -> Condition:
    """A trait and one operator."""
    path = draw(st.sampled_from(world.paths))
    return {"trait": path, **draw(value_tests(world, path))}


def unchanged(world: World) -> st.SearchStrategy[Condition]:
    return st.builds(
        lambda path, d: {"trait": path, "unchanged_for": d}, st.sampled_from(world.paths), durations(world)
    )


@st.composite
def reference(draw: st.DrawFn, world: World) -> Condition:
    """A comparison with another trait, by a trait or by an event's property."""
    path = draw(st.sampled_from(["n", "s", "d", "l", "o.n"]))
    suited = {"d": [*ABSOLUTE, "eq"], "l": ["has", "has_any", "has_all", "in", "not_in"]}
    others = ["eq", "ne", "gt", "lte", "contains", "starts_with", "in", "not_in"]
    test = {draw(st.sampled_from(suited.get(path, others))): {"trait": draw(st.sampled_from([path] * 9 + world.paths))}}
    if draw(st.booleans()):
        return {"trait": draw(st.sampled_from([path] * 5 + world.paths)), **test}
    return {**draw(named(world)), "where": {path: test}, **draw(ranges(world))}


@st.composite
def calendar(draw: st.DrawFn, world: World) -> Condition:
    """A trait's date in a period, its anniversary, an age, a day."""
    name = draw(st.sampled_from(CALENDAR))
    return {"trait": "d", name: draw(operands(world, name))}


def named(world: World) -> st.SearchStrategy[Condition]:
    return st.sampled_from(ASKED).map(lambda names: {"event": names})


@st.composite
def ranges(draw: st.DrawFn, world: World) -> Condition:
    """At most one range of time."""
    which = draw(st.sampled_from(["", "within", "within", "within", "within", "ago", "between", "since", "calendar"]))
    if which == "within":
        return {"within": draw(durations(world))}
    if which == "ago":
        return {"ago": draw(durations(world))}
    if which == "between":
        nearer, further = sorted(draw(st.lists(durations(world), min_size=2, max_size=2, unique=True)), key=duration)
        return {"ago": [further, nearer]}
    if which == "since":
        edges = sorted(
            draw(st.lists(st.sampled_from(sorted(set(world.instants_ms))), min_size=2, max_size=2, unique=True))
        )
        sides = draw(st.sampled_from([["since"], ["until"], ["since", "until"]]))
        return {side: shown(at) for side, at in zip(["since", "until"], edges, strict=True) if side in sides}
    return {"calendar": draw(calendar_words())} if which == "calendar" and world.days else {}


@st.composite
def local(draw: st.DrawFn, world: World, always: bool = False) -> Condition:
    """The event's own clock or day."""
    parts: Condition = {}
    if always or draw(st.integers(0, 9)) == 0:
        times = ["00:00", "00:30", "02:30", "06:00", "12:00", "18:00", "23:59"]
        pair = draw(st.lists(st.sampled_from(times), min_size=2, max_size=2, unique=True))
        parts["local_time"] = [pair[0], draw(st.sampled_from([pair[1], pair[1], "24:00"]))]
    if draw(st.integers(0, 1 if always else 9)) == 0:
        parts["weekdays"] = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=4, unique=True))
    return parts


@st.composite
def event(draw: st.DrawFn, world: World, measure: st.SearchStrategy[Condition] | None = None) -> Condition:
    """Names, perhaps a where, perhaps a range, perhaps a measure."""
    condition = {**draw(named(world)), **draw(ranges(world)), **draw(local(world))}
    if draw(st.integers(0, 3)) == 0:
        condition["where"] = draw(wheres(world, [*world.paths, "context.n", "name"]))
    if measure is None:
        measure = st.one_of(st.just({}), count(world), count(world), totals(world), times(world))
    return {**condition, **draw(measure)}


def count(world: World) -> st.SearchStrategy[Condition]:
    return (st.integers(0, 3) | number_tests([0, 1, 2, 3])).map(lambda tests: {"count": tests})


OF = ["n", "n", "n", "o.n", "s", "context.n"]


def totals(world: World) -> st.SearchStrategy[Condition]:
    """A sum, a mean, an extreme."""
    tests = number_tests([0, 0.3, 1, 2, 100, -1, 0.15])
    names = st.sampled_from(["sum", "avg", "min", "max"])
    return st.builds(lambda name, of, test: {name: {"of": of, **test}}, names, st.sampled_from(OF), tests)


def distinct(world: World) -> st.SearchStrategy[Condition]:
    paths = st.sampled_from([*OF, "l", "o"])
    return st.builds(lambda of, test: {"distinct": {"of": of, **test}}, paths, number_tests([0, 1, 2, 3]))


@st.composite
def times(draw: st.DrawFn, world: World) -> Condition:
    """The time of the first or last match."""
    name = draw(st.sampled_from([*RELATIVE, *RELATIVE, *ABSOLUTE, *(["calendar", "on_day"] if world.days else [])]))
    return {draw(st.sampled_from(["first_at", "last_at"])): {name: draw(operands(world, name))}}


def ends(world: World) -> st.SearchStrategy[Condition]:
    """What the first or last match was like."""
    satisfied = wheres(world, [*world.paths, "context.n"], refer=False)
    return st.builds(lambda which, where: {which: where}, st.sampled_from(["earliest", "latest"]), satisfied)


@st.composite
def regularly(draw: st.DrawFn, world: World) -> Condition:
    periods = draw(st.integers(1, 4))
    asked: Condition = {"every": draw(durations(world)), "periods": periods, "at_least": draw(st.integers(1, periods))}
    return {"regularly": {**asked, **draw(st.sampled_from([{}, {"times": 2}]))}}


@st.composite
def by(draw: st.DrawFn, world: World) -> Condition:
    measure = st.one_of(
        count(world), count(world), totals(world), times(world), ends(world), distinct(world), regularly(world)
    )
    return {**draw(event(world, measure)), "by": draw(st.sampled_from(["n", "s", "n", "s", "o", "l", "context.n"]))}


@st.composite
def steps(draw: st.DrawFn, world: World, absent: bool) -> Condition:
    """A step after the first."""
    step: Condition = {
        "absent" if absent else "event": draw(st.sampled_from([*EVENT_NAMES * 3, *ASKED])),
        **draw(local(world)),
    }
    if draw(st.integers(0, 3)) == 0:
        step["where"] = draw(wheres(world, ["n", "s"], nested=False))
    if draw(st.integers(0, 2)):
        step["within"] = draw(durations(world))
    return step


@st.composite
def sequence(draw: st.DrawFn, world: World) -> Condition:
    """Two to five steps; the last ones may ask for absence."""
    kinds = draw(st.lists(st.sampled_from([False, False, True]), min_size=1, max_size=3))
    first = {key: part for key, part in draw(steps(world, absent=False)).items() if key != "within"}
    condition: Condition = {"sequence": [first, *(draw(steps(world, absent)) for absent in kinds)]}
    for number in reversed(range(len(kinds))):
        if not kinds[number]:
            break
        condition["sequence"][number + 1].setdefault("within", draw(durations(world)))
    if draw(st.integers(0, 2)) == 0:
        condition["by"] = draw(st.sampled_from(["n", "s", "n", "context.n"]))
    for key in draw(st.sampled_from([[], ["completed"], ["completed"], ["started"], ["completed", "started"]])):
        condition[key] = {"within": draw(durations(world))}
    return condition


def score(world: World) -> st.SearchStrategy[Condition]:
    """A score that is read against a number; `scores` has what it is."""
    limits = [2.5, 6.2, 13.7, 0.37, 39.6, -1.3]
    single = st.builds(
        lambda name, limit: {name: limit}, st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from(limits)
    )
    pair = st.lists(st.sampled_from(limits), min_size=2, max_size=2, unique=True).map(
        lambda two: {"between": sorted(two)}
    )
    tests = st.one_of(single, single, pair)
    return st.builds(lambda name, test: {"score": name, **test}, st.sampled_from(SCORES), tests)


@st.composite
def scores(draw: st.DrawFn, world: World, name: str) -> Condition:
    """Points are whole and limits are not: a total is on a limit only where halving makes it so, exactly."""
    rules = draw(
        st.lists(st.one_of(event_rules(world), event_rules(world), trait_rules(world)), min_size=1, max_size=3)
    )
    one: Condition = {"id": name, "rules": rules}
    if draw(st.integers(0, 3)):
        one["half_life"] = draw(durations(world))
    if draw(st.integers(0, 3)) == 0:
        one |= draw(st.sampled_from([{"min": 0}, {"max": 20}, {"min": -2.2, "max": 7.1}]))
    return {**one, "tz": draw(zones(world))} if draw(st.integers(0, 3)) == 0 else one


POINTS = [5, 5, 7, 40, -11]


@st.composite
def event_rules(draw: st.DrawFn, world: World) -> Condition:
    rule: Condition = {**draw(named(world)), "points": draw(st.sampled_from(POINTS)), **draw(local(world))}
    if draw(st.integers(0, 3)) == 0:
        rule["where"] = draw(wheres(world, ["n", "s", "d"]))
    kept = draw(st.sampled_from(["", "", "", "expires", "lasting"]))
    rule |= {"expires": {"expires": draw(durations(world))}, "lasting": {"lasting": True}}.get(kept, {})
    return draw(zoned(world, st.just(rule)))


@st.composite
def trait_rules(draw: st.DrawFn, world: World) -> Condition:
    return {**draw(zoned(world, st.one_of(trait(world), unchanged(world)))), "points": draw(st.sampled_from(POINTS))}


@st.composite
def known(draw: st.DrawFn, world: World) -> Condition:
    name = draw(st.sampled_from([*RELATIVE, *RELATIVE, *ABSOLUTE, *(["calendar", "on_day"] if world.days else [])]))
    return {"known": {name: draw(operands(world, name))}}


def subscribed(world: World) -> st.SearchStrategy[Condition]:
    defaults = st.sampled_from([{}, {"default": True}, {"default": False}])
    return st.builds(lambda group, one: {"subscribed": group, **one}, st.sampled_from(["news", "1", "true"]), defaults)


def listed(world: World) -> st.SearchStrategy[Condition]:
    return st.sampled_from(["vip", "beta"]).map(lambda name: {"listed": name})


def sample(world: World) -> st.SearchStrategy[Condition]:
    percents, salts = st.sampled_from([0, 1, 33.3, 50, 99.9, 100]), st.sampled_from([{}, {"salt": "x"}, {"salt": "ß:"}])
    return st.builds(lambda percent, salt: {"sample": {"percent": percent, **salt}}, percents, salts)


Maker = Callable[[World], st.SearchStrategy[Condition]]
CONSTRUCTS: dict[str, Maker] = {
    "trait": lambda world: zoned(world, trait(world)),
    "unchanged_for": unchanged,
    "reference": lambda world: zoned(world, reference(world)),
    "calendar": lambda world: zoned(world, calendar(world)),
    "event": lambda world: zoned(world, event(world)),
    "totals": lambda world: event(world, totals(world)),
    "distinct": lambda world: event(world, distinct(world)),
    "times": lambda world: zoned(world, event(world, times(world))),
    "ends": lambda world: zoned(world, event(world, ends(world))),
    "regularly": lambda world: event(world, regularly(world)),
    "by": lambda world: zoned(world, by(world)),
    "local": lambda world: zoned(world, st.builds(lambda one, own: one | own, event(world), local(world, always=True))),
    "sequence": lambda world: zoned(world, sequence(world)),
    "score": score,
    "known": known,
    "subscribed": subscribed,
    "listed": listed,
    "sample": sample,
}
"""Conditions without others in them, by the construct that they show."""
