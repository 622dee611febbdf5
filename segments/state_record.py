"""The layout of a state's record; `state.py` says what the fields mean, `state_formats.py` reads what was before.

In a module of its own, as it is no code to compile. Fields are only ever added at the end, under a new format.
"""

from typing import Any

import msgspec


class StoredKeyed(msgspec.Struct, array_like=True, gc=False):
    """One membership of a segment with `per`."""

    born_ms: int
    seq: int
    at_ms: int
    kept: dict[int, Any]
    live: dict[int, int]
    answers: dict[int, int]


class Stored(msgspec.Struct, array_like=True, gc=False):
    """Format 5; format 4 had no `progress`."""

    clock_ms: int
    arrived_ms: int
    first_ms: int
    born_ms: int
    revision: int
    limits_passed: int
    known: bytes
    traits: dict[str, list[Any]]
    members: dict[str, bytes]
    kept: dict[int, Any]
    live: dict[int, int]
    answers: dict[int, int]
    consent: dict[str, list[Any]]
    lists: dict[str, list[Any]]
    keyed: dict[str, dict[str, StoredKeyed]]
    progress: bytes = b""


decode = msgspec.msgpack.Decoder(Stored).decode
encode = msgspec.msgpack.Encoder().encode


def unknown() -> Stored:
    """What is stored of a contact of whom nothing is known."""
    never = -(2**53)
    return Stored(never, never, never, never, 0, 0, b"", {}, {}, {}, {}, {}, {}, {}, {})
