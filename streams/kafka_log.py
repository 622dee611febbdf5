"""The real log: Kafka by way of aiokafka (`log.py` says what is asked of it).

`Reader` reads source partitions with a consumer that somebody else made and runs, on that consumer's own loop: the Faust
app's consumer thread, or a test. `KafkaLog` writes and reads state on the worker's loop.

Invariants:
  * A fetch is stamped with the number of the seek that it came after, in one step with the consumer's positions. What was
    read before a seek is therefore told from what was read after it, wherever the two cross.
  * `sent_ms` is when a partition was asked, not when its answer was looked at.
  * aiokafka decides what is visible (aborted, control and compacted records); only its record objects are spared, which
    is a third of the cost of reading.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Set
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    ProducerFenced,
)

from schemas.topics import STATE
from streams.clock import SteadyClock
from streams.log import Claim, FencedError, Fetch, LogError, Outgoing, OvertakenError, Record
from streams.security import access, forbidden
from streams.settings import Settings

logger = logging.getLogger("tidegate.kafka")

# a fetch is answered after so long when there is nothing: "at its end" has to be fresher than inbox.FRESH_MS
FETCH_WAIT_MS = 100
# after a fetch of few records the next ones are let gather for so long: each costs half a millisecond of CPU, however
# little is in it
FETCH_PAUSE_S = 0.015
FEW_RECORDS = 200
FETCH_BYTES_MAX = 512 * 1024
# above the broker's limit for a batch of one record of 900 KiB, below its limit for any batch (1 MiB)
BATCH_BYTES_MAX = 1_000_000
REQUEST_TIMEOUT_MS = 30_000
STATE_FETCH_BYTES_MAX = 4 * 1024 * 1024
# of all partitions at once: `malloc.py` keeps blocks of this size
STATE_ANSWER_BYTES_MAX = 2 * STATE_FETCH_BYTES_MAX


def as_record(_partition: Any, record: Any) -> Record:
    """An aiokafka record as ours; stands in for `PartitionRecords._consumer_record`."""
    return record.timestamp, record.offset, record.key, record.value


async def wait_for_records(fetcher: Any, partitions: Set[TopicPartition], timeout_s: float) -> None:
    """Returns when something was fetched of `partitions`, or after `timeout_s`."""
    if not any(partition in fetcher._records for partition in partitions):
        waiter = fetcher._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=timeout_s)
        waiter.cancel()


async def take_records(fetcher: Any, partitions: Set[TopicPartition]) -> dict[TopicPartition, list[Record]]:
    """What has been fetched of `partitions`; doesn't give the loop away unless the group is being assigned anew."""
    for result in fetcher._records.values():
        if type(result) is FetchResult and result.has_more():
            result._partition_records._consumer_record = as_record
    found: dict[TopicPartition, list[Record]] = await fetcher.fetched_records(partitions, timeout=0)
    return found


