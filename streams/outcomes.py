"""The outcomes topic, as the dispatcher writes it and as its ledger is rebuilt from it."""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from actions.decisions import JUDGED
from actions.ledger import Batch, OutcomesUnread
from schemas.deliveries import Outcome
from schemas.topics import OUTCOMES, partition_of
from streams.broker import FETCH_BYTES_MAX, REQUEST_TIMEOUT_MS
from streams.security import access
from streams.settings import Settings

logger = logging.getLogger(__name__)

FETCH_MS = 500
RETRY_S = 0.5
STALLED_S = 30.0


class OutcomeWriter:
    """Writes records until Kafka has them, however long that takes.

    A record may come twice (the broker's answer got lost): readers go by `Outcome.rank`.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer, self._topic, self._partitions = producer, topic, partitions
        self._failing = False

    async def write(self, outcome: Outcome) -> None:
        """Returns when all replicas have the outcome."""
        key = outcome.contact.encode()
        await self.put(self._topic, partition_of(key, self._partitions), key, msgspec.json.encode(outcome))

    async def put(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Returns when all replicas have the record."""
        while True:
            try:
                await self._producer.send_and_wait(topic, value, key, partition, headers=headers)
            except KafkaError as error:
                if not self._failing:
                    logger.error(
                        "%s: expected Kafka to take a record, got %r: trying again until it does", topic, error
                    )
                self._failing = True
                await asyncio.sleep(RETRY_S)
            else:
                self._failing = False
                return


class OutcomeReader:
    """Reads outcomes from given positions to the end; one reading at a time.

    Uncommitted records are read too: the dispatcher's own are in no transaction, and they must not hide behind a
    worker's that is open. What a worker writes is `skipped` before it is a delivery, and of no concern to a ledger.
    """

    def __init__(self, settings: Settings, partitions: int) -> None:
        topic = settings.topic(OUTCOMES.name)
        self._partitions = [TopicPartition(topic, n) for n in range(partitions)]
        self._consumer = AIOKafkaConsumer(
            **access(settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )

    async def start(self) -> None:
        """Connects."""
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        self._consumer.pause(*self._partitions)

    async def stop(self) -> None:
        """Lets go of the connection."""
        await self._consumer.stop()

    async def read(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        """Batches from `positions` (by partition; where there is none, the beginning) to the end as of now.

        Raises `OutcomesUnread` when nothing comes for long; then it is begun again.
        """
        try:
            todo = await self._seek(positions)
            stalled_s = 0.0
            while todo:
                fetched = await self._consumer.getmany(timeout_ms=FETCH_MS)
                stalled_s = 0.0 if fetched else stalled_s + FETCH_MS / 1000
                if stalled_s > STALLED_S:
                    raise OutcomesUnread(f"expected outcomes from Kafka, got none for {STALLED_S:g} s")
                outcomes = [
                    outcome
                    for records in fetched.values()
                    for record in records
                    if (outcome := of_ledger(record.value)) is not None
                ]
                at = {each: await self._consumer.position(each) for each in todo}
                todo = {each: end for each, end in todo.items() if at[each] < end}
                yield Batch(outcomes, {str(each.partition): offset for each, offset in at.items()})
        except KafkaError as error:
            raise OutcomesUnread(f"expected outcomes from Kafka, got {error!r}") from None
        finally:
            self._consumer.pause(*self._partitions)

    async def _seek(self, positions: dict[str, int]) -> dict[TopicPartition, int]:
        """Goes to the positions; where each partition that has something to read ends."""
        starts = await self._consumer.beginning_offsets(self._partitions)
        ends = await self._consumer.end_offsets(self._partitions)
        todo = {}
        for each in self._partitions:
            start = max(starts[each], positions.get(str(each.partition), 0))
            if start > ends[each]:
                start = starts[each]  # the topic was made anew
            if start < ends[each]:
                self._consumer.seek(each, start)
                self._consumer.resume(each)
                todo[each] = ends[each]
        return todo


def of_ledger(value: bytes | None) -> Outcome | None:
    """The outcome in a record, if it is one of a delivery that a dispatcher has had in hand; else None."""
    if value is None:
        return None
    try:
        outcome = msgspec.json.decode(value, type=Outcome)
    except (msgspec.DecodeError, RecursionError) as error:
        # none of ours: a stray record must not keep the dispatcher from ever starting again
        logger.error("outcomes: passed over a record that is no outcome: %s", error)
        return None
    return None if outcome.status == "skipped" and outcome.code not in JUDGED else outcome
