"""Checks scores: their rules over events and traits, and the ends at which they are clamped."""

from typing import Any

from segments.check_events import MATCHING_KEYS, check_matching
from segments.check_tests import check_trait
from segments.check_times import check_tz
from segments.check_values import check_duration, check_number, check_true
from segments.conditions import UTC, EventRule, Score, TraitRule, Tz
from segments.report import Report

PROSE_KEYS = ("name", "description", "tags", "owner")
_KEYS = ("id", *PROSE_KEYS, "tz", "half_life", "rules", "min", "max")
_EVENT_KEYS = ("event", *MATCHING_KEYS, "tz", "points", "expires", "lasting")


def check_score(report: Report, id: str, body: dict[str, Any]) -> Score | None:
    """A score, or None once what is wrong has been reported."""
    before = len(report.errors)
    report.only(body, _KEYS)
    check_prose(report, body)
    tz = check_tz(report, body, UTC)
    half_life_ms = None
    if "half_life" in body:
        with report.at("half_life"):
            half_life_ms = check_duration(report, body["half_life"])
    ends = {}
    for key in ("min", "max"):
        if key in body:
            with report.at(key):
                ends[key] = check_number(report, body[key])
    low, high = ends.get("min"), ends.get("max")
    if low is not None and high is not None and low > high:
        report.say(f"expected `min` to be at most `max`, got {low} and {high}")
    with report.at("rules"):
        rules = _check_rules(report, body.get("rules"), tz, decays="half_life" in body)
    return None if len(report.errors) > before else Score(id, rules, half_life_ms, low, high, body)


def check_prose(report: Report, body: dict[str, Any]) -> None:
    """What is there for people alone: `name`, `description`, `tags`, `owner`."""
    for key in ("name", "description", "owner"):
        if key in body and not isinstance(body[key], str):
            with report.at(key):
                report.expected("text", body[key])
    tags = body.get("tags", [""])
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
        with report.at("tags"):
            report.expected("a list of text", tags)


def _check_rules(report: Report, found: Any, tz: Tz, *, decays: bool) -> tuple[EventRule | TraitRule, ...]:
    if not isinstance(found, list) or not found:
        report.expected("a list of at least one rule", found)
        return ()
    rules = []
    for at, rule in enumerate(found):
        with report.at(at):
            rules.append(_check_rule(report, rule, tz, decays=decays))
    return tuple(rule for rule in rules if rule is not None)


def _check_rule(report: Report, found: Any, enclosing: Tz, *, decays: bool) -> EventRule | TraitRule | None:
    if not isinstance(found, dict) or ("event" in found) == ("trait" in found):
        report.expected("a rule (a mapping with `points` and either `event` or `trait`)", found)
        return None
    tz = check_tz(report, found, enclosing)
    points = None
    with report.at("points"):
        if "points" in found:
            points = check_number(report, found["points"])
        else:
            report.say("expected a number, got none")
    if "trait" in found:
        condition = check_trait(report, found, tz, ("points",))
        return None if condition is None or points is None else TraitRule(condition, points)
    return _check_event_rule(report, found, tz, points, decays=decays)


def _check_event_rule(report: Report, found: dict[str, Any], tz: Tz, points: Any, *, decays: bool) -> EventRule | None:
    report.only(found, _EVENT_KEYS)
    matching = check_matching(report, found, "event", tz)
    expires_ms = None
    if "expires" in found:
        with report.at("expires"):
            expires_ms = check_duration(report, found["expires"])
    if "lasting" in found:
        with report.at("lasting"):
            check_true(report, found["lasting"])
    if "expires" in found and "lasting" in found:
        report.say("expected at most one of 'expires' and 'lasting', got both")
    if matching is None or points is None:
        return None
    return EventRule(
        matching, points, expires_ms, lasting="expires" not in found and ("lasting" in found or not decays)
    )
