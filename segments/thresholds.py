"""The thresholds that a test sets a score, compared exactly with what is partly a sum of doubles (language page, section 8)."""

from fractions import Fraction
from math import fsum
from typing import Any

from segments.conditions import Test
from segments.values import decimal


class Threshold:
    """One threshold, that a score must be above or below; `operator` is `gt gte lt lte`.

    `units`: where it lies, in units of which `scale` make a point. A score is a whole number of them, its base, and weights
    (`decay.py`), each a double that stands for as many 2^`exponent` units.
    """

    def __init__(self, operator: str, threshold: Fraction, scale: int, exponent: int) -> None:
        units = threshold * scale
        self.above: bool = operator in ("gt", "gte")
        self.at: bool = operator in ("gte", "lte")
        self.units: int | Fraction = units.numerator if units.denominator == 1 else units
        self._weight: int = 1 << exponent

    def passes(self, worths: list[float], base: int) -> bool:
        """Whether a score of these parts passes: exact for these doubles where the threshold is one of them."""
        rest = self.units - base
        side = (rest < 0) - (rest > 0) if not worths else self._side(worths, rest)
        return self.at if side == 0 else (side > 0) is self.above

    def weight_from(self, base: int) -> float:
        """How far above the base it lies, as a weight; raises `OverflowError` where no double can hold that."""
        return float((self.units - base) / self._weight)

    def _side(self, worths: list[float], rest: int | Fraction) -> int:
        """The sign of the sum of `worths` less `rest` units."""
        try:
            # rounded once, after adding without loss: 40 and a part in 10^18 is more than 40
            gap = fsum([*worths, -float(rest / self._weight)])
        except OverflowError:
            exact = sum(map(Fraction, worths)) - Fraction(rest) / self._weight
            return (exact > 0) - (exact < 0)
        return (gap > 0) - (gap < 0)


def thresholds_of(test: Test, minimum: Any, maximum: Any, scale: int, exponent: int) -> list[Threshold] | None:
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
            found.append(Threshold(operator, threshold, scale, exponent))
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
