"""A reader without end waits for a broker that is away, and says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams import tail
from streams.errors import BrokerError
from streams.settings import load_settings


class _NothingToRead:
    async def getmany(self, timeout_ms: int) -> dict[Any, Any]:
        await asyncio.sleep(0)
        return {}


@contextlib.asynccontextmanager
async def _reader(*_: object) -> AsyncIterator[_NothingToRead]:
    yield _NothingToRead()


def test_a_broker_that_goes_and_comes_back_is_said_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every look: somebody may be away for a weekend, and so may the broker."""
    looks = iter([True, False, False, False, True, True])
    said: list[str] = []

    async def reach(_settings: object) -> None:
        there = next(looks, None)
        if there is None:
            raise _EnoughError
        if not there:
            raise BrokerError("expected a Kafka broker, got no connection")

    monkeypatch.setattr(tail, "reader", _reader)
    monkeypatch.setattr(tail, "reach", reach)
    monkeypatch.setattr(tail, "QUIET_S", 0.0)

    async def follow() -> None:
        blocks = tail.committed(
            load_settings({}), ["transitions"], from_beginning=False, until_idle_s=None, say=said.append
        )
        async for _ in blocks:
            pass

    with pytest.raises(_EnoughError):
        asyncio.run(follow())
    assert said == [
        "waiting for Kafka to come back: expected a Kafka broker, got no connection",
        "Kafka is back",
    ]


class _EnoughError(Exception):
    pass
