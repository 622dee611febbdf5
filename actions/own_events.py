"""Events of our own that follow from a contact's step: as records of `events.own`, and as the contact takes them."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from actions.progress import UnderWay
from schemas.deliveries import Outcome
from schemas.events import Event, parse_event
from schemas.instants import format_instant

# in `context`: the contact has taken it in the step that it comes from, and whoever reads the topic passes it over
TAKEN = "taken"
# what the names of events begin with that sequences say of themselves
SAID = "Sequence "
STEP_SENT = f"{SAID}Step Sent"
UNSUBSCRIBED = "Unsubscribed"
# what comes after it, in small letters, and why an entry ends early: bounded sets for metrics
Said = Literal["entered", "converted", "exited", "completed"]
ExitReason = Literal["goal", "exit", "held_out", "no_date", "loop", "version", "removed", "merged"]
_LIBRARY = {"name": "tidegate"}


def is_taken(event: Event) -> bool:
    """Whether the contact has taken an event of `events.own` already, in the step that it comes from."""
    return event.context.get(TAKEN) is True


def is_ours(event: Event) -> bool:
    """Whether an event was written here, of a contact that was known then."""
    return bool(event.context.get("library") == _LIBRARY)


@dataclass(frozen=True)
class OwnEvent:
    """An event as it goes to `events.own` (`value`) and what it says; `at_ms` is when it happened."""

    contact: str
    at_ms: int
    event: Event
    value: bytes


def lifecycle(name: str, each: UnderWay, step: str | None, reason: ExitReason | None, told: "Moment") -> OwnEvent:
    """`Sequence Entered`, `Converted`, `Exited`, `Completed`: with what `SEQUENCES.md` says of them."""
    said = {
        "sequence": each.sequence,
        "version": each.version,
        "entry": each.begun_by(told.contact).id,
        "step": step,
        "reason": reason,
        "key": each.key,
        "split": each.splits or None,
    }
    properties = {key: value for key, value in said.items() if value is not None}
    return _own(each, name, {"type": "track", "event": name, "properties": properties}, told)


def set_event(each: UnderWay, fields: dict[str, Any], step: str, told: "Moment") -> OwnEvent:
    """What a `set` step has the contact take: an `identify` or a `list` event."""
    return _own(each, f"set/{step}", fields, told)


def step_sent(outcome: Outcome, step: str) -> bytes | None:
    """`Sequence Step Sent`, which the contact takes when it is read; None for an outcome that says no such thing.

    A function of the outcome and the step's name alone: written again, it has the same `messageId`.
    """
    if outcome.kind != "sequence" or outcome.status != "sent":
        return None
    properties = {
        "sequence": outcome.rule,
        "version": outcome.rule_version,
        "entry": outcome.entry,
        "step": step,
        "channel": outcome.channel,
        "delivery_id": outcome.delivery,
    }
    return _told_of(outcome, STEP_SENT, [STEP_SENT, outcome.delivery], properties)


def opted_out(outcome: Outcome) -> bytes | None:
    """`Unsubscribed` of the message's group, as the channel says that its receiver has opted out; None where it doesn't.

    A message without a group says nothing: what was meant is one sender, and no group would mean every one.
    """
    if outcome.code != "opted_out" or outcome.group is None:
        return None
    properties = {"group": outcome.group, "channel": outcome.channel, "delivery_id": outcome.delivery}
    return _told_of(outcome, UNSUBSCRIBED, [UNSUBSCRIBED, outcome.delivery, outcome.retry], properties)


def _told_of(outcome: Outcome, name: str, named: list[Any], properties: dict[str, Any]) -> bytes:
    """An event of the outcome's contact, whose `messageId` is derived from `named`."""
    return orjson.dumps(
        {
            "messageId": _message_id(named),
            "type": "track",
            "event": name,
            "userId": outcome.contact,
            "timestamp": outcome.at,
            "receivedAt": outcome.at,
            "context": {"library": _LIBRARY},
            "properties": {key: value for key, value in properties.items() if value is not None},
        }
    )


@dataclass(frozen=True)
class Moment:
    """Of which contact, when it happens, and arrival time; epoch ms."""

    contact: str
    now_ms: int
    arrived_ms: int


def _own(each: UnderWay, what: str, fields: dict[str, Any], told: Moment) -> OwnEvent:
    entry = each.begun_by(told.contact).id
    named = [entry, each.sequence, each.version, each.began_ms, what]
    value = orjson.dumps(
        {
            "messageId": _message_id(named),
            "userId": told.contact,
            "timestamp": format_instant(told.now_ms),
            "receivedAt": format_instant(told.arrived_ms),
            "context": {TAKEN: True, "library": _LIBRARY},
            **fields,
        }
    )
    return OwnEvent(told.contact, told.now_ms, parse_event(value), value)


def _message_id(named: list[Any]) -> str:
    """Derived from what an event is of: written again, it is the same."""
    return hashlib.sha256(orjson.dumps(named)).hexdigest()[:32]