class Reader:
    """Source partitions, read with a running consumer; every method is called on the consumer's loop."""

    def __init__(self, settings: Settings, topics: Sequence[str], clock: SteadyClock | None = None) -> None:
        """`clock` is the worker's, as what it takes for fresh is told by `sent_ms`."""
        self._names = {settings.topic(topic): topic for topic in topics}
        self._settings = settings
        self._clock = clock or SteadyClock()
        self.number = 0
        self._reading: set[TopicPartition] = set()
        self._asked_ms: dict[TopicPartition, int] = {}
        self._told_ms: dict[TopicPartition, int] = {}
        self._watched: Any = None
        self._few = False
        self._taken_s = 0.0

    async def bounds(self, consumer: Any, partitions: Set[int]) -> dict[tuple[str, int], tuple[int, int]]:
        """First offset and end of each source partition."""
        asked = [TopicPartition(name, number) for name in self._names for number in sorted(partitions)]
        first, end = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
        return {(self._names[each.topic], each.partition): (first[each], end[each]) for each in asked}

    def seek(self, consumer: Any, positions: Mapping[int, Mapping[str, int]]) -> int:
        """Reads on from these positions, and of these partitions alone; returns the number of this seek."""
        self._watch(consumer._fetcher)
        assigned = consumer.assignment()
        wanted = {
            TopicPartition(self._settings.topic(topic), number): position
            for number, by_topic in positions.items()
            for topic, position in by_topic.items()
        }
        if missing := wanted.keys() - assigned:
            raise OvertakenError(f"expected to be assigned {sorted(missing)[:3]}, got {len(assigned)} other partitions")
        for partition, position in wanted.items():
            consumer.seek(partition, position)
            consumer.resume(partition)
        consumer.pause(*(assigned - wanted.keys()))
        self._reading = set(wanted)
        self._asked_ms.clear()
        self._told_ms.clear()
        self.number += 1
        return self.number

    async def fetch(self, consumer: Any, hold: Set[tuple[str, int]]) -> tuple[int, list[Fetch]]:
        """What there is, and the number of the seek that it came after."""
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError()
        self._pause(consumer, hold)
        with fetcher._subscriptions.fetch_context():
            active = {partition for partition in self._reading if partition in consumer.assignment()}
            if not active:
                await asyncio.sleep(FETCH_WAIT_MS / 1000)
                return self.number, []
            if self._few:
                await asyncio.sleep(self._taken_s + FETCH_PAUSE_S - time.monotonic())
            await wait_for_records(fetcher, active, FETCH_WAIT_MS / 2000)
            if fetcher._subscriptions.reassignment_in_progress:
                return self.number, []
            before = {partition: _position(consumer, partition) for partition in self._reading & active}
            found = await take_records(fetcher, before.keys())
            self._few = 0 < sum(map(len, found.values())) < FEW_RECORDS
            self._taken_s = time.monotonic()
            return self.number, self._fetches(consumer, before, found)

    def _fetches(
        self, consumer: Any, before: Mapping[TopicPartition, int | None], found: Mapping[TopicPartition, list[Record]]
    ) -> list[Fetch]:
        assignment = consumer._subscription.subscription.assignment
        fetches = []
        for partition, start in before.items():
            state = assignment.state_value(partition) if assignment else None
            if state is None or start is None or not state.has_valid_position or partition not in self._reading:
                continue
            records = found.get(partition, [])
            # 0, which is never fresh, where it was asked before it was watched; its records count all the same
            asked_ms = self._asked_ms.get(partition, 0)
            if records:
                self._clock.saw(records[-1][0])
            elif self._told_ms.get(partition, 0) == asked_ms:
                continue
            self._told_ms[partition] = asked_ms
            end = state.lso if state.lso is not None else state.highwater
            topic = self._names[partition.topic]
            fetches.append(Fetch(topic, partition.partition, start, state.position, end, asked_ms, records))
        return fetches

    def _watch(self, fetcher: Any) -> None:
        """Has it noted when each partition was asked, once it has answered.

        aiokafka notes when an answer was looked at, which after a pause of this process may be long after it was true.
        """
        if fetcher is self._watched:
            return
        self._watched, original = fetcher, fetcher._proc_fetch_request
        self._asked_ms.clear()

        async def noted(assignment: Any, node_id: int, request: Any) -> Any:
            asked_ms = self._clock.now_ms()
            asked = [TopicPartition(topic, each[0]) for topic, listed in request.topics for each in listed]
            states = [assignment.state_value(partition) for partition in asked]
            before = [state.timestamp for state in states]
            for state in states:
                state.timestamp = None
            result = await original(assignment, node_id, request)
            for partition, state, timestamp in zip(asked, states, before, strict=True):
                if state.timestamp is None:  # no answer, or one that was left aside
                    state.timestamp = timestamp
                else:
                    self._asked_ms[partition] = asked_ms
            return result

        fetcher._proc_fetch_request = noted

    def _pause(self, consumer: Any, hold: Set[tuple[str, int]]) -> None:
        paused = consumer.paused() & self._reading
        wanted = {
            partition for partition in self._reading if (self._names[partition.topic], partition.partition) in hold
        }
        if wanted != paused:
            consumer.pause(*(wanted - paused))
            consumer.resume(*(paused - wanted))


def _position(consumer: Any, partition: TopicPartition) -> int | None:
    state = consumer._subscription.subscription.assignment.state_value(partition)
    return state.position if state is not None and state.has_valid_position else None


