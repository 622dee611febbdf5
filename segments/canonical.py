"""One spelling for conditions that mean the same, and the key that a leaf is known by in every contact's state.

A leaf is what is left of a condition without negation and without its place in a tree: `count: 0` and `not: {count:
{gte: 1}}` are the same leaf, negated once. Every leaf is false for a contact of whom nothing is known, so that state
holds only what has happened. Keys are hashes of the canonical form, so segments that share a condition share its state,
and a segment that is edited keeps the state of what it still asks.
"""

import hashlib
import math
from typing import Any

import orjson

from segments.conditions import All, Any_, Condition, EventIs, Everyone, InSegment, Not, Test, TraitIs, Where
from segments.predicates import number_tests
from segments.values import plain

# part of every key: a change of what a canonical form means, or of what a leaf keeps, must change it
CANONICAL_VERSION = 1

_NEGATIONS = {"ne": "eq", "not_in": "in", "no_item": "any_item"}


def key_of(form: Any) -> int:
    """The key of a canonical form: 63 bits of BLAKE2b; 10,000 leaves collide with a chance of 5 in 10^12."""
    named = orjson.dumps([CANONICAL_VERSION, form])
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big") >> 1


def normal(condition: Condition) -> Condition:
    """The condition with negations taken out of its leaves, so that each leaf is false for an empty contact."""
    if isinstance(condition, All):
        return All(tuple(map(normal, condition.conditions)))
    if isinstance(condition, Any_):
        return Any_(tuple(map(normal, condition.conditions)))
    if isinstance(condition, Not):
        inner = normal(condition.condition)
        return inner.condition if isinstance(inner, Not) else Not(inner)
    if isinstance(condition, TraitIs):
        return _normal_trait(condition)
    if isinstance(condition, EventIs) and _holds_of_nothing(condition):
        return Not(condition)
    return condition


def _normal_trait(condition: TraitIs) -> Condition:
    test = condition.test
    if test.operator in _NEGATIONS:
        return Not(TraitIs(condition.path, Test(_NEGATIONS[test.operator], test.argument, test.ignore_case)))
    if test.operator == "exists" and test.argument is False:
        return Not(TraitIs(condition.path, Test("exists", True)))
    return condition


def _holds_of_nothing(condition: EventIs) -> bool:
    """Whether the measure is true where no event matches; such a leaf stands for its complement, inside a `Not`."""
    return condition.measure.kind in ("count", "sum") and number_tests(condition.measure.tests)(0)


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


def leaf_form(leaf: TraitIs | EventIs) -> Any:
    """The canonical form of a normal leaf, as JSON data."""
    if isinstance(leaf, TraitIs):
        return ["trait", leaf.path, _test_form(leaf.test)]
    measure = leaf.measure
    if measure.kind == "count":
        asked: Any = ["count", list(count_flips(measure.tests))]
    else:
        asked = [measure.kind, measure.path, _sorted([_test_form(test) for test in measure.tests])]
    names = leaf.names
    named = [list(names.names), names.prefix, None if names.except_ is None else [list(x) for x in names.except_]]
    return ["event", named, None if leaf.where is None else _where_form(leaf.where), leaf.within_ms, asked]


def leaf_key(leaf: TraitIs | EventIs) -> int:
    """The key of a normal leaf's state."""
    return key_of(leaf_form(leaf))


def membership_leaf_key(segment: str) -> int:
    """The key under which the answer of a segment stands for those that name it."""
    return key_of(["segment", segment])


def hold_key(segment: str) -> int:
    """The key under which the end of a segment's hold stands among the due instants."""
    return key_of(["hold", segment])


def _where_form(where: Where) -> Any:
    if where.kind == "path":
        assert where.test is not None
        return ["path", where.path, _test_form(where.test)]
    parts = _sorted([_where_form(part) for part in where.parts])
    return parts[0] if len(parts) == 1 and where.kind != "none" else [where.kind, parts]


def _test_form(test: Test) -> Any:
    operator, argument = test.operator, test.argument
    if operator in ("any_item", "no_item"):
        return [operator, _where_form(argument), False]
    if operator in ("eq", "ne", "has"):
        operator = {"eq": "in", "ne": "not_in", "has": "has_any"}[operator]
        argument = (argument,)
    if operator in ("in", "not_in", "has_any", "has_all"):
        return [operator, _sorted([_literal(item) for item in argument]), test.ignore_case]
    if isinstance(argument, tuple):
        return [operator, [_literal(item) for item in argument], test.ignore_case]
    return [operator, _literal(argument), test.ignore_case]


def _literal(value: Any) -> Any:
    return value if isinstance(value, str | bool) else ["number", plain(value)]


def _sorted(forms: list[Any]) -> list[Any]:
    """In one order, each once."""
    return [orjson.loads(form) for form in sorted({orjson.dumps(form) for form in forms})]


def leaves_of(condition: Condition) -> list[TraitIs | EventIs]:
    """The leaves of a normal condition."""
    if isinstance(condition, TraitIs | EventIs):
        return [condition]
    if isinstance(condition, Not):
        return leaves_of(condition.condition)
    if isinstance(condition, All | Any_):
        return [leaf for part in condition.conditions for leaf in leaves_of(part)]
    assert isinstance(condition, Everyone | InSegment)
    return []
