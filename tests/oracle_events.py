"""Event and sequence conditions as the oracle has them (page sections 6 and 7)."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests import oracle_calendar as calendar
from tests.oracle_contact import Here
from tests.oracle_input import Event
from tests.oracle_operators import date_passes, number_passes, where_holds
from tests.oracle_values import different, duration, equal, instant, number_of, present

# ---- which events match ----


def named(name: str, names: Any) -> bool:
    """Whether the event's name is one of those the condition asks for."""
    if isinstance(names, list):
        return any(named(name, one) for one in names)
    if isinstance(names, dict) and "prefix" in names:
        return name.startswith(names["prefix"])
    if isinstance(names, dict):
        return not any(named(name, but) for but in names["any_except"])
    return names in ("*", name)


def event_matches(asked: dict[str, Any], names: Any, event: Event, here: Here) -> bool:
    """Whether the event is one that a condition, a step or a score's rule asks for, but for any time range."""
    return (
        event.name is not None
        and named(event.name, names)
        and where_holds(asked.get("where", {}), event.value, here)
        and ("local_time" not in asked or calendar.in_local_time(event.t, asked["local_time"], here.zone))
        and ("weekdays" not in asked or weekday(event, here) in asked["weekdays"])
    )


def weekday(event: Event, here: Here) -> str:
    """The event's own local day."""
    return calendar.WEEKDAYS[calendar.local_day(event.t, here.zone).weekday()]


def in_range(condition: dict[str, Any], t: int, here: Here) -> bool:
    """Whether an event at `t` lies in the condition's time range as of now."""
    now = here.now
    if "within" in condition:
        return now - duration(condition["within"]) < t <= now
    if "ago" in condition and isinstance(condition["ago"], list):
        further, nearer = map(duration, condition["ago"])
        return now - further < t <= now - nearer
    if "ago" in condition:
        return t <= now - duration(condition["ago"])
    if "calendar" in condition:
        today = calendar.local_day(now, here.zone)
        return calendar.lies_in(t, calendar.period_of(condition["calendar"], today), here.zone)
    edges = {key: instant(condition[key], here.zone) for key in ("since", "until") if key in condition}
    return edges.get("since", t) <= t < edges.get("until", t + 1)


def event_holds(condition: dict[str, Any], here: Here) -> bool:
    """Section 6: the measure over the matching events in the range, or over those of some value of `by`."""
    events = [
        event
        for event in here.events
        if in_range(condition, event.t, here) and event_matches(condition, condition["event"], event, here)
    ]
    measure = next((key for key in MEASURES if key in condition), "count")
    tests = condition.get(measure, {"gte": Decimal(1)})
    groups = grouped(events, condition["by"]) if "by" in condition else [events]
    return any(MEASURES[measure](group, tests, here) for group in groups)


def grouped(events: list[Event], path: str) -> list[list[Event]]:
    """The events by the values of that property; those without it are left out."""
    values = different(values_of(events, path))
    return [[event for event in events if equal(event.value(path), value)] for value in values]


def values_of(events: list[Event], path: str) -> list[Any]:
    """What the events have at the path, where they have something."""
    return [event.value(path) for event in events if present(event.value(path))]


# ---- measures: (matching events by time, operand, here) ----

Measure = Callable[[list[Event], Any, Here], bool]


def of_numbers(total: Callable[[list[Fraction]], Fraction | None]) -> Measure:
    """A measure of those values that are numbers; false where there is nothing to measure."""

    def test(events: list[Event], operand: dict[str, Any], here: Here) -> bool:
        numbers = [number for value in values_of(events, operand["of"]) if (number := number_of(value)) is not None]
        result = total(numbers)
        return result is not None and number_passes(result, tests_in(operand))

    return test


def tests_in(operand: dict[str, Any]) -> dict[str, Any]:
    return {key: test for key, test in operand.items() if key != "of"}


