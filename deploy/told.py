"""What a read-committed reader of a prefix sees, and what `simulate` says that it should: for tests and the torture run."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

from actions import Sequence
from actions.own_events import TAKEN
from actions.sequences import LIFTED
from actions.simulated import simulate_all
from schemas.topics import SOURCES, partition_of
from schemas.transitions import Transition
from segments import Definitions, Limits, RejectedLine
from streams.checkpoint import META_KEY
from streams.settings import Settings

FIELDS = ("segment", "contact", "transition", "seq", "at", "cause")


@dataclasses.dataclass(frozen=True)
class Committed:
    """A record that a read-committed reader sees; `time_ms` is the topic's time, of appending or of making."""

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def json(self) -> Any:
        """The value decoded."""
        assert self.value is not None
        return orjson.loads(self.value)


def committed(settings: Settings, topic: str) -> list[Committed]:
    """All committed records of a topic (name without prefix) as of now, per partition in order."""
    name = settings.topic(topic)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.broker,
            "group.id": "tests",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        left = set(consumer.list_topics(name, 10).topics[name].partitions)
        consumer.assign([TopicPartition(name, number, 0) for number in left])
        return list(_until_ends(consumer, left))
    finally:
        consumer.close()


def _until_ends(consumer: Consumer, left: set[int]) -> Iterator[Committed]:
    deadline_s = time.monotonic() + 30
    while left:
        assert time.monotonic() < deadline_s, f"expected something of partitions {left} within 30 s"
        for message in consumer.consume(1_000, 0.1):
            deadline_s = time.monotonic() + 30
            error = message.error()
            if error is None:
                yield _as_committed(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise AssertionError(error)


def _as_committed(message: Any) -> Committed:
    headers, (_, time_ms) = dict(message.headers() or []), message.timestamp()
    return Committed(message.partition(), message.offset(), time_ms, message.key(), message.value(), headers)


Told = dict[str, list[tuple[Any, ...]]]
# of what sequences say: how often, by contact, kind, id and what
Led = collections.Counter[tuple[str, str, str, str]]


def expected(
    definitions: Definitions, lines: Iterable[bytes], until_ms: int | None = None, limits: Limits | None = None
) -> Told:
    """What `simulate` says of these lines, by contact."""
    return expected_all(definitions, (), lines, until_ms, limits)[0]


def expected_all(
    definitions: Definitions,
    sequences: Iterable[Sequence],
    lines: Iterable[bytes],
    until_ms: int | None = None,
    limits: Limits | None = None,
) -> tuple[Told, Led]:
    """The same, and what sequences say."""
    told: Told = collections.defaultdict(list)
    led: Led = collections.Counter()
    for each in simulate_all(definitions, sequences, lines, until_ms, limits, keep_past=False):
        assert not isinstance(each, RejectedLine), each
        if isinstance(each, Transition):
            told[each.contact].append(_row(each.simulated()))
        else:
            led[_led(each.contact, msgspec.to_builtins(each.body))] += 1
    return {contact: _settled(rows) for contact, rows in told.items()}, led


def led(settings: Settings) -> tuple[Led, Mapping[tuple[str, str, str, str], str]]:
    """What sequences said, nothing deduplicated; and when each arrived, as it says itself."""
    found: Led = collections.Counter()
    at: dict[tuple[str, str, str, str], str] = {}
    for topic in ("deliveries", "outcomes", "events.own"):
        for record in committed(settings, topic):
            fields = record.json()
            if fields.get("kind") == "sequence" or (fields.get("context") or {}).get(TAKEN):
                named = _led((record.key or b"").decode(), fields)
                found[named] += 1
                at[named] = fields.get("created_at") or fields.get("receivedAt") or fields["at"]
    return found, at


def _led(contact: str, fields: dict[str, Any]) -> tuple[str, str, str, str]:
    if "messageId" in fields:
        return contact, "event", fields["messageId"], fields.get("event") or fields["type"]
    if "delivery" in fields:
        return contact, "outcome", fields["delivery"], fields["code"]
    return contact, "delivery", fields["id"], str(fields["step"])


def transitions(settings: Settings) -> Told:
    """What the `transitions` topic says, by contact, nothing deduplicated."""
    return transitions_in(committed(settings, "transitions"), settings)


def transitions_in(records: Iterable[Committed], settings: Settings) -> Told:
    """What these records of it say."""
    told: Told = collections.defaultdict(list)
    for record in records:
        fields = record.json()
        assert record.key is not None and record.key.decode() == fields["contact"]
        assert record.partition == partition_of(record.key, settings.partitions)
        told[fields["contact"]].append(_row(fields))
    return {contact: _settled(rows) for contact, rows in told.items()}


def _row(fields: dict[str, Any]) -> tuple[Any, ...]:
    """What is compared; a segment with `per` is named together with the value."""
    segment, *others = (fields[field] for field in FIELDS)
    return (_named(segment, fields.get("key")), *others)


def _named(segment: str, key: str | None) -> str:
    return segment if key is None else f"{segment} {key}"


def _settled(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """In the order of their coming; of one instant and cause, by segment: between segments a step has no order."""
    settled: list[tuple[Any, ...]] = []
    group: list[tuple[Any, ...]] = []
    for row in rows:
        if group and (row[4], row[5]) != (group[0][4], group[0][5]):
            settled += sorted(group, key=lambda each: (each[0], each[3]))
            group = []
        group.append(row)
    return settled + sorted(group, key=lambda each: (each[0], each[3]))


def members(settings: Settings) -> set[tuple[str, str, int]]:
    """Who is in which segment by the `memberships` topic, with the `seq` of the last transition."""
    last: dict[bytes | None, Any] = {}
    for record in committed(settings, "memberships"):
        last[record.key] = {"member": False} if record.value is None else record.json()
    inside = [each for each in last.values() if each["member"] and not each["segment"].startswith(LIFTED)]
    return {(each["contact"], _named(each["segment"], each.get("key")), each["seq"]) for each in inside}


def members_of(told: Told) -> set[tuple[str, str, int]]:
    """The same, by transitions."""
    last = {(row[1], row[0]): row for rows in told.values() for row in rows}
    return {(contact, segment, row[3]) for (contact, segment), row in last.items() if row[2] == "entered"}


def taken(settings: Settings) -> dict[str, int]:
    """Source positions of all partitions, from their meta records, summed by topic."""
    return positions_of(committed(settings, "state"))


def positions_of(state: Iterable[Committed]) -> dict[str, int]:
    """The same, of these state records."""
    last: dict[int, Any] = {}
    for record in state:
        if record.key == META_KEY:
            last[record.partition] = record.json()
    total: collections.Counter[str] = collections.Counter()
    for meta in last.values():
        for topic, mark in meta["topics"].items():
            total[topic] += mark["position"]
    return dict(total)


def ends(settings: Settings) -> dict[str, int]:
    """Ends of the source topics, summed over partitions."""
    consumer = Consumer({"bootstrap.servers": settings.broker, "group.id": "tests"})
    try:
        return {
            topic.name: sum(
                consumer.get_watermark_offsets(TopicPartition(settings.topic(topic.name), number), 10)[1]
                for number in range(settings.partitions)
            )
            for topic in SOURCES
        }
    finally:
        consumer.close()
