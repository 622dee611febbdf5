"""Random worlds, and the values and tests of values that collide in them.

A world is a scale: few instants, few durations, few zones. Ties, window edges and local midnights then happen in most
examples, not in few.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from tests import oracle_calendar as calendar
from tests.oracle_values import read_instant, shown

START_MS = 1_772_409_600_000  # Monday 2026-03-02T00:00:00Z
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KINDS = ("n", "s", "d", "l", "i", "o")
"""Keys of traits and properties, each with values mostly of one kind: numbers, texts, dates, arrays, items, objects."""


@dataclass(frozen=True)
class World:
    """When things happen, how long things last, in which zones; and which keys traits and properties mostly have."""

    start_ms: int
    instants_ms: tuple[int, ...]
    durations: tuple[str, ...]
    zones: tuple[str, ...]
    days: bool = False
    keys: tuple[str, ...] = KINDS

    def __repr__(self) -> str:
        return f"{'days' if self.days else 'seconds'} from {shown(self.start_ms)} in {' and '.join(self.zones)}"

    @property
    def paths(self) -> list[str]:
        """What definitions mostly ask for."""
        inner = ["o.n", "o.s", "o.s.n"] if "o" in self.keys else []
        return [*self.keys * 4, *inner * 2, *KINDS]

    @property
    def unit_ms(self) -> int:
        """The step of the grid."""
        return 6 * HOUR_MS if self.days else 1000

    @property
    def calendar_days(self) -> list[date]:
        """The days on which things happen."""
        first = calendar.EPOCH.date() + timedelta(days=self.start_ms // DAY_MS)
        return [first + timedelta(days=number) for number in range(9)]


SECONDS = World(
    START_MS,
    tuple(START_MS + second * 1000 for second in range(41)),
    ("1s", "2s", "3s", "5s", "10s", "2s1ms"),
    ("UTC", "Asia/Kathmandu", "America/New_York"),
)
EDGES = [
    ("Europe/Berlin", "2026-03-27"),
    ("Europe/Berlin", "2026-10-23"),
    ("America/New_York", "2026-03-06"),
    ("America/New_York", "2027-12-29"),
    ("Australia/Lord_Howe", "2026-04-03"),
    ("Australia/Lord_Howe", "2026-10-02"),
    ("America/Sao_Paulo", "2018-11-02"),
    ("America/Sao_Paulo", "2018-02-16"),
    ("Pacific/Apia", "2011-12-28"),
    ("Asia/Kathmandu", "2028-02-27"),
    ("UTC", "2027-02-26"),
]
"""Where a clock was or will be set, a day is skipped, or a month, a year or a leap day ends."""


def days_world(zone: str, start: str) -> World:
    """Ten days on a grid of six hours, and each local midnight of theirs with the instants beside it."""
    start_ms = read_instant(start)
    assert start_ms is not None
    grid = [start_ms + step * 6 * HOUR_MS for step in range(37)]
    world = World(start_ms, tuple(grid), ("6h", "12h", "1d", "2d", "36h", "1w", "1d1ms"), ("UTC", zone), days=True)
    named = calendar.zone_named(zone)
    assert named is not None
    midnights = [calendar.midnight(day, named) for day in world.calendar_days]
    edges = [midnight + beside for midnight in midnights for beside in (-1, 0, 0, 1) if start_ms <= midnight]
    return World(start_ms, tuple(sorted(grid + edges)), world.durations, world.zones, days=True)


DAYS = [days_world(zone, start) for zone, start in EDGES]


# ---- values ----

# Each key is mostly given values of its own kind; the rest is where kinds meet.
NUMBERS: list[Any] = [0, 1, 2, 0.1, 0.2, 0.3, -1, 1.0, 100.0, "1", "0.3", "1e2"]
TEXTS: list[Any] = ["x", "X", "xy", "straße", "STRASSE", "1", "true"]
ODD: list[Any] = [None, "", True, False, [], {}, "x", 1, {"y": 1}, [1], "2026-03-02"]
scalars = st.sampled_from([1, "1", 0.3, 100, "100", 0, "x", "X", "xy", "STRASSE", True, "true"])
lists = st.lists(st.one_of(scalars, st.just([1])), max_size=3)
objects = st.dictionaries(st.sampled_from(["n", "s", "s.n"]), st.sampled_from([*NUMBERS, {"n": 1}]), max_size=2)


def dates(world: World) -> st.SearchStrategy[Any]:
    """What a date may look like, or may not."""
    at = st.sampled_from(world.instants_ms)
    day = st.sampled_from(world.calendar_days)
    return st.one_of(
        at.map(shown),
        at.map(lambda ms: ms // 1000),
        at.map(lambda ms: ms + 1),
        day.map(str),
        at.map(lambda ms: shown(ms).removesuffix("Z")),
        at.map(lambda ms: shown(ms)[:16].replace("T", " ") + "+01"),
        births(world) if world.days else st.nothing(),
        st.sampled_from(["1772409605", "2026-02-30"]),
    )


def births(world: World) -> st.SearchStrategy[str]:
    """Days of other years, near those of the world by month and day."""
    day, year = st.sampled_from(world.calendar_days), st.sampled_from([1984, 2000, 2008, 2027, 2030])
    near = st.builds(lambda one, number: str(calendar.birthday(one, number)), day, year)
    return st.one_of(near, near, st.sampled_from(["2000-02-29", "2008-02-28", "1999-12-31T23:30:00"]))


def kind(world: World, key: str) -> st.SearchStrategy[Any]:
    """What mostly stands under the key."""
    if key == "timezone":
        return st.sampled_from([*world.zones, *world.zones, "Nowhere/At_All", "", 5])
    if key == "i":
        item = st.fixed_dictionaries({}, optional={one: kind(world, one) for one in ("n", "s", "d")})
        return st.lists(st.one_of(item, item, scalars), max_size=3)
    own = {"n": st.sampled_from(NUMBERS), "s": st.sampled_from(TEXTS), "l": lists, "o": objects}
    return dates(world) if key == "d" else own.get(key, st.sampled_from(ODD))


@st.composite
def mappings(draw: st.DrawFn, world: World, zone: bool = False) -> dict[str, Any]:
    """Traits, or the properties of an event; `zone` says whether they may hold a time zone."""
    keys = [*world.keys * 5, *KINDS, "o.n", *(["timezone"] * 5 if zone else [])]
    chosen = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4, unique=True))
    return {key: draw(kind(world, key) if draw(st.integers(0, 7)) else st.sampled_from(ODD)) for key in chosen}


# ---- tests of values ----

NUMERIC = ["gt", "gte", "lt", "lte", "between", "eq", "ne"]
EQUALITY = ["eq", "ne", "in", "not_in"]
TEXTUAL = ["contains", "starts_with", "ends_with"]
ABSOLUTE = ["before", "after", "on_or_before", "on_or_after"]
RELATIVE = ["within_last", "older_than", "within_next", "further_than"]
CALENDAR = ["calendar", "calendar", "calendar", "anniversary", "age", "on_day"]
BY_KIND = {
    "n": NUMERIC,
    "s": [*TEXTUAL, "matches", *EQUALITY],
    "d": [*ABSOLUTE, *RELATIVE, *RELATIVE],
    "l": ["has", "has_any", "has_all", "contains", "matches"],
    "i": ["any_item", "no_item"],
}
REFERRING = [*EQUALITY, *TEXTUAL, *ABSOLUTE, "gt", "gte", "lt", "lte", "has", "has_any", "has_all"]
FOLDING = (*EQUALITY, *TEXTUAL, "matches")


def number_tests(numbers: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One or two number tests, as measures take them."""

    def test(name: str) -> st.SearchStrategy[Any]:
        pair = st.lists(st.sampled_from(numbers), min_size=2, max_size=2).map(sorted)
        return pair if name == "between" else st.sampled_from(numbers)

    names = st.lists(st.sampled_from(NUMERIC), min_size=1, max_size=2, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: test(name) for name in chosen}))


