"""Asks Kafka, and the workers where they can be reached, how things stand (`status.py` says what that means).

Kafka alone is enough: the group's description tells who owns what, the last meta record of each partition how far it is
and under which revision, all of it as of the last checkpoint. Each worker's web address stands in what it told the group.
"""

import asyncio
import collections
import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from prometheus_client.parser import text_string_to_metric_families

from schemas.rejected import Reason
from schemas.topics import DELIVERIES, REJECTED, SOURCES, STATE
from streams.broker import admin, reader, to_the_end
from streams.checkpoint import META_KEY, Meta, UnknownFormatError, UnreadableMetaError, read_meta
from streams.definitions import read_in_force
from streams.deliveries import paused
from streams.settings import UNTOLD, Settings
from streams.status import PartitionSeen, Status, WorkerSeen
from streams.surroundings import look

LATELY_MS = 3_600_000
REJECTED_MAX = 20_000
UNTAKEN_MAX = 20_000
# how far back from the end of the state topic a meta record is looked for at first; then eight times as far
BACK_RECORDS = 64
WORKER_TIMEOUT_S = 2.0
_ASKED = {
    "timer_overdue_seconds", "stalled_seconds", "partitions_stopped", "contacts_quarantined", "contacts", "lag_records",
    "broker_unanswered_seconds", "definitions_revision", "commit_age_seconds", "recovering",
    "state_memory_bytes", "state_memory_limit_bytes",
}  # fmt: skip


async def read_status(settings: Settings, now_ms: int) -> Status:
    """How things stand at `now_ms` (the wall clock); raises `StreamsError`, such as without a broker or topics."""
    async with admin(settings) as client:
        group_state, members = await _group(client, settings)
        taken = await _taken(client, settings)
    workers = await asyncio.gather(*(_asked(member, settings) for member in members))
    owners = {number: worker.name for worker in workers for number in worker.partitions}
    partitions, (rejected, cut), in_force, held, surroundings, (untaken, untaken_since_ms) = await asyncio.gather(
        _partitions(settings, owners),
        _rejected(settings, now_ms - LATELY_MS),
        read_in_force(settings),
        paused(settings),
        look(settings),
        _untaken(settings, taken),
    )
    return Status(
        now_ms=now_ms,
        group=settings.group,
        group_state=group_state,
        grace_ms=settings.grace_ms,
        revision=in_force.number,
        workers=sorted(workers, key=lambda worker: worker.partitions),
        partitions=partitions,
        rejected=rejected,
        rejected_since_ms=now_ms - LATELY_MS,
        rejected_cut=cut,
        paused=sorted(held),
        surroundings=surroundings.otherwise,
        untaken=untaken,
        untaken_since_ms=untaken_since_ms,
    )


# ---- the group --------------------------------------------------------------------------------------------------------


async def _group(client: AIOKafkaAdminClient, settings: Settings) -> tuple[str, Sequence[Any]]:
    """The group's state as Kafka names it, and its members as it describes them; none where there is no such group."""
    try:
        ((_, _, state, _, _, members, *_),) = (await client.describe_consumer_groups([settings.group]))[0].groups
    except GroupCoordinatorNotAvailableError:
        return "Unknown", []  # a broker on which there never was a group
    return state, members


async def _taken(client: AIOKafkaAdminClient, settings: Settings) -> dict[int, int]:
    """How far the dispatchers are through with the deliveries of each partition; nothing where none ever ran."""
    try:
        offsets = await client.list_consumer_group_offsets(f"{settings.prefix}dispatcher")
    except KafkaError:
        return {}  # a fresh broker has no coordinator of groups yet, and one with ACLs may not tell
    return {partition.partition: committed.offset for partition, committed in offsets.items() if committed.offset >= 0}


async def _asked(member: Any, settings: Settings) -> WorkerSeen:
    member_id, _, client_host, metadata, assignment, *_ = member
    host = client_host.lstrip("/")
    try:
        numbers = _owned(assignment, settings.topic(STATE.name))
        told = orjson.loads(ConsumerProtocolMemberMetadata.decode(metadata).user_data)["url"]
    except (ValueError, KeyError, TypeError):
        return WorkerSeen(member_id, host, (), {}, "it is no worker of ours, or one of another version")
    url = reachable(told, host)
    if url is None and urlsplit(told).hostname == UNTOLD:
        why = "where it listens is not told: it has a name and any free port; give it a TIDEGATE_WEB_PORT"
        return WorkerSeen(urlsplit(told).path.strip("/"), host, numbers, {}, why)
    if url is None:
        return WorkerSeen(f"{host} {member_id[-8:]}", host, numbers, {}, f"{told} can only be reached from {host}")
    name = urlsplit(url).netloc
    try:
        metrics = await _metrics(url)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return WorkerSeen(name, host, numbers, {}, f"{url}/metrics did not answer", silent=True)
    return WorkerSeen(name, host, numbers, metrics)


def _owned(assignment: bytes, state: str) -> tuple[int, ...]:
    if not assignment:
        return ()
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return tuple(sorted(n for topic, partitions in decoded.assignment if topic == state for n in partitions))


