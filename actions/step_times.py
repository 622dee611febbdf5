"""When a step of a sequence goes on, and by which path: functions of a contact's state and an instant."""

from typing import Any

from actions.sequences import CONTACT, Path, Split, WaitDate, WaitTime
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN
from segments.calendar import Zone, weekday
from segments.conditions import Tz
from segments.consent_leaves import drawn
from segments.contact import find_trait, trait_ways, zone_of
from segments.values import instant

_DAYS_LOOKED_AT = 9


def zone_named(tz: str, otherwise: str, state: Any) -> Zone:
    """The zone that `tz` means for a contact now; `otherwise` for one that has none of its own."""
    return zone_of(Tz(otherwise, True) if tz == CONTACT else Tz(tz, False), state)


def time_ms(step: WaitTime, otherwise: str, state: Any, now_ms: int) -> int:
    """When the clock next shows the time of `step`, at `now_ms` or later."""
    zone = zone_named(step.tz, otherwise, state)
    today = zone.day(now_ms)
    for day in range(today - 1, today + _DAYS_LOOKED_AT):
        if weekday(day) in step.weekdays and (at_ms := zone.instant_ms(day, step.clock_ms)) >= now_ms:
            return at_ms
    raise AssertionError(f"expected a day of {sorted(step.weekdays)} within a week")


def date_ms(step: WaitDate, otherwise: str, state: Any) -> int | None:
    """The instant that the trait of `step` says, with its offset; None where there is none."""
    found = find_trait(state.traits, trait_ways(step.trait))
    at_ms = None if found is None else instant(found, zone_named(step.tz, otherwise, state))
    if at_ms is None or not INSTANT_MS_MIN <= at_ms + step.offset_ms <= INSTANT_MS_MAX:
        return None
    return at_ms + step.offset_ms


def path_of(step: Split, contact: str) -> Path:
    """The path of a split that is the contact's."""
    place = drawn(step.salt, contact)
    return next(path for path in step.paths if place < path.below)
