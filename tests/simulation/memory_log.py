"""A log in memory, with transactions, fencing and faults: what the simulation and fast tests put in Kafka's place.

It keeps what matters of Kafka's semantics: a transaction's records become readable together and in order, its end takes an
offset of its own, a new claim aborts what the one before it left open and refuses it from then on, so does a transaction's
time-out, and readers of committed records stop before the first undecided one.
`tests/kafka/test_log_contract.py` holds both to the same tests.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence, Set
from typing import Any, Protocol, TypeVar

from schemas.topics import STATE
from streams.log import FencedError, Fetch, LogError, Outgoing, Record

# (what is about to be done, partition) -> an exception to raise instead, or None
Fault = Callable[[str, int], Exception | None]
# where a fetch or a seek isn't about one partition
ALL = -1
STATE_RECORDS_MAX = 50
TRANSACTION_TIMEOUT_MS = 30_000
T = TypeVar("T")


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


class Network(Protocol):
    """The way of a request to the broker and of its answer back."""

    def request(self, what: str, partition: int, effect: Callable[[], Any]) -> asyncio.Future[Any]:
        """Has the broker do it, some time; the future gives its answer."""


class Direct:
    """Nothing is on its way for longer than one turn of the loop; with the fault `answer` a commit's answer is lost."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def request(self, what: str, partition: int, effect: Callable[[], Any]) -> asyncio.Future[Any]:
        """Done at once."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            if error := self._fault(what, partition):
                raise error
            answer = effect()
            if what == "commit" and (error := self._fault("answer", partition)):
                raise error
            future.set_result(answer)
        except LogError as error:
            future.set_exception(error)
            future.exception()  # looked at, so that nobody warns of it
        return future


@dataclasses.dataclass
class Written:
    """A record in a topic that workers write to; `state` is `open`, `committed` or `aborted`; a marker has no record."""

    record: Outgoing | None
    time_ms: int
    transaction: Transaction
    state: str = "open"


@dataclasses.dataclass(eq=False)
class Transaction:
    """What is decided together; `until_ms` is when the broker loses patience, `ended_ms` when it was decided."""

    until_ms: float
    written: list[Written] = dataclasses.field(default_factory=list)
    topics: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    ended_ms: int | None = None


class MemoryBroker:
    """What all workers share."""

    def __init__(
        self, clock: Any, sources: Sequence[str], transaction_timeout_ms: float = TRANSACTION_TIMEOUT_MS
    ) -> None:
        self.clock = clock
        self.sources = sources
        self.transaction_timeout_ms = transaction_timeout_ms
        self.events: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.undecided: dict[tuple[str, int], dict[int, Record]] = defaultdict(dict)
        self.invisible: set[tuple[str, int, int]] = set()
        self.written: dict[tuple[str, int], list[Written]] = defaultdict(list)
        self.offsets: dict[tuple[str, int], int] = {}
        self.claims: dict[int, MemoryClaim] = {}
        self.timed_out = 0
        self.deleted_before: dict[tuple[str, int], int] = {}

    # ---- source topics ------------------------------------------------------------------------------------------------

    def publish(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, *, decided: bool = True
    ) -> int:
        """Appends a source record at the clock's time, of a transaction that is open unless `decided`; its offset."""
        records = self.events[topic, partition]
        record = (self.clock.now_ms(), len(records), key, value)
        records.append(record)
        if not decided:
            self.undecided[topic, partition][record[1]] = record
        return record[1]

    def decide(self, topic: str, partition: int, offset: int, *, commit: bool) -> None:
        """Ends the transaction of a source record, which takes an offset of its own."""
        del self.undecided[topic, partition][offset]
        if not commit:
            self.invisible.add((topic, partition, offset))
        self.invisible.add((topic, partition, self.publish(topic, partition, None, None)))

    def source_end(self, topic: str, partition: int) -> int:
        """Offset of the first undecided record, or the end."""
        undecided = self.undecided.get((topic, partition))
        return min(undecided) if undecided else len(self.events[topic, partition])

    # ---- topics that workers write to ---------------------------------------------------------------------------------

    def committed(self, topic: str, partition: int) -> list[Outgoing]:
        """What a reader of committed records sees."""
        return [each.record for each in self.readable(topic, partition) if each.record is not None]

    def readable(self, topic: str, partition: int) -> list[Written]:
        """The same with when it was written, markers left out."""
        written = self.written[topic, partition][: self.stable(topic, partition)]
        return [each for each in written if each.state == "committed" and each.record is not None]

    def stable(self, topic: str, partition: int) -> int:
        """Offset of the first undecided record, or the end."""
        self.lose_patience(partition)
        written = self.written[topic, partition]
        return next((at for at, each in enumerate(written) if each.state == "open"), len(written))

    def begin(self) -> Transaction:
        """A new transaction."""
        return Transaction(self.clock.now_ms() + self.transaction_timeout_ms)

    def append(self, transaction: Transaction, topic: str, partition: int, records: Iterable[Outgoing]) -> int:
        """Appends undecided records; returns the offset after them."""
        written = self.written[topic, partition]
        added = [Written(record, self.clock.now_ms(), transaction) for record in records]
        written += added
        transaction.written += added
        if (topic, partition) not in transaction.topics:
            transaction.topics.append((topic, partition))
        return len(written)

    def end_transaction(self, transaction: Transaction, state: str) -> None:
        """Decides all records of the transaction and appends markers; what is for a source topic can be read from then on."""
        transaction.ended_ms = self.clock.now_ms()
        for each in transaction.written:
            each.state = state
        for topic, partition in transaction.topics:
            written = self.written[topic, partition]
            if topic in self.sources and state == "committed":
                for each in written:
                    if each.transaction is transaction and each.record is not None:
                        self.publish(topic, partition, each.record.key, each.record.value)
            written.append(Written(None, self.clock.now_ms(), transaction, state))

    def lose_patience(self, partition: int) -> None:
        """Aborts the partition's transaction if it has been open for too long, and refuses its claim from then on."""
        claim = self.claims.get(partition)
        if claim is not None and claim.transaction is not None and self.clock.now_ms() >= claim.transaction.until_ms:
            self.end_transaction(claim.transaction, "aborted")
            del self.claims[partition]
            self.timed_out += 1


