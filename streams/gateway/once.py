"""Ids that must not come twice: of schemes whose signature covers no more than an id and a time, such as Mailgun's.

Kept in memory alone, for as long as the scheme's age window lets a repeat in: what comes twice later, or to another gateway, has
the `messageId` of the first and changes nothing.
"""

from collections import OrderedDict
from typing import Final

IDS_MAX: Final = 200_000


class Once:
    """Ids, each until it may come again; the oldest goes beyond `IDS_MAX`."""

    def __init__(self) -> None:
        # until when, epoch ms
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()

    def claim(self, connection: str, id: str, now_ms: int, kept_ms: int) -> bool:
        """Whether it comes for the first time; for `kept_ms` from now on it doesn't."""
        while self._seen and next(iter(self._seen.values())) <= now_ms:
            self._seen.popitem(last=False)
        if (connection, id) in self._seen:
            return False
        self._seen[connection, id] = now_ms + kept_ms
        if len(self._seen) > IDS_MAX:
            self._seen.popitem(last=False)
        return True

    def forget(self, connection: str, id: str) -> None:
        """Lets it come again: the first was not taken."""
        self._seen.pop((connection, id), None)
