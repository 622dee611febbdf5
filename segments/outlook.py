"""A score from now on, if nothing happens: whether it passes a test, and when that changes (language page, section 8).

A score has an exact part (what lasts, what expires, what traits give) and one that decays. Between two instants at which
something ends, the first stands still and the second shrinks at one rate, so that it passes a threshold once at most, at
an instant that a logarithm gives; the millisecond is then settled by asking.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from math import fsum, log2
from typing import Any

from schemas.instants import INSTANT_MS_MAX
from segments.decay import Decay
from segments.thresholds import Threshold

# how many ends are looked past for the one at which a test turns; if none does, it is asked again at the last of them
ENDS_MAX = 64


class Outlook:
    """A score as of `now_ms`, not clamped.

    `base`: the exact part, in units of which `scale` make a point. `ends`: what of it expires, `(at_ms, units)` by time;
    `ending_below`, `ending_above`: the sums of all such units that are negative, and positive. `weights`: what decays,
    `(at_ms, weight)`, and `older`, what of it is kept as one. `until_ms`: an instant up to which all this holds, None for
    ever.
    """

    def __init__(self, now_ms: int, scale: int, decay: Decay | None) -> None:
        self.now_ms = now_ms
        self.scale = scale
        self.decay = decay
        self.base: int = 0
        self.ends: Iterable[tuple[int, int]] = ()
        self.ending_below: int = 0
        self.ending_above: int = 0
        self.weights: list[tuple[int, float]] = []
        self.older: list[Any] = []
        self.until_ms: int | None = None

    def add_ending(self, units: int) -> None:
        """Add units to the base that `ends` takes off again."""
        self.base += units
        if units < 0:
            self.ending_below += units
        else:
            self.ending_above += units

    def value(self) -> Fraction:
        """What the score is."""
        exponent = 0 if self.decay is None else self.decay.exponent
        decaying = sum(map(Fraction, self._worths(self.now_ms)), Fraction(0))
        return (self.base + decaying * (1 << exponent)) / self.scale

    def read(self, thresholds: Sequence[Threshold]) -> tuple[bool, int | None]:
        """Whether the score passes all thresholds, and when that may change, None for never."""
        worths = self._worths(self.now_ms)
        answer = _all_pass(thresholds, worths, self.base)
        if not thresholds or self._is_settled(thresholds, worths):
            return answer, self.until_ms
        return answer, self._turns_ms(thresholds, answer)

    def _worths(self, at_ms: int) -> list[float]:
        return [] if self.decay is None else self.decay.worths(self.weights, self.older, at_ms)

    def _is_settled(self, thresholds: Sequence[Threshold], worths: list[float]) -> bool:
        """Whether nothing that decays or expires, in whatever order, can change the answer."""
        below = [worth for worth in worths if worth < 0]
        above = [worth for worth in worths if worth > 0]
        settled = True
        for threshold in thresholds:
            lowest = threshold.passes(below, self.base - self.ending_above)
            highest = threshold.passes(above, self.base - self.ending_below)
            if lowest is not highest:
                settled = False
            elif not lowest:
                return True  # one that never passes settles it for all
        return settled

    def _turns_ms(self, thresholds: Sequence[Threshold], answer: bool) -> int | None:
        """The first instant after now at which the answer differs; early where too much ends before it."""
        ends = list(islice(self.ends, ENDS_MAX))
        at_ms, base, passed = self.now_ms, self.base, 0
        for _ in range(ENDS_MAX):
            end_ms = self._next_end_ms(at_ms, ends[passed][0] if passed < len(ends) else None)
            before_ms = INSTANT_MS_MAX + 1 if end_ms is None else min(end_ms, INSTANT_MS_MAX + 1)
            if self.until_ms is not None:
                before_ms = min(before_ms, self.until_ms)
            turns_ms = self._crossing_ms(thresholds, at_ms, before_ms, base, answer)
            if turns_ms is not None:
                return turns_ms
            if before_ms == self.until_ms:
                return before_ms
            if end_ms is None or before_ms > INSTANT_MS_MAX:
                return None
            at_ms = end_ms
            while passed < len(ends) and ends[passed][0] == at_ms:
                base -= ends[passed][1]
                passed += 1
            if passed == ENDS_MAX:
                return at_ms  # there may be more that isn't looked at, at this very instant even
            if _all_pass(thresholds, self._worths(at_ms), base) is not answer:
                return at_ms
        return at_ms

    def _next_end_ms(self, at_ms: int, expires_ms: int | None) -> int | None:
        """The next instant at which something ends."""
        fades_ms = None if self.decay is None else self.decay.ends_ms(self.weights, self.older, at_ms)
        if fades_ms is None or expires_ms is None:
            return expires_ms if fades_ms is None else fades_ms
        return min(fades_ms, expires_ms)

    # ---- crossings --------------------------------------------------------------------------------------------------

    def _crossing_ms(
        self, thresholds: Sequence[Threshold], from_ms: int, before_ms: int, base: int, answer: bool
    ) -> int | None:
        """The first instant in (from, before), where nothing ends, at which decay alone gives another answer."""
        found: list[int] = []
        for threshold in thresholds:
            crossed_ms = self._crosses_ms(threshold, from_ms, before_ms, base)
            if crossed_ms is not None:
                found.append(crossed_ms)
        for at_ms in sorted(found):
            if _all_pass(thresholds, self._worths(at_ms), base) is not answer:
                return at_ms
        return None

    def _crosses_ms(self, threshold: Threshold, from_ms: int, before_ms: int, base: int) -> int | None:
        """The first instant in (from, before), where nothing ends, at which one threshold is crossed."""
        worths = self._worths(from_ms)
        near_ms = self._near_ms(worths, threshold, base, from_ms)
        if near_ms is None or near_ms - 2 >= before_ms:
            return None
        here = threshold.passes(worths, base)
        # not crossed yet at low; from here on high is brought beyond the crossing, then the two together
        low_ms, high_ms, step_ms = from_ms, max(from_ms, near_ms) + 1, 1
        while True:
            high_ms = min(high_ms, before_ms - 1)
            if high_ms <= low_ms:
                return None
            if threshold.passes(self._worths(high_ms), base) is not here:
                break
            low_ms, high_ms, step_ms = high_ms, high_ms + step_ms, step_ms * 2
        if low_ms < near_ms - 1 < high_ms and threshold.passes(self._worths(near_ms - 1), base) is here:
            low_ms = near_ms - 1
        while high_ms - low_ms > 1:
            middle_ms = (low_ms + high_ms) // 2
            if threshold.passes(self._worths(middle_ms), base) is here:
                low_ms = middle_ms
            else:
                high_ms = middle_ms
        return high_ms

    def _near_ms(self, worths: list[float], threshold: Threshold, base: int, from_ms: int) -> int | None:
        """About when what decays has come down to the threshold; None where it never does."""
        if not worths or self.decay is None:
            return None
        try:
            worth, goal = fsum(worths), threshold.weight_from(base)
        except OverflowError:
            return from_ms  # sums beyond what a double can hold: the bracket is widened from here
        if worth == 0 or goal == 0 or (worth > 0) is not (goal > 0) or abs(worth) < abs(goal):
            return None
        return from_ms + int(self.decay.half_life_ms * (log2(abs(worth)) - log2(abs(goal))))


def _all_pass(thresholds: Sequence[Threshold], worths: list[float], base: int) -> bool:
    return all(threshold.passes(worths, base) for threshold in thresholds)
