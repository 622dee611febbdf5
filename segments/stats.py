"""Sizes of segments over time, out of the transitions of a run."""

from collections.abc import Iterable, Iterator
from typing import Any

from schemas.instants import DAY_MS, format_instant
from schemas.transitions import Transition

HOUR_MS = 3_600_000
# a run of up to so many hours is shown by the hour, a longer one by the day
HOURS_MAX = 72


class SegmentStats:
    """One segment: its `entries` and `exits`, and the `contacts` that were ever in it; all of its keys together.

    `moves`: by hour since 1970, `[entries, exits]`.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.exits = 0
        self.contacts: set[str] = set()
        self.moves: dict[int, list[int]] = {}

    @property
    def members(self) -> int:
        """Memberships at the end."""
        return self.entries - self.exits

    def add(self, transition: Transition) -> None:
        """Count one of its transitions."""
        moves = self.moves.setdefault(transition.at_ms // HOUR_MS, [0, 0])
        if transition.seq & 1:
            self.entries += 1
            moves[0] += 1
            self.contacts.add(transition.contact)
        else:
            self.exits += 1
            moves[1] += 1


class Period:
    """What happened from `start_ms` on, for an hour or a day, and the `size` at its end, in memberships."""

    def __init__(self, start_ms: int, entries: int, exits: int, size: int) -> None:
        self.start_ms = start_ms
        self.entries = entries
        self.exits = exits
        self.size = size


class Stats:
    """Counts transitions by segment; those named at first are there even where nobody ever enters them."""

    def __init__(self, segments: Iterable[str] = ()) -> None:
        self.by_segment: dict[str, SegmentStats] = {id: SegmentStats() for id in segments}

    def add(self, transition: Transition) -> None:
        """Count a transition; in any order."""
        found = self.by_segment.get(transition.segment)
        if found is None:
            found = self.by_segment[transition.segment] = SegmentStats()
        found.add(transition)

    def unit_ms(self) -> int:
        """How long a period is: an hour, or a day (of UTC) where the transitions span more than 72 hours."""
        first, end = self._hours()
        return HOUR_MS if end - first <= HOURS_MAX else DAY_MS

    def periods(self, segment: str) -> list[Period]:
        """All periods from the first transition of the run to its last, in order; none where there was none."""
        first, end = self._hours()
        if first == end:
            return []
        hours = self.unit_ms() // HOUR_MS
        moves: dict[int, list[int]] = {}
        for hour, (entries, exits) in self.by_segment[segment].moves.items():
            period = moves.setdefault(hour // hours, [0, 0])
            period[0] += entries
            period[1] += exits
        return list(_periods(moves, first // hours, (end - 1) // hours + 1, hours * HOUR_MS))

    def _hours(self) -> tuple[int, int]:
        """The hours since 1970 in which there were transitions, `[first, end)`."""
        hours = [hour for stats in self.by_segment.values() for hour in stats.moves]
        return (min(hours), max(hours) + 1) if hours else (0, 0)

    def json(self) -> dict[str, Any]:
        """`{"period", "segments": [{"segment", "entries", "exits", "members", "contacts", "sizes": [{"from", …}]}]}`.

        `period` is `hour` or `day`; of each in `sizes`, `from` is where it begins, `size` the memberships at its end.
        """
        return {
            "period": "hour" if self.unit_ms() == HOUR_MS else "day",
            "segments": [
                {
                    "segment": id,
                    "entries": stats.entries,
                    "exits": stats.exits,
                    "members": stats.members,
                    "contacts": len(stats.contacts),
                    "sizes": [
                        {
                            "from": format_instant(period.start_ms),
                            "entries": period.entries,
                            "exits": period.exits,
                            "size": period.size,
                        }
                        for period in self.periods(id)
                    ],
                }
                for id, stats in sorted(self.by_segment.items())
            ],
        }


def _periods(moves: dict[int, list[int]], first: int, end: int, unit_ms: int) -> Iterator[Period]:
    size = 0
    for number in range(first, end):
        entries, exits = moves.get(number, (0, 0))
        size += entries - exits
        yield Period(number * unit_ms, entries, exits, size)