def refuse_refused(consumer: Any, settings: Settings) -> None:
    """Raises LogError where the group has refused the consumer for good; may be called from any thread."""
    error = consumer._coordinator._pending_exception
    if error is not None:
        raise LogError(f"expected to join the group {settings.group}, could not: {why_refused(error, settings)}")


def ask_for_missing(consumer: Any) -> None:
    """Has Kafka asked again for topics that the group reads and the consumer has not heard of; on the consumer's loop.

    aiokafka asks once. Where the broker was just going away then, the group's leader takes the topics for missing, and gives
    nobody any partition, until its metadata is five minutes old.
    """
    client, read = consumer._client, consumer._coordinator._group_subscription or ()
    if any(client.cluster.partitions_for_topic(topic) is None for topic in read):
        client.force_metadata_update()


def why_refused(error: KafkaError, settings: Settings) -> str:
    """Why a group refused a consumer of these settings, and what to do."""
    if isinstance(error, InvalidSessionTimeoutError):
        return (
            f"a session of {settings.session_ms} ms is refused: set TIDEGATE_SESSION within the brokers' "
            "group.min.session.timeout.ms and group.max.session.timeout.ms"
        )
    if isinstance(error, InconsistentGroupProtocolError):
        return "consumers of another kind are in it: stop them, or set TIDEGATE_PREFIX to one of its own"
    if isinstance(error, GroupAuthorizationFailedError):
        return f"this user may not read with it{forbidden(error)}"
    return repr(error)


class KafkaClaim:
    """A partition's transactional producer; the broker lets only the newest of one transactional id write."""

    def __init__(self, producer: Any, settings: Settings, partition: int) -> None:
        self._producer = producer
        self._settings = settings
        self._partition = partition

    async def begin(self, topics: Collection[str] = ()) -> None:
        """Begins a transaction.

        The broker is told of all `topics` in one request: told of the second while records of the first come in, it
        refuses those for now, and what is written at once goes out in one request, too.
        """
        with _ours("begin a transaction"):
            await self._producer.begin_transaction()
        for topic in topics:
            partition = TopicPartition(self._settings.topic(topic), self._partition)
            self._producer._txn_manager.maybe_add_partition_to_txn(partition)

    async def send(self, topic: str, records: Sequence[Outgoing]) -> list[asyncio.Future[int]]:
        """Hands the records over in whole batches, which is half the cost of one by one."""
        name, producer, at = self._settings.topic(topic), self._producer, 0
        sent: list[asyncio.Future[int]] = []
        with _ours(f"write to {name}"):
            while at < len(records):
                batch, began = producer.create_batch(), at
                for key, value, headers in records[at:]:
                    if batch.append(timestamp=None, key=key, value=value, headers=headers or []) is None:
                        break
                    at += 1
                if at == began:
                    raise LogError(f"{name}: expected a record of less than {BATCH_BYTES_MAX} bytes, got a larger one")
                batch.close()
                future = await producer.send_batch(batch, name, partition=self._partition)
                sent.append(asyncio.ensure_future(_offset_after(future, at - began, name)))
        return sent

    async def send_offsets(self, positions: Mapping[str, int]) -> None:
        """Commits them for the group, with the transaction."""
        offsets = {TopicPartition(self._settings.topic(topic), self._partition): at for topic, at in positions.items()}
        with _ours("commit offsets"):
            await self._producer.send_offsets_to_transaction(offsets, self._settings.group)

    async def commit(self) -> None:
        """Ends the transaction."""
        with _ours("commit"):
            await self._producer.commit_transaction()

    async def abort(self) -> None:
        """Gives the transaction up if that is still possible; the reason for it is what the caller has to say."""
        try:
            async with asyncio.timeout(1.0):
                await self._producer.abort_transaction()
        except Exception as error:
            logger.warning("partition %d: abort: %r", self._partition, error)

    async def close(self) -> None:
        """Stops the producer."""
        await self._producer.stop()


async def _offset_after(future: Awaitable[Any], count: int, name: str) -> int:
    with _ours(f"write to {name}"):
        metadata = await future
    return int(metadata.offset) + count


