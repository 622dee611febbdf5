"""Definitions as the oracle has them: in order of evaluation, compared as data, refused where it would misread them.

They are not checked any further: what `tidegate check` refuses never gets here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.oracle_conditions import conditions_in, head_of
from tests.oracle_events import MEASURES
from tests.oracle_input import settled
from tests.oracle_operators import CALENDAR, DATES, OPERATORS
from tests.oracle_values import DURATION, duration

RANGES = ("within", "ago", "since", "until", "calendar")
SPOKEN: dict[str, Iterable[str]] = {
    "trait": ("trait", "tz", "unchanged_for", "ignore_case", *OPERATORS),
    "event": ("event", "where", "local_time", "weekdays", "tz", "by", *RANGES, *MEASURES),
    "sequence": ("sequence", "by", "completed", "started", "tz"),
    "score": ("score", "gt", "gte", "lt", "lte", "between"),
    "subscribed": ("subscribed", "default"),
    "held": ("held", "for"),
}
"""What may stand beside a head; beside all others nothing does."""
INSIDE: dict[str, Iterable[str]] = {
    "known": DATES,
    "first_at": DATES,
    "last_at": DATES,
    "regularly": ("every", "periods", "at_least", "times"),
    "sample": ("percent", "salt"),
    "completed": ("within",),
    "started": ("within",),
}
"""What may stand in the mapping under a key."""
STEP = ("event", "absent", "where", "local_time", "weekdays", "within")
SEGMENT = ("id", "name", "description", "tags", "owner", "tz", "when", "hold", "per", "carry", "backfill")
SCORE = ("id", "name", "description", "tags", "owner", "tz", "half_life", "rules", "min", "max")
RULE = ("event", "where", "local_time", "weekdays", "tz", "points", "expires", "lasting")


class Unsupported(ValueError):
    """A definition with a key that the oracle would read past."""


@dataclass
class Plan:
    """The definitions in force: segments, each after those that it names, and scores by id."""

    segments: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    def trees(self) -> list[Any]:
        return [*self.segments.values(), *self.scores.values()]

    def asks_anew(self, other: "Plan", name: str) -> bool:
        """Whether the segment's question is another than in the other plan: its `when`, `tz` or a score it reads."""
        before, after = other.segments[name], self.segments[name]
        scores = [one["score"] for one in conditions_in(after["when"]) if "score" in one]
        return any(before.get(key) != after.get(key) for key in ("when", "per", "tz")) or any(
            other.scores.get(score) != self.scores[score] for score in scores
        )


def plan(definitions: dict[str, Any]) -> Plan:
    """The definitions, made ready; raises `Unsupported`."""
    document = settled(definitions)
    scores = {score["id"]: score for score in document.get("scores") or []}
    segments = {segment["id"]: segment for segment in document.get("segments") or []}
    for score in scores.values():
        check_score(score)
    for segment in segments.values():
        check_segment(segment)
    return Plan(in_order(segments), scores)


def in_order(segments: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The segments, each after those that it names."""
    ordered: dict[str, dict[str, Any]] = {}

    def put(name: str) -> None:
        for one in conditions_in(segments[name]["when"]):
            if "segment" in one and one["segment"] not in ordered:
                put(one["segment"])
        ordered[name] = segments[name]

    for name in segments:
        put(name)
    return ordered


def check_segment(segment: dict[str, Any]) -> None:
    expect_keys(segment, SEGMENT)
    for condition in conditions_in(segment["when"]):
        expect_keys(condition, SPOKEN.get(head_of(condition), (head_of(condition),)))
        for key, allowed in INSIDE.items():
            expect_keys(condition.get(key, {}), allowed)
        for step in condition.get("sequence", []):
            expect_keys(step, STEP)


def check_score(score: dict[str, Any]) -> None:
    expect_keys(score, SCORE)
    for rule in score["rules"]:
        expect_keys(rule, (*SPOKEN["trait"], "points") if "trait" in rule else RULE)


def expect_keys(mapping: dict[str, Any], keys: Iterable[str]) -> None:
    if others := [key for key in mapping if key not in keys]:
        raise Unsupported(f"expected one of {', '.join(sorted(keys))}, got {others[0]!r}")


# ---- what stands anywhere in a tree ----


def scalars_in(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (dict, list)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from scalars_in(part)
    else:
        yield tree


def mappings_in(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []:
        yield from mappings_in(part)


def durations_in(tree: Any) -> set[int]:
    """Every duration that stands anywhere in the tree, in ms."""
    texts = [scalar for scalar in scalars_in(tree) if isinstance(scalar, str)]
    return {duration(text) for text in texts if text and DURATION.fullmatch(text)}


def zones_named(tree: Any) -> set[str]:
    return {mapping["tz"] for mapping in mappings_in(tree) if isinstance(mapping.get("tz"), str)}


def has_calendar_words(tree: Any) -> bool:
    return any(key in mapping for mapping in mappings_in(tree) for key in CALENDAR)
