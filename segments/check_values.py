"""Checks the right sides: literals, numbers, durations, instants, operators, and the `where` of events.

Each function takes a report and a piece of data, adds what is wrong to the report and returns None then, or returns the
checked value.
"""

from collections.abc import Callable, Mapping
from typing import Any

import re2

from schemas.instants import DURATION_MS_MAX, parse_duration, parse_instant
from segments.conditions import Test, Where
from segments.report import Report, shown
from segments.values import Number, number

WHERE_DEPTH_MAX = 16
TEXT_MAX = 10_000

NUMBER_OPERATORS = ("gt", "gte", "lt", "lte", "between")
COUNT_OPERATORS = ("eq", "ne", *NUMBER_OPERATORS)
TEXT_OPERATORS = ("contains", "starts_with", "ends_with", "matches")
INSTANT_OPERATORS = ("before", "after", "on_or_before", "on_or_after")
ROLLING_OPERATORS = ("within_last", "older_than", "within_next", "further_than")
DATE_OPERATORS = (*INSTANT_OPERATORS, *ROLLING_OPERATORS)
FOLDING_OPERATORS = ("eq", "ne", "in", "not_in", *TEXT_OPERATORS)
DATE_LATER = ("on_day", "calendar", "anniversary")
OPERATORS_LATER = (*DATE_LATER, "age")


def check_number(report: Report, found: Any) -> Number | None:
    """A number, or text that is one."""
    exact = None
    try:
        exact = number(found)
    except OverflowError:
        report.say("expected a number that a double can hold, got a larger one")
        return None
    if exact is None or exact != exact or exact in (float("inf"), float("-inf")):
        report.expected("a number", found)
        return None
    return exact


def check_duration(report: Report, found: Any, *, zero: bool = False) -> int | None:
    """Milliseconds of a duration: more than zero (or from zero on), at most 36,525 d."""
    duration_ms = parse_duration(found) if isinstance(found, str) else None
    if duration_ms is None:
        hint = "a duration such as 90s, 12h or 1d12h"
        if isinstance(found, str) and found[:1].isdigit() and found.rstrip("s").endswith(("mo", "y", "month", "year")):
            hint += " (months and years have no fixed length: see `calendar`)"
        report.expected(hint, found)
        return None
    if duration_ms == 0 and not zero:
        report.expected("a duration of more than zero", found)
        return None
    if duration_ms > DURATION_MS_MAX:
        report.expected("a duration of at most 36525d", found)
        return None
    return duration_ms


def check_instant(report: Report, found: Any) -> int | None:
    """Epoch ms of an absolute instant; a date alone is its midnight in UTC."""
    at_ms = parse_instant(found, offset_required=False) if isinstance(found, str) else None
    if at_ms is None:
        report.expected("an instant such as 2026-03-01 or 2026-03-01T09:30:00Z", found)
    return at_ms


def check_literal(report: Report, found: Any) -> Any:
    """A scalar that a value can equal: text, number or boolean."""
    if found is None or found == "":
        report.say(f"expected a value, got {shown(found)}; for presence use `exists`")
        return None
    if isinstance(found, dict) and set(found) == {"trait"}:
        report.say("a trait on the right side is not supported yet")
        return None
    if isinstance(found, bool):
        return found
    if isinstance(found, str):
        if len(found) > TEXT_MAX:
            report.say(f"expected text of at most {TEXT_MAX} characters, got {len(found)}")
            return None
        return found
    if isinstance(found, int | float):
        return check_number(report, found)
    report.expected("text, a number or a boolean", found)
    return None


def check_literals(report: Report, found: Any) -> tuple[Any, ...] | None:
    """A list of at least one literal."""
    if isinstance(found, dict) and set(found) == {"trait"}:
        report.say("a trait on the right side is not supported yet")
        return None
    if not isinstance(found, list) or not found:
        report.expected("a list of at least one value", found)
        return None
    checked = []
    for at, item in enumerate(found):
        with report.at(at):
            checked.append(check_literal(report, item))
    return None if None in checked else tuple(checked)


def check_between(report: Report, found: Any) -> tuple[Number, Number] | None:
    """Two numbers, the lower one first."""
    if not isinstance(found, list) or len(found) != 2:
        report.expected("a list of two numbers, the lower one first", found)
        return None
    ends = []
    for at, item in enumerate(found):
        with report.at(at):
            ends.append(check_number(report, item))
    low, high = ends
    if low is None or high is None:
        return None
    if low > high:
        report.say(f"expected the lower end first, got [{low}, {high}]; turn them round")
        return None
    return low, high


