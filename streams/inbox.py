"""Read-ahead of one partition: the records of all source topics, merged into the one order they are applied in (I6).

Invariants:
  * Records leave in the order of (instant, topic, offset), the instant being the record time, or with
    TIDEGATE_CLOCK=arrival the greatest `receivedAt` that its topic had up to there (so each topic keeps its order).
  * A record leaves only when no topic without one in hand can still bring an earlier one. With the wall clock: it was found
    at its end by a fetch sent at most `FRESH_MS` ago. With the arrival clock: its last record or tick says so, so that
    what was fetched first makes no difference.
  * `positions()` are those of what has left, and nothing else; a fetch that doesn't begin where the last one ended is an
    error, never a hole.
"""

import dataclasses
import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from schemas.events import Event, parse_event
from streams.log import Fetch, Record

FRESH_MS = 250
# read-ahead per topic and partition, then its fetching pauses until it is down to a quarter
HELD_RECORDS_MAX = 2_000
HELD_BYTES_MAX = 1 << 20


class LostEventsError(Exception):
    """Events that were never applied are gone from the log, or the topic was made anew.

    Operator's step: find out what was lost; if that is acceptable, start under a new prefix or restore the topic.
    """


class Mark(msgspec.Struct, frozen=True):
    """How far one topic has been applied: next offset, and the instant of the record before it.

    `received_ms` is what a record without `receivedAt` takes, `order_ms` the greatest so far (None: nothing was read yet);
    `closed`: a tick said that nothing of `order_ms` or before will follow.
    """

    position: int
    received_ms: int | None = None
    order_ms: int | None = None
    closed: bool = False


class Taken(NamedTuple):
    """A record whose turn it is: `received_ms` is its `receivedAt` or, failing that, what stands in for it (I6).

    `event` is what reading it raised where it is none.
    """

    topic: str
    record: Record
    event: Event | Exception
    received_ms: int


@dataclasses.dataclass(slots=True)
class _Source:
    """One topic's part of an inbox."""

    topic: str
    index: int
    position: int
    read: int
    received_ms: int | None
    order_ms: int | None
    closed: bool
    waiting: deque[Record] = dataclasses.field(default_factory=deque)
    head: Taken | None = None
    held_bytes: int = 0
    end_seen_ms: int = 0
    log_end: int = 0
    filled: int = 0


