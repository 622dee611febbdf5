"""A file of events into the source topics: right topic, key and partition, and ticks that move arrival time.

What a line's contact is decides where it goes, so a line without one can't be published; a line that is wrong in another
way goes out as it is, and the worker puts it into `rejected` with the reason.
"""

import asyncio
import collections
import functools
import time
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.events import CONTACT_BYTES_MAX, Event, parse_event
from schemas.instants import format_instant
from schemas.rejected import Rejection
from schemas.topics import EVENTS_PRODUCT, SOURCES, partition_of, source_of
from streams.broker import partitions_of, producer, words_of
from streams.errors import BrokerError, TopicsError
from streams.settings import Settings

# brokers take records of 1 MiB by default, with what Kafka adds
VALUE_BYTES_MAX = 1_000_000
BATCH_BYTES = 256 * 1024
# with TIDEGATE_CLOCK=arrival a quiet topic holds the others up until its next tick: a second is the promise, this is kind
TICK_EVERY_S = 0.25
FLUSH_EVERY_S = 0.05
# lines between looks at the clock
TURN_LINES = 256

_INDEX = {topic: index for index, topic in enumerate(SOURCES)}
T = TypeVar("T")
# what a line (or a row) with that number becomes, None where nothing is to be published of it; raises `Unroutable`
Route = Callable[[int, T], "Routed | None"]


class Unroutable(Exception):
    """A line that can't be published; the message says why."""


@dataclass(frozen=True)
class Routed:
    """Where a line goes (index in `SOURCES`, contact) and what it says then.

    `received_ms`: when it arrived, None where nothing in it says so. `problem`: why a worker will reject it, None where it won't.
    """

    topic_index: int
    contact: str
    value: bytes
    received_ms: int | None
    problem: str | None = None


@dataclass
class Published:
    """What `publish` did: records of events and of ticks written, and lines of which kinds it met (first line number).

    `fell` counts lines whose `receivedAt` is earlier than that of a line before them.
    """

    events: int = 0
    ticks: int = 0
    unroutable: int = 0
    wrong: int = 0
    fell: int = 0
    fell_first_line: int | None = None
    received_ms_max: int | None = None


def route(line: bytes) -> Routed:
    """Where `line` goes; raises `Unroutable`. `receivedAt` is written in from `timestamp` where it is missing."""
    try:
        event = parse_event(line)
    except Rejection as rejection:
        return _route_wrong(line, rejection)
    return routed(event, line, arrives_then=True)


def route_import(line: bytes, *, arrives_then: bool) -> Routed:
    """The same with `context.import`; without `arrives_then` the event arrives when it is published, as wall clocks have it."""
    try:
        event = parse_event(line)
    except Rejection as rejection:
        return _route_wrong(line, rejection)
    if event.context.get("import") is not True:
        line = _marked(line, event)
    return routed(event, line, arrives_then=arrives_then)


def routed(event: Event, line: bytes, *, arrives_then: bool) -> Routed:
    """Where `event`, which `line` says, goes; with `arrives_then` its `timestamp` stands in for a missing `receivedAt`."""
    received_ms = event.received_at_ms
    if received_ms is None and event.occurred_at_ms is not None and arrives_then:
        received_ms = event.occurred_at_ms
        # spliced in, as writing the object anew could change its numbers; a null before it counts for nothing
        line = b'%b,"receivedAt":%d}' % (line[:-1].rstrip(), received_ms)
    return Routed(_INDEX[source_of(event.name)], event.contact, line, received_ms)


def _marked(line: bytes, event: Event) -> bytes:
    """`line`, which says `event`, as an import."""
    if not event.context and b'"context"' not in line:
        return line[:-1].rstrip() + b',"context":{"import":true}}'
    # the one place where an object is written anew: numbers become the doubles that every reader of ours takes them for
    fields = orjson.loads(line)
    fields["context"] = {**(fields.get("context") or {}), "import": True}
    return orjson.dumps(fields)


