"""When an attempt that failed for now is made again: exponential back-off with full jitter, up to a last attempt.

With the defaults the waits are at most 2, 4, 8 … s, 4 h at the longest, 14 of them: the last attempt comes 8.6 h after
the first at the latest and, as full jitter halves them, 4.3 h after it on average.
"""

import hashlib
from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Backoff:
    """How often and how far apart attempts are made."""

    attempts_max: int = 15
    first_ms: int = 2000
    ms_max: int = 4 * HOUR_MS
    # a receiver that says `Retry-After` is obeyed up to here
    retry_after_ms_max: int = 24 * HOUR_MS

    def wait_ms(self, delivery: str, attempts: int, retry_after_ms: int | None = None) -> int | None:
        """How long to wait after attempt number `attempts` (from 1 on); None when that was the last.

        The jitter is drawn from the delivery's id and the attempt: even over deliveries, the same on a repeat.
        """
        if attempts >= self.attempts_max:
            return None
        drawn = hashlib.sha256(f"{delivery}:{attempts}".encode()).digest()
        part = int.from_bytes(drawn[:8], "big") / 2**64
        if retry_after_ms is not None:
            # all that were turned away at once must not come back at once
            return min(retry_after_ms, self.retry_after_ms_max) + int(part * self.first_ms)
        return int(part * min(self.ms_max, self.first_ms << (attempts - 1)))
