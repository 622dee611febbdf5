"""Connections for short work end as they should, whatever Kafka's client does."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams import broker
from streams.errors import BrokerError
from streams.settings import load_settings


class Client:
    """Kafka's, as it stands when the broker went away."""

    stopping: asyncio.Event
    hangs = False

    def __init__(self, **_: Any) -> None:
        pass

    async def start(self) -> None:
        self.stopping.clear()

    async def stop(self) -> None:
        self.stopping.set()
        if self.hangs:
            await asyncio.Event().wait()
        # it cancels its fetches, and one that waits to be tried again says so to whoever stops it
        raise asyncio.CancelledError


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """In the place of a producer, of a broker that lets everybody in."""

    async def reach(_: Any) -> None:
        pass

    class Producer(Client):
        stopping = asyncio.Event()

    monkeypatch.setattr(broker, "reach", reach)
    monkeypatch.setattr(broker, "AIOKafkaProducer", Producer)
    return Producer


async def test_a_client_that_passes_on_a_cancellation_of_its_own_hides_no_failure() -> None:
    with pytest.raises(BrokerError, match=r"failed under way: .*away"):
        async with broker.producer(load_settings({})):
            raise KafkaConnectionError("away")


async def test_who_is_cancelled_while_a_client_stops_is_cancelled(client: type[Client]) -> None:
    client.hangs = True

    async def use() -> None:
        async with broker.producer(load_settings({})):
            pass

    using = asyncio.create_task(use())
    await client.stopping.wait()
    using.cancel()
    await asyncio.wait([using], timeout=2)

    assert using.cancelled()
