"""The only place where `streams/` asks what time it is; tests and the simulation hand in a clock of their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the worker knows of time."""

    def now_ms(self) -> int:
        """The wall clock, epoch ms. May jump, in both directions."""

    def spent_ms(self) -> float:
        """Milliseconds since some instant of this process; never falls. For intervals and deadlines."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Epoch ms."""
        return time.time_ns() // 1_000_000

    def spent_ms(self) -> float:
        """Milliseconds of the monotonic clock."""
        return time.perf_counter() * 1000.0
