"""Calendar arithmetic: zones, days, weeks, months, years, anniversaries and ages (language page, section 3).

A day is a number of days since 1970-01-01, an instant epoch ms; both may lie outside of the years 1 to 9999, where zones
keep the offset that they have at the nearer end. A zone's days part its time: a day begins at the first pass of its
midnight, or where that is skipped at the first instant after the gap, and lasts until the next one begins. Where the
clock goes back over a midnight that has gone by (St. John's until 2011, at 00:01) the new day goes on.
"""

import datetime
import functools
import importlib.resources
import zoneinfo

from schemas.instants import DAY_MS as DAY_MS  # part of the calendar as well: taken from here
from schemas.instants import EPOCH, INSTANT_MS_MAX, INSTANT_MS_MIN, MS, parse_local
from segments.conditions import Span

# of each zone: contacts' events are of few days at a time, and there are 600 zones
_DAYS_CACHED_MAX = 512


def days_of(year: int, month: int, day: int) -> int:
    """The day of a date of the Gregorian calendar, of any year."""
    if month <= 2:
        year -= 1
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1  # from 1 March: the leap day comes last
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def civil(day: int) -> tuple[int, int, int]:
    """`(year, month, day of the month)` of a day."""
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    of_month = of_year - (153 * month + 2) // 5 + 1
    return (year + era * 400, month + 3, of_month) if month < 10 else (year + era * 400 + 1, month - 9, of_month)


def parse_day(text: str) -> int | None:
    """The day that `YYYY-MM-DD` names, None where it is none."""
    said = parse_local(text) if len(text) == 10 else None
    return said[0] if isinstance(said, tuple) else None


def weekday(day: int) -> int:
    """0 for Monday to 6 for Sunday."""
    return (day + 3) % 7


# ---- periods --------------------------------------------------------------------------------------------------------


def period_of(unit: str, day: int) -> int:
    """The number of the `day`, `week` (from Monday), `month` or `year` that a day lies in: those that follow differ by 1."""
    if unit == "day":
        return day
    if unit == "week":
        return (day + 3) // 7
    year, month, _ = civil(day)
    return year if unit == "year" else year * 12 + month - 1


