"""How far our clock is from the broker's, as told by the record times (LogAppendTime) of what has only just come."""

import math

WINDOW_MS = 60_000


class Skew:
    """The least age of fresh records over the last one to two halves of `WINDOW_MS`: the skew, and what a fetch takes."""

    def __init__(self) -> None:
        self._since_ms = 0.0
        self._least_ms = self._before_ms = math.inf

    def take(self, age_ms: int, spent_ms: float) -> None:
        """A record of this age by our clock was the last of its topic; `spent_ms` is the monotonic clock."""
        self._turn(spent_ms)
        self._least_ms = min(self._least_ms, age_ms)

    def seconds(self, spent_ms: float) -> float:
        """Our clock less the broker's; NaN where nothing fresh came."""
        self._turn(spent_ms)
        least_ms = min(self._least_ms, self._before_ms)
        return math.nan if least_ms == math.inf else least_ms / 1000

    def _turn(self, spent_ms: float) -> None:
        halves = (spent_ms - self._since_ms) // (WINDOW_MS / 2)
        if halves >= 1:
            self._before_ms = self._least_ms if halves == 1 else math.inf
            self._least_ms, self._since_ms = math.inf, spent_ms
