"""Exact sums of numbers: as whole millionths where they fit, else as decimal text.

Prices, quantities and points have at most six decimals, and their sums fit into 63 bits of millionths (nine billion);
adding such integers is exact and quick. Whatever doesn't fit makes the total decimal text from then on, as exact and
slower: doubles span 10^-324 to 10^308, so the context has room for every digit, and raises if it hadn't.
"""

import operator as operators
from collections.abc import Callable, Iterable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact
from fractions import Fraction

from segments.conditions import Test
from segments.predicates import number_test
from segments.values import Number, decimal

# whole millionths, or the text of a decimal
Total = int | str

_SCALE = 1_000_000
_INT_MAX = 2**63 - 1  # what the state's codec can hold
_EXACT = Context(prec=700, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])


def plus(total: Total, value: Number) -> Total:
    """The total with one more number, exactly; a negative one takes it off again."""
    millionths = _millionths(value)
    if millionths is not None and type(total) is int:
        after = total + millionths
        if -_INT_MAX <= after <= _INT_MAX:
            return after
    return str(_EXACT.add(_unscaled(total), decimal(value)))


def plus_total(total: Total, other: Total) -> Total:
    """Two totals as one, exactly."""
    if type(total) is int and type(other) is int and -_INT_MAX <= total + other <= _INT_MAX:
        return total + other
    return str(_EXACT.add(_unscaled(total), _unscaled(other)))


def _millionths(value: Number) -> int | None:
    """The number as whole millionths, None where it is none.

    A whole number of millionths with at most 15 digits is the only such decimal that reads as its double, so if the
    double is found again, the number is meant exactly.
    """
    if type(value) is int:
        return value * _SCALE
    scaled = value * _SCALE
    if not -1e15 < scaled < 1e15:
        return None
    whole = round(scaled)
    return whole if whole / _SCALE == value else None


def _unscaled(total: Total) -> Decimal:
    return Decimal(total) if type(total) is str else _EXACT.scaleb(Decimal(total), -6)


def total_tests(tests: Iterable[Test]) -> Callable[[Total], bool]:
    """Whether a total passes all number tests of a measure."""
    tests = tuple(tests)
    scaled = [number_test(test, _SCALE) for test in tests]
    exact = [number_test(test, 1) for test in tests]

    def passes(total: Total) -> bool:
        if type(total) is int:
            return all(test(total) for test in scaled)
        return all(test(Decimal(total)) for test in exact)

    if len(scaled) == 1:
        only_scaled, only_exact = scaled[0], exact[0]
        return lambda total: only_scaled(total) if type(total) is int else only_exact(Decimal(total))
    return passes


def average_tests(tests: Iterable[Test]) -> Callable[[Total, int], bool]:
    """Whether the average of so many numbers with this total passes all number tests, exactly."""
    ordered = [_ordered(test) for test in tests]

    def passes(total: Total, count: int) -> bool:
        if type(total) is int:
            above, below = total, _SCALE * count
        else:
            exact = Fraction(Decimal(total))
            above, below = exact.numerator, exact.denominator * count
        return all(test(above, below) for test in ordered)

    return passes


def _ordered(test: Test) -> Callable[[int, int], bool]:
    """One number test of a fraction, given as what stands above and below its line; below is more than zero."""
    if test.operator == "between":
        low, high = (Fraction(decimal(end)) for end in test.argument)
        return lambda above, below: (
            low.numerator * below <= above * low.denominator and above * high.denominator <= high.numerator * below
        )
    compare, threshold = _COMPARE[test.operator], Fraction(decimal(test.argument))
    return lambda above, below: compare(above * threshold.denominator, threshold.numerator * below)


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": operators.eq,
    "ne": operators.ne,
    "gt": operators.gt,
    "gte": operators.ge,
    "lt": operators.lt,
    "lte": operators.le,
}
