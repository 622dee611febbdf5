"""Where a line of events goes, and what it says then."""

import asyncio
import contextlib
import json
import types
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.topics import SOURCES
from streams import publish as publishing
from streams.publish import VALUE_BYTES_MAX, Unroutable, route, route_import
from streams.settings import load_settings


def _line(**fields: Any) -> bytes:
    return json.dumps({"type": "track", "userId": "c-1", "event": "Feature Used"} | fields).encode()


@pytest.mark.parametrize(
    ("fields", "topic"),
    [
        ({"event": "Feature Used"}, "events.product"),
        ({"event": "Order Completed"}, "events.billing"),
        ({"event": "Order"}, "events.product"),
        ({"event": "Orders Viewed"}, "events.product"),
        ({"event": "Trial Started"}, "events.billing"),
        ({"event": "Subscription Updated"}, "events.billing"),
        ({"event": "Invoice Paid"}, "events.billing"),
        ({"event": "Payment Failed"}, "events.billing"),
        ({"event": "Email Opened"}, "events.email"),
        ({"event": "Subscribed"}, "events.email"),
        ({"event": "Unsubscribed"}, "events.email"),
        ({"type": "identify"}, "events.product"),
        ({"type": "page", "name": "Order "}, "events.product"),
    ],
)
def test_the_topic_is_that_of_the_name(fields: dict[str, Any], topic: str) -> None:
    """Which one changes nothing about the meaning."""
    assert SOURCES[route(_line(**fields)).topic_index].name == topic


def test_the_timestamp_stands_in_for_a_missing_arrival() -> None:
    """To the millisecond, and nothing else about the line changes."""
    line = b'{"type":"track","userId":"c-1","event":"x", "timestamp":"2026-03-01T09:30:00.1239Z","n":1.10 }'
    routed = route(line)

    assert routed.value == line[:-2] + b',"receivedAt":1772357400123}'
    assert routed.received_ms == 1772357400123
    assert json.loads(routed.value)["receivedAt"] == 1772357400123


@pytest.mark.parametrize("missing", [None, ""])
def test_an_arrival_that_is_null_or_empty_is_missing(missing: str | None) -> None:
    """Readers take the last of two fields of one name."""
    routed = route(_line(receivedAt=missing, timestamp=5))

    assert json.loads(routed.value)["receivedAt"] == 5


def test_an_arrival_that_is_there_stays_and_the_line_is_the_same_bytes() -> None:
    """Also with a later timestamp."""
    line = _line(receivedAt="2026-03-01T09:30:00Z", timestamp=1)

    assert route(line).value == line
    assert route(line).received_ms == 1772357400000


def test_a_line_without_any_time_is_left_to_the_record() -> None:
    """Kafka's own time stands in."""
    assert route(_line()).value == _line()
    assert route(_line()).received_ms is None


def test_the_anonymous_id_stands_in_for_the_contact() -> None:
    """For the key as for the meaning."""
    assert route(_line(userId="", anonymousId="a-1")).contact == "a-1"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"5",
        b'{"type":"track"}',
        b'{"userId":""}',
        b'{"type":"tick","receivedAt":5}',
        b'{"userId":5}',
    ],
)
def test_a_line_without_a_contact_cannot_be_published(line: bytes) -> None:
    """It has no partition."""
    with pytest.raises(Unroutable, match="expected"):
        route(line)


@pytest.mark.parametrize(
    "fields", [{"type": "tracks"}, {"event": ""}, {"timestamp": "soon"}, {"properties": []}, {"type": "alias"}]
)
def test_a_line_that_is_wrong_in_another_way_is_published_as_it_is(fields: dict[str, Any]) -> None:
    """So that it ends up in `rejected`, where it can be found, and not nowhere."""
    routed = route(_line(**fields))

    assert routed.value == _line(**fields)
    assert routed.contact == "c-1"
    assert (routed.problem is not None and "expected" in routed.problem) or "not supported" in str(routed.problem)


def test_what_no_broker_takes_is_not_published() -> None:
    """An event that is too large for us but not for Kafka is, and comes out at `rejected`."""
    large = route(_line(properties={"x": "y" * 300_000}))
    assert large.problem is not None and "expected at most 262144 bytes" in large.problem
    with pytest.raises(Unroutable, match="expected at most 1000000 bytes"):
        route(_line(properties={"x": "y" * VALUE_BYTES_MAX}))


@pytest.mark.parametrize("context", [None, {}, {"import": False}, {"traits": {"n": 0.1}}, {"import": True}])
def test_an_import_is_marked_whatever_its_context_is(context: dict[str, Any] | None) -> None:
    """And says the same for the rest; with the wall clock it arrives when it is published."""
    fields = {"timestamp": 5, "properties": {"context": 1}} | ({} if context is None else {"context": context})
    value = json.loads(route_import(_line(**fields), arrives_then=False).value)

    assert value == json.loads(_line(**fields)) | {"context": (context or {}) | {"import": True}}


def test_an_import_without_a_context_keeps_its_bytes() -> None:
    """Numbers stay as they were written."""
    line = b'{"type":"track","userId":"c-1","event":"x","timestamp":5,"properties":{"n":1.10} }'

    assert route_import(line, arrives_then=False).value == line[:-2] + b',"context":{"import":true}}'
    assert route_import(line, arrives_then=True).value == line[:-2] + b',"context":{"import":true},"receivedAt":5}'


class Broker:
    """A Kafka that acknowledges batches when it is told to; each holds one record."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, asyncio.Future[None]]] = []

    def create_batch(self) -> Any:
        """A batch with room for one."""
        held: list[bytes] = []

        def append(*, timestamp: None, key: bytes, value: bytes) -> bool | None:
            if held:
                return None
            held.append(value)
            return True

        return types.SimpleNamespace(append=append)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[None]:
        """On its way."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((topic, future))
        return future


async def test_a_place_is_reached_when_kafka_has_all_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when what comes after it is acknowledged first, and not while one record before it is under way."""
    broker, reached, blocks_taken = Broker(), list[int](), 0

    @contextlib.asynccontextmanager
    async def producer(*_: Any, **__: Any) -> AsyncIterator[Broker]:
        yield broker

    async def partitions_of(_: Any, topics: list[str]) -> dict[str, int]:
        return dict.fromkeys(topics, 4)

    async def blocks() -> AsyncIterator[list[tuple[int, bytes]]]:
        nonlocal blocks_taken
        for number in range(4):
            yield [(2 * number + n, _line(userId=f"c-{n}")) for n in range(2)]
            blocks_taken += 1
            if number == 1:  # of the first block one record is still under way
                for _, future in broker.sent[1:]:
                    future.set_result(None)
            elif number == 2:
                assert reached == []
                broker.sent[0][1].set_result(None)
            elif number == 3:
                assert reached == [0, 1]
                for _, future in broker.sent:
                    if not future.done():
                        future.set_result(None)

    monkeypatch.setattr(publishing, "producer", producer)
    monkeypatch.setattr(publishing, "partitions_of", partitions_of)
    await publishing.publish(
        load_settings({}),
        blocks(),
        lambda number, line: route(line),
        ticks=False,
        place=lambda: blocks_taken,
        acknowledged=reached.append,
    )
    assert reached == [0, 1, 2, 3]
