"""Data of a definitions file to `Definitions`: every error of the file found at once, each with its path.

What the language page has and this version has not is refused with "not supported yet", never ignored.
"""

import re
from collections.abc import Iterable
from typing import Any

from segments.check_conditions import CONDITIONS_MAX, ConditionChecker, check_zone
from segments.check_values import check_duration
from segments.conditions import (
    All,
    Any_,
    Condition,
    Definitions,
    InSegment,
    Not,
    Segment,
)
from segments.errors import DefinitionErrors
from segments.read import read_text
from segments.report import Report

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE_KEYS = ("segments", "scores", "rules")
_SEGMENT_KEYS = ("id", "name", "description", "tags", "owner", "tz", "when", "hold")
_SEGMENT_LATER = ("per", "carry", "backfill")


def load(text: str, name: str = "segments") -> Definitions:
    """The definitions in a file's text, YAML or JSON; raises `DefinitionErrors` with every error of the file."""
    return load_data(read_text(text, name), name)


def load_data(data: Any, name: str = "segments") -> Definitions:
    """The definitions in a file's data; `rules`, which other code reads, are left aside. Raises `DefinitionErrors`."""
    report = Report(name)
    segments, ids = _check_file(report, data)
    _check_references(report, segments, ids)
    if report.errors:
        raise DefinitionErrors(report.errors)
    return Definitions(tuple(segments))


def _check_file(report: Report, data: Any) -> tuple[list[Segment], set[str]]:
    """The segments in which nothing is wrong, and the ids of all, so that references to the others are none."""
    if not isinstance(data, dict):
        report.expected("a mapping with `segments`", data)
        return [], set()
    for key in data:
        if key not in _FILE_KEYS:
            report.unknown_key(key, _FILE_KEYS)
    if data.get("scores") is not None:
        with report.at("scores"):
            report.say("'scores' is not supported yet")
    if "segments" not in data and "rules" in data:
        return [], set()
    listed = data.get("segments")
    if not isinstance(listed, list):
        with report.at("segments"):
            report.expected("a list of segments", listed)
        return [], set()
    if not listed and "rules" not in data:
        with report.at("segments"):
            report.expected("at least one segment", listed)
    checked: dict[str, Segment | None] = {}
    for at, body in enumerate(listed):
        id = body.get("id") if isinstance(body, dict) else None
        if not isinstance(id, str) or not _ID.fullmatch(id):
            with report.at("segments", at):
                if not isinstance(body, dict):
                    report.expected("a mapping with `id` and `when`", body)
                else:
                    with report.at("id"):
                        report.expected("an id of 1 to 64 of a-z 0-9 . _ -, a letter or digit first", id)
            continue
        if id in checked:
            with report.at("segments", at, "id"):
                report.say(f"expected each id once, got {id!r} again")
        with report.about(f"segment {id!r}"):
            checked[id] = _check_segment(report, id, body)
    return [segment for segment in checked.values() if segment is not None], set(checked)


def _check_segment(report: Report, id: str, body: dict[str, Any]) -> Segment | None:
    before = len(report.errors)
    for key in body:
        if key not in _SEGMENT_KEYS:
            report.unknown_key(key, _SEGMENT_KEYS, _SEGMENT_LATER)
    for key in ("name", "description", "owner"):
        if key in body and not isinstance(body[key], str):
            with report.at(key):
                report.expected("text", body[key])
    tags = body.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        with report.at("tags"):
            report.expected("a list of text", tags)
    check_zone(report, body)
    enter_ms, leave_ms = _check_hold(report, body)
    if "when" not in body:
        with report.at("when"):
            report.say("expected a condition, got none")
        return None
    checker = ConditionChecker(report)
    with report.at("when"):
        when = checker.check(body["when"], 1)
        if checker.seen > CONDITIONS_MAX:
            report.say(f"expected at most {CONDITIONS_MAX} conditions in a segment, got {checker.seen}")
    if len(report.errors) > before or when is None:
        return None
    return Segment(id, when, enter_ms, leave_ms, body)


def _check_hold(report: Report, body: dict[str, Any]) -> tuple[int, int]:
    if "hold" not in body:
        return 0, 0
    hold = body["hold"]
    held = {"enter": 0, "leave": 0}
    with report.at("hold"):
        if not isinstance(hold, dict) or not hold:
            report.expected("a mapping with `enter`, `leave` or both", hold)
            return 0, 0
        for key, duration in hold.items():
            if key not in held:
                report.unknown_key(key, held)
                continue
            with report.at(key):
                held[key] = check_duration(report, duration, zero=True) or 0
    return held["enter"], held["leave"]


def references(condition: Condition) -> set[str]:
    """Ids of the segments that a condition names."""
    if isinstance(condition, InSegment):
        return {condition.id}
    if isinstance(condition, Not):
        return references(condition.condition)
    if isinstance(condition, All | Any_):
        return set().union(*map(references, condition.conditions))
    return set()


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """The segments, each after those it names; those of a cycle are left out."""
    named = {segment.id: segment for segment in segments}
    waits = {id: references(segment.when) & named.keys() for id, segment in named.items()}
    waited_by: dict[str, list[str]] = {id: [] for id in named}
    for id, others in waits.items():
        for other in others:
            waited_by[other].append(id)
    ready = [id for id, others in waits.items() if not others]
    for id in ready:  # grows while it is walked
        for other in waited_by[id]:
            waits[other].discard(id)
            if not waits[other]:
                ready.append(other)
    return [named[id] for id in ready]


def _check_references(report: Report, segments: list[Segment], ids: set[str]) -> None:
    for segment in segments:
        for id in sorted(references(segment.when) - ids):
            with report.about(f"segment {segment.id!r}"), report.at("when"):
                report.say(f"expected the id of a segment in `segment`, got {id!r}, which is not defined")
    circle = sorted({segment.id for segment in segments} - {segment.id for segment in in_order(segments)})
    for id in circle:
        with report.about(f"segment {id!r}"), report.at("when"):
            report.say(f"expected no circle of segments, got one through {', '.join(circle)}")
