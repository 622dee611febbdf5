"""How much memory contacts' state may take, and what becomes of a worker that has no room for more.

Said early, then refused: from `WARN_SHARE` of the bound on a warning, beyond it nothing more is read until there is room
again (nothing is lost: it waits in Kafka), and a take-over that can't fit ends the worker before the machine does.
"""

import logging
from collections.abc import Iterable

from streams.committed import Committed
from streams.errors import StreamsError

logger = logging.getLogger("tidegate.memory")

# what a contact takes beside its record: its key, its places in tables, its timer (`tidegate bench recover`)
CONTACT_BYTES = 550
WARN_SHARE = 0.8
# what was said holds until there is so much less: at the bound itself reading stops and goes on with every timer
ROOM_SHARE = 0.98
# a worker that was full when it ended is to be able to start again
TAKE_OVER_SHARE = 1.25

_MUCH, _FULL = 1, 2
_CURE = "start another worker, or raise TIDEGATE_MEMORY_BYTES where the machine has more"


class MemoryBoundError(StreamsError):
    """The state of the partitions doesn't fit. Operator's step: more workers, or more memory and a higher bound."""


class Memory:
    """`used_bytes` of `limit_bytes`, as of the last look: an estimate from records' bytes and the number of contacts."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._said = 0

    @property
    def full(self) -> bool:
        """Whether nothing more is to be taken in."""
        return self.used_bytes > self.limit_bytes

    def look(self, committed: Iterable[Committed]) -> None:
        """Adds up what there is, and says when it is much, or no longer."""
        self.used_bytes = sum(each.bytes + CONTACT_BYTES * len(each.states) for each in committed)
        level = max(self._level(1.0), min(self._said, self._level(ROOM_SHARE)))
        if level == self._said:
            return
        self._said = level
        if level == _FULL:
            logger.error("%s: no more events are read until there is room: %s", self._shown, _CURE)
        elif level == _MUCH:
            logger.warning("%s: beyond the bound no more events are read: %s", self._shown, _CURE)
        else:
            logger.warning("%s: there is room again", self._shown)

    def admit(self, committed: Iterable[Committed]) -> None:
        """Looks, during a take-over; raises MemoryBoundError where it can't fit."""
        self.look(committed)
        if self.used_bytes > TAKE_OVER_SHARE * self.limit_bytes:
            raise MemoryBoundError(f"{self._shown}, and there is more to take over: {_CURE}")

    def _level(self, share: float) -> int:
        """How full it is, with so large a share of the bounds."""
        if self.used_bytes > share * self.limit_bytes:
            return _FULL
        return _MUCH if self.used_bytes > share * WARN_SHARE * self.limit_bytes else 0

    @property
    def _shown(self) -> str:
        used, limit = (f"{each / 2**20:,.0f} MiB" for each in (self.used_bytes, self.limit_bytes))
        return f"expected the state of the contacts within {limit} of memory, got {used}"
