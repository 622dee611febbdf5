"""Addresses that no mail goes to any more: bounced for good, or their owner has called our mail spam. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from actions.targets import is_address
from schemas.events import parse_event
from schemas.rejected import Rejection

BOUNCED: Final = "Email Bounced"
# the Segment spec's name, and the one that mail services use
COMPLAINED: Final = ("Email Marked as Spam", "Email Complained")
_ADDRESSES: Final = ("email", "address", "recipient")
_KINDS: Final = ("bounce_type", "type")
# as vendors call a bounce that may not come again
_PASSING: Final = ("soft", "transient", "temporary", "undetermined", "blocked")
# no text without one of these is such an event; reading all of them would take a projector's whole time
_SIGNS: Final = (b"Bounced", b"Marked as Spam", b"Complained", b"\\u")


@dataclass(frozen=True)
class Suppression:
    """An address, None where the event doesn't say which; and why, for people."""

    address: str | None
    why: str


def suppression_of(value: bytes | None) -> Suppression | None:
    """What an event of `events.email` or `events.own` says of an address; None for nothing."""
    if value is None or not any(sign in value for sign in _SIGNS):
        return None
    try:
        event = parse_event(value)
    except Rejection:
        return None  # the workers say so
    if event.name in COMPLAINED:
        why = "a complaint"
    elif event.name == BOUNCED and not _passing(event.properties):
        why = "a bounce"
    else:
        return None
    traits = event.context.get("traits")
    named = [event.properties.get(key) for key in _ADDRESSES]
    named.append(traits.get("email") if isinstance(traits, dict) else None)
    return Suppression(next((str(each) for each in named if is_address(each)), None), why)


def _passing(properties: dict[str, Any]) -> bool:
    """Whether a bounce is one that may not come again."""
    kinds = [properties.get(key) for key in _KINDS]
    return any(isinstance(kind, str) and kind.lower().startswith(_PASSING) for kind in kinds)
