"""The operators as the oracle has them (page section 5): each a function of value or None, operand, ignore_case, here."""

import operator
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from typing import Any

import re2

from tests import oracle_calendar as calendar
from tests.oracle_contact import Here
from tests.oracle_values import duration, equal, folded, instant, look_up, number_of, present

Test = Callable[[Any, Any, bool, Here], bool]


def where_holds(where: dict[str, Any], look: Callable[[str], Any], here: Here) -> bool:
    """Whether everything in the `where` holds, of what `look` finds at each path."""
    for head, combine in COMBINE.items():
        if list(where) == [head] and isinstance(where[head], list) and isinstance(where[head][0], dict):
            return combine([where_holds(part, look, here) for part in where[head]])
    return all(passes(look(path), test, here) for path, test in where.items())


def passes(value: Any, test: Any, here: Here) -> bool:
    """Whether the value passes every operator of the test; a bare scalar means `eq`, a bare list `in`."""
    if not isinstance(test, dict):
        test = {"in" if isinstance(test, list) else "eq": test}
    fold = test.get("ignore_case", False)
    tests = {name: operand for name, operand in test.items() if name != "ignore_case"}
    return all(OPERATORS[name](value, right_side(name, x, here), fold, here) for name, x in tests.items())


def right_side(name: str, operand: Any, here: Here) -> Any:
    """The operand, or the value that the trait it names has now (None where it has none)."""
    if isinstance(operand, dict) and list(operand) == ["trait"] and name not in ("any_item", "no_item"):
        return look_up(here.contact.traits, operand["trait"])
    return operand


COMBINE: dict[str, Callable[[Iterable[bool]], bool]] = {
    "all": all,
    "any": any,
    "none": lambda answers: not any(answers),
}


# ---- numbers ----


def within_bounds(number: Fraction, bounds: list[Any]) -> bool:
    lowest, highest = map(number_of, bounds)
    assert lowest is not None and highest is not None, bounds
    return lowest <= number <= highest


def compared(compare: Callable[[Fraction, Fraction], bool]) -> Callable[[Fraction, Any], bool]:
    """The comparison with what may be a number or not; false where it is none."""

    def test(number: Fraction, operand: Any) -> bool:
        limit = number_of(operand)
        return limit is not None and compare(number, limit)

    return test


NUMBER_TESTS: dict[str, Callable[[Fraction, Any], bool]] = {
    name: compared(getattr(operator, python))
    for name, python in {"eq": "eq", "ne": "ne", "gt": "gt", "gte": "ge", "lt": "lt", "lte": "le"}.items()
}
NUMBER_TESTS["between"] = within_bounds


def number_passes(number: Fraction, tests: Any) -> bool:
    """Whether the number passes every number test; a bare number is `eq`."""
    tests = tests if isinstance(tests, dict) else {"eq": tests}
    return all(NUMBER_TESTS[name](number, limit) for name, limit in tests.items())


def numeric(name: str) -> Test:
    """The number test as an operator; false for what is no number."""

    def test(value: Any, operand: Any, fold: bool, here: Here) -> bool:
        number = number_of(value)
        return number is not None and NUMBER_TESTS[name](number, operand)

    return test


# ---- texts, equality, arrays ----


def same(value: Any, operand: Any, fold: bool, here: Here) -> bool:
    return present(value) and present(operand) and equal(value, operand, fold)


def one_of(value: Any, operands: Any, fold: bool, here: Here) -> bool:
    return isinstance(operands, list) and any(same(value, operand, fold, here) for operand in operands)


def textual(compare: Callable[[str, str], bool]) -> Test:
    """A test of a text, or of some text in an array; a number is none."""

    def test(value: Any, operand: Any, fold: bool, here: Here) -> bool:
        texts = value if isinstance(value, list) else [value]
        return isinstance(operand, str) and any(
            compare(folded(text, fold), folded(operand, fold)) for text in texts if isinstance(text, str)
        )

    return test


