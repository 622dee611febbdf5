"""Which lines of events can matter to one contact, found without reading the others more than it takes.

A contact is known by all names that are ever linked with one of its own, so what one line says of links can make lines
before it matter: the lines are gone through twice. The first time each is glanced at, for its names and its arrival; the
second time those that mention one of the names are taken by a run of the core, with that contact's events alone.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from schemas.events import NAMED, Event, parse_event
from schemas.instants import parse_instant
from schemas.rejected import Rejection
from schemas.transitions import Transition
from segments.conditions import Definitions
from segments.explain_nodes import UnknownName
from segments.explain_words import close_to
from segments.following import Follower
from segments.limits import Limits
from segments.simulate import Run

# names that are remembered for the sake of a hint
REMEMBERED_MAX = 20_000
REJECTED_SHOWN_MAX = 5
_UNPARSED_MAX = 64
_LINKING = ("alias", "identify")
_EXACT_MAX = 2**53


class Glance(msgspec.Struct):
    """The fields of a line that are looked at in all lines, whatever they hold."""

    type: Any = None
    event: Any = None
    userId: Any = None
    anonymousId: Any = None
    timestamp: Any = None
    receivedAt: Any = None

    def arrived_ms(self) -> int | None:
        """When the line arrived, None where it doesn't say so in a way that can be read."""
        found = self.timestamp if self.receivedAt is None or self.receivedAt == "" else self.receivedAt
        if type(found) is str:
            return parse_instant(found, offset_required=True)
        if type(found) is float:
            return math.floor(found) if abs(found) < _EXACT_MAX else None
        return found if type(found) is int else None


_decode = msgspec.json.Decoder(Glance).decode


