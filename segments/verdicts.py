"""Whether tests can be passed at all: enough of it to tell an author of a condition that can never, or must always, hold.

A verdict is True where something always holds, False where it never can, None where it depends. None is the answer, too,
where finding out would be an art: an author is told of nothing that isn't so.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from segments.conditions import Span, Test, TraitRef, Where
from segments.predicates import number_tests, predicate
from segments.values import Number, number, plain

Verdict = bool | None
Passes = Callable[[Any], bool]

_ORDER = ("gt", "gte", "lt", "lte", "between")
_ROLLING = ("within_last", "older_than", "within_next", "further_than")
_ABSOLUTE = ("before", "after", "on_or_before", "on_or_after")
_DATES = (*_ROLLING, *_ABSOLUTE, "on_day", "calendar", "anniversary", "age")
# what an array alone passes, and what an array never does
_ARRAYS = frozenset(("has", "has_any", "has_all", "any_item"))
_SCALARS = frozenset(("eq", "in", *_ORDER, *_DATES))
# true of what is absent
_NEGATIONS = frozenset(("ne", "not_in", "no_item"))
_ENDLESS = float("inf")


def of_counts(passes: Passes, tests: Iterable[Test], low: Number = 0) -> Verdict:
    """The verdict on whole numbers from `low` on; `passes` changes its mind at the thresholds of `tests` alone."""
    near = [math.floor(threshold) + step for threshold in _thresholds(tests) for step in (-1, 0, 1, 2)]
    first = 0 if low == -_ENDLESS else int(low)
    return _only(passes(count) for count in [first, *near] if count >= low)


def of_numbers(passes: Passes, tests: Iterable[Test], low: Number = -_ENDLESS, high: Number = _ENDLESS) -> Verdict:
    """The verdict on numbers from `low` to `high`; `passes` changes its mind at the thresholds of `tests` alone."""
    ends = sorted({*_thresholds(tests), *(end for end in (low, high) if abs(end) != _ENDLESS)}) or [0]
    between = [a / 2 + b / 2 for a, b in itertools.pairwise(ends)]
    tried = [_below(ends[0]), *ends, *between, -_below(-ends[-1])]
    return _only(passes(value) for value in tried if low <= value <= high)


def _below(value: Number) -> Number:
    return value - max(1.0, abs(value))


def _only(answers: Iterable[bool]) -> Verdict:
    """The answer that all of them are, None where they differ or there is none."""
    found = set(answers)
    return found.pop() if len(found) == 1 else None


def _thresholds(tests: Iterable[Test]) -> list[Number]:
    found = []
    for test in tests:
        arguments = test.argument if isinstance(test.argument, tuple) else (test.argument,)
        found += [exact for exact in map(number, arguments) if exact is not None]
    return found


def of_where(where: Where) -> Verdict:
    """False where no event, or no item, can pass; never True."""
    if where.kind == "path":
        assert where.test is not None
        return False if contradictory([where.test]) else None
    verdicts = [of_where(part) for part in where.parts]
    if where.kind == "any":
        return False if all(verdict is False for verdict in verdicts) else None
    if where.kind == "none":
        return None
    return False if False in verdicts or contradictory_path(where) is not None else None


def contradictory_path(where: Where) -> str | None:
    """A path of which an `all` asks several things that no value passes together."""
    asked: dict[str, list[Test]] = {}
    for part in where.parts:
        if part.kind == "path" and part.test is not None:
            asked.setdefault(part.path, []).append(part.test)
    return next((path for path, tests in asked.items() if contradictory(tests)), None)


def contradictory(tests: Sequence[Test], *, past: bool = False) -> bool:
    """Whether no value at all passes every one of the tests; `past`: it is the time of an event, which is never ahead."""
    operators = {test.operator for test in tests}
    if any(test.operator == "exists" and test.argument is False for test in tests):
        return any(_is_of_present(test) for test in tests)
    if operators & _ARRAYS and operators & _SCALARS:
        return True
    if any(test.operator == "any_item" and of_where(test.argument) is False for test in tests):
        return True
    return _no_literal(tests) or _no_number(tests) or _no_age(tests) or _no_instant(tests, past)


def _is_of_present(test: Test) -> bool:
    return test.operator not in _NEGATIONS and not (test.operator == "exists" and test.argument is False)


def _no_literal(tests: Sequence[Test]) -> bool:
    """Whether a list says which values there are, and none of them passes."""
    listed = next((test for test in tests if test.operator in ("eq", "in") and not _is_open(test)), None)
    if listed is None:
        return False
    literals = listed.argument if isinstance(listed.argument, tuple) else (listed.argument,)
    values = (value for literal in literals for value in _alike(literal))
    passes = [fixed for test in tests if (fixed := _fixed(test)) is not None]
    return not any(all(holds(value) for holds in passes) for value in values)


def _alike(literal: Any) -> list[Any]:
    """All values that equal a literal: as it is, as text, and as what its text says."""
    said: list[Any] = [True] if literal == "true" else [False] if literal == "false" else []
    exact = number(literal)
    return [literal, plain(literal), *said, *([] if exact is None else [exact])]


def _is_open(test: Test) -> bool:
    return test.ignore_case or isinstance(test.argument, TraitRef)


def _fixed(test: Test) -> Passes | None:
    return None if test.operator == "unchanged_for" else predicate(test).fixed


def _no_number(tests: Sequence[Test]) -> bool:
    asked = [test for test in tests if test.operator in (*_ORDER, "ne", "not_in") and not _is_open(test)]
    if not any(test.operator in _ORDER for test in asked):
        return False
    passes = [fixed for test in asked if (fixed := _fixed(test)) is not None]
    return of_numbers(lambda value: all(holds(value) for holds in passes), asked) is False


def _no_age(tests: Sequence[Test]) -> bool:
    asked = [inner for test in tests if test.operator == "age" for inner in test.argument]
    return bool(asked) and of_counts(number_tests(tuple(asked)), asked, -_ENDLESS) is False


def _no_instant(tests: Sequence[Test], past: bool) -> bool:
    left: dict[Any, tuple[float, float]] = {}
    for test in tests:
        interval = None if isinstance(test.argument, TraitRef) else _interval(test)
        if interval is None:
            continue
        kind, low, high = interval
        was_low, was_high = left.get(kind, (-_ENDLESS, 0 if past and kind != "absolute" else _ENDLESS))
        left[kind] = max(low, was_low), min(high, was_high)
    return any(low > high for low, high in left.values())


def _interval(test: Test) -> tuple[Any, float, float] | None:
    """Where a date must lie, both ends included: ms from now, ms since 1970, or periods from this one; with which it is."""
    operator, argument = test.operator, test.argument
    if operator in _ROLLING:
        low, high = {
            "within_last": (1 - argument, 0),
            "older_than": (-_ENDLESS, -argument),
            "within_next": (1, argument),
            "further_than": (argument + 1, _ENDLESS),
        }[operator]
        return "rolling", low, high
    if operator in _ABSOLUTE and isinstance(argument, int):
        low, high = {
            "before": (-_ENDLESS, argument - 1),
            "after": (argument + 1, _ENDLESS),
            "on_or_before": (-_ENDLESS, argument),
            "on_or_after": (argument, _ENDLESS),
        }[operator]
        return "absolute", low, high
    if operator == "calendar" and isinstance(argument, Span):
        return (argument.unit, test.tz), argument.first, argument.last
    return None
