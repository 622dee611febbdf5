"""Which leaf an event condition becomes: the one that keeps the least that its measure needs over its range.

leaf.py       what they all share
measures.py   what each event adds, and what is answered of all
ranges.py     which events lie in a time range, and until when
ever.py       once in the range, always in it: no range, `since`/`until`, `ago: D`
windows.py    a window that ends now: `within: D`, `calendar: today` and its like
matches.py    all else, event by event: `ago: [D1, D2]`, `calendar: yesterday`, and whatever is open
by_value.py   `by`, over any of these
"""

from segments.by_value import By
from segments.conditions import EventIs
from segments.ever import Count, Sum, ago_leaf, ever_leaf
from segments.leaf import EventLeaf, Never, Read, Taken, encoded_bytes_max, time_of
from segments.matches import Matches
from segments.matching import Matcher
from segments.ranges import Periods, Rolling, stretch
from segments.window_values import DistinctWithin, ExtremeWithin, SumWithin
from segments.windows import CountWithin, NewestWithin

__all__ = [
    "By",
    "Count",
    "CountWithin",
    "EventLeaf",
    "Matches",
    "Read",
    "Sum",
    "SumWithin",
    "Taken",
    "encoded_bytes_max",
    "event_leaf",
    "time_of",
]


# those not here need their events one by one
_WINDOWS: dict[str, type[EventLeaf]] = {
    "count": CountWithin,
    "sum": SumWithin,
    "avg": SumWithin,
    "min": ExtremeWithin,
    "max": ExtremeWithin,
    "distinct": DistinctWithin,
    "last_at": NewestWithin,
    "latest": NewestWithin,
}


def event_leaf(condition: EventIs) -> EventLeaf:
    """The leaf of a normal event condition."""
    if condition.by is not None:
        return By(condition, event_leaf)
    over = stretch(condition.range, condition.matching.tz)
    if isinstance(over, Periods) and over.span.first > 0:
        return Never(condition)  # events never lie after the clock
    leaf: EventLeaf | None = None
    if not over.traits and Matcher(condition.matching).fixed and condition.measure.kind != "regularly":
        if not over.moves:
            leaf = ever_leaf(condition)
        elif over.rolling_ms or (isinstance(over, Periods) and over.span.last >= 0):
            kind = _WINDOWS.get(condition.measure.kind)
            leaf = kind(condition) if kind is not None else None
        elif isinstance(over, Rolling) and over.far_ms is None:
            leaf = ago_leaf(condition)
    return leaf or Matches(condition)
