"""The projector's process: `contacts` and `memberships` into Redis, and addresses that mail no longer goes to.

Beside that, the fields of all events into the catalogue (`fields_following.py`).
It may be killed at any moment and thrown away with its Redis: `projecting.py` reads on from where Redis stands.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from actions.inapp import Inbox
from actions.ledger import Ledger
from actions.read_model import ReadModel
from schemas.topics import CONTACTS, SOURCES
from streams.broker import FETCH_BYTES_MAX, REQUEST_TIMEOUT_MS, partitions_of
from streams.dispatcher_setup import connect
from streams.dispatcher_web import WebServer
from streams.dispatching import closed
from streams.errors import BrokerError, StreamsError
from streams.fields_following import Following, follow_fields
from streams.fields_store import FieldStore
from streams.kafka_log import why_refused
from streams.projecting import TOPICS, Projection, Show
from streams.projector_metrics import FieldMetrics, ProjectorMetrics
from streams.pulse import Pulse
from streams.security import access
from streams.settings import Settings
from streams.surroundings import keep_topics

logger = logging.getLogger(__name__)

REBALANCE_MS_MAX = 60_000
LIVE_S_MAX = 60.0
# so far behind, the read model is first: half a second of its work
BUSY_RECORDS = 10_000


async def run_projector(settings: Settings, *, rebuild: bool = False, show: Show | None = None) -> None:
    """Projects until SIGTERM or SIGINT; `rebuild`: from nothing. Raises `SettingError` or `StreamsError` saying what to do.

    `show` is told how many records were read and are to be read, in place of a line now and then.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    working = asyncio.create_task(_project(settings, rebuild, show))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    except KafkaError as error:
        why = why_refused(error, settings)
        raise BrokerError(f"Kafka at {settings.broker} failed: {why}; nothing is lost, start again") from error
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _project(settings: Settings, rebuild: bool, show: Show | None) -> None:
    names = [settings.topic(topic.name) for topic in TOPICS]
    counts = await partitions_of(settings, names)
    partitions = [TopicPartition(name, n) for name in names for n in range(counts[name])]
    metrics = ProjectorMetrics()
    async with contextlib.AsyncExitStack() as stack:
        client = connect(settings)
        stack.push_async_callback(lambda: closed(client.aclose()))
        model = ReadModel(client, settings.prefix)
        if rebuild:
            await _clear(model)
        consumer = await stack.enter_async_context(_consumer(settings, "projector"))
        inbox, ledger = Inbox(client, settings.prefix), Ledger(client, settings.prefix)
        projection = Projection(consumer, model, inbox, ledger, partitions, settings.prefix, metrics, show)
        pulse = Pulse(consumer, settings.topic(CONTACTS.name))
        web = WebServer(metrics.registry, lambda: _live(projection), lambda: _readiness(projection, pulse))
        await web.start(settings.web_host, settings.web_port)
        stack.push_async_callback(lambda: closed(web.stop()))

        def following() -> contextlib.AbstractAsyncContextManager[Following]:
            return _following(settings, FieldStore(client, settings.prefix), metrics.fields, projection)

        fields = follow_fields(following, metrics.fields)
        await _first_to_end(projection.run(), pulse.follow(), keep_topics(settings, names), fields)


async def _first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Runs all of them until one ends; raises what ended it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _clear(model: ReadModel) -> None:
    try:
        if not await model.clear(secrets.token_hex(8)):
            raise StreamsError(
                "expected to throw the read model away, somebody else is at it: see how that one gets on"
            )
    except (RedisError, OSError) as error:
        raise StreamsError(f"expected redis to throw the read model away, got {error}: see TIDEGATE_REDIS") from None
    logger.info("the read model is thrown away: reading anew")


@contextlib.asynccontextmanager
async def _following(
    settings: Settings, store: FieldStore, metrics: FieldMetrics, projection: Projection
) -> AsyncIterator[Following]:
    names = [settings.topic(topic.name) for topic in SOURCES]
    counts = await partitions_of(settings, names)
    partitions = [TopicPartition(name, n) for name in names for n in range(counts[name])]
    async with _consumer(settings, "projector.fields", fetch_max_bytes=FETCH_BYTES_MAX) as consumer:
        yield Following(consumer, store, partitions, settings.prefix, metrics, lambda: _is_busy(projection))


@contextlib.asynccontextmanager
async def _consumer(settings: Settings, group: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **access(settings),
        group_id=f"{settings.prefix}{group}",
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=settings.session_ms,
        heartbeat_interval_ms=settings.session_ms // 3,
        # reading stops for as long as Redis is away; that is no reason to lose the partitions
        max_poll_interval_ms=24 * 3_600_000,
        rebalance_timeout_ms=REBALANCE_MS_MAX,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        **options,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await closed(consumer.stop())


def _is_busy(projection: Projection) -> bool:
    return projection.filling > 0 or projection.lag > BUSY_RECORDS


def _live(projection: Projection) -> str | None:
    stood_s = asyncio.get_running_loop().time() - projection.turned_s
    return None if stood_s < LIVE_S_MAX else f"nothing read for {stood_s:.0f} s"


def _readiness(projection: Projection, pulse: Pulse) -> str | None:
    if projection.problem or pulse.problem:
        return projection.problem or pulse.problem
    return f"{projection.filling} partitions are not read to their end yet" if projection.filling else None