def check_text(report: Report, found: Any) -> str | None:
    """Text that isn't empty."""
    if not isinstance(found, str) or not found:
        report.expected("text that is not empty", found)
        return None
    if len(found) > TEXT_MAX:
        report.say(f"expected text of at most {TEXT_MAX} characters, got {len(found)}")
        return None
    return found


def check_pattern(report: Report, found: Any) -> str | None:
    """An RE2 expression, which is matched in linear time whatever it is."""
    text = check_text(report, found)
    if text is None:
        return None
    try:
        re2.compile(text, pattern_options())
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        report.say(f"expected an RE2 expression, got {shown(text)}: {said}")
        return None
    return text


def pattern_options() -> Any:
    """How expressions are compiled: errors are raised, not printed, and one may take 1 MiB."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return options


def check_boolean(report: Report, found: Any) -> bool | None:
    """`true` or `false`."""
    if not isinstance(found, bool):
        report.expected("true or false", found)
        return None
    return found


def check_items(report: Report, found: Any) -> Where | None:
    """The `where` of `any_item` and `no_item`."""
    return check_where(report, found, 2)


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
    "any_item": check_items,
    "no_item": check_items,
    **dict.fromkeys(INSTANT_OPERATORS, check_instant),
    **dict.fromkeys(ROLLING_OPERATORS, check_duration),
}
OPERATORS = tuple(_ARGUMENTS)


def check_test(report: Report, operator: str, argument: Any, ignore_case: bool = False) -> Test | None:
    """One operator and its right side."""
    with report.at(operator):
        checked = _ARGUMENTS[operator](report, argument) if operator in _ARGUMENTS else check_duration(report, argument)
    return None if checked is None else Test(operator, checked, ignore_case and operator in FOLDING_OPERATORS)


def check_tests(
    report: Report, found: Any, operators: tuple[str, ...] = OPERATORS, later: tuple[str, ...] = OPERATORS_LATER
) -> tuple[Test, ...] | None:
    """One or more operators in a mapping, all of which must hold, with `ignore_case` beside those that fold."""
    if not isinstance(found, dict) or not found:
        report.expected(f"a mapping with one or more of {', '.join(operators)}", found)
        return None
    before = len(report.errors)
    folds = check_ignore_case(report, found)
    tests = []
    for operator, argument in found.items():
        if operator == "ignore_case" and operators is OPERATORS:
            continue
        if operator not in operators:
            report.unknown_key(operator, operators, later)
            continue
        tests.append(check_test(report, operator, argument, folds))
    if len(report.errors) > before:
        return None
    if not tests:
        report.expected("an operator beside `ignore_case`", found)
        return None
    return tuple(test for test in tests if test is not None)


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


def check_where(report: Report, found: Any, depth: int = 1) -> Where | None:
    """A mapping of property paths to tests, or `all`, `any` or `none` of such mappings."""
    if not isinstance(found, dict) or not found:
        report.expected("a mapping of property paths to tests", found)
        return None
    if depth > WHERE_DEPTH_MAX:
        report.say(f"expected at most {WHERE_DEPTH_MAX} levels of `where`, got more")
        return None
    before = len(report.errors)
    kind = next(iter(found))
    if len(found) == 1 and kind in ("all", "any", "none") and _is_list_of_mappings(found[kind]):
        parts = []
        for at, item in enumerate(found[kind]):
            with report.at(kind, at):
                parts.append(check_where(report, item, depth + 1))
        return None if len(report.errors) > before else Where(kind, tuple(part for part in parts if part is not None))
    tested: list[Where] = []
    for path, test in found.items():
        with report.at(path):
            tested.extend(_check_path(report, path, test))
    return None if len(report.errors) > before else Where("all", tuple(tested))


def _is_list_of_mappings(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, dict) for item in found) and bool(found)


def _check_path(report: Report, path: str, found: Any) -> list[Where]:
    if not path:
        report.say("expected a property path, got ''")
        return []
    if isinstance(found, dict) and set(found) != {"trait"}:
        tests = check_tests(report, found)
    elif isinstance(found, list):
        items = check_literals(report, found)
        tests = None if items is None else (Test("in", items),)
    else:
        literal = check_literal(report, found)
        tests = None if literal is None else (Test("eq", literal),)
    return [] if tests is None else [Where("path", path=path, test=test) for test in tests]
