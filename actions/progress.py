"""What is kept with a contact of the sequences that it is in or was in: bytes in its state (`ContactState.progress`).

Invariants:
  * Of one sequence, and of one value of `per` there, at most one is under way.
  * `begun` outlives what is under way: it is what `again` is decided by.
"""

import hashlib
from typing import Final

import msgspec

from actions.sequences import KEYS_MAX, KEYS_MAX_IN_ALL
from schemas.transitions import Cause, CauseEvent, Transition

# what the bytes begin with: nothing is under way · something is, with no instant to go on at · or with one
RESTING: Final = 0
WAITING_FOR: Final = 1
WAITING_UNTIL: Final = 2
FORMAT: Final = 1


class Begun(msgspec.Struct, array_like=True):
    """When a contact last began a sequence (epoch ms), and for which values of `per`, by their digests, the latest last."""

    at_ms: int
    keys: dict[bytes, int]

    def has(self, key: str | None) -> bool:
        """Whether it was begun for this value, of those that are remembered."""
        return key is not None and digest_of(key) in self.keys


class UnderWay(msgspec.Struct, array_like=True):
    """A contact in a sequence: at step `at`, where it goes on at `due_ms` (None: when something happens).

    `began_ms` is when it began, `splits` the path taken of each split, by name. The rest is of the transition that began it.
    """

    sequence: str
    version: int
    at: int
    due_ms: int | None
    began_ms: int
    converted: bool
    splits: dict[str, str]
    segment: str
    segment_version: int
    seq: int
    entered_ms: int
    cause: Cause
    key: str | None
    event: CauseEvent | None

    def begun_by(self, contact: str) -> Transition:
        """The transition that began it."""
        return Transition(
            self.segment, self.segment_version, contact, self.seq, self.entered_ms, self.cause, self.event, self.key
        )


class Progress(msgspec.Struct, array_like=True):
    """All of one contact; `under_way` in the order in which it began."""

    format: int = FORMAT
    begun: dict[str, Begun] = msgspec.field(default_factory=dict)
    under_way: list[UnderWay] = msgspec.field(default_factory=list)

    def note_begun(self, sequence: str, key: bytes | None, at_ms: int) -> None:
        """Takes in that the contact began a sequence; `key`: for the value with this digest, where it is to be remembered."""
        begun = self.begun.setdefault(sequence, Begun(at_ms, {}))
        begun.at_ms = max(begun.at_ms, at_ms)
        if key is not None:
            begun.keys.pop(key, None)
            begun.keys[key] = at_ms
            if len(begun.keys) > KEYS_MAX:
                del begun.keys[next(iter(begun.keys))]
            if sum(len(each.keys) for each in self.begun.values()) > KEYS_MAX_IN_ALL:
                most = max(self.begun.values(), key=lambda each: len(each.keys))
                del most.keys[next(iter(most.keys))]

    def is_under_way(self, sequence: str, key: str | None) -> bool:
        """Whether the contact is in a sequence, for this value of `per`."""
        return any(each.sequence == sequence and each.key == key for each in self.under_way)

    @property
    def due_ms(self) -> int | None:
        """When the first of it goes on by time alone."""
        return min((each.due_ms for each in self.under_way if each.due_ms is not None), default=None)

    def encoded(self) -> bytes:
        """The bytes; none where there is nothing."""
        if not self.begun and not self.under_way:
            return b""
        kind = RESTING if not self.under_way else WAITING_FOR if self.due_ms is None else WAITING_UNTIL
        return bytes((kind,)) + _encode(self)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Progress).decode


def digest_of(key: str) -> bytes:
    """What a value of `per` is remembered by: of a thousand, two are taken for one with a chance below 10^-16."""
    return hashlib.blake2b(key.encode(), digest_size=9).digest()


def progress_of(kept: bytes) -> Progress:
    """What bytes say; raises `msgspec.DecodeError`."""
    return _decode(memoryview(kept)[1:]) if kept else Progress()


def joined(survivor: Progress, absorbed: Progress) -> list[UnderWay]:
    """Makes one of two contacts' progress, in `survivor`; returns what of the absorbed one's can't go on with it."""
    for sequence, theirs in absorbed.begun.items():
        survivor.note_begun(sequence, None, theirs.at_ms)
        for key, at_ms in theirs.keys.items():
            if key not in survivor.begun[sequence].keys:
                survivor.note_begun(sequence, key, at_ms)
    left: list[UnderWay] = []
    for each in absorbed.under_way:
        (left if survivor.is_under_way(each.sequence, each.key) else survivor.under_way).append(each)
    survivor.under_way.sort(key=lambda each: each.began_ms)
    return left
