"""Addresses that no mail goes to any more: bounced for good, or their owner has called our mail spam. Pure.

`Email Unsuppressed` takes that back, as of its time: it is an operator's word, after the mailbox was mended.
"""

from dataclasses import dataclass
from typing import Any, Final

from actions.targets import is_address
from schemas.events import parse_event
from schemas.rejected import Rejection

BOUNCED: Final = "Email Bounced"
# the Segment spec's name, and the one that mail services use
COMPLAINED: Final = ("Email Marked as Spam", "Email Complained")
UNSUPPRESSED: Final = "Email Unsuppressed"
_ADDRESSES: Final = ("email", "address", "recipient")
_KINDS: Final = ("bounce_type", "type")
# as vendors call a bounce that may not come again
_PASSING: Final = ("soft", "transient", "temporary", "undetermined", "blocked")
# no text without one of these is such an event; reading all of them would take a projector's whole time
_SIGNS: Final = (b"Bounced", b"Marked as Spam", b"Complained", b"Unsuppressed", b"\\u")


@dataclass(frozen=True)
class Suppression:
    """An address, None where the event doesn't say which; and why, for people, None where mail may go to it again.

    `at_ms`: when that happened, epoch ms; None where the event doesn't say.
    """

    address: str | None
    why: str | None
    at_ms: int | None = None


def suppression_of(value: bytes | None) -> Suppression | None:
    """What an event of `events.email` or `events.own` says of an address; None for nothing."""
    if value is None or not any(sign in value for sign in _SIGNS):
        return None
    try:
        event = parse_event(value)
    except Rejection:
        return None  # the workers say so
    why: str | None = None
    if event.name in COMPLAINED:
        why = "a complaint"
    elif event.name == BOUNCED and not _passing(event.properties):
        why = "a bounce"
    elif event.name != UNSUPPRESSED:
        return None
    traits = event.context.get("traits")
    named = [event.properties.get(key) for key in _ADDRESSES]
    named.append(traits.get("email") if isinstance(traits, dict) else None)
    address = next((str(each) for each in named if is_address(each)), None)
    return Suppression(address, why, event.occurred_at_ms)


def _passing(properties: dict[str, Any]) -> bool:
    """Whether a bounce is one that may not come again."""
    kinds = [properties.get(key) for key in _KINDS]
    return any(isinstance(kind, str) and kind.lower().startswith(_PASSING) for kind in kinds)
