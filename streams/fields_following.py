"""The projector's second work: the fields of all events into the catalogue, beside the read model and never at its cost.

Invariants:
  * Redis alone says where a partition goes on, in the script that writes what its events had: the group only shares
    partitions out.
  * What was gathered after the last `_place` or write is thrown away when the assignment or Redis changes, and read again.
  * It takes `SHARE` of a core and of Redis at most, `SHARE_BUSY` while the read model is behind; it may lag, and passes
    nothing over.
  * Whatever goes wrong with it, the projector goes on: it says so and tries again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from redis.exceptions import RedisError

from actions.read_model import BeingRebuilt, Moved
from schemas.events import parse_event
from schemas.rejected import Rejection
from streams.fields import Gathered
from streams.fields_store import FIELDS_MAX, FieldStore, Told

if TYPE_CHECKING:
    from streams.projector_metrics import FieldMetrics

logger = logging.getLogger(__name__)

FETCH_MS: Final = 200
# some four milliseconds of the loop's time, of events as they mostly are; of others it has its turn in between
FETCH_RECORDS: Final = 400
TURN_S: Final = 0.005
WRITE_EVERY_S: Final = 1.0
GATHERED_FIELDS_MAX: Final = 1_000
GATHERED_RECORDS_MAX: Final = 20_000
TOLD_MAX: Final = 2 * FIELDS_MAX
SHARE: Final = 0.25
SHARE_BUSY: Final = 0.05
AGAIN_S_MIN, AGAIN_S_MAX = 1.0, 60.0


class Following:
    """Follows the partitions that the group gives; `run` until it is cancelled. Raises Kafka's and redis-py's errors.

    `partitions`: all there are of the source topics (full names). `busy`: whether the read model needs the time.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        store: FieldStore,
        partitions: Sequence[TopicPartition],
        prefix: str,
        metrics: "FieldMetrics",
        busy: Callable[[], bool],
    ) -> None:
        self._consumer, self._store, self._metrics, self._busy = consumer, store, metrics, busy
        self._topics = {each.topic: each.topic.removeprefix(prefix) for each in partitions}
        self._names = {each: f"{self._topics[each.topic]}/{each.partition}" for each in partitions}
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}  # of those that are still to be read to their end once
        self._moves: dict[TopicPartition, int] = {}  # where those that were gathered from go on
        self._gathered, self._records = Gathered(), 0
        self._told: Told = {}
        self._placed, self._generation = False, 0
        self._written_s = time.monotonic()
        self._began_s = time.perf_counter()
        self._said_left_out = False

    async def run(self) -> None:
        """Reads and writes, for ever."""
        self._consumer.subscribe(sorted(self._topics), listener=_Rebalance(self))
        while True:
            try:
                await self._turn()
            except BeingRebuilt:
                self.moved()
                await asyncio.sleep(WRITE_EVERY_S)
            except Moved:
                self.moved()
                logger.warning("redis stands elsewhere than the catalogue of fields was left: reading on from there")

    def moved(self) -> None:
        """What was gathered is nobody's until Redis has said where we are."""
        self._generation += 1
        self._placed = False
        self._forget()

    def _forget(self) -> None:
        self._gathered, self._records = Gathered(), 0
        self._moves.clear()

    async def _turn(self) -> None:
        if not self._placed:
            await self._place()
        fetched = await self._consumer.getmany(timeout_ms=FETCH_MS, max_records=FETCH_RECORDS)
        self._began_s = time.perf_counter()
        for partition, records in fetched.items():
            expected = self._moves.get(partition, self._positions.get(partition, 0))
            await self._take(partition, records, expected)
            if records[0].offset > expected + 1:  # one is missing wherever a transaction ended
                await self._look_for_lost(partition, expected)
        if self._placed and (self._is_full() or time.monotonic() - self._written_s >= WRITE_EVERY_S):
            await self._write()
            self._written_s = time.monotonic()
            if self._placed:
                await self._look_at_ends()
                await self._measure()
        await self._rest()

    async def _rest(self) -> None:
        """Leaves the others their part of the time."""
        spent_s = time.perf_counter() - self._began_s
        share = SHARE_BUSY if self._busy() else SHARE
        await asyncio.sleep(spent_s * (1 / share - 1))
        self._began_s = time.perf_counter()

    # ---- positions --------------------------------------------------------------------------------------------------

    async def _place(self) -> None:
        """Goes to where Redis stands."""
        generation = self._generation
        mine = sorted(self._consumer.assignment())
        try:
            for partition in mine:  # once it has found a place of its own, it looks for none any more
                await self._consumer.position(partition)
            ends = await self._consumer.end_offsets(mine) if mine else {}
            firsts = await self._consumer.beginning_offsets(mine) if mine else {}
        except IllegalStateError:
            return  # it is no longer ours
        positions = await self._store.begin(list(self._names.values()))
        if generation != self._generation:
            return
        self._positions = {each: positions[self._names[each]] for each in mine}
        for partition in [each for each in mine if self._positions[each] > ends[each]]:
            logger.warning("%s was made anew: fields of partition %d are read from its beginning", *partition)
            await self._store.restart(self._names[partition])
            self._positions[partition] = 0
        if generation != self._generation:
            return
        self._forget()
        self._told.clear()  # it may be another Redis
        for partition, position in self._positions.items():
            self._consumer.seek(partition, position)
            if self._say_of_lost(partition, position, firsts[partition]):
                self._moves[partition] = firsts[partition]
        self._ends, self._placed = dict(ends), True
        logger.info("gathering the fields of events: %d partitions", len(mine))

    def _say_of_lost(self, partition: TopicPartition, position: int, first: int) -> bool:
        """Whether events from `position` on are gone; of history, which a catalogue that begins lacks, nothing is said."""
        lost = 0 < position < first
        if lost:
            self._metrics.lost.inc(first - position)
            logger.warning(
                "%s, partition %d: the events %d to %d are gone before their fields were read: retention was quicker",
                *partition,
                position,
                first - 1,
            )
        return lost

    async def _look_for_lost(self, partition: TopicPartition, position: int) -> None:
        firsts = await self._consumer.beginning_offsets([partition])
        self._say_of_lost(partition, position, firsts[partition])

    async def _write(self) -> None:
        """Writes what was gathered; with nothing, sees that Redis stands where it was left."""
        generation, gathered, ends = self._generation, self._gathered, dict(self._moves)
        moves = {self._names[each]: (self._positions[each], end) for each, end in ends.items()}
        if moves:
            if len(self._told) > TOLD_MAX:
                self._told.clear()
            await self._store.apply(moves, gathered, self._told)
        else:
            positions = await self._store.begin(list(self._names.values()))
            if any(position != positions[self._names[each]] for each, position in self._positions.items()):
                raise Moved
        if generation != self._generation:
            return
        self._metrics.events.inc(self._records)
        self._positions |= ends
        self._forget()

    async def _look_at_ends(self) -> None:
        """Tells Redis which partitions have been read to their end."""
        for partition, end in list(self._ends.items()):
            if await self._position(partition) >= end:
                await self._store.filled(self._names[partition])
                self._ends.pop(partition, None)

    async def _position(self, partition: TopicPartition) -> int:
        try:
            return int(await self._consumer.position(partition))
        except IllegalStateError:
            return -1  # it is no longer ours

    # ---- records ----------------------------------------------------------------------------------------------------

    async def _take(self, partition: TopicPartition, records: Sequence[ConsumerRecord], expected: int) -> None:
        """Gathers from `records`; writes and rests in between where they have so many fields that it takes long."""
        if not self._placed or records[0].offset < expected:
            self._placed = False
            return
        generation = self._generation
        for record in records:
            self._add(partition, record)
            if self._is_full():
                await self._write()
            if time.perf_counter() - self._began_s >= TURN_S:
                await self._rest()
            if generation != self._generation:
                return  # the rest is read again

    def _add(self, partition: TopicPartition, record: ConsumerRecord) -> None:
        self._moves[partition] = record.offset + 1
        self._records += 1
        try:
            event = parse_event(record.value or b"", ticks=True)
        except Rejection:
            self._metrics.unreadable.inc()
            return
        self._gathered.add(event, self._topics[partition.topic], record.timestamp)

    def _is_full(self) -> bool:
        return self._gathered.count >= GATHERED_FIELDS_MAX or self._records >= GATHERED_RECORDS_MAX

    async def _measure(self) -> None:
        lag = 0
        for partition in self._consumer.assignment():
            end = self._consumer.highwater(partition)
            lag += max(0, (end or 0) - max(0, await self._position(partition)))
        known, left_out = await self._store.counts()
        self._metrics.lag.set(lag)
        self._metrics.known.set(known)
        self._metrics.left_out.set(left_out)
        if left_out and not self._said_left_out:
            self._said_left_out = True
            logger.warning(
                "about %d fields are not in the catalogue: it has %d of at most %d, and takes no names of above 200 "
                "characters: some producer uses values as keys? (`tidegate fields`)",
                left_out,
                known,
                FIELDS_MAX,
            )


async def follow_fields(
    following: Callable[[], contextlib.AbstractAsyncContextManager[Following]], metrics: "FieldMetrics"
) -> None:
    """Has a `Following` run, for ever: after a failure another one, later and later."""
    wait_s = AGAIN_S_MIN
    while True:
        began_s = time.monotonic()
        try:
            async with following() as made:
                metrics.stopped.set(0)
                await made.run()
        except (RedisError, OSError) as error:
            logger.error("fields are not gathered while redis is away (TIDEGATE_REDIS says where it is): %s", error)
        except Exception as error:  # the read model goes on whatever is wrong here
            logger.error("fields are not gathered, trying again: %s", " ".join(str(error).split()) or repr(error))
            logger.debug("where it came from", exc_info=error)
        metrics.stopped.set(1)
        wait_s = AGAIN_S_MIN if time.monotonic() - began_s > AGAIN_S_MAX else min(AGAIN_S_MAX, wait_s * 2)
        await asyncio.sleep(wait_s)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, following: Following) -> None:
        self._following = following

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._following.moved()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._following.moved()
