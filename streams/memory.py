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
# a worker that was full when it ended is to be able to start again
TAKE_OVER_SHARE = 1.25

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
        level = 2 if self.full else 1 if self.used_bytes > WARN_SHARE * self.limit_bytes else 0
        if level == self._said:
            return
        self._said = level
        if level == 2:
            logger.error("%s: no more events are read until there is room: %s", self._shown, _CURE)
        elif level == 1:
            logger.warning("%s: beyond the bound no more events are read: %s", self._shown, _CURE)
        else:
            logger.warning("%s: there is room again", self._shown)

    def admit(self, committed: Iterable[Committed]) -> None:
        """Looks, during a take-over; raises MemoryBoundError where it can't fit."""
        self.look(committed)
        if self.used_bytes > TAKE_OVER_SHARE * self.limit_bytes:
            raise MemoryBoundError(f"{self._shown}, and there is more to take over: {_CURE}")

    @property
    def _shown(self) -> str:
        used, limit = (f"{each / 2**20:,.0f} MiB" for each in (self.used_bytes, self.limit_bytes))
        return f"expected the state of the contacts within {limit} of memory, got {used}"
