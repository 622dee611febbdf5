"""Instants in order, packed into one `bytes`: seven of each, of which the order is that of the instants.

What a contact keeps of many events is then one object, where a list is one of each instant: a contact that isn't in the
processor's cache costs as many looks into memory as it has objects.
"""

from collections.abc import Iterable
from typing import Final

SIZE: Final = 7
SHIFT: Final = 1 << 55  # instants before 1970 are negative
from_bytes: Final = int.from_bytes  # looked up once, as it is called at every event


def packed(at_ms: int) -> bytes:
    """One instant, epoch ms, less than a million years from 1970; raises OverflowError beyond."""
    return (at_ms + SHIFT).to_bytes(SIZE, "big")


def pack(instants: Iterable[int]) -> bytes:
    """Instants that are in order."""
    return b"".join([packed(at_ms) for at_ms in instants])


def unpack(times: bytes) -> list[int]:
    """The instants, epoch ms."""
    return [instant(times, at) for at in range(len(times) // SIZE)]


def instant(times: bytes, at: int) -> int:
    """The one at index `at`, from 0."""
    return from_bytes(times[at * SIZE : at * SIZE + SIZE], "big") - SHIFT


def until(times: bytes, until_ms: int) -> int:
    """How many there are up to and including `until_ms`."""
    low, high = 0, len(times) // SIZE
    while low < high:
        middle = (low + high) // 2
        if until_ms < instant(times, middle):
            high = middle
        else:
            low = middle + 1
    return low


def put(times: bytes, one: bytes) -> bytes:
    """With `one`, which is packed, in its place, after those of the same instant."""
    if one >= times[-SIZE:]:
        return times + one
    place = until(times, instant(one, 0)) * SIZE
    return times[:place] + one + times[place:]