class Inbox:
    """Filled by fetches, emptied by `pop`."""

    def __init__(self, topics: Sequence[str], marks: Mapping[str, Mark], *, arrival: bool) -> None:
        """`marks` by topic; a topic without one starts at offset 0."""
        self.arrival = arrival
        self._sources = []
        for index, topic in enumerate(topics):
            mark = marks.get(topic, Mark(0))
            source = _Source(topic, index, mark.position, mark.position, mark.received_ms, mark.order_ms, mark.closed)
            self._sources.append(source)
        self._by_topic = {source.topic: source for source in self._sources}
        self._heads: list[tuple[int, int]] = []
        self._empty = list(self._sources)

    def __len__(self) -> int:
        """Records held."""
        return sum(len(source.waiting) + (source.head is not None) for source in self._sources)

    @property
    def held_bytes(self) -> int:
        """Bytes of the keys and values held."""
        return sum(source.held_bytes for source in self._sources)

    @property
    def lag(self) -> int:
        """Records between what was applied and the ends of the topics, as of the last fetches."""
        return sum(max(0, source.log_end - source.position) for source in self._sources)

    def lags(self) -> dict[str, int]:
        """The same by topic."""
        return {source.topic: max(0, source.log_end - source.position) for source in self._sources}

    def count_taken(self) -> dict[str, int]:
        """Records that have left since this was asked last, by topic."""
        taken = {}
        for source in self._sources:
            held = len(source.waiting) + (source.head is not None)
            taken[source.topic], source.filled = source.filled - held, held
        return taken

    def first_ms(self) -> int | None:
        """Record time of what leaves next; None: there is nothing."""
        if not self._heads:
            return None
        head = self._sources[self._heads[0][1]].head
        assert head is not None
        return head.record[0]

    def full(self, topic: str, *, held: bool) -> bool:
        """Whether fetching this topic should pause; when it is `held` already, until most is gone."""
        source = self._by_topic[topic]
        share = 4 if held else 1
        return len(source.waiting) > HELD_RECORDS_MAX // share or source.held_bytes > HELD_BYTES_MAX // share

    def fill(self, fetch: Fetch) -> None:
        """Takes a fetch in; raises LostEventsError when it leaves a hole."""
        source = self._by_topic[fetch.topic]
        if fetch.start != source.read:
            raise LostEventsError(
                f"expected to read {fetch.topic}, partition {fetch.partition}, from offset {source.read}, but the log "
                f"goes on at {fetch.start}: retention has removed events that were not applied yet, or the topic was "
                "made anew; `tidegate topics gaps` says what is lost and how to go on without it"
            )
        source.read = fetch.end
        source.log_end = fetch.log_end
        source.end_seen_ms = fetch.sent_ms if fetch.end >= fetch.log_end else 0
        if fetch.records:
            source.waiting.extend(fetch.records)
            source.filled += len(fetch.records)
            source.held_bytes += sum(len(key or b"") + len(value or b"") for _, _, key, value in fetch.records)
            if source.head is None:
                self._empty.remove(source)
                heapq.heappush(self._heads, (self._next_head(source), source.index))
        elif source.head is None:
            source.position = fetch.end  # only what no reader may see: markers, aborted records

    def pop(self, now_ms: int) -> Taken | None:
        """The next record of the merge, None while it isn't certain which that is."""
        heads = self._heads
        if not heads:
            return None
        order_ms, index = heads[0]
        if self.arrival:
            for source in self._empty:
                if not _certain(source, order_ms, index):
                    return None
        else:
            fresh_ms = now_ms - FRESH_MS
            for source in self._empty:
                if source.end_seen_ms < fresh_ms:
                    return None
        source = self._sources[index]
        taken = source.head
        assert taken is not None
        _, offset, key, value = taken.record
        source.held_bytes -= len(key or b"") + len(value or b"")
        source.received_ms, source.order_ms = taken.received_ms, order_ms
        event = taken.event
        source.closed = type(event) is Event and event.type == "tick"
        if source.waiting:
            source.position = offset + 1
            heapq.heapreplace(heads, (self._next_head(source), index))
        else:
            source.position = source.read
            source.head = None
            heapq.heappop(heads)
            self._empty.append(source)
        return taken

    def end_seen_ms(self, now_ms: int) -> int | None:
        """When all topics were last known to be read to their ends (epoch ms); None while they aren't, or it is stale."""
        if self._heads:
            return None
        seen_ms = min(source.end_seen_ms for source in self._sources)
        return seen_ms if seen_ms >= now_ms - FRESH_MS else None

    def marks(self) -> dict[str, Mark]:
        """How far each topic has been applied; what a new owner's inbox starts from."""
        return {s.topic: Mark(s.position, s.received_ms, s.order_ms, s.closed) for s in self._sources}

    def positions(self) -> dict[str, int]:
        """Offset of the next record of each topic."""
        return {source.topic: source.position for source in self._sources}

    def reading(self) -> dict[str, int]:
        """Offset from which each topic is to be read on."""
        return {source.topic: source.read for source in self._sources}

    def _next_head(self, source: _Source) -> int:
        """Makes the oldest waiting record its topic's head; returns the instant that the merge goes by."""
        record = source.waiting.popleft()
        event: Event | Exception
        try:
            event = parse_event(record[3] or b"", ticks=self.arrival)
        except MemoryError:
            raise
        except Exception as error:  # a Rejection, or ours to mend: said when its turn comes
            event = error
        received_ms = event.received_at_ms if type(event) is Event else None
        time_ms = record[0]
        if self.arrival:
            if received_ms is None:
                received_ms = source.received_ms
            if received_ms is None:  # the first of its topic: what is no event must not move arrival time to today
                received_ms = time_ms if type(event) is Event else 0
            order_ms = received_ms if source.order_ms is None else max(source.order_ms, received_ms)
        else:
            received_ms = time_ms if received_ms is None or received_ms > time_ms else received_ms
            order_ms = time_ms
        source.head = Taken(source.topic, record, event, received_ms)
        return order_ms


def _certain(empty: _Source, order_ms: int, index: int) -> bool:
    """Whether a topic with nothing in hand can't bring anything before (order_ms, index), going by what it brought."""
    if empty.order_ms is None or order_ms > empty.order_ms:
        return False
    # at the same instant the earlier topic goes first, so it has to say that it has no more of it
    return order_ms < empty.order_ms or empty.closed or empty.index > index
