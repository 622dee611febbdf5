"""Zones, local days and calendar words, as the oracle has them (page sections 3 and 5).

A period is a pair of local days, the second exclusive; its instants are those from the first one's midnight to the
second one's.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

EPOCH = datetime.combine(date(1970, 1, 1), time())
MS = timedelta(milliseconds=1)
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Period = tuple[date, date]

# the tzdata package alone: what a machine has of its own differs by its age
reset_tzpath(to=())
ZoneInfo.clear_cache()


def zone_named(name: Any) -> tzinfo | None:
    """The zone of that IANA name; None where it is none."""
    if name == "UTC":
        return UTC
    return ZoneInfo(name) if isinstance(name, str) and name in zone_names() else None


@cache
def zone_names() -> set[str]:
    return available_timezones()


def local(ms: int, zone: tzinfo) -> datetime:
    """What a clock in the zone shows at the instant. Raises OverflowError outside the years 1 to 9999."""
    return (EPOCH + ms * MS).replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None, fold=0)


def local_day(ms: int, zone: tzinfo) -> date:
    """The zone's day at the instant."""
    return local(ms, zone).date()


@cache
def at_local(wall: datetime, zone: tzinfo) -> int:
    """The instant at which the zone's clock shows `wall`: its first pass, or the first instant after a gap with it."""

    def read(fold: int) -> int:
        offset = wall.replace(tzinfo=zone, fold=fold).utcoffset()
        assert offset is not None
        return (wall - EPOCH - offset) // MS

    try:
        if local(read(fold=0), zone) == wall:
            return read(fold=0)
    except OverflowError:
        return read(fold=0)
    # In a gap the offset before it (fold 0) leads past its instant, the one after it to before: it lies between.
    before, after = read(fold=1), read(fold=0)
    while after - before > 1:
        middle = (before + after) // 2
        if local(middle, zone) < wall:
            before = middle
        else:
            after = middle
    return after


def midnight(day: date, zone: tzinfo) -> int:
    """The instant at which the day begins in the zone."""
    return at_local(datetime.combine(day, time()), zone)


def lies_in(ms: int, period: Period, zone: tzinfo) -> bool:
    """Whether the instant is of one of the period's days."""
    return midnight(period[0], zone) <= ms < midnight(period[1], zone)


def period_of(words: Any, today: date) -> Period:
    """The days that the calendar words mean today."""
    if isinstance(words, str):
        return named_period(words, today)
    [(name, number)] = words.items()
    count = int(number)
    if name == "days_ago":
        return days_from(today, -count), days_from(today, 1 - count)
    if name == "in_days":
        return days_from(today, count), days_from(today, count + 1)
    which, unit = name.split("_")  # last_days, next_weeks …: of the last ones this is one, of the next ones it is not
    first, end = (1 - count, 1) if which == "last" else (1, count + 1)
    return starts(unit.removesuffix("s"), today, first), starts(unit.removesuffix("s"), today, end)


def named_period(word: str, today: date) -> Period:
    which = {"today": 0, "yesterday": -1, "tomorrow": 1, "this": 0, "last": -1, "next": 1}[word.split("_")[0]]
    unit = word.split("_")[1] if "_" in word else "day"
    return starts(unit, today, which), starts(unit, today, which + 1)


def starts(unit: str, today: date, steps: int) -> date:
    """The first day of the unit (day, week, month, year) that is so many after that of today."""
    if unit == "day":
        return days_from(today, steps)
    if unit == "week":
        return days_from(today, 7 * steps - today.weekday())
    months = 12 * today.year + (today.month - 1 + steps if unit == "month" else 12 * steps)
    return date(min(max(months // 12, 1), 9999), months % 12 + 1, 1)


def days_from(day: date, count: int) -> date:
    """The day so many days later; the calendar's ends stop it."""
    return date.fromordinal(min(max(day.toordinal() + count, 1), date.max.toordinal()))


def birthday(born: date, year: int) -> date:
    """The day of its anniversary in the year; 29 February counts as 28 in years without one."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def has_anniversary(born: date, period: Period) -> bool:
    """Whether some day with its month and day falls in the period."""
    return any(period[0] <= birthday(born, year) < period[1] for year in range(period[0].year, period[1].year + 1))


def age(born: date, today: date) -> int:
    """Whole years completed today; negative for a day to come."""
    return today.year - born.year - (today < birthday(born, today.year))


def clock_ms(text: str) -> int:
    """`HH:MM` as ms since the local midnight."""
    return (int(text[:2]) * 60 + int(text[3:])) * 60_000


def in_local_time(ms: int, bounds: list[str], zone: tzinfo) -> bool:
    """Whether the zone's clock at the instant is from the first of the times to before the second, perhaps over night."""
    wall = local(ms, zone)
    shows = (wall - datetime.combine(wall, time())) // MS
    start, end = map(clock_ms, bounds)
    return start <= shows < end if start < end else shows >= start or shows < end
