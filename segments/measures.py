"""The measures of section 6: what each event adds, and what is answered of all that were added.

A measure is told of events one after the other, in any order of time. What it keeps of them is the least that its
answer needs where events only ever come in; how to keep less than all of them where they go out again is the leaves'
matter (`windows.py`), and so is which events count (`leaf.py`).
"""

from collections.abc import Callable

from segments.amounts import Averaged, Counted, Distinct, Extreme, Summed
from segments.conditions import Measure
from segments.moments import Regularly, Then, TimeOf
from segments.summary import Summary

_SUMMARIES: dict[str, Callable[[Measure, bool], Summary]] = {
    "count": Counted,
    "sum": Summed,
    "avg": Averaged,
    "min": Extreme,
    "max": Extreme,
    "distinct": Distinct,
    "first_at": TimeOf,
    "last_at": TimeOf,
    "earliest": Then,
    "latest": Then,
    "regularly": Regularly,
}


def summary(measure: Measure, flipped: bool) -> Summary:
    """The summary of a checked measure; `flipped`: it holds of no event."""
    return _SUMMARIES[measure.kind](measure, flipped)
