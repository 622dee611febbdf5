"""The dispatcher's process: deliveries in from Kafka, through `actions.dispatch`, outcomes out.

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
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import msgspec
import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from actions.channels import Sender
from actions.dispatch import Dispatcher
from actions.ledger import LEASE_MS, Batch, Ledger
from actions.mail import MailSender, MailServer
from actions.metrics import DispatcherMetrics
from actions.rules import Rule
from actions.webhook import WebhookSender
from schemas.deliveries import Delivery, Outcome
from schemas.rejected import Reason, rejection_headers
from schemas.topics import DELIVERIES, OUTCOMES, REJECTED
from streams.broker import partitions_of
from streams.clock import SystemClock
from streams.dispatcher_setup import check_mail, connect, read_secrets, redis_problems
from streams.dispatcher_web import WebServer
from streams.offsets import Offsets
from streams.outcomes import OutcomeReader, OutcomeWriter
from streams.rulebook import RuleBook
from streams.settings import Settings

logger = logging.getLogger(__name__)

UNDER_WAY_MAX = 500
FETCH_MS = 200
COMMIT_S = 0.5
UPKEEP_S = 60.0
REVOKE_S_MAX = 40.0
REBALANCE_MS_MAX = 60_000
STOP_S_MAX = 35.0  # longer than any attempt
LIVE_S_MAX = 60.0


async def run_dispatcher(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Dispatches until SIGTERM or SIGINT; raises `SettingError` or `StreamsError` saying what to do."""
    environment = os.environ if environment is None else environment
    secrets = read_secrets(environment)
    server = check_mail(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened(settings, secrets, server) as process:
        await process.run(stop)


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, secrets: Mapping[str, str], server: MailServer
) -> "AsyncIterator[DispatcherProcess]":
    """The process with all its connections; closed in turn, whatever happens."""
    names = [settings.topic(topic.name) for topic in (DELIVERIES, OUTCOMES, REJECTED)]
    counts = await partitions_of(settings, names)
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        producer = AIOKafkaProducer(bootstrap_servers=settings.servers, acks="all", linger_ms=5)
        await _start(stack, producer)
        outcomes = OutcomeReader(settings, counts[names[1]])
        await _start(stack, outcomes)
        woken = asyncio.Event()
        book = RuleBook(settings, on_pause=woken.set)
        await _start(stack, book)
        client = connect(settings)
        stack.push_async_callback(client.aclose)
        senders: dict[str, Sender] = {
            "webhook": WebhookSender(secrets, clock.now_ms),
            "email": MailSender(server, settings.mail_from, clock.now_ms),
        }
        for sender in senders.values():
            stack.push_async_callback(sender.close)
        writer = OutcomeWriter(producer, names[1], counts[names[1]])
        environs = KafkaEnvirons(clock, book, writer, outcomes)
        engine = Dispatcher(Ledger(client, settings.prefix, lease_ms=LEASE_MS), senders, environs, DispatcherMetrics())
        yield DispatcherProcess(settings, engine, book, writer, client, woken)


async def _start(stack: contextlib.AsyncExitStack, part: "AIOKafkaProducer | OutcomeReader | RuleBook") -> None:
    stack.push_async_callback(part.stop)
    await part.start()


class KafkaEnvirons:
    """What the engine asks of the world, answered by Kafka (see `actions.dispatch.Environs`)."""

    def __init__(self, clock: SystemClock, book: RuleBook, writer: OutcomeWriter, outcomes: OutcomeReader) -> None:
        self._clock, self._book, self._writer, self._outcomes = clock, book, writer, outcomes

    def now_ms(self) -> int:
        """The wall clock, epoch ms."""
        return self._clock.now_ms()

    async def rule(self, id: str, version: int) -> Rule | None:
        """The rule in that version."""
        return await self._book.rule(id, version)

    def paused(self, channel: str, rule: str) -> str | None:
        """What such a delivery is held for."""
        return self._book.held_for(channel, rule)

    def is_paused(self, held: str) -> bool:
        """Whether that pause is in force."""
        return held in self._book.paused

    async def write(self, outcome: Outcome) -> None:
        """Writes to the outcomes topic."""
        await self._writer.write(outcome)

    def read_outcomes(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        """The outcomes from `positions` on."""
        return self._outcomes.read(positions)


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
    ) -> None:
        self._settings, self._engine, self._book, self._writer = settings, engine, book, writer
        self._client, self._woken = client, woken
        self._offsets = Offsets()
        self._under_way: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # a delivery is done with, or a rebalance is over
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._revoking = False
        self._ready = False
        self._turned_s = asyncio.get_running_loop().time()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes what is under way; raises what ended it otherwise."""
        web = WebServer(self._engine.metrics.registry, self._live, self._readiness)
        await web.start(self._settings.web_host, self._settings.web_port)
        following = self._watch(self._book.follow())
        try:
            await self._until(self._prepare(), stop)
            if not stop.is_set():
                await self._dispatch(stop)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await web.stop()

    async def _prepare(self) -> None:
        await self._engine.catch_up()
        await self._engine.release()
        for sentence in await redis_problems(self._client):
            logger.warning("%s", sentence)

    async def _dispatch(self, stop: asyncio.Event) -> None:
        consumer = self._consumer()
        await consumer.start()
        tasks = [self._watch(self._engine.sweep()), self._watch(self._keep_up())]
        try:
            consumer.subscribe([self._settings.topic(DELIVERIES.name)], listener=_Rebalance(self, consumer))
            tasks.append(self._watch(self._commit_now_and_then(consumer)))
            self._ready = True
            await self._until(self._read(consumer), stop)
            self._ready = False
            logger.info("stopping: what is under way is finished first")
            await self._finish()
            await self._commit(consumer)
        finally:
            self._ready = False
            ending = [*tasks, *self._under_way]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await consumer.stop()

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._settings.servers,
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
            if room <= 0 or self._revoking:
                await self._wait_for_change()
                continue
            fetched = await consumer.getmany(timeout_ms=FETCH_MS, max_records=room)
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
        except msgspec.DecodeError as error:
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

    async def give_up(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Finishes what was read of `partitions`, for a bounded time, and commits."""
        self._revoking = True
        deadline_s = asyncio.get_running_loop().time() + REVOKE_S_MAX
        while self._offsets.count(partitions) and asyncio.get_running_loop().time() < deadline_s:
            await self._wait_for_change()
        await self._commit(consumer)
        self._offsets.forget(partitions)

    def take_up(self, partitions: set[TopicPartition]) -> None:
        """Reading goes on with `partitions`."""
        self._offsets.forget(partitions)
        self._revoking = False
        self._changed.set()
        logger.info("dispatching partitions %s", sorted(partition.partition for partition in partitions))

    async def _finish(self) -> None:
        self._engine.stop()
        deadline_s = asyncio.get_running_loop().time() + STOP_S_MAX
        while (self._under_way or self._engine.under_way) and asyncio.get_running_loop().time() < deadline_s:
            await self._wait_for_change()

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
        if self._engine.ledger_is_away:
            return "redis is away"
        return None if self._ready else "starting or stopping"


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, process: DispatcherProcess, consumer: AIOKafkaConsumer) -> None:
        self._process, self._consumer = process, consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._process.give_up(self._consumer, revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._process.take_up(assigned)
