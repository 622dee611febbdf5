"""Exact sums of numbers: as whole millionths where they fit, else as decimal text.

Prices, quantities and points have at most six decimals, and their sums fit into 63 bits of millionths (nine billion);
adding such integers is exact and quick. Whatever doesn't fit makes the total decimal text from then on, as exact and
slower: doubles span 10^-324 to 10^308, so the context has room for every digit, and raises if it hadn't.
"""

from collections.abc import Iterable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact

from segments.conditions import Test
from segments.values import Number, decimal

# whole millionths, or the text of a decimal
Total = int | str

_SCALE = 1_000_000
_INT_MAX = 2**63 - 1  # what the state's codec can hold
_EXACT = Context(prec=700, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])


def plus(total: Total, value: Number) -> Total:
    """The total with one more number, exactly; a negative one takes it off again."""
    if type(total) is int:
        millionths = _millionths(value)
        if millionths is not None and -_INT_MAX <= total + millionths <= _INT_MAX:
            return total + millionths
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
    if isinstance(value, int):
        return value * _SCALE
    scaled = value * 1e6
    if not -1e15 < scaled < 1e15:
        return None
    whole = int(scaled + 0.5 if scaled >= 0 else scaled - 0.5)
    return whole if float(whole) / 1e6 == value else None


def _unscaled(total: Total) -> Decimal:
    return Decimal(total) if type(total) is str else _EXACT.scaleb(Decimal(total), -6)


class TotalTests:
    """The number tests of a sum or an average, asked of a total without dividing."""

    def __init__(self, tests: Iterable[Test]) -> None:
        self._bounds = [bound for test in tests for bound in _bounds_of(test)]

    def passes(self, total: Total, count: int) -> bool:
        """Whether the average of so many numbers with this total passes all of them, exactly; a sum is that of one."""
        if type(total) is int:
            above, below = total, count
        else:
            exact, parts = Decimal(total).as_integer_ratio()
            above, below = exact * _SCALE, parts * count
        for times, threshold, least in self._bounds:
            over = above * times - below * threshold
            if over == 0 if least is None else over < least:
                return False
        return True


# of an average in millionths: how often the total is taken, how often the count is taken from that, and the least that may
# be left, None for all but nothing
_Bound = tuple[int, int, int | None]
_BOUNDS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "eq": ((1, 0), (-1, 0)),
    "ne": ((1, None),),
    "gt": ((1, 1),),
    "gte": ((1, 0),),
    "lt": ((-1, 1),),
    "lte": ((-1, 0),),
}


def _bounds_of(test: Test) -> list[_Bound]:
    """What one number test asks of whole numbers."""
    if test.operator == "between":
        low, high = test.argument
        return [_bound(low, 1, 0), _bound(high, -1, 0)]
    return [_bound(test.argument, sign, least) for sign, least in _BOUNDS[test.operator]]


def _bound(threshold: Number, sign: int, least: int | None) -> _Bound:
    exact, parts = decimal(threshold).as_integer_ratio()
    return sign * parts, sign * exact * _SCALE, least
