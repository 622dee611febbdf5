"""A contact as the oracle has it, and the place from which a condition is read (page sections 3, 4, 9).

Kept of a contact are its accepted events and what can't be worked out from them: the clock, the memberships, and since
when each answer has been given without a break, which `hold` and `held` measure.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Any

from tests.oracle_calendar import zone_named
from tests.oracle_input import Event
from tests.oracle_values import look_up, plain, present

DEDUP_MS = 24 * 3_600_000
FUTURE_MS = 5 * 60_000
Answers = dict[str, tuple[bool, int]]
"""The last answer, and the instant since which it was given: of the segment (`WHEN`) and of each `held` in it."""
WHEN = "when"


@dataclass
class Membership:
    """What is remembered for a segment (and key)."""

    inside: bool = False
    seq: int = 0
    answers: Answers = field(default_factory=dict)


@dataclass
class Contact:
    """All that is remembered of one contact."""

    name: str
    clock: int | None = None
    arrival: int | None = None
    accepted: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    traits: dict[str, Any] = field(default_factory=dict)
    memberships: dict[tuple[str, str | None], Membership] = field(default_factory=dict)

    def arrives(self, event: Event, absorbed: "Contact | None") -> bool:
        """Sets when the event arrived and happened; False if it is a duplicate, which changes nothing."""
        before = [who.arrival for who in (self, absorbed) if who is not None and who.arrival is not None]
        event.r = max(event.received, *before) if before else event.received
        event.t = event.r if event.timestamp is None else event.timestamp
        if event.t > event.received + FUTURE_MS:
            event.t = event.r
        if event.message_id is not None:
            earlier = self.accepted.get(event.message_id)
            if earlier is not None and event.r - earlier < DEDUP_MS:
                return False
            self.accepted[event.message_id] = event.r
        self.arrival = event.r
        return True

    def tell(self, instant: int) -> None:
        """Moves the clock on to the instant; it never runs backwards."""
        self.clock = instant if self.clock is None else max(self.clock, instant)

    def add(self, events: list[Event]) -> None:
        """Takes the events into the history, by event time (ties: order of arrival), and the traits they write."""
        self.events = sorted([*self.events, *events], key=lambda event: (event.t, event.order))
        self.traits = {}
        for event in self.events:
            self.traits |= event.writes  # a cleared trait is null or "", which is absent

    def absorb(self, other: "Contact") -> None:
        """Makes the other's history part of this one; its answers and memberships are left to the run."""
        self.add(other.events)
        for message_id, accepted in other.accepted.items():
            self.accepted[message_id] = max(accepted, self.accepted.get(message_id, accepted))
        assert other.clock is not None
        self.tell(other.clock)

    def membership(self, segment: str, key: str | None = None) -> Membership:
        return self.memberships.setdefault((segment, key), Membership())


def key_of(event: Event, path: str) -> str | None:
    """The key that the event has for a segment `per` that path; None where it has none."""
    value = event.value(path)
    return None if isinstance(value, (list, dict)) or not present(value) else plain(value)


@dataclass(frozen=True)
class Here:
    """From where a condition is read: which contact (and key), at which instant, in which segment and zones."""

    contact: Contact
    now: int
    scores: dict[str, dict[str, Any]]
    segment: str
    answers: Answers
    per: str | None = None
    key: str | None = None
    zones: tuple[str, ...] = ()

    def inside(self, part: dict[str, Any]) -> "Here":
        """The same, within a part of the definition that may have a `tz` of its own."""
        return replace(self, zones=(*self.zones, part["tz"])) if "tz" in part else self

    @property
    def zone(self) -> tzinfo:
        """The innermost zone; `contact` is the contact's own, or else the nearest one further out."""
        if self.zones[-1:] == ("contact",):
            own = zone_named(look_up(self.contact.traits, "timezone"))
            if own is not None:
                return own
        named = [zone for zone in self.zones if zone != "contact"]
        return (zone_named(named[-1]) if named else None) or UTC

    @property
    def events(self) -> list[Event]:
        """The events that event and sequence conditions see: with `per` those of the key."""
        events = [event for event in self.contact.events if event.name is not None]
        if self.per is None or self.key is None:
            return events
        return [event for event in events if key_of(event, self.per) == self.key]
