"""Random definitions and histories that collide: few names, few values, few durations, all times on one grid.

Ties, window edges, late and future events, duplicates and moving dates then happen in most examples, not in few.
"""

import json
from typing import Any

from hypothesis import strategies as st

from tests.oracle_input import shown

START_MS = 1_772_409_600_000  # Monday 2026-03-02T00:00:00Z
DAY_MS = 86_400_000
DURATIONS = ["1s", "2s", "3s", "5s", "10s", "2s1ms"]
NAMES = ["A", "B", "Ab"]
GRID_S = 40
RELATIVE = ["within_last", "older_than", "within_next", "further_than"]

durations = st.sampled_from(DURATIONS)
grid_ms = st.integers(0, GRID_S).map(lambda second: START_MS + second * 1000)


# ---- values, and tests of them ----

# Each key is mostly given values of its own kind; the rest is where kinds meet.
NUMBERS: list[Any] = [0, 1, 2, 0.1, 0.2, 0.3, -1, 1.0, 100.0, "1", "0.3", "1e2"]
TEXTS: list[Any] = ["x", "X", "xy", "straße", "STRASSE", "1", "true"]
ODD: list[Any] = [None, "", True, False, [], {}, "x", 1, {"y": 1}, [1], "2026-03-02"]
scalars = st.sampled_from([1, "1", 0.3, 100, "100", 0, "x", "X", "xy", "STRASSE", True, "true"])
dates = st.one_of(
    grid_ms.map(shown),
    grid_ms.map(lambda ms: ms // 1000),
    grid_ms.map(lambda ms: ms + 1),
    st.sampled_from(["2026-03-02", "2026-03-02T00:00:20", "2026-03-02 01:00:10+01", "1772409605", "2026-02-30"]),
)
lists = st.lists(st.one_of(scalars, st.just([1]), st.none()), max_size=3)
item = st.fixed_dictionaries({}, optional={"n": st.sampled_from(NUMBERS), "s": st.sampled_from(TEXTS), "d": dates})
items = st.lists(st.one_of(item, item, scalars), max_size=3)
objects = st.dictionaries(st.sampled_from(["n", "s", "s.n"]), st.sampled_from([*NUMBERS, {"n": 1}]), max_size=2)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "n": st.sampled_from(NUMBERS),
    "s": st.sampled_from(TEXTS),
    "d": dates,
    "l": lists,
    "i": items,
    "o": objects,
}
PATHS = [*KINDS, *KINDS, "d", "d", "o.n", "o.s", "o.s.n"]


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """Traits, or the properties of an event."""
    keys = draw(st.lists(st.sampled_from([*KINDS, *KINDS, "d", "n", "o.n"]), min_size=1, max_size=5))
    odd = st.sampled_from(ODD)
    return {key: draw(KINDS.get(key, odd) if draw(st.integers(0, 5)) else odd) for key in keys}


@st.composite
def number_tests(draw: st.DrawFn, numbers: list[Any]) -> dict[str, Any]:
    """One or two number tests, as measures take them."""
    names = draw(
        st.lists(
            st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "between"]), min_size=1, max_size=2, unique=True
        )
    )
    pairs = {name: sorted(draw(st.lists(st.sampled_from(numbers), min_size=2, max_size=2))) for name in names}
    return {name: pair if name == "between" else pair[0] for name, pair in pairs.items()}


@st.composite
def value_tests(draw: st.DrawFn, path: str, nested: bool = True) -> dict[str, Any]:
    """One operator with its operand, mostly one that suits what stands at the path."""
    absolute, relative = ["before", "after", "on_or_before", "on_or_after"], [*RELATIVE, *RELATIVE]
    by_kind = {
        "n": ["gt", "gte", "lt", "lte", "between", "eq", "ne"],
        "s": ["contains", "starts_with", "ends_with", "matches", "eq", "ne", "in", "not_in"],
        "d": [*absolute, *relative],
        "l": ["has", "has_any", "has_all", "contains", "matches"],
        "i": ["any_item", "no_item"],
    }
    anything = [name for names in by_kind.values() for name in names] + ["exists"]
    name = draw(st.sampled_from(by_kind.get(path[-1], anything)) | st.sampled_from(anything))
    test = {name: draw(operands(name, nested))}
    if name in ("eq", "ne", "in", "not_in", "contains", "starts_with", "ends_with", "matches") and draw(st.booleans()):
        test["ignore_case"] = True
    return test


