"""Points that decay: what is kept of them, and what they are worth at an instant (language page, section 8).

An event's points are worth points * 2^(-age / half-life), and nothing from 64 half-lives on. All of them shrink at one
rate, so any number can be kept as one: a sum as of some instant. What that loses is when each ends: the sum ends with its
last event, though the others should have gone before. By then they are worth less than 2^-64 of their points, which
matters only where everything else is as small: positive and negative points that nearly cancel each other, or a threshold
that all but decay has reached exactly. So the events of the newest `NEWEST_MAX` instants are kept one by one, and only
those before them as one sum, which is within 2^-64 of its events' points of what it should be.

A sum is kept as of an event's own instant, and moved on by whole half-lives alone, which is exact in binary: what an event
adds is rounded once (1 part in 10^16), however many follow. Points are whole numbers of the score's unit: 0.3 points, which
no double holds, are 3 of it, and meet a threshold of 0.3 exactly.
"""

from bisect import bisect_left
from math import exp2, ldexp
from typing import Any

HALF_LIVES = 64
NEWEST_MAX = 16
# beyond it a sum is moved on to a later instant, so that it never grows out of a double
_AHEAD_MAX = 64
# of a weight: sums of as many as there are, moved ahead, are still far from the 1024 bits of the largest double
_BITS_MAX = 800
_INT_MAX = 2**63 - 1  # what the state's codec can hold

# what is kept as one: [the instant it is as of, the sum then, the last event in it]
_AS_OF, _SUM, _LAST = 0, 1, 2


class Decay:
    """Decay at one half-life, of points given in whole units.

    `newest` is `[[at_ms, units], ...]` by time, each instant once; `older` is `[]` or what came before them, as one. What is
    worked out in doubles, *weights*, counts in 2^`exponent` units: 0 but for points of hundreds of digits, which no double
    could hold.
    """

    def __init__(self, half_life_ms: int, units_max: int) -> None:
        self.half_life_ms = half_life_ms
        self.life_ms = HALF_LIVES * half_life_ms
        self.exponent = max(0, units_max.bit_length() - _BITS_MAX)

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
            self._add_older(older, at_ms, self.weight(unpacked(units)), at_ms)
        del newest[:count]

    def gathered(self, weights: list[tuple[int, float]], older: list[Any]) -> tuple[list[tuple[int, float]], list[Any]]:
        """The newest `NEWEST_MAX` of many weights, and all others as one with `older`, which stays as it is."""
        weights, gathered = sorted(weights), list(older)
        for at_ms, weight in weights[:-NEWEST_MAX]:
            self._add_older(gathered, at_ms, weight, at_ms)
        return weights[-NEWEST_MAX:], gathered

    def join(self, older: list[Any], other: list[Any]) -> None:
        """Add another sum to what is kept as one."""
        if other:
            self._add_older(older, other[_AS_OF], other[_SUM], other[_LAST])

    def _add_older(self, older: list[Any], at_ms: int, weight: float, last_ms: int) -> None:
        if not older:
            older[:] = [at_ms, weight, last_ms]
            return
        ahead = (at_ms - older[_AS_OF]) // self.half_life_ms
        if ahead > _AHEAD_MAX:
            older[_AS_OF] += ahead * self.half_life_ms
            older[_SUM] = ldexp(older[_SUM], -ahead)
        older[_SUM] += self._worth(weight, older[_AS_OF] - at_ms)
        older[_LAST] = max(older[_LAST], last_ms)

    def worths(self, weights: list[tuple[int, float]], older: list[Any], now_ms: int) -> list[float]:
        """What each of `(at_ms, weight)`, and all that is kept as one, are worth at `now_ms`."""
        until_ms = now_ms - self.life_ms
        found = [self._worth(weight, now_ms - at_ms) for at_ms, weight in weights if at_ms > until_ms]
        if older and older[_LAST] > until_ms:
            found.append(self._worth(older[_SUM], now_ms - older[_AS_OF]))
        return found

    def ends_ms(self, weights: list[tuple[int, float]], older: list[Any], now_ms: int) -> int | None:
        """The first instant after now from which some of it counts no more, None where nothing counts."""
        until_ms = now_ms - self.life_ms
        ends = [at_ms for at_ms, _ in weights if at_ms > until_ms]
        if older and older[_LAST] > until_ms:
            ends.append(older[_LAST])
        return min(ends) + self.life_ms if ends else None

    def weight(self, units: int) -> float:
        """Units as a weight."""
        return units / (1 << self.exponent)

    def weights(self, newest: list[Any]) -> list[tuple[int, float]]:
        """`newest` as `(at_ms, weight)`."""
        return [(at_ms, self.weight(unpacked(units))) for at_ms, units in newest]

    def _worth(self, weight: float, age_ms: int) -> float:
        """A weight at an age, which may be negative; exact where it is a whole number of half-lives."""
        whole, rest_ms = divmod(age_ms, self.half_life_ms)
        return ldexp(weight * exp2(-rest_ms / self.half_life_ms), -whole)


def packed(units: int) -> int | str:
    """A whole number as the state's codec can hold it."""
    return units if -_INT_MAX <= units <= _INT_MAX else str(units)


def unpacked(units: int | str) -> int:
    """The whole number that was packed."""
    return int(units)


def _time(entry: list[Any]) -> int:
    return entry[0]  # type: ignore[no-any-return]
