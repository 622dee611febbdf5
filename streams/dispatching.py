"""Deliveries read from Kafka side by side, and their offsets committed in order.

Invariants:
  * An offset of `deliveries` is committed only when Kafka has an outcome of every delivery before it.
  * What is in memory is bounded: no more is read while `UNDER_WAY_MAX` deliveries are under way.
  * A partition is given up only when what was read of it is done with, or after `REVOKE_S_MAX`; the ledger tells the
    next owner what was taken.
  * A failure that isn't expected ends the process; its supervisor starts it again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import msgspec
import redis.asyncio as redis
from aiohttp import web
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from actions.dispatch import Dispatcher
from schemas.deliveries import Delivery
from schemas.rejected import Reason, rejection_headers
from schemas.topics import DEFINITIONS, DELIVERIES, OUTCOMES, REJECTED
from streams.clock import SystemClock
from streams.dispatcher_setup import redis_problems
from streams.dispatcher_web import WebServer
from streams.offsets import Offsets
from streams.outcomes import OutcomeWriter
from streams.pulse import Pulse
from streams.rulebook import RuleBook
from streams.security import access
from streams.settings import Settings
from streams.surroundings import keep_topics

logger = logging.getLogger(__name__)

# without which nothing can be dispatched
TOPICS = (DELIVERIES, OUTCOMES, REJECTED, DEFINITIONS)

UNDER_WAY_MAX = 500
FETCH_MS = 200
COMMIT_S = 0.5
UPKEEP_S = 60.0
REVOKE_S_MAX = 40.0
REBALANCE_MS_MAX = 60_000
# with what comes after it (`dispatcher.STOP_S_MAX` is the whole) less than 20 s; longer than any webhook may take
FINISH_S_MAX = 15.5
CLOSE_S_MAX = 0.8
LIVE_S_MAX = 60.0


class DispatcherProcess:
    """Reads deliveries, lets the engine deliver them, commits offsets."""

    def __init__(
        self,
        settings: Settings,
        engine: Dispatcher,
        book: RuleBook,
        writer: OutcomeWriter,
        client: redis.Redis,
        woken: asyncio.Event,
        routes: Sequence[web.RouteDef] = (),
    ) -> None:
        self._settings, self._engine, self._book, self._writer = settings, engine, book, writer
        self._client, self._woken, self._routes = client, woken, routes
        self._offsets = Offsets()
        self._under_way: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # a delivery is done with, or a rebalance is over
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._revoking = False
        self._ready = False
        self._pulse: Pulse | None = None
        self._turned_s = asyncio.get_running_loop().time()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes what is under way; raises what ended it otherwise."""
        server = WebServer(self._engine.metrics.registry, self._live, self._readiness, self._routes)
        await server.start(self._settings.web_host, self._settings.web_port)
        following = self._watch(self._book.follow())
        try:
            await self._until(self._prepare(), stop)
            if not stop.is_set():
                await self._dispatch(stop)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await closed(server.stop())

    async def _prepare(self) -> None:
        await self._engine.catch_up()
        await self._engine.release()
        for sentence in await redis_problems(self._client):
            logger.warning("%s", sentence)

    async def _dispatch(self, stop: asyncio.Event) -> None:
        consumer = self._consumer()
        topic = self._settings.topic(DELIVERIES.name)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._until(consumer.start(), stop)
            if stop.is_set():
                return
            self._pulse = Pulse(consumer, topic)
            consumer.subscribe([topic], listener=_Rebalance(self, consumer))
            works = (
                self._engine.sweep(),
                self._keep_up(),
                self._commit_now_and_then(consumer),
                self._pulse.follow(),
                keep_topics(self._settings, [self._settings.topic(each.name) for each in TOPICS]),
            )
            tasks.extend(self._watch(work) for work in works)
            self._ready = True
            await self._until(self._read(consumer), stop)
            self._ready = False
            logger.info("stopping: what is under way is finished first, for %g s at most", FINISH_S_MAX)
            await self._finish()
            await closed(self._commit(consumer))
        finally:
            self._ready = False
            ending = [*tasks, *self._under_way]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await closed(consumer.stop())

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **access(self._settings),
            group_id=f"{self._settings.prefix}dispatcher",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.session_ms,
            heartbeat_interval_ms=self._settings.session_ms // 3,
            # reading stops for as long as Redis is away; that is no reason to lose the partitions
            max_poll_interval_ms=24 * 3_600_000,
            rebalance_timeout_ms=REBALANCE_MS_MAX,
        )

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._turned_s = asyncio.get_running_loop().time()
            room = UNDER_WAY_MAX - len(self._under_way)
            if room <= 0 or self._is_revoking():
                await self._wait_for_change()
                continue
            fetched = await consumer.getmany(timeout_ms=FETCH_MS, max_records=room)
            if self._is_revoking():
                continue  # whoever gets the partitions reads these again, from what is committed
            for partition, records in fetched.items():
                for record in records:
                    self._begin(partition, record)

    def _begin(self, partition: TopicPartition, record: ConsumerRecord) -> None:
        self._offsets.begin(partition, record.offset)
        task = self._watch(self._deliver(record))
        self._under_way.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            if not task.cancelled() and task.exception() is None:
                self._offsets.done(partition, record.offset)
            self._changed.set()

        task.add_done_callback(done)

    async def _deliver(self, record: ConsumerRecord) -> None:
        try:
            delivery = msgspec.json.decode(record.value or b"", type=Delivery)
        except (msgspec.DecodeError, RecursionError) as error:
            return await self._reject(record, error)
        await self._engine.deliver(delivery)
        return None

    async def _reject(self, record: ConsumerRecord, error: Exception) -> None:
        self._engine.metrics.unreadable.inc()
        sentence = f"expected a delivery, got something else: {error}"
        logger.error("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, sentence)
        headers = rejection_headers(
            Reason.FAILED, sentence, record.topic, record.partition, record.offset, SystemClock().now_ms()
        )
        topic = self._settings.topic(REJECTED.name)
        await self._writer.put(topic, record.partition, record.key, record.value, headers)

    async def _commit_now_and_then(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            if not self._revoking:
                await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        offsets = self._offsets.committable()
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            # the next commit says the same and more; whoever reads the records again finds them in the ledger
            logger.info("offsets are not committed yet: %r", error)
        else:
            self._offsets.committed(offsets)

    async def _keep_up(self) -> None:
        """Lets go of what was held as soon as a pause ends, and brings the ledger's positions up now and then."""
        while True:
            try:
                async with asyncio.timeout(UPKEEP_S):
                    await self._woken.wait()
            except TimeoutError:
                await self._engine.catch_up()
            self._woken.clear()
            await self._engine.release()

    def _is_revoking(self) -> bool:
        # a method, as a type checker takes an attribute for what it was before an await
        return self._revoking

    async def give_up(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Finishes what was read of `partitions`, for a bounded time, and commits."""
        self._revoking = True
        deadline_s = asyncio.get_running_loop().time() + REVOKE_S_MAX
        while self._offsets.count(partitions) and asyncio.get_running_loop().time() < deadline_s:
            await self._wait_for_change()
        await self._commit(consumer)
        self._offsets.forget(partitions)

    def take_up(self, partitions: set[TopicPartition]) -> None:
        """Reading goes on with `partitions` and no others."""
        self._offsets.clear()
        self._revoking = False
        self._changed.set()
        logger.info("dispatching partitions %s", sorted(partition.partition for partition in partitions))

    async def _finish(self) -> None:
        self._engine.stop()
        deadline_s = asyncio.get_running_loop().time() + FINISH_S_MAX
        while (self._under_way or self._engine.under_way) and asyncio.get_running_loop().time() < deadline_s:
            await self._wait_for_change()
        if left := max(len(self._under_way), self._engine.under_way):
            logger.warning("stopping: at least %d deliveries are not through; they go on when a dispatcher runs", left)

    async def _wait_for_change(self) -> None:
        """Until a delivery is done with; a second at most, as the sweep's don't say so."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0 if not self._engine.under_way else 0.1):
                await self._changed.wait()

    def _watch(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure ends the process."""
        task = asyncio.create_task(work)

        def done(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None and not self._failed.done():
                self._failed.set_exception(error)

        task.add_done_callback(done)
        return task

    async def _until(self, work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
        """Until `work` is through or `stop` is set; raises what failed, here or in a watched task."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((working, stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            if self._failed.done():
                self._failed.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    def _live(self) -> str | None:
        stood_s = asyncio.get_running_loop().time() - self._turned_s
        return None if stood_s < LIVE_S_MAX or not self._ready else f"nothing read for {stood_s:.0f} s"

    def _readiness(self) -> str | None:
        problem = self._engine.problem or (self._pulse and self._pulse.problem)
        return problem or (None if self._ready else "starting or stopping")


async def closed(closing: Awaitable[Any]) -> None:
    """Awaits what lets go of something, for `CLOSE_S_MAX`: a broker that doesn't answer must not hold up the end."""
    try:
        async with asyncio.timeout(CLOSE_S_MAX):
            await closing
    except (TimeoutError, KafkaError, redis.RedisError, OSError) as error:
        logger.info("stopping: something was not closed in good order: %r", error)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, process: DispatcherProcess, consumer: AIOKafkaConsumer) -> None:
        self._process, self._consumer = process, consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._process.give_up(self._consumer, revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._process.take_up(assigned)
