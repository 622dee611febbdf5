"""Checks what definitions say of each other: that what is named is there, may be named, and that no circle is made."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from segments.report import Place, Report, shown

_NAMED_IN_ERROR_MAX = 10


class Reference(NamedTuple):
    """The segment `by` names `id`, at that place."""

    by: str
    id: str
    place: Place


def scores_read(when: Any) -> set[str]:
    """The ids of the scores that a condition reads, as it is written and has been checked."""
    if isinstance(when, list):
        return set().union(*map(scores_read, when))
    if not isinstance(when, dict):
        return set()
    if "score" in when:
        return {when["score"]}
    return set().union(*(scores_read(when[head]) for head in ("all", "any", "none", "not", "held") if head in when))


def check_references(
    report: Report,
    named: Iterable[Reference],
    segments: Mapping[str, Any],
    scores_named: Iterable[Reference],
    scores: Mapping[str, Any],
) -> None:
    """Reports each reference to nothing, to a segment with `per`, or round in a circle; `segments`: bodies by id."""
    named = list(named)
    for reference in named:
        if reference.id not in segments:
            _say_missing(report, reference, "segment", segments)
        elif "per" in segments[reference.id]:
            sentence = f"expected a segment without `per`, got {reference.id!r}; its memberships are many a contact"
            report.say(sentence, reference.place)
    for reference in scores_named:
        if reference.id not in scores:
            _say_missing(report, reference, "score", scores)
    _check_circles(report, named)


def _say_missing(report: Report, reference: Reference, kind: str, known: Collection[str]) -> None:
    got = f"expected the id of a {kind} in `{kind}`, got {shown(reference.id)}, which is not defined"
    report.say(got + report.close_to(reference.id, known), reference.place)


def _check_circles(report: Report, named: list[Reference]) -> None:
    waits: dict[str, set[str]] = {}
    for reference in named:
        waits.setdefault(reference.by, set()).add(reference.id)
    circles = _circles(waits)
    said: dict[frozenset[str], str] = {}
    for reference in named:
        circle = circles.get(reference.by)
        if circle is not None and circle is circles.get(reference.id):
            if circle not in said:
                said[circle] = _through(circle)
            report.say(f"expected no circle of segments, got one through {said[circle]}", reference.place)


def _through(circle: frozenset[str]) -> str:
    more = len(circle) - _NAMED_IN_ERROR_MAX
    return ", ".join(sorted(circle)[:_NAMED_IN_ERROR_MAX]) + (f" and {more} more" if more > 0 else "")


def _circles(waits: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """The circle that each segment is part of, for those that are part of one.

    Segments that reach each other: walked twice, the second time against the arrows in order of leaving (Kosaraju).
    """
    back: dict[str, set[str]] = {}
    for id, others in waits.items():
        for other in others:
            back.setdefault(other, set()).add(id)
    left = [id for start in _walk_all(waits, waits) for id in start]
    seen: dict[str, frozenset[str]] = {}
    for group in _walk_all(back, reversed(left)):
        if len(group) > 1 or group[0] in waits.get(group[0], ()):
            circle = frozenset(group)
            seen |= dict.fromkeys(group, circle)
    return seen


def _walk_all(arrows: Mapping[str, set[str]], starts: Iterable[str]) -> Iterable[list[str]]:
    """Depth first from each of `starts` not met before: what is met from there, in order of leaving."""
    met: set[str] = set()
    for start in starts:
        if start in met:
            continue
        met.add(start)
        left: list[str] = []
        trail = [(start, iter(sorted(arrows.get(start, ()))))]
        while trail:
            id, others = trail[-1]
            unmet = next((other for other in others if other not in met), None)
            if unmet is None:
                left.append(id)
                trail.pop()
            else:
                met.add(unmet)
                trail.append((unmet, iter(sorted(arrows.get(unmet, ())))))
        yield left
