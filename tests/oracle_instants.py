"""Every instant at which time alone could change an answer, found without looking at what the answers are.

Those are the times and dates that stand anywhere in the history, each moved by each length that the definitions give;
the local midnights of every zone in play, where there are calendar words; and the crossings of scores, which between
two such instants only rise or only fall.
"""

from datetime import UTC, timedelta, tzinfo
from fractions import Fraction
from typing import Any

from tests import oracle_calendar as calendar
from tests.oracle_conditions import conditions_in
from tests.oracle_contact import Contact
from tests.oracle_definitions import Plan, durations_in, has_calendar_words, mappings_in, scalars_in, zones_named
from tests.oracle_scores import HALF_LIVES, Parts, total_of
from tests.oracle_values import duration, instant, look_up, number_of

DAY = timedelta(days=1)


def moments(plan: Plan, contact: Contact, after: int, last: int) -> list[int]:
    """The instants after the one and by the other, in order."""
    zones = zones_in_play(plan, contact)
    instants = instants_in(contact, zones)
    moved = {
        at + sign * length
        for tree in plan.trees()
        for lengths in [{0, *lengths_in(tree)}]
        for at in instants
        for length in lengths
        for sign in (1, -1)
        if after < at + sign * length <= last
    }
    return sorted(moved | (midnights(zones, after, last) if has_calendar_words(plan.trees()) else set()))


def lengths_in(tree: dict[str, Any]) -> set[int]:
    """The durations in the tree, and those that it says otherwise: the edges of periods, the end of a decay, sums."""
    lengths = durations_in(tree)
    for mapping in mappings_in(tree):
        if "half_life" in mapping:
            lengths.add(HALF_LIVES * duration(mapping["half_life"]))
        if "regularly" in mapping:
            every, periods = duration(mapping["regularly"]["every"]), int(mapping["regularly"]["periods"])
            lengths |= {period * every for period in range(1, periods + 1)}
        if "sequence" in mapping:  # a match completes so long after its last event, and counts for so long
            lengths |= {one + other for one in durations_in(mapping["sequence"]) for other in durations_in(mapping)}
    return lengths


def zones_in_play(plan: Plan, contact: Contact) -> set[tzinfo]:
    """UTC, the zones that the definitions name, and all that the contact has been in."""
    own = [look_up(event.writes, "timezone") for event in contact.events]
    zones = [calendar.zone_named(name) for name in (*zones_named(plan.trees()), *own)]
    return {UTC, *(zone for zone in zones if zone is not None)}


def instants_in(contact: Contact, zones: set[tzinfo]) -> set[int]:
    """Every time and date that stands anywhere in the contact's history, read in each of the zones."""
    found = {event.t for event in contact.events}
    for event in contact.events:
        for scalar in scalars_in([event.properties, event.context, event.writes]):
            found |= {date for zone in zones if (date := instant(scalar, zone)) is not None}
    return found


def midnights(zones: set[tzinfo], after: int, last: int) -> set[int]:
    """The local midnights after the one instant and by the other."""
    found = set()
    for zone in zones:
        day, end = calendar.local_day(after, zone), calendar.local_day(last, zone) + DAY
        while day <= end:
            found.add(calendar.midnight(day, zone))
            day += DAY
    return {at for at in found if after < at <= last}


def crossing(plan: Plan, parts: dict[str, Parts], after: int, before: int) -> int | None:
    """The first instant between the two, both left out, at which a score has passed or left a threshold it is read by.

    Nothing else may change between them: the parts of the scores are those that they have from the first instant on,
    and each score decays towards what stays of it, so it goes one way only.
    """
    found = []
    for name, limit in thresholds(plan):

        def side(now: int, name: str = name, limit: Fraction = limit) -> int:
            total = total_of(plan.scores[name], parts[name], now)
            return (total > limit) - (total < limit)

        first, end = after, before - 1
        if end <= first or side(first) == side(end):
            continue
        while end - first > 1:
            middle = (first + end) // 2
            first, end = (middle, end) if side(middle) == side(after) else (first, middle)
        found.append(end)
    return min(found, default=None)


def thresholds(plan: Plan) -> set[tuple[str, Fraction]]:
    """Each score with each number that it is compared with."""
    read = [one for segment in plan.segments.values() for one in conditions_in(segment["when"]) if "score" in one]
    return {
        (one["score"], number)
        for one in read
        for name, operand in one.items()
        if name != "score"
        for limit in (operand if isinstance(operand, list) else [operand])
        if (number := number_of(limit)) is not None
    }
