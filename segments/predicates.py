"""Checked tests as functions: of a value alone, or of a value and now.

Most tests are *fixed*: their answer never changes once the value is known. The rolling date operators are *moving*:
`within_last: 3d` of an event's property turns false three days after the date it holds. A predicate therefore says, for a
value, at which instants its answer may change (`moments`); None there means never, whatever the value.
"""

import operator as operators
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import re2

from segments.check_values import pattern_options
from segments.conditions import Test, Where
from segments.values import Number, decimal, instant, number, plain, reader

Holds = Callable[[Any, int], bool]
Moments = Callable[[Any], Iterable[int]]


class Predicate(NamedTuple):
    """`holds(value, now_ms)`; `moments(value)`: instants at which that may change, or None for a fixed predicate."""

    holds: Holds
    moments: Moments | None


def predicate(test: Test) -> Predicate:
    """The predicate of one test; the value it is given is present, or None for absent."""
    if test.operator in _MOVING:
        return _MOVING[test.operator](test.argument)
    if test.operator == "any_item":
        return _any_item(test.argument)
    if test.operator == "no_item":
        return _negated(_any_item(test.argument))
    return _fixed(fixed(test))


def _fixed(holds: Callable[[Any], bool]) -> Predicate:
    return Predicate(lambda value, now_ms: holds(value), None)


def _negated(inner: Predicate) -> Predicate:
    return Predicate(lambda value, now_ms: not inner.holds(value, now_ms), inner.moments)


def fixed(test: Test) -> Callable[[Any], bool]:
    """The function of the value alone that a fixed test is."""
    return _FIXED[test.operator](test.argument, test.ignore_case)


# ---- equality -------------------------------------------------------------------------------------------------------


def _eq(literal: Any, ignore_case: bool) -> Callable[[Any], bool]:
    return _in((literal,), ignore_case)


def _in(literals: tuple[Any, ...], ignore_case: bool) -> Callable[[Any], bool]:
    """Membership by `eq`: text is looked for among all literals as text, numbers and booleans among their own too."""
    fold = str.casefold if ignore_case else str
    texts = frozenset(fold(plain(literal) or "") for literal in literals)
    written = frozenset(fold(literal) for literal in literals if type(literal) is str)
    numbers = frozenset(literal for literal in literals if type(literal) in (int, float))
    booleans = frozenset(literal for literal in literals if type(literal) is bool)

    def test(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return (value.casefold() if ignore_case else value) in texts
        if kind is int or kind is float:
            return number(value) in numbers or (bool(written) and fold(plain(value) or "") in written)
        if kind is bool:
            return value in booleans or (bool(written) and fold("true" if value else "false") in written)
        return False

    return test


def _not(make: Callable[[Any, bool], Callable[[Any], bool]]) -> Callable[[Any, bool], Callable[[Any], bool]]:
    def made(argument: Any, ignore_case: bool) -> Callable[[Any], bool]:
        inner = make(argument, ignore_case)
        return lambda value: not inner(value)

    return made


# ---- order ----------------------------------------------------------------------------------------------------------


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, bool], Callable[[Any], bool]]:
    def made(threshold: Any, ignore_case: bool) -> Callable[[Any], bool]:
        def test(value: Any) -> bool:
            exact = number(value)
            return exact is not None and compare(exact, threshold)

        return test

    return made


def _between(ends: Any, ignore_case: bool) -> Callable[[Any], bool]:
    low, high = ends

    def test(value: Any) -> bool:
        exact = number(value)
        return exact is not None and low <= exact <= high

    return test


def number_tests(tests: Iterable[Test]) -> Callable[[Any], bool]:
    """Whether an exact number (int or Decimal) passes all number tests of a measure."""
    made = [number_test(test, 1) for test in tests]
    return made[0] if len(made) == 1 else lambda x: all(passes(x) for passes in made)


