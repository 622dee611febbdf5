"""Values as the oracle has them: exact numbers, text, equality, instants, durations, paths (page sections 1, 3, 5).

Plain on purpose and shared with nothing: `segments/` has its own.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import floor
from typing import Any

from tests import oracle_calendar as calendar

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
UNITS_MS = (7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def exact(text: str) -> Decimal | None:
    """The number that `text` writes: up to 15 digits as written, else by the nearest double; None if none holds it."""
    try:
        number = Decimal(text)
        nearest = float(number)
    except ArithmeticError:
        return None
    if abs(nearest) == float("inf") or (nearest == 0 and number != 0):
        return None
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return number if len(digits) <= 15 else Decimal(repr(nearest))


def number_of(value: Any) -> Fraction | None:
    """The value as an exact number, or None: booleans never are one, text in JSON's number grammar is."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = exact(value)
    return Fraction(value) if isinstance(value, Decimal) else None


def plain(value: Any) -> str:
    """A scalar by its characters: `true`, `false`, or a number in its shortest plain decimal form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return str(value)


def equal(a: Any, b: Any, fold: bool = False) -> bool:
    """Section 5, `eq`."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y, fold) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key], fold) for key in a)
    if isinstance(a, (list, dict)) or isinstance(b, (list, dict)):
        return False
    if a is None or b is None:
        return a is b
    if isinstance(a, str) or isinstance(b, str):
        return folded(plain(a), fold) == folded(plain(b), fold)
    return type(a) is type(b) and bool(a == b)


def folded(text: str, fold: bool) -> str:
    """The text, case folded where `fold`."""
    return text.casefold() if fold else text


def different(values: list[Any]) -> list[Any]:
    """One of each of the values that `eq` tells apart, in order."""
    kept: list[Any] = []
    for value in values:
        if not any(equal(value, other) for other in kept):
            kept.append(value)
    return kept


def instant(value: Any, zone: tzinfo = UTC) -> int | None:
    """The date in ms: ISO 8601 text, or a number (seconds below 10^11, else ms); None where it is no date."""
    if isinstance(value, Decimal):
        return floor(Fraction(value) * 1000) if abs(value) < 10**11 else floor(value)
    return read_instant(value, zone=zone) if isinstance(value, str) else None


def read_instant(text: str, needs_offset: bool = False, zone: tzinfo = UTC) -> int | None:
    """The instant that `text` writes in ms, local in the zone where it has no offset; None where it writes none."""
    match = INSTANT.fullmatch(text)
    if not match or (needs_offset and not match[8]):
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        wall = datetime.combine(date(year, month, day), time(hour, minute, second))
    except ValueError:
        return None
    ms = int(((match[7] or "") + "000")[:3])
    if match[8] is None:
        return calendar.at_local(wall + timedelta(milliseconds=ms), zone)
    ms += calendar.at_local(wall, UTC)
    if match[8] == "Z":
        return ms
    off_h, off_m = int(match[8][1:3]), int(match[8][3:].strip(":") or 0)
    if off_h > 23 or off_m > 59:
        return None
    return ms - (off_h * 60 + off_m) * (60_000 if match[8][0] == "+" else -60_000)


@cache
def duration(text: str) -> int:
    """The duration that `text` writes, in ms."""
    match = DURATION.fullmatch(text) if text else None
    if not match:
        raise ValueError(f"expected a duration, got {text!r}")
    return sum(int(part or 0) * unit for part, unit in zip(match.groups(), UNITS_MS, strict=True))


def shown(ms: int) -> str:
    """The instant as transitions show it."""
    return (calendar.EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


def present(value: Any) -> bool:
    """False for null and `""`, which are missing everywhere."""
    return value is not None and value != ""


def look_up(tree: Any, path: str) -> Any:
    """What stands at the dotted path, the longest key first at each level; None where it is absent."""
    parts = path.split(".")
    for taken in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:taken]), ".".join(parts[taken:])
        if isinstance(tree, dict) and key in tree:
            value = look_up(tree[key], rest) if rest else tree[key]
            if present(value):
                return value
    return None