def operands(name: str, nested: bool) -> st.SearchStrategy[Any]:
    """What may stand on the right of the operator."""
    numbers = st.sampled_from([value for value in NUMBERS if not isinstance(value, str)])
    if name in ("gt", "gte", "lt", "lte"):
        return numbers
    if name == "between":
        return st.lists(numbers, min_size=2, max_size=2).map(sorted)
    if name == "exists":
        return st.booleans()
    if name in ("contains", "starts_with", "ends_with"):
        return st.sampled_from(["x", "X", "S", "1", "ß", "e"])
    if name == "matches":
        return st.sampled_from(["x", "^X$", "s+", "[a-x]y", "^\\S+$", "1|2"])
    if name in ("in", "not_in", "has_any", "has_all"):
        return st.lists(scalars, min_size=1, max_size=2)
    if name in ("any_item", "no_item"):
        return wheres(paths=["n", "s", "d"], nested=False) if nested else st.just({"n": 1})
    if name in ("before", "after", "on_or_before", "on_or_after"):
        return grid_ms.map(shown)
    if name in RELATIVE:
        return durations
    return scalars


@st.composite
def wheres(draw: st.DrawFn, paths: list[str], nested: bool = True) -> dict[str, Any]:
    """Paths and tests, or where nested one of the combining forms."""
    if nested and draw(st.integers(0, 5)) == 0:
        head = draw(st.sampled_from(["all", "any", "none"]))
        return {head: draw(st.lists(wheres(paths, nested=False), min_size=1, max_size=2))}
    chosen = draw(st.lists(st.sampled_from(paths), min_size=1, max_size=2))
    return {path: draw(st.one_of(value_tests(path, nested), value_tests(path, nested), scalars)) for path in chosen}


# ---- definitions ----


@st.composite
def trait_conditions(draw: st.DrawFn) -> dict[str, Any]:
    """A trait and one operator."""
    path = draw(st.sampled_from(PATHS))
    if draw(st.integers(0, 5)) == 0:
        return {"trait": path, "unchanged_for": draw(durations)}
    return {"trait": path, **draw(value_tests(path))}


@st.composite
def event_conditions(draw: st.DrawFn) -> dict[str, Any]:
    """Names, perhaps a where, perhaps a window, perhaps a measure."""
    names = ["A", "A", *NAMES, ["A", "B"], "*", {"prefix": "A"}, {"any_except": ["B", {"prefix": "Ab"}]}, "Page Viewed"]
    condition: dict[str, Any] = {"event": draw(st.sampled_from(names))}
    if draw(st.integers(0, 3)) == 0:
        condition["where"] = draw(wheres([*PATHS, "context.n", "name"]))
    if draw(st.integers(0, 3)) > 0:
        condition["within"] = draw(durations)
    measure = draw(st.sampled_from(["", "", "count", "count", "sum", "last_at"]))
    if measure == "count":
        condition["count"] = draw(st.integers(0, 3) | number_tests([0, 1, 2, 3]))
    elif measure == "sum":
        of = draw(st.sampled_from(["n", "n", "n", "o.n", "s", "context.n"]))
        condition["sum"] = {"of": of, **draw(number_tests([0, 0.3, 1, 2, 100, -1]))}
    elif measure == "last_at":
        name = draw(
            st.sampled_from(["within_last", "older_than", "within_next", "further_than", "before", "on_or_after"])
        )
        condition["last_at"] = {name: draw(operands(name, nested=False))}
    return condition


