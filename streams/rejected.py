"""What could not be taken, read back from the `rejected` topic."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from schemas.topics import REJECTED
from streams.broker import stored
from streams.settings import Settings
from streams.tail import shown_bytes


@dataclasses.dataclass(frozen=True)
class RejectedRecord:
    """A record as it came, where it came from, and why it wasn't taken; times are epoch ms.

    `cut_from_bytes` is how long the value was where it was too long to be kept whole, else None.
    """

    reason: str
    sentence: str
    topic: str
    partition: int
    offset: int
    rejected_at_ms: int
    key: Any
    value: Any
    cut_from_bytes: int | None


async def rejected(settings: Settings) -> AsyncIterator[RejectedRecord]:
    """All that is in the topic now, each partition in order; raises `StreamsError`."""
    async for record in stored(settings, [settings.topic(REJECTED.name)]):
        yield _read(record)


def _read(record: Any) -> RejectedRecord:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return RejectedRecord(
        reason=headers.get("reason", "unknown"),
        sentence=headers.get("sentence", ""),
        topic=headers.get("topic", ""),
        partition=_number(headers.get("partition")),
        offset=_number(headers.get("offset")),
        rejected_at_ms=_number(headers.get("rejected_at_ms")),
        key=None if record.key is None else shown_bytes(record.key),
        value=None if record.value is None else shown_bytes(record.value),
        cut_from_bytes=_number(headers["cut_from_bytes"]) if "cut_from_bytes" in headers else None,
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else -1
