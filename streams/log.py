"""The seam between the worker and Kafka: everything that the worker asks of a log, and nothing else.

Inbox, checkpoint, take-over, timers and the turn are written against these protocols. `kafka_log.py` is the real one, the
simulation brings one in memory with faults; one suite of tests runs against both. Topics go by the names of
`schemas.topics`, without prefix. One event loop, no threads: what has to cross threads does so behind `fetch`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from typing import NamedTuple, Protocol

Headers = list[tuple[str, bytes]]
# record time (epoch ms), offset, key, value: a plain tuple, as one is made for every event
Record = tuple[int, int, bytes | None, bytes | None]


class LogError(Exception):
    """The log could not do what was asked: the worker ends, and goes on from what is committed when started again."""


class OvertakenError(LogError):
    """The group has been assigned anew while partitions were being taken over: the next assignment counts."""


class FencedError(LogError):
    """Another worker has taken the partition over; whatever this one still had is void, and the other one has it all."""


class Fetch(NamedTuple):
    """What one look at a source partition found: the records in [start, end), without those that no reader may see.

    `log_end` is where the log ended then (last stable offset); `sent_ms` is not later than the asking, by our clock.
    """

    topic: str
    partition: int
    start: int
    end: int
    log_end: int
    sent_ms: int
    records: Sequence[Record]


class Outgoing(NamedTuple):
    """A record to be written; a value of None deletes the key."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None = None


class Claim(Protocol):
    """The right to write for one partition; whoever gets a newer one for it makes this one void."""

    async def begin(self, topics: Collection[str] = ()) -> None:
        """Begins a transaction; `topics` are those that it will write to, as far as that is known."""

    async def send(self, topic: str, records: Sequence[Outgoing]) -> Sequence[asyncio.Future[int]]:
        """Hands records over, in this order; each future gives the offset after the last record of its part.

        All of them have to be awaited before `commit`: a part that failed is not noticed otherwise.
        """

    async def send_offsets(self, positions: Mapping[str, int]) -> None:
        """Source positions by topic, for tools that show lag."""

    async def commit(self) -> None:
        """All of it becomes readable, or LogError, after which the outcome may be unknown to us (never to the log)."""

    async def abort(self) -> None:
        """None of it becomes readable."""

    async def close(self) -> None:
        """Lets go. An open transaction is left to whoever claims next, or to its time-out."""


class Log(Protocol):
    """A partitioned log with transactions, as one worker sees it."""

    async def fence(self, partition: int) -> Claim:
        """Claims the partition: on return no other claim on it can write, and nothing of theirs is undecided."""

    async def bounds(self, partitions: Set[int]) -> Mapping[tuple[str, int], tuple[int, int]]:
        """First offset and end of each source topic's partition."""

    def read_state(self, starts: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[Record], int]]:
        """Committed records of the state topic from these offsets to its end, as (partition, records, next offset)."""

    async def seek(self, positions: Mapping[int, Mapping[str, int]]) -> None:
        """From here on `fetch` tells of these partitions alone, from these positions."""

    async def fetch(self, hold: Set[tuple[str, int]]) -> Sequence[Fetch]:
        """What there is of all partitions, waiting a little for something; nothing of those in `hold`.

        A partition that was asked and had nothing new is told as well: that its end was seen, and when.
        """
