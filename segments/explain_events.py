"""What is behind the answer of an event condition.

Evidence: `events` (how many match, in the range), `newest` (the newest few of them: `at`, `messageId`, `event`, the
`properties` asked for), `measure` (its kind), `measured` (what it comes to, null where there is none), `outside` where events
match and lie outside of the range, `failed` where events had the name and failed `where`: `count`, the newest, and
`because` of what. With `by`: `values`, each with `value`, `answer`, `events`, `measured`, and `more`, how many aren't shown.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from schemas.instants import format_instant
from segments.conditions import EventIs, Measure
from segments.dates import instant_predicate
from segments.explain_nodes import Evidence
from segments.explain_scene import (
    VALUES_SHOWN_MAX,
    Found,
    Scene,
    asked_paths,
    event_shown,
    grouped,
    newest_shown,
    seen_of,
)
from segments.explain_values import array_note, failure
from segments.explain_words import value_words
from segments.matching import paths_of
from segments.predicates import finder, number_tests
from segments.ranges import stretch
from segments.simulate import Past
from segments.totals import Total, TotalTests, plus
from segments.values import Number, decimal, eq_key, number

PERIODS_SHOWN_MAX = 31
_SCALE = 1_000_000

# what a measure comes to, as data for JSON, and whether its tests hold of it
Measured = tuple[Any, bool]


def explain_event(scene: Scene, condition: EventIs) -> tuple[Evidence, list[str]]:
    """Evidence and notes of an event condition."""
    found = Found(scene, condition.matching)
    inside = in_range(scene, condition, found.events)
    measure = condition.measure
    then = paths_of(measure.where) if measure.where is not None else ()
    paths = asked_paths(scene, condition.matching, measure.path, condition.by, *then)
    evidence: Evidence = {"events": len(inside), "newest": newest_shown(inside, paths), "measure": measure.kind}
    if condition.by is None:
        evidence["measured"] = measured(scene, measure, inside)[0]
    else:
        evidence |= _by_value(scene, condition, inside)
    orders = {one.order for one in inside}
    outside = [one for one in found.events if one.order not in orders]
    if outside:
        evidence["outside"] = {"count": len(outside), "newest": event_shown(outside[-1], paths)}
    failed = found.failed()
    if failed is not None:
        evidence["failed"] = failed
    return evidence, [*found.notes(), *_property_notes(condition, inside)]


def in_range(scene: Scene, condition: EventIs, events: Sequence[Past]) -> list[Past]:
    """Those of the matching events that lie in the condition's range now, and for `regularly` in one of its periods."""
    over = stretch(condition.range, condition.matching.tz)
    start_ms, end_ms = over.bounds(scene.now_ms, scene.state)
    measure = condition.measure
    if measure.kind == "regularly":
        start_ms = max(start_ms, scene.now_ms - measure.every_ms * measure.periods + 1)
    return [one for one in events if start_ms <= one.at_ms < end_ms]


def _by_value(scene: Scene, condition: EventIs, inside: Sequence[Past]) -> Evidence:
    assert condition.by is not None
    groups = grouped(inside, finder(condition.by, in_context=True))
    values = []
    for value, events in reversed(groups.values()):
        comes_to, answer = measured(scene, condition.measure, events)
        values.append({"value": value, "answer": answer, "events": len(events), "measured": comes_to})
    values.sort(
        key=lambda one: not one["answer"]
    )  # those that satisfy the measure first, the one seen last before others
    shown_values = values[:VALUES_SHOWN_MAX]
    return {"by": condition.by, "values": shown_values, "more": len(values) - len(shown_values)}


# ---- measures -------------------------------------------------------------------------------------------------------


def measured(scene: Scene, measure: Measure, events: Sequence[Past]) -> Measured:
    """What a measure comes to over events, by event time and then by arrival, and whether its tests hold of it."""
    kind = measure.kind
    if kind == "count":
        return len(events), number_tests(measure.tests)(len(events))
    if kind == "distinct":
        keys = {eq_key(value) for value in _values(measure.path, events)}
        return len(keys), number_tests(measure.tests)(len(keys))
    if kind in ("first_at", "last_at"):
        return _time(scene, measure, events)
    if kind in ("earliest", "latest"):
        return _then(scene, measure, events)
    if kind == "regularly":
        return _regularly(scene, measure, events)
    return _amount(measure, events)


