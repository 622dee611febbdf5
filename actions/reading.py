"""Rules as they are written, to `Rule`s: every error of a file at once, each with its path.

rules:
  - id: cart-mail
    on: {segment: abandoned-cart, transition: entered}
    channel: email
    target: {trait: email}
    template: cart-mail            # templates/cart-mail.txt, or {subject: …, text: …, html: …} in place
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from actions.errors import RuleErrors
from actions.message_reading import check_link, read_group, read_message
from actions.reader import DESCRIPTIVE, MAX_AGE, Reader, close, read_each
from actions.rules import Rule

_KEYS = ("id", "on", "max_age", "group", *DESCRIPTIVE)


def load_rules(text: str, name: str = "rules", templates: Path | None = None) -> tuple[Rule, ...]:
    """The rules in one YAML or JSON file; its other keys are not looked at. `templates`: directory of those named.

    Raises `RuleErrors` with every error of the file.
    """
    rules, errors = read_each("rule", "rules", text, name, templates, _rule)
    if errors:
        raise RuleErrors(errors)
    return rules


def rule_of(body: Mapping[str, Any]) -> Rule:
    """The rule of a definition record's body, whose templates are in place; raises `RuleErrors`."""
    reader = Reader("rule: ", "$", None)
    rule = _rule(reader, dict(body))
    if rule is None:
        raise RuleErrors(reader.errors)
    return rule


def check_segments(rules: Iterable[Rule], segments: Iterable[str]) -> list[str]:
    """Errors of rules that listen to a segment which is none of `segments`."""
    known = sorted(segments)
    return [
        f"rule {rule.id!r}: expected a segment in force, got {rule.segment!r}{close(rule.segment, known)}"
        " - at $.on.segment"
        for rule in rules
        if rule.segment not in known
    ]


def check_identify(rules: Iterable[Rule], segments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Errors of rules whose `identify` has no one answer: of the segments (bodies by id), those with `per`."""
    return [
        f"rule {rule.id!r}: expected no `identify` for a segment with `per`, got one for {rule.segment!r}; its memberships"
        " are many a contact - at $.identify"
        for rule in rules
        if rule.identify and "per" in segments.get(rule.segment, ())
    ]


def _rule(reader: Reader, body: Any) -> Rule | None:
    """The rule, or None with something in the reader's `errors`."""
    if not reader.is_mapping(body, ""):
        return None
    id = reader.id(body, "rule")
    reader.descriptive(body)
    segment, transition, causes = reader.on(body)
    message = read_message(reader, body, "", _KEYS)
    group = read_group(reader, body, "")
    check_link(reader, message, group, "")
    max_age_ms = reader.duration(body.get("max_age", MAX_AGE), ".max_age")
    if reader.errors:
        return None
    return Rule(
        id=id,
        segment=segment,
        transition=transition,
        causes=causes,
        channel=message.channel,
        target=message.target,
        target_trait=message.target_trait,
        traits=message.traits,
        max_age_ms=max_age_ms,
        secret=message.secret,
        template=message.template,
        body=body if message.parts is None else {**body, "template": message.parts},
        sender=message.sender,
        group=group,
        event=message.event,
        identify=message.identify,
    )
