"""Checks tests of values: an operator with its right side, trait conditions, and the `where` of events."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from segments.check_times import check_days, check_instant, check_span
from segments.check_values import (
    check_between,
    check_boolean,
    check_duration,
    check_literal,
    check_literals,
    check_number,
    check_path,
    check_pattern,
    check_text,
)
from segments.conditions import UTC, Test, TraitIs, TraitRef, Tz, Where
from segments.report import Report, shown

WHERE_DEPTH_MAX = 16

ORDER_OPERATORS = ("gt", "gte", "lt", "lte", "between")
NUMBER_OPERATORS = ("eq", "ne", *ORDER_OPERATORS)
TEXT_OPERATORS = ("contains", "starts_with", "ends_with", "matches")
INSTANT_OPERATORS = ("before", "after", "on_or_before", "on_or_after")
ROLLING_OPERATORS = ("within_last", "older_than", "within_next", "further_than")
DATE_OPERATORS = (*INSTANT_OPERATORS, "on_day", *ROLLING_OPERATORS, "calendar", "anniversary", "age")
FOLDING_OPERATORS = ("eq", "ne", "in", "not_in", *TEXT_OPERATORS)
# those on whose right side a trait may stand
_TRAIT_TAKING = (
    *("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "contains", "starts_with", "ends_with"),
    *("has", "has_any", "has_all", *INSTANT_OPERATORS),
)


@dataclasses.dataclass(frozen=True)
class Scope:
    """What surrounds a test: the zone of its condition, how deep in a `where`, and whether it may name a trait.

    `numbers`: what is tested is a number, whatever its operator.
    """

    tz: Tz = UTC
    traits: bool = True
    depth: int = 0
    numbers: bool = False


NUMBER_SCOPE = Scope(traits=False, numbers=True)


def check_age(report: Report, found: Any) -> tuple[Test, ...] | None:
    """The number tests of an age in whole years."""
    return check_tests(report, found, NUMBER_SCOPE, NUMBER_OPERATORS)


_ARGUMENTS: Mapping[str, Callable[[Report, Any], Any]] = {
    "eq": check_literal,
    "ne": check_literal,
    "in": check_literals,
    "not_in": check_literals,
    **dict.fromkeys(("gt", "gte", "lt", "lte"), check_number),
    "between": check_between,
    "exists": check_boolean,
    **dict.fromkeys(("contains", "starts_with", "ends_with"), check_text),
    "matches": check_pattern,
    "has": check_literal,
    "has_any": check_literals,
    "has_all": check_literals,
    "on_day": check_days,
    "unchanged_for": check_duration,
    **dict.fromkeys(ROLLING_OPERATORS, check_duration),
    "calendar": check_span,
    "anniversary": check_span,
    "age": check_age,
}
OPERATORS = (
    *(operator for operator in _ARGUMENTS if operator != "unchanged_for"),
    "any_item",
    "no_item",
    *INSTANT_OPERATORS,
)
TRAIT_OPERATORS = (*OPERATORS, "unchanged_for")


def check_test(report: Report, operator: str, found: Any, scope: Scope, ignore_case: bool = False) -> Test | None:
    """One operator and its right side."""
    with report.at(operator):
        checked = _check_argument(report, operator, found, scope)
        if operator == "matches" and ignore_case and checked is not None:
            checked = check_pattern(report, checked, ignore_case=True)
    return None if checked is None else Test(operator, checked, ignore_case and operator in FOLDING_OPERATORS, scope.tz)


def _check_argument(report: Report, operator: str, found: Any, scope: Scope) -> Any:
    if operator in ("any_item", "no_item"):
        return check_where(report, found, scope)
    if isinstance(found, dict) and "trait" in found:
        return _check_reference(report, operator, found, scope)
    if operator in INSTANT_OPERATORS:
        return check_instant(report, found, scope.tz)
    if scope.numbers and operator in ("eq", "ne"):
        return check_number(report, found)
    return _ARGUMENTS[operator](report, found)


def _check_reference(report: Report, operator: str, found: dict[str, Any], scope: Scope) -> TraitRef | None:
    report.only(found, ("trait",))
    if operator not in _TRAIT_TAKING:
        report.say(f"expected a literal, got a trait; {operator!r} can't be compared with one")
        return None
    if not scope.traits:
        report.say("expected a literal, got a trait; what is measured can't be compared with one")
        return None
    with report.at("trait"):
        path = check_path(report, found["trait"])
    return None if path is None else TraitRef(path)


def check_tests(
    report: Report, found: Any, scope: Scope, operators: tuple[str, ...] = OPERATORS
) -> tuple[Test, ...] | None:
    """One or more operators in a mapping, all of which must hold, with `ignore_case` beside those that fold."""
    if not isinstance(found, dict) or not found:
        report.expected(f"a mapping with one or more of {', '.join(operators)}", found)
        return None
    before = len(report.errors)
    folds = operators is OPERATORS and check_ignore_case(report, found)
    tests = []
    for operator, argument in found.items():
        if operator == "ignore_case" and operators is OPERATORS:
            continue
        if operator not in operators:
            report.unknown_key(operator, operators)
            continue
        tests.append(check_test(report, operator, argument, scope, folds))
    if len(report.errors) > before:
        return None
    if not tests:
        report.expected("an operator beside `ignore_case`", found)
        return None
    return tuple(test for test in tests if test is not None)


def check_one_test(report: Report, found: Any, scope: Scope, operators: tuple[str, ...], what: str) -> Test | None:
    """Exactly one of `operators` in a mapping; `what` is what the error calls it."""
    tests = check_tests(report, found, scope, operators)
    if tests is None:
        return None
    if len(tests) != 1:
        report.say(f"expected one {what}, got {' and '.join(repr(test.operator) for test in tests)}")
        return None
    return tests[0]


def check_ignore_case(report: Report, found: Mapping[str, Any]) -> bool:
    """Whether `ignore_case` stands in the mapping, and beside an operator that it means something to."""
    if "ignore_case" not in found:
        return False
    with report.at("ignore_case"):
        if not isinstance(found["ignore_case"], bool):
            report.expected("true or false", found["ignore_case"])
        elif not any(operator in found for operator in FOLDING_OPERATORS):
            report.say(f"expected it beside one of {', '.join(FOLDING_OPERATORS)}")
    return found["ignore_case"] is True


def check_trait(report: Report, found: dict[str, Any], tz: Tz, beside: Iterable[str] = ()) -> TraitIs | None:
    """A trait condition; the keys in `beside` are somebody else's. Its own `tz` is in `tz` already."""
    known = ("trait", *TRAIT_OPERATORS, "ignore_case", "tz", *beside)
    report.only(found, known)
    with report.at("trait"):
        path = check_path(report, found["trait"])
    operators = [key for key in found if key in TRAIT_OPERATORS]
    if len(operators) != 1:
        if not operators and any(key not in known for key in found):
            return None  # what was meant as the operator has been said to be none
        report.say(f"expected one operator in a trait condition, got {' and '.join(map(repr, operators)) or 'none'}")
        return None
    test = check_test(report, operators[0], found[operators[0]], Scope(tz), check_ignore_case(report, found))
    return None if path is None or test is None else TraitIs(path, test)


