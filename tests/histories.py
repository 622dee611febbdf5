"""Random definitions and histories over the whole language, for what must hold of any.

`cases(construct)` is where to begin: definitions that show the construct, and the lines of an events file in a world
that suits it. Values are in `histories_values`, conditions in `histories_conditions`.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.histories_conditions import CONSTRUCTS, Condition, durations, scores, zones
from tests.histories_values import DAY_MS, DAYS, KINDS, SECONDS, START_MS, World, kind, mappings

__all__ = ["ALL", "CASES", "DAY_MS", "START_MS", "Case", "cases", "settled_cases"]

Line = dict[str, Any]
Definitions = dict[str, Any]

# ---- definitions ----

SHAPES = ("held", "hold", "segment", "per", "contact")
"""Constructs of whole segments, or with conditions in them."""
STEPS = ("link", "delete", "definitions")
"""Constructs of histories."""
CASES = (*CONSTRUCTS, *SHAPES, *STEPS)
ALL = "everything"
OF_DAYS = ("calendar", "local", "contact")
"""Constructs that show in a world of days alone."""


@st.composite
def conditions(draw: st.DrawFn, world: World, focus: tuple[str, ...], named: list[str], depth: int = 2) -> Condition:
    """A tree of conditions, of the constructs in focus and of the plainest; `named` are the segments it may name."""
    combining = ["not", "all", "any", "none", *(["held"] * 2 if "held" in focus else [])] if depth else []
    leaves = [name for name in focus if name in CONSTRUCTS] * 2
    head = draw(st.sampled_from([*(leaves * 2 or ["event"] * 4), "event", "trait", "everyone", *combining]))
    if "segment" in focus and named and draw(st.integers(0, 2)) == 0:
        return {"segment": draw(st.sampled_from(named))}
    if head == "everyone":
        return {"everyone": True}
    if head in CONSTRUCTS:
        return draw(CONSTRUCTS[head](world))
    inner = conditions(world, focus, named, depth - 1)
    if head == "held":
        return {"held": draw(inner), "for": draw(durations(world))}
    return {head: draw(inner if head == "not" else st.lists(inner, min_size=1, max_size=3))}


@st.composite
def segments(draw: st.DrawFn, world: World, focus: tuple[str, ...], name: str, named: list[str]) -> Condition:
    """A segment; those whose ids end in `k` make keys."""
    when = draw(conditions(world, focus, named))
    segment: Condition = {"id": name, "when": when}
    if name.endswith("k"):
        asked = draw(CONSTRUCTS[draw(st.sampled_from(["event", "event", "sequence"]))](world))
        segment |= {"per": PER[name], "when": {draw(st.sampled_from(["all", "any", "none"])): [when, asked]}}
    if "hold" in focus and draw(st.integers(0, 2)):
        segment["hold"] = draw(holds(world))
    if draw(st.integers(0, 1 if "contact" in focus else 5)) == 0:
        segment["tz"] = draw(zones(world))
    return segment


PER = {"s1k": "s", "s3k": "n"}


@st.composite
def holds(draw: st.DrawFn, world: World) -> Condition:
    sides = draw(st.lists(st.sampled_from(["enter", "leave"]), min_size=1, unique=True))
    return {side: draw(durations(world) | st.just("0s")) for side in sides}


@st.composite
def definitions(
    draw: st.DrawFn, world: World, focus: tuple[str, ...], before: Definitions | None = None
) -> Definitions:
    """One to four segments in any order of the file, and two scores; some of them as they were `before`."""
    old = {one["id"]: one for one in before["segments"]} if before else {}
    ids = ["s0", "s1k" if "per" in focus else "s1", "s2", "s3k" if "per" in focus else "s3"]
    chosen: dict[str, Condition] = {}
    for name in ids[: draw(st.integers(2, 4))] if before is None else ids:
        if before is not None and draw(st.integers(0, 4)) == 0:
            continue
        named = [one for one in chosen if not one.endswith("k")]
        chosen[name] = draw(altered(world, focus, old.get(name), name, named))
    both = [] if before is None else [one for one in before.get("scores", []) if draw(st.integers(0, 3))]
    made = [one["id"] for one in both]
    both += [draw(scores(world, name)) for name in ("p", "q") if "score" in focus and name not in made]
    return {"segments": draw(st.permutations(list(chosen.values()))), **({"scores": both} if both else {})}


@st.composite
def altered(
    draw: st.DrawFn, world: World, focus: tuple[str, ...], old: Condition | None, name: str, named: list[str]
) -> Condition:
    """The old segment, with another hold, or another question; a new one where what it names is gone."""
    gone = old is None or not segments_named(old["when"]) <= set(named)
    how = draw(st.sampled_from(["same", "same", "hold", "new", "new"]))
    if old is None or gone or how == "new":
        return draw(segments(world, focus, name, named))
    if how == "hold":
        return {
            **{key: part for key, part in old.items() if key != "hold"},
            **draw(holds(world).map(lambda h: {"hold": h})),
        }
    return old


def segments_named(tree: Any) -> set[str]:
    """The segments that a condition names."""
    if isinstance(tree, list):
        return set().union(*map(segments_named, tree))
    if not isinstance(tree, dict):
        return set()
    here = {tree["segment"]} if isinstance(tree.get("segment"), str) else set()
    return here.union(*map(segments_named, tree.values()))


# ---- events ----


@st.composite
def contents(draw: st.DrawFn, world: World, focus: tuple[str, ...]) -> Line:
    """An event without its times, contact and id."""
    traits = bool({"trait", "unchanged_for", "reference", "calendar", "contact"} & set(focus))
    kinds = [*["track"] * 6, *["identify"] * (9 if traits else 3), "page", "screen", "group"]
    kinds += ["list"] * 4 if "listed" in focus else []
    kinds += ["consent"] * 4 if "subscribed" in focus else []
    line = draw(content(world, draw(st.sampled_from(kinds)), zone=world.days))
    if draw(st.integers(0, 2)) == 0:
        own = st.fixed_dictionaries(
            {}, optional={"traits": mappings(world), "n": kind(world, "n"), "import": st.booleans()}
        )
        line["context"] = draw(own)
        if line["type"] == "list":
            line["context"].pop("import", None)
    return line


@st.composite
def content(draw: st.DrawFn, world: World, type_: str, zone: bool) -> Line:
    if type_ == "consent":
        groups = st.sampled_from(["news", "news", "1", 1, 1.0, True, "true", "other", None, "", [1], {"a": 1}])
        name = draw(st.sampled_from(["Subscribed", "Unsubscribed"]))
        return {"type": "track", "event": name, "properties": draw(st.sampled_from([{}, {"group": draw(groups)}]))}
    if type_ == "list":
        names, actions = st.sampled_from(["vip", "vip", "beta"]), st.sampled_from(["added", "added", "removed"])
        return {"type": "list", "list": draw(names), "action": draw(actions)}
    if type_ in ("identify", "group"):
        return {"type": type_, "traits": draw(mappings(world, zone=zone)), "groupId": "g"}
    line: Line = {"type": type_, "properties": draw(mappings(world))}
    if type_ == "track":
        return {**line, "event": draw(st.sampled_from(["A", "A", "B", "Ab"]))}
    return {**line, "name": draw(st.sampled_from(["x", "", None]))}


def linking() -> st.SearchStrategy[Line]:
    """An event that may make one contact of two."""
    names, own = st.sampled_from(["a", "b", "x", "y"]), st.sampled_from(["a", "a", "b"])
    alias = st.builds(lambda one, other: {"type": "alias", "userId": one, "previousId": other}, own, names)
    anonymous = st.sampled_from(["x", "y", "x", "b"])
    identify = st.builds(
        lambda one, other: {"type": "identify", "userId": one, "anonymousId": other, "traits": {"n": 1}}, own, anonymous
    )
    return st.one_of(alias, identify, identify)


# ---- histories ----

# What the arrival of a line is after that of the one before, in steps of the grid, and how long before it happened.
GAPS = [0, 1, 1, 1, 2, 3, 5, 8, -3]
LATENESS = [0, 0, 0, 0, 1, 2, 3, 5, 10]
EDGES_MS = [1, DAY_MS - 8000, DAY_MS - 1, DAY_MS]
"""A day's jump is for the edges of the dedup horizon; it would empty every window if it came often."""


