"""Turns at receivers: each has a lane of its own, so that one that is slow or away holds up nobody else."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Final

LANE_ATTEMPTS_MAX: Final = 8  # attempts at one receiver at a time
LANE_WAIT_S_MAX: Final = 5.0  # a delivery that would wait, or has waited, for longer than that makes room for others
# deliveries are decided on before the receiver is free for them, so that it need not wait for that: as many as it takes in
# so long, and no more, as what was decided must hold
LANE_AHEAD_S: Final = 0.2
LANE_TURNS_MAX: Final = 64
LANE_STUCK_S: Final = 2.0  # an attempt that has lasted for so long: there is no use in waiting behind it


class Crowded(Exception):
    """A delivery has waited for its turn for too long: it makes room."""


class Lane:
    """What goes to one receiver: a few attempts at a time, some that are next, and those that wait, for a short while.

    So a slow receiver's deliveries are in nobody's way, and a burst for a quick one goes straight through.
    """

    def __init__(self) -> None:
        self.count = 0  # turns, and those that wait for one
        self.slots = asyncio.Semaphore(LANE_ATTEMPTS_MAX)
        self.attempts = _Lasting()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._through_s = 0.0  # when the last of those that have made room comes back

    @property
    def full(self) -> bool:
        """Whether a newcomer had better make room at once."""
        return self.count >= LANE_ATTEMPTS_MAX and self.attempts.oldest_s > LANE_STUCK_S

    @contextlib.asynccontextmanager
    async def turn(self) -> "AsyncIterator[Turn]":
        """A delivery's turn; raises `Crowded` when it doesn't come in time."""
        self.count += 1
        try:
            await self._wait()
        except BaseException:
            self.leave()
            raise
        turn = Turn(self)
        try:
            yield turn
        finally:
            turn.end()

    def later_s(self, least_s: float) -> float:
        """In how many seconds one that makes room should come back: one after the other, as fast as attempts are made now."""
        now_s = _now_s()
        self._through_s = max(self._through_s, now_s + least_s) + self.attempts.usual_s / LANE_ATTEMPTS_MAX
        return self._through_s - now_s

    def leave(self) -> None:
        """Somebody's turn, or the waiting for one, is over."""
        self.count -= 1
        self._admit()

    async def _wait(self) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(admitted)
        self._admit()
        try:
            async with asyncio.timeout(LANE_WAIT_S_MAX):
                await admitted
        except TimeoutError:
            raise Crowded from None
        finally:
            with contextlib.suppress(ValueError):  # it is no longer there when it was admitted
                self._waiting.remove(admitted)

    def _admit(self) -> None:
        while self._waiting and self.count - len(self._waiting) < self._width:
            admitted = self._waiting.popleft()
            if not admitted.done():  # who was cancelled leaves in a moment
                admitted.set_result(None)

    @property
    def _width(self) -> int:
        """How many may have their turn: of a receiver that isn't known to be quick, as many as may attempt."""
        if not self.attempts.known:
            return LANE_ATTEMPTS_MAX
        attempt_s = max(self.attempts.usual_s, self.attempts.oldest_s, 0.001)
        quick = LANE_ATTEMPTS_MAX * (1 + LANE_AHEAD_S / attempt_s)
        return min(LANE_TURNS_MAX, int(quick))


class Turn:
    """To decide on a delivery, and to make one attempt at it."""

    def __init__(self, lane: Lane) -> None:
        self._lane, self._over = lane, False
        self._attempting = False

    async def attempt(self) -> float:
        """Waits until the receiver is free for the attempt, and for how long, in s; raises `Crowded` when it isn't in time.

        Once it is, it stays so until the attempt ends: who asks again doesn't wait.
        """
        if self._attempting:
            return 0.0
        lane, asked_s = self._lane, _now_s()
        try:
            async with asyncio.timeout(LANE_WAIT_S_MAX):
                await lane.slots.acquire()
        except TimeoutError:
            raise Crowded from None
        self._attempting = True
        return _now_s() - asked_s

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """What the receiver itself takes of an attempt: only that tells how quick it is, and not a Redis that is away."""
        began = self._lane.attempts.begin()
        try:
            yield
        finally:
            self._lane.attempts.end(began)

    def end_attempt(self) -> None:
        """The receiver is free for another; may be told so twice."""
        if self._attempting:
            self._lane.slots.release()
            self._attempting = False

    def end(self) -> None:
        """The turn is over, and the attempt; may be told so twice."""
        self.end_attempt()
        if not self._over:
            self._over = True
            self._lane.leave()


class _Lasting:
    """How long something lasts."""

    def __init__(self) -> None:
        self._average_s: float | None = None
        self._since_s: dict[object, float] = {}  # oldest first

    @property
    def known(self) -> bool:
        """Whether one has ended."""
        return self._average_s is not None

    @property
    def usual_s(self) -> float:
        """How long the last ones lasted; 0 where none has ended."""
        return self._average_s or 0.0

    @property
    def oldest_s(self) -> float:
        """For how long the oldest under way has lasted so far; 0 where none is."""
        now_s = _now_s()
        return now_s - next(iter(self._since_s.values()), now_s)

    def begin(self) -> object:
        """One begins; what `end` is to be told."""
        one = object()
        self._since_s[one] = _now_s()
        return one

    def end(self, one: object) -> None:
        """It is over."""
        lasted_s = _now_s() - self._since_s.pop(one)
        self._average_s = lasted_s if self._average_s is None else self._average_s + (lasted_s - self._average_s) / 8


def _now_s() -> float:
    return asyncio.get_running_loop().time()
