"""Which segments a contact was in at an instant that is over: from the log of transitions, beside what holds now.

Invariants:
  * A membership at an instant is what its last transition up to there made it. Where that is no longer in the log, the first
    one after it says what it was until then, and where there is none, nothing has changed since.
  * No answer from before the first transition that is in the log: some that counted then may be gone.
  * What was before an erasure is not told, though the log may hold it until its retention ends. Its receipt is in a log of
    its own, which is kept as long. A contact is in nothing when it is erased, so what it was in counts for nothing later.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from aiokafka import ConsumerRecord

from actions.sequences import LIFTED
from schemas.erasures import Receipt, contact_hash
from schemas.instants import format_instant, parse_instant
from schemas.topics import ERASURES, TRANSITIONS, Topic
from schemas.transitions import TransitionRecord
from streams.broker import reader, to_the_end
from streams.errors import InputError
from streams.lookups import Contact
from streams.settings import Settings

T = TypeVar("T")
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
    _turns: dict[tuple[str, str | None], list[_Turn]] = field(default_factory=dict)

    def take(self, record: TransitionRecord) -> None:
        """A transition of the contact."""
        entered = record.transition == "entered"
        self._put(record.segment, record.key, record.seq, record.at, entered, record.segment_version)

    def stays(self, contact: Contact) -> list[Stay]:
        """Where it was in, by segment and key; `contact` is what was known of it before the log was read."""
        for each in contact.memberships:
            if (each.segment, each.key) not in self._turns:
                self._put(each.segment, each.key, each.seq, each.since, each.member, each.version)
        found = (self._stay(segment, key, turns) for (segment, key), turns in self._turns.items())
        return sorted((stay for stay in found if stay), key=lambda stay: (stay.segment, stay.key or ""))

    def _put(self, segment: str, key: str | None, seq: int, at: str, member: bool, version: int) -> None:
        at_ms = parse_instant(at, offset_required=True)
        if at_ms is not None and not segment.startswith(LIFTED):
            self._turns.setdefault((segment, key), []).append(_Turn(seq, at_ms, member, version))

    def _stay(self, segment: str, key: str | None, turns: Sequence[_Turn]) -> Stay | None:
        before = [turn for turn in turns if turn.at_ms <= self.at_ms]
        if before:
            last = before[-1]
            return Stay(segment, key, format_instant(last.at_ms), last.seq, last.version) if last.member else None
        return None if turns[0].member else Stay(segment, key, None, turns[0].seq - 1, None)


async def survey(settings: Settings, contact: str) -> range:
    """The offsets that `read_past` goes through. Raises `StreamsError`."""
    async with reader(settings, [settings.topic(TRANSITIONS.name)], key=contact.encode()) as client:
        (partition,) = client.assignment()
        starts, ends = await client.beginning_offsets([partition]), await client.end_offsets([partition])
        return range(starts[partition], ends[partition])


async def read_past(settings: Settings, contact: Contact, at_ms: int, offsets: range, advance: Advance) -> list[Stay]:
    """The segments that a contact was in at `at_ms` (epoch ms, over), by segment and key.

    `contact` is what the read model knows of it. Reads a partition of `transitions` through; `advance` is told records and
    offsets so far. Raises `InputError` where that can't be told any more, and `StreamsError` where the log can't be read.
    """
    await _check_erased(settings, contact.contact, at_ms)
    key, past, count = contact.contact.encode(), Past(at_ms), 0
    async with aclosing(_records(settings, TRANSITIONS, contact.contact)) as records:
        async for record in records:
            if not count and offsets.start:
                _check_retained(at_ms, record.timestamp)
            count += 1
            if count % SHOWN_EACH == 0:
                advance(count, record.offset - offsets.start)
            if record.key == key and (told := _read(record.value, TransitionRecord)) is not None:
                past.take(told)
    if offsets.start and not count:
        raise InputError(
            "expected transitions in the log, retention has removed all of the contact's partition: only now can be told"
        )
    return past.stays(contact)


async def _records(
    settings: Settings, topic: Topic, contact: str
) -> AsyncGenerator[ConsumerRecord[bytes, bytes], None]:
    """What is committed by now in the contact's partition of a topic."""
    async with reader(settings, [settings.topic(topic.name)], key=contact.encode()) as client:
        async for record in to_the_end(client, await client.end_offsets(list(client.assignment()))):
            yield record


async def _check_erased(settings: Settings, contact: str, at_ms: int) -> None:
    """Raises `InputError` for an instant before the contact was erased, for the last time."""
    key, erased_ms = contact_hash(contact).encode(), at_ms
    async for record in _records(settings, ERASURES, contact):
        receipt = _read(record.value, Receipt) if record.key == key else None
        if receipt is not None:
            erased_ms = max(erased_ms, parse_instant(receipt.at, offset_required=True) or 0)
    if erased_ms > at_ms:
        raise InputError(
            f"expected an instant from {format_instant(erased_ms)} on, got {format_instant(at_ms)}: the contact was erased, "
            "and nothing is told of before"
        )


def _check_retained(at_ms: int, first_ms: int) -> None:
    if at_ms < first_ms:
        raise InputError(
            f"expected an instant from {format_instant(first_ms)} on, got {format_instant(at_ms)}: "
            "retention has removed earlier transitions"
        )


def _read(value: bytes | None, struct: type[T]) -> T | None:
    """What a record says; None where it is none of a worker's."""
    try:
        return msgspec.json.decode(value or b"", type=struct)
    except (msgspec.DecodeError, RecursionError):
        return None