class _ours:
    """Turns what aiokafka raises into LogError, with what was attempted."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ProducerFenced):
            raise FencedError(
                f"could not {self._what}: another worker has taken the partition over, or this one was slow or asleep for "
                "longer than TIDEGATE_TRANSACTION_TIMEOUT"
            ) from error
        if isinstance(error, KafkaError):
            raise LogError(f"could not {self._what}: {error!r}{forbidden(error)}") from error


async def claim_partition(settings: Settings, partition: int) -> KafkaClaim:
    """The partition's producer, started."""
    producer = AIOKafkaProducer(
        **access(settings),
        transactional_id=f"{settings.group}-{partition}",
        transaction_timeout_ms=settings.transaction_timeout_ms,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_batch_size=BATCH_BYTES_MAX,
        linger_ms=0,
        retry_backoff_ms=10,  # 100 would be paid whenever one transaction follows another closely
    )
    with _ours(f"claim partition {partition}"):
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
    return KafkaClaim(producer, settings, partition)


class KafkaLog:
    """Kafka, with a `Reader` reached through `call` (which runs a function of the reader on the consumer's loop)."""

    def __init__(self, settings: Settings, reader: Reader, call: Callable[..., Awaitable[Any]]) -> None:
        self._settings = settings
        self._reader = reader
        self._call = call
        self._number = self._seeks = 0

    async def fence(self, partition: int) -> Claim:
        """Starts the partition's producer: the broker ends what its predecessor left open and refuses it from then on."""
        return await claim_partition(self._settings, partition)

    async def bounds(self, partitions: Set[int]) -> Mapping[tuple[str, int], tuple[int, int]]:
        """First offset and end of each source partition."""
        found: Mapping[tuple[str, int], tuple[int, int]] = await self._call(self._reader.bounds, partitions)
        return found

    async def seek(self, positions: Mapping[int, Mapping[str, int]]) -> None:
        """Reads on from these positions."""
        self._number = -1  # what is on its way was asked for others
        self._seeks = mine = self._seeks + 1
        number = await self._call(self._reader.seek, positions)
        if mine == self._seeks:
            self._number = number

    async def fetch(self, hold: Set[tuple[str, int]]) -> Sequence[Fetch]:
        """What there is; what was read before the last seek is left out, it will be read again."""
        number, fetches = await self._call(self._reader.fetch, hold)
        return fetches if number == self._number else []

    async def read_state(self, starts: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[Record], int]]:
        """The state topic, with a consumer of its own."""
        if not starts:  # aiokafka can't stop a consumer that it has only just started
            return
        settings, name = self._settings, self._settings.topic(STATE.name)
        consumer = AIOKafkaConsumer(
            **access(settings),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=STATE_FETCH_BYTES_MAX,
            fetch_max_bytes=STATE_ANSWER_BYTES_MAX,
            check_crcs=False,
        )
        try:
            with _ours(f"read {name}"):
                await consumer.start()
                async for each in _to_the_end(consumer, {TopicPartition(name, n): at for n, at in starts.items()}):
                    yield each
        finally:
            await consumer.stop()


async def _to_the_end(
    consumer: Any, starts: Mapping[TopicPartition, int]
) -> AsyncIterator[tuple[int, Sequence[Record], int]]:
    """Everything from `starts` to the ends as they are now; a commit marker may be the last, so positions tell."""
    consumer.assign(list(starts))
    first, end = await consumer.beginning_offsets(list(starts)), await consumer.end_offsets(list(starts))
    for partition, start in starts.items():
        consumer.seek(partition, max(start, first[partition]))
    left = set(starts)
    while True:
        for partition in sorted(left):
            position = await consumer.position(partition)
            if position >= end[partition]:
                left.discard(partition)
                consumer.pause(partition)
                yield partition.partition, (), max(position, starts[partition])
        if not left:
            return
        await wait_for_records(consumer._fetcher, left, 0.02)
        for partition, records in (await take_records(consumer._fetcher, left)).items():
            yield partition.partition, records, records[-1][1] + 1
            await asyncio.sleep(0)  # a million contacts are a second's work: the loop gets its turn in between