def _route_wrong(line: bytes, rejection: Rejection) -> Routed:
    """A line that a worker will reject goes where its contact's events go."""
    if len(line) > VALUE_BYTES_MAX:
        raise Unroutable(f"expected at most {VALUE_BYTES_MAX} bytes, got {len(line)}")
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Unroutable(rejection.sentence) from None
    contact = _contact(fields)
    if contact is None:
        raise Unroutable(rejection.sentence)
    return Routed(_INDEX[EVENTS_PRODUCT], contact, line, None, rejection.sentence)


def _contact(fields: Any) -> str | None:
    if not isinstance(fields, dict):
        return None
    contact = fields.get("userId") or fields.get("anonymousId")
    return contact if isinstance(contact, str) and len(contact.encode()) <= CONTACT_BYTES_MAX else None


async def publish(
    settings: Settings,
    blocks: AsyncIterable[Sequence[tuple[int, T]]],
    route: Route[T],
    *,
    until_ms: int | None = None,
    ticks: bool = True,
    events_per_s: float | None = None,
    say: Callable[[int, str], None] = lambda number, sentence: None,
    advance: Callable[[int], None] = lambda events: None,
    place: Callable[[], Any] = lambda: None,
    acknowledged: Callable[[Any], None] = lambda place: None,
) -> Published:
    """Writes what `route` makes of the numbered lines of `blocks`, in order, until Kafka has it all; raises `StreamsError`.

    With `ticks`, one goes to every partition of every source topic often enough, and at the end, with the latest
    arrival, or the grace after `until_ms` if that is later. `say` hears of lines with problems, `advance` of progress.
    What `place` says when a block has been taken is handed to `acknowledged` as soon as Kafka has all up to there.
    """
    topics = [settings.topic(topic.name) for topic in SOURCES]
    counts = await partitions_of(settings, topics)
    if len(set(counts.values())) != 1:
        raise TopicsError(f"expected as many partitions in each source topic, found {counts}: `tidegate topics create`")
    async with producer(settings, max_batch_size=BATCH_BYTES, max_request_size=2 * VALUE_BYTES_MAX) as client:
        writer = _Writer(client, topics, counts[topics[0]], acknowledged)
        publisher = _Publisher(writer, route, ticks, events_per_s, say)
        try:
            async for block in blocks:
                await publisher.publish(block, place)
                advance(publisher.done.events)
            await publisher.finish(None if until_ms is None else until_ms + settings.grace_ms)
        except KafkaError as error:
            raise BrokerError(_cut_short(settings, publisher.done, error)) from error
    return publisher.done


def _cut_short(settings: Settings, done: Published, error: KafkaError) -> str:
    return (
        f"Kafka at {settings.broker} failed after {done.events} events, of which the last may be missing: "
        f"{words_of(error)}; publishing the file again repeats nothing where each event has a `messageId`"
    )


