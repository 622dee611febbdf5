"""What is kept of one contact, and its bytes.

Invariants:
  * A key is true where its leaf or `held` condition is at `clock_ms`, or where the contact is in its segment, named by
    others. It has a due instant where time alone may change it, or where a hold ends.
  * `clock_ms` and `arrived_ms` never fall.
  * `members[segment]` has the last `seq`, odd in, even out, and its instant; a segment never entered is not there.
  * `answers[key]` holds, of each segment with a hold and each `held`, since when its condition's answer stands and what it
    is, as `since_ms * 2 + answer`; one that isn't there has been false since `born_ms`.
  * The same holds within each `Keyed`, of what a segment with `per` asks of the events with that value.

A record is a header, which timers and sweeps read without decoding the rest, and a MessagePack array:

    byte 0      format, 5
    bytes 1-8   `due_ms`, signed big-endian; 2^63 - 1 for none
    bytes 9-12  definitions revision that it was last stepped under, big-endian
    rest        the fields of `state_record.Stored`, in order
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from segments import state_formats as formats
from segments import state_record as layout
from segments.errors import StateError
from segments.members import is_inside, unpack_member
from segments.unit import Unit

FORMAT = 5
_HEADER = struct.Struct(">BqI")
_READERS = {1: formats.read_1, 2: formats.read_2, 3: formats.read_3, 4: layout.decode, FORMAT: layout.decode}
_NEVER = 2**63 - 1

# An id takes 12 bytes of hash and 6 of time: a million ids of one contact collide with a chance below 10^-16.
KNOWN_HASH_BYTES = 12
KNOWN_BYTES = KNOWN_HASH_BYTES + 6
_KNOWN_SHIFT = 1 << 47  # instants before 1970 are negative
# from the year 6429 on, where six bytes end, all arrivals count as one, and within any horizon of each other
_KNOWN_MS_MAX = (1 << 47) - 1


# when a value was first seen that the definition in force hasn't seen, and of which only the `seq` is kept
UNSEEN_MS = 2**62


class Keyed(Unit):
    """One membership of a segment with `per`, by a value that was first seen at `born_ms`; never entered where `seq` is 0."""

    __slots__ = ("at_ms", "born_ms", "counted_ms", "seq")

    def __init__(self, born_ms: int) -> None:
        super().__init__()
        self.born_ms = born_ms
        self.seq = 0
        self.at_ms = 0
        self.counted_ms: int | None = None  # `due_ms` as the contact's due instant has it

    @property
    def known(self) -> bool:
        """Whether the definition in force has seen an event with the value."""
        return self.born_ms != UNSEEN_MS


class ContactState(Unit):
    """One contact's past and present, as the evaluator steps it; see the module for what holds between the fields.

    `traits`: `key: [value or None, written_at_ms]`, the one seen longest ago first. `members`: by segment, as `members.py`
    has it.
    `keyed`: by segment and value, the one seen longest ago first. `consent` and `lists`:
    `[at_ms, on]` by message group (`""` is every one) and by list, in order of arrival. `known`: message ids with the
    arrival of each, oldest first. `first_ms`: the earliest event. `born_ms`: the clock at its first step. `revision`
    counts this contact's changes, `limits_passed` how often a limit made it drop something. `contact_changed` is for the
    caller, who clears it. `progress` is what follows the contact's transitions keeps of it, and `told` what that had to say,
    each with how many transitions of its step went before, for the caller, who takes it (`following.py`). `forgotten` has
    segment and key of memberships of which nothing is kept any more, for the caller, too: an erasure wouldn't name them.
    """

    __slots__ = (
        "arrived_ms",
        "born_ms",
        "bytes_estimated",
        "clock_ms",
        "consent",
        "contact",
        "contact_changed",
        "first_ms",
        "forgotten",
        "keyed",
        "known",
        "limits_passed",
        "lists",
        "members",
        "program_revision",
        "progress",
        "revision",
        "told",
        "traits",
    )

    def __init__(self, contact: str, program_revision: int, stored: layout.Stored | None = None) -> None:
        super().__init__()
        self.contact = contact
        self.program_revision = program_revision
        self.contact_changed = False
        self.bytes_estimated = 0
        self.keyed: dict[str, dict[str, Keyed]] = {}
        self.told: list[tuple[int, Any]] = []
        self.forgotten: list[tuple[str, str | None]] = []
        if stored is None:
            stored = layout.unknown()
        self.clock_ms = stored.clock_ms
        self.arrived_ms = stored.arrived_ms
        self.first_ms = stored.first_ms
        self.born_ms = stored.born_ms
        self.revision = stored.revision
        self.limits_passed = stored.limits_passed
        self.known = stored.known
        self.traits = stored.traits
        self.members = stored.members
        self.answers = stored.answers
        self.consent = stored.consent
        self.lists = stored.lists
        self.kept = stored.kept
        self.live = stored.live
        self.progress = stored.progress
        if stored.keyed:
            for segment, by_key in stored.keyed.items():
                self.keyed[segment] = {key: _keyed(one) for key, one in by_key.items()}

    def present_traits(self) -> dict[str, Any]:
        """The traits that are there: cleared ones left out."""
        return {key: entry[0] for key, entry in self.traits.items() if entry[0] is not None}

    def memberships(self) -> Iterator[tuple[str, str | None, int, int]]:
        """`(segment, key or None, seq, since_ms)` of each membership that the contact has."""
        for segment, member in self.members.items():
            if is_inside(member):
                yield segment, None, *unpack_member(member)
        for segment, by_key in self.keyed.items():
            for key, keyed in by_key.items():
                if keyed.seq & 1:
                    yield segment, key, keyed.seq, keyed.at_ms

    def membership(self, segment: str) -> tuple[int, int] | None:
        """The last `seq` of a segment without `per` and its instant; None: it was never entered."""
        member = self.members.get(segment)
        return None if member is None else unpack_member(member)

    def is_in(self, segment: str) -> bool:
        """Whether the contact is in a segment without `per`."""
        member = self.members.get(segment)
        return member is not None and is_inside(member)

    def every_membership(self) -> Iterator[tuple[str, str | None]]:
        """Segment and key (None without `per`) of every membership that the contact has or had."""
        for segment in self.members:
            yield segment, None
        for segment, by_key in self.keyed.items():
            for key in by_key:
                yield segment, key

    def take_forgotten(self) -> list[tuple[str, str | None]]:
        """What is `forgotten`, and nothing is afterwards; without what has been entered anew in the same step."""
        gone, self.forgotten = self.forgotten, []
        return [(segment, key) for segment, key in gone if not self._was_entered(segment, key)]

    def _was_entered(self, segment: str, key: str | None) -> bool:
        if key is None:
            return segment in self.members
        keyed = self.keyed.get(segment, {}).get(key)
        return keyed is not None and keyed.seq > 0

    def knows(self, digest: bytes, since_ms: int) -> bool:
        """Whether a message of this digest was accepted later than `since_ms` (by arrival)."""
        known, since_ms = self.known, min(since_ms, _KNOWN_MS_MAX - 1)
        at = known.find(digest)
        while at != -1:
            if at % KNOWN_BYTES == 0:
                if _arrival_ms(known, at) > since_ms:
                    return True
                at += KNOWN_BYTES - 1
            at = known.find(digest, at + 1)
        return False

    def learn(self, digest: bytes, arrived_ms: int, since_ms: int) -> None:
        """Remember a message accepted at `arrived_ms`, and forget those accepted up to `since_ms`."""
        known, gone = self.known, 0
        if known:
            since_ms = min(since_ms, _KNOWN_MS_MAX - 1)
            since = (since_ms + _KNOWN_SHIFT).to_bytes(6, "big")  # whole bytes are in the order of what they say
            while gone < len(known) and known[gone + KNOWN_HASH_BYTES : gone + KNOWN_BYTES] <= since:
                gone += KNOWN_BYTES
        self.known = known[gone:] + digest + (min(arrived_ms, _KNOWN_MS_MAX) + _KNOWN_SHIFT).to_bytes(6, "big")


def _arrival_ms(known: bytes, at: int) -> int:
    return int.from_bytes(known[at + KNOWN_HASH_BYTES : at + KNOWN_BYTES], "big") - _KNOWN_SHIFT


def joined_known(one: bytes, other: bytes) -> bytes:
    """The messages of two contacts as those of one, oldest first."""
    if not one or not other:
        return one or other
    entries: list[bytes] = [
        known[at : at + KNOWN_BYTES] for known in (one, other) for at in range(0, len(known), KNOWN_BYTES)
    ]
    entries.sort(key=lambda entry: entry[KNOWN_HASH_BYTES:])
    return b"".join(entries)


def header(record: bytes) -> tuple[int | None, int]:
    """`(due_ms or None, definitions revision)` of an encoded state; raises `StateError` when it is none."""
    if len(record) < _HEADER.size or record[0] not in _READERS:
        found = f"format {record[0]}" if record else "nothing"
        raise StateError(
            f"expected a state record of a format up to {FORMAT}, got {found}; was it written by a newer version?"
        )
    _, due_ms, program_revision = _HEADER.unpack_from(record)
    return (None if due_ms == _NEVER else due_ms), program_revision


def encode(state: ContactState) -> bytes:
    """The state's record."""
    body = layout.encode(
        layout.Stored(
            state.clock_ms,
            state.arrived_ms,
            state.first_ms,
            state.born_ms,
            state.revision,
            state.limits_passed,
            state.known,
            state.traits,
            state.members,
            state.kept,
            state.live,
            state.answers,
            state.consent,
            state.lists,
            {segment: _stored_keys(by_key) for segment, by_key in state.keyed.items()} if state.keyed else {},
            state.progress,
        )
    )
    due_ms = _NEVER if state.due_ms is None else state.due_ms
    state.bytes_estimated = _HEADER.size + len(body)
    return _HEADER.pack(FORMAT, due_ms, state.program_revision) + body


def _stored_keys(by_key: dict[str, Keyed]) -> dict[str, layout.StoredKeyed]:
    return {
        key: layout.StoredKeyed(one.born_ms, one.seq, one.at_ms, one.kept, one.live, one.answers)
        for key, one in by_key.items()
    }


def decode(contact: str, record: bytes) -> ContactState:
    """The state of `contact` in a record; raises `StateError` when it can't be read."""
    due_ms, program_revision = header(record)
    try:
        stored = _READERS[record[0]](memoryview(record)[_HEADER.size :])
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError(f"expected the state of {contact!r}, got bytes that can't be read: {error}") from None
    state = ContactState(contact, program_revision, stored)
    state.due_ms = due_ms
    state.bytes_estimated = len(record)
    return state


def _keyed(stored: layout.StoredKeyed) -> Keyed:
    keyed = Keyed(stored.born_ms)
    keyed.seq, keyed.at_ms = stored.seq, stored.at_ms
    keyed.kept, keyed.live, keyed.answers = stored.kept, stored.live, stored.answers
    keyed.due_stale = True
    keyed.find_due()
    keyed.counted_ms = keyed.due_ms
    return keyed
