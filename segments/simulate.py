"""The deterministic run (language page, section 11): definitions and lines of events in, transitions out, no broker."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from schemas.events import Event, parse_event
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, parse_instant
from schemas.rejected import Reason, Rejection
from schemas.transitions import Transition
from segments.changes import errors_against
from segments.check import load_data
from segments.compile import compile_program
from segments.conditions import LIFTED, Definitions
from segments.errors import DefinitionErrors
from segments.following import Follower
from segments.limits import Limits
from segments.names import Names
from segments.state import ContactState

# what a line of definitions begins with at the latest, so that events needn't be looked at twice
_DEFINITIONS = b'"definitions"'


class RejectedLine(NamedTuple):
    """A line that is no event: `line` counts from 1, `reason` says what was expected and what came."""

    line: int
    reason: str


class Past(NamedTuple):
    """One accepted event: its place among all, and the time at which it counts."""

    order: int
    event: Event
    at_ms: int


def simulate(
    definitions: Definitions,
    lines: Iterable[bytes],
    until_ms: int | None = None,
    grace_ms: int = 2_000,
    limits: Limits | None = None,
    *,
    keep_past: bool = True,
    follower: Follower | None = None,
) -> Iterator[Any]:
    """Transitions and rejected lines, as they come; `lines` in order of arrival, blank ones skipped.

    With a `follower`, what it says as well, in its place among the transitions.

    After the last line every contact plays what is due up to the greatest arrival less the grace and, with `until_ms`,
    up to that. Time passes for a contact by its own events alone until then, but for lines of definitions. All events
    are kept for those; without `keep_past` none is, and a line of definitions is rejected.
    """
    run = Run(definitions, limits or Limits(grace_ms=grace_ms), keep_past=keep_past, follower=follower)
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        try:
            yield from run.take(line)
        except Rejection as rejection:
            yield RejectedLine(number, rejection.sentence)
    yield from run.end(until_ms)


class Run:
    """A run in progress: the program in force, all contacts' states, names and, where it is kept, their past."""

    def __init__(
        self, definitions: Definitions, limits: Limits, *, keep_past: bool = True, follower: Follower | None = None
    ) -> None:
        self.program = compile_program(definitions, limits=limits, follower=follower)
        self.states: dict[str, ContactState] = {}
        self.names = Names()
        self.versions = {segment.id: 1 for segment in definitions.segments}
        self._pasts: dict[str, list[Past]] | None = {} if keep_past else None
        self._taken = 0
        self._greatest_ms: int | None = None

    def take(self, line: bytes) -> Iterable[Any]:
        """The transitions of one line, and what follows from them; raises `Rejection` where it is no event."""
        if _DEFINITIONS in line:
            data = _definitions_line(line)
            if data is not None:
                return self._redefine(data)
        event = parse_event(line)
        received_ms = event.received_at_ms if event.received_at_ms is not None else event.occurred_at_ms
        if received_ms is None:
            raise Rejection(Reason.UNREADABLE_TIME, "expected a `timestamp` or `receivedAt`, got neither")
        return self._apply(event, received_ms)

    def end(self, until_ms: int | None = None) -> Iterator[Any]:
        """Play what is due up to the greatest arrival less the grace, and up to `until_ms`."""
        if self._greatest_ms is None:
            return
        end_ms = self._greatest_ms - self.program.limits.grace_ms
        yield from self._play(end_ms if until_ms is None else max(end_ms, until_ms))

    def past_of(self, contact: str) -> Sequence[Past]:
        """The events of a contact that were accepted, in order of arrival; none where no past is kept."""
        return () if self._pasts is None else self._pasts.get(contact, ())

    def _apply(self, event: Event, received_ms: int) -> list[Any]:
        program, names = self.program, self.names
        event.contact = contact = names.contact_of(event.contact)
        state = self.states.get(contact)
        other = names.absorbed_by(event)
        absorbed = self.states.get(other) if other is not None else None
        if absorbed is not None:
            step = program.link(state, absorbed, event, received_ms, received_ms)
        else:
            step = program.apply(state, event, received_ms, received_ms)
        arrived_ms = received_ms if step.state is None else max(received_ms, step.state.arrived_ms)
        self._greatest_ms = arrived_ms if self._greatest_ms is None else max(self._greatest_ms, arrived_ms)
        if step.duplicate:
            return step.transitions
        if other is not None:
            self._link(other, contact)
        if step.state is None:
            self.states.pop(contact, None)
            names.forget(contact)
            if self._pasts is not None:
                self._pasts.pop(contact, None)
            return step.transitions if state is None else told_with(step.transitions, state)
        self.states[contact] = step.state
        if self._pasts is not None:
            self._pasts.setdefault(contact, []).append(Past(self._taken, event, step.at_ms))
            self._taken += 1
        return told_with(step.transitions, step.state)

    def _link(self, other: str, contact: str) -> None:
        self.names.link(other, contact)
        self.states.pop(other, None)
        if self._pasts is not None and other in self._pasts:
            self._pasts[contact] = list(heapq.merge(self._pasts.pop(other), self._pasts.get(contact, [])))

    def _redefine(self, data: dict[str, Any]) -> list[Any]:
        """Other definitions from here on; every contact is taken over at once."""
        if self._pasts is None:
            raise Rejection(Reason.UNKNOWN_TYPE, "expected no line of definitions, as no past is kept in this run")
        received_ms = _received_ms(data)
        before = self.program
        definitions = _load(data, before.definitions, before.limits)
        until_ms = received_ms - before.limits.grace_ms
        transitions = list(self._play(until_ms))
        self._greatest_ms = received_ms if self._greatest_ms is None else max(self._greatest_ms, received_ms)
        versions = dict(self.versions)
        after = compile_program(
            definitions,
            limits=before.limits,
            versions=versions,
            revision=before.revision + 1,
            previous=before,
            follower=before.follower,
        )
        change = after.changes[before.revision]
        for id in change.added | change.changed | change.reheld:
            versions[id] = versions.get(id, 0) + 1
        for node in after.by_id.values():
            node.version = versions[node.id]
        self.versions, self.program = versions, after
        for contact, state in self.states.items():
            past = [(past.event, past.at_ms) for past in self._pasts.get(contact, ())]
            transitions.extend(told_with(after.change_over(state, until_ms, past), state))
        return transitions

    def _play(self, until_ms: int) -> Iterator[Any]:
        for state in self.states.values():
            if state.due_ms is not None and state.due_ms <= until_ms:
                yield from told_with(self.program.advance(state, until_ms), state)


