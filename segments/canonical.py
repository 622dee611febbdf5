"""One spelling for conditions that mean the same, and the key that a leaf is known by in every contact's state.

A leaf is what is left of a condition without negation and without its place in a tree: `count: 0` and `not: {count:
{gte: 1}}` are the same leaf, negated once. Every leaf but those of `known` and `sample` is false for a contact of whom
nothing is known, so that state holds only what has happened. Keys are hashes of the canonical form, so segments that
share a condition share its state, and a segment that is edited keeps the state of what it still asks.
"""

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import orjson

from segments.conditions import (
    UTC,
    Ago,
    All,
    Any_,
    Condition,
    EventIs,
    EventRule,
    Fixed,
    Held,
    Known,
    Leaf,
    Listed,
    Local,
    Matching,
    Measure,
    Names,
    Not,
    Range,
    Sample,
    Score,
    ScoreIs,
    SequenceIs,
    Span,
    Subscribed,
    Test,
    TraitIs,
    TraitRef,
    TraitRule,
    Tz,
    Where,
    Within,
)
from segments.predicates import number_tests
from segments.values import decimal, plain

# part of every key: a change of what a canonical form means, or of what a leaf keeps, must change it
CANONICAL_VERSION = 1

# operators that are another's exact negation: true of what is absent
NEGATIONS = {"ne": "eq", "not_in": "in", "no_item": "any_item"}
# operators whose answer depends on a zone: all that read dates
_ZONED = frozenset(
    (
        *("before", "after", "on_or_before", "on_or_after", "on_day", "calendar", "anniversary", "age"),
        *("within_last", "older_than", "within_next", "further_than", "any_item", "no_item"),
    )
)
_COUNTED = ("count", "sum", "distinct")

Scores = Mapping[str, Score]


def key_of(form: Any) -> int:
    """The key of a canonical form: 63 bits of BLAKE2b; 10,000 leaves collide with a chance of 5 in 10^12."""
    named = orjson.dumps([CANONICAL_VERSION, form])
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big") >> 1


# ---- normal conditions ----------------------------------------------------------------------------------------------


def normal(condition: Condition, scores: Scores) -> Condition:
    """The condition with negations taken out of its leaves, so that each leaf is false for an empty contact."""
    if isinstance(condition, All):
        return All(tuple(normal(part, scores) for part in condition.conditions))
    if isinstance(condition, Any_):
        return Any_(tuple(normal(part, scores) for part in condition.conditions))
    if isinstance(condition, Not):
        inner = normal(condition.condition, scores)
        return inner.condition if isinstance(inner, Not) else Not(inner)
    if isinstance(condition, Held):
        return Held(normal(condition.condition, scores), condition.for_ms)
    if isinstance(condition, TraitIs):
        return _normal_trait(condition)
    if isinstance(condition, EventIs | ScoreIs | Subscribed) and holds_of_nothing(condition, scores):
        return Not(condition)
    return condition


def _normal_trait(condition: TraitIs) -> Condition:
    test = condition.test
    if test.operator in NEGATIONS:
        return Not(TraitIs(condition.path, Test(NEGATIONS[test.operator], test.argument, test.ignore_case, test.tz)))
    if test.operator == "exists" and test.argument is False:
        return Not(TraitIs(condition.path, Test("exists", True)))
    return condition


def holds_of_nothing(condition: EventIs | ScoreIs | Subscribed, scores: Scores | None = None) -> bool:
    """Whether the condition is true of a contact of whom nothing is known.

    Such a leaf stands for its complement, inside a `Not`. Of traits, `_normal_trait` turns round what holds of nothing.
    """
    if isinstance(condition, Subscribed):
        return condition.default
    if isinstance(condition, ScoreIs):
        assert scores is not None
        return number_tests((condition.test,))(score_of_nothing(scores[condition.id]))
    measure = condition.measure
    return measure.kind in _COUNTED and condition.by is None and number_tests(measure.tests)(0)


def score_of_nothing(score: Score) -> Fraction:
    """The value of a score where there is no event and no trait: what its trait rules give that hold of what is absent."""
    total = Fraction(0)
    for rule in score.rules:
        if isinstance(rule, TraitRule) and isinstance(_normal_trait(rule.condition), Not):
            total += Fraction(decimal(rule.points))
    if score.minimum is not None:
        total = max(total, Fraction(decimal(score.minimum)))
    if score.maximum is not None:
        total = min(total, Fraction(decimal(score.maximum)))
    return total


