"""What a message says: the values that a template may name, and the body that programs get."""

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.deliveries import Delivery

if TYPE_CHECKING:
    from actions.unsubscribe import UnsubscribeLinks


def values_of(delivery: Delivery, links: "UnsubscribeLinks | None" = None) -> dict[str, Any]:
    """What a template may name; `unsubscribe_url` only where the message has a group, and links are set up."""
    transition: dict[str, Any] = msgspec.to_builtins(delivery.transition)
    values = {
        "contact": delivery.contact,
        "traits": delivery.traits,
        "segment": delivery.transition.segment,
        "transition": transition,
        "event": transition.get("event", {}),
    }
    if links is not None and delivery.group is not None:
        values["unsubscribe_url"] = links.url(delivery.contact, delivery.group, delivery.id)
    return values


def payload(delivery: Delivery) -> dict[str, Any]:
    """What a program is told: the transition, the contact and the traits that the rule asks for."""
    transition = delivery.transition
    return {
        "type": f"segment.{transition.transition}",
        "timestamp": transition.at,
        "data": {
            "contact": delivery.contact,
            "rule": delivery.rule,
            "transition": transition,
            "traits": delivery.traits,
        },
    }
