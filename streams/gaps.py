"""Events that are gone before they were applied: found, and passed over when somebody says so.

A worker never does that by itself: it refuses to start (`committed.check_positions`). What is changed is the position in the
partition's meta record, in a transaction of its own, under the claim that fences any worker of the partition (I4).
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from schemas.topics import SOURCES, STATE
from streams.broker import partitions_of, reader
from streams.checkpoint import META_KEY, Meta, read_meta
from streams.errors import BrokerError
from streams.kafka_log import KafkaLog, Reader
from streams.log import LogError, Outgoing
from streams.settings import Settings

_NAMES = [topic.name for topic in SOURCES]


@dataclasses.dataclass(frozen=True)
class Gap:
    """Where a partition of a source (name without prefix) was to go on and can't: `first` is where it could.

    `lost` counts the records between, events or not; None where the topic was made anew, and nobody knows.
    """

    topic: str
    partition: int
    position: int
    first: int
    lost: int | None


async def find(settings: Settings) -> list[Gap]:
    """The gaps of all partitions that a worker has written state for. Raises `StreamsError`."""
    partitions = (await partitions_of(settings, [settings.topic(STATE.name)]))[settings.topic(STATE.name)]
    try:
        metas = await _metas(_log(settings), range(partitions))
    except LogError as error:
        raise BrokerError(str(error)) from None
    return await _gaps(settings, metas)


async def accept(settings: Settings, found: Iterable[Gap]) -> list[Gap]:
    """Has the partitions of `found` go on behind their gaps, those of now; returns them. Raises `StreamsError`."""
    accepted: list[Gap] = []
    for number in sorted({gap.partition for gap in found}):
        try:
            accepted += await _accept(settings, number)
        except LogError as error:
            raise BrokerError(f"partition {number}: {error}: run this again") from None
    return accepted


async def _accept(settings: Settings, number: int) -> list[Gap]:
    log = _log(settings)
    claim = await log.fence(number)
    try:
        metas = await _metas(log, [number])  # from here on nobody else writes it
        gaps = await _gaps(settings, metas)
        if gaps:
            meta = _behind(metas[number], gaps)
            await claim.begin()
            for sent in await claim.send(STATE.name, [Outgoing(META_KEY, msgspec.json.encode(meta))]):
                await sent
            await claim.send_offsets({topic: mark.position for topic, mark in meta.topics.items()})
            await claim.commit()
        return gaps
    finally:
        await claim.close()


def _behind(meta: Meta, gaps: Iterable[Gap]) -> Meta:
    moved = {gap.topic: msgspec.structs.replace(meta.topics[gap.topic], position=gap.first) for gap in gaps}
    return msgspec.structs.replace(meta, topics=meta.topics | moved)


async def _metas(log: KafkaLog, numbers: Iterable[int]) -> dict[int, Meta]:
    """The last committed meta record of each partition that has one."""
    metas = {}
    async for number, records, _ in log.read_state(dict.fromkeys(numbers, 0)):
        for _, _, key, value in records:
            if key == META_KEY and value is not None:
                metas[number] = read_meta(value)
    return metas


async def _gaps(settings: Settings, metas: dict[int, Meta]) -> list[Gap]:
    async with reader(settings, [settings.topic(name) for name in _NAMES], "latest") as consumer:  # nothing is fetched
        bounds = await Reader(settings, _NAMES).bounds(consumer, metas.keys())
    gaps = []
    for number, meta in sorted(metas.items()):
        for topic, mark in meta.topics.items():
            first, end = bounds[topic, number]
            if mark.position < first:
                gaps.append(Gap(topic, number, mark.position, first, first - mark.position))
            elif mark.position > end:
                gaps.append(Gap(topic, number, mark.position, first, None))
    return gaps


def _log(settings: Settings) -> KafkaLog:
    async def call(*_: Any) -> NoReturn:
        raise AssertionError("no source partition is read by way of this log")

    return KafkaLog(settings, Reader(settings, _NAMES), call)
