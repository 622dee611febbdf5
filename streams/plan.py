"""What runs: the segments, rules and sequences of one revision of the definitions, compiled.

A contact's step is one call of the program, which leads it through sequences too; the rules then act on each of its
transitions, in the same step. What comes out is encoded here, once, as the records that one transaction will hold.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from actions import Rules, too_large
from actions.own_events import SAID, OwnEvent
from actions.sequences import LIFTED, is_quiet
from schemas.deliveries import Delivery, Outcome
from schemas.events import Event
from schemas.instants import format_instant
from schemas.topics import DELIVERIES, EVENTS_OWN, OUTCOMES, TRANSITIONS
from schemas.transitions import (
    Consent,
    ContactRecord,
    MembershipRecord,
    Transition,
    TransitionRecord,
    ce_headers,
    membership_key,
)
from segments import header
from streams.log import Outgoing

_encode = msgspec.json.Encoder().encode
# a record with key and headers must stay below what brokers take by default, 1 MiB
VALUE_BYTES_MAX = 900 * 1024
KEY_BYTES_MAX = 64 * 1024


class State(Protocol):
    """What the shell sees of a contact's state (`segments.ContactState`)."""

    contact: str
    due_ms: int | None
    revision: int
    clock_ms: int
    bytes_estimated: int
    contact_changed: bool
    consent: dict[str, list[Any]]
    limits_passed: int
    told: list[tuple[int, Any]]

    def memberships(self) -> Iterable[tuple[str, str | None, int, int]]:
        """Segment, key, `seq` and since when (epoch ms) of every membership that there is."""

    def every_membership(self) -> Iterable[tuple[str, str | None]]:
        """Segment and key of every membership that there ever was."""

    def present_traits(self) -> dict[str, Any]:
        """Traits by name."""


class Step(Protocol):
    """What a contact's step returned (`segments.Step`)."""

    @property
    def state(self) -> Any:
        """The contact's state after it; None: nothing is kept of it."""

    @property
    def transitions(self) -> Sequence[Transition]:
        """In order."""

    @property
    def duplicate(self) -> bool:
        """The event was known: nothing has changed."""

    @property
    def late(self) -> bool:
        """The event happened before the contact's clock."""


class Program(Protocol):
    """What the shell asks of the compiled segments (`segments.Program`)."""

    revision: int
    segment_ids: tuple[str, ...]

    def apply(self, state: Any, event: Event, arrived_ms: int, received_ms: int) -> Step:
        """Plays what is due, then the event; `state` None: the contact's first."""

    def advance(self, state: Any, until_ms: int) -> Sequence[Transition]:
        """Plays the due instants up to and including `until_ms`."""

    def follow(self, previous: Any) -> None:
        """Has states of the program `previous` taken over by what differs."""

    def change_over(self, state: Any, until_ms: int) -> Sequence[Transition]:
        """Takes a state of another revision over into this one, which takes effect at `until_ms`."""

    def encode(self, state: Any) -> bytes:
        """The state record."""

    def decode(self, contact: str, record: bytes) -> Any:
        """The state in a record."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Segments, rules and sequences of one revision (0: nothing was ever applied).

    `header` tells the due instant (epoch ms) and the revision of a state record without decoding it.
    """

    program: Program
    rules: Rules
    revision: int
    header: Callable[[bytes], tuple[int | None, int]] = header
    sequence_ids: tuple[str, ...] = ()

    @property
    def segment_ids(self) -> list[str]:
        """The segments that somebody wrote, by id; those that were lifted out of sequences are left out."""
        return [id for id in self.program.segment_ids if not id.startswith(LIFTED)]

    def act(self, transitions: Sequence[Transition], state: State, arrived_ms: int, now_ms: int) -> "Emitted":
        """The records of a step: its transitions, memberships, what the rules make of them, and what sequences said.

        That is taken from the state. `arrived_ms` is arrival time, by which rules judge age; `now_ms` the wall clock, for
        `emitted_at`. Of segments that were lifted out of sequences and are no goals memberships alone are told.
        """
        emitted = Emitted()
        key = state.contact.encode()
        traits: dict[str, Any] | None = None
        for transition in transitions:
            record = transition.record(now_ms, state.revision)
            emitted.memberships.append(_membership(record))
            if is_quiet(transition.segment):
                continue
            emitted.told.append(transition)
            emitted.transitions.append(Outgoing(key, _encode(record), ce_headers(record)))
            if transition.segment in self.rules.segments:
                traits = state.present_traits() if traits is None else traits
                for said in self.rules.act(transition, traits, state.revision, arrived_ms):
                    for each in said:
                        emitted.say(key, each)
        if state.told:
            told, state.told = state.told, []
            for _, (_, what) in told:
                emitted.say(key, _as_of_step(what, state.revision))
        return emitted


