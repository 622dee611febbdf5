"""Committed records of our topics as they come, decoded as far as they can be."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson

from schemas.instants import format_instant
from streams.broker import reach, reader
from streams.errors import BrokerError
from streams.settings import Settings

POLL_MS = 250
# with nothing to show for so long, it is worth a look whether the broker is there
QUIET_S = 5.0


async def committed(
    settings: Settings,
    names: Sequence[str],
    *,
    from_beginning: bool,
    until_idle_s: float | None,
    say: Callable[[str], None] = lambda line: None,
) -> AsyncIterator[list[Any]]:
    """Lists of committed records (aiokafka's) of the topics `names` (short), of all partitions, as they can be read.

    The first list is empty. Each is in order of record time, ties by topic and partition; between lists, and between
    partitions far apart, there is no order. Ends after `until_idle_s` without a record, None: never. `say` hears when the
    broker is away and when it is back: that is waited for. Raises `StreamsError`.
    """
    topics = [settings.topic(name) for name in names]
    clock = asyncio.get_running_loop().time
    async with reader(settings, topics, "earliest" if from_beginning else "latest") as consumer:
        # the first list says that we listen: what is written from now on will be in one of the next
        yield []
        came_s = looked_s = clock()
        away = False
        while until_idle_s is None or clock() - came_s < until_idle_s:
            fetched = await consumer.getmany(timeout_ms=POLL_MS)
            records = [record for batch in fetched.values() for record in batch]
            if records:
                records.sort(key=lambda record: (record.timestamp, record.topic, record.partition, record.offset))
                yield records
                came_s = looked_s = clock()
            if clock() - looked_s >= QUIET_S:
                away = await _look(settings, away, say)
                looked_s = clock()


async def _look(settings: Settings, away: bool, say: Callable[[str], None]) -> bool:
    """Whether the broker is away; says so where that is news."""
    try:
        await reach(settings)
    except BrokerError as error:
        if not away:
            say(f"waiting for Kafka to come back: {error}")
        return True
    if away:
        say("Kafka is back")
    return False


def envelope(settings: Settings, record: Any) -> dict[str, Any]:
    """A record with all there is to it: short topic, partition, offset, time, key, headers and value."""
    shown = {
        "topic": record.topic.removeprefix(settings.prefix),
        "partition": record.partition,
        "offset": record.offset,
        "time": format_instant(record.timestamp),
        "key": None if record.key is None else shown_bytes(record.key),
        "value": None if record.value is None else shown_value(record.value),
    }
    if record.headers:
        shown["headers"] = {name: shown_bytes(value) for name, value in record.headers}
    return shown


def object_line(value: bytes | None) -> bytes | None:
    """The JSON object in `value` on one line, the same bytes where they are on one; None where there is none."""
    try:
        found = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if value is None or not isinstance(found, dict):
        return None
    return value if b"\n" not in value else orjson.dumps(found)


def shown_value(value: bytes) -> Any:
    """The JSON in `value`, else what `shown_bytes` makes of it."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return shown_bytes(value)


def shown_bytes(value: bytes) -> Any:
    """Text where `value` is UTF-8, else `{"base64": …}`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