@st.composite
def conditions(draw: st.DrawFn, segments: list[str], depth: int = 2) -> dict[str, Any]:
    """A tree of conditions; `segments` are those that it may name."""
    heads = ["event", "event", "event", "trait", "trait", "everyone", *(["segment"] * 2 if segments else [])]
    head = draw(st.sampled_from(heads + (["not", "all", "any", "none"] if depth else [])))
    if head == "event":
        return draw(event_conditions())
    if head == "trait":
        return draw(trait_conditions())
    if head == "segment":
        return {"segment": draw(st.sampled_from(segments))}
    if head == "everyone":
        return {"everyone": True}
    if head == "not":
        return {"not": draw(conditions(segments, depth - 1))}
    return {head: draw(st.lists(conditions(segments, depth - 1), min_size=1, max_size=3))}


@st.composite
def definitions(draw: st.DrawFn, hold: bool = True) -> dict[str, Any]:
    """Two to six segments in any order of the file; a later id may name the earlier ones."""
    segments: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 3)) * 2):
        segment = {"id": f"s{number}", "when": draw(conditions([one["id"] for one in segments]))}
        if hold and draw(st.integers(0, 2)) == 0:
            sides = draw(st.lists(st.sampled_from(["enter", "leave"]), min_size=1, unique=True))
            segment["hold"] = {side: draw(durations | st.just("0s")) for side in sides}
        segments.append(segment)
    return {"segments": draw(st.permutations(segments))}


# ---- histories ----


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """An event without its times, contact and id."""
    kind = draw(st.sampled_from([*["track"] * 6, *["identify"] * 3, "page", "screen", "group"]))
    event: dict[str, Any] = {"type": kind}
    if kind == "track":
        event["event"] = draw(st.sampled_from(["A", *NAMES]))
    if kind in ("track", "page", "screen"):
        event["properties"] = draw(mappings())
    if kind == "page":
        event["name"] = draw(st.sampled_from(["x", "", None]))
    if kind in ("identify", "group"):
        event["traits"] = draw(mappings())
    if kind == "group":
        event["groupId"] = "g"
    if draw(st.integers(0, 2)) == 0:
        event["context"] = draw(
            st.fixed_dictionaries(
                {}, optional={"traits": mappings(), "n": st.sampled_from(NUMBERS), "import": st.booleans()}
            )
        )
    return event


# What the arrival of an event is after that of the line before it, and how long before its arrival it happened.
GAPS_MS = [0, 1000, 1000, 1000, 2000, 3000, 5000, 8000, -3000, 1, DAY_MS - 8000, DAY_MS - 1, DAY_MS]
LATENESS_MS = [0, 0, 0, 0, 1000, 2000, 2001, 3000, 5000, 10_000, -1000, -3000, -300_000, -300_001]


@st.composite
def histories(draw: st.DrawFn, size_max: int = 18) -> list[bytes]:
    """The lines of an events file: late, tied, duplicate and future events of two contacts, some lines rejected."""
    received = START_MS
    lines: list[bytes] = []
    for number in range(draw(st.integers(1, 3)) * size_max // 3):
        # A day's jump is for the edges of the dedup horizon; it would empty every window if it came often.
        received += draw(st.sampled_from(GAPS_MS[:9]) | st.sampled_from(GAPS_MS[:10]) | st.sampled_from(GAPS_MS))
        event = draw(contents())
        event["userId"] = draw(st.sampled_from(["a", "a", "a", "b"]))
        event["timestamp"] = received - draw(st.sampled_from(LATENESS_MS))
        event["receivedAt"] = draw(st.sampled_from([received, received, received, received, None]))
        if event["receivedAt"] is not None and draw(st.integers(0, 9)) == 0:
            event["timestamp"] = None
        again = draw(st.integers(0, 4)) == 0
        event["messageId"] = f"m{draw(st.integers(0, number)) if again else number}" if number % 7 else None
        lines.append(json.dumps(event).encode())
    return lines


@st.composite
def settled_histories(draw: st.DrawFn) -> list[bytes]:
    """Events whose order of arrival must not matter: no ties, duplicates, missing or future times."""
    seconds = draw(st.lists(st.integers(0, GRID_S), min_size=1, max_size=10, unique=True))
    events = [{**draw(contents()), "userId": "a", "timestamp": START_MS + second * 1000} for second in seconds]
    return [json.dumps({**event, "messageId": f"m{number}"}).encode() for number, event in enumerate(events)]
