"""Checks conditions: heads, event names, measures, and what may stand beside each of them."""

from collections.abc import Iterable
from typing import Any

from segments.check_values import (
    COUNT_OPERATORS,
    DATE_LATER,
    DATE_OPERATORS,
    OPERATORS,
    OPERATORS_LATER,
    check_duration,
    check_ignore_case,
    check_number,
    check_test,
    check_tests,
    check_text,
    check_where,
)
from segments.conditions import (
    All,
    Any_,
    Condition,
    EventIs,
    Everyone,
    InSegment,
    Measure,
    Names,
    Not,
    Test,
    TraitIs,
    Where,
)
from segments.report import Report

DEPTH_MAX = 16
CONDITIONS_MAX = 256
THRESHOLD_MAX = 10_000
NAMES_MAX = 1_000

_HEADS = ("all", "any", "none", "not", "everyone", "trait", "event", "segment")
_HEADS_LATER = ("known", "sequence", "score", "subscribed", "listed", "sample", "held")
_MEASURES = ("count", "sum", "last_at")
_MEASURES_LATER = ("avg", "min", "max", "distinct", "first_at", "earliest", "latest", "regularly")
_EVENT_KEYS = ("event", "where", "within", *_MEASURES, "tz")
_EVENT_LATER = ("ago", "since", "until", "calendar", "local_time", "weekdays", "by", *_MEASURES_LATER)
_COUNT_ONCE = Measure("count", (Test("gte", 1),))


def check_zone(report: Report, body: dict[str, Any]) -> None:
    """`tz` of a segment or a condition: UTC is all there is yet."""
    if body.get("tz", "UTC") != "UTC":
        with report.at("tz"):
            if isinstance(body["tz"], str) and body["tz"]:
                report.say(f"a time zone other than UTC is not supported yet, got {body['tz']!r}")
            else:
                report.expected("an IANA time zone", body["tz"])


