"""Records into a Kafka that is made up: what follows a failure, and what becomes of a connection that is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownProducerId
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.topics import REJECTED
from streams.gateway import intake as module
from streams.gateway.intake import TOPICS, Crowded, Intake, Unavailable
from streams.gateway.record import Record
from streams.settings import load_settings

PRODUCT = TOPICS[0].name


class FakeKafka:
    """A producer: takes batches, each acknowledged once its future is done."""

    def __init__(self, **_: Any) -> None:
        self.sent: list[tuple[str, int, asyncio.Future[None]]] = []
        self.stopped = False

    async def start(self) -> None:
        """As aiokafka's."""

    async def stop(self) -> None:
        """As aiokafka's."""
        self.stopped = True

    def create_batch(self) -> BatchBuilder:
        """As aiokafka's."""
        return BatchBuilder(module.BATCH_BYTES, 0)

    async def send_batch(self, builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """As aiokafka's."""
        self.sent.append((topic, partition, asyncio.get_running_loop().create_future()))
        return self.sent[-1][2]


class Connected:
    """An intake that has a connection, and those that it made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bytes_max: int = 64 << 20) -> None:
        self.made: list[FakeKafka] = []
        self.intake = Intake(load_settings({}), bytes_max)
        monkeypatch.setattr(module, "RECONNECT_S", 0.0)
        monkeypatch.setattr(module, "AIOKafkaProducer", self._make)
        monkeypatch.setattr(module, "partitions_of", self._partitions)
        self.following = asyncio.create_task(self.intake.follow())

    def _make(self, **options: Any) -> FakeKafka:
        self.made.append(FakeKafka(**options))
        return self.made[-1]

    async def _partitions(self, settings: Any, topics: list[str]) -> dict[str, int]:
        return dict.fromkeys(topics, 4)

    async def close(self) -> None:
        """Ends it."""
        self.following.cancel()
        await asyncio.gather(self.following, return_exceptions=True)


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch, wait_for: Any) -> AsyncIterator[Connected]:
    """A made-up Kafka that is there."""
    made = Connected(monkeypatch)
    await wait_for(lambda: made.intake.problem is None, 5, "a connection")
    yield made
    await made.close()


def event(contact: str, bytes: int = 10) -> Record:
    return Record(PRODUCT, contact.encode(), b"x" * bytes)


async def test_a_record_is_taken_when_kafka_has_it_and_not_before(kafka: Connected, wait_for: Any) -> None:
    taking = asyncio.create_task(kafka.intake.take([event("ada")]))
    await wait_for(lambda: kafka.made[0].sent, 5, "a batch on its way")
    assert not taking.done()
    assert kafka.intake.bytes > 0

    kafka.made[0].sent[0][2].set_result(None)
    await taking
    assert 0 == kafka.intake.bytes


async def test_nothing_overtakes_what_kafka_did_not_take(kafka: Connected, wait_for: Any) -> None:
    """The second event of a contact, acknowledged, would stand before the first, which is sent again."""
    first = asyncio.create_task(kafka.intake.take([event("ada")]))
    await wait_for(lambda: kafka.made[0].sent, 5, "a batch on its way")
    second = asyncio.create_task(kafka.intake.take([event("ada")]))
    await asyncio.sleep(0)

    kafka.made[0].sent[0][2].set_exception(UnknownProducerId())
    for taking in (first, second):
        with pytest.raises(Unavailable):
            await taking
    assert 1 == len(kafka.made[0].sent)
    assert 0 == kafka.intake.bytes

    await wait_for(lambda: len(kafka.made) == 2 and kafka.intake.problem is None, 5, "another connection")
    assert kafka.made[0].stopped
    third = asyncio.create_task(kafka.intake.take([event("ada")]))
    await wait_for(lambda: kafka.made[1].sent, 5, "a batch on its way")
    kafka.made[1].sent[0][2].set_result(None)
    await third


async def test_who_asks_and_goes_away_takes_nothing_back(kafka: Connected, wait_for: Any) -> None:
    taking = asyncio.create_task(kafka.intake.take([event("ada")]))
    await wait_for(lambda: kafka.made[0].sent, 5, "a batch on its way")
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    assert kafka.intake.bytes > 0

    kafka.made[0].sent[0][2].set_result(None)
    await wait_for(lambda: kafka.intake.bytes == 0, 5, "the bytes to be let go of")


async def test_the_largest_record_there_is_goes_out_alone_and_whole(kafka: Connected, wait_for: Any) -> None:
    """What a batch has no room for is never said to be taken."""
    rest = Record(REJECTED.name, None, b"x" * 500_000)
    taking = asyncio.create_task(kafka.intake.take([rest, rest._replace(value=b"1"), rest]))
    for count in (1, 2, 3):
        await wait_for(lambda n=count: len(kafka.made[0].sent) == n, 5, f"{count} batches on their way")
        assert not taking.done()
        kafka.made[0].sent[-1][2].set_result(None)
    await taking


async def test_more_than_may_be_on_its_way_is_not_taken(kafka: Connected) -> None:
    kafka.intake._bytes_max = 1000
    with pytest.raises(Crowded):
        await kafka.intake.take([event("ada"), event("ada", 900)])
    assert 0 == kafka.intake.bytes
    assert [] == kafka.made[0].sent


async def test_long_ids_do_not_hold_up_the_loop_and_are_not_remembered(kafka: Connected, wait_for: Any) -> None:
    """Their partitions take a tenth of a millisecond each, and 65,536 of them would be 70 MB."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others())
    taking = asyncio.create_task(kafka.intake.take(event(f"{n:01000d}") for n in range(500)))
    await wait_for(lambda: kafka.intake.bytes, 5, "the events to be taken in")
    counting.cancel()
    taking.cancel()
    assert turns > 5
    producer = kafka.intake._producer
    assert producer is not None
    assert 0 == producer._partition.cache_info().currsize


async def test_a_connection_that_waits_for_kafka_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch, wait_for: Any
) -> None:
    """It would look for Kafka for ever, and write some day what its senders have sent again since."""
    monkeypatch.setattr(module, "STOP_S_MAX", 0.05)
    monkeypatch.setattr(module, "KILL_S", 0.01)
    client = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    async def send() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)  # for what is under way

    monkeypatch.setattr(client.client, "close", close)
    client._sender._sender_task = asyncio.create_task(send())
    accumulator = client._message_accumulator
    builder = client.create_batch()
    builder.append(timestamp=None, key=b"ada", value=b"{}")
    waiting = accumulator._append_batch(builder, ("topic", 0))
    await module._stop(client)

    assert client._sender.sender_task.done()
    assert closed.is_set()
    assert isinstance(waiting.future.exception(), KafkaError)
    with pytest.raises(KafkaError):  # which a batch that was never sent is told twice
        await waiting.wait_drain()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await wait_for(lambda: all(task.done() for task in others), 5, "the end of whoever waited for it")
