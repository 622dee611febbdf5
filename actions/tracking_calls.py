"""What the channel `segment` says: a transition as calls of Segment's spec (segment.com/docs/connections/spec).

The names are those that Segment's own audiences have (Engage), so that what reads these reads ours: `audience_key` and
the key itself as a boolean, `context.personas`, other names of the contact in `context.traits`.
"""

from typing import Any, Final

from actions.rules import Rule
from schemas.deliveries import Delivery
from schemas.transitions import Direction

EVENTS: Final[dict[Direction, str]] = {"entered": "Segment Entered", "left": "Segment Exited"}
# a Tidegate that gets these must not take them for events of its own
_LIBRARY: Final = {"name": "tidegate-segment"}


def calls_of(delivery: Delivery, rule: Rule) -> list[dict[str, Any]]:
    """A `track`, and before it an `identify` where the rule wants one; the same, ids too, in every attempt.

    A membership by `per` is one of many a contact, which no one boolean can hold: it has no `identify`.
    """
    transition = delivery.transition
    key, inside = audience_key(transition.segment), transition.transition == "entered"
    properties = {key: inside, "audience_key": key, "segment": transition.segment}
    track: dict[str, Any] = {
        "type": "track",
        "messageId": delivery.id,
        "userId": delivery.contact,
        "timestamp": transition.at,
        "event": rule.event or EVENTS[transition.transition],
        "properties": properties if transition.key is None else {**properties, "key": transition.key},
        "context": _context(delivery, key),
    }
    if not rule.identify or transition.key is not None:
        return [track]
    own = {"type": "identify", "messageId": f"{delivery.id}-identify", "traits": {**delivery.traits, key: inside}}
    return [{**{name: track[name] for name in ("userId", "timestamp", "context")}, **own}, track]


def audience_key(segment: str) -> str:
    """The segment's id as names of traits are written: small letters, digits and `_`."""
    return segment.replace("-", "_").replace(".", "_")


def _context(delivery: Delivery, key: str) -> dict[str, Any]:
    transition = delivery.transition
    return {
        "library": _LIBRARY,
        "personas": {"computation_class": "audience", "computation_key": key, "computation_id": transition.segment},
        "traits": delivery.traits,
        "tidegate": {delivery.kind: delivery.rule, "transition": transition},
    }