class MemoryClaim:
    """A partition's right to write; what isn't its own any more is refused by the broker, whenever it gets there."""

    def __init__(self, broker: MemoryBroker, network: Network, partition: int) -> None:
        self._broker = broker
        self._network = network
        self._partition = partition
        self.transaction: Transaction | None = None
        self.closed = False

    def _request(self, what: str, effect: Callable[[Transaction | None], T]) -> asyncio.Future[T]:
        """The effect is on the transaction that is open when it is asked for, or not at all."""
        transaction = self.transaction

        def checked() -> T:
            self._broker.lose_patience(self._partition)
            if self._broker.claims.get(self._partition) is not self:
                raise FencedError(f"could not {what}: another worker has taken the partition over")
            if transaction is not self.transaction:
                raise LogError(f"could not {what}: the transaction has ended")
            return effect(transaction)

        return self._network.request(what, self._partition, checked)

    async def begin(self, topics: Collection[str] = ()) -> None:
        """Begins a transaction."""
        await asyncio.sleep(0)
        await self._request("begin", self._begin)

    def _begin(self, open: Transaction | None) -> None:
        assert open is None, "one transaction at a time"
        self.transaction = self._broker.begin()

    async def send(self, topic: str, records: Sequence[Outgoing]) -> Sequence[asyncio.Future[int]]:
        """Appends, undecided."""
        await asyncio.sleep(0)
        await self._request("send", lambda transaction: None)

        def append(transaction: Transaction | None) -> int:
            assert transaction is not None, "begin it first"
            return self._broker.append(transaction, topic, self._partition, records)

        return [self._request("acknowledge", append)]

    async def send_offsets(self, positions: Mapping[str, int]) -> None:
        """Remembered at once: nothing reads them."""
        await asyncio.sleep(0)
        places = {(topic, self._partition): position for topic, position in positions.items()}
        await self._request("send offsets", lambda transaction: self._broker.offsets.update(places))

    async def commit(self) -> None:
        """Decides the transaction."""
        await asyncio.sleep(0)
        await self._request("commit", lambda transaction: self._end(transaction, "committed"))

    async def abort(self) -> None:
        """Decides the transaction, if it is still ours to decide."""
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(1.0):
                await self._request("abort", lambda transaction: self._end(transaction, "aborted"))
        except (LogError, TimeoutError):
            pass

    def _end(self, transaction: Transaction | None, state: str) -> None:
        if transaction is not None:
            self._broker.end_transaction(transaction, state)
        self.transaction = None

    async def close(self) -> None:
        """Lets go; what is open stays open until the next claim, or its time-out."""
        await asyncio.sleep(0)
        await self._network.request("close", self._partition, lambda: None)
        self.closed = True


