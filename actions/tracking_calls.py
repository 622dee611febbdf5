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
    common = {"userId": delivery.contact, "timestamp": transition.at}
    personas = {"computation_class": "audience", "computation_key": key, "computation_id": transition.segment}
    context = {"library": _LIBRARY, "personas": personas}
    properties = {key: inside, "audience_key": key, "segment": transition.segment}
    track = {
        "type": "track",
        "messageId": delivery.id,
        **common,
        "event": rule.event or EVENTS[transition.transition],
        "properties": properties if transition.key is None else {**properties, "key": transition.key},
        "context": {
            **context,
            "traits": delivery.traits,
            "tidegate": {delivery.kind: delivery.rule, "transition": transition},
        },
    }
    if not rule.identify or transition.key is not None:
        return [track]
    identify = {
        "type": "identify",
        "messageId": f"{delivery.id}-identify",
        **common,
        "traits": {**delivery.traits, key: inside},
        "context": context,
    }
    return [identify, track]


def audience_key(segment: str) -> str:
    """The segment's id as names of traits are written: small letters, digits and `_`."""
    return segment.replace("-", "_").replace(".", "_")
