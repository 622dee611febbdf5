"""What a message says: the values that a template may name, and the body that programs get."""

from typing import TYPE_CHECKING, Any

import msgspec

from actions.channels import Result, shorten
from actions.rules import Rule
from actions.templates import Escape, TemplateError, render
from schemas.deliveries import Delivery

if TYPE_CHECKING:
    from actions.unsubscribe import UnsubscribeLinks


NO_LINKS = Result(
    "not_set_up",
    "expected TIDEGATE_PUBLIC_URL and TIDEGATE_SECRET_UNSUBSCRIBE for a link to leave the group, got none: set them, start again",
    again=True,
)


def text_of(
    delivery: Delivery, rule: Rule, links: "UnsubscribeLinks | None", characters_max: int, escape: Escape = ""
) -> str | Result:
    """The text of a short message, of 1 to `characters_max` characters; or why there is none."""
    assert rule.template is not None
    text = rule.template.text
    if links is None and "unsubscribe_url" in text:
        return NO_LINKS
    try:
        rendered = encodable(render(text, values_of(delivery, links), escape=escape)).strip()
    except TemplateError as error:
        return Result("template", shorten(f"{rule.called}, text: {error}"))
    if not 0 < len(rendered) <= characters_max:
        return Result("template", f"expected 1 to {characters_max} characters of text, got {len(rendered)}")
    return rendered


def encodable(text: str) -> str:
    """`text` with a question mark for what UTF-8 doesn't have: a template can write half of a character pair."""
    return text.encode("utf-8", "replace").decode()


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
