"""Ids that must not come twice: of schemes whose signature covers no more than an id and a time, such as Mailgun's.

Kept in memory alone, for as long as the scheme's age window lets a repeat in: what comes twice later, or to another gateway, has
the `messageId` of the first and changes nothing.
"""

from collections import OrderedDict
from typing import Final, Literal

IDS_MAX: Final = 200_000


# `under_way`: the first that came is not taken yet, and may never be
Claim = Literal["new", "under_way", "known"]


class Once:
    """Ids, each until it may come again; the oldest goes beyond `IDS_MAX`."""

    def __init__(self) -> None:
        # until when, epoch ms
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._under_way: set[tuple[str, str]] = set()

    def claim(self, connection: str, id: str, now_ms: int, kept_ms: int) -> Claim:
        """Whether it comes for the first time; for `kept_ms` from now on it doesn't. What is new is to be kept or forgotten."""
        while self._seen and next(iter(self._seen.values())) <= now_ms:
            self._seen.popitem(last=False)
        if (connection, id) in self._under_way:
            return "under_way"
        if (connection, id) in self._seen:
            return "known"
        self._under_way.add((connection, id))
        self._seen[connection, id] = now_ms + kept_ms
        if len(self._seen) > IDS_MAX:
            self._seen.popitem(last=False)
        return "new"

    def keep(self, connection: str, id: str) -> None:
        """The first was taken."""
        self._under_way.discard((connection, id))

    def forget(self, connection: str, id: str) -> None:
        """Lets it come again: the first was not taken."""
        self._under_way.discard((connection, id))
        self._seen.pop((connection, id), None)
