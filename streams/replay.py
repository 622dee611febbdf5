"""Rejected records published again as they came: to the topic they came by, under the same key, byte for byte.

So each keeps its `messageId`, or is an event without one, which is never a repeat of another. Once Kafka has a record, a
mark for it goes into `rejected`, and it isn't published again unless that is asked for. When the command is cut short in
between, up to `BATCH_RECORDS` records have no mark yet: published again, those with a `messageId` change nothing.
"""

import asyncio
import collections
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer

from schemas.rejected import GATEWAY, Reason, rejection_headers
from schemas.topics import REJECTED, SOURCES, partition_of
from streams.broker import partitions_of, producer
from streams.plan import VALUE_BYTES_MAX
from streams.rejected import WAS, RejectedRecord, Wanted, rejected
from streams.settings import Settings

BATCH_RECORDS = 500
BATCH_BYTES = 4 << 20

# why a record can't be published again, for people
CUT = "too long to have been kept whole: the whole is where it came from"
NO_KEY = "without a key: no contact to publish it for"
NO_SOURCE = "from no topic of events"
FROM_GATEWAY = "from the gateway, which found no event in it: what sent it sends it again, once that is mended"


@dataclasses.dataclass
class Replayed:
    """What `replay` did: records published, those left out as they had been before, and those that can't be, by why."""

    records: int = 0
    before: int = 0
    left: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass
class Survey:
    """What stands in `rejected`: its marks by the place of what they mark, and the last offset of each partition."""

    marks: dict[tuple[str, int, int], tuple[int, int]] = dataclasses.field(default_factory=dict)
    last: dict[int, int] = dataclasses.field(default_factory=dict)
    bytes: int = 0

    def marked(self, record: RejectedRecord) -> bool:
        """Whether it was published again after it was rejected; a mark follows what it marks."""
        return self.marks.get(record.place, (-1, -1)) > record.stored_at


async def survey(settings: Settings, wanted: Wanted) -> Survey:
    """Looks through the topic; raises `StreamsError`."""
    found = Survey()
    # marks are later than what they mark: all of them count that mark something wanted
    async for record in rejected(settings, dataclasses.replace(wanted, since_ms=None)):
        partition, found.last[partition] = record.stored_at
        if record.was is not None:
            found.marks[record.place] = record.stored_at
        elif wanted.has(record):
            found.bytes += _bytes_of(record)
    return found


async def replay(
    settings: Settings,
    wanted: Wanted,
    surveyed: Survey,
    now_ms: int,
    *,
    again: bool = False,
    dry: bool = False,
    advance: Callable[[int, int], None] = lambda records, done_bytes: None,
) -> Replayed:
    """Publishes what is wanted of what was surveyed; with `again` also what was replayed before, with `dry` nothing.

    `advance` hears of progress: records and bytes. `now_ms` is what marks are dated. Raises `StreamsError`.
    """
    done, done_bytes = Replayed(), 0
    names = [settings.topic(topic.name) for topic in SOURCES]
    counts = await partitions_of(settings, names)
    async with producer(settings, max_request_size=2 * VALUE_BYTES_MAX) as client:
        async for batch in _batches(_replayable(settings, wanted, surveyed, again, done)):
            if not dry:
                await _publish(client, settings, batch, counts, now_ms)
            done.records += len(batch)
            done_bytes += sum(map(_bytes_of, batch))
            advance(done.records, done_bytes)
    return done


async def _replayable(
    settings: Settings, wanted: Wanted, surveyed: Survey, again: bool, done: Replayed
) -> AsyncIterator[RejectedRecord]:
    """What can be published; counts in `done` what isn't."""
    async for record in rejected(settings, wanted):
        # what is rejected again while this goes on is for another time
        partition, offset = record.stored_at
        if record.was is not None or offset > surveyed.last.get(partition, -1):
            continue
        if (why := _problem(settings, record)) is not None:
            done.left[why] += 1
        elif surveyed.marked(record) and not again:
            done.before += 1
        else:
            yield record


def _problem(settings: Settings, record: RejectedRecord) -> str | None:
    if _source(settings, record) is None:
        return FROM_GATEWAY if record.topic.startswith(GATEWAY) else NO_SOURCE
    if record.cut_from_bytes is not None:
        return CUT
    return NO_KEY if record.key is None else None


def _source(settings: Settings, record: RejectedRecord) -> str | None:
    """The topic's full name, None where it is none of ours for events."""
    name = record.topic.removeprefix(settings.prefix)
    return settings.topic(name) if any(topic.name == name for topic in SOURCES) else None


async def _batches(records: AsyncIterator[RejectedRecord]) -> AsyncIterator[list[RejectedRecord]]:
    batch: list[RejectedRecord] = []
    size = 0
    async for record in records:
        batch.append(record)
        size += _bytes_of(record)
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _publish(
    client: AIOKafkaProducer,
    settings: Settings,
    batch: Sequence[RejectedRecord],
    counts: Mapping[str, int],
    now_ms: int,
) -> None:
    """The records, and when Kafka has them all, their marks."""
    sent = []
    for record in batch:
        name = _source(settings, record)
        assert name is not None
        assert record.key is not None
        partition = partition_of(record.key, counts[name])
        sent.append(await client.send(name, record.value, record.key, partition=partition))
    await asyncio.gather(*sent)
    topic = settings.topic(REJECTED.name)
    marks = [
        await client.send(topic, None, record.key, partition=record.stored_at[0], headers=_mark(record, now_ms))
        for record in batch
    ]
    await asyncio.gather(*marks)


def _mark(record: RejectedRecord, now_ms: int) -> list[tuple[str, bytes]]:
    sentence = "published again by `tidegate rejected replay`"
    return [*rejection_headers(Reason.REPLAYED, sentence, *record.place, now_ms), (WAS, record.reason.encode())]


def _bytes_of(record: RejectedRecord) -> int:
    return len(record.value or b"")
