"""A log in memory, with transactions, fencing and faults: what the simulation and fast tests put in Kafka's place.

It keeps what matters of Kafka's semantics: a transaction's records become readable together and in order, its end takes an
offset of its own, a new claim aborts what the one before it left open and refuses it from then on, and readers of committed
records stop before the first undecided one. `tests/kafka/test_log_contract.py` holds both to the same tests.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set

from schemas.topics import STATE
from streams.log import FencedError, Fetch, LogError, Outgoing, Record

# (what is about to be done, partition) -> an exception to raise instead, or None
Fault = Callable[[str, int], Exception | None]


class VirtualClock:
    """Time that moves when it is told to."""

    def __init__(self, now_ms: int = 0) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        """Epoch ms."""
        return self.at_ms

    def spent_ms(self) -> float:
        """The same: one clock for everything."""
        return float(self.at_ms)


@dataclasses.dataclass
class Written:
    """A record in a topic that workers write to; `state` is `open`, `committed` or `aborted`; a marker has no record."""

    record: Outgoing | None
    time_ms: int
    transaction: object
    state: str = "open"


class MemoryBroker:
    """What all workers share."""

    def __init__(self, clock: VirtualClock, sources: Sequence[str]) -> None:
        self.clock = clock
        self.sources = sources
        self.events: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.written: dict[tuple[str, int], list[Written]] = defaultdict(list)
        self.offsets: dict[tuple[str, int], int] = {}
        self.claims: dict[int, MemoryClaim] = {}
        self.deleted_before: dict[tuple[str, int], int] = {}

    def publish(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Appends a source record at the clock's time."""
        records = self.events[topic, partition]
        records.append((self.clock.now_ms(), len(records), key, value))

    def committed(self, topic: str, partition: int) -> list[Outgoing]:
        """What a reader of committed records sees."""
        return [w.record for w in self._readable(topic, partition) if w.state == "committed" and w.record is not None]

    def _readable(self, topic: str, partition: int) -> list[Written]:
        written = self.written[topic, partition]
        return written[: self.stable(topic, partition)]

    def stable(self, topic: str, partition: int) -> int:
        """Offset of the first undecided record, or the end."""
        written = self.written[topic, partition]
        return next((at for at, each in enumerate(written) if each.state == "open"), len(written))

    def end_transaction(self, partition: int, transaction: object, state: str) -> None:
        """Decides all records of the transaction and appends markers."""
        for (_, number), written in self.written.items():
            mine = [each for each in written if each.transaction is transaction and each.state == "open"]
            if number == partition and mine:
                for each in mine:
                    each.state = state
                written.append(Written(None, self.clock.now_ms(), transaction, state))


class MemoryClaim:
    """A partition's right to write."""

    def __init__(self, broker: MemoryBroker, partition: int, fault: Fault) -> None:
        self._broker = broker
        self._partition = partition
        self._fault = fault
        self.transaction: object | None = None
        self.closed = False

    async def _step(self, what: str) -> None:
        await asyncio.sleep(0)
        if self._broker.claims.get(self._partition) is not self:
            raise FencedError(f"could not {what}: another worker has taken the partition over")
        if error := self._fault(what, self._partition):
            raise error

    async def begin(self) -> None:
        """Begins a transaction."""
        await self._step("begin")
        assert self.transaction is None, "one transaction at a time"
        self.transaction = object()

    async def send(self, topic: str, records: Sequence[Outgoing]) -> Sequence[asyncio.Future[int]]:
        """Appends, undecided."""
        await self._step("send")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if error := self._fault("acknowledge", self._partition):
            future.set_exception(error)
            return [future]
        written = self._broker.written[topic, self._partition]
        written.extend(Written(record, self._broker.clock.now_ms(), self.transaction) for record in records)
        future.set_result(len(written))
        return [future]

    async def send_offsets(self, positions: Mapping[str, int]) -> None:
        """Remembered at once: nothing reads them."""
        await self._step("send offsets")
        self._broker.offsets.update({(topic, self._partition): position for topic, position in positions.items()})

    async def commit(self) -> None:
        """Decides the transaction; with the fault `answer` it is decided and the caller isn't told."""
        await self._step("commit")
        self._broker.end_transaction(self._partition, self.transaction, "committed")
        self.transaction = None
        if error := self._fault("answer", self._partition):
            raise error

    async def abort(self) -> None:
        """Decides the transaction, if it is still ours to decide."""
        await asyncio.sleep(0)
        if self._broker.claims.get(self._partition) is self and self.transaction is not None:
            self._broker.end_transaction(self._partition, self.transaction, "aborted")
        self.transaction = None

    async def close(self) -> None:
        """Lets go; what is open stays open until the next claim."""
        await asyncio.sleep(0)
        self.closed = True