def matches(value: Any, operand: Any, fold: bool, here: Here) -> bool:
    # (?i) folds the ASCII letters of the expression; what folding may lengthen, such as ß, is none of its syntax.
    wide = re.sub(r"[^\x00-\x7f]+", lambda found: folded(found[0], fold), operand)
    search = re2.compile(f"(?i){wide}" if fold else operand).search
    texts = value if isinstance(value, list) else [value]
    return any(search(folded(text, fold)) is not None for text in texts if isinstance(text, str))


def has(value: Any, operand: Any) -> bool:
    """Whether the value is an array with that element."""
    return isinstance(value, list) and present(operand) and any(equal(element, operand) for element in value)


def has_some(combine: Callable[[Iterable[bool]], bool]) -> Test:
    def test(value: Any, operands: Any, fold: bool, here: Here) -> bool:
        return isinstance(operands, list) and isinstance(value, list) and combine(has(value, x) for x in operands)

    return test


def any_item(value: Any, operand: Any, fold: bool, here: Here) -> bool:
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return any(where_holds(operand, partial(look_up, item), here) for item in items)


# ---- dates ----


def date_passes(name: str, when: int, operand: Any, here: Here) -> bool:
    """Whether the instant passes the date operator of that name."""
    if name in RELATIVE:
        return RELATIVE[name](when, duration(operand), here.now)
    if name in ABSOLUTE:
        limit = instant(operand, here.zone)
        return limit is not None and ABSOLUTE[name](when, limit)
    if name == "on_day":
        days = operand if isinstance(operand, list) else [operand]
        return any(of_day(when, day, here) for day in days)
    today = calendar.local_day(here.now, here.zone)
    if name == "calendar":
        return calendar.lies_in(when, calendar.period_of(operand, today), here.zone)
    try:
        born = calendar.local_day(when, here.zone)
    except OverflowError:  # a number so great that no calendar has its day
        return False
    if name == "anniversary":
        return calendar.has_anniversary(born, calendar.period_of(operand, today))
    return number_passes(Fraction(calendar.age(born, today)), operand)


def of_day(when: int, day: str, here: Here) -> bool:
    first = calendar.date.fromisoformat(day)
    return calendar.lies_in(when, (first, calendar.days_from(first, 1)), here.zone)


def dated(name: str) -> Test:
    """The date operator as a test; false for what is no date."""

    def test(value: Any, operand: Any, fold: bool, here: Here) -> bool:
        when = instant(value, here.zone)
        return when is not None and date_passes(name, when, operand, here)

    return test


ABSOLUTE: dict[str, Callable[[int, int], bool]] = {
    "before": operator.lt,
    "after": operator.gt,
    "on_or_before": operator.le,
    "on_or_after": operator.ge,
}
RELATIVE: dict[str, Callable[[int, int, int], bool]] = {
    "within_last": lambda when, length, now: now - length < when <= now,
    "older_than": lambda when, length, now: when <= now - length,
    "within_next": lambda when, length, now: now < when <= now + length,
    "further_than": lambda when, length, now: when > now + length,
}
CALENDAR = ("calendar", "anniversary", "age")
DATES = (*ABSOLUTE, *RELATIVE, "on_day", *CALENDAR)

OPERATORS: dict[str, Test] = {
    "eq": same,
    "ne": lambda value, x, fold, here: not same(value, x, fold, here),
    "in": one_of,
    "not_in": lambda value, xs, fold, here: not one_of(value, xs, fold, here),
    "exists": lambda value, wanted, fold, here: present(value) == wanted,
    "contains": textual(lambda text, x: x in text),
    "starts_with": textual(lambda text, x: text.startswith(x)),
    "ends_with": textual(lambda text, x: text.endswith(x)),
    "matches": matches,
    "has": lambda value, x, fold, here: has(value, x),
    "has_any": has_some(any),
    "has_all": has_some(all),
    "any_item": any_item,
    "no_item": lambda value, where, fold, here: not any_item(value, where, fold, here),
}
OPERATORS |= {name: numeric(name) for name in ("gt", "gte", "lt", "lte", "between")}
OPERATORS |= {name: dated(name) for name in DATES}
