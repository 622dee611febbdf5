"""Waits of a sequence as they are written: a duration, a time of day, the date in a trait."""

import re
from typing import Any, Final

from actions.reader import Reader
from actions.sequence_conditions import read_tz
from actions.sequences import END, Wait, WaitDate, WaitTime
from schemas.instants import DAY_MS, parse_duration

# sequences that begin each other go around as fast as they wait: after an outage all of it is played in one go
WAIT_MS_MIN: Final = 1_000
WAIT_MS_MAX: Final = 366 * DAY_MS
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def read_wait(reader: Reader, found: Any, name: str, path: str, tz: str) -> Wait | WaitTime | WaitDate | None:
    """The wait in `found`; what is under `else` is the caller's. `tz`: of the sequence."""
    if isinstance(found, str):
        return Wait(name, END, read_duration(reader, found, path))
    if not isinstance(found, dict):
        reader.error("a duration such as 2d, or {until: …}", found, path)
        return None
    if isinstance(found.get("until"), dict):
        return _date(reader, found, name, path, tz)
    reader.keys(found, ("until", "weekdays", "tz"), path)
    until = found.get("until")
    if not isinstance(until, str) or not _CLOCK.fullmatch(until):
        reader.error('a time such as "09:00", or {trait: …}', until, f"{path}.until")
        until = "00:00"
    clock_ms = int(until[:2]) * 3_600_000 + int(until[3:]) * 60_000
    weekdays = _weekdays(reader, found.get("weekdays", list(WEEKDAYS)), f"{path}.weekdays")
    return WaitTime(name, END, clock_ms, weekdays, read_tz(reader, found, path, tz))


def read_duration(reader: Reader, found: Any, path: str) -> int:
    """How long a sequence waits, in ms; of no use with an error."""
    expected = "a duration from 1s to 366d such as 30m, 2d or 1d12h"
    return reader.duration(found, path, ms_min=WAIT_MS_MIN, ms_max=WAIT_MS_MAX, expected=expected)


def _weekdays(reader: Reader, found: Any, path: str) -> frozenset[int]:
    if not isinstance(found, list) or not found:
        reader.error(f"a list of some of {' '.join(WEEKDAYS)}", found, path)
        return frozenset()
    for at, day in enumerate(found):
        if day not in WEEKDAYS:
            reader.error("one of " + " ".join(WEEKDAYS), day, f"{path}[{at}]", WEEKDAYS)
    return frozenset(WEEKDAYS.index(day) for day in found if day in WEEKDAYS)


def _date(reader: Reader, found: dict[str, Any], name: str, path: str, tz: str) -> WaitDate:
    until = found["until"]
    reader.keys(found, ("until", "offset", "tz", "else"), path)
    reader.keys(until, ("trait",), f"{path}.until")
    trait = until.get("trait")
    if not isinstance(trait, str) or not trait:
        reader.error("the name of a trait", trait, f"{path}.until.trait")
    offset_ms = _offset(reader, found.get("offset", "0s"), f"{path}.offset")
    return WaitDate(name, END, str(trait), offset_ms, read_tz(reader, found, path, tz), None)


def _offset(reader: Reader, found: Any, path: str) -> int:
    text = found if isinstance(found, str) else ""
    offset_ms = parse_duration(text[1:] if text[:1] in ("+", "-") else text)
    if offset_ms is None or offset_ms > WAIT_MS_MAX:
        reader.error("a duration with or without a sign such as -1d or 12h, at most 366d", found, path)
        return 0
    return -offset_ms if text.startswith("-") else offset_ms
