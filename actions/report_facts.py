"""What the topics say of one sequence, gathered in any order but for one: its entries before what is told of contacts.

Invariants:
  * What is kept grows with the sequence's entries and messages, never with the topics.
  * A record that comes again changes nothing: entries and messages go by their ids, instants are the first of their kind,
    of outcomes the one with the greatest rank counts, values go by `messageId`.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from actions.own_events import STEP_SENT
from actions.paths import value_at
from actions.sequences import On, Sequence
from schemas.deliveries import Delivery, Outcome
from schemas.events import Event

# what happens to a message after it was sent, in this order: event and the name of its stage
MAIL: Final = {
    "Email Delivered": "delivered",
    "Email Opened": "opened",
    "Email Link Clicked": "clicked",
    "Email Replied": "replied",
}
_RUNNING = ("Sequence Entered", "Sequence Converted", "Sequence Exited", "Sequence Completed")


@dataclass(slots=True)
class Entry:
    """A contact's way through the sequence, begun by the transition `id`; instants are epoch ms.

    `ended`: the reason, None while it is under way, and `step` where it stood then. `goal_ms`: when the contact first
    entered the goal's segment after the beginning. `value`: sum of what it was worth within the window.
    """

    id: str
    contact: str
    version: int
    began_ms: int
    key: str | None
    splits: dict[str, str] = field(default_factory=dict)
    ended: str | None = None
    step: str | None = None
    goal_ms: int | None = None
    value: float = 0.0


@dataclass(slots=True)
class Message:
    """One message of the sequence, or one that was left out; `at_ms` has the first instant of each stage."""

    outcome: Outcome | None = None
    at_ms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ValueOf:
    """Whose sum a contact's worth is: a number in property `property` of events `event`."""

    event: str
    property: str


class Facts:
    """Of `sequence`, in the `versions` that are known, within `window_ms` after each entry.

    First `own` for all of the sequence's own events, `delivery` and `outcome`; then `told` and `transition`. `segments`: those
    that are followed now, None for all.
    """

    def __init__(
        self,
        sequence: str,
        versions: Mapping[int, Sequence],
        window_ms: int,
        value: ValueOf | None = None,
        segments: Container[str] | None = None,
    ) -> None:
        self.sequence, self.versions, self.window_ms, self.value = sequence, versions, window_ms, value
        self._segments = segments
        self.entries: dict[str, Entry] = {}
        self.messages: dict[str, Message] = {}
        self.by_contact: dict[str, list[Entry]] = {}
        self._ends: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._valued: dict[str, set[str]] = {}

    def own(self, event: Event, at_ms: int) -> None:
        """Takes in what the sequence says of itself, of an event that happened at `at_ms`; others are passed over."""
        said = event.properties
        if said.get("sequence") != self.sequence or not isinstance(entry := said.get("entry"), str):
            return
        if not isinstance(said.get("version"), int):
            return  # none of ours: whoever may write to the topic may write anything
        if event.name == STEP_SENT:
            if isinstance(id := said.get("delivery_id"), str):
                self._happened(id, "sent", at_ms)
        elif event.name == "Sequence Entered" and entry not in self.entries:
            began = Entry(entry, event.contact, said["version"], at_ms, said.get("key"))
            self.entries[entry] = began
            self.by_contact.setdefault(event.contact, []).append(began)
            if entry in self._ends:
                self._end(began, *self._ends.pop(entry))
        elif event.name in _RUNNING and event.name is not None:
            if entry in self.entries:
                self._end(self.entries[entry], event.name, said)
            elif event.name != "Sequence Converted":
                self._ends[entry] = event.name, said

    def delivery(self, delivery: Delivery, sent_ms: int | None = None) -> None:
        """Takes in a message that is to be sent; with `sent_ms`, one that counts as sent then."""
        if delivery.kind == "sequence" and delivery.rule == self.sequence:
            self.messages.setdefault(delivery.id, Message())
            if sent_ms is not None:
                self._happened(delivery.id, "sent", sent_ms)

    def outcome(self, outcome: Outcome, at_ms: int) -> None:
        """Takes in what became of a message at `at_ms`, or of a transition that began nothing."""
        if outcome.kind != "sequence" or outcome.rule != self.sequence:
            return
        message = self.messages.setdefault(outcome.delivery, Message())
        if message.outcome is None or outcome.rank > message.outcome.rank:
            # without what is large and not asked for
            message.outcome = msgspec.structs.replace(outcome, again=None, reason=None)
        if outcome.status == "sent":
            self._happened(outcome.delivery, "sent", at_ms)

    def told(self, event: Event, at_ms: int) -> None:
        """Takes in an event of a contact: what became of a mail, or what counts as value."""
        if event.name in MAIL:
            id = delivery_of(event.properties)
            if id in self.messages:
                self._happened(id, MAIL[event.name], at_ms)
        if self.value is not None and event.name == self.value.event:
            self._add_value(event, at_ms)

    def transition(self, contact: str, on: On, key: str | None, at_ms: int) -> None:
        """Takes in that a contact entered or left a segment."""
        for entry in self.by_contact.get(contact, ()):
            sequence = self.versions.get(entry.version)
            if sequence is None or sequence.goal != on or at_ms <= entry.began_ms:
                continue
            # of the segment that it began with, only the value of `per` that it began with
            if on.segment != sequence.on.segment or key == entry.key:
                entry.goal_ms = at_ms if entry.goal_ms is None else min(entry.goal_ms, at_ms)

    def asks(self, contact: str) -> bool:
        """Whether events of this contact may matter."""
        return contact in self.by_contact

    def is_comparable(self, version: int) -> bool:
        """Whether the goal is known."""
        sequence = self.versions.get(version)
        return sequence is not None and sequence.goal is not None

    def is_followed(self, on: On) -> bool:
        """Whether the segment is one that is followed now."""
        return self._segments is None or on.segment in self._segments

    @property
    def unmatched(self) -> int:
        """How many ends there are of entries that are not: begun before the topic begins, or as another contact."""
        return len(self._ends)

    def _happened(self, id: str, stage: str, at_ms: int) -> None:
        instants = self.messages.setdefault(id, Message()).at_ms
        instants[stage] = min(at_ms, instants.get(stage, at_ms))

    def _end(self, entry: Entry, name: str, said: Mapping[str, Any]) -> None:
        split = said.get("split")
        entry.splits |= split if isinstance(split, dict) else {}
        if name != "Sequence Converted":
            entry.ended = "completed" if name == "Sequence Completed" else str(said.get("reason"))
            entry.step = said.get("step")

    def _add_value(self, event: Event, at_ms: int) -> None:
        assert self.value is not None
        number = value_at(event.properties, self.value.property)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return
        entries = [
            entry
            for entry in self.by_contact.get(event.contact, ())
            if entry.began_ms < at_ms <= entry.began_ms + self.window_ms
        ]
        if not entries:
            return
        if event.message_id is not None:
            seen = self._valued.setdefault(event.contact, set())
            if event.message_id in seen:
                return
            seen.add(event.message_id)
        for entry in entries:
            entry.value += number


def delivery_of(properties: Mapping[str, Any]) -> str | None:
    """The delivery that an e-mail event is about: property `delivery_id`, else the left half of the one in `message_id`."""
    id, message_id = properties.get("delivery_id"), properties.get("message_id")
    if isinstance(id, str) and id:
        return id
    return message_id.strip().lstrip("<").partition("@")[0] if isinstance(message_id, str) and message_id else None