def count_flips(tests: tuple[Test, ...]) -> tuple[int, ...]:
    """The counts, ascending, at which the tests' answer differs from that of the count before; it is false below them.

    `{gte: 3}` flips at 3; `{between: [2, 4]}` at 2 and 5. Tests that hold of zero are taken as their complement.
    """
    passes = number_tests(tests)
    candidates: set[int] = set()
    for test in tests:
        for threshold in test.argument if isinstance(test.argument, tuple) else (test.argument,):
            candidates.update(max(0, math.floor(threshold) + step) for step in (0, 1))
    flips, last = [], passes(0)
    for count in sorted(candidates | {0}):
        if passes(count) != last:
            flips.append(count)
            last = passes(count)
    return tuple(flips)


# ---- keys -----------------------------------------------------------------------------------------------------------


def leaf_key(leaf: Leaf, scores: Scores | None = None) -> int:
    """The key of a normal leaf's answer, and of its state but for scores; `scores` are needed for those."""
    return key_of(leaf_form(leaf, scores))


def score_key(score: Score) -> int:
    """The key of a score's state, which all tests of it share."""
    return key_of(score_form(score))


def score_test_key(score: Score, test: Test) -> int:
    """The key of the answer of one test of a score."""
    return key_of(["score test", score_form(score), _test_form(test)])


def membership_leaf_key(segment: str) -> int:
    """The key under which the answer of a segment stands for those that name it."""
    return key_of(["segment", segment])


def hold_key(segment: str) -> int:
    """The key under which a segment's answer, and the end of its hold among the due instants, stand."""
    return key_of(["hold", segment])


def keyed_key(segment: str) -> int:
    """The key under which the first due instant of all memberships of a segment with `per` stands."""
    return key_of(["keyed", segment])


def held_key(segment: str, held: Held, scores: Scores) -> int:
    """The key of a `held` condition of one segment: others measure theirs from when they were defined."""
    return key_of(["held", segment, condition_form(held, scores)])


# ---- canonical forms, as JSON data ----------------------------------------------------------------------------------


def condition_form(condition: Condition, scores: Scores) -> Any:
    """The canonical form of a normal condition."""
    if isinstance(condition, All | Any_):
        kind = "all" if isinstance(condition, All) else "any"
        return [kind, _sorted([condition_form(part, scores) for part in condition.conditions])]
    if isinstance(condition, Not):
        return ["not", condition_form(condition.condition, scores)]
    if isinstance(condition, Held):
        return ["held", condition_form(condition.condition, scores), condition.for_ms]
    if isinstance(condition, Leaf):
        return leaf_form(condition, scores)
    return ["segment", condition.id] if hasattr(condition, "id") else ["everyone"]


def leaf_form(leaf: Leaf, scores: Scores | None = None) -> Any:
    """The canonical form of a normal leaf."""
    if isinstance(leaf, TraitIs):
        return ["trait", leaf.path, _test_form(leaf.test)]
    if isinstance(leaf, EventIs):
        return _event_form(leaf)
    if isinstance(leaf, SequenceIs):
        steps = [[_matching_form(step.matching), step.within_ms, step.absent] for step in leaf.steps]
        return ["sequence", steps, leaf.by, leaf.completed_ms, leaf.started_ms]
    if isinstance(leaf, ScoreIs):
        assert scores is not None
        return ["score test", score_form(scores[leaf.id]), _test_form(leaf.test)]
    if isinstance(leaf, Known):
        return ["known", _test_form(leaf.test)]
    if isinstance(leaf, Subscribed):
        return ["subscribed", leaf.group, leaf.default]
    if isinstance(leaf, Listed):
        return ["listed", leaf.list]
    assert isinstance(leaf, Sample)
    return ["sample", plain(leaf.percent), leaf.salt]


def score_form(score: Score) -> Any:
    """The canonical form of a score; its id is no part of it."""
    rules = []
    for rule in score.rules:
        points = plain(rule.points)
        if isinstance(rule, EventRule):
            rules.append(["event", _matching_form(rule.matching), points, rule.expires_ms, rule.lasting])
        else:
            rules.append(["trait", rule.condition.path, _test_form(rule.condition.test), points])
    ends = [None if end is None else plain(end) for end in (score.minimum, score.maximum)]
    return ["score", rules, score.half_life_ms, ends]