def _values(path: str, events: Sequence[Past]) -> list[Any]:
    find = finder(path, in_context=True)
    found = [find(seen_of(one.event)) for one in events]
    return [value for value in found if value is not None]


def _amount(measure: Measure, events: Sequence[Past]) -> Measured:
    """`sum avg min max`: over the values that are numbers."""
    numbers = [exact for value in _values(measure.path, events) if (exact := number(value)) is not None]
    if measure.kind in ("min", "max"):
        if not numbers:
            return None, False
        extreme = min(numbers) if measure.kind == "min" else max(numbers)
        return _plain(decimal(extreme)), number_tests(measure.tests)(decimal(extreme))
    total = _total(numbers)
    if measure.kind == "sum":
        return _plain(_unscaled(total)), TotalTests(measure.tests).passes(total, 1)
    if not numbers:
        return None, False
    return _plain(_unscaled(total) / len(numbers)), TotalTests(measure.tests).passes(total, len(numbers))


def _total(numbers: Sequence[Number]) -> Total:
    total: Total = 0
    for exact in numbers:
        total = plus(total, exact)
    return total


def _unscaled(total: Total) -> Decimal:
    return Decimal(total) / (_SCALE if type(total) is int else 1)


def _plain(exact: Decimal) -> Number | str:
    """As a number where a double holds it, else as text."""
    if exact == exact.to_integral_value() and abs(exact) < 10**15:
        return int(exact)
    nearest = float(exact)
    return nearest if isfinite(nearest) else str(exact)


def _time(scene: Scene, measure: Measure, events: Sequence[Past]) -> Measured:
    if not events:
        return None, False
    at_ms = events[0 if measure.kind == "first_at" else -1].at_ms
    holds = instant_predicate(measure.tests[0]).holds(at_ms, scene.now_ms, scene.state)
    return format_instant(at_ms), holds


def _then(scene: Scene, measure: Measure, events: Sequence[Past]) -> Measured:
    if not events:
        return None, False
    assert measure.where is not None
    one = events[0 if measure.kind == "earliest" else -1]
    because = failure(measure.where, seen_of(one.event), scene.now_ms, scene.state)
    evidence = event_shown(one, sorted(paths_of(measure.where)))
    return evidence | ({} if because is None else {"because": because}), because is None


def _regularly(scene: Scene, measure: Measure, events: Sequence[Past]) -> Measured:
    """`met`: in how many periods there are enough; `counts`: of each period, the latest first."""
    periods = Counter((scene.now_ms - one.at_ms) // measure.every_ms for one in events)
    met = sum(count >= measure.times for count in periods.values())
    counts = [periods[at] for at in range(min(measure.periods, PERIODS_SHOWN_MAX))]
    return {"met": met, "of": measure.periods, "counts": counts}, met >= measure.at_least


# ---- what can't match -----------------------------------------------------------------------------------------------


def _property_notes(condition: EventIs, events: Sequence[Past]) -> list[str]:
    """Notes of events that lack what is measured, or whose value is no number."""
    notes = []
    measure = condition.measure
    for path, what in ((measure.path, f"`{measure.kind}`"), (condition.by or "", "`by`")):
        if not path or not events:
            continue
        values = _values(path, events)
        lacking = len(events) - len(values)
        if lacking:
            notes.append(f"{lacking} of {len(events)} events have no {path!r}, and don't count for {what}")
            notes += array_note({**events[-1].event.properties, "context": events[-1].event.context}, path)
        if path == measure.path and measure.kind != "distinct":
            no_numbers = [value for value in values if number(value) is None]
            if no_numbers:
                first = value_words(no_numbers[-1])
                notes.append(
                    f"{len(no_numbers)} of {len(events)} events have a {path!r} that is no number, such as {first}"
                )
    return notes
