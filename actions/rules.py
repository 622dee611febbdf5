"""Rules: on which transitions a message goes out, over which channel, to whom. A pure function of the step.

`Rules.act` is called by the worker in the contact's own step, for transitions of the segments that some rule listens
to. What a rule leaves out has an outcome that says why; no rule ever acts on history played in: transitions older than
`max_age` (as of arrival), or no later than the rule itself, are left out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.paths import value_at
from schemas.deliveries import Channel, Code, Delivery, Outcome, delivery_id, transition_of
from schemas.instants import format_duration, format_instant
from schemas.transitions import Cause, Direction, Transition

STEP = 0  # a rule has one; sequences will count on from it
ADDRESS_CHARACTERS_MAX = 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*", re.ASCII)


@dataclass(frozen=True)
class Template:
    """The parts of an e-mail, as templates."""

    subject: str
    text: str
    html: str | None = None


@dataclass(frozen=True)
class Rule:
    """One rule, read and checked; `body` is the same as data, with the template's text in it.

    Either `target` or `target_trait` is set. `traits` are the paths of those that a delivery carries. `secret` names
    the signing secret of a webhook: environment variable `TIDEGATE_SECRET_<secret>`.
    """

    id: str
    segment: str
    transition: Direction
    causes: frozenset[Cause]
    channel: Channel
    target: str | None
    target_trait: str | None
    traits: tuple[str, ...]
    max_age_ms: int
    secret: str | None
    template: Template | None
    body: dict[str, Any]


@dataclass(frozen=True)
class _InForce:
    rule: Rule
    version: int
    since_ms: int


class Rules:
    """Rules in force, by the transitions that they listen to."""

    def __init__(self, in_force: Iterable[_InForce] = ()) -> None:
        self._by_transition: dict[tuple[str, Direction], list[_InForce]] = {}
        for item in in_force:
            self._by_transition.setdefault((item.rule.segment, item.rule.transition), []).append(item)
        self.segments = frozenset(segment for segment, _ in self._by_transition)

    def act(
        self, transition: Transition, traits: Mapping[str, Any], revision: int, arrived_ms: int
    ) -> tuple[list[Delivery], list[Outcome]]:
        """Deliveries of the rules that act on `transition`, and outcomes of those that leave it out.

        `traits` are the contact's as of the step, `revision` is its counter of changes, `arrived_ms` arrival time.
        """
        deliveries: list[Delivery] = []
        outcomes: list[Outcome] = []
        for item in self._by_transition.get((transition.segment, transition.transition), ()):
            target, left_out = _target(item.rule, traits)
            left_out = _left_out(item, transition, arrived_ms) or left_out
            if left_out is None:
                deliveries.append(_delivery(item, transition, target, traits, revision, arrived_ms))
            else:
                outcomes.append(_skipped(item, transition, *left_out, arrived_ms))
        return deliveries, outcomes


def compile_rules(rules: Iterable[Rule], since_ms: Mapping[str, int], versions: Mapping[str, int]) -> Rules:
    """Rules ready to act; `since_ms` (epoch ms) and `versions` by rule id, of every rule."""
    return Rules(_InForce(rule, versions[rule.id], since_ms[rule.id]) for rule in rules)


def is_address(value: object) -> bool:
    """Whether `value` is an e-mail address that any mail server takes: ASCII, `name@host`, at most 254 characters."""
    return isinstance(value, str) and len(value) <= ADDRESS_CHARACTERS_MAX and _ADDRESS.fullmatch(value) is not None


def _left_out(item: _InForce, transition: Transition, arrived_ms: int) -> tuple[Code, str] | None:
    rule = item.rule
    if transition.silent:
        return "silent", "the segment's definition says `backfill: silent`"
    if transition.cause not in rule.causes:
        causes = " or ".join(sorted(rule.causes))
        return "cause", f"expected cause {causes}, got {transition.cause}"
    if transition.at_ms <= item.since_ms:
        at, since = format_instant(transition.at_ms), format_instant(item.since_ms)
        return "before_rule", f"expected a transition later than the rule, which is in force since {since}, got {at}"
    if arrived_ms - transition.at_ms > rule.max_age_ms:
        age, age_max = format_duration(arrived_ms - transition.at_ms), format_duration(rule.max_age_ms)
        return "too_old", f"expected a transition no older than {age_max}, got one of {age} ago"
    return None


def _target(rule: Rule, traits: Mapping[str, Any]) -> tuple[str, tuple[Code, str] | None]:
    if rule.target is not None:
        return rule.target, None
    assert rule.target_trait is not None
    found = value_at(traits, rule.target_trait)
    if is_address(found):
        return str(found), None
    came = "none" if found is None else "something else"
    return "", ("no_target", f"expected an e-mail address in trait {rule.target_trait!r}, got {came}")


def _delivery(
    item: _InForce, transition: Transition, target: str, traits: Mapping[str, Any], revision: int, arrived_ms: int
) -> Delivery:
    rule = item.rule
    carried = {path: value_at(traits, path) for path in rule.traits}
    return Delivery(
        id=delivery_id(transition.id, rule.id, item.version, STEP),
        rule=rule.id,
        rule_version=item.version,
        step=STEP,
        channel=rule.channel,
        target=target,
        contact=transition.contact,
        revision=revision,
        transition=transition_of(transition),
        traits={path: value for path, value in carried.items() if value is not None},
        created_at=format_instant(arrived_ms),
    )


def too_large(delivery: Delivery, found_bytes: int, bytes_max: int) -> Outcome:
    """The outcome of a delivery that no record can hold, as the traits that it carries are too large."""
    return Outcome(
        delivery=delivery.id,
        status="skipped",
        rule=delivery.rule,
        rule_version=delivery.rule_version,
        channel=delivery.channel,
        contact=delivery.contact,
        segment=delivery.transition.segment,
        at=delivery.created_at,
        code="too_large",
        reason=f"expected a delivery of at most {bytes_max} bytes with its traits, got {found_bytes}",
    )


def _skipped(item: _InForce, transition: Transition, code: Code, reason: str, arrived_ms: int) -> Outcome:
    return Outcome(
        delivery=delivery_id(transition.id, item.rule.id, item.version, STEP),
        status="skipped",
        rule=item.rule.id,
        rule_version=item.version,
        channel=item.rule.channel,
        contact=transition.contact,
        segment=transition.segment,
        at=format_instant(arrived_ms),
        code=code,
        reason=reason,
    )