@st.composite
def arrivals(draw: st.DrawFn, world: World, count: int) -> list[int]:
    """When the lines arrive: on the grid of the world, and in one of days at its edges too."""
    received = world.start_ms
    found = []
    for _ in range(count):
        step = draw(st.sampled_from(GAPS)) * world.unit_ms
        if draw(st.integers(0, 19)) == 0:
            step = draw(st.sampled_from(EDGES_MS))
        received += step
        edge = world.days and draw(st.integers(0, 3)) == 0
        found.append(min((at for at in world.instants_ms if at >= received), default=received) if edge else received)
    return found


@st.composite
def events(draw: st.DrawFn, world: World, focus: tuple[str, ...], number: int, received: int) -> Line:
    """One event with its times, contact and id."""
    line = draw(contents(world, focus))
    if "link" in focus:
        name = {"anonymousId": draw(st.sampled_from(["x", "y"]))} if draw(st.booleans()) else {}
        line |= name if name and line["type"] != "identify" else {"userId": draw(st.sampled_from(["a", "b"]))}
    else:
        line["userId"] = draw(st.sampled_from(["a", "a", "a", "b"]))
    late = draw(
        st.sampled_from([lateness * world.unit_ms for lateness in LATENESS] * 2 + [2001, -1000, -300_000, -300_001])
    )
    line |= {"timestamp": received - late, "receivedAt": draw(st.sampled_from([received] * 4 + [None]))}
    if line["receivedAt"] is not None and draw(st.integers(0, 9)) == 0:
        line["timestamp"] = None
    again = draw(st.integers(0, 4)) == 0
    line["messageId"] = f"m{draw(st.integers(0, number)) if again else number}" if number % 7 else None
    return line


