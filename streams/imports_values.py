"""Cells to values: numbers, booleans, instants and lists as people and programs write them into files.

Each function takes what a cell has (text, or JSON's own values) and raises `Unread`, which says what was expected.
"""

import datetime
import math
import re
from typing import Any

import orjson

from schemas.instants import DAY_MS, EPOCH, INSTANT_MS_MAX, INSTANT_MS_MIN, MS, format_instant, parse_local
from segments.calendar import Zone

EPOCH_FORMATS = ("seconds", "milliseconds")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER_DIGITS_MAX = 18
_BOOLEANS = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_BOOLEANS |= {"false": False, "f": False, "no": False, "n": False, "0": False}
_EPOCH_ORDINAL = EPOCH.toordinal()


class Unread(Exception):
    """A cell that isn't what the mapping says; the message is what was expected."""


def text_of(found: Any) -> str:
    """A number is written as JSON has it, which is how a contact's id in a file of JSON becomes one."""
    if isinstance(found, str):
        return found
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Unread("text")
    return orjson.dumps(found).decode()


def number_of(found: Any, decimal: str = ".") -> int | float:
    """`1234.5`, with blanks around it; with a comma for `decimal` also `1.234,5`."""
    if isinstance(found, int | float) and not isinstance(found, bool):
        return found
    text = found.strip() if isinstance(found, str) else ""
    if decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Unread("a number" if decimal == "." else "a number with a decimal comma")
    if match[1] is None and match[2] is None and len(text) <= _INTEGER_DIGITS_MAX:
        return int(text)
    nearest = float(text)
    if math.isinf(nearest) or (nearest == 0 and text.lower().partition("e")[0].strip("+-0.")):
        raise Unread("a number that a double can hold")
    # whoever reads 0.0 has to look at the text again, as it may stand for a number that no double holds
    return nearest or 0


def boolean_of(found: Any) -> bool:
    """`true t yes y 1` and `false f no n 0`, in capitals too."""
    if isinstance(found, bool):
        return found
    answer = _BOOLEANS.get(str(found).strip().lower())
    if answer is None:
        raise Unread("true or false, yes or no, 1 or 0")
    return answer


def json_of(found: Any) -> Any:
    """What a cell of JSON says."""
    if not isinstance(found, str):
        return found
    try:
        return orjson.loads(found)
    except orjson.JSONDecodeError:
        raise Unread("JSON") from None


def list_of(found: Any, separator: str) -> list[Any]:
    """The pieces of a text that have something in them."""
    if isinstance(found, list):
        return found
    return [piece for piece in text_of(found).split(separator) if piece]


def instant_of(found: Any, format: str | None, zone: Zone | None) -> str:
    """`2026-03-01T09:30:00.000Z` of a time in `format` (None: ISO 8601), in `zone` where it names no offset."""
    at_ms = _epoch_ms(found, format) if format in EPOCH_FORMATS else _clock_ms(found, format, zone)
    if not INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX:
        raise Unread("an instant of the years 1 to 9999")
    return format_instant(at_ms)


def says_a_day(format: str) -> bool:
    """Whether strptime finds year, month and day in what has this format."""
    day = datetime.datetime(2026, 11, 23, 21, 47, tzinfo=datetime.UTC)
    try:
        return datetime.datetime.strptime(day.strftime(format), format).date() == day.date()  # noqa: DTZ007
    except (ValueError, re.error):
        return False


def _epoch_ms(found: Any, format: str | None) -> int:
    try:
        number = number_of(found)
    except Unread:
        raise Unread(f"{format} since 1970") from None
    if not abs(number) <= INSTANT_MS_MAX:
        raise Unread("an instant of the years 1 to 9999")
    # 1772357400.001 is a little less than that as a double
    return math.floor(round(number * 1000, 3)) if format == "seconds" else math.floor(number)


def _clock_ms(found: Any, format: str | None, zone: Zone | None) -> int:
    """Epoch ms of a time as it is written."""
    if not isinstance(found, str):
        raise Unread("a time as text" if format is None else f"a time as {format}")
    said = _iso(found.strip()) if format is None else _strptime(found.strip(), format)
    if said is None:
        raise Unread("a time as 2026-03-01T09:30:00Z, or say `format`" if format is None else f"a time as {format}")
    if isinstance(said, int):
        return said
    if zone is None:
        raise Unread("a time with its offset, or `zone` in the mapping: where the clock was that showed it")
    return zone.instant_ms(*said)


def _iso(text: str) -> int | tuple[int, int] | None:
    """Epoch ms, or day since 1970 and ms since midnight where no offset is named."""
    if len(text) == 19 and text[4] + text[7] + text[10] + text[13] + text[16] in ("-- ::", "--T::"):
        try:  # what nearly every database writes: four times as fast as the general way
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
        clock_s = (moment.hour * 60 + moment.minute) * 60 + moment.second
        return moment.toordinal() - _EPOCH_ORDINAL, clock_s * 1000
    return parse_local(text)


def _strptime(text: str, format: str) -> int | tuple[int, int] | None:
    """Epoch ms, or day since 1970 and ms since midnight where no offset is named."""
    try:
        moment = datetime.datetime.strptime(text, format)  # noqa: DTZ007
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return (moment - EPOCH) // MS
    clock_ms = (moment - datetime.datetime.combine(moment.date(), datetime.time())) // MS
    return moment.toordinal() - _EPOCH_ORDINAL, clock_ms % DAY_MS
