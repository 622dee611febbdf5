"""The only place where `streams/` asks what time it is; tests and the simulation hand in a clock of their own."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("tidegate.clock")

# a wall clock that is further off than this has been stepped; what is made up below it stays within the default slack
STEP_MS = 500.0
# by how much time may go faster or slower to make a difference up
SLEW = 0.05


class Clock(Protocol):
    """What the worker knows of time."""

    def now_ms(self) -> int:
        """The time of day, epoch ms."""

    def spent_ms(self) -> float:
        """Milliseconds since some instant of this process; never falls. For intervals and deadlines."""


class SystemClock:
    """The machine's clocks as they are; the wall clock may jump, in both directions."""

    def now_ms(self) -> int:
        """Epoch ms."""
        return time.time_ns() // 1_000_000

    def spent_ms(self) -> float:
        """Milliseconds of the monotonic clock."""
        return time.perf_counter() * 1000.0


def wall_ms() -> float:
    """The machine's wall clock, epoch ms."""
    return time.time_ns() / 1e6


def elapsed_ms() -> float:
    """Milliseconds since the machine was started, those asleep too where the system counts them; never falls."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6
    return time.monotonic_ns() / 1e6


class SteadyClock:
    """Time for a worker, which commits what it believes is due: no step of the wall clock makes it believe that.

    Invariants:
      * From the wall clock's time at the start it goes on by the monotonic clock, and never falls.
      * It follows the wall clock where that is no more than `STEP_MS` off, by going faster or slower by `SLEW` at most.
      * A step backwards is not followed, one forwards only as far as records prove that the broker's clock is there, too:
        a machine that was paused catches up, one whose clock was set wrong does not run ahead.

    A clock that is wrong at the start stays wrong: Kafka tells no time but by records. Two threads may ask.
    """

    def __init__(self, wall_ms: Callable[[], float] = wall_ms, elapsed_ms: Callable[[], float] = elapsed_ms) -> None:
        """`wall_ms` reads the wall clock, `elapsed_ms` a monotonic one."""
        self._wall_ms = wall_ms
        self._elapsed_ms = elapsed_ms
        self._lock = threading.Lock()
        self._read_ms = elapsed_ms()
        self._now_ms = wall_ms()
        self._stamped_ms = 0
        self._said_ms = 0.0

    def now_ms(self) -> int:
        """Epoch ms."""
        with self._lock:
            read_ms = self._elapsed_ms()
            passed_ms, self._read_ms = read_ms - self._read_ms, read_ms
            self._now_ms += passed_ms
            off_ms = self._wall_ms() - self._now_ms
            if abs(off_ms) <= STEP_MS:
                slew_ms = passed_ms * SLEW
                self._now_ms += min(max(off_ms, -slew_ms), slew_ms)
            elif off_ms > 0 and self._stamped_ms > self._now_ms:
                self._now_ms += min(off_ms, self._stamped_ms - self._now_ms)
            self._say(off_ms)
            return int(self._now_ms)

    def spent_ms(self) -> float:
        """Milliseconds of the monotonic clock."""
        return time.perf_counter() * 1000.0

    def saw(self, stamped_ms: int) -> None:
        """There is a record that the broker stamped with this time (epoch ms): it is that late, or later."""
        if stamped_ms > self._stamped_ms:
            self._stamped_ms = stamped_ms

    def _say(self, off_ms: float) -> None:
        stepped_ms = off_ms if abs(off_ms) > STEP_MS else 0.0
        if abs(stepped_ms - self._said_ms) <= STEP_MS:
            return
        self._said_ms = stepped_ms
        if stepped_ms:
            logger.warning(
                "the wall clock is %.1f s off what it was expected to be: it is not followed, as timers would come at "
                "the wrong time; set it right, or start the worker again when it is",
                stepped_ms / 1000,
            )
        else:
            logger.warning("the wall clock is where it is expected to be again")
