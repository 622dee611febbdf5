"""Operators with a trait on the right side: `{trait: path}` stands for the value that the trait has now.

Both sides come from outside here, so arrays are compared by the keys of their elements: in time that grows with the sum
of their lengths, not with the product. Dates against a trait: `dates.AgainstTrait`.
"""

from collections.abc import Callable
from typing import Any

from segments.conditions import Test
from segments.contact import Contact, find_trait, trait_keys, trait_ways
from segments.literals import Fixed, contains, ends_with, starts_with, text_test
from segments.predicate import Predicate
from segments.values import eq_key, equal, folded, keys_of, number

# from the value of a trait, and whether case is ignored, to a test; None: no value passes
Make = Callable[[Any, bool], Fixed | None]


class AgainstTraitValue(Predicate):
    """An operator against the value that a trait has now; false where either is absent, or the trait's is unsuitable.

    The test made of a trait's value is kept until another is met: ten thousand events are asked against one list of
    twenty thousand elements. A value is told by identity, as no trait's is ever changed in place.
    """

    __slots__ = ("_ignore_case", "_make", "_right", "_test", "ways")

    def __init__(self, test: Test) -> None:
        super().__init__(None, trait_keys(test.argument.path))
        self.ways = trait_ways(test.argument.path)
        self._make: Make = _MADE[test.operator]
        self._ignore_case = test.ignore_case
        self._right: Any = None
        self._test: Fixed | None = None

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        if value is None or value == "":
            return False
        right = find_trait(contact.traits, self.ways)
        if right is None or right == "":
            return False
        if right is not self._right:
            self._right, self._test = right, self._make(right, self._ignore_case)
        return self._test is not None and self._test(value)


def _eq(right: Any, ignore_case: bool) -> Fixed:
    if not ignore_case:
        return lambda value: equal(value, right)
    wanted = folded(right)
    return lambda value: equal(folded(value), wanted)


def _in(right: Any, ignore_case: bool) -> Fixed | None:
    if type(right) is not list:
        return None
    keys = keys_of(folded(right) if ignore_case else right)
    return lambda value: eq_key(folded(value) if ignore_case else value) in keys


def _has(right: Any, ignore_case: bool) -> Fixed:
    key = eq_key(right)
    return lambda value: type(value) is list and key in keys_of(value)


def _has_any(right: Any, ignore_case: bool) -> Fixed | None:
    if type(right) is not list:
        return None
    keys = keys_of(right) - {None}
    return lambda value: type(value) is list and not keys.isdisjoint(keys_of(value))


def _has_all(right: Any, ignore_case: bool) -> Fixed | None:
    keys = keys_of(right) if type(right) is list else {None}
    return None if None in keys else lambda value: type(value) is list and keys <= keys_of(value)


def _ordered(low_wins: bool, ties: bool) -> Make:
    def made(right: Any, ignore_case: bool) -> Fixed | None:
        threshold = number(right)
        if threshold is None:
            return None

        def compare(value: Any) -> bool:
            exact = number(value)
            if exact is None:
                return False
            return ties if exact == threshold else bool(exact < threshold) is low_wins

        return compare

    return made


def _text(compare: Callable[[str, str], bool]) -> Make:
    def made(right: Any, ignore_case: bool) -> Fixed | None:
        return text_test(compare, right, ignore_case) if type(right) is str else None

    return made


_MADE: dict[str, Make] = {
    "eq": _eq,
    "in": _in,
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