class ConditionChecker:
    """Checks one segment's condition; `seen` counts the heads in it."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.seen = 0

    def check(self, found: Any, depth: int) -> Condition | None:
        """The condition in `found`, at that depth (the root is 1), or None once what is wrong has been reported."""
        report = self.report
        self.seen += 1
        if self.seen > CONDITIONS_MAX:
            return None
        if depth > DEPTH_MAX:
            report.say(f"expected at most {DEPTH_MAX} levels of conditions, got more")
            return None
        if not isinstance(found, dict) or not found:
            report.expected(f"a condition (a mapping with one of {', '.join(_HEADS)})", found)
            return None
        heads = [key for key in found if key in _HEADS or key in _HEADS_LATER]
        if "event" in heads and "sequence" not in heads:
            heads = [head for head in heads if head == "event" or head in _HEADS]
        if len(heads) > 1:
            report.say(f"expected one head, got {' and '.join(map(repr, heads))}; join conditions with `all` or `any`")
            return None
        if not heads:
            for key in found:
                report.unknown_key(key, _HEADS, _HEADS_LATER)
            return None
        head = heads[0]
        if head in _HEADS_LATER:
            report.unknown_key(head, _HEADS, _HEADS_LATER)
            return None
        checked: Condition | None = getattr(self, f"_check_{head}")(found, depth)
        return checked

    def _only(self, found: dict[str, Any], known: Iterable[str], later: Iterable[str] = ()) -> None:
        known = tuple(known)
        for key in found:
            if key not in known:
                self.report.unknown_key(key, known, later)

    def _parts(self, found: dict[str, Any], head: str, depth: int) -> tuple[Condition, ...]:
        self._only(found, (head,))
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

    def _check_all(self, found: dict[str, Any], depth: int) -> Condition:
        return All(self._parts(found, "all", depth))

    def _check_any(self, found: dict[str, Any], depth: int) -> Condition:
        return Any_(self._parts(found, "any", depth))

    def _check_none(self, found: dict[str, Any], depth: int) -> Condition:
        return Not(Any_(self._parts(found, "none", depth)))

    def _check_not(self, found: dict[str, Any], depth: int) -> Condition | None:
        self._only(found, ("not",))
        with self.report.at("not"):
            condition = self.check(found["not"], depth + 1)
        return None if condition is None else Not(condition)

    def _check_everyone(self, found: dict[str, Any], depth: int) -> Condition:
        self._only(found, ("everyone",))
        if found["everyone"] is not True:
            with self.report.at("everyone"):
                self.report.expected("true", found["everyone"])
        return Everyone()

    def _check_segment(self, found: dict[str, Any], depth: int) -> Condition | None:
        self._only(found, ("segment",))
        with self.report.at("segment"):
            id = check_text(self.report, found["segment"])
        return None if id is None else InSegment(id)

    def _check_trait(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        operators = [key for key in found if key in OPERATORS or key == "unchanged_for"]
        known = ("trait", *OPERATORS, "unchanged_for", "ignore_case", "tz")
        self._only(found, known, OPERATORS_LATER)
        check_zone(report, found)
        with report.at("trait"):
            path = check_text(report, found["trait"])
        if len(operators) != 1:
            if not operators and any(key in OPERATORS_LATER or key not in known for key in found):
                return None  # already said
            got = " and ".join(map(repr, operators)) or "none"
            report.say(f"expected one operator in a trait condition, got {got}")
            return None
        test = check_test(report, operators[0], found[operators[0]], check_ignore_case(report, found))
        return None if path is None or test is None else TraitIs(path, test)

    def _check_event(self, found: dict[str, Any], depth: int) -> Condition | None:
        report = self.report
        self._only(found, _EVENT_KEYS, _EVENT_LATER)
        check_zone(report, found)
        with report.at("event"):
            names = _check_names(report, found["event"])
        where: Where | None = None
        if "where" in found:
            with report.at("where"):
                where = check_where(report, found["where"])
        within_ms = None
        if "within" in found:
            with report.at("within"):
                within_ms = check_duration(report, found["within"])
        measure = self._check_measure(found)
        return None if names is None or measure is None else EventIs(names, where, within_ms, measure)

    def _check_measure(self, found: dict[str, Any]) -> Measure | None:
        report = self.report
        measures = [key for key in found if key in _MEASURES]
        if not measures:
            return _COUNT_ONCE
        if len(measures) > 1:
            report.say(f"expected at most one measure, got {' and '.join(map(repr, measures))}")
            return None
        kind = measures[0]
        with report.at(kind):
            return getattr(self, f"_check_{kind}")(found[kind])  # type: ignore[no-any-return]

    def _check_count(self, found: Any) -> Measure | None:
        report = self.report
        if not isinstance(found, dict):
            exact = check_number(report, found)
            tests: tuple[Test, ...] | None = None if exact is None else (Test("eq", exact),)
        else:
            tests = check_tests(report, found, COUNT_OPERATORS, ())
        if tests is None:
            return None
        for test in tests:
            for threshold in test.argument if isinstance(test.argument, tuple) else (test.argument,):
                if threshold > THRESHOLD_MAX:
                    report.say(f"expected a threshold of at most {THRESHOLD_MAX}, got {threshold}")
                    return None
        return Measure("count", tests)

    def _check_sum(self, found: Any) -> Measure | None:
        report = self.report
        if not isinstance(found, dict) or "of" not in found:
            report.expected("a mapping with `of` and a number test", found)
            return None
        with report.at("of"):
            path = check_text(report, found["of"])
        tests = check_tests(report, {k: v for k, v in found.items() if k != "of"}, COUNT_OPERATORS, ())
        return None if path is None or tests is None else Measure("sum", tests, path)

    def _check_last_at(self, found: Any) -> Measure | None:
        report = self.report
        tests = check_tests(report, found, DATE_OPERATORS, DATE_LATER)
        if tests is not None and len(tests) != 1:
            report.say(f"expected one date operator, got {len(tests)}")
            return None
        return None if tests is None else Measure("last_at", tests)


def _check_names(report: Report, found: Any) -> Names | None:
    if found == "*":
        return Names(except_=((), ()))
    if isinstance(found, str):
        text = check_text(report, found)
        return None if text is None else Names((text,))
    if isinstance(found, list) and found:
        return _check_name_list(report, found)
    if isinstance(found, dict) and list(found) == ["prefix"]:
        with report.at("prefix"):
            prefix = check_text(report, found["prefix"])
        return None if prefix is None else Names(prefix=prefix)
    if isinstance(found, dict) and list(found) == ["any_except"]:
        with report.at("any_except"):
            return _check_exceptions(report, found["any_except"])
    report.expected('a name, a list of names, "*", {prefix: …} or {any_except: […]}', found)
    return None


def _check_name_list(report: Report, found: list[Any]) -> Names | None:
    before = len(report.errors)
    if len(found) > NAMES_MAX:
        report.say(f"expected at most {NAMES_MAX} names, got {len(found)}")
    for at, item in enumerate(found):
        with report.at(at):
            if item == "*":
                report.say("expected a name, got '*'; for any event write `event: \"*\"`")
            else:
                check_text(report, item)
    return None if len(report.errors) > before else Names(tuple(sorted(set(found))))


def _check_exceptions(report: Report, found: Any) -> Names | None:
    if not isinstance(found, list) or not found:
        report.expected("a list of names or {prefix: …}", found)
        return None
    before = len(report.errors)
    names, prefixes = set(), set()
    for at, item in enumerate(found):
        with report.at(at):
            if isinstance(item, dict) and list(item) == ["prefix"]:
                with report.at("prefix"):
                    prefixes.add(check_text(report, item["prefix"]))
            else:
                names.add(check_text(report, item))
    if len(report.errors) > before:
        return None
    return Names(except_=(tuple(sorted(filter(None, names))), tuple(sorted(filter(None, prefixes)))))