def check_where(report: Report, found: Any, scope: Scope) -> Where | None:
    """A mapping of property paths to tests, or `all`, `any` or `none` of such mappings."""
    if not isinstance(found, dict) or not found:
        report.expected("a mapping of property paths to tests", found)
        return None
    scope = dataclasses.replace(scope, depth=scope.depth + 1)
    if scope.depth > WHERE_DEPTH_MAX:
        report.say(f"expected at most {WHERE_DEPTH_MAX} levels of `where`, got more")
        return None
    before = len(report.errors)
    kind = next(iter(found))
    if len(found) == 1 and kind in ("all", "any", "none") and _is_list_of_mappings(found[kind]):
        parts = []
        for at, item in enumerate(found[kind]):
            with report.at(kind, at):
                parts.append(check_where(report, item, scope))
        return None if len(report.errors) > before else Where(kind, tuple(part for part in parts if part is not None))
    tested: list[Where] = []
    for path, test in found.items():
        with report.at(path):
            tested.extend(_check_property(report, path, test, scope))
    return None if len(report.errors) > before else Where("all", tuple(tested))


def _is_list_of_mappings(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, dict) for item in found) and bool(found)


def _check_property(report: Report, path: str, found: Any, scope: Scope) -> list[Where]:
    tests: tuple[Test, ...] | None
    if path in ("all", "any", "none") and _is_list_of_mappings(found):
        report.say(f"expected {path!r} with a list as the only key of its `where`, got others beside it")
        return []
    if check_path(report, path) is None:
        return []
    if isinstance(found, dict) and set(found) == {"trait"}:
        report.say(f"expected an operator, got a trait alone; write {{eq: {{trait: {shown(found['trait'])}}}}}")
        return []
    if isinstance(found, dict):
        tests = check_tests(report, found, scope)
    elif isinstance(found, list):
        items = check_literals(report, found)
        tests = None if items is None else (Test("in", items, tz=scope.tz),)
    else:
        literal = check_literal(report, found)
        tests = None if literal is None else (Test("eq", literal, tz=scope.tz),)
    return [] if tests is None else [Where("path", path=path, test=test) for test in tests]