def reachable(url: str, host: str) -> str | None:
    """Where a worker on `host` that says that it listens at `url` can be asked from here; None: it can't."""
    parts = urlsplit(url)
    named = parts.hostname or ""
    if named == UNTOLD:
        return None
    if named in ("0.0.0.0", "::", ""):
        return f"http://{host}:{parts.port}" if ":" not in host else f"http://[{host}]:{parts.port}"
    if _is_loopback(named) and not _is_loopback(host):
        return None
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _metrics(url: str) -> dict[str, float]:
    timeout = aiohttp.ClientTimeout(total=WORKER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/metrics") as answer:
        answer.raise_for_status()
        text = await answer.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        name = family.name.removeprefix("tidegate_")
        for sample in family.samples if name in _ASKED else ():
            label = sample.labels.get("problem")
            key = name if label is None else f"{name}{{{label}}}"
            found[key] = found.get(key, 0.0) + sample.value
    return found


# ---- the topics -------------------------------------------------------------------------------------------------------


async def _partitions(settings: Settings, owners: Mapping[int, str]) -> list[PartitionSeen]:
    """What the meta records say, beside where the source topics begin and end."""
    sources = {settings.topic(topic.name): topic.name for topic in SOURCES}
    async with reader(settings, [settings.topic(STATE.name)], "latest") as consumer:
        assigned = list(consumer.assignment())
        # a fetch at the end is answered after half a second, and what is asked next waits for it
        consumer.pause(*assigned)
        numbers = sorted(partition.partition for partition in assigned)
        asked = [*assigned, *(TopicPartition(name, number) for name in sources for number in numbers)]
        first, end = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
        metas = await _metas(consumer, first, end)
    seen = []
    for number in numbers:
        meta = metas.get(number)
        lag = {}
        for name, short in sources.items():
            place = TopicPartition(name, number)
            mark = meta.topics.get(short) if isinstance(meta, Meta) else None
            lag[short] = max(0, end[place] - (first[place] if mark is None else max(mark.position, first[place])))
        one = PartitionSeen(number, owners.get(number), lag)
        if isinstance(meta, Meta):
            one = dataclasses.replace(one, revision=meta.revision, arrival_ms=meta.arrival_ms, due_ms=meta.due_ms)
        elif meta is not None:
            one = dataclasses.replace(one, problem=meta)
        seen.append(one)
    return seen


async def _metas(
    consumer: AIOKafkaConsumer, first: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int]
) -> dict[int, Meta | str]:
    """The last meta record of each partition that has one (each checkpoint ends its state records with one).

    A string, what is wrong with it, where it can't be read.
    """
    found: dict[int, Meta | str] = {}
    left, back = list(consumer.assignment()), BACK_RECORDS
    while left:
        for partition in left:
            consumer.seek(partition, max(first[partition], end[partition] - back))
            consumer.resume(partition)
        async for record in to_the_end(consumer, {each: end[each] for each in left}):
            if record.key == META_KEY and record.value is not None:
                found[record.partition] = _meta(record)
        left = [each for each in left if each.partition not in found and end[each] - back > first[each]]
        back *= 8
    return found


def _meta(record: Any) -> Meta | str:
    try:
        return read_meta(record.value)
    except (UnreadableMetaError, UnknownFormatError) as error:
        return f"{record.topic}, partition {record.partition}, offset {record.offset}: {error}"


async def _untaken(settings: Settings, taken: Mapping[int, int]) -> tuple[int, int | None]:
    """How many deliveries there are behind `taken` (at most `UNTAKEN_MAX` are counted), and when the first was written.

    The records themselves are counted, as each transaction takes an offset, too.
    """
    count, since_ms = 0, None
    async with reader(settings, [settings.topic(DELIVERIES.name)], "latest") as consumer:
        places = list(consumer.assignment())
        consumer.pause(*places)
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        starts = {place: max(first[place], taken.get(place.partition, 0)) for place in places}
        todo = [place for place in places if starts[place] < end[place]]
        for place in todo:
            consumer.seek(place, starts[place])
            consumer.resume(place)
        async for record in to_the_end(consumer, {place: end[place] for place in todo}):
            count += 1
            since_ms = record.timestamp if since_ms is None else min(since_ms, record.timestamp)
            if count == UNTAKEN_MAX:
                break
    return count, since_ms


async def _rejected(settings: Settings, since_ms: int) -> tuple[dict[str, int], bool]:
    """How many records were rejected since then by reason, most first; and whether there are more than were counted."""
    counts: collections.Counter[str] = collections.Counter()
    async with reader(settings, [settings.topic(REJECTED.name)], "latest") as consumer:
        places = list(consumer.assignment())
        consumer.pause(*places)
        end = await consumer.end_offsets(places)
        starts = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        todo = [place for place in places if starts[place] is not None]
        for place in todo:
            consumer.seek(place, starts[place].offset)
            consumer.resume(place)
        async for record in to_the_end(consumer, {place: end[place] for place in todo}):
            counts[dict(record.headers).get("reason", b"unknown").decode("utf-8", "replace")] += 1
            if counts.total() == REJECTED_MAX:
                break
    cut = counts.total() == REJECTED_MAX
    counts.pop(Reason.REPLAYED, None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))), cut
