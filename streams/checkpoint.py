"""A checkpoint: everything that changed in one partition, in one Kafka transaction, all of it or none (I3).

Invariants:
  * The overlay is what has changed since the last checkpoint began; it may be thrown away at any moment (I5).
  * Nothing is committed before every record of the transaction was acknowledged: a lost batch fails the checkpoint.
  * The meta record goes with every checkpoint, so that state and positions can't be apart (I9).
"""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from schemas.topics import CONTACTS, MEMBERSHIPS, REJECTED, STATE
from schemas.transitions import membership_key
from streams.clock import Clock
from streams.errors import StreamsError
from streams.inbox import Mark
from streams.log import Claim, FencedError, Outgoing
from streams.plan import Emitted, State, contact_record

# not valid UTF-8, so no contact id's bytes can equal it
META_KEY = b"\xffmeta"
META_FORMAT = 1
_BETWEEN_LOOKS = 16

Key = bytes  # `Overlay` has a field of the type's name


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a partition is: marks of the source topics, arrival time (epoch ms), revision of the definitions.

    `effective_ms` is when that revision took effect here; None where it was there from the start. `due_ms` is the first
    instant at which a contact is to be looked at (epoch ms), for `tidegate status`.
    """

    format: int
    arrival_ms: int
    revision: int
    topics: dict[str, Mark]
    effective_ms: int | None = None
    due_ms: int | None = None


class UnknownFormatError(StreamsError):
    """A meta record of a later version of Tidegate. Operator's step: run that version."""


class UnreadableMetaError(StreamsError):
    """Bytes that are no meta record: where the partition stands can't be known, so nothing of its state can be trusted."""


class EncodeError(Exception):
    """`cause` was raised when the state of the contact with this key was made a record."""

    def __init__(self, key: bytes, cause: Exception) -> None:
        super().__init__(f"expected a state that can be encoded, got {type(cause).__name__}")
        self.key = key
        self.cause = cause


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Meta).decode


def read_meta(value: bytes) -> Meta:
    """The meta record in `value`; raises UnknownFormatError, UnreadableMetaError."""
    try:
        meta = _decode(value)
    except msgspec.DecodeError as error:
        raise UnreadableMetaError(
            f"expected a meta record, got bytes that can't be read ({error}): where the partition stands is not known, and "
            "its state can't be trusted; see who wrote to the state topic, then restore the record, or start under "
            "another TIDEGATE_PREFIX"
        ) from None
    if meta.format != META_FORMAT:
        raise UnknownFormatError(
            f"expected a meta record of format {META_FORMAT}, got {meta.format}: run the version that wrote it"
        )
    return meta


@dataclasses.dataclass
class Overlay:
    """What changed in a partition since its last checkpoint began.

    `dirty` has None for a contact that was erased. `events` counts what was applied, played or changed over, `beside` how
    much of it was no event's; `since_ms` is when that began, by the monotonic clock. `taken` and `played` are what latencies
    are measured by: of each turn, the record time of its first event, or its first due instant, and how many there were.
    """

    dirty: dict[bytes, Any] = dataclasses.field(default_factory=dict)
    kept: dict[str, list[Outgoing]] = dataclasses.field(default_factory=dict)
    memberships: dict[bytes, Outgoing] = dataclasses.field(default_factory=dict)
    # contacts that something is sent to: their records go along, so that whoever checks it can tell a read model of then
    messaged: set[bytes] = dataclasses.field(default_factory=set)
    events: int = 0
    beside: int = 0
    bytes: int = 0
    since_ms: float | None = None
    taken: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    played: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def emit(self, emitted: Emitted) -> None:
        """Takes the records of one step in."""
        for topic, records in emitted.by_topic():
            if records:
                self.keep(topic, records)
        for record in emitted.memberships:
            assert record.key is not None
            self.memberships[record.key] = record
        self.messaged.update(record.key for record in emitted.deliveries if record.key is not None)

    def erase(self, key: Key, state: State) -> None:
        """Takes in that nothing is kept of a contact any more: a tombstone for each record that was."""
        self.dirty[key] = None
        self.forget(state.contact, state.every_membership())

    def forget(self, contact: str, memberships: Iterable[tuple[str, str | None]]) -> None:
        """Takes in that nothing is kept of these any more, segment and key: no later erasure would know of them."""
        for segment, value in memberships:
            membership = membership_key(contact, segment, value)
            self.memberships[membership] = Outgoing(membership, None)

    def keep(self, topic: str, records: list[Outgoing]) -> None:
        """Takes records in for a topic that keeps every one."""
        self.kept.setdefault(topic, []).extend(records)
        self.bytes += sum(len(record.key or b"") + len(record.value or b"") for record in records)

    def reject(self, record: Outgoing) -> None:
        """Takes in what could not be applied."""
        self.keep(REJECTED.name, [record])


