"""What could not be taken, read back from the `rejected` topic."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from schemas.rejected import Reason
from schemas.topics import REJECTED
from streams.broker import stored
from streams.settings import Settings

# header of the mark of a replayed record: the reason for which that one was rejected
WAS = "was"


@dataclasses.dataclass(frozen=True)
class RejectedRecord:
    """A record as it came, where it came from, and why it wasn't taken; times are epoch ms.

    `cut_from_bytes` is how long the value was where it was too long to be kept whole, else None. `stored_at` is where it
    stands in `rejected`: partition, offset. `was`: it is no record but the mark of one that was replayed, which has the
    same `topic`, `partition` and `offset`, and was rejected for this reason.
    """

    reason: str
    sentence: str
    topic: str
    partition: int
    offset: int
    rejected_at_ms: int
    key: bytes | None
    value: bytes | None
    cut_from_bytes: int | None
    stored_at: tuple[int, int]
    was: str | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        """Where the original stands: topic, partition, offset."""
        return self.topic, self.partition, self.offset


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which records are asked for: all, but for what is given; `since_ms` (epoch ms) is when they were rejected."""

    reason: str | None = None
    contact: str | None = None
    since_ms: int | None = None

    def has(self, record: RejectedRecord) -> bool:
        """Whether `record` is one of them; of a mark, whether what it marks is, but for `since_ms`."""
        return (
            self.reason in (None, record.was or record.reason)
            and (self.contact is None or record.key == self.contact.encode())
            and (self.since_ms is None or record.rejected_at_ms >= self.since_ms)
        )


async def rejected(settings: Settings, wanted: Wanted) -> AsyncIterator[RejectedRecord]:
    """What is wanted of all that is in the topic now, and marks, each partition in order; raises `StreamsError`."""
    async for record in stored(settings, [settings.topic(REJECTED.name)]):
        found = _read(record)
        if wanted.has(found):
            yield found


def _read(record: Any) -> RejectedRecord:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    reason = headers.get("reason", "unknown")
    return RejectedRecord(
        reason=reason,
        sentence=headers.get("sentence", ""),
        topic=headers.get("topic", ""),
        partition=_number(headers.get("partition")),
        offset=_number(headers.get("offset")),
        rejected_at_ms=_number(headers.get("rejected_at_ms")),
        key=record.key,
        value=record.value,
        cut_from_bytes=_number(headers["cut_from_bytes"]) if "cut_from_bytes" in headers else None,
        stored_at=(record.partition, record.offset),
        was=headers.get(WAS, "unknown") if reason == Reason.REPLAYED else None,
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else -1