@st.composite
def histories(
    draw: st.DrawFn, world: World, focus: tuple[str, ...], first: Definitions, size_max: int = 24
) -> list[Line]:
    """The lines of an events file: late, tied, duplicate and future events of a few contacts, some lines rejected."""
    lines: list[Line] = []
    now = first
    for number, received in enumerate(draw(arrivals(world, draw(st.integers(1, 4)) * size_max // 4))):
        chance = draw(st.integers(0, 99))
        times = {"timestamp": received, "receivedAt": received}
        if "definitions" in focus and chance < 20:
            now = draw(definitions(world, focus, now))
            lines.append({"type": "definitions", **now, "receivedAt": received})
        elif "delete" in focus and chance >= 85:
            lines.append({"type": "delete", "userId": draw(st.sampled_from(["a", "b"])), **times})
        elif "link" in focus and chance >= 65:
            lines.append({**draw(linking()), **times, "messageId": f"link{number}"})
        else:
            lines.append(draw(events(world, focus, number, received)))
    return untied(lines) if "link" in focus else lines


def untied(lines: list[Line]) -> list[Line]:
    """No two events of one time, and none that takes its time from another's arrival: the page says nothing of such."""
    taken: set[int] = set()
    for line in lines:
        if line["type"] == "definitions":
            continue
        received = line["receivedAt"] if line["receivedAt"] is not None else line["timestamp"]
        t = received if line["timestamp"] is None else min(line["timestamp"], received)
        while t in taken:
            t -= 1
        taken.add(t)
        line["timestamp"] = t
    return lines


@dataclass(frozen=True)
class Case:
    """Definitions, and the lines of an events file."""

    definitions: Definitions
    lines: list[Line]
    world: World

    def raw(self) -> list[bytes]:
        return [json.dumps(line).encode() for line in self.lines]


def focus_of(construct: str, leave_out: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The constructs that a case of that name may show."""
    return tuple(name for name in (CASES if construct == ALL else (construct,)) if name not in leave_out)


@st.composite
def worlds(draw: st.DrawFn, construct: str) -> World:
    """A world that suits the construct, with a few keys that stand everywhere in it."""
    days = construct in OF_DAYS or draw(st.integers(0, 2)) == 0
    world = draw(st.sampled_from(DAYS)) if days else SECONDS
    suited = {"calendar": "d", "contact": "d", "totals": "n", "distinct": "n", "by": "s", "per": "s", "sequence": "n"}
    more = draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=2, unique=True))
    return replace(world, keys=tuple(dict.fromkeys([suited.get(construct, more[0]), *more])))


@st.composite
def cases(draw: st.DrawFn, construct: str, leave_out: tuple[str, ...] = ()) -> Case:
    """Definitions and a history that show the construct (`ALL`: any, in the same case), but none of those left out."""
    world, focus = draw(worlds(construct)), focus_of(construct, leave_out)
    if construct in ("contact", "segment", "held", "hold", "per", *STEPS):
        extra = draw(st.sampled_from(sorted(set(CONSTRUCTS) - set(leave_out))))
        focus = (*focus, extra, *(("calendar", "local") if construct == "contact" else ()))
    if construct == "definitions":
        focus = (*focus, "hold", "held", "segment")
    first = draw(definitions(world, focus))
    return Case(first, draw(histories(world, focus, first)), world)


MEASURED = ("hold", "held", *STEPS)
"""What makes the order of arrival matter: answers as they were given, and steps that end a contact or a question."""


@st.composite
def settled_cases(draw: st.DrawFn, construct: str) -> Case:
    """Definitions, and events whose order of arrival must not matter: no ties, duplicates, missing or future times."""
    world, focus = draw(worlds(construct)), focus_of(construct, MEASURED)
    first = draw(definitions(world, focus))
    times = draw(st.lists(st.sampled_from(sorted(set(world.instants_ms))), min_size=1, max_size=10, unique=True))
    lines = [
        {**draw(contents(world, focus)), "userId": "a", "timestamp": at, "messageId": f"m{number}"}
        for number, at in enumerate(times)
    ]
    return Case(first, lines, world)
