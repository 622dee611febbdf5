"""Which segments a contact was in at an instant that is over: from the log of transitions, beside what holds now.

Invariants:
  * A membership at an instant is what its last transition up to there made it. Where that is no longer in the log, the first
    one after it says what it was until then, and where there is none, nothing has changed since.
  * No answer from before the first transition that is in the log: some that counted then may be gone.
  * What was before an erasure is not told, though the log may hold it until its retention ends. Revisions begin anew with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from actions.sequences import LIFTED
from schemas.instants import format_instant, parse_instant
from schemas.topics import TRANSITIONS
from schemas.transitions import TransitionRecord
from streams.broker import reader, to_the_end
from streams.errors import InputError
from streams.lookups import Contact
from streams.settings import Settings

SHOWN_EACH: Final = 4_096

Advance = Callable[[int, int], None]


class Stay(msgspec.Struct, frozen=True):
    """That a contact was in a segment, since when, by which transition and version.

    `since` and `version` are null where that transition is no longer in the log.
    """

    segment: str
    key: str | None
    since: str | None
    seq: int
    version: int | None


@dataclass(frozen=True)
class _Turn:
    """That a membership began (`member`) or ended."""

    seq: int
    at_ms: int
    member: bool
    version: int


@dataclass
class Past:
    """What is known of a contact's memberships as of `at_ms`; takes transitions in the order of the log."""

    at_ms: int
    known_ms: int | None = None  # of an earlier life nothing is told; None: there was none
    _revision: int = 0
    _turns: dict[tuple[str, str | None], list[_Turn]] = field(default_factory=dict)

    def take(self, record: TransitionRecord) -> None:
        """A transition of the contact."""
        if record.cause == "erasure" or record.revision < self._revision:
            self.known_ms = parse_instant(record.at, offset_required=True)
            self._turns.clear()
        self._revision = 0 if record.cause == "erasure" else record.revision
        if record.cause != "erasure":
            entered = record.transition == "entered"
            self._put(record.segment, record.key, record.seq, record.at, entered, record.segment_version)

    def stays(self, contact: Contact) -> list[Stay]:
        """Where it was in, by segment and key; `contact` is what was known of it before the log was read."""
        if self.known_ms is None:  # else the log has all of this life, and `contact` may be of the one before
            for each in contact.memberships:
                self._put(each.segment, each.key, each.seq, each.since, each.member, each.version)
        found = (self._stay(segment, key, turns) for (segment, key), turns in self._turns.items())
        return sorted((stay for stay in found if stay), key=lambda stay: (stay.segment, stay.key or ""))

    def _put(self, segment: str, key: str | None, seq: int, at: str, member: bool, version: int) -> None:
        at_ms = parse_instant(at, offset_required=True)
        if at_ms is not None and not segment.startswith(LIFTED):
            self._turns.setdefault((segment, key), []).append(_Turn(seq, at_ms, member, version))

    def _stay(self, segment: str, key: str | None, turns: Iterable[_Turn]) -> Stay | None:
        before = max((turn for turn in turns if turn.at_ms <= self.at_ms), key=lambda turn: turn.seq, default=None)
        if before is not None:
            return (
                Stay(segment, key, format_instant(before.at_ms), before.seq, before.version) if before.member else None
            )
        first = min(turns, key=lambda turn: turn.seq)
        return None if first.member else Stay(segment, key, None, first.seq - 1, None)


async def survey(settings: Settings, contact: str) -> int:
    """How many offsets `read_past` goes through. Raises `StreamsError`."""
    async with reader(settings, [settings.topic(TRANSITIONS.name)], key=contact.encode()) as client:
        (partition,) = client.assignment()
        starts, ends = await client.beginning_offsets([partition]), await client.end_offsets([partition])
        return int(ends[partition] - starts[partition])


async def read_past(settings: Settings, contact: Contact, at_ms: int, advance: Advance) -> list[Stay]:
    """The segments that a contact was in at `at_ms` (epoch ms, over), by segment and key.

    `contact` is what the read model knows of it. Reads a partition of `transitions` through; `advance` is told records and
    offsets so far. Raises `InputError` where that can't be told any more, and `StreamsError` where the log can't be read.
    """
    key, past, first_ms, count = contact.contact.encode(), Past(at_ms), None, 0
    async with reader(settings, [settings.topic(TRANSITIONS.name)], key=key) as client:
        (partition,) = client.assignment()
        start = (await client.beginning_offsets([partition]))[partition]
        async for record in to_the_end(client, await client.end_offsets([partition])):
            if first_ms is None:
                first_ms = record.timestamp
                if start:
                    _check_retained(at_ms, first_ms)
            count += 1
            if count % SHOWN_EACH == 0:
                advance(count, record.offset - start)
            if record.key == key and (told := _transition(record)) is not None:
                past.take(told)
    if start and first_ms is None:
        raise InputError(
            "expected transitions in the log, retention has removed all of its partition's: only now can be told"
        )
    if past.known_ms is not None and at_ms < past.known_ms:
        raise InputError(
            f"expected an instant from {format_instant(past.known_ms)} on, got {format_instant(at_ms)}: "
            "the contact was erased, and nothing is told of before"
        )
    return past.stays(contact)


def _check_retained(at_ms: int, first_ms: int) -> None:
    if at_ms < first_ms:
        raise InputError(
            f"expected an instant from {format_instant(first_ms)} on, got {format_instant(at_ms)}: "
            "retention has removed earlier transitions"
        )


def _transition(record: Any) -> TransitionRecord | None:
    try:
        return msgspec.json.decode(record.value or b"", type=TransitionRecord)
    except (msgspec.DecodeError, RecursionError):
        return None  # none of a worker's
