"""Checks literals: text, numbers, durations, paths and what else stands on a right side.

Each function takes a report and a piece of data, adds what is wrong to the report and returns None then, or returns the
checked value.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import re2

from schemas.instants import DURATION_MS_MAX, parse_duration
from segments.literals import compiled
from segments.report import Report, shown
from segments.values import Number, number

TEXT_MAX = 10_000
# a path is tried at each of its dots
PATH_MAX = 1_000
_SHORT = 64
_MONTHS = re.compile(r"[0-9] ?(mo|mon|months?|y|yrs?|years?)(?![a-z])", re.IGNORECASE)


def check_text(report: Report, found: Any) -> str | None:
    """Text that isn't empty."""
    return _check_text(report, found, TEXT_MAX)


def check_path(report: Report, found: Any) -> str | None:
    """The path of a trait or a property."""
    return _check_text(report, found, PATH_MAX)


def _check_text(report: Report, found: Any, characters_max: int) -> str | None:
    if not isinstance(found, str) or not found:
        report.expected("text that is not empty", found)
        return None
    if len(found) > characters_max:
        report.say(f"expected text of at most {characters_max} characters, got {len(found)}")
        return None
    return found


def check_boolean(report: Report, found: Any) -> bool | None:
    """`true` or `false`."""
    if not isinstance(found, bool):
        report.expected("true or false", found)
        return None
    return found


def check_true(report: Report, found: Any) -> None:
    """`true`, where there is nothing else to say."""
    if found is not True:
        report.expected("true", found)


def check_word(report: Report, found: Any, words: Iterable[str], what: str) -> str | None:
    """One of `words`; `what` is what the error calls them."""
    words = tuple(words)
    if isinstance(found, str) and found in words:
        return found
    hint = report.close_to(found, words) if isinstance(found, str) else ""
    report.say(f"expected {what}, got {shown(found)}{hint}")
    return None


def check_number(report: Report, found: Any) -> Number | None:
    """A number, or text that is one."""
    exact = number(found) if _held(found) else None
    if exact is None:
        report.expected("a number" if _held(found) else "a number that a double can hold", found)
    return exact


def _held(found: Any) -> bool:
    """False for a number that no double can hold: data that wasn't read from text has them too."""
    try:
        return not isinstance(found, int | float) or math.isfinite(found)
    except OverflowError:
        return False


def check_integer(report: Report, found: Any, low: int, high: int) -> int | None:
    """A whole number of `low` to `high`."""
    exact = check_number(report, found)
    if exact is None:
        return None
    if exact != int(exact) or not low <= exact <= high:
        report.expected(f"a whole number from {low} to {high}", found)
        return None
    return int(exact)


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


def check_duration(report: Report, found: Any, *, zero: bool = False) -> int | None:
    """Milliseconds of a duration: more than zero (or from zero on), at most 36,525 d."""
    duration_ms = parse_duration(found) if isinstance(found, str) else None
    if duration_ms is None:
        hint = "a duration such as 90s, 12h or 1d12h"
        if isinstance(found, str) and _MONTHS.search(found[:_SHORT]):
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


def check_literal(report: Report, found: Any) -> Any:
    """A scalar that a value can equal: text, number or boolean."""
    if found is None or found == "":
        report.say(f"expected a value, got {shown(found)}; for presence use `exists`")
        return None
    if isinstance(found, bool):
        return found
    if isinstance(found, str):
        return check_text(report, found)
    if isinstance(found, int | float):
        return check_number(report, found)
    report.expected("text, a number or a boolean", found)
    return None


def check_literals(report: Report, found: Any) -> tuple[Any, ...] | None:
    """A list of at least one literal."""
    if not isinstance(found, list) or not found:
        report.expected("a list of at least one value", found)
        return None
    checked = []
    for at, item in enumerate(found):
        with report.at(at):
            checked.append(check_literal(report, item))
    return None if any(item is None for item in checked) else tuple(checked)


def check_pattern(report: Report, found: Any, *, ignore_case: bool = False) -> str | None:
    """An RE2 expression, which is matched in linear time whatever it is; with `ignore_case`, once it is folded as well."""
    text = check_text(report, found)
    if text is None:
        return None
    try:
        compiled(text, ignore_case)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        folded = ", its case folded" if ignore_case else ""
        report.say(f"expected an RE2 expression, got {shown(text)}{folded}: {said[:200]}")
        return None
    return text
