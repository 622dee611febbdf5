"""Connections to Kafka for short work: open in bounded time, closed whatever happens, failures said in a sentence.

The worker has its own; this is for the command line, for definitions and for checks at start.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    InvalidTransactionTimeout,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
)

from schemas.topics import partition_of
from streams.errors import BrokerError, TopicsError
from streams.security import SilentError, access, forbidden, knock, reason
from streams.settings import Settings

CONNECT_TIMEOUT_S = 5.0
# how long one request may take before the broker counts as gone
REQUEST_TIMEOUT_MS = 10_000
FETCH_BYTES_MAX = 4 * 1024 * 1024
FETCH_MS = 250
# a fetch is answered after so long where there is nothing, and whatever else is asked of that broker waits behind it
FETCH_WAIT_MS = 100
STALLED_S = 15.0


@contextlib.asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client; raises `BrokerError`."""
    await reach(settings)
    client = AIOKafkaAdminClient(**access(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    async with _started(client, client.close, settings):
        yield client


@contextlib.asynccontextmanager
async def producer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that waits for all replicas and repeats nothing; raises `BrokerError`."""
    await reach(settings)
    if "transactional_id" in options:
        # the client's own default may be more than the brokers allow
        options["transaction_timeout_ms"] = settings.transaction_timeout_ms
    client = AIOKafkaProducer(
        **access(settings),
        acks="all",
        enable_idempotence=True,
        **{"request_timeout_ms": REQUEST_TIMEOUT_MS, **options},
    )
    async with _started(client, client.stop, settings):
        yield client


@contextlib.asynccontextmanager
async def reader(
    settings: Settings,
    topics: Sequence[str],
    start: Literal["earliest", "latest"] = "earliest",
    key: bytes | None = None,
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of committed records, in no group, of all partitions of `topics` (full names) from `start` on.

    With `key`, of those partitions alone that records of that key go to.
    Don't seek it to beginning or end: aiokafka may be finding its place meanwhile, and the later one wins.
    Raises `BrokerError`, and `TopicsError` where a topic is missing: asking Kafka for one could make it, wrongly.
    """
    partitions = await partitions_of(settings, topics)
    client = AIOKafkaConsumer(
        **access(settings),
        isolation_level="read_committed",
        enable_auto_commit=False,
        group_id=None,
        auto_offset_reset=start,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    async with _started(client, client.stop, settings):
        numbers = {
            topic: range(count) if key is None else [partition_of(key, count)] for topic, count in partitions.items()
        }
        client.assign([TopicPartition(topic, n) for topic in topics for n in numbers[topic]])
        await _placed(client, settings)
        yield client


async def stored(settings: Settings, topics: Sequence[str]) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """All committed records of `topics` (full names) from the beginning to the end as of now, each partition in order.

    Raises `BrokerError`, also where nothing more comes before the end, and `TopicsError`.
    """
    async with reader(settings, topics) as client:
        async for record in to_the_end(client, await client.end_offsets(list(client.assignment()))):
            yield record


async def to_the_end(
    client: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Committed records of the partitions of `ends`, from where the consumer stands up to there, each partition in order.

    Raises `BrokerError` where nothing more comes before.
    """
    todo, stalled_s = await _unread(client, ends), 0.0
    while todo:
        fetched = await client.getmany(*todo, timeout_ms=FETCH_MS)
        for records in fetched.values():
            for record in records:
                yield record
        stalled_s = 0.0 if fetched else stalled_s + FETCH_MS / 1000
        if stalled_s > STALLED_S:
            names = ", ".join(sorted({partition.topic for partition in todo}))
            raise BrokerError(
                f"expected records of {names} up to their end, got none for {STALLED_S:g} s: "
                "see that each of their partitions has a leader"
            )
        todo = await _unread(client, todo)


async def _unread(client: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    return {partition: end for partition, end in ends.items() if await client.position(partition) < end}


async def _placed(client: AIOKafkaConsumer, settings: Settings) -> None:
    """Waits until the consumer knows where in each partition it begins: what comes after that moment, it will read."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
            for partition in client.assignment():
                await client.position(partition)
    except TimeoutError:
        raise BrokerError(
            f"expected Kafka at {settings.broker} to say where {partition.topic} begins and ends, got no answer within "
            f"{REQUEST_TIMEOUT_MS // 1000} s: see that its partition {partition.partition} has a leader"
        ) from None


async def partitions_of(settings: Settings, topics: Sequence[str]) -> dict[str, int]:
    """Partition count of each of `topics` (full names); raises `TopicsError` naming those that are missing."""
    async with admin(settings) as client:
        there = set(await client.list_topics())
        if missing := [topic for topic in topics if topic not in there]:
            raise TopicsError(
                f"expected the topics {', '.join(missing)} on {settings.broker}, found none of that name: "
                "make them with `tidegate topics create`, or set TIDEGATE_PREFIX to the prefix that is meant"
            )
        return {found["topic"]: len(found["partitions"]) for found in await client.describe_topics(list(topics))}


async def reach(settings: Settings) -> None:
    """Raises `BrokerError` with what each server answered and what to do, unless one lets this in; `SettingError`."""
    answers: list[str] = []
    cures: list[str] = []
    for server in settings.servers:
        try:
            await knock(settings, server)
            return
        except (OSError, KafkaError, EOFError, SilentError) as error:
            what, cure = reason(error, settings)
            answers.append(f"{server}: {what}")
            cures.append(cure)
    raise BrokerError(
        f"expected to be let in by a Kafka broker, was not ({'; '.join(answers)}): {'; '.join(dict.fromkeys(cures))}"
    )


@contextlib.asynccontextmanager
async def _started(client: Any, stop: Any, settings: Settings) -> AsyncIterator[None]:
    try:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.start()
        except (TimeoutError, KafkaError) as error:
            raise BrokerError(_not_served(error, client, settings)) from None
        try:
            yield
        except KafkaError as error:
            what = f"{words_of(error)}{forbidden(error)}"
            raise BrokerError(f"Kafka at {settings.broker} failed under way: {what}") from error
    finally:
        # a broker that went away would otherwise hold the command for as long as requests may take
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await _stopped(stop())


async def _stopped(stopping: Awaitable[Any]) -> None:
    task = asyncio.current_task()
    try:
        await stopping
    except asyncio.CancelledError:
        # aiokafka passes on that of a fetch of its own, which it has cancelled while the broker was away
        if task is None or task.cancelling():
            raise


def _not_served(error: TimeoutError | KafkaError, client: Any, settings: Settings) -> str:
    """Why a client could not be started by a broker that lets this in."""
    if isinstance(error, InvalidTransactionTimeout):
        return (
            f"expected Kafka at {settings.broker} to allow transactions of {settings.transaction_timeout_ms} ms, it does "
            "not: set TIDEGATE_TRANSACTION_TIMEOUT to no more than the brokers' transaction.max.timeout.ms"
        )
    if cure := forbidden(error):
        return f"Kafka at {settings.broker} doesn't allow it: {words_of(error)}{cure}"
    if isinstance(error, TimeoutError) and isinstance(client, AIOKafkaProducer) and client._txn_manager is not None:
        return (
            f"expected Kafka at {settings.broker} to begin transactions, got no answer: see with `tidegate topics check` "
            "whether it can, and that __transaction_state has leaders"
        )
    said = "no answer as a broker gives it" if isinstance(error, TimeoutError) else words_of(error)
    return (
        f"expected a Kafka broker at {settings.broker}, got a connection but {said}: "
        "see that this is Kafka's own port and that its advertised listener can be reached from here"
    )


def words_of(error: KafkaError) -> str:
    """What aiokafka says, on one line, with the kind of error where that is all it has."""
    text = " ".join(str(error).split())
    if isinstance(error, KafkaTimeoutError | RequestTimedOutError):
        return f"no answer within {REQUEST_TIMEOUT_MS // 1000} s" + (
            f" ({text})" if text and "Error" not in text else ""
        )
    return text if text else type(error).__name__
