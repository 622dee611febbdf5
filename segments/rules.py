"""The rules of a score, compiled: which events or trait give points, how many, and for how long."""

from bisect import bisect_right
from decimal import Decimal
from typing import Any

from segments.conditions import EventRule, Score, TraitRule
from segments.decay import Decay
from segments.matching import Matcher
from segments.trait_leaves import trait_leaf
from segments.values import decimal

# how long the points of an event count
LASTS, EXPIRES, DECAYS = "lasts", "expires", "decays"


class PointsRule:
    """An event rule; `name` is what it is known by in what is kept. `units` are its points, `scale` of which make one."""

    def __init__(self, name: str, rule: EventRule, scale: int) -> None:
        self.name = name
        self.matcher = Matcher(rule.matching)
        self.units: int = units_of(rule.points, scale)
        self.expires_ms: int = rule.expires_ms or 0
        self.kind: str = LASTS if rule.lasting else DECAYS if rule.expires_ms is None else EXPIRES

    def life_ms(self, decay: Decay | None) -> int | None:
        """From what age on an event counts 0, None where it always counts."""
        if self.kind == DECAYS:
            assert decay is not None, "a rule of a score without a half-life lasts"
            return decay.life_ms
        return self.expires_ms if self.kind == EXPIRES else None

    def forget(self, times: list[int], now_ms: int) -> None:
        """Drop the times of what has expired."""
        if times and times[0] <= now_ms - self.expires_ms:
            del times[: bisect_right(times, now_ms - self.expires_ms)]


class TraitPoints:
    """A trait rule: its points count while its leaf says so."""

    def __init__(self, name: str, rule: TraitRule, scale: int) -> None:
        self.name = name
        self.leaf = trait_leaf(rule.condition)
        self.units: int = units_of(rule.points, scale)


def scale_of(score: Score) -> int:
    """How many units make a point, the least power of ten with which all points are whole numbers of them."""
    places = [_exponent(decimal(rule.points)) for rule in score.rules]
    return _power_of_ten(max([0, *(-place for place in places)]))


def units_of(points: Any, scale: int) -> int:
    """Points as a whole number of units."""
    exact = decimal(points)
    sign, digits, _ = exact.as_tuple()
    whole = int("".join(map(str, digits))) * (-1 if sign else 1)
    exponent = _exponent(exact)
    if exponent >= 0:
        return whole * scale * _power_of_ten(exponent)
    return whole * scale // _power_of_ten(-exponent)


def _power_of_ten(exponent: int) -> int:
    power: int = 10**exponent
    return power


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "a checked number is finite"
    return exponent
