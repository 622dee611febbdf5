"""What earlier formats of a state's record say, as the present one says it."""

import sys
from array import array
from typing import Any

import msgspec

from segments.canonical import hold_key
from segments.members import pack_member
from segments.state_record import Stored, StoredKeyed, unknown
from segments.unit import Unit
from segments.values import eq_key

_NEVER_2 = 2**63 - 1
_decode_kept = msgspec.msgpack.Decoder(Any).decode


class _Stored1(msgspec.Struct, array_like=True):
    """Format 1: no keyed memberships, consent, lists; `pending` is since when an answer differs from its membership."""

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


class _Row2(msgspec.Struct, array_like=True):
    """Of a key: what is kept, the due instant, the answer, and its place in columns."""

    kept: Any = None
    due_ms: int | None = None
    true: bool = False
    at: int = -1


# rows by key; or in columns: keys, due instants, answers, lengths of what is kept, and all that is kept
_Rows2 = dict[int, _Row2] | tuple[bytes, bytes, bytes, bytes, bytes]


class _Keyed2(msgspec.Struct, array_like=True):
    born_ms: int
    seq: int
    at_ms: int
    rows: _Rows2
    answers: dict[int, int]


class _Stored2(msgspec.Struct, array_like=True):
    """Format 2: rows, of which more than 128 are in columns."""

    clock_ms: int
    arrived_ms: int
    first_ms: int
    born_ms: int
    revision: int
    limits_passed: int
    known: bytes
    traits: dict[str, list[Any]]
    members: dict[str, list[int]]
    rows: _Rows2
    answers: dict[int, int]
    consent: dict[str, list[Any]]
    lists: dict[str, list[Any]]
    keyed: dict[str, dict[str, _Keyed2]]


class _Stored3(msgspec.Struct, array_like=True):
    """Format 3: memberships as pairs of `seq` and instant; the times of a count in a window, which takes either, as a list."""

    clock_ms: int
    arrived_ms: int
    first_ms: int
    born_ms: int
    revision: int
    limits_passed: int
    known: bytes
    traits: dict[str, list[Any]]
    members: dict[str, list[int]]
    kept: dict[int, Any]
    live: dict[int, int]
    answers: dict[int, int]
    consent: dict[str, list[Any]]
    lists: dict[str, list[Any]]
    keyed: dict[str, dict[str, StoredKeyed]]


_decode_1 = msgspec.msgpack.Decoder(_Stored1).decode
_decode_2 = msgspec.msgpack.Decoder(_Stored2).decode
_decode_3 = msgspec.msgpack.Decoder(_Stored3).decode


def read_1(body: memoryview) -> Stored:
    """Format 1 knew an answer's age only while a hold ran; of all others it is that of the membership."""
    old, new, unit = _decode_1(body), unknown(), Unit()
    new.clock_ms, new.arrived_ms = old.clock_ms, old.arrived_ms
    new.first_ms = new.born_ms = old.first_ms
    new.revision, new.known = old.revision, old.known
    new.traits, new.members = old.traits, _members_3(old.members)
    for key in sorted({*old.true, *old.kept, *old.dues}):
        unit.keep(key, _kept_1(old.kept.get(key)))
        unit.note(key, key in old.true, old.dues.get(key))
    new.kept, new.live = unit.kept, unit.live
    for segment, (seq, at_ms) in old.members.items():
        if segment not in old.pending:
            new.answers[hold_key(segment)] = at_ms * 2 + (seq & 1)
    for segment, since_ms in old.pending.items():
        member = old.members.get(segment)
        new.answers[hold_key(segment)] = since_ms * 2 + (member is None or not member[0] & 1)
    return new


def read_2(body: memoryview) -> Stored:
    """Format 2 had what is kept and what is answered in one row; raises ValueError for columns of different lengths."""
    old = _decode_2(body)
    unit = _unit_2(old.rows)
    keyed = {segment: {key: _keyed_2(one) for key, one in by_key.items()} for segment, by_key in old.keyed.items()}
    return Stored(
        old.clock_ms, old.arrived_ms, old.first_ms, old.born_ms, old.revision, old.limits_passed, old.known, old.traits,
        _members_3(old.members), unit.kept, unit.live, old.answers, old.consent, old.lists, keyed,
    )  # fmt: skip


def read_3(body: memoryview) -> Stored:
    """Format 3 but for memberships is the present one."""
    old = _decode_3(body)
    return Stored(
        old.clock_ms, old.arrived_ms, old.first_ms, old.born_ms, old.revision, old.limits_passed, old.known, old.traits,
        _members_3(old.members), old.kept, old.live, old.answers, old.consent, old.lists, old.keyed,
    )  # fmt: skip


def _members_3(members: dict[str, list[int]]) -> dict[str, bytes]:
    return {segment: pack_member(seq, at_ms) for segment, (seq, at_ms) in members.items()}


def _keyed_2(old: _Keyed2) -> StoredKeyed:
    unit = _unit_2(old.rows)
    return StoredKeyed(old.born_ms, old.seq, old.at_ms, unit.kept, unit.live, old.answers)


def _unit_2(rows: _Rows2) -> Unit:
    unit = Unit()
    for key, row in (rows if isinstance(rows, dict) else _from_columns(rows)).items():
        unit.keep(key, row.kept)
        unit.note(key, row.true, row.due_ms)
    return unit


def _from_columns(columns: tuple[bytes, bytes, bytes, bytes, bytes]) -> dict[int, _Row2]:
    keys, dues, flags, lengths, blob = columns
    rows, end = {}, 0
    numbers = zip(_numbers("Q", keys), _numbers("q", dues), flags, _numbers("I", lengths), strict=True)
    for key, due_ms, true, length in numbers:
        kept = _decode_kept(blob[end : end + length]) if length else None
        end += length
        rows[key] = _Row2(kept, None if due_ms == _NEVER_2 else due_ms, true == 1)
    return rows


def _numbers(kind: str, read: bytes) -> "array[int]":
    column = array(kind)
    column.frombytes(read)
    if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
        column.byteswap()
    return column


def _kept_1(kept: Any) -> Any:
    """What a leaf kept in format 1 as it keeps it now; two kinds have changed, and each is told by its shape."""
    if type(kept) is not list or not kept:
        return kept
    if len(kept) == 2 and type(kept[0]) is not list and type(kept[1]) is list:  # a sum in a window
        return [*kept, None, sum(value < 0 for _, value in kept[1])]
    if type(kept[0]) is list and len(kept[0]) == 3:  # writes of a trait: values, where keys of their equals are now
        return [[at_ms, way, None if value is None else eq_key(value)] for at_ms, way, value in kept]
    return kept
