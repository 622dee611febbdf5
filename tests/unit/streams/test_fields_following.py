"""Gathering fields beside the read model: what goes wrong with it is said, tried again, and nobody else's matter."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAway

from streams import fields_following
from streams.errors import BrokerError
from streams.fields import Gathered
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


class Wide:
    """A consumer that has events of 500 fields at hand, which no other has, and a store that notes what it is told."""

    partition = TopicPartition("t.events.product", 0)

    def __init__(self, count: int) -> None:
        self.records = [SimpleNamespace(offset=n, timestamp=1, value=self._event(n)) for n in range(count)]
        self.told: list[tuple[int, int]] = []
        self.fields_max = 0
        self.following: Following | None = None
        self.moves_at: int | None = None

    @staticmethod
    def _event(number: int) -> bytes:
        properties = {f"key-{number}-{at}": at for at in range(500)}
        return orjson.dumps({"type": "track", "userId": "ada", "event": "x", "properties": properties})

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        return {self.partition: self.records}

    async def apply(self, moves: dict[str, tuple[int, int]], gathered: Gathered, told: Any) -> None:
        (place,) = moves.values()
        self.told.append(place)
        self.fields_max = max(self.fields_max, gathered.count)
        if self.moves_at == len(self.told):
            assert self.following is not None
            self.following.moved()


def follow_wide(monkeypatch: pytest.MonkeyPatch, wide: Wide) -> tuple[Following, list[float]]:
    slept: list[float] = []

    async def sleep(wait_s: float) -> None:
        slept.append(wait_s)

    monkeypatch.setattr(fields_following.asyncio, "sleep", sleep)
    metrics = FieldMetrics(CollectorRegistry())
    following = Following(wide, wide, [wide.partition], "t.", metrics, lambda: False)  # type: ignore[arg-type]
    following._placed, following._positions = True, {wide.partition: 0}
    wide.following = following
    return following, slept


async def test_events_with_many_fields_are_written_in_parts_with_rests_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """400 of them held up the read model for seconds, with 100 MB, and anybody with a write key may send them."""
    wide = Wide(40)
    following, slept = follow_wide(monkeypatch, wide)
    await following._turn()

    assert wide.told == [(start, start + 2) for start in range(0, 40, 2)]
    assert wide.fields_max <= fields_following.GATHERED_FIELDS_MAX
    assert len(slept) > 2


async def test_partitions_that_move_between_two_parts_are_read_again_from_where_redis_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = Wide(40)
    wide.moves_at = 3
    following, _ = follow_wide(monkeypatch, wide)
    await following._turn()

    assert wide.told == [(0, 2), (2, 4), (4, 6)]
    assert not following._placed
    assert not following._moves
