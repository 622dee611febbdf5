"""Random sequences over a small vocabulary, and the histories of contacts that they lead.

Few events, traits, lists and values, so that what one sequence sets or says is asked for by another, and what falls
due falls together with what comes.
"""

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.histories import GAPS, LATENESS
from tests.histories_values import DAYS, SECONDS, World
from tests.oracle_values import shown

Line = dict[str, Any]
IDS = ("s1", "s2", "s3")
TRAITS: dict[str, list[Any]] = {"x": [1, 1, 1, 2, None], "y": ["p", "p", None], "mail": ["a@shop.example", "nowhere"]}
CLOCKS = ["00:00", "00:01", "02:30", "09:00", "12:00", "23:59"]


@dataclass(frozen=True)
class Case:
    """Definitions, sequences as written, the lines of an events file, and how far to play on."""

    definitions: dict[str, Any]
    sequences: list[dict[str, Any]]
    lines: list[Line]
    until_ms: int

    def raw(self) -> list[bytes]:
        return [json.dumps(line).encode() for line in self.lines]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    world = draw(st.sampled_from([SECONDS, draw(st.sampled_from(DAYS))]))
    ids = IDS[: draw(st.integers(1, 3))]
    segments = {one["id"]: one for one in segments_in(world)}
    sequences = [draw(written(world, id, sorted(segments))) for id in ids]
    named = names_in(sequences)
    lines = draw(histories(world))
    until_ms = world.start_ms + draw(st.sampled_from([0, 30, 90])) * world.unit_ms
    return Case({"segments": [one for id, one in segments.items() if id in named]}, sequences, lines, until_ms)


# ---- segments ----


def segments_in(world: World) -> list[dict[str, Any]]:
    """All that sequences may name: what comes and goes by events, traits, lists, time, and what sequences say."""
    three, five = (f"{count * world.unit_ms}ms" for count in (3, 5))
    return [
        {"id": "a", "when": {"event": "A", "within": three}},
        {"id": "b", "when": {"event": "B", "within": five, "count": {"gte": 2}}},
        {"id": "ever", "when": {"event": "B"}},
        {"id": "held", "when": {"trait": "x", "eq": 1}, "hold": {"enter": three}},
        {"id": "not-a", "when": {"not": {"segment": "a"}}},
        {"id": "x1", "when": {"trait": "x", "eq": 1}},
        {"id": "x2", "when": {"trait": "x", "eq": 2}},
        {"id": "any", "when": {"event": "*", "within": three}},
        {"id": "vip", "when": {"listed": "vip"}},
        {"id": "done", "when": {"event": "Sequence Completed", "where": {"sequence": "s1"}, "within": five}},
        {"id": "out", "when": {"event": {"prefix": "Sequence Ex"}, "where": {"sequence": "s1"}, "count": {"gte": 1}}},
        {"id": "k", "per": "k", "when": {"event": "C", "within": three}},
        {"id": "kk", "per": "k", "when": {"event": "C", "count": {"gte": 2}}},
    ]


def names_in(tree: Any) -> set[str]:
    """The segments that are named anywhere in it, and those that they name."""
    if isinstance(tree, list):
        return set().union(*map(names_in, tree))
    if not isinstance(tree, dict):
        return set()
    here = {tree["segment"]} if isinstance(tree.get("segment"), str) else set()
    return (here | ({"a"} if "not-a" in here else set())).union(*map(names_in, tree.values()))


# ---- sequences ----


