"""The C library's `malloc`, told to keep what is freed for what is allocated next."""

import ctypes

# by glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# glibc takes no more; what Kafka answers at once is to be less
BLOCK_BYTES_MAX = 32 << 20
KEPT_BYTES_MAX = 1 << 30


def keep_freed() -> None:
    """Has blocks of up to `BLOCK_BYTES_MAX` come from what was freed before, of which `KEPT_BYTES_MAX` stays with the process.

    Left alone, glibc hands each large block back to the machine and asks for it anew, and the machine clears every page of
    it again: half of what reading a million states from Kafka took. Nothing is changed where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, BLOCK_BYTES_MAX)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
