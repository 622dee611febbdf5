"""Zones, periods, anniversaries and ages, against what datetime and zoneinfo say."""

import datetime
import functools
import importlib.resources
import struct
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.instants import DAY_MS, INSTANT_MS_MAX, INSTANT_MS_MIN
from segments.calendar import (
    UTC_ZONE,
    Zone,
    age,
    anniversary,
    anniversary_in,
    civil,
    days_of,
    next_anniversary,
    parse_day,
    span_days,
    weekday,
    zone,
    zone_names,
)
from segments.conditions import Span
from tests import oracle_calendar

EPOCH = datetime.datetime.fromisoformat("1970-01-01")
MS = datetime.timedelta(milliseconds=1)
FIRST_ORDINAL = datetime.date(1970, 1, 1).toordinal()
HOUR_MS = 3_600_000
# half an hour of summer time, midnights skipped and repeated, days skipped and repeated, 45 min, permanent changes
ODD_ZONES = (
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Manila",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "UTC",
)
quick = settings(deadline=None, derandomize=True, max_examples=300)
zones = st.sampled_from(ODD_ZONES)
days = st.integers(days_of(1, 1, 1), days_of(9999, 12, 31))
recent_days = st.integers(days_of(1965, 1, 1), days_of(2045, 1, 1))
units = st.sampled_from(("day", "week", "month", "year"))


@functools.cache
def named(name: str) -> Zone:
    """The zone of that name."""
    found = zone(name)
    assert found is not None
    return found


@functools.cache
def rules(name: str) -> zoneinfo.ZoneInfo:
    """Python's own zone, read from the same files."""
    with importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file)


def wall(at_ms: int, name: str) -> datetime.datetime:
    """What a clock on the wall shows at an instant."""
    at = (EPOCH + at_ms * MS).replace(tzinfo=datetime.UTC)
    return at.astimezone(rules(name)).replace(tzinfo=None, fold=0)


def date_of(day: int) -> datetime.date:
    """The date of a day."""
    return datetime.date.fromordinal(day + FIRST_ORDINAL)


@functools.cache
def turns(name: str) -> tuple[int, ...]:
    """The instants in seconds from 1901 to 2038 at which a zone's offset changes, from the bytes of its file."""
    raw = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    skipped = struct.unpack(">6l", raw[20:44])
    raw = raw[44 + skipped[3] * 5 + skipped[4] * 6 + skipped[5] + skipped[2] * 8 + skipped[1] + skipped[0] :]
    _, _, _, count, types, _ = struct.unpack(">6l", raw[20:44])
    times = struct.unpack(f">{count}q", raw[44 : 44 + 8 * count])
    kinds = raw[44 + 8 * count : 44 + 9 * count]
    offsets = [struct.unpack_from(">l", raw, 44 + 9 * count + 6 * at)[0] for at in range(types)]
    changes, last = [], offsets[0]
    for at, kind in zip(times, kinds, strict=True):
        if offsets[kind] != last:
            changes.append(at)
        last = offsets[kind]
    return tuple(changes)


