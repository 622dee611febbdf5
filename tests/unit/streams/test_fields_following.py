"""Gathering fields beside the read model: what goes wrong with it is said, tried again, and nobody else's matter."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAway

from streams import fields_following
from streams.errors import BrokerError
from streams.fields_following import SHARE, SHARE_BUSY, Following, follow_fields
from streams.projector_metrics import FieldMetrics


class Runs:
    """Makes what runs: each raises what is next, and after that runs until it is cancelled."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.running = asyncio.Event()

    @contextlib.asynccontextmanager
    async def made(self) -> AsyncIterator[Any]:
        if self._failures and isinstance(self._failures[0], BrokerError):
            raise self._failures.pop(0)
        yield self

    async def run(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.running.set()
        await asyncio.Event().wait()


async def test_whatever_fails_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No rights for topics or group, Redis away, a fault of ours: it never ends, as the projector would with it."""
    monkeypatch.setattr(fields_following, "AGAIN_S_MIN", 0.001)
    monkeypatch.setattr(fields_following, "AGAIN_S_MAX", 0.001)
    failures = (
        BrokerError("no topic"),
        TopicAuthorizationFailedError("not allowed"),
        RedisAway("refused"),
        KeyError("a fault"),
    )
    runs, registry = Runs(*failures), CollectorRegistry()
    metrics = FieldMetrics(registry)
    following = asyncio.create_task(follow_fields(runs.made, metrics))
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(10):
            await runs.running.wait()
    assert registry.get_sample_value("tidegate_fields_stopped") == 0
    said = [record.message for record in caplog.records]
    assert len(said) == 4
    for part, line in zip(("no topic", "not allowed", "redis is away", "a fault"), said, strict=True):
        assert part in line and "\n" not in line
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


class Records:
    """A consumer with a record at hand, each look at which takes 4 ms of `clock_s`."""

    partition = TopicPartition("t.events.product", 0)
    offset, timestamp = 0, 1

    def __init__(self) -> None:
        self.clock_s = 0.0

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        return {self.partition: [self]}

    @property
    def value(self) -> bytes:
        self.clock_s += 0.004
        return b"none"


@pytest.mark.parametrize(("busy", "share"), [(False, SHARE), (True, SHARE_BUSY)])
async def test_it_takes_its_share_of_the_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch, busy: bool, share: float
) -> None:
    """After what took a time it waits for the others' part of it."""
    records, slept = Records(), list[float]()

    async def sleep(wait_s: float) -> None:
        slept.append(wait_s)

    monkeypatch.setattr(fields_following.time, "perf_counter", lambda: records.clock_s)
    monkeypatch.setattr(fields_following.asyncio, "sleep", sleep)
    metrics = FieldMetrics(CollectorRegistry())
    following = Following(records, None, [records.partition], "t.", metrics, lambda: busy)  # type: ignore[arg-type]
    following._placed = True
    await following._turn()
    assert slept == [pytest.approx(0.004 / share - 0.004)]
