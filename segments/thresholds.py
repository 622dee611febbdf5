"""The thresholds that a test sets a score, compared exactly with what is partly a sum of doubles (language page, section 8)."""

from fractions import Fraction
from math import fsum
from typing import Any

from segments.conditions import Test
from segments.values import decimal

_EXACT_MAX = 2**53


class Threshold:
    """One threshold, that a score must be above or below; `operator` is `gt gte lt lte`.

    `units`: where it lies, in units of which `scale` make a point; a score is a whole number of them (its base) and what
    decays, in doubles.
    """

    def __init__(self, operator: str, threshold: Fraction, scale: int) -> None:
        units = threshold * scale
        self.above: bool = operator in ("gt", "gte")
        self.at: bool = operator in ("gte", "lte")
        self.scale = scale
        self.units: int | Fraction = units.numerator if units.denominator == 1 else units

    def passes(self, worths: list[float], base: int) -> bool:
        """Whether a score of these parts passes; exact for these doubles."""
        rest = self.units - base
        side = (rest < 0) - (rest > 0) if not worths else self._side(worths, rest)
        return self.at if side == 0 else (side > 0) is self.above

    def points_from(self, base: int) -> float:
        """How far above the base it lies, in points; raises `OverflowError` where no double can hold that."""
        return float((self.units - base) / self.scale)

    def _side(self, worths: list[float], rest: int | Fraction) -> int:
        """The sign of the sum of `worths` less `rest` units."""
        try:
            # rounded once, after adding without loss: its sign is that of the exact sum
            gap = fsum([*worths, *self._minus(rest)])
        except OverflowError:
            exact = sum(map(Fraction, worths)) - Fraction(rest) / self.scale
            return (exact > 0) - (exact < 0)
        return (gap > 0) - (gap < 0)

    def _minus(self, units: int | Fraction) -> tuple[float, ...]:
        """Less so many units, in points: the nearest double, and what that leaves."""
        nearest = float(-units / self.scale)
        if self.scale == 1 and type(units) is int and -_EXACT_MAX <= units <= _EXACT_MAX:
            return (nearest,)
        return nearest, float(Fraction(-units) / self.scale - Fraction(nearest))


def thresholds_of(test: Test, minimum: Any, maximum: Any, scale: int) -> list[Threshold] | None:
    """The thresholds that a score must pass, before it is clamped, for the number test to hold; None: it never does."""
    found: list[Threshold] = []
    low, high = _exact(minimum), _exact(maximum)
    for operator, argument in _one_sided(test):
        threshold = Fraction(decimal(argument))
        upwards = operator in ("gt", "gte")
        least, most = (low, high) if upwards else (high, low)  # the clamped score that passes least easily, and most
        if most is not None and not _passes(operator, most, threshold):
            return None
        if least is None or not _passes(operator, least, threshold):
            found.append(Threshold(operator, threshold, scale))
    return found


def _one_sided(test: Test) -> list[tuple[str, Any]]:
    if test.operator == "between":
        return [("gte", test.argument[0]), ("lte", test.argument[1])]
    return [(test.operator, test.argument)]


def _passes(operator: str, value: Fraction, threshold: Fraction) -> bool:
    if value == threshold:
        return operator in ("gte", "lte")
    return (value > threshold) is (operator in ("gt", "gte"))


def _exact(value: Any) -> Fraction | None:
    return None if value is None else Fraction(decimal(value))