def number_test(test: Test, scale: int) -> Callable[[Any], bool]:
    """Whether an exact number, given as that many times itself, passes one number test."""
    if test.operator == "between":
        low, high = (_scaled(end, scale) for end in test.argument)
        return lambda x: bool(low <= x <= high)
    compare, threshold = getattr(operators, _NAMES[test.operator]), _scaled(test.argument, scale)
    return lambda x: bool(compare(x, threshold))


def _scaled(threshold: Number, scale: int) -> Any:
    """As an int where it is whole, which compares quickest, else as a Decimal: both exact."""
    exact = decimal(threshold) * scale
    return int(exact) if exact == exact.to_integral_value() else exact


_NAMES = {"eq": "eq", "ne": "ne", "gt": "gt", "gte": "ge", "lt": "lt", "lte": "le"}


# ---- presence, text, arrays -----------------------------------------------------------------------------------------


def _exists(wanted: Any, ignore_case: bool) -> Callable[[Any], bool]:
    return lambda value: (value is not None) is wanted


def _text(compare: Callable[[str, str], bool]) -> Callable[[Any, bool], Callable[[Any], bool]]:
    def made(literal: Any, ignore_case: bool) -> Callable[[Any], bool]:
        wanted = literal.casefold() if ignore_case else literal

        def one(text: Any) -> bool:
            return type(text) is str and text != "" and compare(text.casefold() if ignore_case else text, wanted)

        return lambda value: any(map(one, value)) if type(value) is list else one(value)

    return made


def _matches(expression: Any, ignore_case: bool) -> Callable[[Any], bool]:
    """RE2 search. With `ignore_case` the text is folded, ASCII letters of the expression match either case, and its
    other letters are folded too: an escape such as `\\S` must stay what it is."""
    options = pattern_options()
    if ignore_case:
        options.case_sensitive = False
        expression = "".join(char if char.isascii() else char.casefold() for char in expression)
    search = re2.compile(expression, options).search

    def one(text: Any) -> bool:
        return type(text) is str and text != "" and search(text.casefold() if ignore_case else text) is not None

    return lambda value: any(map(one, value)) if type(value) is list else one(value)


def _has(literal: Any, ignore_case: bool) -> Callable[[Any], bool]:
    return _has_any((literal,), False)


def _has_any(literals: Any, ignore_case: bool) -> Callable[[Any], bool]:
    one = _in(literals, False)
    return lambda value: type(value) is list and any(map(one, value))


def _has_all(literals: Any, ignore_case: bool) -> Callable[[Any], bool]:
    ones = [_in((literal,), False) for literal in literals]
    return lambda value: type(value) is list and all(any(map(one, value)) for one in ones)


# ---- dates ----------------------------------------------------------------------------------------------------------


def _absolute(compare: Callable[[int, int], bool]) -> Callable[[Any, bool], Callable[[Any], bool]]:
    def made(at_ms: Any, ignore_case: bool) -> Callable[[Any], bool]:
        def test(value: Any) -> bool:
            found_ms = instant(value)
            return found_ms is not None and compare(found_ms, at_ms)

        return test

    return made


def _rolling(
    holds: Callable[[int, int, int], bool], moments: Callable[[int, int], tuple[int, ...]]
) -> Callable[[int], Predicate]:
    def made(duration_ms: int) -> Predicate:
        def test(value: Any, now_ms: int) -> bool:
            at_ms = instant(value)
            return at_ms is not None and holds(at_ms, now_ms, duration_ms)

        def changes(value: Any) -> tuple[int, ...]:
            at_ms = instant(value)
            return () if at_ms is None else moments(at_ms, duration_ms)

        return Predicate(test, changes)

    return made