@st.composite
def value_tests(draw: st.DrawFn, world: World, path: str, nested: bool = True, refer: bool = True) -> dict[str, Any]:
    """One operator with its operand, mostly one that suits what stands at the path; `refer`: it may name a trait."""
    by_kind = BY_KIND | {"d": [*BY_KIND["d"], *CALENDAR, *CALENDAR] if world.days else BY_KIND["d"]}
    anything = [name for names in by_kind.values() for name in names] + ["exists"]
    name = draw(st.sampled_from(by_kind.get(path[-1], anything)) | st.sampled_from(anything))
    test = {name: draw(operands(world, name, nested))}
    if refer and name in REFERRING and draw(st.integers(0, 5)) == 0:
        test = {name: {"trait": draw(st.sampled_from([path, *world.paths]))}}
    if name in FOLDING and draw(st.booleans()):
        test["ignore_case"] = True
    return test


def operands(world: World, name: str, nested: bool = False) -> st.SearchStrategy[Any]:
    """What may stand on the right of the operator."""
    numbers = st.sampled_from([value for value in NUMBERS if not isinstance(value, str)])
    if name in ("gt", "gte", "lt", "lte"):
        return numbers
    if name == "between":
        return st.lists(numbers, min_size=2, max_size=2).map(sorted)
    if name == "exists":
        return st.booleans()
    if name in TEXTUAL:
        return st.sampled_from(["x", "X", "S", "1", "ß", "e"])
    if name == "matches":
        return st.sampled_from(["x", "^X$", "s+", "[a-x]y", "^\\S+$", "1|2"])
    if name in ("in", "not_in", "has_any", "has_all"):
        return st.lists(scalars, min_size=1, max_size=2)
    if name in ("any_item", "no_item"):
        return wheres(world, paths=["n", "s", "d"], nested=False, refer=False) if nested else st.just({"n": 1})
    if name in RELATIVE:
        return st.sampled_from(world.durations)
    return date_operands(world, name) if name in (*ABSOLUTE, *CALENDAR) else scalars


