"""What surrounds a worker and isn't its own: topics and brokers, looked at before it starts and again while it runs.

Invariants:
  * A worker starts on nothing that it can't trust (I1), and ends as soon as it is seen that a topic has gone.
  * What is otherwise wrong while it runs is said, and refused at the next start: ending wouldn't mend it.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from schemas.instants import format_duration
from schemas.topics import STATE
from streams.broker import admin, partitions_of, reader
from streams.errors import BrokerError, TopicsError
from streams.settings import Settings
from streams.topics import check_topics

logger = logging.getLogger("tidegate.surroundings")

LOOK_EVERY_S = 15.0
# what the brokers keep transactions and groups in, by what its entries in their configuration begin with
_OWN_TOPICS = {"transaction.state.log": "__transaction_state", "offsets.topic": "__consumer_offsets"}


@dataclasses.dataclass(frozen=True)
class Brokers:
    """The brokers: how many, one's configuration (empty where it isn't told), replicas of the topics that are their own."""

    count: int
    configuration: Mapping[str, str]
    replicas: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is wrong, a sentence each with what to do: topics that are `missing`, and what is `otherwise` than it must be."""

    missing: list[str]
    otherwise: list[str]

    @property
    def all(self) -> list[str]:
        """Every sentence."""
        return self.missing + self.otherwise


async def look(settings: Settings) -> Seen:
    """Looks at topics and brokers. Raises `BrokerError`."""
    async with admin(settings) as client:
        missing, otherwise = await check_topics(settings, client)
        otherwise += brokers_problems(settings, await _brokers(client))
        if not missing and (lost := await _lost_state(settings, client)):
            otherwise.append(lost)
        return Seen(missing, otherwise)


async def refuse_wrong(settings: Settings) -> None:
    """Raises `TopicsError` with a line for each thing that is wrong, `BrokerError` without a broker (I1)."""
    if problems := (await look(settings)).all:
        raise TopicsError(*problems)


async def look_after(settings: Settings, show: Callable[[int], object] = lambda count: None) -> None:
    """Looks again and again, for ever; raises `TopicsError` once a topic has gone, and logs anything else.

    `show` is told how much is otherwise than it must be, after each look.
    """
    said: list[str] = []
    missed = False
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            seen = await look(settings)
        except BrokerError:
            continue  # whoever reads and writes says more of that
        if seen.missing and missed:  # twice: a broker that has just come back may not know all of them yet
            raise TopicsError(*seen.missing)
        missed = bool(seen.missing)
        for sentence in seen.otherwise:
            if sentence not in said:
                logger.error("what no worker will start with any more: %s", sentence)
        said = seen.otherwise
        show(len(said))


async def keep_topics(settings: Settings, topics: Sequence[str]) -> None:
    """Looks for `topics` (full names) again and again, for ever; raises `TopicsError` once one has gone."""
    missed = False
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await partitions_of(settings, topics)
            missed = False
        except TopicsError:
            if missed:  # as in `look_after`
                raise
            missed = True
        except BrokerError:
            continue


async def _lost_state(settings: Settings, client: AIOKafkaAdminClient) -> str | None:
    """What is wrong where the state topic holds nothing of partitions that the group has come further in.

    Offsets and state are committed in one transaction: the topic was deleted and made anew. To begin at the beginning
    would tell all transitions a second time.
    """
    topic = settings.topic(STATE.name)
    try:
        offsets = await client.list_consumer_group_offsets(settings.group)
    except KafkaError:
        return None  # a fresh broker has no coordinator of groups yet
    come = {partition.partition for partition, committed in offsets.items() if committed.offset > 0}
    if not come:
        return None
    async with reader(settings, [topic], "latest") as consumer:  # nothing is to be fetched
        ends = await consumer.end_offsets([each for each in consumer.assignment() if each.partition in come])
    empty = sorted(partition.partition for partition, end in ends.items() if not end)
    if not empty:
        return None
    return (
        f"{topic}: expected the state of partitions {', '.join(map(str, empty))}, of which the group {settings.group} has "
        "taken events, found none: was the topic deleted? Restore it, begin under another TIDEGATE_PREFIX, or have all "
        f"events taken and all transitions told again by `kafka-consumer-groups.sh --bootstrap-server {settings.broker} "
        f"--delete --group {settings.group}`"
    )


def brokers_problems(settings: Settings, brokers: Brokers) -> list[str]:
    """What the brokers don't allow that a worker of these settings needs; what they don't tell is taken to be well."""
    found = [*_durations(settings, brokers.configuration), *_copies(brokers)]
    return [f"brokers: {sentence}" for sentence in found]


def _durations(settings: Settings, configuration: Mapping[str, str]) -> Iterator[str]:
    bounds = (
        ("transaction.max.timeout.ms", "TIDEGATE_TRANSACTION_TIMEOUT", settings.transaction_timeout_ms, "least"),
        ("group.max.session.timeout.ms", "TIDEGATE_SESSION", settings.session_ms, "least"),
        ("group.min.session.timeout.ms", "TIDEGATE_SESSION", settings.session_ms, "most"),
    )
    for entry, variable, value_ms, at in bounds:
        bound_ms = _number(configuration, entry)
        if bound_ms is not None and (bound_ms < value_ms if at == "least" else bound_ms > value_ms):
            yield (
                f"expected {entry} of at {at} {value_ms}, as {variable} is {format_duration(value_ms)}, found {bound_ms}: "
                f"set {variable}={format_duration(bound_ms)}, or change it in their server.properties"
            )


def _copies(brokers: Brokers) -> Iterator[str]:
    for kind, topic in _OWN_TOPICS.items():
        wanted = _number(brokers.configuration, f"{kind}.replication.factor")
        there = brokers.replicas.get(topic)
        if there is None and wanted is not None and wanted > brokers.count:
            yield (
                f"expected at least {wanted} of them, as {kind}.replication.factor is {wanted}, found {brokers.count}: "
                f"{topic} can't be made, without which no worker can work: start the others, or set "
                f"{kind}.replication.factor={brokers.count} in their server.properties"
            )
        copies = wanted if there is None else there
        least = _number(brokers.configuration, f"{kind}.min.isr")
        if copies is not None and least is not None and least > copies:
            yield (
                f"expected {kind}.min.isr of at most {copies}, as {topic} has so many replicas, found {least}: set it in "
                f"their server.properties, or give {topic} more replicas"
            )


def _number(configuration: Mapping[str, str], entry: str) -> int | None:
    text = configuration.get(entry)
    return int(text) if text else None


async def _brokers(client: AIOKafkaAdminClient) -> Brokers:
    nodes = sorted(broker["node_id"] for broker in (await client.describe_cluster())["brokers"])
    if not nodes:
        raise BrokerError("expected the cluster to have a broker that is up, found none: see the brokers' logs")
    configuration: dict[str, str] = {}
    for answer in await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(nodes[0]))]):
        for code, _message, _kind, _name, entries in answer.resources:
            if not code:  # else we may not know, and find out by trying
                configuration = {entry[0]: entry[1] for entry in entries}
    own = sorted(set(_OWN_TOPICS.values()) & set(await client.list_topics()))
    shapes = await client.describe_topics(own) if own else []
    replicas = {
        each["topic"]: min(len(partition["replicas"]) for partition in each["partitions"])
        for each in shapes
        if each["partitions"]
    }
    return Brokers(len(nodes), configuration, replicas)