def glance_at(line: bytes) -> Glance | None:
    """What a line says of itself, None where it is no JSON object, or nests so deep that it is no event."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class GreatestArrival:
    """The greatest arrival of all lines that are events; of those that come in order, one of many is parsed to know it."""

    def __init__(self) -> None:
        self._known_ms: int | None = None
        self._unparsed: list[tuple[int, bytes]] = []

    def add(self, arrived_ms: int, line: bytes) -> None:
        """A line that is an event, for all one can see at a glance."""
        if self._known_ms is None or arrived_ms > self._known_ms:
            self._unparsed.append((arrived_ms, line))
            if len(self._unparsed) >= _UNPARSED_MAX:
                self.ms()

    def ms(self) -> int | None:
        """It, None where there was none."""
        for arrived_ms, line in sorted(self._unparsed, reverse=True):
            if _event(line) is not None:
                self._known_ms = arrived_ms
                break
        self._unparsed.clear()
        return self._known_ms


class Survey:
    """All lines, glanced at: the names that may mean the contact, the names of events, and the greatest arrival.

    Lines that arrived after `until_ms` are left out. `names` may be more than those that mean the contact in the end.
    """

    def __init__(self, lines: Iterable[bytes], contact: str, until_ms: int | None) -> None:
        self.event_names: set[str] = set()
        self.seen = False
        self._contact = contact
        self._others: set[str] = set()
        self._parents: dict[str, str] = {}
        arrival = GreatestArrival()
        for line in lines:
            glance = glance_at(line) if line else None
            arrived_ms = None if glance is None else glance.arrived_ms()
            if glance is None or arrived_ms is None or (until_ms is not None and arrived_ms > until_ms):
                continue
            if glance.type != "definitions":
                self._note(glance, line)
                arrival.add(arrived_ms, line)
        self.greatest_ms = arrival.ms()
        root = self._root(contact)
        self.names = {contact, *(name for name in self._parents if self._root(name) == root)}

    def _note(self, glance: Glance, line: bytes) -> None:
        name = NAMED.get(glance.type, glance.event) if type(glance.type) is str else None
        if type(name) is str and len(self.event_names) < REMEMBERED_MAX:
            self.event_names.add(name)
        if not self.seen:
            for name in (glance.userId, glance.anonymousId):
                if name == self._contact:
                    self.seen = True
                elif type(name) is str and len(self._others) < REMEMBERED_MAX:
                    self._others.add(name)
        if glance.type in _LINKING and (glance.type == "alias" or (glance.userId and glance.anonymousId)):
            event = _event(line)
            if event is not None and event.links is not None:
                self._parents[self._root(event.links)] = self._root(event.contact)

    def _root(self, name: str) -> str:
        while (parent := self._parents.setdefault(name, name)) != name:
            self._parents[name] = name = self._parents[parent]
        return name

    def close_names(self) -> str:
        """What is spelled much like the contact, as the end of a sentence."""
        return close_to(self._contact, self._others)


class Story:
    """One contact's part of the lines, stepped through by a run of the core; it is played on to `at_ms`.

    `rejected`: the first lines that mention it and are no events, of `rejections`. `said`: what a `follower` said.
    """

    def __init__(
        self,
        definitions: Definitions,
        lines: Iterable[bytes],
        contact: str,
        at_ms: int | None,
        limits: Limits,
        follower: Follower | None = None,
    ) -> None:
        self.survey = Survey(lines, contact, at_ms)
        self.run = Run(definitions, limits, follower=follower)
        self.said: list[Any] = []
        self.rejected: list[tuple[int, str]] = []
        self.rejections = 0
        self._until_ms = at_ms
        self._written = [name.encode("utf-8", "surrogatepass") for name in self.survey.names]
        self._erased_by: int | None = None
        for number, line in self._that_matter(lines):
            self._take(number, line)
        greatest_ms = self.survey.greatest_ms
        end_ms = None if greatest_ms is None else greatest_ms - limits.grace_ms
        until_ms = end_ms if at_ms is None else at_ms
        self._note(self.run.end(until_ms))
        self.contact = self.run.names.contact_of(contact)
        state = self.run.states.get(self.contact)
        if state is None:
            raise UnknownName(self._unknown(contact))
        self.state = state
        self.at_ms = state.clock_ms if until_ms is None else max(state.clock_ms, until_ms)

    def _that_matter(self, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Lines of definitions, and those that may mention one of the names: as they are, or written with escapes."""
        for number, line in enumerate(lines, 1):
            if (b"\\" in line or b'"definitions"' in line or self._mentions(line)) and not self._is_later(line):
                yield number, line

    def _mentions(self, line: bytes) -> bool:
        return any(name in line for name in self._written)

    def _is_later(self, line: bytes) -> bool:
        glance = glance_at(line) if self._until_ms is not None else None
        arrived_ms = None if glance is None else glance.arrived_ms()
        return arrived_ms is not None and self._until_ms is not None and arrived_ms > self._until_ms

    def _take(self, number: int, line: bytes) -> None:
        glance = glance_at(line)
        defines = glance is not None and glance.type == "definitions"
        try:
            if not defines:
                event = parse_event(line)
                if self.survey.names.isdisjoint((event.contact, event.links)):
                    return
                if event.type == "delete":
                    self._erased_by = number
            self._note(self.run.take(line))
        except Rejection as rejection:
            if not defines and not self._mentions(line):
                return
            self.rejections += 1
            if len(self.rejected) < REJECTED_SHOWN_MAX:
                self.rejected.append((number, rejection.sentence))

    def _note(self, emitted: Iterable[Any]) -> None:
        self.said.extend(one for one in emitted if not isinstance(one, Transition))

    def _unknown(self, contact: str) -> str:
        when = "" if self._until_ms is None else " by then"
        if self._erased_by is not None:
            return f"expected a contact that is known, got {contact!r}, which line {self._erased_by} deletes"
        if self.survey.seen:
            return f"expected a contact that is known, got {contact!r}, which is only mentioned{when}"
        return f"expected a contact that some event is about{when}, got {contact!r}{self.survey.close_names()}"


def _event(line: bytes) -> Event | None:
    try:
        return parse_event(line)
    except Rejection:
        return None