def distinct(events: list[Event], operand: dict[str, Any], here: Here) -> bool:
    return number_passes(Fraction(len(different(values_of(events, operand["of"])))), tests_in(operand))


def time_of(which: int) -> Measure:
    """The time of the first (0) or last (-1) match against a date operator."""

    def test(events: list[Event], operand: dict[str, Any], here: Here) -> bool:
        return bool(events) and all(date_passes(name, events[which].t, x, here) for name, x in operand.items())

    return test


def one_satisfies(which: int) -> Measure:
    """The first (0) or last (-1) match against a `where`."""

    def test(events: list[Event], operand: dict[str, Any], here: Here) -> bool:
        return bool(events) and where_holds(operand, events[which].value, here)

    return test


def regularly(events: list[Event], operand: dict[str, Any], here: Here) -> bool:
    every = duration(operand["every"])
    held = 0
    for period in range(int(operand["periods"])):
        end = here.now - period * every
        held += len([event for event in events if end - every < event.t <= end]) >= operand.get("times", 1)
    return bool(held >= operand["at_least"])


MEASURES: dict[str, Measure] = {
    "count": lambda events, tests, here: number_passes(Fraction(len(events)), tests),
    "sum": of_numbers(lambda numbers: sum(numbers, Fraction(0))),
    "avg": of_numbers(lambda numbers: sum(numbers, Fraction(0)) / len(numbers) if numbers else None),
    "min": of_numbers(lambda numbers: min(numbers, default=None)),
    "max": of_numbers(lambda numbers: max(numbers, default=None)),
    "distinct": distinct,
    "first_at": time_of(0),
    "last_at": time_of(-1),
    "earliest": one_satisfies(0),
    "latest": one_satisfies(-1),
    "regularly": regularly,
}


# ---- sequences (section 7) ----

Match = tuple[int, int]
"""When a match's first event happened, and its last so far; or when it completed."""


def sequence_holds(condition: dict[str, Any], here: Here) -> bool:
    """Whether some match has completed, in the window and begun in the window where the condition says so."""
    groups = grouped(here.events, condition["by"]) if "by" in condition else [here.events]
    return any(
        completed <= here.now
        and in_range(condition.get("completed", {}), completed, here)
        and in_range(condition.get("started", {}), started, here)
        for events in groups
        for started, completed in matches_of(condition["sequence"], events, here)
    )


def matches_of(steps: list[dict[str, Any]], events: list[Event], here: Here) -> set[Match]:
    """Every match of the steps among the events, as (time of its first event, instant of completion)."""
    times = [times_of(step, events, here) for step in steps]
    found = {(t, t) for t in times[0]}
    absents: list[tuple[dict[str, Any], list[int]]] = []
    for step, matching in list(zip(steps, times, strict=True))[1:]:
        if "absent" in step:
            absents.append((step, matching))
            continue
        found = {
            (start, t)
            for start, p in found
            for t in matching
            if p < t <= end_of(step, p, t) and not any(forbids(absent, p, t - 1) for absent in absents)
        }
        absents = []
    if absents:
        longest = max(duration(step["within"]) for step, _ in absents)
        ended = {(start, p) for start, p in found if not any(forbids(absent, p, p + longest) for absent in absents)}
        found = {(start, p + longest) for start, p in ended}
    return found


def times_of(step: dict[str, Any], events: list[Event], here: Here) -> list[int]:
    names = step["absent"] if "absent" in step else step["event"]
    return [event.t for event in events if event_matches(step, names, event, here)]


def end_of(step: dict[str, Any], p: int, otherwise: int) -> int:
    """The last instant of the step's window after `p`; without a window, `otherwise`."""
    return p + duration(step["within"]) if "within" in step else otherwise


def forbids(absent: tuple[dict[str, Any], list[int]], p: int, last: int) -> bool:
    """Whether the step that asks for absence has a match after `p`, by `last` and in its own window."""
    step, matching = absent
    return any(p < t <= min(last, end_of(step, p, last)) for t in matching)
