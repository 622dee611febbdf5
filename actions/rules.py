"""Rules: on which transitions a message goes out, over which channel, to whom. A pure function of the step.

`Rules.act` is called by the worker in the contact's own step, for transitions of the segments that some rule listens
to. What a rule leaves out has an outcome that says why; no rule ever acts on history played in: transitions older than
`max_age` (as of arrival), or no later than the rule itself, are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.paths import value_at
from actions.registry import SPECS
from schemas.deliveries import Channel, Delivery, LeftOut, Outcome, delivery_id, transition_of
from schemas.instants import format_duration, format_instant
from schemas.transitions import Cause, Direction, Transition

STEP = 0  # a rule has one; sequences will count on from it


@dataclass(frozen=True)
class Template:
    """The parts of a message, as templates; `subject` is empty where the channel has none."""

    subject: str
    text: str
    html: str | None = None


@dataclass(frozen=True)
class Rule:
    """One rule, read and checked; `body` is the same as data, with the template's text in it.

    Either `target` or `target_trait` is set. `traits` are the paths of those that a delivery carries. `secret` names
    what the channel needs: environment variable `TIDEGATE_SECRET_<secret>`. `sender` is who an SMS comes from, `group`
    the message group that consent is asked for. `step`: of what is the message of a sequence's step, the step's name.
    `event` names a tracking call, None as the transition has it; `identify`: another one goes with it, with a boolean.
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
    sender: str | None = None
    group: str | None = None
    step: str | None = None
    event: str | None = None
    identify: bool = False

    @property
    def called(self) -> str:
        """What sentences call it."""
        return f"rule {self.id!r}" if self.step is None else f"sequence {self.id!r}, step {self.step!r}"


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
            target, problem = target_of(item.rule, traits)
            rule = item.rule
            why = left_out("rule", rule.causes, item.since_ms, rule.max_age_ms, transition, arrived_ms) or problem
            if why is None:
                deliveries.append(_delivery(item, transition, target, traits, revision, arrived_ms))
            else:
                outcomes.append(_skipped(item, transition, *why, arrived_ms))
        return deliveries, outcomes


def compile_rules(rules: Iterable[Rule], since_ms: Mapping[str, int], versions: Mapping[str, int]) -> Rules:
    """Rules ready to act; `since_ms` (epoch ms) and `versions` by rule id, of every rule."""
    return Rules(_InForce(rule, versions[rule.id], since_ms[rule.id]) for rule in rules)


def left_out(
    what: str, causes: frozenset[Cause], since_ms: int, max_age_ms: int, transition: Transition, arrived_ms: int
) -> tuple[LeftOut, str] | None:
    """Why `transition` brings nothing of `what` (a rule or a sequence) in force since `since_ms`; None: it does."""
    if transition.silent:
        return "silent", "the segment's definition says `backfill: silent`"
    if transition.cause not in causes:
        return "cause", f"expected cause {' or '.join(sorted(causes))}, got {transition.cause}"
    if transition.at_ms <= since_ms:
        at, since = format_instant(transition.at_ms), format_instant(since_ms)
        return "before_rule", f"expected a transition later than the {what}, which is in force since {since}, got {at}"
    return too_old(transition.at_ms, max_age_ms, arrived_ms)


def too_old(at_ms: int, max_age_ms: int, arrived_ms: int) -> tuple[LeftOut, str] | None:
    """Why what happened at `at_ms` is too old by `arrived_ms`; None: it isn't."""
    if arrived_ms - at_ms <= max_age_ms:
        return None
    age, age_max = format_duration(arrived_ms - at_ms), format_duration(max_age_ms)
    return "too_old", f"expected an instant no more than {age_max} ago, got one of {age} ago"


def target_of(rule: Rule, traits: Mapping[str, Any]) -> tuple[str, tuple[LeftOut, str] | None]:
    """Whereto a message goes, or why it can't."""
    if rule.target is not None:
        return rule.target, None
    assert rule.target_trait is not None
    found = value_at(traits, rule.target_trait)
    kind = SPECS[rule.channel].target
    assert kind is not None
    expected = kind.problem(found)
    if expected is None:
        return str(found), None
    came = "none" if found is None else "something else"
    return "", ("no_target", f"expected {expected} in trait {rule.target_trait!r}, got {came}")


def _delivery(
    item: _InForce, transition: Transition, target: str, traits: Mapping[str, Any], revision: int, arrived_ms: int
) -> Delivery:
    rule = item.rule
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
        traits=carried(rule, traits),
        created_at=format_instant(arrived_ms),
        group=rule.group,
    )


def carried(rule: Rule, traits: Mapping[str, Any]) -> dict[str, Any]:
    """Of the contact's traits those that a message takes along."""
    return {path: value for path in rule.traits if (value := value_at(traits, path)) is not None}


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
        kind=delivery.kind,
        step=delivery.step,
    )


def _skipped(item: _InForce, transition: Transition, code: LeftOut, reason: str, arrived_ms: int) -> Outcome:
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