def date_operands(world: World, name: str) -> st.SearchStrategy[Any]:
    day = st.sampled_from(world.calendar_days).map(str)
    if name in ABSOLUTE:
        at = st.sampled_from(world.instants_ms).map(shown)
        return st.one_of(at, day, at.map(lambda text: text.removesuffix("Z")))
    if name == "on_day":
        return st.one_of(day, st.lists(day, min_size=1, max_size=2))
    if name == "age":
        return number_tests([0, 17, 18, 19, 26, -1, -2])
    return calendar_words()


def calendar_words() -> st.SearchStrategy[Any]:
    named = [f"{which}_{unit}" for which in ("this", "last", "next") for unit in ("week", "month", "year")]
    counted = [f"{which}_{unit}" for which in ("last", "next") for unit in ("days", "weeks", "months", "years")]
    return st.one_of(
        st.sampled_from(["today", "yesterday", "tomorrow", *named]),
        st.builds(lambda name, count: {name: count}, st.sampled_from(counted), st.integers(1, 3)),
        st.builds(lambda name, count: {name: count}, st.sampled_from(["days_ago", "in_days"]), st.integers(0, 3)),
    )


@st.composite
def wheres(draw: st.DrawFn, world: World, paths: list[str], nested: bool = True, refer: bool = True) -> dict[str, Any]:
    """Paths and tests, or where nested one of the combining forms."""
    if nested and draw(st.integers(0, 5)) == 0:
        head = draw(st.sampled_from(["all", "any", "none"]))
        return {head: draw(st.lists(wheres(world, paths, nested=False, refer=refer), min_size=1, max_size=2))}
    chosen = draw(st.lists(st.sampled_from(paths), min_size=1, max_size=2))
    by_path = {path: value_tests(world, path, nested, refer) for path in chosen}
    return {path: draw(st.one_of(tests, tests, scalars)) for path, tests in by_path.items()}