@st.composite
def odd_instants(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and an instant, most of them within two days of a change of its offset."""
    name = draw(zones)
    known = turns(name)
    if known and draw(st.integers(0, 3)):
        near = draw(st.sampled_from(known)) * 1000
        return name, near + draw(st.integers(-96, 96)) * HOUR_MS // 2 + draw(st.integers(-1, 1))
    return name, draw(recent_days) * DAY_MS + draw(st.integers(0, DAY_MS - 1))


# ---- the calendar ---------------------------------------------------------------------------------------------------


@quick
@given(days)
def test_a_day_and_its_date_are_one_to_one(day: int) -> None:
    """And agree with datetime's on year, month, day and weekday, over all that it can say."""
    date = date_of(day)

    assert (date.year, date.month, date.day) == civil(day)
    assert day == days_of(date.year, date.month, date.day) == parse_day(date.isoformat())
    assert date.weekday() == weekday(day)


@pytest.mark.parametrize("year", [-4800, -400, -1, 0, 10_000, 123_456])
def test_years_that_no_date_can_say_are_reckoned_all_the_same(year: int) -> None:
    """As calendar words of the year 9999 look ahead, and numbers may mean any instant."""
    for month, of_month in ((1, 1), (2, 28), (3, 1), (12, 31)):
        assert (year, month, of_month) == civil(days_of(year, month, of_month))


@pytest.mark.parametrize(
    "text",
    ["2026-02-29", "2026-13-01", "0000-01-01", "2026-1-1", "20260101", "2026-W01-1", "２０２６-01-01", "2026-01-01T00"],
)
def test_what_is_no_day_is_none(text: str) -> None:
    """Only `YYYY-MM-DD` of a day that exists, in ASCII digits."""
    assert parse_day(text) is None


@quick
@given(units, st.integers(-40, 40), st.integers(0, 40), recent_days)
def test_a_span_begins_and_ends_with_its_periods(unit: str, first: int, length: int, today: int) -> None:
    """Counted from the one that holds today, day by day with datetime."""

    def start(date: datetime.date, steps: int) -> datetime.date:
        if unit == "day":
            return date + datetime.timedelta(days=steps)
        if unit == "week":
            return date + datetime.timedelta(days=7 * steps - date.weekday())
        months = date.year * 12 + (date.month - 1 + steps if unit == "month" else 12 * steps)
        return datetime.date(months // 12, months % 12 + 1, 1)

    found = span_days(Span(unit, first, first + length), today)

    assert (start(date_of(today), first), start(date_of(today), first + length + 1)) == tuple(map(date_of, found))


# ---- anniversaries and ages -----------------------------------------------------------------------------------------


def birthday(born: datetime.date, year: int) -> datetime.date:
    """The anniversary in a year: 29 February on the 28th where there is none."""
    try:
        return born.replace(year=year)
    except ValueError:
        return datetime.date(year, 2, 28)


leap_or_any_days = st.one_of(recent_days, st.sampled_from([days_of(year, 2, 29) for year in (1968, 1996, 2000, 2024)]))


@quick
@given(leap_or_any_days, recent_days, st.integers(0, 800))
def test_an_anniversary_is_a_day_with_the_same_month_and_day(born: int, first: int, length: int) -> None:
    """Also before the day itself; that of 29 February is the 28th in years without one."""
    found = {
        date_of(day)
        for day in range(first, first + length)
        if date_of(day) == birthday(date_of(born), date_of(day).year)
    }

    assert bool(found) is anniversary_in(born, first, first + length)
    assert not found or min(found) == date_of(next_anniversary(born, first))
    assert birthday(date_of(born), 2023) == date_of(anniversary(born, 2023))


@quick
@given(leap_or_any_days, recent_days)
def test_an_age_goes_up_on_each_birthday_and_by_nothing_else(born: int, today: int) -> None:
    """Whole years completed; below zero before the first day."""
    date, now = date_of(born), date_of(today)
    completed = max(n for n in range(-90, 90) if birthday(date, date.year + n) <= now)

    assert completed == age(born, today)


@pytest.mark.parametrize(
    ("year", "expected"),
    [(1900, "1900-02-28"), (2000, "2000-02-29"), (2023, "2023-02-28"), (2024, "2024-02-29"), (2100, "2100-02-28")],
)
def test_the_29_of_february_is_kept_on_the_28_in_years_without_one(year: int, expected: str) -> None:
    """Whole centuries among them, but for every fourth."""
    assert expected == date_of(anniversary(days_of(1996, 2, 29), year)).isoformat()


# ---- zones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", "localtime", "posixrules", "europe/berlin", "../UTC", "/etc/passwd", "Europe", "Europe/Berlin ", "x" * 99],
)
def test_what_the_iana_names_no_zone_is_none(name: str) -> None:
    """Spelled exactly, whatever files there may be of that name."""
    assert zone(name) is None


def test_a_zone_is_made_once() -> None:
    """So what it has looked up is shared by all contacts, and never more are kept than there are names."""
    assert zone("Europe/Berlin") is zone("Europe/Berlin")
    assert 400 < len(zone_names()) < 1000


def test_no_zone_changes_its_offset_twice_within_three_days() -> None:
    """What the cache of offsets by day of UTC relies on; and that no change is of more than a day."""
    too_near = {
        (name, a)
        for name in sorted(zone_names())
        for a, b in zip(turns(name), turns(name)[1:], strict=False)
        if b - a < 3 * 86_400
    }

    assert set() == too_near


@quick
@given(odd_instants())
def test_the_clock_is_that_on_the_wall(odd: tuple[str, int]) -> None:
    """At every hour around the changes of odd zones."""
    name, at_ms = odd
    shown = wall(at_ms, name)

    assert (shown - datetime.datetime.combine(shown.date(), datetime.time())) // MS == named(name).clock_ms(at_ms)


@quick
@given(odd_instants())
def test_days_part_time(odd: tuple[str, int]) -> None:
    """Each instant lies in one day: from the first pass of its midnight until that of the next."""
    name, at_ms = odd
    found = named(name)
    day = found.day(at_ms)

    assert found.instant_ms(day) <= at_ms < found.instant_ms(day + 1)


@quick
@given(odd_instants())
def test_the_day_is_the_latest_that_the_wall_has_shown(odd: tuple[str, int]) -> None:
    """So the one that it shows, but where clocks that go back after midnight show the evening before again."""
    name, at_ms = odd
    before = [turn * 1000 - 1 for turn in turns(name) if at_ms - 2 * DAY_MS < turn * 1000 <= at_ms]
    before += [at_ms - back * HOUR_MS // 4 for back in range(100)]

    assert max(wall(past_ms, name).date() for past_ms in before) == date_of(named(name).day(at_ms))


def test_a_midnight_that_has_gone_by_begins_no_second_day() -> None:
    """St. John's, 2001: at 00:01 on 28 October clocks went back to 23:01."""
    found = named("America/St_Johns")
    begins_ms = found.instant_ms(days_of(2001, 10, 28))

    assert "2001-10-28 00:00:00" == str(wall(begins_ms, "America/St_Johns"))
    assert "2001-10-27 23:30:00" == str(wall(begins_ms + HOUR_MS // 2, "America/St_Johns"))
    assert days_of(2001, 10, 28) == found.day(begins_ms + HOUR_MS // 2)
    assert begins_ms + 25 * HOUR_MS == found.instant_ms(days_of(2001, 10, 29))


@quick
@given(odd_instants(), st.integers(0, DAY_MS))
def test_a_local_time_is_the_first_instant_at_which_that_much_has_come(odd: tuple[str, int], clock_ms: int) -> None:
    """That is itself, at its first pass where it is repeated; and the first instant after the gap that skips it."""
    name, near_ms = odd
    day = named(name).day(near_ms)
    asked = EPOCH + datetime.timedelta(days=day, milliseconds=clock_ms)
    at_ms = named(name).instant_ms(day, clock_ms)
    earlier = [at_ms - 1, *(at_ms - back * HOUR_MS // 4 for back in range(1, 120))]

    assert wall(at_ms, name) >= asked
    assert [] == [before for before in earlier if wall(before, name) >= asked]


@pytest.mark.parametrize(
    ("name", "local", "instant"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00"),  # skipped: 03:00 summer time
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00"),  # repeated: the first pass, still summer time
        ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00:00"),  # midnight skipped
        ("America/Sao_Paulo", "2018-02-18T00:00", "2018-02-18T03:00:00"),  # 23:00 to 24:00 repeated, midnight isn't
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00"),  # half an hour skipped
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00"),  # a day skipped
        ("Asia/Kathmandu", "2026-01-01T00:00", "2025-12-31T18:15:00"),
    ],
)
def test_local_times_at_both_daylight_saving_edges(name: str, local: str, instant: str) -> None:
    """By hand."""
    asked, expected = datetime.datetime.fromisoformat(local), datetime.datetime.fromisoformat(instant)
    day = (asked.date() - EPOCH.date()).days

    assert (expected - EPOCH) // MS == named(name).instant_ms(day, (asked.hour * 60 + asked.minute) * 60_000)


@quick
@given(odd_instants(), units, st.integers(-3, 3), st.integers(0, 3))
def test_a_word_means_the_same_until_the_next_instant_that_is_named(
    odd: tuple[str, int], unit: str, first: int, length: int
) -> None:
    """And something else from then on: no day goes by unseen, and none is played in vain."""
    name, now_ms = odd
    found, span = named(name), Span(unit, first, first + length)
    next_ms = found.next_span_ms(span, now_ms)
    assert next_ms is not None and next_ms > now_ms

    assert found.span_ms(span, now_ms) == found.span_ms(span, next_ms - 1)
    assert span_days(span, found.day(now_ms)) != span_days(span, found.day(next_ms))


@pytest.mark.parametrize("name", ["UTC", "Pacific/Kiritimati", "America/Adak"])
@pytest.mark.parametrize("at_ms", [-(10**30), INSTANT_MS_MIN, INSTANT_MS_MIN + 1, INSTANT_MS_MAX, 2**63, 10**310])
def test_no_instant_is_too_far(name: str, at_ms: int) -> None:
    """A number in a trait may mean any: days stay in order, and nothing is raised."""
    found = named(name)

    assert found.instant_ms(found.day(at_ms), found.clock_ms(at_ms)) == at_ms
    assert found.day(at_ms) < found.day(at_ms + DAY_MS)
    start_ms, end_ms = found.span_ms(Span("year", 0, 100), at_ms)
    assert start_ms <= at_ms < end_ms
    assert age(found.day(at_ms), 0) > 0 if at_ms < 0 else age(found.day(at_ms), 0) < 0


def test_after_the_last_period_there_is_no_next() -> None:
    """No record can say an instant after 9999."""
    assert UTC_ZONE.next_span_ms(Span("day", 0, 0), INSTANT_MS_MAX) is None
    assert INSTANT_MS_MAX + 1 - DAY_MS == UTC_ZONE.next_span_ms(Span("day", 0, 0), INSTANT_MS_MAX - DAY_MS)


def test_the_oracle_reads_the_same_zones_on_every_machine() -> None:
    """With the rules of the machine, which are as old as its last update, it would find differences that are none."""
    assert zone_names() == oracle_calendar.zone_names()
    assert zoneinfo.TZPATH == ()
