"""Checks which events a condition, a step or a rule is about: names, `where`, the local clock, and the time range."""

from typing import Any

from segments.calendar import DAY_MS
from segments.check_tests import Scope, check_where
from segments.check_times import check_instant, check_local_time, check_span, check_weekdays
from segments.check_values import check_duration, check_text
from segments.conditions import Ago, Fixed, Local, Matching, Names, Range, Tz, Within
from segments.report import Report, shown

NAMES_MAX = 1_000
# beside the key with the names
MATCHING_KEYS = ("where", "local_time", "weekdays")
RANGE_KEYS = ("within", "ago", "since", "until", "calendar")
# no zone was ever further from UTC
_OFFSET_MS_MAX = 16 * 3_600_000


def check_matching(report: Report, found: dict[str, Any], key: str, tz: Tz) -> Matching | None:
    """Which events are meant by the names under `key` (`event` or `absent`) and what stands beside it."""
    before = len(report.errors)
    with report.at(key):
        names = _check_names(report, found[key])
    where = local_time = weekdays = None
    if "where" in found:
        with report.at("where"):
            where = check_where(report, found["where"], Scope(tz))
    if "local_time" in found:
        with report.at("local_time"):
            local_time = check_local_time(report, found["local_time"])
    if "weekdays" in found:
        with report.at("weekdays"):
            weekdays = check_weekdays(report, found["weekdays"])
    if names is None or len(report.errors) > before:
        return None
    return Matching(names, where, local_time, weekdays, tz)


def _check_names(report: Report, found: Any) -> Names | None:
    if found == "*":
        return Names(except_=((), ()))
    if isinstance(found, str):
        text = check_text(report, found)
        return None if text is None else Names((text,))
    if isinstance(found, list) and found:
        return _check_name_list(report, found)
    if isinstance(found, dict) and list(found) == ["prefix"]:
        with report.at("prefix"):
            prefix = check_text(report, found["prefix"])
        return None if prefix is None else Names(prefix=prefix)
    if isinstance(found, dict) and list(found) == ["any_except"]:
        with report.at("any_except"):
            return _check_exceptions(report, found["any_except"])
    report.expected('a name, a list of names, "*", {prefix: …} or {any_except: […]}', found)
    return None


def _check_name_list(report: Report, found: list[Any]) -> Names | None:
    names = set()
    before = len(report.errors)
    if len(found) > NAMES_MAX:
        report.say(f"expected at most {NAMES_MAX} names, got {len(found)}")
        return None
    for at, item in enumerate(found):
        with report.at(at):
            if item == "*":
                report.say("expected a name, got '*'; for any event write `event: \"*\"`")
            else:
                names.add(check_text(report, item))
    return None if len(report.errors) > before else Names(tuple(sorted(filter(None, names))))


def _check_exceptions(report: Report, found: Any) -> Names | None:
    if not isinstance(found, list) or not found:
        report.expected("a list of names or {prefix: …}", found)
        return None
    if len(found) > NAMES_MAX:
        report.say(f"expected at most {NAMES_MAX} names, got {len(found)}")
        return None
    before = len(report.errors)
    names, prefixes = set(), set()
    for at, item in enumerate(found):
        with report.at(at):
            if isinstance(item, dict) and list(item) == ["prefix"]:
                with report.at("prefix"):
                    prefixes.add(check_text(report, item["prefix"]))
            else:
                names.add(check_text(report, item))
    if len(report.errors) > before:
        return None
    return Names(except_=(tuple(sorted(filter(None, names))), tuple(sorted(filter(None, prefixes)))))


def check_range(report: Report, found: dict[str, Any], tz: Tz) -> Range | None:
    """The time range, if there is one; None as well once what is wrong has been reported."""
    kinds = dict.fromkeys("since and until" if key in ("since", "until") else key for key in found if key in RANGE_KEYS)
    if len(kinds) > 1:
        keys = [repr(key) for key in found if key in RANGE_KEYS]
        report.say(f"expected at most one time range, got {' and '.join(keys)}")
        return None
    if "within" in found:
        with report.at("within"):
            within_ms = check_duration(report, found["within"])
        return None if within_ms is None else Within(within_ms)
    if "ago" in found:
        with report.at("ago"):
            return _check_ago(report, found["ago"])
    if "calendar" in found:
        with report.at("calendar"):
            return check_span(report, found["calendar"])
    return _check_fixed(report, found, tz) if kinds else None


def _check_ago(report: Report, found: Any) -> Range | None:
    if not isinstance(found, list):
        near_ms = check_duration(report, found)
        return None if near_ms is None else Ago(near_ms)
    if len(found) != 2:
        report.say(f"expected a duration or two of them, the longer one first, got {len(found)}")
        return None
    with report.at(0):
        far_ms = check_duration(report, found[0])
    with report.at(1):
        near_ms = check_duration(report, found[1], zero=True)
    if far_ms is None or near_ms is None:
        return None
    if far_ms <= near_ms:
        report.say(f"expected the longer duration first, got [{shown(found[0])}, {shown(found[1])}]")
        return None
    # (now - D, now - 0] is what `within` says
    return Ago(near_ms, far_ms) if near_ms else Within(far_ms)


def _check_fixed(report: Report, found: dict[str, Any], tz: Tz) -> Fixed | None:
    ends: dict[str, int | Local | None] = {"since": None, "until": None}
    before = len(report.errors)
    for key in ends:
        if key in found:
            with report.at(key):
                ends[key] = check_instant(report, found[key], tz)
    since, until = ends["since"], ends["until"]
    if len(report.errors) > before:
        return None
    if since is not None and until is not None and _never_before(since, until):
        report.say(f"expected `since` before `until`, got {shown(found['since'])} and {shown(found['until'])}")
        return None
    return Fixed(since, until)


def _never_before(since: int | Local, until: int | Local) -> bool:
    """Whether `since` is at or after `until`, whatever the contact's zone."""
    if isinstance(since, Local) == isinstance(until, Local):
        return _utc_ms(since) >= _utc_ms(until)
    return _utc_ms(since) - _utc_ms(until) >= _OFFSET_MS_MAX


def _utc_ms(instant: int | Local) -> int:
    return instant.day * DAY_MS + instant.ms if isinstance(instant, Local) else instant
