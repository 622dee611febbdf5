"""The way to the ledger: waits while Redis is away, and rebuilds a ledger that isn't known to hold all that was sent."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from actions.ledger import Batch, Ledger, LockLost, OutcomesUnread, Unsynced
from actions.metrics import DispatcherMetrics

logger = logging.getLogger(__name__)

WAIT_S_MIN, WAIT_S_MAX = 0.05, 2.0
REBUILD_WAIT_S = 0.2
# Redis refuses now and then with an error of its own (loading, out of memory, read-only): that is being away, too
AWAY = (RedisError, OSError, TimeoutError)
REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)

T = TypeVar("T")


class LedgerAccess:
    """`await access(call)` is what `call` returns, as soon as Redis is there and in sync.

    `problem`: why nothing can be sent just now, None when all is well.
    """

    def __init__(
        self,
        ledger: Ledger,
        read_outcomes: Callable[[dict[str, int]], AsyncIterator[Batch]],
        now_ms: Callable[[], int],
        metrics: DispatcherMetrics,
    ) -> None:
        self.problem: str | None = None
        self._ledger, self._read_outcomes, self._now_ms, self._metrics = ledger, read_outcomes, now_ms, metrics
        self._rebuilding = asyncio.Lock()
        self._gone_s = 0.0

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` returns, as soon as Redis is there and holds all that was sent."""
        wait_s = WAIT_S_MIN
        while True:
            began_s = asyncio.get_running_loop().time()
            try:
                found = await call()
                _end_if_cancelled()
                self._back(began_s)
                return found
            except Unsynced:
                await self._rebuild_unless_in_sync()
            except (*AWAY, OutcomesUnread) as error:
                _end_if_cancelled()
                self._gone(error)
                await self._ledger.reconnect()
                await asyncio.sleep(wait_s)
                wait_s = min(WAIT_S_MAX, wait_s * 2)

    async def catch_up(self) -> None:
        """Lets the ledger learn what Kafka has; waits for Redis."""
        await self(self._rebuild_alone)

    async def _rebuild_unless_in_sync(self) -> None:
        try:
            async with self._rebuilding:
                if await self._ledger.in_sync():
                    return
                logger.warning("redis has restarted or lost the ledger: nothing is sent until it is rebuilt")
                self._metrics.rebuilds.inc()
                await self._rebuild()
                logger.warning("the ledger is rebuilt from the outcomes: sending goes on")
        except (*AWAY, OutcomesUnread) as error:
            self._gone(error)

    async def _rebuild_alone(self) -> None:
        async with self._rebuilding:
            await self._rebuild()

    async def _rebuild(self) -> None:
        while True:
            try:
                if await self._ledger.rebuild(self._now_ms(), self._read_outcomes):
                    return
            except LockLost:
                logger.warning("redis lost the rebuild of the ledger half way: it starts over")
            await asyncio.sleep(REBUILD_WAIT_S)  # another dispatcher is at it
            if await self._ledger.in_sync():
                return

    def _gone(self, error: Exception) -> None:
        problem, advice = _problem(error)
        if self.problem != problem:
            logger.error("%s, nothing is sent until that is over: %s%s", problem, error, advice)
        self.problem = problem
        self._gone_s = asyncio.get_running_loop().time()
        self._metrics.ledger_away.set(1)

    def _back(self, began_s: float) -> None:
        if self.problem is None or began_s < self._gone_s:
            return  # an answer of before
        logger.warning("the ledger is back: sending goes on")
        self.problem = None
        self._metrics.ledger_away.set(0)


def _problem(error: Exception) -> tuple[str, str]:
    """What is wrong, for `/readyz`, and what to do about it."""
    if isinstance(error, OutcomesUnread):
        return "the ledger can't catch up with the outcomes", ""
    if isinstance(error, REFUSED):
        return "redis refuses the user or password", " (TIDEGATE_REDIS: correct redis://user:password@host:port/0)"
    return "redis is away", " (TIDEGATE_REDIS says where it is)"


def _end_if_cancelled() -> None:
    """Ends a task that was cancelled in a call to Redis.

    redis-py 8.1 looks for stale answers under a time-out of 0, and takes a cancellation at that moment for the time-out:
    about one in 200 got lost when a busy loop was cancelled at random.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
