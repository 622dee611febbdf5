"""Topics as they must be: made where they are missing, compared where they are there (architecture page, I1).

`create` is for the command line, `check_topics` for a worker (`surroundings.py`). What can't be put right by making a
topic is never changed here: partition counts decide which contact is where, and cleanup decides what is kept.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from schemas.topics import SOURCES, TOPICS, Topic
from streams.broker import admin
from streams.errors import BrokerError
from streams.kafka_log import BATCH_BYTES_MAX
from streams.security import forbidden
from streams.settings import Settings

# what a worker can't do without; the rest is the operator's to choose, and `topics create` only mentions it
VITAL = ("cleanup.policy", "message.timestamp.type")
# Kafka's own default, for a command that puts a smaller one right
MESSAGE_BYTES = 1_048_588
_TOPIC_ALREADY_EXISTS = 36
_VISIBLE_TIMEOUT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Found:
    """A topic as the broker has it."""

    partitions: int
    replicas: int
    configuration: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing about a topic that is not as it must be (`vital`), or not as it would have been made (not `vital`)."""

    topic: str
    what: str
    vital: bool


@dataclasses.dataclass(frozen=True)
class Created:
    """What `create` did: full names made now, names that were there, and what differs about those."""

    made: list[str]
    there: list[str]
    differences: list[Difference]


async def create(settings: Settings) -> Created:
    """Makes the topics that are missing, compares the others; raises `BrokerError`, also when one is refused."""
    async with admin(settings) as client:
        found = await _found(client, settings)
        missing = [topic for topic in TOPICS if settings.topic(topic.name) not in found]
        made = await _make(client, settings, missing) if missing else []
        await _visible(client, [settings.topic(topic.name) for topic in missing])
        if len(made) < len(missing):  # somebody else was making them as well
            every = await _found(client, settings)
            found = {name: each for name, each in every.items() if name not in made}
    there = [settings.topic(topic.name) for topic in TOPICS if settings.topic(topic.name) in found]
    return Created(made, there, _differences(settings, found))


async def check_topics(settings: Settings, client: AIOKafkaAdminClient) -> tuple[list[str], list[str]]:
    """What a worker can't do without and what it can't trust, a sentence each with what to do. Raises `BrokerError`."""
    found = await _found(client, settings)
    missing = [settings.topic(topic.name) for topic in TOPICS if settings.topic(topic.name) not in found]
    what = (
        "expected this topic, found none: make it with `tidegate topics create`, or set TIDEGATE_PREFIX and "
        "TIDEGATE_BROKER to where it is"
    ) + (", or let TIDEGATE_BROKER_USER see it (deploy/README.md lists the ACLs)" if settings.uses_login else "")
    differing = [(each.topic, each.what) for each in _differences(settings, found) if each.vital]
    return sentences([(name, what) for name in missing]), sentences(differing)


def sentences(problems: Iterable[tuple[str, str]]) -> list[str]:
    """`topic: what` for each pair, those with the same `what` in one line."""
    topics: dict[str, list[str]] = {}
    for topic, what in problems:
        topics.setdefault(what, []).append(topic)
    return [f"{', '.join(names)}: {what}" for what, names in topics.items()]


def differences(settings: Settings, topic: Topic, found: Found) -> list[Difference]:
    """How `found` differs from what `topic` must be."""
    name = settings.topic(topic.name)
    listed = []
    partitions = topic.partitions or settings.partitions
    if found.partitions != partitions:
        listed.append(Difference(name, _wrong_partitions(topic, partitions, found.partitions), True))
    if found.replicas < settings.replication:
        what = f"{found.replicas} replicas, TIDEGATE_REPLICATION is {settings.replication}"
        listed.append(Difference(name, what, False))
    for entry, expected in topic.configuration().items():
        got = found.configuration.get(entry)
        if got != expected:
            vital = entry in VITAL
            listed.append(Difference(name, _wrong_entry(settings, name, entry, expected, got, vital), vital))
    return listed + [Difference(name, what, True) for what in _too_tight(settings, topic, found)]