@dataclasses.dataclass(frozen=True)
class Emitted:
    """Records of one step, in order; `told` are the transitions in them.

    For metrics: sequence, what it said (`entered` …) and the reason of an exit; sequence and code of what was left out.
    """

    told: list[Transition] = dataclasses.field(default_factory=list)
    transitions: list[Outgoing] = dataclasses.field(default_factory=list)
    memberships: list[Outgoing] = dataclasses.field(default_factory=list)
    deliveries: list[Outgoing] = dataclasses.field(default_factory=list)
    outcomes: list[Outgoing] = dataclasses.field(default_factory=list)
    events: list[Outgoing] = dataclasses.field(default_factory=list)
    sequence_events: list[tuple[str, str, str | None]] = dataclasses.field(default_factory=list)
    sequence_skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def say(self, key: bytes, what: Delivery | Outcome | OwnEvent) -> None:
        """Takes in what rules and sequences say; a delivery that no record can hold is an outcome."""
        if isinstance(what, OwnEvent):
            self.events.append(Outgoing(key, what.value))
            if what.event.name is not None and what.event.name.startswith(SAID):
                said = what.event.properties
                event = what.event.name.removeprefix(SAID).lower()
                self.sequence_events.append((said["sequence"], event, said.get("reason")))
            return
        value = _encode(what)
        if isinstance(what, Delivery) and len(value) <= VALUE_BYTES_MAX:
            self.deliveries.append(Outgoing(key, value))
            return
        if isinstance(what, Delivery):
            what = too_large(what, len(value), VALUE_BYTES_MAX)
            value = _encode(what)
        self.outcomes.append(Outgoing(key, value))
        if what.kind == "sequence" and what.code is not None:
            self.sequence_skipped.append((what.rule, what.code))

    def by_topic(self) -> tuple[tuple[str, list[Outgoing]], ...]:
        """Those of topics that keep every record; memberships keep the last of each key."""
        return (
            (TRANSITIONS.name, self.transitions),
            (DELIVERIES.name, self.deliveries),
            (OUTCOMES.name, self.outcomes),
            (EVENTS_OWN.name, self.events),
        )


class Plans(Protocol):
    """Where the worker gets its plan from (`definitions.py`)."""

    @property
    def current(self) -> Plan:
        """The newest that was read."""

    async def of(self, revision: int) -> Plan:
        """That of a revision, waiting until it has been read."""


def _as_of_step(what: Delivery | Outcome | OwnEvent, revision: int) -> Delivery | Outcome | OwnEvent:
    """What a sequence said; a message that fell due was written before the step was counted."""
    if isinstance(what, Delivery) and what.revision != revision:
        return msgspec.structs.replace(what, revision=revision)
    return what


def contact_record(state: State) -> Outgoing:
    """The record of `contacts`: traits and consent as they are now."""
    changed_at = format_instant(state.clock_ms)
    consent = {group: Consent(on, format_instant(at_ms)) for group, (at_ms, on) in state.consent.items()}
    value = _encode(ContactRecord(state.contact, state.present_traits(), changed_at, state.revision, consent=consent))
    if len(value) > VALUE_BYTES_MAX:  # six bytes of JSON for one of the state, where traits are control characters
        value = _encode(ContactRecord(state.contact, {}, changed_at, state.revision, traits_cut=True, consent=consent))
    return Outgoing(state.contact.encode(), value)


def fitting(key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]) -> Outgoing:
    """What was rejected, cut to what a broker takes with our headers on it; `cut_from_bytes` says how long it was."""
    if len(key or b"") + len(value) <= VALUE_BYTES_MAX:
        return Outgoing(key, value, headers)
    whole = str(len(value)).encode()
    return Outgoing(
        key and key[:KEY_BYTES_MAX], value[: VALUE_BYTES_MAX - KEY_BYTES_MAX], [*headers, ("cut_from_bytes", whole)]
    )


def _membership(told: TransitionRecord) -> Outgoing:
    record = MembershipRecord(
        contact=told.contact,
        segment=told.segment,
        member=told.transition == "entered",
        since=told.at,
        seq=told.seq,
        segment_version=told.segment_version,
        revision=told.revision,
        key=told.key,
    )
    return Outgoing(membership_key(told.contact, told.segment, told.key), _encode(record))
