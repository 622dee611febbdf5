"""Checks conditions: their heads, and what may stand beside each of them."""

from collections.abc import Callable, Mapping
from typing import Any

from segments.check_events import MATCHING_KEYS, RANGE_KEYS, check_matching, check_range
from segments.check_measures import MEASURES, check_measure
from segments.check_sequences import check_sequence
from segments.check_tests import DATE_OPERATORS, ORDER_OPERATORS, Scope, check_one_test, check_test, check_trait
from segments.check_times import check_tz
from segments.check_values import check_boolean, check_duration, check_number, check_path, check_text, check_true
from segments.conditions import (
    All,
    Any_,
    Condition,
    EventIs,
    Everyone,
    Held,
    InSegment,
    Known,
    Listed,
    Not,
    Sample,
    ScoreIs,
    Subscribed,
    Tz,
)
from segments.limits import Limits
from segments.report import Place, Report

_EVENT_KEYS = ("event", *MATCHING_KEYS, *RANGE_KEYS, "by", *MEASURES, "tz")


class ConditionChecker:
    """Checks the condition of the segment `id`, whose zone is `tz`.

    `seen` counts the heads and steps in it. `named` and `scores` gather which segments and scores it refers to, and
    where; `asks_events`: whether there is an event or a sequence condition.
    """

    def __init__(self, report: Report, id: str, tz: Tz, limits: Limits) -> None:
        self.report = report
        self.limits = limits
        self.seen = 0
        self.named: list[tuple[str, Place]] = []
        self.scores: list[tuple[str, Place]] = []
        self.asks_events = False
        self._id = id
        self._tz = tz

    def check(self, found: Any, depth: int) -> Condition | None:
        """The condition in `found`, at that depth (the root is 1), or None once what is wrong has been reported."""
        report = self.report
        self.seen += 1
        if self.seen > self.limits.conditions:
            return None
        if depth > self.limits.depth:
            report.say(f"expected at most {self.limits.depth} levels of conditions, got more")
            return None
        if not isinstance(found, dict) or not found:
            report.expected(f"a condition (a mapping with one of {', '.join(HEADS)})", found)
            return None
        heads = [key for key in found if key in HEADS]
        if len(heads) > 1:
            report.say(f"expected one head, got {' and '.join(map(repr, heads))}; join conditions with `all` or `any`")
            return None
        if not heads:
            report.only(found, HEADS)
            return None
        return _HEADS[heads[0]](self, found, depth)

    def _parts(self, found: dict[str, Any], head: str, depth: int) -> tuple[Condition, ...]:
        self.report.only(found, (head,))
        listed = found[head]
        with self.report.at(head):
            if not isinstance(listed, list) or not listed:
                self.report.expected("a list of at least one condition", listed)
                return ()
            parts = []
            for at, item in enumerate(listed):
                with self.report.at(at):
                    parts.append(self.check(item, depth + 1))
        return tuple(part for part in parts if part is not None)

    def _all(self, found: dict[str, Any], depth: int) -> Condition:
        return All(self._parts(found, "all", depth))

    def _any(self, found: dict[str, Any], depth: int) -> Condition:
        return Any_(self._parts(found, "any", depth))

    def _none(self, found: dict[str, Any], depth: int) -> Condition:
        return Not(Any_(self._parts(found, "none", depth)))

    def _not(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.report.only(found, ("not",))
        with self.report.at("not"):
            condition = self.check(found["not"], depth + 1)
        return None if condition is None else Not(condition)

    def _held(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        report.only(found, ("held", "for"))
        with report.at("held"):
            condition = self.check(found["held"], depth + 1)
        for_ms = None
        with report.at("for"):
            if "for" in found:
                for_ms = check_duration(report, found["for"])
            else:
                report.say("expected a duration, got none")
        return None if condition is None or for_ms is None else Held(condition, for_ms)

    def _everyone(self, found: dict[str, Any], depth: int) -> Condition:
        self.report.only(found, ("everyone",))
        with self.report.at("everyone"):
            check_true(self.report, found["everyone"])
        return Everyone()

    def _known(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.report.only(found, ("known",))
        with self.report.at("known"):
            scope = Scope(self._tz)
            test = check_one_test(self.report, found["known"], scope, DATE_OPERATORS, "date operator")
        return None if test is None else Known(test)

    def _segment(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.report.only(found, ("segment",))
        with self.report.at("segment"):
            id = check_text(self.report, found["segment"])
            if id is None:
                return None
            self.named.append((id, self.report.here()))
        return InSegment(id)

    def _score(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        known = ("score", *ORDER_OPERATORS)
        report.only(found, known)
        with report.at("score"):
            id = check_text(report, found["score"])
            if id is not None:
                self.scores.append((id, report.here()))
        operators = [key for key in found if key in ORDER_OPERATORS]
        if not operators and any(key not in known for key in found):
            return None  # what was meant as the operator has been said to be none
        if len(operators) != 1:
            got = " and ".join(map(repr, operators)) or "none"
            report.say(f"expected one of {', '.join(ORDER_OPERATORS)} beside `score`, got {got}")
            return None
        test = check_test(report, operators[0], found[operators[0]], Scope(traits=False))
        return None if id is None or test is None else ScoreIs(id, test)

    def _trait(self, found: dict[str, Any], depth: int) -> Condition | None:
        return check_trait(self.report, found, check_tz(self.report, found, self._tz))

    def _event(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        self.asks_events = True
        before = len(report.errors)
        report.only(found, _EVENT_KEYS)
        tz = check_tz(report, found, self._tz)
        matching = check_matching(report, found, "event", tz)
        asked = check_range(report, found, tz)
        by = None
        if "by" in found:
            with report.at("by"):
                by = check_path(report, found["by"])
        measure = check_measure(report, found, tz)
        if matching is None or measure is None or len(report.errors) > before:
            return None
        return EventIs(matching, asked, measure, by)

    def _sequence(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.asks_events = True
        steps = found["sequence"]
        self.seen += len(steps) if isinstance(steps, list) else 0
        if self.seen > self.limits.conditions:
            return None
        return check_sequence(self.report, found, self._tz)

    def _subscribed(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.report.only(found, ("subscribed", "default"))
        with self.report.at("subscribed"):
            group = check_text(self.report, found["subscribed"])
        with self.report.at("default"):
            default = check_boolean(self.report, found.get("default", False))
        return None if group is None or default is None else Subscribed(group, default)

    def _listed(self, found: dict[str, Any], depth: int) -> Condition | None:
        self.report.only(found, ("listed",))
        with self.report.at("listed"):
            name = check_text(self.report, found["listed"])
        return None if name is None else Listed(name)

    def _sample(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        report.only(found, ("sample",))
        body = found["sample"]
        with report.at("sample"):
            if not isinstance(body, dict) or "percent" not in body:
                report.expected("a mapping with `percent`", body)
                return None
            report.only(body, ("percent", "salt"))
            with report.at("percent"):
                percent = check_number(report, body["percent"])
                if percent is not None and not 0 <= percent <= 100:
                    report.expected("a number from 0 to 100", body["percent"])
            with report.at("salt"):
                salt = check_text(report, body.get("salt", self._id))
        return None if percent is None or salt is None else Sample(percent, salt)


_HEADS: Mapping[str, Callable[[ConditionChecker, dict[str, Any], int], Condition | None]] = {
    "all": ConditionChecker._all,
    "any": ConditionChecker._any,
    "none": ConditionChecker._none,
    "not": ConditionChecker._not,
    "everyone": ConditionChecker._everyone,
    "known": ConditionChecker._known,
    "trait": ConditionChecker._trait,
    "event": ConditionChecker._event,
    "sequence": ConditionChecker._sequence,
    "score": ConditionChecker._score,
    "segment": ConditionChecker._segment,
    "subscribed": ConditionChecker._subscribed,
    "listed": ConditionChecker._listed,
    "sample": ConditionChecker._sample,
    "held": ConditionChecker._held,
}
HEADS = tuple(_HEADS)
