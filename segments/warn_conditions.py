"""Warns of conditions that can never be true, or always are: each by itself, and those that stand together."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from segments.canonical import condition_form, leaf_form, normal
from segments.conditions import (
    All,
    Any_,
    Condition,
    EventIs,
    EventRule,
    Everyone,
    Held,
    InSegment,
    Known,
    Matching,
    Not,
    Sample,
    Score,
    ScoreIs,
    SequenceIs,
    Span,
    Test,
    TraitIs,
    Where,
    Within,
)
from segments.predicates import number_tests
from segments.report import Report
from segments.values import decimal
from segments.verdicts import Verdict, contradictory, contradictory_path, of_counts, of_numbers, of_where

_NUMBERS = ("count", "sum", "avg", "min", "max", "distinct")
# what is 0 where there is nothing, and so is there to be tested at all times
_NEVER_ABSENT = ("count", "sum", "distinct")
_ENDLESS = float("inf")


class ConditionWarner:
    """Finds the verdict on conditions and says, at their place, where it isn't that it depends.

    `verdicts` gathers those on segments, for those that name them.
    """

    def __init__(self, report: Report, scores: Mapping[str, Score]) -> None:
        self.report = report
        self.scores = scores
        self.verdicts: dict[str, Verdict] = {}

    def verdict(self, condition: Condition, body: dict[str, Any]) -> Verdict:
        """The verdict on a condition, whose `body` is as it was written."""
        if "not" in body:
            assert isinstance(condition, Not)
            with self.report.at("not"):
                return _inverse(self.verdict(condition.condition, body["not"]))
        if "none" in body:
            assert isinstance(condition, Not) and isinstance(condition.condition, Any_)
            parts = condition.condition.conditions
            return self._joined([Not(part) for part in parts], self._parts(parts, body, "none", inverse=True))
        if isinstance(condition, All):
            return self._joined(condition.conditions, self._parts(condition.conditions, body, "all"))
        if isinstance(condition, Any_):
            verdicts = self._parts(condition.conditions, body, "any", inverse=True)
            return _inverse(
                self._joined([Not(part) for part in condition.conditions], verdicts, always="is always true")
            )
        if isinstance(condition, Held):
            with self.report.at("held"):
                return False if self.verdict(condition.condition, body["held"]) is False else None
        return self._leaf(condition)

    def _parts(
        self, conditions: Iterable[Condition], body: dict[str, Any], head: str, *, inverse: bool = False
    ) -> list[Verdict]:
        verdicts = []
        for at, (condition, part) in enumerate(zip(conditions, body[head], strict=True)):
            with self.report.at(head, at):
                verdict = self.verdict(condition, part)
                verdicts.append(_inverse(verdict) if inverse else verdict)
        return verdicts

    def _joined(self, conditions: Sequence[Condition], verdicts: list[Verdict], always: str | None = None) -> Verdict:
        """The verdict on all of them together; `always`: what to say where they can't be, the answer to which is turned."""
        if False in verdicts:
            return False
        if all(verdicts):
            return True
        reason = self._contradiction(conditions)
        if reason is None:
            return None
        self.report.say(f"{always or 'can never be true'}: {reason}")
        return False

    # ---- together ---------------------------------------------------------------------------------------------------

    def _contradiction(self, conditions: Sequence[Condition]) -> str | None:
        """Why these conditions can't all be true, None where they can as far as one sees."""
        asked = list(_conjuncts(conditions))
        forms = {self._form(condition) for condition in asked}
        if any(self._form(Not(condition)) in forms for condition in asked):
            return "of two of its conditions one is the other's negation"
        traits: dict[str, list[Test]] = {}
        for condition in asked:
            if isinstance(condition, TraitIs):
                traits.setdefault(condition.path, []).append(condition.test)
        for path, tests in traits.items():
            if contradictory(tests):
                return f"what it asks of the trait {path!r} passes no value"
        if contradictory([condition.test for condition in asked if isinstance(condition, Known)], past=True):
            return "what it asks of `known` passes no instant"
        return self._no_measure(asked) or self._no_score(asked)

    def _form(self, condition: Condition) -> bytes:
        return orjson.dumps(condition_form(normal(condition, self.scores), self.scores))

    def _no_measure(self, asked: Iterable[Condition]) -> str | None:
        measured: dict[bytes, list[tuple[bool, EventIs]]] = {}
        for condition in asked:
            negated = isinstance(condition, Not)
            leaf = condition.condition if isinstance(condition, Not) else condition
            if not isinstance(leaf, EventIs) or leaf.by is not None or leaf.measure.kind not in _NUMBERS:
                continue
            if negated and leaf.measure.kind not in _NEVER_ABSENT:
                continue
            open_leaf = dataclasses.replace(leaf, measure=dataclasses.replace(leaf.measure, tests=()))
            measured.setdefault(orjson.dumps(leaf_form(open_leaf)), []).append((negated, leaf))
        for group in measured.values():
            kind = group[0][1].measure.kind
            if self._none_passes([(negated, leaf.measure.tests) for negated, leaf in group], kind) is False:
                return f"what it asks of the same `{kind}` passes no number"
        return None

    def _none_passes(self, asked: Sequence[tuple[bool, tuple[Test, ...]]], kind: str, low: int = 0) -> Verdict:
        parts = [(negated, number_tests(tests)) for negated, tests in asked]

        def passes(value: Any) -> bool:
            exact = decimal(value)  # measures are exact: a double of 0.3 would be another number
            return all(holds(exact) is not negated for negated, holds in parts)

        tests = [test for _, tests in asked for test in tests]
        return of_counts(passes, tests, low) if kind in ("count", "distinct") else of_numbers(passes, tests)

    def _no_score(self, asked: Iterable[Condition]) -> str | None:
        read: dict[str, list[tuple[bool, Test]]] = {}
        for condition in asked:
            leaf = condition.condition if isinstance(condition, Not) else condition
            if isinstance(leaf, ScoreIs):
                read.setdefault(leaf.id, []).append((isinstance(condition, Not), leaf.test))
        for id, tests in read.items():
            if self._score_verdict(id, tests) is False:
                return f"what it asks of the score {id!r} passes no number"
        return None

    # ---- one by one -------------------------------------------------------------------------------------------------

    def _leaf(self, condition: Condition) -> Verdict:
        if isinstance(condition, Everyone):
            return True
        if isinstance(condition, InSegment):
            return self.verdicts.get(condition.id)
        verdict = self._leaf_verdict(condition)
        if verdict is not None:
            steps, reason = self._reason(condition)
            with self.report.at(*steps):
                self.report.say("is always true" if verdict else f"can never be true: {reason}")
        return verdict

    def _leaf_verdict(self, condition: Condition) -> Verdict:
        if isinstance(condition, TraitIs):
            return self._trait_verdict(condition.test)
        if isinstance(condition, Known):
            return False if contradictory([condition.test], past=True) else None
        if isinstance(condition, EventIs):
            return self._event_verdict(condition)
        if isinstance(condition, SequenceIs):
            events = [step for step in condition.steps if not step.absent]
            return False if any(_matches_nothing(step.matching) for step in events) else None
        if isinstance(condition, ScoreIs):
            return self._score_verdict(condition.id, [(False, condition.test)])
        if isinstance(condition, Sample):
            return {0: False, 100: True}.get(condition.percent)
        return None

    def _trait_verdict(self, test: Test) -> Verdict:
        if test.operator == "no_item":
            return True if of_where(test.argument) is False else None
        return False if contradictory([test]) else None

    def _event_verdict(self, condition: EventIs) -> Verdict:
        measure, asked = condition.measure, condition.range
        if _matches_nothing(condition.matching) or (isinstance(asked, Span) and asked.first > 0):
            if measure.kind not in _NEVER_ABSENT or condition.by is not None:
                return False
            return number_tests(measure.tests)(0)
        if measure.kind in _NUMBERS:
            low = 1 if condition.by is not None and measure.kind == "count" else 0
            verdict = self._none_passes([(False, measure.tests)], measure.kind, low)
            return None if verdict and (measure.kind not in _NEVER_ABSENT or condition.by is not None) else verdict
        if measure.where is not None:
            return of_where(measure.where)
        if measure.kind == "regularly":
            periods = -(-asked.ms // measure.every_ms) if isinstance(asked, Within) else measure.periods
            return False if measure.at_least > periods else None
        return False if contradictory(measure.tests, past=True) else None

    def _score_verdict(self, id: str, tests: Sequence[tuple[bool, Test]]) -> Verdict:
        low, high = _ends(self.scores[id])
        parts = [(negated, number_tests((test,))) for negated, test in tests]
        return of_numbers(
            lambda value: all(holds(decimal(value)) is not negated for negated, holds in parts),
            [test for _, test in tests],
            low,
            high,
        )

    def _reason(self, condition: Condition) -> tuple[tuple[str, ...], str]:
        """Where in a leaf the reason for its verdict is, and why it can never be true where that is the verdict."""
        if isinstance(condition, TraitIs):
            return (condition.test.operator,), "no value passes it"
        if isinstance(condition, Known):
            return ("known",), "no instant that has come passes it"
        if isinstance(condition, ScoreIs):
            low, high = _ends(self.scores[condition.id])
            return (condition.test.operator,), f"the score lies between {_shown(low)} and {_shown(high)}"
        if isinstance(condition, EventIs):
            return _reason_of_event(condition)
        if isinstance(condition, SequenceIs):
            return ("sequence",), "no event passes the `where` of one of its steps"
        return ("sample", "percent"), "nobody is in it"


def _reason_of_event(condition: EventIs) -> tuple[tuple[str, ...], str]:
    where, kind = condition.matching.where, condition.measure.kind
    if where is not None and of_where(where) is False:
        return _reason_of_where("where", where)
    if isinstance(condition.range, Span) and condition.range.first > 0:
        return ("calendar",), "no event lies in the future"
    if kind == "regularly":
        return (kind,), "the time range holds fewer periods than it asks for"
    if condition.measure.where is not None:
        return _reason_of_where(kind, condition.measure.where)
    if kind in ("first_at", "last_at"):
        return (kind,), "no instant that has come passes it"
    return (kind,), "no number passes its tests" + (", as `by` counts from 1" if condition.by is not None else "")


def _reason_of_where(key: str, where: Where) -> tuple[tuple[str, ...], str]:
    path = contradictory_path(where) if where.kind == "all" else None
    return (key,) if path is None else (key, path), "no value passes all of it" if path else "no event passes it"


def _matches_nothing(matching: Matching) -> bool:
    return matching.where is not None and of_where(matching.where) is False


def _ends(score: Score) -> tuple[float, float]:
    """Between which numbers a score lies: its rules may all pull one way, and it may be clamped."""
    points = [rule.points for rule in score.rules]
    low, high = (0.0 if min(points) >= 0 else -_ENDLESS), (0.0 if max(points) <= 0 else _ENDLESS)
    if score.minimum is not None:
        low, high = max(low, score.minimum), max(high, score.minimum)
    if score.maximum is not None:
        low, high = min(low, score.maximum), min(high, score.maximum)
    return low, high


def _shown(end: float) -> str:
    return "anything" if abs(end) == _ENDLESS else f"{end:g}"


def _inverse(verdict: Verdict) -> Verdict:
    return None if verdict is None else not verdict


def _conjuncts(conditions: Iterable[Condition]) -> Iterable[Condition]:
    """The conditions that must all be true where these must, with no `all` among them any more."""
    for condition in conditions:
        inner = condition.condition if isinstance(condition, Not) else None
        if isinstance(condition, All):
            yield from _conjuncts(condition.conditions)
        elif isinstance(inner, Any_):
            yield from _conjuncts([Not(part) for part in inner.conditions])
        elif isinstance(inner, Not):
            yield from _conjuncts([inner.condition])
        else:
            yield condition


def warn_of_rules(report: Report, score: Score) -> None:
    """Warns of a score's rules that can never count."""
    for at, rule in enumerate(score.rules):
        if isinstance(rule, EventRule):
            never, why = _matches_nothing(rule.matching), "no event passes its `where`"
        else:
            never, why = contradictory([rule.condition.test]), "no value passes its test"
        if never:
            with report.at("rules", at):
                report.say(f"can never count: {why}")
