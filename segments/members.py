"""A membership without `per` as a contact's state keeps it: its instant packed, and after it the `seq`, big-endian.

One object, as `instants.py` says why, where the pair would be four.
"""

from segments.instants import SIZE, from_bytes, instant, packed


def pack_member(seq: int, at_ms: int) -> bytes:
    """The last `seq`, from 1 on, and its instant."""
    return packed(at_ms) + seq.to_bytes((seq.bit_length() + 7) // 8, "big")


def unpack_member(member: bytes) -> tuple[int, int]:
    """What was packed: `(seq, at_ms)`."""
    return seq_of(member), instant(member, 0)


def seq_of(member: bytes) -> int:
    """The last `seq` alone."""
    return from_bytes(member[SIZE:], "big")


def is_inside(member: bytes) -> bool:
    """Whether the contact is in the segment: its `seq` is odd."""
    return member[-1] & 1 == 1
