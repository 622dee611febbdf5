"""Checks sequences: their steps one by one, and what a step may say at its place."""

from typing import Any

from segments.check_events import MATCHING_KEYS, check_matching
from segments.check_times import check_tz
from segments.check_values import check_duration, check_path
from segments.conditions import SequenceIs, Step, Tz
from segments.report import Report

_KEYS = ("sequence", "by", "completed", "started", "tz")


def check_sequence(report: Report, found: dict[str, Any], enclosing: Tz) -> SequenceIs | None:
    """A sequence condition."""
    before = len(report.errors)
    report.only(found, _KEYS)
    tz = check_tz(report, found, enclosing)
    with report.at("sequence"):
        steps = _check_steps(report, found["sequence"], tz)
    by = None
    if "by" in found:
        with report.at("by"):
            by = check_path(report, found["by"])
    completed_ms = _check_window(report, found, "completed")
    started_ms = _check_window(report, found, "started")
    return None if len(report.errors) > before else SequenceIs(steps, by, completed_ms, started_ms)


def _check_window(report: Report, found: dict[str, Any], key: str) -> int | None:
    if key not in found:
        return None
    window = found[key]
    with report.at(key):
        if not isinstance(window, dict) or "within" not in window:
            report.expected("{within: …}", window)
            return None
        report.only(window, ("within",))
        with report.at("within"):
            return check_duration(report, window["within"])


def _check_steps(report: Report, found: Any, tz: Tz) -> tuple[Step, ...]:
    if not isinstance(found, list) or not found:
        report.expected("a list of at least one step", found)
        return ()
    # all that come after the last event are last steps
    last_event = max((at for at, step in enumerate(found) if isinstance(step, dict) and "event" in step), default=-1)
    steps = []
    for at, step in enumerate(found):
        with report.at(at):
            steps.append(_check_step(report, step, tz, first=at == 0, last=at > last_event))
    return tuple(step for step in steps if step is not None)


def _check_step(report: Report, found: Any, tz: Tz, *, first: bool, last: bool) -> Step | None:
    if not isinstance(found, dict) or not found:
        report.expected("a step (a mapping with `event` or `absent`)", found)
        return None
    known = ("event", "absent", "within", *MATCHING_KEYS)
    report.only(found, known)
    kinds = [key for key in ("event", "absent") if key in found]
    if not kinds and any(key not in known for key in found):
        return None  # what was meant as one of the two has been said to be none
    if len(kinds) != 1:
        report.say(f"expected a step with `event` or `absent`, got {'both' if kinds else 'neither'}")
        return None
    kind = kinds[0]
    if first and kind == "absent":
        report.say("expected an event as the first step, got 'absent'; there is nothing before it to count from")
    if first and "within" in found:
        with report.at("within"):
            report.say("expected no `within` on the first step, got one; it counts from the step before")
    if kind == "absent" and last and "within" not in found:
        with report.at("within"):
            report.say("expected a duration, got none; without it nobody knows when the sequence is complete")
    matching = check_matching(report, found, kind, tz)
    within_ms = None
    if "within" in found:
        with report.at("within"):
            within_ms = check_duration(report, found["within"])
    return None if matching is None else Step(matching, within_ms, kind == "absent")
