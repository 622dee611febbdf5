"""Turns at receivers: each has a lane of its own, so that one that is slow or away holds up nobody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

LANE_ATTEMPTS_MAX: Final = 8  # attempts at one receiver at a time
LANE_WAIT_S_MAX: Final = 5.0  # a delivery that would wait, or has waited, for longer than that makes room for others


class Crowded(Exception):
    """A delivery has waited for its turn for too long: it makes room."""


class Lane:
    """What goes to one receiver: a few attempts at a time, and those that wait for one, for a short while.

    So a slow receiver's deliveries are in nobody's way, and a burst for a quick one goes straight through.
    """

    def __init__(self) -> None:
        self.count = 0
        self._slots = asyncio.Semaphore(LANE_ATTEMPTS_MAX)
        self._usual_s = 0.0
        self._running_since_s: dict[object, float] = {}  # oldest first

    @property
    def full(self) -> bool:
        """Whether a newcomer would have to wait for too long, judging by how long attempts take now."""
        queued = self.count - LANE_ATTEMPTS_MAX + 1
        oldest_s = next(iter(self._running_since_s.values()), _now_s())
        lasts_s = max(self._usual_s, _now_s() - oldest_s)
        return queued * lasts_s / LANE_ATTEMPTS_MAX > LANE_WAIT_S_MAX

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One attempt's turn; raises `Crowded` when it doesn't come in time."""
        self.count += 1
        try:
            try:
                async with asyncio.timeout(LANE_WAIT_S_MAX):
                    await self._slots.acquire()
            except TimeoutError:
                raise Crowded from None
            turn, began_s = object(), _now_s()
            self._running_since_s[turn] = began_s
            try:
                yield
            finally:
                del self._running_since_s[turn]
                self._usual_s += (_now_s() - began_s - self._usual_s) / 8
                self._slots.release()
        finally:
            self.count -= 1


def _now_s() -> float:
    return asyncio.get_running_loop().time()