class MemoryLog:
    """The log as one worker sees it; `fetch_max` bounds what one fetch brings of a partition."""

    def __init__(self, broker: MemoryBroker, fault: Fault = lambda what, partition: None, fetch_max: int = 100) -> None:
        self._broker = broker
        self._fault = fault
        self.fetch_max = fetch_max
        self._positions: dict[tuple[str, int], int] = {}
        self._number = 0

    async def fence(self, partition: int) -> MemoryClaim:
        """Claims the partition and aborts what its owner left open."""
        await asyncio.sleep(0)
        if error := self._fault("fence", partition):
            raise error
        before = self._broker.claims.get(partition)
        if before is not None and before.transaction is not None:
            self._broker.end_transaction(partition, before.transaction, "aborted")
        claim = self._broker.claims[partition] = MemoryClaim(self._broker, partition, self._fault)
        return claim

    async def bounds(self, partitions: Set[int]) -> Mapping[tuple[str, int], tuple[int, int]]:
        """First offset and end of each source partition."""
        await asyncio.sleep(0)
        return {
            (topic, number): (
                self._broker.deleted_before.get((topic, number), 0),
                len(self._broker.events[topic, number]),
            )
            for topic in self._broker.sources
            for number in partitions
        }

    async def read_state(self, starts: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[Record], int]]:
        """Committed state records from `starts` on, some at a time."""
        for partition, start in starts.items():
            at, stable = start, self._broker.stable(STATE.name, partition)
            while at < stable:
                await asyncio.sleep(0)
                part = self._broker.written[STATE.name, partition][at : min(stable, at + 50)]
                records = [
                    (each.time_ms, at + index, each.record.key, each.record.value)
                    for index, each in enumerate(part)
                    if each.state == "committed" and each.record is not None
                ]
                at += len(part)
                yield partition, records, at

    async def seek(self, positions: Mapping[int, Mapping[str, int]]) -> None:
        """Reads these partitions from there on."""
        self._positions = {
            (topic, number): position for number, by_topic in positions.items() for topic, position in by_topic.items()
        }
        self._number += 1
        await asyncio.sleep(0)

    async def fetch(self, hold: Set[tuple[str, int]]) -> Sequence[Fetch]:
        """What there is of all partitions; nothing when a seek came between, as it is read again then."""
        number = self._number
        fetches = [self._fetch(each, start) for each, start in self._positions.items() if each not in hold]
        await asyncio.sleep(0)
        if error := self._fault("fetch", -1):
            raise error
        return fetches if number == self._number else []

    def _fetch(self, each: tuple[str, int], start: int) -> Fetch:
        start = max(start, self._broker.deleted_before.get(each, 0))
        records = self._broker.events[each][start : start + self.fetch_max]
        self._positions[each] = end = start + len(records)
        log_end = len(self._broker.events[each])
        return Fetch(each[0], each[1], start, end, log_end, self._broker.clock.now_ms(), records)


__all__ = ["Fault", "FencedError", "LogError", "MemoryBroker", "MemoryClaim", "MemoryLog", "VirtualClock"]