# v: the date, n: now, d: the duration. (n - d, n] holds v from v on, until just before v + d
_MOVING: Mapping[str, Callable[[int], Predicate]] = {
    "within_last": _rolling(lambda v, n, d: n - d < v <= n, lambda v, d: (v, v + d)),
    "older_than": _rolling(lambda v, n, d: v <= n - d, lambda v, d: (v + d,)),
    "within_next": _rolling(lambda v, n, d: n < v <= n + d, lambda v, d: (v - d, v)),
    "further_than": _rolling(lambda v, n, d: v > n + d, lambda v, d: (v - d,)),
}


# ---- where ----------------------------------------------------------------------------------------------------------


def _any_item(where: Where) -> Predicate:
    inner = where_predicate(where, in_context=False)

    def holds(value: Any, now_ms: int) -> bool:
        return type(value) is list and any(type(item) is dict and inner.holds(item, now_ms) for item in value)

    def moments(value: Any) -> Iterable[int]:
        found: list[int] = []
        for item in value if type(value) is list else ():
            if type(item) is dict and inner.moments is not None:
                found.extend(inner.moments(item))
        return found

    return Predicate(holds, None if inner.moments is None else moments)


def where_predicate(where: Where, *, in_context: bool) -> Predicate:
    """The predicate of a whole `where` over an object.

    With `in_context` the object is an event, given as `(properties, context)`, and paths that begin with `context.`
    look into the latter; else it is an item of an array.
    """
    if where.kind == "path":
        assert where.test is not None
        return _at_path(where.path, predicate(where.test), in_context)
    parts = [where_predicate(part, in_context=in_context) for part in where.parts]
    tests = [part.holds for part in parts]
    moving = [part.moments for part in parts if part.moments is not None]

    def moments(value: Any) -> Iterable[int]:
        return [at_ms for part in moving for at_ms in part(value)]

    changes = moments if moving else None
    if len(tests) == 1 and where.kind != "none":
        return Predicate(tests[0], changes)
    if where.kind == "all":
        return Predicate(lambda value, now_ms: all(test(value, now_ms) for test in tests), changes)
    if where.kind == "any":
        return Predicate(lambda value, now_ms: any(test(value, now_ms) for test in tests), changes)
    return Predicate(lambda value, now_ms: not any(test(value, now_ms) for test in tests), changes)


def finder(path: str, *, in_context: bool) -> Callable[[Any], Any]:
    """A function that finds a property path in an event `(properties, context)` or in an item."""
    if not in_context:
        return reader(path)
    if path.startswith("context."):
        read_context = reader(path.removeprefix("context."))
        return lambda event: read_context(event[1])
    read = reader(path)
    return lambda event: read(event[0])


def _at_path(path: str, inner: Predicate, in_context: bool) -> Predicate:
    if in_context and "." not in path and inner.moments is None:
        holds_of = inner.holds

        def top_level(event: Any, now_ms: int) -> bool:
            value = event[0].get(path)
            return holds_of(None if value == "" else value, now_ms)

        return Predicate(top_level, None)
    find, holds, moments = finder(path, in_context=in_context), inner.holds, inner.moments
    changes = None if moments is None else lambda value: moments(find(value))
    return Predicate(lambda value, now_ms: holds(find(value), now_ms), changes)


_FIXED: Mapping[str, Callable[[Any, bool], Callable[[Any], bool]]] = {
    "eq": _eq,
    "ne": _not(_eq),
    "in": _in,
    "not_in": _not(_in),
    "gt": _ordered(operators.gt),
    "gte": _ordered(operators.ge),
    "lt": _ordered(operators.lt),
    "lte": _ordered(operators.le),
    "between": _between,
    "exists": _exists,
    "contains": _text(lambda text, part: part in text),
    "starts_with": _text(str.startswith),
    "ends_with": _text(str.endswith),
    "matches": _matches,
    "has": _has,
    "has_any": _has_any,
    "has_all": _has_all,
    "before": _absolute(operators.lt),
    "after": _absolute(operators.gt),
    "on_or_before": _absolute(operators.le),
    "on_or_after": _absolute(operators.ge),
}