def _event_form(leaf: EventIs) -> Any:
    """What only some conditions have comes last, and only there: so the keys of all others stay what they were."""
    matching, asked = leaf.matching, leaf.range
    named, where = _names_form(matching.names), None if matching.where is None else _where_form(matching.where)
    form = ["event", named, where, _range_form(asked), _measure_form(leaf.measure)]
    local = matching.local_time is not None or matching.weekdays is not None
    if local or isinstance(asked, Span) or (isinstance(asked, Fixed) and matching.tz.contact):
        form.append(["local", matching.local_time, matching.weekdays, _tz_form(matching.tz)])
    if leaf.by is not None:
        # no complement stands for it: of `{gte: 3}` and `{lt: 3}`, which turn at the same counts, each is a leaf
        form.append(["by", leaf.by, leaf.measure.kind == "count" and number_tests(leaf.measure.tests)(0)])
    return form


def _matching_form(matching: Matching) -> Any:
    form: list[Any] = [_names_form(matching.names), None if matching.where is None else _where_form(matching.where)]
    if matching.local_time is not None or matching.weekdays is not None:
        form += [matching.local_time, matching.weekdays, _tz_form(matching.tz)]
    return form


def _names_form(names: Names) -> Any:
    return [list(names.names), names.prefix, None if names.except_ is None else [list(x) for x in names.except_]]


def _range_form(range: Range | None) -> Any:
    if range is None:
        return None
    if isinstance(range, Within):
        return range.ms
    if isinstance(range, Ago):
        return ["ago", range.near_ms, range.far_ms]
    if isinstance(range, Fixed):
        return ["fixed", _instant_form(range.since), _instant_form(range.until)]
    return ["calendar", range.unit, range.first, range.last]


def _instant_form(instant: int | Local | None) -> Any:
    return [instant.day, instant.ms] if isinstance(instant, Local) else instant


def _measure_form(measure: Measure) -> Any:
    if measure.kind == "count":
        return ["count", list(count_flips(measure.tests))]
    if measure.kind == "regularly":
        return ["regularly", measure.every_ms, measure.periods, measure.at_least, measure.times]
    if measure.where is not None:
        return [measure.kind, _where_form(measure.where)]
    return [measure.kind, measure.path, _sorted([_test_form(test) for test in measure.tests])]


def _tz_form(tz: Tz) -> Any:
    return [tz.name, tz.contact]


def _where_form(where: Where) -> Any:
    if where.kind == "path":
        assert where.test is not None
        return ["path", where.path, _test_form(where.test)]
    parts = _sorted([_where_form(part) for part in where.parts])
    return parts[0] if len(parts) == 1 and where.kind != "none" else [where.kind, parts]


def _test_form(test: Test) -> Any:
    form = [test.operator, _argument_form(test), test.ignore_case]
    if test.operator in ("eq", "ne", "has") and not isinstance(test.argument, TraitRef):
        form[0] = {"eq": "in", "ne": "not_in", "has": "has_any"}[test.operator]
    if test.operator in _ZONED and test.tz != UTC:
        form.append(_tz_form(test.tz))
    return form


def _argument_form(test: Test) -> Any:
    operator, argument = test.operator, test.argument
    if isinstance(argument, TraitRef):
        return {"trait": argument.path}
    if isinstance(argument, Where):
        return _where_form(argument)
    if isinstance(argument, Local):
        return {"local": _instant_form(argument)}
    if isinstance(argument, Span):
        return [argument.unit, argument.first, argument.last]
    if operator == "age":
        return _sorted([_test_form(inner) for inner in argument])
    if operator in ("eq", "ne", "has"):
        return [_literal(argument)]
    if operator in ("in", "not_in", "has_any", "has_all", "on_day"):
        return _sorted([_literal(item) for item in argument])
    if isinstance(argument, tuple):
        return [_literal(item) for item in argument]
    return _literal(argument)


def _literal(value: Any) -> Any:
    return value if isinstance(value, str | bool) else ["number", plain(value)]


def _sorted(forms: list[Any]) -> list[Any]:
    """In one order, each once."""
    return [orjson.loads(form) for form in sorted({orjson.dumps(form) for form in forms})]