def _too_tight(settings: Settings, topic: Topic, found: Found) -> Iterator[str]:
    """What of the bounds of `found`, its own or the brokers', would refuse what a worker writes."""
    largest = found.configuration.get("max.message.bytes")
    if topic not in SOURCES and largest is not None and int(largest) < BATCH_BYTES_MAX:
        command = _alter(settings, settings.topic(topic.name), f"max.message.bytes={MESSAGE_BYTES}")
        yield (
            f"expected max.message.bytes of at least {BATCH_BYTES_MAX}, as a record may be that large, found {largest}: "
            f"{command}"
        )
    least = found.configuration.get("min.insync.replicas")
    if least is not None and int(least) > found.replicas:
        command = _alter(settings, settings.topic(topic.name), f"min.insync.replicas={found.replicas}")
        yield (
            f"expected min.insync.replicas of at most {found.replicas}, as it has so many replicas, found {least}, with which "
            f"nothing can be written: {command}, or give it more replicas"
        )


def _wrong_partitions(topic: Topic, expected: int, got: int) -> str:
    what = f"expected {expected} partitions, found {got}: "
    if topic.partitions is None:
        what += f"set TIDEGATE_PARTITIONS={got} if that is what all topics of this prefix have, else "
    return what + (
        "delete it if it holds nothing yet and run `tidegate topics create`, or choose another TIDEGATE_PREFIX "
        "(the count is fixed for the life of a prefix)"
    )


def _wrong_entry(settings: Settings, name: str, entry: str, expected: str, got: str | None, vital: bool) -> str:
    command = _alter(settings, name, f"{entry}={expected}")
    return f"{'expected' if vital else 'would be made with'} {entry}={expected}, found {got}: {command}"


def _alter(settings: Settings, name: str, entry: str) -> str:
    return f"`kafka-configs.sh --bootstrap-server {settings.broker} --alter --topic {name} --add-config {entry}`"


def _differences(settings: Settings, found: Mapping[str, Found]) -> list[Difference]:
    there = [(topic, found.get(settings.topic(topic.name))) for topic in TOPICS]
    return [each for topic, has in there if has is not None for each in differences(settings, topic, has)]


async def _found(client: AIOKafkaAdminClient, settings: Settings) -> dict[str, Found]:
    """Our topics that are there, by full name. Only those that are listed are asked about: asking can make a topic."""
    ours = {settings.topic(topic.name) for topic in TOPICS}
    names = sorted(ours & set(await client.list_topics()))
    if not names:
        return {}
    described = await client.describe_topics(names)
    shapes = {each["topic"]: each["partitions"] for each in described if each["partitions"]}  # one may go meanwhile
    configurations = await _configurations(client, list(shapes))
    return {
        name: Found(len(shapes[name]), min(len(p["replicas"]) for p in shapes[name]), configurations[name])
        for name in shapes
    }


async def _configurations(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    listed: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, message, _kind, name, entries in answer.resources:
            if code:
                raise BrokerError(
                    f"{name}: the broker doesn't tell its configuration: {message or for_code(code).__name__}"
                    f"{forbidden(for_code(code)())}"
                )
            listed[name] = {entry[0]: entry[1] for entry in entries}
    return listed


async def _make(client: AIOKafkaAdminClient, settings: Settings, topics: Sequence[Topic]) -> list[str]:
    wanted = [
        NewTopic(
            settings.topic(topic.name),
            topic.partitions or settings.partitions,
            settings.replication,
            topic_configs=topic.configuration(),
        )
        for topic in topics
    ]
    answer = await client.create_topics(wanted)
    refused = [
        (
            name,
            f"the broker refused: {message or for_code(code).__name__}{_advice(message)}{forbidden(for_code(code)())}",
        )
        for name, code, message in answer.topic_errors
        # somebody else made it a moment ago: the next run compares it
        if code not in (0, _TOPIC_ALREADY_EXISTS)
    ]
    if refused:
        raise BrokerError(*sentences(refused))
    return [name for name, code, _ in answer.topic_errors if code == 0]


def _advice(message: str | None) -> str:
    if message and "replica" in message.lower():
        return " (TIDEGATE_REPLICATION is how many replicas are asked for)"
    return ""


async def _visible(client: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Waits until the broker shows what it has made: its answer comes before its own metadata has it."""
    deadline = asyncio.get_running_loop().time() + _VISIBLE_TIMEOUT_S
    while missing := set(names) - set(await client.list_topics()):
        if asyncio.get_running_loop().time() > deadline:
            names = ", ".join(sorted(missing))
            raise BrokerError(f"expected to see the new topics within {_VISIBLE_TIMEOUT_S:g} s, still missing: {names}")
        await asyncio.sleep(0.05)