def first_day(unit: str, period: int) -> int:
    """The first day of the period of that number."""
    if unit == "day":
        return period
    if unit == "week":
        return period * 7 - 3
    return days_of(period, 1, 1) if unit == "year" else days_of(period // 12, period % 12 + 1, 1)


def span_days(span: Span, today: int) -> tuple[int, int]:
    """The days [first, end) of a calendar word, as of `today`."""
    period = period_of(span.unit, today)
    return first_day(span.unit, period + span.first), first_day(span.unit, period + span.last + 1)


# ---- anniversaries --------------------------------------------------------------------------------------------------


def anniversary(day: int, year: int) -> int:
    """The day with the month and day of the month of `day` in `year`; 29 February is 28 in years without one."""
    _, month, of_month = civil(day)
    if month == 2 and of_month == 29 and (year % 4 != 0 or (year % 100 == 0 and year % 400 != 0)):
        of_month = 28
    return days_of(year, month, of_month)


def next_anniversary(day: int, from_day: int) -> int:
    """The first anniversary of `day` on or after `from_day`; years before that of `day` count as well."""
    year = civil(from_day)[0]
    found = anniversary(day, year)
    return found if found >= from_day else anniversary(day, year + 1)


def anniversary_in(day: int, first: int, end: int) -> bool:
    """Whether some anniversary of `day` is one of the days [first, end)."""
    return next_anniversary(day, first) < end


def age(day: int, today: int) -> int:
    """Whole years completed `today` since `day`, negative where that is yet to come."""
    year = civil(today)[0]
    years = year - civil(day)[0]
    return years if today >= anniversary(day, year) else years - 1


# ---- zones ----------------------------------------------------------------------------------------------------------


class Zone:
    """An IANA zone. `name` as the tzdata package spells it, which is the source: every machine answers alike."""

    __slots__ = ("_offsets", "_rules", "name")

    def __init__(self, name: str) -> None:
        path = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        with path.open("rb") as file:
            self._rules = zoneinfo.ZoneInfo.from_file(file, key=name)
        self.name = name
        self._offsets: dict[int, int | tuple[int, int, int]] = {}

    def day(self, at_ms: int) -> int:
        """The local day of an instant."""
        offset = self._offsets_of(at_ms // DAY_MS)
        if isinstance(offset, int):
            return (at_ms + offset) // DAY_MS
        turn_ms, before_ms, after_ms = offset
        if at_ms < turn_ms:
            return (at_ms + before_ms) // DAY_MS
        return max((at_ms + after_ms) // DAY_MS, (turn_ms - 1 + before_ms) // DAY_MS)

    def clock_ms(self, at_ms: int) -> int:
        """Milliseconds since midnight that the local wall clock shows at an instant."""
        offset = self._offsets_of(at_ms // DAY_MS)
        if isinstance(offset, int):
            return (at_ms + offset) % DAY_MS
        turn_ms, before_ms, after_ms = offset
        return (at_ms + (before_ms if at_ms < turn_ms else after_ms)) % DAY_MS

    def instant_ms(self, day: int, clock_ms: int = 0) -> int:
        """The instant of a local time: the first at which that much has come; so after a gap, or at the first pass."""
        wall_ms = day * DAY_MS + clock_ms
        utc_day = wall_ms // DAY_MS
        offset, later = self._offsets_of(utc_day), self._offsets_of(utc_day + 1)
        if isinstance(offset, int):
            if isinstance(later, int):
                return wall_ms - offset
            offset = later
        turn_ms, before_ms, after_ms = offset
        at_ms = wall_ms - before_ms
        return at_ms if at_ms < turn_ms else max(turn_ms, wall_ms - after_ms)

    def span_ms(self, span: Span, now_ms: int) -> tuple[int, int]:
        """The instants [start, end) of a calendar word, as of `now_ms`."""
        first, end = span_days(span, self.day(now_ms))
        return self.instant_ms(first), self.instant_ms(end)

    def next_span_ms(self, span: Span, now_ms: int) -> int | None:
        """The first instant after `now_ms` at which the word means another span; None where it comes after 9999."""
        end_ms = self.instant_ms(first_day(span.unit, period_of(span.unit, self.day(now_ms)) + 1))
        return end_ms if end_ms <= INSTANT_MS_MAX else None

    def _offsets_of(self, utc_day: int) -> int | tuple[int, int, int]:
        """The offset in ms on a day of UTC and the one before it, or `(turn_ms, before, after)` where it changes in them.

        No zone changes twice within a week: a test goes through them all.
        """
        found = self._offsets.get(utc_day)
        if found is None:
            if len(self._offsets) >= _DAYS_CACHED_MAX:
                self._offsets.clear()
            found = self._offsets[utc_day] = self._look_up(utc_day)
        return found

    def _look_up(self, utc_day: int) -> int | tuple[int, int, int]:
        low_ms, high_ms = (utc_day - 1) * DAY_MS, (utc_day + 1) * DAY_MS - 1
        before_ms, after_ms = self._offset_at(low_ms), self._offset_at(high_ms)
        if before_ms == after_ms:
            return before_ms
        while high_ms - low_ms > 1:
            middle_ms = (low_ms + high_ms) // 2
            if self._offset_at(middle_ms) == before_ms:
                low_ms = middle_ms
            else:
                high_ms = middle_ms
        return high_ms, before_ms, after_ms

    def _offset_at(self, at_ms: int) -> int:
        # a day inside of the years that datetime can say, as local time must be one of them as well
        at_ms = min(max(at_ms, INSTANT_MS_MIN + DAY_MS), INSTANT_MS_MAX - DAY_MS)
        offset = (EPOCH + datetime.timedelta(milliseconds=at_ms)).astimezone(self._rules).utcoffset()
        assert offset is not None
        return offset // MS


@functools.cache
def zone_names() -> frozenset[str]:
    """All IANA names, as the tzdata package lists them."""
    return frozenset(importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


_zones: dict[str, Zone] = {}


def zone(name: str) -> Zone | None:
    """The zone of that IANA name, spelled exactly; None where there is none. At most as many are kept as there are names."""
    found = _zones.get(name)
    if found is None and name in zone_names():
        found = _zones[name] = Zone(name)
    return found


def _utc() -> Zone:
    found = zone("UTC")
    assert found is not None
    return found


UTC_ZONE = _utc()
