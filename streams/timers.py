"""Due instants of a partition's contacts, earliest first.

Invariant: a contact with a due instant has one entry that counts, at that instant or earlier, never later. Others of it
are stale: they are left out when their time comes, or all at once when there are more of them than of the rest.
"""

import heapq
from collections.abc import Iterable

# stale entries beyond as many as there are others: then all of them go at once
STALE_MAX = 1_000


class Timers:
    """By contact; instants are epoch ms."""

    def __init__(self, due: Iterable[tuple[bytes, int]]) -> None:
        self._armed = dict(due)
        self._heap = [(due_ms, key) for key, due_ms in self._armed.items()]
        heapq.heapify(self._heap)

    @property
    def first_ms(self) -> int | None:
        """The earliest instant, None without any; may be that of a stale entry."""
        return self._heap[0][0] if self._heap else None

    def arm(self, key: bytes, due_ms: int) -> None:
        """The contact is to be looked at by then."""
        armed_ms = self._armed.get(key)
        if armed_ms is None or due_ms < armed_ms:
            self._armed[key] = due_ms
            heapq.heappush(self._heap, (due_ms, key))
            if len(self._heap) > 2 * len(self._armed) + STALE_MAX:
                self._heap = [(due_ms, key) for key, due_ms in self._armed.items()]
                heapq.heapify(self._heap)

    def pop(self, until_ms: int) -> bytes | None:
        """The contact with the earliest instant up to and including `until_ms`, if there is one; it is unarmed then."""
        while self._heap and self._heap[0][0] <= until_ms:
            due_ms, key = heapq.heappop(self._heap)
            if self._armed.get(key) == due_ms:
                del self._armed[key]
                return key
        return None
