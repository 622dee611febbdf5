"""Checks what is measured over the events of a condition: `count`, `sum`, `latest`, `regularly` …"""

from collections.abc import Callable, Mapping
from typing import Any

from segments.check_tests import (
    DATE_OPERATORS,
    NUMBER_OPERATORS,
    NUMBER_SCOPE,
    Scope,
    check_one_test,
    check_tests,
    check_where,
)
from segments.check_values import check_duration, check_integer, check_number, check_path
from segments.conditions import Measure, Test, Tz
from segments.report import Report

THRESHOLD_MAX = 10_000
PERIODS_MAX = 1_000
_COUNT_ONCE = Measure("count", (Test("gte", 1),))
_REGULARLY_KEYS = ("every", "periods", "at_least", "times")


def check_measure(report: Report, found: dict[str, Any], tz: Tz) -> Measure | None:
    """The measure of an event condition; where it names none, `count: {gte: 1}`."""
    measures = [key for key in found if key in MEASURES]
    if not measures:
        return _COUNT_ONCE
    if len(measures) > 1:
        report.say(f"expected at most one measure, got {' and '.join(map(repr, measures))}")
        return None
    kind = measures[0]
    with report.at(kind):
        return _MEASURES[kind](report, kind, found[kind], tz)


def _check_count(report: Report, kind: str, found: Any, tz: Tz) -> Measure | None:
    tests: tuple[Test, ...] | None
    if isinstance(found, dict):
        tests = check_tests(report, found, NUMBER_SCOPE, NUMBER_OPERATORS)
    else:
        exact = check_number(report, found)
        tests = None if exact is None else (Test("eq", exact),)
    small = tests is not None and _thresholds_small(report, tests, bare=not isinstance(found, dict))
    return Measure(kind, tests) if tests is not None and small else None


def _thresholds_small(report: Report, tests: tuple[Test, ...], bare: bool = False) -> bool:
    """Whether what is counted is never asked to be more than is kept; `bare`: there is a number and no operator."""
    before = len(report.errors)
    for test in tests:
        several = isinstance(test.argument, tuple)
        for at, threshold in enumerate(test.argument if several else (test.argument,)):
            if threshold > THRESHOLD_MAX:
                with report.at(*(() if bare else (test.operator,)), *((at,) if several else ())):
                    report.say(f"expected a threshold of at most {THRESHOLD_MAX}, got {threshold}")
    return len(report.errors) == before


def _check_value(report: Report, kind: str, found: Any, tz: Tz) -> Measure | None:
    if not isinstance(found, dict) or "of" not in found:
        report.expected("a mapping with `of` and a number test", found)
        return None
    with report.at("of"):
        path = check_path(report, found["of"])
    asked = {key: value for key, value in found.items() if key != "of"}
    if not asked:
        report.say(f"expected a number test beside `of` (one or more of {', '.join(NUMBER_OPERATORS)}), got none")
        return None
    tests = check_tests(report, asked, NUMBER_SCOPE, NUMBER_OPERATORS)
    if path is None or tests is None or (kind == "distinct" and not _thresholds_small(report, tests)):
        return None
    return Measure(kind, tests, path)


def _check_time(report: Report, kind: str, found: Any, tz: Tz) -> Measure | None:
    test = check_one_test(report, found, Scope(tz, traits=False), DATE_OPERATORS, "date operator")
    return None if test is None else Measure(kind, (test,))


def _check_chosen(report: Report, kind: str, found: Any, tz: Tz) -> Measure | None:
    where = check_where(report, found, Scope(tz, traits=False))
    return None if where is None else Measure(kind, where=where)


def _check_regularly(report: Report, kind: str, found: Any, tz: Tz) -> Measure | None:
    if not isinstance(found, dict) or not found:
        report.expected("a mapping with `every`, `periods` and `at_least`", found)
        return None
    before = len(report.errors)
    report.only(found, _REGULARLY_KEYS)
    for key in _REGULARLY_KEYS[:3]:
        if key not in found:
            with report.at(key):
                report.say("expected a value, got none")
    every_ms = periods = at_least = None
    times: int | None = 1
    if "every" in found:
        with report.at("every"):
            every_ms = check_duration(report, found["every"])
    if "periods" in found:
        with report.at("periods"):
            periods = check_integer(report, found["periods"], 1, PERIODS_MAX)
    if "at_least" in found:
        with report.at("at_least"):
            at_least = check_integer(report, found["at_least"], 1, periods or PERIODS_MAX)
    if "times" in found:
        with report.at("times"):
            times = check_integer(report, found["times"], 1, THRESHOLD_MAX)
    if len(report.errors) > before:
        return None
    assert every_ms and periods and at_least and times
    return Measure(kind, every_ms=every_ms, periods=periods, at_least=at_least, times=times)


_MEASURES: Mapping[str, Callable[[Report, str, Any, Tz], Measure | None]] = {
    "count": _check_count,
    **dict.fromkeys(("sum", "avg", "min", "max", "distinct"), _check_value),
    **dict.fromkeys(("first_at", "last_at"), _check_time),
    **dict.fromkeys(("earliest", "latest"), _check_chosen),
    "regularly": _check_regularly,
}
MEASURES = tuple(_MEASURES)
