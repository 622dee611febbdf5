"""Checks what the calendar has to do with: zones, instants and days, calendar words, the clock and the weekdays of events."""

import dataclasses
import re
from typing import Any

from schemas.instants import parse_instant
from segments.calendar import DAY_MS, parse_day, zone, zone_names
from segments.check_values import check_integer, check_word
from segments.conditions import Local, Span, Tz
from segments.report import Report, shown

# some hundred years of each
SPAN_MAX = {"day": 36_525, "week": 5_217, "month": 1_200, "year": 100}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_ABBREVIATED = 5
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_WORDS = {"today": Span("day", 0, 0), "yesterday": Span("day", -1, -1), "tomorrow": Span("day", 1, 1)} | {
    f"{which}_{unit}": Span(unit, at, at)
    for unit in ("week", "month", "year")
    for which, at in (("last", -1), ("this", 0), ("next", 1))
}
_LAST = {f"last_{unit}s": unit for unit in SPAN_MAX}
_NEXT = {f"next_{unit}s": unit for unit in SPAN_MAX}
COUNTED_WORDS = (*_LAST, *_NEXT, "days_ago", "in_days")
WORDS = tuple(_WORDS)


def check_tz(report: Report, body: dict[str, Any], enclosing: Tz) -> Tz:
    """The zone inside `body`: what its `tz` says, else that of what encloses it."""
    if "tz" not in body:
        return enclosing
    found = body["tz"]
    if found == "contact":
        return dataclasses.replace(enclosing, contact=True)
    if isinstance(found, str) and zone(found) is not None:
        return Tz(found)
    with report.at("tz"):
        # of abbreviations, another is near that means another zone
        near = isinstance(found, str) and len(found) >= _ABBREVIATED
        hint = report.close_to(found, ("contact", *zone_names())) if near else ""
        report.say(f"expected UTC, an IANA time zone such as Europe/Paris, or contact, got {shown(found)}{hint}")
    return enclosing


def check_instant(report: Report, found: Any, tz: Tz) -> int | Local | None:
    """Epoch ms of an absolute instant; of one without offset in the contact's zone, its local time."""
    at = _instant(found, tz) if isinstance(found, str) else None
    if at is None:
        report.expected("an instant such as 2026-03-01 or 2026-03-01T09:30:00Z", found)
    return at


def _instant(text: str, tz: Tz) -> int | Local | None:
    at_ms = parse_instant(text, offset_required=True)
    if at_ms is not None:
        return at_ms
    local_ms = parse_instant(text, offset_required=False)
    if local_ms is None:
        return None
    local = Local(*divmod(local_ms, DAY_MS))
    if tz.contact:
        return local
    fixed = zone(tz.name)
    assert fixed is not None, "a zone has been looked up when it was checked"
    return fixed.instant_ms(local.day, local.ms)


def check_days(report: Report, found: Any) -> tuple[int, ...] | None:
    """A day or a list of days, as days since 1970-01-01, each once and ascending."""
    if not isinstance(found, list):
        day = _check_day(report, found)
        return None if day is None else (day,)
    if not found:
        report.expected("a day such as 2026-03-01, or a list of days", found)
        return None
    days = []
    for at, item in enumerate(found):
        with report.at(at):
            days.append(_check_day(report, item))
    known = {day for day in days if day is not None}
    return tuple(sorted(known)) if None not in days else None


def _check_day(report: Report, found: Any) -> int | None:
    day = parse_day(found) if isinstance(found, str) else None
    if day is None:
        report.expected("a day such as 2026-03-01", found)
    return day


def check_span(report: Report, found: Any) -> Span | None:
    """A calendar word, or a mapping of one that counts and how many."""
    if isinstance(found, dict) and len(found) == 1:
        ((word, count),) = found.items()
        if word in COUNTED_WORDS:
            with report.at(word):
                return _check_counted(report, word, count)
        report.unknown_key(word, COUNTED_WORDS)
        return None
    if isinstance(found, dict):
        report.say(f"expected one calendar word, got {shown(found) if not found else ' and '.join(map(shown, found))}")
        return None
    word = check_word(report, found, _WORDS, f"one of {', '.join(WORDS)}, or {{last_days: n}} and the like")
    return None if word is None else _WORDS[word]


def _check_counted(report: Report, word: str, found: Any) -> Span | None:
    if word in ("days_ago", "in_days"):
        days = check_integer(report, found, 0, SPAN_MAX["day"])
        if days is None:
            return None
        at = -days if word == "days_ago" else days
        return Span("day", at, at)
    unit = _LAST.get(word) or _NEXT[word]
    count = check_integer(report, found, 1, SPAN_MAX[unit])
    if count is None:
        return None
    return Span(unit, 1 - count, 0) if word in _LAST else Span(unit, 1, count)


def check_local_time(report: Report, found: Any) -> tuple[int, int] | None:
    """`[from, to]` as ms since midnight."""
    if not isinstance(found, list) or len(found) != 2:
        report.expected('a list of two times such as ["22:00", "04:00"]', found)
        return None
    ends = []
    for at, item in enumerate(found):
        with report.at(at):
            ends.append(_check_clock(report, item, midnight=at == 1))
    start_ms, end_ms = ends
    if start_ms is None or end_ms is None:
        return None
    if start_ms == end_ms:
        report.say(f"expected two different times, got {shown(found[0])} twice; for the whole day leave it out")
        return None
    return start_ms, end_ms


def _check_clock(report: Report, found: Any, *, midnight: bool) -> int | None:
    if not isinstance(found, str) or not _CLOCK.fullmatch(found):
        report.expected('a time such as "22:00"', found)
        return None
    if found == "24:00" and not midnight:
        report.expected('a time from "00:00" to "23:59" (only the second may be "24:00")', found)
        return None
    return int(found[:2]) * 3_600_000 + int(found[3:]) * 60_000


def check_weekdays(report: Report, found: Any) -> tuple[int, ...] | None:
    """A list of weekdays, as numbers from 0 for Monday, each once and ascending."""
    if not isinstance(found, list) or not found:
        report.expected(f"a list of at least one of {', '.join(WEEKDAYS)}", found)
        return None
    days: set[int] = set()
    before = len(report.errors)
    for at, item in enumerate(found):
        with report.at(at):
            word = check_word(report, item, WEEKDAYS, f"one of {', '.join(WEEKDAYS)}")
            if word is not None:
                days.add(WEEKDAYS.index(word))
    return tuple(sorted(days)) if len(report.errors) == before else None
