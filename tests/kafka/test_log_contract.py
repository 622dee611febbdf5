"""One suite against the log in memory and the real one, so that what the simulation stands on can't drift from Kafka."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams import topics
from streams.kafka_log import KafkaLog, Reader
from streams.log import Claim, FencedError, Log, LogError, Outgoing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "simulation"))
from memory_log import TRANSACTION_TIMEOUT_MS, MemoryBroker, MemoryLog, VirtualClock

SOURCES = ("events.product", "events.billing")
Published = list[tuple[bytes | None, bytes]]


class InMemory:
    """The log in memory."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(VirtualClock(1_000), SOURCES)

    def log(self, **_: int) -> Log:
        """As one worker sees it."""
        return MemoryLog(self.broker)

    async def wait_out(self, _topic: str, _partition: int) -> None:
        """Until the broker has lost patience with what is open."""
        self.broker.clock.at_ms += TRANSACTION_TIMEOUT_MS

    async def open(self, topic: str, partition: int, records: Published) -> Any:
        """Publishes source records in a transaction; returns what ends it."""
        offsets = [self.broker.publish(topic, partition, key, value, decided=False) for key, value in records]

        async def end(*, commit: bool) -> None:
            for offset in offsets:
                self.broker.decide(topic, partition, offset, commit=commit)

        return end

    async def publish(self, topic: str, partition: int, records: Published) -> None:
        """Appends source records."""
        for key, value in records:
            self.broker.publish(topic, partition, key, value)

    async def committed(self, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        """What a read-committed reader sees."""
        return [(each.key, each.value) for each in self.broker.committed(topic, partition)]


class OnKafka:
    """The real one."""

    def __init__(self, settings: Any, consumers: list[AIOKafkaConsumer]) -> None:
        self.settings = settings
        self._consumers = consumers
        self._made = itertools.count()

    def log(self, **changes: int) -> Log:
        """As one worker sees it, with a consumer of its own that has all partitions; `changes` of its settings."""
        consumer = self._consumers[next(self._made)]

        async def call(function: Callable[..., Any], *arguments: Any) -> Any:
            result = function(consumer, *arguments)
            return await result if asyncio.iscoroutine(result) else result

        settings = dataclasses.replace(self.settings, **changes)
        return KafkaLog(settings, Reader(settings, SOURCES), call)

    async def wait_out(self, topic: str, partition: int) -> None:
        """Until the broker, which looks every ten seconds, has lost patience with what is open."""
        asked = TopicPartition(self.settings.topic(topic), partition)
        async with asyncio.timeout(30):
            while True:
                if (await self._consumers[0].end_offsets([asked]))[asked]:
                    return
                await asyncio.sleep(0.1)

    async def open(self, topic: str, partition: int, records: Published) -> Any:
        """Publishes source records in a transaction; returns what ends it."""
        name = self.settings.topic(topic)
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.servers, transactional_id=f"{name}-own")
        await producer.start()
        await producer.begin_transaction()
        for key, value in records:
            await producer.send_and_wait(name, value, key, partition=partition)

        async def end(*, commit: bool) -> None:
            await (producer.commit_transaction() if commit else producer.abort_transaction())
            await producer.stop()

        return end

    async def publish(self, topic: str, partition: int, records: Published) -> None:
        """Appends source records."""
        async with AIOKafkaProducer(bootstrap_servers=self.settings.servers) as producer:
            for key, value in records:
                await producer.send_and_wait(self.settings.topic(topic), value, key, partition=partition)

    async def committed(self, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        """What a read-committed reader sees."""
        found = await asyncio.to_thread(runs.committed, self.settings, topic)
        return [(each.key, each.value) for each in found if each.partition == partition]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Where logs live."""
    if request.param == "memory":
        yield InMemory()
        return
    broker, prefix = request.getfixturevalue("broker"), request.getfixturevalue("prefix")
    settings = runs.settings_of(broker, prefix)
    await topics.create(settings)
    consumers = []
    for _ in range(2):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.servers, isolation_level="read_committed", enable_auto_commit=False,
            auto_offset_reset="earliest", fetch_max_wait_ms=100,
        )  # fmt: skip
        await consumer.start()
        consumer.assign([TopicPartition(settings.topic(topic), number) for topic in SOURCES for number in range(2)])
        consumers.append(consumer)
    yield OnKafka(settings, consumers)
    for consumer in consumers:
        await consumer.stop()


async def write(claim: Claim, *records: tuple[str, list[Outgoing]]) -> int:
    """A whole transaction; returns the offset after the last record of the last topic."""
    await claim.begin()
    ends = [await asyncio.gather(*await claim.send(topic, each)) for topic, each in records]
    await claim.commit()
    return ends[-1][-1]


async def state_of(log: Log, start: int = 0) -> tuple[list[tuple[bytes | None, bytes | None]], int]:
    """Keys and values of partition 0's committed state from `start` on, and where it goes on."""
    found, end = [], start
    async for number, records, after in log.read_state({0: start}):
        assert number == 0
        found += [(record[2], record[3]) for record in records]
        end = after
    return found, end


async def state_from(log: Log, start: int = 0) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values of partition 0's committed state from `start` on."""
    return (await state_of(log, start))[0]


async def comes_to(expected: Any, read: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Asserts what is read back, in the end: Kafka acknowledges a commit a moment before readers see it.

    Only who claims the partition next is sure to see it at once.
    """
    until = time.monotonic() + 20
    while True:
        found = await read(*arguments)
        if found == expected or time.monotonic() > until:
            break
        await asyncio.sleep(0.01)
    assert found == expected


async def fetched(log: Log, count: int, hold: frozenset[tuple[str, int]] = frozenset()) -> list[tuple[str, int, int]]:
    """Topic, partition and offset of so many records, whatever number of fetches they take; starts and ends fit."""
    found: list[tuple[str, int, int]] = []
    ends: dict[tuple[str, int], int] = {}
    async with asyncio.timeout(20):
        while len(found) < count:
            for each in await log.fetch(hold):
                place = each.topic, each.partition
                assert each.start == ends.get(place, each.start)
                assert all(each.start <= record[1] < each.end for record in each.records)
                assert each.end <= each.log_end
                ends[place] = each.end
                found += [(*place, record[1]) for record in each.records]
    return found


async def test_a_transactions_records_become_readable_together_and_in_order(place: Any) -> None:
    claim = await place.log().fence(0)
    await claim.begin()
    for topic in ("transitions", "state"):
        await asyncio.gather(*await claim.send(topic, [Outgoing(b"k", b"%d" % at, [("h", b"x")]) for at in range(3)]))
    assert await place.committed("transitions", 0) == []
    await claim.commit()
    for topic in ("transitions", "state"):
        await comes_to([(b"k", b"0"), (b"k", b"1"), (b"k", b"2")], place.committed, topic, 0)
    await claim.close()


async def test_an_aborted_transaction_leaves_nothing_and_the_next_one_goes_on(place: Any) -> None:
    claim = await place.log().fence(0)
    await claim.begin()
    await asyncio.gather(*await claim.send("transitions", [Outgoing(b"k", b"gone")]))
    await claim.abort()
    await write(claim, ("transitions", [Outgoing(b"k", b"kept")]))
    await comes_to([(b"k", b"kept")], place.committed, "transitions", 0)
    await claim.close()


async def test_a_new_claim_aborts_what_was_open_and_refuses_the_old_one(place: Any) -> None:
    old, log = await place.log().fence(0), place.log()
    await write(old, ("state", [Outgoing(b"a", b"1")]))
    await old.begin()
    await asyncio.gather(*await old.send("state", [Outgoing(b"a", b"2")]))
    new = await log.fence(0)
    assert await state_of(log) == ([(b"a", b"1")], (await state_of(log))[1])
    with pytest.raises(FencedError):
        await asyncio.gather(*await old.send("state", [Outgoing(b"a", b"3")]))
        await old.commit()
    await write(new, ("state", [Outgoing(b"a", b"4")]))
    await comes_to([(b"a", b"1"), (b"a", b"4")], state_from, log)
    for claim in (old, new):
        await claim.close()


async def test_a_transaction_that_is_open_for_too_long_is_aborted_and_its_claim_refused(place: Any) -> None:
    log = place.log(transaction_timeout_ms=1_000)
    slow = await log.fence(0)
    await slow.begin()
    await asyncio.gather(*await slow.send("transitions", [Outgoing(b"k", b"late")]))
    await place.wait_out("transitions", 0)
    with pytest.raises(LogError):
        await slow.commit()
    await slow.abort()
    new = await log.fence(0)
    await write(new, ("transitions", [Outgoing(b"k", b"anew")]))
    await comes_to([(b"k", b"anew")], place.committed, "transitions", 0)
    for claim in (slow, new):
        await claim.close()


@pytest.mark.parametrize("commit", [True, False])
async def test_an_open_transaction_of_a_publisher_holds_readers_back_until_it_ends(place: Any, commit: bool) -> None:
    log = place.log()
    await place.publish(SOURCES[0], 0, [(b"k", b"0")])
    end = await place.open(SOURCES[0], 0, [(b"k", b"1")])
    await place.publish(SOURCES[0], 0, [(b"k", b"2")])
    assert (await log.bounds({0}))[SOURCES[0], 0] == (0, 1)
    await log.seek({0: dict.fromkeys(SOURCES, 0)})
    assert await fetched(log, 1) == [(SOURCES[0], 0, 0)]
    for _ in range(3):
        told = [each for each in await log.fetch(frozenset()) if each.topic == SOURCES[0]]
        assert all((each.start, each.end, each.log_end) == (1, 1, 1) for each in told)
    await end(commit=commit)
    assert await fetched(log, 2 if commit else 1) == [(SOURCES[0], 0, at) for at in ((1, 2) if commit else (2,))]
    assert (await log.bounds({0}))[SOURCES[0], 0] == (0, 4)


async def test_partitions_are_claimed_apart(place: Any) -> None:
    one, two = await place.log().fence(0), await place.log().fence(1)
    await write(one, ("state", [Outgoing(b"a", b"1")]))
    await write(two, ("state", [Outgoing(b"b", b"1")]))
    await write(one, ("state", [Outgoing(b"a", b"2")]))
    await comes_to([(b"b", b"1")], place.committed, "state", 1)
    for claim in (one, two):
        await claim.close()


async def test_state_is_read_to_its_end_and_later_only_the_tail(place: Any) -> None:
    log = place.log()
    claim = await log.fence(0)
    first = [Outgoing(b"%d" % at, b"x" * 50) for at in range(300)]
    end = await write(claim, ("state", first))
    await comes_to([(each.key, each.value) for each in first], state_from, log)
    _, after = await state_of(log)
    assert after >= end
    await write(claim, ("state", [Outgoing(b"0", None), Outgoing(b"new", b"y")]))
    # from the offset that the acknowledgement gave as from the one that reading gave
    for start in (end, after):
        await comes_to([(b"0", None), (b"new", b"y")], state_from, log, start)
    assert await state_from(log, (await state_of(log))[1]) == []
    await claim.close()


async def test_many_and_large_records_arrive_whole_and_in_order(place: Any) -> None:
    log = place.log()
    claim = await log.fence(0)
    large = [Outgoing(b"%d" % at, bytes([at % 256]) * 300_000) for at in range(8)]
    small = [Outgoing(b"s%d" % at, b"%d" % at) for at in range(5_000)]
    end = await write(claim, ("state", [*large, Outgoing(b"limit", b"z" * 900 * 1024), *small]))
    await claim.close()
    claim = await log.fence(0)  # whoever claims next sees all that was committed before
    found, after = await state_of(log)
    assert [key for key, _ in found] == [each.key for each in large] + [b"limit"] + [each.key for each in small]
    assert after >= end == len(found)
    await claim.close()


async def test_fetches_tell_every_record_once_from_where_reading_began(place: Any) -> None:
    log = place.log()
    for topic in SOURCES:
        for number in (0, 1):
            await place.publish(topic, number, [(b"k", b"%d" % at) for at in range(5)])
    assert await log.bounds({0, 1}) == {(topic, number): (0, 5) for topic in SOURCES for number in (0, 1)}
    await log.seek({0: {SOURCES[0]: 2, SOURCES[1]: 0}})
    assert sorted(await fetched(log, 8)) == sorted(
        [(SOURCES[0], 0, at) for at in range(2, 5)] + [(SOURCES[1], 0, at) for at in range(5)]
    )


async def test_what_is_held_is_not_told_until_it_is_let_go(place: Any) -> None:
    log = place.log()
    for topic in SOURCES:
        await place.publish(topic, 0, [(b"k", b"%d" % at) for at in range(3)])
    await log.seek({0: dict.fromkeys(SOURCES, 0)})
    held = frozenset({(SOURCES[0], 0)})
    assert sorted(await fetched(log, 3, held)) == [(SOURCES[1], 0, at) for at in range(3)]
    assert all(each.topic != SOURCES[0] for each in await log.fetch(held))
    assert sorted(await fetched(log, 3)) == [(SOURCES[0], 0, at) for at in range(3)]


async def test_a_seek_begins_anew_whatever_was_read_before(place: Any) -> None:
    log = place.log()
    await place.publish(SOURCES[0], 0, [(b"k", b"%d" % at) for at in range(4)])
    await log.seek({0: dict.fromkeys(SOURCES, 0)})
    assert len(await fetched(log, 4)) == 4
    await log.seek({0: {SOURCES[0]: 1, SOURCES[1]: 0}})
    assert await fetched(log, 3) == [(SOURCES[0], 0, at) for at in range(1, 4)]


async def test_a_partition_goes_back_while_the_other_reads_on_from_where_it_was_read_to(place: Any) -> None:
    log = place.log()
    for number in (0, 1):
        await place.publish(SOURCES[0], number, [(b"k", b"%d" % at) for at in range(4)])
    await log.seek({number: dict.fromkeys(SOURCES, 0) for number in (0, 1)})
    assert len(await fetched(log, 8)) == 8
    await place.publish(SOURCES[0], 1, [(b"k", b"4")])
    await log.seek({0: {SOURCES[0]: 1, SOURCES[1]: 0}, 1: {SOURCES[0]: 4, SOURCES[1]: 0}})
    found = sorted(await fetched(log, 4))
    assert found == [*((SOURCES[0], 0, at) for at in range(1, 4)), (SOURCES[0], 1, 4)]


async def test_a_fetch_that_crosses_a_seek_tells_nothing_of_before_it(place: Any) -> None:
    log = place.log()
    await place.publish(SOURCES[0], 0, [(b"k", b"%d" % at) for at in range(4)])
    await log.seek({0: dict.fromkeys(SOURCES, 0)})
    crossing = asyncio.ensure_future(log.fetch(frozenset()))
    await asyncio.sleep(0)
    await log.seek({0: {SOURCES[0]: 2, SOURCES[1]: 0}})
    told = [record[1] for each in await crossing for record in each.records]
    assert told in ([], [2, 3])
    if not told:
        assert await fetched(log, 2) == [(SOURCES[0], 0, 2), (SOURCES[0], 0, 3)]


async def test_a_topic_with_nothing_new_is_told_to_be_at_its_end_again_and_again(place: Any) -> None:
    log = place.log()
    await place.publish(SOURCES[0], 0, [(b"k", b"v")])
    await log.seek({0: {SOURCES[0]: 1, SOURCES[1]: 0}})
    seen: dict[str, list[int]] = {topic: [] for topic in SOURCES}
    async with asyncio.timeout(20):
        while min(map(len, seen.values())) < 3:
            for each in await log.fetch(frozenset()):
                assert each.start == each.end == each.log_end
                seen[each.topic].append(each.sent_ms)
    assert all(times == sorted(times) for times in seen.values())
