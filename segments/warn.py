"""Warns of what is legal in definitions and surely not meant.

What can never be true, or always is (`warn_conditions`); windows longer than events are kept; and, given a sample of
events, what the definitions ask for and none of them has (`warn_sample`), or no event ever had (`warn_fields`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from schemas.events import Event
from segments.conditions import (
    Ago,
    All,
    Any_,
    Condition,
    Definitions,
    EventIs,
    EventRule,
    Held,
    Not,
    SequenceIs,
    Span,
    Within,
)
from segments.nodes import in_order
from segments.report import Report, TooManyErrors
from segments.warn_conditions import ConditionWarner, warn_of_rules
from segments.warn_fields import KnownFields, warn_of_fields
from segments.warn_sample import SampleWarner

DAY_MS = 86_400_000
# as `topics create` has it
RETENTION_MS = 400 * DAY_MS
# the shortest that each may be: nobody is warned of what may be short enough
_UNIT_DAYS = {"day": 1, "week": 7, "month": 28, "year": 365}


def warnings(
    definitions: Definitions,
    *,
    retention_ms: int = RETENTION_MS,
    events: Iterable[Event] | None = None,
    fields: KnownFields | None = None,
) -> list[str]:
    """One line each: `segment 'x': … - at $.when…`; `retention_ms`: how long the topics keep events.

    With `events`, a sample, also of names, properties and traits that none of them has, and of events that lack the
    property of a `per` or `by`. They are read once. With `fields`, also of traits and properties that no event ever had.
    """
    report = Report("definitions")
    try:
        _warn(report, definitions, retention_ms, events, fields)
    except TooManyErrors:
        pass  # the last line says so
    # segments are looked at after those they name; their author has them in another order
    subjects = [f"score {score.id!r}" for score in definitions.scores]
    subjects += [f"segment {segment.id!r}" for segment in definitions.segments]
    places = {subject: at for at, subject in enumerate(subjects)}
    return sorted(report.errors, key=lambda line: places.get(line.partition(": ")[0], len(places)))


def _warn(
    report: Report,
    definitions: Definitions,
    retention_ms: int,
    events: Iterable[Event] | None,
    fields: KnownFields | None,
) -> None:
    sample = None if events is None and fields is None else SampleWarner(report)
    conditions = ConditionWarner(report, {score.id: score for score in definitions.scores})
    for score in definitions.scores:
        with report.about(f"score {score.id!r}"):
            warn_of_rules(report, score)
            for at, rule in enumerate(score.rules):
                with report.at("rules", at):
                    if isinstance(rule, EventRule):
                        _warn_window(report, "expires", rule.expires_ms, retention_ms)
                    if sample is not None:
                        sample.ask_of_rule(rule)
    for segment in in_order(definitions.segments):
        with report.about(f"segment {segment.id!r}"):
            with report.at("when"):
                verdict = conditions.verdict(segment.when, segment.body["when"])
                conditions.verdicts[segment.id] = verdict
                if verdict is not None:
                    report.say("every known contact is in it" if verdict else "nobody can ever be in it")
                for leaf in leaves_at(report, segment.when, segment.body["when"]):
                    _warn_windows(report, leaf, retention_ms)
                    if sample is not None:
                        sample.ask_of_leaf(leaf)
            if sample is not None:
                sample.ask_of_segment(segment)
    if sample is not None and events is not None:
        sample.look_at(events)
        sample.say()
    if sample is not None and fields is not None:
        warn_of_fields(report, sample.traits, sample.properties(), fields)


def leaves_at(report: Report, condition: Condition, body: dict[str, Any]) -> Iterator[Condition]:
    """The leaves of a condition whose `body` is as it was written; meanwhile the report is at each one's place."""
    if "none" in body and isinstance(condition, Not):
        condition = condition.condition
    if isinstance(condition, All | Any_):
        head = next(head for head in ("all", "any", "none") if head in body)
        for at, part in enumerate(condition.conditions):
            with report.at(head, at):
                yield from leaves_at(report, part, body[head][at])
    elif isinstance(condition, Not | Held):
        below = "not" if isinstance(condition, Not) else "held"
        with report.at(below):
            yield from leaves_at(report, condition.condition, body[below])
    else:
        yield condition


def _warn_windows(report: Report, leaf: Condition, retention_ms: int) -> None:
    if isinstance(leaf, EventIs):
        asked, measure = leaf.range, leaf.measure
        if isinstance(asked, Within):
            _warn_window(report, "within", asked.ms, retention_ms)
        elif isinstance(asked, Ago):
            _warn_window(report, "ago", asked.far_ms or asked.near_ms, retention_ms)
        elif isinstance(asked, Span):
            _warn_window(report, "calendar", -asked.first * _UNIT_DAYS[asked.unit] * DAY_MS, retention_ms)
        for test in measure.tests:
            if test.operator in ("within_last", "older_than"):
                _warn_window(report, measure.kind, test.argument, retention_ms)
        if measure.kind == "regularly":
            _warn_window(report, "regularly", measure.every_ms * measure.periods, retention_ms)
    elif isinstance(leaf, SequenceIs):
        _warn_window(report, "completed", leaf.completed_ms, retention_ms)
        _warn_window(report, "started", leaf.started_ms, retention_ms)
        for at, step in enumerate(leaf.steps):
            with report.at("sequence", at):
                _warn_window(report, "within", step.within_ms, retention_ms)


def _warn_window(report: Report, key: str, window_ms: int | None, retention_ms: int) -> None:
    if window_ms is not None and window_ms > retention_ms:
        with report.at(key):
            report.say(
                f"looks back {_days(window_ms)}, but the topics keep events for {_days(retention_ms)}: "
                "a segment that is new or edited won't know the older ones"
            )


def _days(duration_ms: int) -> str:
    return f"{duration_ms / DAY_MS:.6g} d"
