"""Points that decay: what is kept of them, and what they are worth at an instant (language page, section 8).

An event's points are worth points * 2^(-age / half-life), and nothing from 64 half-lives on. All of them shrink at one
rate, so any number can be kept as one: a sum as of some instant. What that loses is when each ends: the sum ends with its
last event, though the others should have gone before. By then they are worth less than 2^-64 of their points, which
matters only where everything else is as small: positive and negative points that nearly cancel each other, or a threshold
that all but decay has reached exactly. So the events of the newest `NEWEST_MAX` instants are kept one by one, and only
those before them as one sum, which is within 2^-64 of its events' points of what it should be.

A sum is kept as of an event's own instant, and moved on by whole half-lives alone, which is exact in binary: what an event
adds is rounded once (1 part in 10^16), however many follow. Points meet as whole numbers of the score's unit, exactly.
"""

from bisect import bisect_left
from math import exp2, ldexp
from sys import float_info
from typing import Any

HALF_LIVES = 64
NEWEST_MAX = 16
# beyond it a sum is moved on to a later instant, so that it never grows out of a double
_AHEAD_MAX = 64
_INT_MAX = 2**63 - 1  # what the state's codec can hold

# what is kept as one: [the instant it is as of, the sum then in 2^exponent, the last event in it]
_AS_OF, _SUM, _LAST = 0, 1, 2


class Decay:
    """Decay at one half-life, of points given in whole `unit`s (a score's points are multiples of 1 / `scale`).

    `newest` is `[[at_ms, units], ...]` by time, each instant once; `older` is `[]` or what came before them, as one.
    `exponent`: sums are kept in 2^exponent, the size of the largest points, and can't overflow.
    """

    def __init__(self, half_life_ms: int, scale: int, exponent: int) -> None:
        self.half_life_ms = half_life_ms
        self.life_ms = HALF_LIVES * half_life_ms
        self.scale = scale
        self.exponent = exponent

    def add(self, newest: list[Any], older: list[Any], at_ms: int, units: int, now_ms: int) -> None:
        """Take the points of an event in, at its own time, unless it counts no more."""
        self.forget(newest, older, now_ms)
        if at_ms <= now_ms - self.life_ms:
            return
        index = bisect_left(newest, at_ms, key=_time)
        if index < len(newest) and newest[index][0] == at_ms:
            newest[index][1] = packed(unpacked(newest[index][1]) + units)
            return
        newest.insert(index, [at_ms, packed(units)])
        if len(newest) > NEWEST_MAX:
            self.settle(newest, older, 1)

    def forget(self, newest: list[Any], older: list[Any], now_ms: int) -> None:
        """Drop what counts no more."""
        until_ms = now_ms - self.life_ms
        while newest and newest[0][0] <= until_ms:
            del newest[0]
        if older and older[_LAST] <= until_ms:
            older.clear()

    def settle(self, newest: list[Any], older: list[Any], count: int) -> None:
        """Add the oldest `count` of `newest` to what is kept as one."""
        for at_ms, units in newest[:count]:
            self._add_older(older, at_ms, ldexp(unpacked(units) / self.scale, -self.exponent), at_ms)
        del newest[:count]

    def join(self, older: list[Any], other: list[Any]) -> None:
        """Add another sum to what is kept as one."""
        if other:
            self._add_older(older, other[_AS_OF], other[_SUM], other[_LAST])

    def _add_older(self, older: list[Any], at_ms: int, points: float, last_ms: int) -> None:
        if not older:
            older[:] = [at_ms, points, last_ms]
            return
        ahead = (at_ms - older[_AS_OF]) // self.half_life_ms
        if ahead > _AHEAD_MAX:
            older[_AS_OF] += ahead * self.half_life_ms
            older[_SUM] = ldexp(older[_SUM], -ahead)
        older[_SUM] += self._worth(points, older[_AS_OF] - at_ms)
        older[_LAST] = max(older[_LAST], last_ms)

    def worths(self, points: list[tuple[int, float]], older: list[Any], now_ms: int) -> list[float]:
        """What each of the points `(at_ms, points)`, and all that is kept as one, are worth at `now_ms`."""
        until_ms = now_ms - self.life_ms
        found = [self._worth(full, now_ms - at_ms) for at_ms, full in points if at_ms > until_ms]
        if older and older[_LAST] > until_ms:
            found.append(_scaled(self._worth(older[_SUM], now_ms - older[_AS_OF]), self.exponent))
        return found

    def ends_ms(self, points: list[tuple[int, float]], older: list[Any], now_ms: int) -> int | None:
        """The first instant after now from which some of it counts no more, None where nothing counts."""
        until_ms = now_ms - self.life_ms
        ends = [at_ms for at_ms, _ in points if at_ms > until_ms]
        if older and older[_LAST] > until_ms:
            ends.append(older[_LAST])
        return min(ends) + self.life_ms if ends else None

    def points(self, newest: list[Any]) -> list[tuple[int, float]]:
        """`newest` as `(at_ms, points)`."""
        return [(at_ms, unpacked(units) / self.scale) for at_ms, units in newest]

    def _worth(self, points: float, age_ms: int) -> float:
        """Points at an age, which may be negative; exact where it is a whole number of half-lives."""
        whole, rest_ms = divmod(age_ms, self.half_life_ms)
        return ldexp(points * exp2(-rest_ms / self.half_life_ms), -whole)


def packed(units: int) -> int | str:
    """A whole number as the state's codec can hold it."""
    return units if -_INT_MAX <= units <= _INT_MAX else str(units)


def unpacked(units: int | str) -> int:
    """The whole number that was packed."""
    return int(units)


def _scaled(value: float, exponent: int) -> float:
    """`value * 2^exponent`, or the largest double where it can't hold that."""
    try:
        return ldexp(value, exponent)
    except OverflowError:
        return float_info.max if value > 0 else -float_info.max


def _time(entry: list[Any]) -> int:
    return entry[0]  # type: ignore[no-any-return]