@st.composite
def written(draw: st.DrawFn, world: World, id: str, segments: list[str]) -> Line:
    """A sequence as it stands in a file; `s1` asks for nothing that it says itself."""
    may = [one for one in segments if id != "s1" or one not in ("done", "out")]
    plain = [one for one in may if one not in ("k", "kk")]
    segment = draw(st.sampled_from([*may, "k", "a", "a", "x1", "x1"]))
    again = ["once", "every_time", "every_time", {"cooldown": f"{draw(st.integers(1, 8)) * world.unit_ms}ms"}]
    moves = st.sampled_from(["entered", "left"])
    body: Line = {"id": id, "on": {"segment": segment, "transition": draw(st.sampled_from(["entered"] * 3 + ["left"]))}}
    body["again"] = draw(st.sampled_from([*again, *["per_key"] * (3 if segment in ("k", "kk") else 0)]))
    if draw(st.booleans()):
        body["on"]["causes"] = ["event", "timer", "import", "manual"]
    ending = [*plain, segment]
    if draw(st.integers(0, 2)) == 0:
        body["goal"] = {**draw(asked(ending)), "ends": draw(st.booleans())}
    if draw(st.integers(0, 2)) == 0:
        exits = st.builds(lambda one, move: {**one, "transition": move}, asked(ending), moves)
        body["exit"] = draw(st.lists(exits, min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        body["while"] = draw(condition(plain))
    if draw(st.integers(0, 3)) == 0:
        body["tz"] = draw(st.sampled_from([*world.zones, "contact"]))
    body["steps"] = numbered(draw(steps(world, plain, depth=2)))
    return body


def asked(segments: list[str]) -> st.SearchStrategy[Line]:
    """A segment by its id, or a condition in place."""
    return st.one_of(
        st.sampled_from(segments).map(lambda id: {"segment": id}), in_place().map(lambda when: {"when": when})
    )


def condition(segments: list[str]) -> st.SearchStrategy[Line]:
    return st.one_of(st.sampled_from(segments).map(lambda id: {"segment": id}), in_place())


def in_place() -> st.SearchStrategy[Line]:
    return st.sampled_from([{"trait": "y", "eq": "p"}, {"event": "B"}, {"not": {"segment": "x1"}}])


@st.composite
def steps(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> list[Line]:
    kinds = ["send", "send", "wait", "time", "date", "wait_for", "set", "mail"] + ["branch", "split"] * (depth > 0)
    found: list[Line] = []
    for _ in range(draw(st.sampled_from([1, 2, 3, 4, 5] if depth == 2 else [0, 1, 1, 2]))):
        found.append(draw(STEPS[draw(st.sampled_from(kinds))](world, segments, depth)))
        if never_passed(found):
            return found
    return [*found, {"end": True}] if draw(st.integers(0, 9)) == 0 else found


def never_passed(found: list[Line]) -> bool:
    """Whether nothing can stand behind the last of the steps, as all ways through it end."""
    if not found:
        return False
    [(kind, body), *_] = found[-1].items()
    if kind == "split":
        return all(path.get("holdout") or never_passed(path["steps"]) for path in body["paths"])
    if kind == "wait_for" and "timeout" not in body:
        return never_passed(body.get("then", []))
    if kind in ("branch", "wait_for"):
        return never_passed(body.get("then", [])) and never_passed(body.get("else", []))
    return kind == "end"


def numbered(found: Any, count: list[int] | None = None) -> Any:
    """The steps with each `send` a message of a name of its own."""
    count = [0] if count is None else count
    if isinstance(found, list):
        return [numbered(one, count) for one in found]
    if not isinstance(found, dict):
        return found
    if found.get("send") == "":
        count[0] += 1
        return {"send": f"m{count[0]}"}
    return {key: numbered(one, count) for key, one in found.items()}


def send(world: World, segments: list[str], depth: int) -> st.SearchStrategy[Line]:
    return st.just({"send": ""})


def mail(world: World, segments: list[str], depth: int) -> st.SearchStrategy[Line]:
    template = {"subject": "Hello", "text": "{{ traits.x }}"}
    return st.just({"send": {"channel": "email", "target": {"trait": "mail"}, "template": template, "traits": ["y"]}})


def lengths(world: World) -> st.SearchStrategy[str]:
    return st.sampled_from([1, 1, 2, 3, 5, 8]).map(lambda count: f"{count * world.unit_ms}ms")


def wait(world: World, segments: list[str], depth: int) -> st.SearchStrategy[Line]:
    return st.one_of(lengths(world), st.just("1s1ms")).map(lambda length: {"wait": length})


@st.composite
def time(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> Line:
    body: Line = {"until": draw(st.sampled_from(CLOCKS))}
    if draw(st.booleans()):
        days = st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
        body["weekdays"] = draw(st.lists(days, min_size=1, max_size=4, unique=True))
    if draw(st.integers(0, 3)):
        body["tz"] = draw(st.sampled_from([*world.zones, "contact"]))
    return {"wait": body}


@st.composite
def date(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> Line:
    body: Line = {"until": {"trait": "on"}}
    if draw(st.booleans()):
        body["offset"] = draw(st.sampled_from(["", "-"])) + draw(lengths(world))
    if draw(st.booleans()):
        body["tz"] = draw(st.sampled_from([*world.zones, "contact"]))
    if draw(st.booleans()):
        body["else"] = draw(steps(world, segments, 0))
    return {"wait": body}


@st.composite
def wait_for(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> Line:
    body: Line = {**draw(asked(segments)), "transition": draw(st.sampled_from(["entered", "entered", "left"]))}
    if draw(st.integers(0, 3)):
        body["timeout"] = draw(lengths(world))
    for side in ("then", "else") if "timeout" in body else ("then",):
        if draw(st.booleans()):
            body[side] = draw(steps(world, segments, 0))
    return {"wait_for": body}


@st.composite
def branch(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> Line:
    body: Line = {"if": draw(condition(segments)), "then": draw(steps(world, segments, depth - 1))}
    if draw(st.booleans()):
        body["else"] = draw(steps(world, segments, depth - 1))
    return {"branch": body}


@st.composite
def split(draw: st.DrawFn, world: World, segments: list[str], depth: int) -> Line:
    names, shares = ["p", "q", "r"], draw(st.sampled_from([(50, 50), (100,), (33.3, 33.3, 33.4), (10, 80, 10)]))
    paths: list[Line] = []
    for name, percent in zip(names, shares, strict=False):
        held = draw(st.integers(0, 3)) == 0
        inner = {"holdout": True} if held else {"steps": draw(steps(world, segments, depth - 1))}
        paths.append({"name": name, "percent": percent, **inner})
    salt = {"salt": draw(st.sampled_from(["one", "two"]))} if draw(st.booleans()) else {}
    return {"split": {**salt, "paths": paths}}


def set_(world: World, segments: list[str], depth: int) -> st.SearchStrategy[Line]:
    dates = [("on", None), *(("on", shown(at)) for at in world.instants_ms[:4])]
    traits = st.sampled_from([("x", 1), ("x", 2), ("y", "p"), ("y", None), ("timezone", "Asia/Kathmandu"), *dates])
    actions = st.sampled_from(["added", "removed"])
    return st.one_of(
        traits.map(lambda pair: {"set": {"traits": dict([pair])}}),
        actions.map(lambda action: {"set": {"list": "vip", "action": action}}),
    )


STEPS = {
    "send": send,
    "mail": mail,
    "wait": wait,
    "time": time,
    "date": date,
    "wait_for": wait_for,
    "set": set_,
    "branch": branch,
    "split": split,
}


# ---- histories ----


@st.composite
def histories(draw: st.DrawFn, world: World) -> list[Line]:
    """Events in order of arrival: late, tied, duplicate ones, and jumps to the edges of days."""
    lines: list[Line] = []
    received = world.start_ms
    for number in range(4 * draw(st.integers(1, 5))):
        received += draw(st.sampled_from(GAPS)) * world.unit_ms
        if world.days and draw(st.integers(0, 4)) == 0:
            received = min((at for at in world.instants_ms if at >= received), default=received)
        late = draw(st.sampled_from([lateness * world.unit_ms for lateness in LATENESS] + [1, 1999, 2001, -1000]))
        line = draw(contents(world))
        line |= {"userId": draw(st.sampled_from(["ann", "ann", "bob"])), "receivedAt": received}
        line |= {"timestamp": received - late, "messageId": f"n{draw(st.sampled_from([number, number, 0]))}"}
        lines.append(line)
    return lines


@st.composite
def contents(draw: st.DrawFn, world: World) -> Line:
    kind = draw(st.sampled_from(["track"] * 4 + ["keyed", *["identify"] * 4, "date", "date", "zone", "list"]))
    kind = "delete" if draw(st.integers(0, 29)) == 29 else kind
    if kind == "delete":
        return {"type": "delete"}
    if kind == "list":
        return {"type": "list", "list": "vip", "action": draw(st.sampled_from(["added", "removed"]))}
    if kind == "identify":
        name = draw(st.sampled_from("xxxyy") if draw(st.integers(0, 3)) else st.just("mail"))
        return {"type": "identify", "traits": {name: draw(st.sampled_from(TRAITS[name]))}}
    if kind == "zone":
        return {"type": "identify", "traits": {"timezone": draw(st.sampled_from([*world.zones, "Nowhere", None]))}}
    if kind == "date":
        at = draw(st.sampled_from(world.instants_ms))
        return {
            "type": "identify",
            "traits": {"on": draw(st.sampled_from([shown(at), shown(at)[:10], at, "no", None]))},
        }
    keyed = {"properties": {"k": draw(st.sampled_from(["1", "2"]))}} if kind == "keyed" else {}
    line = {"type": "track", "event": "C" if kind == "keyed" else draw(st.sampled_from("AAB")), **keyed}
    return {**line, "context": {"import": True}} if draw(st.integers(0, 9)) == 0 else line