def told_with(transitions: list[Transition], state: ContactState) -> list[Any]:
    """A step's transitions and what its follower said, in their order; that is taken from the state."""
    state.forgotten.clear()  # there are no records here that would outlast it
    if not state.told:
        return transitions
    told, state.told = state.told, []
    merged: list[Any] = []
    taken = 0
    for before, what in told:
        merged.extend(transitions[taken:before])
        merged.append(what)
        taken = max(taken, before)
    return [*merged, *transitions[taken:]]


def _definitions_line(line: bytes) -> dict[str, Any] | None:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return data if type(data) is dict and data.get("type") == "definitions" else None


def _load(data: dict[str, Any], in_force: Definitions, limits: Limits) -> Definitions:
    """The definitions of a line; raises `Rejection` with all that is wrong with them."""
    if type(data.get("segments")) is not list:
        raise Rejection(Reason.WRONG_TYPE, "definitions: expected a list of segments - at $.segments")
    try:
        # beside rules, no segments at all are fine
        definitions = load_data(
            {"segments": data["segments"], "scores": data.get("scores", []), "rules": []},
            "definitions",
            limits,
            lifted=[segment.body for segment in in_force.segments if segment.id.startswith(LIFTED)],
        )
    except DefinitionErrors as errors:
        raise Rejection(Reason.WRONG_TYPE, "; ".join(errors.errors)) from None
    wrong = errors_against(in_force, definitions)
    if wrong:
        raise Rejection(Reason.WRONG_TYPE, "; ".join(wrong))
    return definitions


def _received_ms(data: dict[str, Any]) -> int:
    found = data.get("receivedAt")
    at_ms = parse_instant(found, offset_required=True) if type(found) is str else found
    if type(at_ms) is not int or not INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX:
        expected = "ISO 8601 with offset or epoch ms in `receivedAt` of a line of definitions"
        raise Rejection(Reason.UNREADABLE_TIME, f"expected {expected}, got {found!r:.60}")
    return at_ms


def line_of(transition: Transition) -> bytes:
    """A transition as `tidegate simulate` prints it, with its newline."""
    return orjson.dumps(transition.simulated(), option=orjson.OPT_APPEND_NEWLINE)
