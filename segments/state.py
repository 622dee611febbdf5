"""What is kept of one contact, and its bytes.

Invariants:
  * `true` holds the keys of the leaves that are true at `clock_ms`, and of the segments, named by others, that the
    contact is in.
  * `dues` holds, of each leaf and running hold that time alone may change, the next instant at which it may; `due_ms`
    is the least of them or earlier.
  * `clock_ms` and `arrived_ms` never fall.
  * `members[segment][0]` is the last `seq`: odd in, even out; a segment never entered is not there.

A record is a header, which timers and sweeps read without decoding the rest, and a MessagePack array:

    byte 0      format, 1
    bytes 1-8   `due_ms`, signed big-endian; 2^63 - 1 for none
    bytes 9-12  definitions revision that it was last stepped under, big-endian
    rest        the fields of `_Stored`, in order
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from segments.errors import StateError

FORMAT = 1
_HEADER = struct.Struct(">BqI")
_NEVER = 2**63 - 1

# An id takes 12 bytes of hash and 6 of time: a million ids of one contact collide with a chance below 10^-16.
KNOWN_HASH_BYTES = 12
KNOWN_BYTES = KNOWN_HASH_BYTES + 6
_KNOWN_SHIFT = 1 << 47  # instants before 1970 are negative


class _Stored(msgspec.Struct, array_like=True):
    clock_ms: int
    arrived_ms: int
    first_ms: int
    revision: int
    known: bytes
    traits: dict[str, list[Any]]
    members: dict[str, list[int]]
    pending: dict[str, int]
    true: list[int]
    kept: dict[int, Any]
    dues: dict[int, int]


_decoder = msgspec.msgpack.Decoder(_Stored)
_encoder = msgspec.msgpack.Encoder()


class ContactState:
    """One contact's past and present, as the evaluator steps it; see the module for what holds between the fields.

    `traits`: `key: [value or None, written_at_ms]`, the one seen longest ago first. `members`: `segment: [seq, at_ms]`.
    `pending`: since when the answer of a segment with `hold` differs from its membership. `kept`: each leaf's own.
    `known`: message ids with the arrival of each, oldest first. `revision` counts this contact's changes.
    `traits_changed` is for the caller, who clears it; `limits_passed` counts what a limit made the last steps drop.
    """

    __slots__ = (
        "arrived_ms",
        "bytes_estimated",
        "clock_ms",
        "contact",
        "due_ms",
        "due_stale",
        "dues",
        "first_ms",
        "kept",
        "known",
        "limits_passed",
        "members",
        "pending",
        "program_revision",
        "revision",
        "traits",
        "traits_changed",
        "true",
    )

    def __init__(self, contact: str, program_revision: int) -> None:
        self.contact = contact
        self.program_revision = program_revision
        self.clock_ms = self.arrived_ms = self.first_ms = -(2**53)
        self.revision = 0
        self.known = b""
        self.traits: dict[str, list[Any]] = {}
        self.members: dict[str, list[int]] = {}
        self.pending: dict[str, int] = {}
        self.true: set[int] = set()
        self.kept: dict[int, Any] = {}
        self.dues: dict[int, int] = {}
        self.due_ms: int | None = None
        self.due_stale = False
        self.traits_changed = False
        self.limits_passed = 0
        self.bytes_estimated = 0

    def present_traits(self) -> dict[str, Any]:
        """The traits that are there: cleared ones left out."""
        return {key: entry[0] for key, entry in self.traits.items() if entry[0] is not None}

    def memberships(self) -> Iterator[tuple[str, int, int]]:
        """`(segment, seq, since_ms)` of each segment that the contact is in."""
        return ((segment, seq, at_ms) for segment, (seq, at_ms) in self.members.items() if seq & 1)

    def set_due(self, key: int, due_ms: int | None) -> None:
        """Note when a leaf or a hold may change next, None for never; `find_due` completes it after a step."""
        before_ms = self.dues.get(key)
        if due_ms is not None:
            self.dues[key] = due_ms
            if self.due_ms is None or due_ms <= self.due_ms:
                self.due_ms = due_ms
                return
        elif before_ms is not None:
            del self.dues[key]
        if before_ms is not None and before_ms == self.due_ms:
            self.due_stale = True

    def find_due(self) -> None:
        """Bring `due_ms` up to the least of `dues`, where the one that it came from has moved."""
        if self.due_stale:
            self.due_ms = min(self.dues.values(), default=None)
            self.due_stale = False

    def knows(self, digest: bytes, since_ms: int) -> bool:
        """Whether a message of this digest was accepted later than `since_ms` (by arrival)."""
        known = self.known
        at = known.find(digest)
        while at != -1:
            if at % KNOWN_BYTES == 0:
                end = at + KNOWN_BYTES
                if int.from_bytes(known[at + KNOWN_HASH_BYTES : end], "big") - _KNOWN_SHIFT > since_ms:
                    return True
                at = end - 1
            at = known.find(digest, at + 1)
        return False

    def learn(self, digest: bytes, arrived_ms: int, since_ms: int) -> None:
        """Remember a message accepted at `arrived_ms`, and forget those accepted up to `since_ms`."""
        known, gone = self.known, 0
        while gone < len(known):
            at_ms = int.from_bytes(known[gone + KNOWN_HASH_BYTES : gone + KNOWN_BYTES], "big") - _KNOWN_SHIFT
            if at_ms > since_ms:
                break
            gone += KNOWN_BYTES
        self.known = known[gone:] + digest + (arrived_ms + _KNOWN_SHIFT).to_bytes(6, "big")


def header(record: bytes) -> tuple[int | None, int]:
    """`(due_ms or None, definitions revision)` of an encoded state; raises `StateError` when it is none."""
    if len(record) < _HEADER.size or record[0] != FORMAT:
        found = f"format {record[0]}" if record else "nothing"
        raise StateError(f"expected a state record of format {FORMAT}, got {found}; was it written by a newer version?")
    _, due_ms, program_revision = _HEADER.unpack_from(record)
    return (None if due_ms == _NEVER else due_ms), program_revision


def encode(state: ContactState) -> bytes:
    """The state's record."""
    body = _encoder.encode(
        _Stored(
            state.clock_ms,
            state.arrived_ms,
            state.first_ms,
            state.revision,
            state.known,
            state.traits,
            state.members,
            state.pending,
            sorted(state.true),
            state.kept,
            state.dues,
        )
    )
    due_ms = _NEVER if state.due_ms is None else state.due_ms
    state.bytes_estimated = _HEADER.size + len(body)
    return _HEADER.pack(FORMAT, due_ms, state.program_revision) + body


def decode(contact: str, record: bytes) -> ContactState:
    """The state of `contact` in a record; raises `StateError` when it can't be read."""
    due_ms, program_revision = header(record)
    try:
        stored = _decoder.decode(record[_HEADER.size :])
    except msgspec.DecodeError as error:
        raise StateError(f"expected the state of {contact!r}, got bytes that can't be read: {error}") from None
    state = ContactState(contact, program_revision)
    state.due_ms = due_ms
    state.clock_ms = stored.clock_ms
    state.arrived_ms = stored.arrived_ms
    state.first_ms = stored.first_ms
    state.revision = stored.revision
    state.known = stored.known
    state.traits = stored.traits
    state.members = stored.members
    state.pending = stored.pending
    state.true = set(stored.true)
    state.kept = stored.kept
    state.dues = stored.dues
    state.bytes_estimated = len(record)
    return state
