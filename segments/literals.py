"""Operators against literals that read no date: functions of a value alone, as their answer never changes.

Each maker takes the checked right side and whether case is ignored; the value that the function is given is present, or
None for absent. What a predicate is, and which operators there are beside these: `predicates.py`.
"""

import operator as operators
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import re2

from segments.conditions import Test
from segments.values import Number, decimal, keys_of, number, plain

Fixed = Callable[[Any], bool]
Make = Callable[[Any, bool], Fixed]


# ---- equality -------------------------------------------------------------------------------------------------------


def _eq(literal: Any, ignore_case: bool) -> Fixed:
    return _in((literal,), ignore_case)


def _in(literals: tuple[Any, ...], ignore_case: bool) -> Fixed:
    """Membership by `eq`: text is looked for among all literals as text, numbers and booleans among their own too."""
    fold = str.casefold if ignore_case else str
    texts = frozenset([fold(plain(literal) or "") for literal in literals])
    written = frozenset([fold(literal) for literal in literals if type(literal) is str])
    numbers = frozenset([literal for literal in literals if type(literal) is int or type(literal) is float])
    booleans = frozenset([literal for literal in literals if type(literal) is bool])

    def test(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return (value.casefold() if ignore_case else value) in texts
        if kind is int or kind is float:
            return number(value) in numbers or (bool(written) and fold(plain(value) or "") in written)
        if kind is bool:
            return value in booleans or (bool(written) and ("true" if value else "false") in written)
        return False

    return test


# ---- order ----------------------------------------------------------------------------------------------------------


def _ordered(compare: Callable[[Any, Any], bool]) -> Make:
    def made(threshold: Any, ignore_case: bool) -> Fixed:
        def test(value: Any) -> bool:
            exact = number(value)
            return exact is not None and compare(exact, threshold)

        return test

    return made


def _between(ends: Any, ignore_case: bool) -> Fixed:
    low, high = ends

    def test(value: Any) -> bool:
        exact = number(value)
        return exact is not None and bool(low <= exact <= high)

    return test


def number_tests(tests: Iterable[Test]) -> Callable[[Any], bool]:
    """Whether an exact number (int, Decimal or Fraction) passes all number tests of a measure."""
    made = [_number_test(test) for test in tests]
    if len(made) == 1:
        return made[0]

    def passes_all(x: Any) -> bool:
        return all(passes(x) for passes in made)

    return passes_all


def _number_test(test: Test) -> Callable[[Any], bool]:
    if test.operator == "between":
        low, high = _exact(test.argument[0]), _exact(test.argument[1])

        def is_between(x: Any) -> bool:
            return bool(low <= x <= high)

        return is_between
    compare, threshold = getattr(operators, _NAMES[test.operator]), _exact(test.argument)

    def compares(x: Any) -> bool:
        return bool(compare(x, threshold))

    return compares


def _exact(threshold: Number) -> Any:
    """As an int where it is whole, which compares quickest, else as a Decimal: both exact."""
    exact = decimal(threshold)
    return int(exact) if exact == exact.to_integral_value() else exact


_NAMES = {"eq": "eq", "ne": "ne", "gt": "gt", "gte": "ge", "lt": "lt", "lte": "le"}


# ---- presence, text, arrays -----------------------------------------------------------------------------------------


def _exists(wanted: Any, ignore_case: bool) -> Fixed:
    def test(value: Any) -> bool:
        return (value is not None) is wanted

    return test


def contains(text: str, part: str) -> bool:
    """Whether `part` is in the text."""
    return part in text


def starts_with(text: str, part: str) -> bool:
    """Whether the text begins with `part`."""
    return text.startswith(part)


def ends_with(text: str, part: str) -> bool:
    """Whether the text ends with `part`."""
    return text.endswith(part)


def text_test(compare: Callable[[str, str], bool], part: str, ignore_case: bool) -> Fixed:
    """Whether a text, or some element of an array that is one, compares so with `part`; both are folded to ignore case."""
    wanted = part.casefold() if ignore_case else part

    def one(text: Any) -> bool:
        return type(text) is str and text != "" and compare(text.casefold() if ignore_case else text, wanted)

    return some(one)


def some(one: Fixed) -> Fixed:
    """Whether the value, or some element of it where it is an array, passes."""

    def test(value: Any) -> bool:
        if type(value) is not list:
            return one(value)
        return any(map(one, value))

    return test


def _text(compare: Callable[[str, str], bool]) -> Make:
    def made(part: Any, ignore_case: bool) -> Fixed:
        return text_test(compare, part, ignore_case)

    return made


def _matches(expression: Any, ignore_case: bool) -> Fixed:
    """RE2 search; with `ignore_case` the text is folded."""
    search = compiled(expression, ignore_case).search

    def one(text: Any) -> bool:
        return type(text) is str and text != "" and search(text.casefold() if ignore_case else text) is not None

    return some(one)


def compiled(expression: str, ignore_case: bool) -> Any:
    """An RE2 expression ready to search; raises `re2.error` where it is none, or takes more than 1 MiB.

    With `ignore_case`, its ASCII letters match either case, and its other letters are folded, as the text is: an escape
    such as `\\S` must stay what it is. The range `[À-ß]` ends with two letters then, and is none.
    """
    options = re2.Options()
    options.log_errors = False  # they are raised
    options.max_mem = 1 << 20
    if ignore_case:
        options.case_sensitive = False
        expression = "".join([char if char.isascii() else char.casefold() for char in expression])
    return re2.compile(expression, options)


def _has(literal: Any, ignore_case: bool) -> Fixed:
    return _has_any((literal,), ignore_case)


def _has_any(literals: Any, ignore_case: bool) -> Fixed:
    one = _in(literals, False)

    def test(value: Any) -> bool:
        return type(value) is list and any(map(one, value))

    return test


def _has_all(literals: Any, ignore_case: bool) -> Fixed:
    wanted = keys_of(literals)

    def test(value: Any) -> bool:
        return type(value) is list and wanted <= keys_of(value)

    return test


# `ne` and `not_in` are made of the operators that they negate
FIXED: Mapping[str, Make] = {
    "eq": _eq,
    "in": _in,
    "gt": _ordered(operators.gt),
    "gte": _ordered(operators.ge),
    "lt": _ordered(operators.lt),
    "lte": _ordered(operators.le),
    "between": _between,
    "exists": _exists,
    "contains": _text(contains),
    "starts_with": _text(starts_with),
    "ends_with": _text(ends_with),
    "matches": _matches,
    "has": _has,
    "has_any": _has_any,
    "has_all": _has_all,
}
