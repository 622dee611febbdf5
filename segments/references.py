"""Operators with a trait on the right side: `{trait: path}` stands for the value that the trait has now.

Both sides come from outside here, so arrays are compared by the keys of their elements: in time that grows with the sum
of their lengths, not with the product. Dates against a trait: `dates.AgainstTrait`.
"""

from collections.abc import Callable
from typing import Any

from segments.conditions import Test
from segments.contact import Contact, find_trait, trait_keys, trait_ways
from segments.literals import contains, ends_with, starts_with, text_test
from segments.predicate import Predicate
from segments.values import eq_key, equal, folded, keys_of, number


class AgainstTraitValue(Predicate):
    """An operator against the value that a trait has now; false where either is absent, or the trait's is unsuitable."""

    __slots__ = ("_compare", "_ignore_case", "ways")

    def __init__(self, test: Test) -> None:
        super().__init__(None, trait_keys(test.argument.path))
        self.ways = trait_ways(test.argument.path)
        self._compare = _COMPARED[test.operator]
        self._ignore_case = test.ignore_case

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        if value is None:
            return False
        right = find_trait(contact.traits, self.ways)
        return right is not None and self._compare(value, right, self._ignore_case)


def _same(value: Any, right: Any, ignore_case: bool) -> bool:
    """`eq` of two values, an absent one (an array's null or empty text) being none that another could equal."""
    if value is None or right is None or value == "" or right == "":
        return False
    return equal(folded(value), folded(right)) if ignore_case else equal(value, right)


def _is_in(value: Any, right: Any, ignore_case: bool) -> bool:
    if type(right) is not list or value == "":
        return False
    return eq_key(folded(value)) in keys_of(folded(right)) if ignore_case else eq_key(value) in keys_of(right)


def _has(value: Any, right: Any, ignore_case: bool) -> bool:
    return type(value) is list and right != "" and eq_key(right) in keys_of(value)


def _has_any(value: Any, right: Any, ignore_case: bool) -> bool:
    if type(value) is not list or type(right) is not list:
        return False
    return bool((keys_of(value) & keys_of(right)) - {None})


def _has_all(value: Any, right: Any, ignore_case: bool) -> bool:
    if type(value) is not list or type(right) is not list:
        return False
    wanted = keys_of(right)
    return None not in wanted and wanted <= keys_of(value)


def _ordered(low_wins: bool, ties: bool) -> Callable[[Any, Any, bool], bool]:
    def compare(value: Any, right: Any, ignore_case: bool) -> bool:
        a, b = number(value), number(right)
        if a is None or b is None:
            return False
        return ties if a == b else bool(a < b) is low_wins

    return compare


def _text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any, bool], bool]:
    def test(value: Any, right: Any, ignore_case: bool) -> bool:
        return type(right) is str and text_test(compare, right, ignore_case)(value)

    return test


_COMPARED: dict[str, Callable[[Any, Any, bool], bool]] = {
    "eq": _same,
    "in": _is_in,
    "gt": _ordered(False, False),
    "gte": _ordered(False, True),
    "lt": _ordered(True, False),
    "lte": _ordered(True, True),
    "contains": _text(contains),
    "starts_with": _text(starts_with),
    "ends_with": _text(ends_with),
    "has": _has,
    "has_any": _has_any,
    "has_all": _has_all,
}
