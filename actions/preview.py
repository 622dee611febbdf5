"""What a message would say to a contact: rendered as its channel does it, with nothing sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from actions.message import payload, values_of
from actions.rules import Rule, carried, target_of
from actions.sequences import Send, Sequence
from actions.templates import Escape, TemplateError, render
from actions.tracking_calls import calls_of
from schemas.deliveries import Delivery, TransitionOf

# stands where the signed link to leave the group does
LINK = "https://unsubscribe.example/"
_ESCAPES: dict[str, Escape] = {"slack": "mrkdwn"}
_NOBODY = "0" * 32


@dataclass(frozen=True)
class Preview:
    """A message of rule or sequence `of`: its parts by name, and what is wrong with it, a sentence each."""

    of: str
    channel: str
    target: str
    parts: dict[str, str]
    problems: tuple[str, ...]


def messages_of(rules: Iterable[Rule], sequences: Iterable[Sequence]) -> list[tuple[str, Rule]]:
    """All messages with their names: a rule's id, or `SEQUENCE/STEP`."""
    named = [(rule.id, rule) for rule in rules]
    for sequence in sequences:
        named += [(f"{sequence.id}/{step.name}", step.message) for step in sequence.steps if isinstance(step, Send)]
    return named


def preview(name: str, rule: Rule, contact: str, traits: Mapping[str, Any], at: str) -> Preview:
    """What `rule` says to a contact with these traits that enters, or leaves, its segment at the instant `at`."""
    target, why = target_of(rule, traits)
    delivery = _delivery(rule, contact, carried(rule, traits), target, at)
    values = values_of(delivery) | ({} if rule.group is None else {"unsubscribe_url": LINK})
    parts: dict[str, str] = {}
    problems = [] if why is None else [why[1]]
    for part, text, escape in _texts(rule):
        try:
            parts[part] = render(text, values, escape=escape)
        except TemplateError as error:
            problems.append(f"{part}: {error}")
    if rule.template is None:
        body = {"batch": calls_of(delivery, rule)} if rule.channel == "segment" else payload(delivery)
        parts["body"] = msgspec.json.format(msgspec.json.encode(body)).decode()
    return Preview(name, rule.channel, target, parts, tuple(problems))


def _texts(rule: Rule) -> list[tuple[str, str, Escape]]:
    template = rule.template
    if template is None:
        return []
    escape = _ESCAPES.get(rule.channel, "")
    found: list[tuple[str, str, Escape]] = [("subject", template.subject, "")] if rule.channel == "email" else []
    found.append(("text", template.text, escape))
    return found if template.html is None else [*found, ("html", template.html, "html")]


def _delivery(rule: Rule, contact: str, traits: dict[str, Any], target: str, at: str) -> Delivery:
    entered = 1 if rule.transition == "entered" else 2
    transition = TransitionOf(_NOBODY, rule.segment, 1, rule.transition, entered, at, "event")
    return Delivery(
        id=_NOBODY,
        rule=rule.id,
        rule_version=1,
        step=0,
        channel=rule.channel,
        target=target,
        contact=contact,
        revision=0,
        transition=transition,
        traits=traits,
        created_at=at,
        group=rule.group,
    )
