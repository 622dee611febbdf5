"""What of the real log can be held without a broker; the rest is in `tests/kafka/test_log_contract.py`."""

from __future__ import annotations

import asyncio
import dataclasses
import types
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams.kafka_log import KafkaLog, Reader
from streams.log import Fetch
from streams.settings import load_settings

PLACE = TopicPartition("t.one", 0)


@dataclasses.dataclass
class State:
    """A partition's state in aiokafka's assignment."""

    timestamp: int | None = None


class Fetcher:
    """aiokafka's, as far as it is watched: answers `answers` after `takes_ms`."""

    def __init__(self, clock: types.SimpleNamespace) -> None:
        self.clock, self.takes_ms, self.answers = clock, 0, True

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        self.clock.at_ms += self.takes_ms
        if self.answers:
            assignment.state_value(PLACE).timestamp = self.clock.at_ms
        return False


@pytest.fixture
def clock() -> types.SimpleNamespace:
    at = types.SimpleNamespace(at_ms=5_000)
    at.now_ms = lambda: at.at_ms
    return at


async def test_a_partition_counts_as_looked_at_when_it_was_asked_not_when_the_answer_was_read(
    clock: types.SimpleNamespace,
) -> None:
    """A process that slept while an answer lay in its socket would take that for the end of the log as of now."""
    reader, fetcher, state = Reader(load_settings({}), ["one"], clock), Fetcher(clock), State(1)
    assignment = types.SimpleNamespace(state_value=lambda partition: state)
    request = types.SimpleNamespace(topics=[("t.one", [(0, 7, 100)])])
    reader._watch(fetcher)
    fetcher.takes_ms = 3_000
    await fetcher._proc_fetch_request(assignment, 1, request)
    assert reader._asked_ms == {PLACE: 5_000}
    assert state.timestamp == 8_000
    fetcher.answers = False
    await fetcher._proc_fetch_request(assignment, 1, request)
    assert reader._asked_ms == {PLACE: 5_000}, "one that wasn't answered says nothing"
    assert state.timestamp == 8_000
    reader._watch(fetcher)
    fetcher.answers, fetcher.takes_ms = True, 0
    await fetcher._proc_fetch_request(assignment, 1, request)
    assert reader._asked_ms == {PLACE: 11_000}


def test_records_are_told_even_of_a_partition_whose_asking_was_not_seen() -> None:
    """The first request may be under way before it is watched; records left out would be a hole."""
    reader = Reader(load_settings({}), ["one"])
    reader._names, reader._reading = {"t.one": "one"}, {PLACE}
    state = types.SimpleNamespace(position=1, lso=1, highwater=1, has_valid_position=True)
    assignment = types.SimpleNamespace(state_value=lambda partition: state)
    consumer = types.SimpleNamespace(
        _subscription=types.SimpleNamespace(subscription=types.SimpleNamespace(assignment=assignment))
    )
    (fetch,) = reader._fetches(consumer, {PLACE: 0}, {PLACE: [(1, 0, b"k", b"v")]})
    assert (fetch.start, fetch.end, fetch.sent_ms, len(fetch.records)) == (0, 1, 0, 1)
    assert reader._fetches(consumer, {PLACE: 1}, {}) == []


def test_what_was_seen_before_a_seek_says_nothing_of_after_it(clock: types.SimpleNamespace) -> None:
    """After a rebalance a partition has a state of its own, which knows of no end yet."""
    reader, fetcher = Reader(load_settings({"TIDEGATE_PREFIX": "t."}), ["one"], clock), Fetcher(clock)
    consumer = types.SimpleNamespace(
        _fetcher=fetcher,
        assignment=lambda: {PLACE},
        seek=lambda partition, position: None,
        pause=lambda *partitions: None,
        resume=lambda *partitions: None,
    )
    reader._asked_ms, reader._told_ms = {PLACE: 4_000}, {PLACE: 4_000}
    assert reader.seek(consumer, {0: {"one": 7}}) == 1
    state = types.SimpleNamespace(position=7, lso=None, highwater=None, has_valid_position=True)
    assignment = types.SimpleNamespace(state_value=lambda partition: state)
    consumer._subscription = types.SimpleNamespace(subscription=types.SimpleNamespace(assignment=assignment))
    assert reader._fetches(consumer, {PLACE: 7}, {}) == []


async def test_what_was_fetched_before_a_seek_is_not_told_while_the_seek_is_under_way() -> None:
    """The worker has its new partitions by then, and would take it for a hole in the log."""
    sought = asyncio.Event()

    async def call(function: Any, *_: Any) -> Any:
        if function == reader.seek:
            await sought.wait()
            return 1
        return 0, [Fetch("one", 0, 5, 6, 6, 1, [(1, 5, b"k", b"v")])]

    reader = Reader(load_settings({}), ["one"])
    log = KafkaLog(load_settings({}), reader, call)
    assert len(await log.fetch(frozenset())) == 1
    seeking = asyncio.ensure_future(log.seek({0: {"one": 4}}))
    await asyncio.sleep(0)
    assert await log.fetch(frozenset()) == []
    sought.set()
    await seeking


async def test_of_two_seeks_the_later_one_counts_whichever_is_answered_last() -> None:
    """A worker that read on behind a bad record while its partitions were given anew would read nothing any more."""
    answers: list[asyncio.Future[int]] = []

    async def call(function: Any, *_: Any) -> Any:
        if function == reader.seek:
            answers.append(asyncio.get_running_loop().create_future())
            return await answers[-1]
        return 2, [Fetch("one", 0, 5, 6, 6, 1, [(1, 5, b"k", b"v")])]

    reader = Reader(load_settings({}), ["one"])
    log = KafkaLog(load_settings({}), reader, call)
    seeks = [asyncio.ensure_future(log.seek({0: {"one": at}})) for at in (4, 5)]
    await asyncio.sleep(0)
    for number in (2, 1):
        answers[number - 1].set_result(number)
        await seeks[number - 1]
    assert len(await log.fetch(frozenset())) == 1
