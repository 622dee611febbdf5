"""Which events count: their names, `where`, local time and weekdays, as event conditions, steps and rules have them.

Most of it is *fixed*: once an event is there, whether it passes never changes, so it is asked on arrival and forgotten.
The rest is *open*: a `where` that moves with time or compares with a trait, and the local clock of a contact whose zone
may change. Of an event that passes what is fixed, the properties that the open rest asks for are kept.
"""

from collections.abc import Callable
from typing import Any

from schemas.events import Event
from segments.calendar import Zone, weekday
from segments.conditions import Matching, Where
from segments.contact import TIMEZONE, Contact, fixed_zone, zone_of
from segments.predicates import Predicate, finder, where_predicate

_IN_CONTEXT = "context."


class Matcher:
    """A `Matching`, compiled.

    `plain_names`: the names it spells out, None where it has a pattern. `fixed`: nothing is open. `needs`: the paths that
    the open rest asks for. `traits`: the top-level traits whose change may change what is open.
    """

    def __init__(self, matching: Matching) -> None:
        names = matching.names
        self.names = names
        self.plain_names: tuple[str, ...] | None = (
            names.names if names.prefix is None and names.except_ is None else None
        )
        self._fixed: list[Callable[[Any], bool]] = []
        self._open: list[Predicate] = []
        needs: set[str] = set()
        traits: set[str] = set()
        for part in conjuncts(matching.where):
            predicate = where_predicate(part, in_context=True)
            if predicate.fixed is not None:
                self._fixed.append(predicate.fixed)
            else:
                self._open.append(predicate)
                needs |= paths_of(part)
                traits |= predicate.traits
        self.local_time = matching.local_time
        self.weekdays = matching.weekdays
        self.tz = matching.tz
        self.is_local = matching.local_time is not None or matching.weekdays is not None
        # None too where the zone is the contact's own, which is open
        self.zone: Zone | None = fixed_zone(matching.tz) if self.is_local else None
        if self.is_local and self.zone is None:
            traits.add(TIMEZONE)
        self.fixed: bool = not self._open and (not self.is_local or self.zone is not None)
        self.needs: tuple[str, ...] = tuple(sorted(needs))
        self.traits: frozenset[str] = frozenset(traits)
        self._finders = [(*_place(path), finder(path, in_context=True)) for path in self.needs]

    def asks(self, name: str) -> bool:
        """Whether an event of this name is meant."""
        return self.names.matches(name)

    def accepts(self, event: Event, at_ms: int) -> bool:
        """Whether an event of `at_ms` passes all that is fixed; of one that doesn't, nothing needs keeping."""
        if not self.names.matches(event.name or ""):
            return False
        if self._fixed:
            seen = (event.properties, event.context)
            for test in self._fixed:
                if not test(seen):
                    return False
        return self.zone is None or self._is_then(at_ms, self.zone)

    def pick(self, event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
        """`(properties, context)` of an event with nothing in them but what the open rest asks for, by whole path."""
        seen = (event.properties, event.context)
        properties: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for inside, key, find in self._finders:
            found = find(seen)
            if found is not None:
                (context if inside else properties)[key] = found
        return properties, context

    def holds(
        self, properties: dict[str, Any], context: dict[str, Any], at_ms: int, now_ms: int, contact: Contact
    ) -> bool:
        """Whether an accepted event of `at_ms`, of which these were picked, passes what is open, as of now."""
        seen = (properties, context)
        for predicate in self._open:
            if not predicate.holds(seen, now_ms, contact):
                return False
        return not self.is_local or self.zone is not None or self._is_then(at_ms, zone_of(self.tz, contact))

    def next_ms(self, properties: dict[str, Any], context: dict[str, Any], now_ms: int, contact: Contact) -> int | None:
        """An instant after now up to which time alone doesn't change what `holds` says; None: never."""
        due_ms: int | None = None
        seen = (properties, context)
        for predicate in self._open:
            next_ms = predicate.next_ms(seen, now_ms, contact)
            if next_ms is not None and (due_ms is None or next_ms < due_ms):
                due_ms = next_ms
        return due_ms

    def _is_then(self, at_ms: int, zone: Zone) -> bool:
        """Whether the local clock and day of the zone at `at_ms` are among those asked for."""
        if self.weekdays is not None and weekday(zone.day(at_ms)) not in self.weekdays:
            return False
        if self.local_time is None:
            return True
        from_ms, to_ms = self.local_time
        clock_ms = zone.clock_ms(at_ms)
        if from_ms < to_ms:
            return from_ms <= clock_ms < to_ms
        return clock_ms >= from_ms or clock_ms < to_ms


def conjuncts(where: Where | None) -> list[Where]:
    """The parts that must all hold for `where` to hold; none where there is none."""
    if where is None:
        return []
    return [inner for part in where.parts for inner in conjuncts(part)] if where.kind == "all" else [where]


def paths_of(where: Where) -> set[str]:
    """The property paths that a `where` asks for; paths within items of an array are not among them."""
    return {where.path} if where.kind == "path" else set().union(*map(paths_of, where.parts))


def joined_names(matchers: tuple[Matcher, ...]) -> tuple[str, ...] | None:
    """The names that any of these spells out, each once; None where one of them has a pattern."""
    names: set[str] = set()
    for matcher in matchers:
        if matcher.plain_names is None:
            return None
        names.update(matcher.plain_names)
    return tuple(sorted(names))


def _place(path: str) -> tuple[bool, str]:
    """Whether a path looks into the context, and the path within."""
    inside = path.startswith(_IN_CONTEXT)
    return inside, path.removeprefix(_IN_CONTEXT) if inside else path
