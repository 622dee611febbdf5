"""What is behind the answer of each leaf of a condition; of events and sequences, other modules say it.

Evidence: of a trait `value`, `written_at`, with a date operator `instant`, with `unchanged_for` `unchanged_since`, and with a
trait on the right side `against`; of `known` `since`; of `subscribed` and `listed` `said` (`at`, `on`), null where nothing was
heard; of a sample `fraction`, in percent; of a segment `since` and `seq`; of a score `value` and `rules`, each with `says`,
`points` (its share as of now) and `holds`, or `events` and `failed`.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from sys import float_info
from typing import Any

from schemas.instants import format_instant
from segments.canonical import score_key
from segments.conditions import (
    Condition,
    EventIs,
    EventRule,
    InSegment,
    Known,
    Listed,
    Sample,
    Score,
    ScoreIs,
    SequenceIs,
    Subscribed,
    TraitIs,
    TraitRef,
)
from segments.consent_leaves import EVERY_GROUP, drawn
from segments.contact import find_trait, trait_ways, zone_of
from segments.dates import DATE_OPERATORS
from segments.decay import HALF_LIVES
from segments.explain_events import explain_event
from segments.explain_nodes import Evidence
from segments.explain_scene import Found, Scene, zone_notes
from segments.explain_sequences import explain_sequence
from segments.explain_values import array_note, unsuitable
from segments.explain_words import close_to, flow, iso
from segments.rules import TraitPoints
from segments.values import decimal, eq_key, instant

Explained = tuple[Evidence, list[str]]


def explain_leaf(scene: Scene, condition: Condition) -> Explained:
    """Evidence and notes of a leaf or a reference to a segment; none of what says everything itself."""
    explain = _LEAVES.get(type(condition))
    return explain(scene, condition) if explain is not None else ({}, [])


# ---- traits ---------------------------------------------------------------------------------------------------------


def _trait(scene: Scene, condition: TraitIs) -> Explained:
    test, path = condition.test, condition.path
    evidence = _trait_evidence(scene, path)
    value = evidence["value"]
    at_ms = instant(value, zone_of(test.tz, scene.state)) if test.operator in DATE_OPERATORS else None
    if at_ms is not None:
        evidence["instant"] = iso(at_ms)
    if test.operator == "unchanged_for" and value is not None:
        evidence["unchanged_since"] = _instant_or_none(_unchanged_since_ms(scene, path))
    if isinstance(test.argument, TraitRef):
        evidence["against"] = {"trait": test.argument.path, **_trait_evidence(scene, test.argument.path)}
    notes = array_note(_traits(scene), path) if value is None else []
    if value is None and not notes and evidence["written_at"] is None:
        near = close_to(path, scene.state.traits, 1)
        notes += [f"the contact never had a trait {path!r}{near}"] if near else []
    why = unsuitable(test, value, scene.state)
    return evidence, [*notes, *([why] if why is not None else []), *zone_notes(scene.state, test.tz.contact)]


def _traits(scene: Scene) -> Mapping[str, Any]:
    return {key: entry[0] for key, entry in scene.state.traits.items()}


def _trait_evidence(scene: Scene, path: str) -> Evidence:
    """The value at a path and when the trait that it is in was written, cleared perhaps; null where it never was."""
    traits, ways = scene.state.traits, trait_ways(path)
    value = find_trait(traits, ways)
    written = [entry for key, _ in ways if (entry := traits.get(key)) is not None]
    for way in ways if value is not None else ():
        if find_trait(traits, (way,)) is not None:
            written = [traits[way[0]]]
            break
    return {"value": value, "written_at": format_instant(written[0][1]) if written else None}


def _unchanged_since_ms(scene: Scene, path: str) -> int | None:
    """When the latest run of one value began."""
    ways = trait_ways(path)
    traits: dict[str, list[Any]] = {}
    current: str | None = None
    since_ms: int | None = None
    for one in scene.past:
        for key, value in (one.event.traits or {}).items():
            traits[key] = [None if value == "" else value, one.at_ms]
        value = find_trait(traits, ways)
        found = None if value is None else eq_key(value)
        if found != current:
            current, since_ms = found, one.at_ms
    return since_ms


def _instant_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_instant(at_ms)


# ---- scores ---------------------------------------------------------------------------------------------------------


def _score(scene: Scene, condition: ScoreIs) -> Explained:
    score = scene.index.scores_by_id[condition.id]
    leaf = scene.index.scores[score_key(score)]
    kept = scene.state.kept.get(leaf.key)
    rules, notes = [], []
    bodies = score.body.get("rules", [])
    traits = {rule.name: rule for rule in leaf.trait_rules}
    for number, rule in enumerate(score.rules):
        says = flow(bodies[number]) if number < len(bodies) else ""
        if isinstance(rule, EventRule):
            found = Found(scene, rule.matching)
            points, count = _points(scene, score, rule, found)
            rules.append({"says": says, "points": points, "events": count, "failed": found.failed()})
            notes += found.notes()
        else:
            holds = _trait_rule_holds(scene, traits[str(number)], kept)
            notes += _trait(scene, rule.condition)[1]
            rules.append({"says": says, "points": float(rule.points) if holds else 0.0, "holds": holds})
    value = leaf.value(kept, scene.state, scene.now_ms)
    return {"value": _rounded(value), "rules": rules}, list(dict.fromkeys(notes))


def _trait_rule_holds(scene: Scene, rule: TraitPoints, kept: Any) -> bool:
    writes = kept.get("writes", {}) if kept else {}
    holds: bool = rule.leaf.read(writes.get(rule.name), scene.state, scene.now_ms)[0]
    return holds


def _points(scene: Scene, score: Score, rule: EventRule, found: Found) -> tuple[float, int]:
    """What an event rule gives as of now, and by how many events."""
    now_ms, full, half_life_ms = scene.now_ms, float(rule.points), score.half_life_ms
    ages_ms = [now_ms - one.at_ms for one in found.events]
    if rule.expires_ms is not None:
        expires_ms = rule.expires_ms
        ages_ms = [age_ms for age_ms in ages_ms if age_ms < expires_ms]
    elif not rule.lasting and half_life_ms is not None:
        ages_ms = [age_ms for age_ms in ages_ms if age_ms < HALF_LIVES * half_life_ms]
        points = sum(Fraction(full * 2.0 ** (-age_ms / half_life_ms)) for age_ms in ages_ms)
        return _rounded(points), len(ages_ms)
    return _rounded(Fraction(decimal(rule.points)) * len(ages_ms)), len(ages_ms)


def _rounded(points: Fraction | int) -> float:
    """To nine digits, as good as a score is; the largest double where none holds it."""
    try:
        return float(f"{float(points):.9g}")
    except OverflowError:
        return float_info.max if points > 0 else -float_info.max


# ---- the others -----------------------------------------------------------------------------------------------------


def _known(scene: Scene, condition: Known) -> Explained:
    return {"since": format_instant(scene.state.first_ms)}, zone_notes(scene.state, condition.test.tz.contact)


def _subscribed(scene: Scene, condition: Subscribed) -> Explained:
    latest = None
    for group, entry in scene.state.consent.items():
        if group in (condition.group, EVERY_GROUP) and (latest is None or entry[0] >= latest[0]):
            latest = entry
    return {"said": _said(latest)}, []


def _listed(scene: Scene, condition: Listed) -> Explained:
    return {"said": _said(scene.state.lists.get(condition.list))}, []


def _said(entry: list[Any] | None) -> Evidence | None:
    return None if entry is None else {"at": format_instant(entry[0]), "on": entry[1]}


def _sample(scene: Scene, condition: Sample) -> Explained:
    return {"fraction": _rounded(Fraction(100 * drawn(condition.salt, scene.state.contact), 2**64))}, []


def _segment(scene: Scene, condition: InSegment) -> Explained:
    member = scene.state.membership(condition.id)
    return {"since": None if member is None else format_instant(member[1]), "seq": member[0] if member else 0}, []


_LEAVES: Mapping[type, Callable[[Scene, Any], Explained]] = {
    TraitIs: _trait,
    EventIs: explain_event,
    SequenceIs: explain_sequence,
    ScoreIs: _score,
    Known: _known,
    Subscribed: _subscribed,
    Listed: _listed,
    Sample: _sample,
    InSegment: _segment,
}
