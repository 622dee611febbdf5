"""What is looked at when a condition is explained: a contact at an instant, its past, and the program that it was stepped by."""

from collections.abc import Callable, Sequence
from typing import Any

from schemas.events import Event
from schemas.instants import format_instant
from segments.calendar import weekday, zone
from segments.check_times import WEEKDAYS
from segments.conditions import Matching
from segments.contact import TIMEZONE, zone_of
from segments.explain_nodes import Evidence
from segments.explain_values import failure
from segments.explain_words import close_to, value_words
from segments.matching import Matcher, paths_of
from segments.nodes import KeyedNode
from segments.predicates import finder
from segments.program import Index
from segments.simulate import Past
from segments.state import ContactState
from segments.unit import Unit
from segments.values import eq_key

EVENTS_SHOWN_MAX = 3
VALUES_SHOWN_MAX = 5

Finder = Callable[[Any], Any]


def seen_of(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """What predicates see of an event."""
    return event.properties, event.context


class Scene:
    """A contact's `state` at `now_ms`; `unit`: that of one value of `per`, else the state itself.

    `past`: all accepted events, by event time and then by arrival. `named`: those that have a name, by it; with `per`, only
    those with that value. `names`: of all events that anybody had. `per`: its path, None without.
    """

    def __init__(self, index: Index, state: ContactState, now_ms: int, past: Sequence[Past], names: set[str]) -> None:
        self.index = index
        self.state = state
        self.now_ms = now_ms
        self.names = names
        self.past = sorted(past, key=_at)
        self.unit: Unit = state
        self.per: str | None = None
        self.named: dict[str, list[Past]] = {}
        for one in self.past:
            if one.event.name is not None:
                self.named.setdefault(one.event.name, []).append(one)

    def of_value(self, node: KeyedNode, key: str, per: str) -> "Scene":
        """The same, of one value of a segment's `per`."""
        scene = Scene(self.index, self.state, self.now_ms, (), self.names)
        scene.past = self.past
        scene.per = per
        scene.unit = self.state.keyed.get(node.id, {}).get(key) or Unit()
        for name, events in self.named.items():
            own = [one for one in events if node.key_of(seen_of(one.event)) == key]
            if own:
                scene.named[name] = own
        return scene

    def events_of(self, matcher: Matcher) -> list[Past]:
        """The events of the names that a matcher asks for."""
        found = [events for name, events in self.named.items() if matcher.asks(name)]
        return found[0] if len(found) == 1 else sorted((one for events in found for one in events), key=_place)


def _at(one: Past) -> int:
    return one.at_ms


def _place(one: Past) -> tuple[int, int]:
    return one.at_ms, one.order


class Found:
    """The events of a `Matching` in a contact's past: those that match, and those that have the name and don't."""

    def __init__(self, scene: Scene, matching: Matching) -> None:
        self.scene = scene
        self.matching = matching
        self.matcher = Matcher(matching)
        self.events: list[Past] = []
        self.others: list[Past] = []
        for one in scene.events_of(self.matcher):
            (self.events if self.matches(one) else self.others).append(one)

    def matches(self, one: Past) -> bool:
        """Whether an event of these names matches, as of now."""
        if not self.matcher.accepts(one.event, one.at_ms):
            return False
        if self.matcher.fixed:
            return True
        picked = self.matcher.pick(one.event)
        return self.matcher.holds(*picked, one.at_ms, self.scene.now_ms, self.scene.state)

    def failed(self) -> Evidence | None:
        """How many events had the name and failed, and what the newest of them failed; None where none did."""
        if not self.others:
            return None
        newest = self.others[-1]
        return {
            "count": len(self.others),
            "newest": {"at": format_instant(newest.at_ms), "messageId": newest.event.message_id},
            "because": self._because(newest),
        }

    def _because(self, one: Past) -> str:
        where, matching = self.matching.where, self.matching
        if where is not None:
            found = failure(where, seen_of(one.event), self.scene.now_ms, self.scene.state)
            if found is not None:
                return found
        local = zone_of(matching.tz, self.scene.state)
        clock = format_instant(local.clock_ms(one.at_ms))[11:19]
        day = WEEKDAYS[weekday(local.day(one.at_ms))]
        return f"expected another local time or weekday, got {clock} on a {day}"

    def notes(self) -> list[str]:
        """What of the names and the zone can't match."""
        notes = []
        names = self.matching.names
        if not self.events and not self.others:
            for name in names.names or ([names.prefix] if names.prefix else []):
                notes.append(self._never(name, names.prefix is not None))  # noqa: PERF401
        return notes + zone_notes(self.scene.state, self.matching.tz.contact)

    def _never(self, name: str, is_prefix: bool) -> str:
        known = self.scene.names
        what = f"no event whose name begins with {name!r}" if is_prefix else f"no event named {name!r}"
        whole = self.scene.past if self.scene.per is not None else []
        own = [one for one in whole if one.event.name is not None and self.matcher.asks(one.event.name)]
        if own:
            return f"{what} came with this {self.scene.per!r}, and {len(own)} without it or with another"
        if any(one.startswith(name) for one in known) if is_prefix else name in known:
            return f"{what} came for this contact; others had some"
        return f"{what} came for anyone{'' if is_prefix else close_to(name, known, 1)}"


def zone_notes(state: ContactState, asks_contact: bool) -> list[str]:
    """A note where the contact's zone is asked for and its `timezone` is none."""
    entry = state.traits.get(TIMEZONE)
    if not asks_contact or entry is None or entry[0] is None:
        return []
    if type(entry[0]) is str and zone(entry[0]) is not None:
        return []
    return [f"the trait 'timezone' is {value_words(entry[0])}, which is no IANA name: another zone stands in"]


def event_shown(one: Past, paths: Sequence[str]) -> Evidence:
    """An event as evidence: when, which, and of its properties those at `paths`."""
    found = {path: finder(path, in_context=True)(seen_of(one.event)) for path in paths}
    return {
        "at": format_instant(one.at_ms),
        "messageId": one.event.message_id,
        "event": one.event.name,
        "properties": {path: value for path, value in found.items() if value is not None},
    }


def newest_shown(events: Sequence[Past], paths: Sequence[str]) -> list[Evidence]:
    """The newest few events, the newest first."""
    return [event_shown(one, paths) for one in reversed(events[-EVENTS_SHOWN_MAX:])]


def asked_paths(scene: Scene, matching: Matching, *others: str | None) -> list[str]:
    """The properties that are asked of events: by a matching, by `per`, and `others`."""
    asked = paths_of(matching.where) if matching.where is not None else set()
    return sorted({path for path in (*asked, scene.per, *others) if path})


def grouped(events: Sequence[Past], find: Finder) -> dict[str, tuple[Any, list[Past]]]:
    """The events by the value that they have, told apart by `eq`: `(value, events)`, the value seen last coming last."""
    groups: dict[str, tuple[Any, list[Past]]] = {}
    for one in events:
        value = find(seen_of(one.event))
        if value is not None:
            key = eq_key(value)
            group = groups.pop(key, (value, []))
            group[1].append(one)
            groups[key] = group
    return groups