class MemoryLog:
    """The log as one worker sees it; `fetch_max` bounds what one fetch brings of a partition."""

    def __init__(
        self,
        broker: MemoryBroker,
        fault: Fault = lambda what, partition: None,
        fetch_max: int = 100,
        network: Network | None = None,
        clock: Any = None,
    ) -> None:
        """`clock` is the worker's own, the broker's where none is given."""
        self._broker = broker
        self._network = network or Direct(fault)
        self._clock = clock or broker.clock
        self.fetch_max = fetch_max
        self._positions: dict[tuple[str, int], int] = {}
        self._number = self._reader_number = self._seeks = 0

    async def fence(self, partition: int) -> MemoryClaim:
        """Claims the partition and aborts what its owner left open."""
        await asyncio.sleep(0)
        claim: MemoryClaim = await self._network.request("fence", partition, lambda: self._claim(partition))
        return claim

    def _claim(self, partition: int) -> MemoryClaim:
        before = self._broker.claims.get(partition)
        if before is not None and before.transaction is not None:
            self._broker.end_transaction(before.transaction, "aborted")
        claim = self._broker.claims[partition] = MemoryClaim(self._broker, self._network, partition)
        return claim

    async def bounds(self, partitions: Set[int]) -> Mapping[tuple[str, int], tuple[int, int]]:
        """First offset and end of each source partition."""
        await asyncio.sleep(0)
        found: dict[tuple[str, int], tuple[int, int]] = await self._network.request(
            "bounds", ALL, lambda: self._bounds(sorted(partitions))
        )
        return found

    def _bounds(self, partitions: Sequence[int]) -> dict[tuple[str, int], tuple[int, int]]:
        broker = self._broker
        places = [(topic, number) for topic in broker.sources for number in partitions]
        return {each: (broker.deleted_before.get(each, 0), broker.source_end(*each)) for each in places}

    async def read_state(self, starts: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[Record], int]]:
        """Committed state records from `starts` to the end as it is now, some at a time."""
        for partition, start in starts.items():
            at, end = start, None
            while end is None or at < end:
                await asyncio.sleep(0)
                records, at, end = await self._network.request(
                    "read state",
                    partition,
                    lambda *, at=at, end=end, partition=partition: self._state(partition, at, end),
                )
                if records or at > start:
                    yield partition, records, at

    def _state(self, partition: int, at: int, end: int | None) -> tuple[list[Record], int, int]:
        end = self._broker.stable(STATE.name, partition) if end is None else end
        part = self._broker.written[STATE.name, partition][at : min(end, at + STATE_RECORDS_MAX)]
        records = [
            (each.time_ms, at + index, each.record.key, each.record.value)
            for index, each in enumerate(part)
            if each.state == "committed" and each.record is not None
        ]
        return records, at + len(part), end

    async def seek(self, positions: Mapping[int, Mapping[str, int]]) -> None:
        """Reads these partitions from there on."""
        wanted = {
            (topic, number): position for number, by_topic in positions.items() for topic, position in by_topic.items()
        }
        self._number = -1  # what is on its way was asked for others
        self._seeks = mine = self._seeks + 1
        number = await self._network.request("seek", ALL, lambda: self._seek(wanted))
        if mine == self._seeks:
            self._number = number
        await asyncio.sleep(0)

    def _seek(self, positions: dict[tuple[str, int], int]) -> int:
        self._positions = positions
        self._reader_number += 1
        return self._reader_number

    async def fetch(self, hold: Set[tuple[str, int]]) -> Sequence[Fetch]:
        """What there is of all partitions; nothing when a seek came between, as it is read again then."""
        asked_ms = self._clock.now_ms()
        number, fetches = await self._network.request("fetch", ALL, lambda: self._look(hold, asked_ms))
        await asyncio.sleep(0)
        return fetches if number == self._number else []

    def _look(self, hold: Set[tuple[str, int]], asked_ms: int) -> tuple[int, list[Fetch]]:
        places = [each for each in self._positions.items() if each[0] not in hold]
        return self._reader_number, [self._fetch(each, start, asked_ms) for each, start in places]

    def _fetch(self, place: tuple[str, int], start: int, asked_ms: int) -> Fetch:
        broker, log_end = self._broker, self._broker.source_end(*place)
        start = max(start, broker.deleted_before.get(place, 0))
        records = broker.events[place][start : min(log_end, start + self.fetch_max)] if start < log_end else []
        self._positions[place] = end = start + len(records)
        if broker.invisible:
            records = [record for record in records if (*place, record[1]) not in broker.invisible]
        return Fetch(place[0], place[1], start, end, log_end, asked_ms, records)


__all__ = ["Fault", "FencedError", "LogError", "MemoryBroker", "MemoryClaim", "MemoryLog", "VirtualClock"]