class _Publisher(Generic[T]):
    """Lines in, records and ticks out, at most so many a second."""

    def __init__(
        self,
        writer: "_Writer",
        route: Route[T],
        ticks: bool,
        events_per_s: float | None,
        say: Callable[[int, str], None],
    ) -> None:
        self.done = Published()
        self._writer = writer
        self._route = route
        self._ticks = ticks
        self._events_per_s = events_per_s
        self._say = say
        self._started_s = self._ticked_s = time.monotonic()
        self._ticked_ms: int | None = None
        # enough of them to look at the clock twenty times a second
        self._turn_lines = TURN_LINES if events_per_s is None else max(1, min(TURN_LINES, int(events_per_s / 20)))

    async def publish(self, block: Sequence[tuple[int, T]], place: Callable[[], Any]) -> None:
        """Writes `block`; all of it is on its way afterwards, and `place` is asked for when it is taken."""
        for start in range(0, len(block), self._turn_lines):
            for number, line in block[start : start + self._turn_lines]:
                await self._line(number, line)
            await self._turn()
        await self._writer.flush(place())

    async def finish(self, at_least_ms: int | None) -> None:
        """Writes the last tick, with the latest arrival and no less than `at_least_ms`, and waits for it all."""
        known = [at_ms for at_ms in (self.done.received_ms_max, at_least_ms) if at_ms is not None]
        if self._ticks and known:
            self.done.ticks += await self._writer.tick(max(known))
        await self._writer.settle()

    async def _line(self, number: int, line: T) -> None:
        try:
            routed = self._route(number, line)
        except Unroutable as error:
            self.done.unroutable += 1
            self._say(number, f"not published: {error}")
            return
        if routed is None:
            return
        if routed.problem is not None:
            self.done.wrong += 1
            self._say(number, f"published for the worker to reject: {routed.problem}")
        self._arrived(number, routed.received_ms)
        key = routed.contact.encode()
        await self._writer.add(routed.topic_index, self._writer.partition(key), key, routed.value)
        self.done.events += 1

    def _arrived(self, number: int, received_ms: int | None) -> None:
        if received_ms is None:
            return
        latest_ms = self.done.received_ms_max
        if latest_ms is None or received_ms >= latest_ms:
            self.done.received_ms_max = received_ms
            return
        self.done.fell += 1
        self.done.fell_first_line = self.done.fell_first_line or number

    async def _turn(self) -> None:
        """Lets the sender have the loop, ticks when it is time, and waits when ahead of the rate."""
        now_s = time.monotonic()
        latest_ms = self.done.received_ms_max
        if self._ticks and latest_ms != self._ticked_ms and now_s - self._ticked_s >= TICK_EVERY_S:
            assert latest_ms is not None, "arrival is known once it changed"
            # events of that very instant may follow, and a tick says that none will
            self.done.ticks += await self._writer.tick(latest_ms - 1)
            self._ticked_s, self._ticked_ms = now_s, latest_ms
        ahead_s = 0.0
        if self._events_per_s is not None:
            ahead_s = self.done.events / self._events_per_s - (now_s - self._started_s)
            if ahead_s > FLUSH_EVERY_S:
                await self._writer.flush()
        await asyncio.sleep(max(ahead_s, 0.0))


class _Writer:
    """Batches of records by topic and partition; at most two of each are on their way, so memory has a bound."""

    def __init__(
        self, client: AIOKafkaProducer, topics: Sequence[str], partitions: int, acknowledged: Callable[[Any], None]
    ) -> None:
        self._client = client
        self._acknowledged = acknowledged
        self._topics = topics
        self._partitions = partitions
        self._open: dict[tuple[int, int], Any] = {}
        self._sent: collections.deque[asyncio.Future[Any]] = collections.deque()
        # batches that Kafka has, of all up to the first that it hasn't; and how many it must have for a place to be reached
        self._settled = 0
        self._places: collections.deque[tuple[int, Any]] = collections.deque()
        self.partition = functools.lru_cache(maxsize=1 << 17)(functools.partial(partition_of, partitions=partitions))

    async def add(self, topic: int, partition: int, key: bytes | None, value: bytes) -> None:
        """Puts a record behind those of its partition."""
        slot = (topic, partition)
        batch = self._open.get(slot)
        if batch is not None and batch.append(timestamp=None, key=key, value=value) is not None:
            return
        if batch is not None:
            await self._send(slot)
        batch = self._open[slot] = self._client.create_batch()
        batch.append(timestamp=None, key=key, value=value)

    async def tick(self, received_ms: int) -> int:
        """Puts a tick behind the records of every partition of every topic and sends all; how many ticks that were."""
        value = orjson.dumps({"type": "tick", "receivedAt": format_instant(received_ms)})
        for topic in range(len(self._topics)):
            for partition in range(self._partitions):
                await self.add(topic, partition, None, value)
        await self.flush()
        return len(self._topics) * self._partitions

    async def flush(self, place: Any = None) -> None:
        """Sends what is open, all of it up to `place` if one is given; raises what became of anything sent before."""
        for slot in list(self._open):
            await self._send(slot)
        if place is not None:
            self._places.append((self._settled + len(self._sent), place))
        while self._sent and self._sent[0].done():
            self._sent[0].result()
            self._sent.popleft()
            self._settled += 1
        while self._places and self._places[0][0] <= self._settled:
            self._acknowledged(self._places.popleft()[1])

    async def settle(self) -> None:
        """Waits until Kafka has it all; raises `KafkaError`."""
        await self.flush()
        await asyncio.gather(*self._sent)
        await self.flush()

    async def _send(self, slot: tuple[int, int]) -> None:
        topic, partition = slot
        batch = self._open.pop(slot)
        self._sent.append(await self._client.send_batch(batch, self._topics[topic], partition=partition))
