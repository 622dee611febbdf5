"""Records of compacted topics into the read model, batch by batch, from the positions that Redis holds.

Invariants:
  * Redis alone says where a partition goes on, in the script that writes its records: the group only shares partitions out.
  * A batch is what was fetched after the last `_place`: whatever happens to the assignment or to Redis meanwhile, it is
    thrown away and read again from where Redis stands.
  * What is in memory is bounded by what is fetched at once.
  * Of a contact that was erased the in-app messages go as well, and what waits to be sent is made due, to be left out,
    before its record counts as read.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from redis.exceptions import RedisError

from actions.inapp import Inbox
from actions.ledger import Ledger
from actions.read_model import BeingRebuilt, Moved, ReadModel, Write, partition_name
from actions.suppression import suppression_of
from schemas.topics import CONTACTS, EVENTS_EMAIL, EVENTS_OWN, MEMBERSHIPS
from streams.clock import wall_ms

if TYPE_CHECKING:
    from streams.projector_metrics import ProjectorMetrics

logger = logging.getLogger(__name__)

TOPICS: Final = (CONTACTS, MEMBERSHIPS, EVENTS_EMAIL, EVENTS_OWN)
FETCH_MS: Final = 200
FETCH_RECORDS: Final = 4_000
# one script holds up all of Redis for as long as it runs: about a millisecond for these
BATCH_RECORDS: Final = 250
BATCH_BYTES: Final = 1 << 20
REDIS_WAIT_S_MIN, REDIS_WAIT_S_MAX = 0.05, 2.0
LOOK_EVERY_S: Final = 1.0
SAY_EVERY_S: Final = 5.0
# by then the read model says that an erased contact is gone, or so it usually does: else what waits is only tried sooner
FORGOTTEN_MS: Final = 1_000
AWAY: Final = "redis is away"

T = TypeVar("T")
Show = Callable[[int, int], object]


class Projection:
    """Follows the partitions that the group gives; `run` until it is cancelled.

    `partitions`: all there are of the topics (full names), whoever owns them. `show`: told of records read and to be read.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        model: ReadModel,
        inbox: Inbox,
        ledger: Ledger,
        partitions: Sequence[TopicPartition],
        prefix: str,
        metrics: "ProjectorMetrics",
        show: Show | None = None,
    ) -> None:
        self._show = show
        self._consumer, self._model, self._metrics = consumer, model, metrics
        self._inbox, self._ledger = inbox, ledger
        self._names = {each: partition_name(each.topic.removeprefix(prefix), each.partition) for each in partitions}
        self._prefix = prefix
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}  # of those that are still to be read to their end once
        self._placed = False
        self._generation = 0
        self._records, self._said_s, self._said_records = 0, _now_s(), 0
        self._looked_s = self._said_s
        self.filling = len(self._names)
        self.lag = 0  # records of all topics, as of the last measure
        self.problem: str | None = None
        self.turned_s = _now_s()

    async def run(self) -> None:
        """Reads and writes, for ever; raises Kafka's errors."""
        topics = sorted({each.topic for each in self._names})
        self._consumer.subscribe(topics, listener=_Rebalance(self))
        while True:
            self.turned_s = _now_s()
            if not self._placed:
                await self._place()
            generation = self._generation
            fetched = await self._consumer.getmany(timeout_ms=FETCH_MS, max_records=FETCH_RECORDS)
            for partition, records in fetched.items():
                if not await self._take(partition, records, generation):
                    self._placed = False
                    break
            await self._look_at_ends()
            self._show_progress()
            if _now_s() - self._looked_s >= LOOK_EVERY_S:
                await self._look_at_redis()
                self._looked_s = _now_s()
                self._measure()
            if _now_s() - self._said_s >= SAY_EVERY_S:
                self._say()

    # ---- positions --------------------------------------------------------------------------------------------------

    def moved(self) -> None:
        """The group has shared the partitions out anew: what was fetched is nobody's until Redis has said where we are."""
        self._generation += 1
        self._placed = False

    async def _place(self) -> None:
        """Goes to where Redis stands."""
        generation = self._generation
        mine = sorted(self._consumer.assignment())
        try:
            for partition in mine:  # once it has found a place of its own, it looks for none any more
                await self._consumer.position(partition)
            ends = await self._consumer.end_offsets(mine) if mine else {}
        except IllegalStateError:
            return  # it is no longer ours
        positions = await self._with_redis(functools.partial(self._model.begin, list(self._names.values())))
        if generation != self._generation:
            return
        self._positions = {each: positions[self._names[each]] for each in mine}
        for partition in [each for each in mine if self._positions[each] > ends[each]]:
            logger.warning("%s was made anew: partition %d is read from its beginning", *partition)
            await self._with_redis(functools.partial(self._model.restart, self._names[partition]))
            self._positions[partition] = 0
        self._ends = dict(ends)
        for partition, position in self._positions.items():
            self._consumer.seek(partition, position)
        self._placed = True
        logger.info("projecting %d partitions, %d records behind", len(mine), self._behind())
        self._show_progress()

    async def _look_at_redis(self) -> None:
        """Whether Redis still stands where this left it: no record may come for long that would find out."""
        generation = self._generation
        positions = await self._with_redis(functools.partial(self._model.begin, list(self._names.values())))
        known = self._placed and generation == self._generation
        if known and any(position != positions[self._names[each]] for each, position in self._positions.items()):
            self._lost()

    def _lost(self) -> None:
        self._metrics.moved.inc()
        self._placed = False
        self.filling = len(self._names)  # until Redis says otherwise
        logger.warning("redis stands elsewhere than this projector left it: reading on from there")

    async def _look_at_ends(self) -> None:
        """Tells Redis which partitions have been read to their end."""
        if not self._placed:
            return
        for partition, end in list(self._ends.items()):
            if await self._position(partition) >= end:
                await self._with_redis(functools.partial(self._model.filled, self._names[partition]))
                self._ends.pop(partition, None)
        if self.filling:
            self.filling = await self._with_redis(self._model.filling)
            if not self.filling:
                logger.info("the read model is whole")

    async def _position(self, partition: TopicPartition) -> int:
        try:
            return int(await self._consumer.position(partition))
        except IllegalStateError:
            return -1  # it is no longer ours

    # ---- records ----------------------------------------------------------------------------------------------------

    async def _take(self, partition: TopicPartition, records: Sequence[ConsumerRecord], generation: int) -> bool:
        """Writes records; False where it has to be found out first where Redis stands."""
        for batch in _batches(records):
            if generation != self._generation or not self._placed or batch[0].offset < self._positions[partition]:
                return False
            await self._forget_erased(batch)
            writes = [write for record in batch if (write := self._write(record)) is not None]
            start, end = self._positions[partition], batch[-1].offset + 1
            try:
                await self._with_redis(functools.partial(self._model.apply, self._names[partition], start, end, writes))
            except Moved:
                self._lost()
                return False
            self._positions[partition] = end
            self._records += len(batch)
            self._metrics.records.labels(partition.topic.removeprefix(self._prefix)).inc(len(batch))
        return True

    async def _forget_erased(self, batch: Sequence[ConsumerRecord]) -> None:
        for record in batch:
            if record.value is None and record.topic == f"{self._prefix}{CONTACTS.name}":
                contact = (record.key or b"").decode("utf-8", "replace")
                await self._with_redis(functools.partial(self._inbox.forget, contact, record.timestamp))
                due_ms = int(wall_ms()) + FORGOTTEN_MS
                await self._with_redis(functools.partial(self._ledger.forget, contact, record.timestamp, due_ms))

    def _write(self, record: ConsumerRecord) -> Write | None:
        """What a record does to the read model; None for nothing."""
        name = record.topic.removeprefix(self._prefix)
        try:
            if name == CONTACTS.name:
                return self._model.contact((record.key or b"").decode(), record.value)
            if name == MEMBERSHIPS.name:
                return self._model.membership(record.key or b"", record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
            self._metrics.unreadable.labels(name).inc()
            logger.error("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
            return None
        found = suppression_of(record.value)
        if found is not None and found.address is None:
            self._metrics.unnamed.inc()
        if found is None or found.address is None:
            return None
        at_ms = record.timestamp if found.at_ms is None else min(found.at_ms, record.timestamp)
        return self._model.suppressed(found.address, found.why, at_ms)

    async def _with_redis(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` returns, as soon as Redis is there and nobody rebuilds."""
        wait_s = REDIS_WAIT_S_MIN
        while True:
            self.turned_s = _now_s()
            try:
                found = await call()
                if self.problem is not None:
                    logger.warning("redis is back: projecting goes on")
                self._is(None)
                return found
            except BeingRebuilt:
                self._is("the read model is being thrown away")
            except (RedisError, OSError, TimeoutError) as error:
                if self.problem is None:
                    logger.error(
                        "redis is away, trying again until it is back (TIDEGATE_REDIS says where it is): %s", error
                    )
                self._is(AWAY)
            await asyncio.sleep(wait_s)
            wait_s = min(REDIS_WAIT_S_MAX, wait_s * 2)

    def _is(self, problem: str | None) -> None:
        self.problem = problem
        self._metrics.redis_away.set(problem == AWAY)

    # ---- what is said -----------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        lag = dict.fromkeys((topic.name for topic in TOPICS), 0)
        for partition, position in self._positions.items():
            lag[partition.topic.removeprefix(self._prefix)] += self._lag(partition, position)
        for name, records in lag.items():
            self._metrics.lag.labels(name).set(records)
        self.lag = sum(lag.values())
        self._metrics.filling.set(self.filling)

    def _show_progress(self) -> None:
        if self._show is not None and self._placed:
            self._show(self._records, self._behind() if self.filling else 0)

    def _say(self) -> None:
        past_s = _now_s() - self._said_s
        if self.filling and not (self._show and self._behind()):
            rate = (self._records - self._said_records) / past_s
            left = f"{self._behind():,} to go here, {self.filling} partitions in all"
            logger.info("reading: %s records, %s a second, %s", f"{self._records:,}", f"{rate:,.0f}", left)
        self._said_s, self._said_records = _now_s(), self._records

    def _behind(self) -> int:
        return sum(max(0, end - self._positions.get(partition, 0)) for partition, end in self._ends.items())

    def _lag(self, partition: TopicPartition, position: int) -> int:
        end = self._consumer.highwater(partition) if partition in self._consumer.assignment() else None
        return max(0, (end or 0) - position)


def _batches(records: Sequence[ConsumerRecord]) -> list[list[ConsumerRecord]]:
    """`records` in pieces that one script may take."""
    batches: list[list[ConsumerRecord]] = []
    size = BATCH_BYTES
    for record in records:
        size += len(record.key or b"") + len(record.value or b"")
        if size >= BATCH_BYTES or len(batches[-1]) >= BATCH_RECORDS:
            batches.append([])
            size = 0
        batches[-1].append(record)
    return batches


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._projection.moved()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._projection.moved()
