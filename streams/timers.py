"""Due instants of a partition's contacts, earliest second first.

Of contacts that are due in a later second only the keys are kept, by second: a contact whose turn is far off then takes a
place in a list. Within the second that is being played they come in any order, as no contact's answers depend on another.

Invariant: a contact with a due instant has one entry that counts, at that instant or earlier, never later. Others of it
are stale: they are left out when their time comes, or all at once when there are more of them than of the rest.
"""

import heapq
from collections.abc import Iterable

# stale entries beyond as many as there are others: then all of them go at once
STALE_MAX = 1_000
# of the present second, so many that aren't due yet are put in order before the caller gets its turn
ORDERED_MAX = 1_000
_SECOND_MS = 1_000


class Timers:
    """By contact; instants are epoch ms."""

    def __init__(self, due: Iterable[tuple[bytes, int]]) -> None:
        self._armed = dict(due)
        self._file()

    def _file(self) -> None:
        """Makes one entry of each contact."""
        self._entries = len(self._armed)
        self._later: dict[int, list[bytes]] = {}
        for key, due_ms in self._armed.items():
            self._later.setdefault(due_ms // _SECOND_MS, []).append(key)
        self._seconds = list(self._later)
        heapq.heapify(self._seconds)
        # the second that was begun last: keys nobody has looked at, and beside them what is due in it or before
        self._second: int | None = None
        self._begun: list[bytes] = []
        self._soon: list[tuple[int, bytes]] = []

    @property
    def first_ms(self) -> int | None:
        """An instant up to a second before the earliest or at it, None without any; may be that of a stale entry."""
        first_ms = self._soon[0][0] if self._soon else None
        if self._begun or first_ms is None:
            second = self._second if self._begun else self._seconds[0] if self._seconds else None
            if second is not None and (first_ms is None or second * _SECOND_MS < first_ms):
                return second * _SECOND_MS
        return first_ms

    def arm(self, key: bytes, due_ms: int) -> None:
        """The contact is to be looked at by then."""
        armed_ms = self._armed.get(key)
        if armed_ms is not None and due_ms >= armed_ms:
            return
        self._armed[key] = due_ms
        second = due_ms // _SECOND_MS
        if self._second is not None and second <= self._second:
            heapq.heappush(self._soon, (due_ms, key))
        elif (listed := self._later.get(second)) is not None:
            listed.append(key)
        else:
            self._later[second] = [key]
            heapq.heappush(self._seconds, second)
        self._entries += 1
        if self._entries > 2 * len(self._armed) + STALE_MAX:
            self._file()

    def pop(self, until_ms: int) -> bytes | None:
        """A contact that is due by `until_ms`, which is unarmed then; None: there is none, or it is still being looked for.

        In the latter case `first_ms` is not after `until_ms`.
        """
        for _ in range(ORDERED_MAX):
            if self._soon and self._soon[0][0] <= until_ms:
                due_ms, key = heapq.heappop(self._soon)
                self._entries -= 1
                if self._armed.get(key) == due_ms:
                    del self._armed[key]
                    return key
            elif self._begun:
                key = self._begun.pop()
                armed_ms = self._armed.get(key)
                if armed_ms is None or armed_ms // _SECOND_MS != self._second:
                    self._entries -= 1
                elif armed_ms <= until_ms:
                    self._entries -= 1
                    del self._armed[key]
                    return key
                else:
                    heapq.heappush(self._soon, (armed_ms, key))
            elif self._seconds and self._seconds[0] * _SECOND_MS <= until_ms:
                self._second = heapq.heappop(self._seconds)
                self._begun = self._later.pop(self._second)
            else:
                return None
        return None