@dataclasses.dataclass(frozen=True)
class Frozen:
    """An overlay as records, and where it leads to."""

    states: dict[bytes, bytes | None]
    contacts: list[Outgoing]
    overlay: Overlay
    meta: Meta

    def records(self) -> dict[str, list[Outgoing]]:
        """By topic: state first, its last record being the meta record."""
        states = [Outgoing(key, value) for key, value in self.states.items()]
        states.append(Outgoing(META_KEY, _encode(self.meta)))
        by_topic = {STATE.name: states, **self.overlay.kept}
        if self.overlay.memberships:
            by_topic[MEMBERSHIPS.name] = list(self.overlay.memberships.values())
        if self.contacts:
            by_topic[CONTACTS.name] = self.contacts
        return by_topic


class Freezing:
    """An overlay on its way to records."""

    def __init__(self, encode: Callable[[Any], bytes], overlay: Overlay, meta: Meta) -> None:
        self._encode = encode
        self._overlay = overlay
        self._meta = meta
        self._left = deque(overlay.dirty.items())
        self._states: dict[bytes, bytes | None] = {}
        self._contacts: list[Outgoing] = []

    def encode(self, clock: Clock, until_ms: float) -> bool:
        """Encodes some; returns whether all is done. Raises EncodeError, and then there is nothing to commit."""
        while self._left:
            key, state = self._left.popleft()
            try:
                self._put(key, state)
            except MemoryError:
                raise
            except Exception as error:
                raise EncodeError(key, error) from error
            if not len(self._left) % _BETWEEN_LOOKS and clock.spent_ms() > until_ms:
                break
        return not self._left

    def _put(self, key: Key, state: Any) -> None:
        self._states[key] = None if state is None else self._encode(state)
        if state is None:
            self._contacts.append(Outgoing(key, None))
        elif state.contact_changed or key in self._overlay.messaged:
            self._contacts.append(contact_record(state))
            state.contact_changed = False

    def frozen(self) -> Frozen:
        """The records."""
        assert not self._left
        return Frozen(self._states, self._contacts, self._overlay, self._meta)


async def write(claim: Claim, frozen: Frozen, offsets: Mapping[str, int] | None) -> int:
    """Commits `frozen` in one transaction; returns where the partition's state topic goes on.

    `offsets` are committed for the group with it, where given. Raises what the log raises; the transaction is then aborted
    if that can still be done.
    """
    by_topic = frozen.records()
    await claim.begin(by_topic.keys())
    try:
        sent = {topic: await claim.send(topic, records) for topic, records in by_topic.items()}
        await asyncio.gather(*(part for parts in sent.values() for part in parts))
        if offsets is not None:  # after the rest: while the group is added, the broker refuses records for now
            await claim.send_offsets(offsets)
        await claim.commit()
    except FencedError:  # the broker has ended it, and takes no word of this claim any more
        raise
    except BaseException:
        # who reads committed records waits for the end of an open transaction, so it is better not left to its time-out
        await claim.abort()
        raise
    return sent[STATE.name][-1].result()
