"""The layouts of a state's record, one Struct a format; `state.py` says what the fields mean.

In a module of their own, as they are no code to compile. Fields are only ever added at the end, under a new format.
"""

from typing import Any

import msgspec


class Stored1(msgspec.Struct, array_like=True):
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


class Row(msgspec.Struct, array_like=True, gc=False):
    """`kept`: the leaf's own, None for nothing. `due_ms`: when time alone may change the answer. `true`: the answer.

    `at` is below 0 for a row that isn't taken in yet, else its place in the columns where its unit has them.
    """

    kept: Any = None
    due_ms: int | None = None
    true: bool = False
    at: int = -1


Columns = tuple[bytes, bytes, bytes, bytes, bytes]


class StoredKeyed(msgspec.Struct, array_like=True, gc=False):
    """One membership of a segment with `per`; `rows` as `unit.Unit` packs them."""

    born_ms: int
    seq: int
    at_ms: int
    rows: dict[int, Row] | Columns
    answers: dict[int, int]


class Stored2(msgspec.Struct, array_like=True, gc=False):
    """Format 2: rows packed by `unit.Unit`."""

    clock_ms: int
    arrived_ms: int
    first_ms: int
    born_ms: int
    revision: int
    limits_passed: int
    known: bytes
    traits: dict[str, list[Any]]
    members: dict[str, list[int]]
    rows: dict[int, Row] | Columns
    answers: dict[int, int]
    consent: dict[str, list[Any]]
    lists: dict[str, list[Any]]
    keyed: dict[str, dict[str, StoredKeyed]]


decode_1 = msgspec.msgpack.Decoder(Stored1).decode
decode_2 = msgspec.msgpack.Decoder(Stored2).decode
encode = msgspec.msgpack.Encoder().encode


def unknown() -> Stored2:
    """What is stored of a contact of whom nothing is known."""
    never = -(2**53)
    return Stored2(never, never, never, never, 0, 0, b"", {}, {}, {}, {}, {}, {}, {})
