"""Checked tests as predicates of a value, and whole `where`s as predicates of an event or an item.

Most are fixed: their answer never changes once the value is known. Others move: with time (`within_last: 3d` of an
event's property turns false three days after the date in it), with a trait on their right side, or with the contact's
zone. Each says when and with which traits (`predicate.Predicate`).
"""

from collections.abc import Callable
from typing import Any

from segments.conditions import Test, TraitRef, Tz, Where
from segments.contact import Contact, fixed_zone, zone_of
from segments.dates import DATE_OPERATORS, instant_predicate, zone_traits
from segments.literals import FIXED, number_tests
from segments.predicate import NO_TRAITS, Predicate, earlier
from segments.references import AgainstTraitValue
from segments.values import instant, reader

__all__ = [
    "Predicate",
    "finder",
    "instant_predicate",
    "number_tests",
    "predicate",
    "where_predicate",
]

# an operator that is the exact negation of another
_NEGATIONS = {"ne": "eq", "not_in": "in", "no_item": "any_item"}


def predicate(test: Test) -> Predicate:
    """The predicate of one test over a value that JSON gives, None where it is absent."""
    if test.operator in _NEGATIONS:
        return negated(predicate(Test(_NEGATIONS[test.operator], test.argument, test.ignore_case, test.tz)))
    if test.operator in DATE_OPERATORS:
        return _date_predicate(test)
    if isinstance(test.argument, TraitRef):
        return AgainstTraitValue(test)
    if test.operator == "any_item":
        return _item_predicate(where_predicate(test.argument, in_context=False))
    return Predicate(FIXED[test.operator](test.argument, test.ignore_case))


# ---- negations ------------------------------------------------------------------------------------------------------


class _Negated(Predicate):
    """True where another is false."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Predicate) -> None:
        super().__init__(None, inner.traits)
        self._inner = inner

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return not self._inner.holds(value, now_ms, contact)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return self._inner.next_ms(value, now_ms, contact)


def negated(inner: Predicate) -> Predicate:
    """The predicate that is true where `inner` is false."""
    holds = inner.fixed
    if holds is None:
        return _Negated(inner)

    def test(value: Any) -> bool:
        return not holds(value)

    return Predicate(test)


# ---- dates ----------------------------------------------------------------------------------------------------------


class _Date(Predicate):
    """A date operator on a value that may be a date, local in the zone of the test where it names no offset."""

    __slots__ = ("_fixed_zone", "_inner", "_tz")

    def __init__(self, inner: Predicate, tz: Tz) -> None:
        super().__init__(None, inner.traits | zone_traits(tz))
        self._inner = inner
        self._tz = tz
        self._fixed_zone = fixed_zone(tz)

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        at_ms = self._instant(value, contact)
        return at_ms is not None and self._inner.holds(at_ms, now_ms, contact)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        at_ms = self._instant(value, contact)
        return None if at_ms is None else self._inner.next_ms(at_ms, now_ms, contact)

    def _instant(self, value: Any, contact: Contact) -> int | None:
        return instant(value, self._fixed_zone if self._fixed_zone is not None else zone_of(self._tz, contact))


def _date_predicate(test: Test) -> Predicate:
    inner, zone = instant_predicate(test), fixed_zone(test.tz)
    holds = inner.fixed
    if holds is None or zone is None:
        return _Date(inner, test.tz)

    def holds_of_date(value: Any) -> bool:
        at_ms = instant(value, zone)
        return at_ms is not None and holds(at_ms)

    return Predicate(holds_of_date)


# ---- arrays of objects ----------------------------------------------------------------------------------------------


class _AnyItem(Predicate):
    """Some object in an array satisfies a whole `where`, which moves."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Predicate) -> None:
        super().__init__(None, inner.traits)
        self._inner = inner

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        if type(value) is list:
            for item in value:
                if type(item) is dict and self._inner.holds(item, now_ms, contact):
                    return True
        return False

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        first_ms: int | None = None
        if type(value) is list:
            for item in value:
                if type(item) is dict:
                    first_ms = earlier(first_ms, self._inner.next_ms(item, now_ms, contact))
        return first_ms


def _item_predicate(inner: Predicate) -> Predicate:
    holds = inner.fixed
    if holds is None:
        return _AnyItem(inner)

    def test(value: Any) -> bool:
        if type(value) is list:
            for item in value:
                if type(item) is dict and holds(item):
                    return True
        return False

    return Predicate(test)


# ---- where ----------------------------------------------------------------------------------------------------------


def where_predicate(where: Where, *, in_context: bool) -> Predicate:
    """The predicate of a whole `where` over an object.

    With `in_context` the object is an event, given as `(properties, context)`, and paths that begin with `context.`
    look into the latter; else it is an item of an array.
    """
    if where.kind == "path":
        assert where.test is not None
        return _at_path(where.path, predicate(where.test), in_context)
    parts = [where_predicate(part, in_context=in_context) for part in where.parts]
    if where.kind == "none":
        return negated(_joined(parts, False))
    return parts[0] if len(parts) == 1 else _joined(parts, where.kind == "all")


class _Joined(Predicate):
    """All of some predicates hold (`every`), or at least one of them, of which one moves or more."""

    __slots__ = ("_every", "_parts")

    def __init__(self, parts: list[Predicate], every: bool) -> None:
        super().__init__(None, NO_TRAITS.union(*[part.traits for part in parts]))
        self._parts = parts
        self._every = every

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        for part in self._parts:
            if part.holds(value, now_ms, contact) is not self._every:
                return not self._every
        return self._every

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        """The least of the parts', but never, where one that can't change has settled the matter."""
        first_ms: int | None = None
        for part in self._parts:
            if part.fixed is not None:
                if part.fixed(value) is not self._every:
                    return None
            else:
                first_ms = earlier(first_ms, part.next_ms(value, now_ms, contact))
        return first_ms


def _joined(parts: list[Predicate], every: bool) -> Predicate:
    tests = [part.fixed for part in parts if part.fixed is not None]
    if len(tests) < len(parts):
        return _Joined(parts, every)

    def test(value: Any) -> bool:
        for holds in tests:
            if holds(value) is not every:
                return not every
        return every

    return Predicate(test)


class _AtPath(Predicate):
    """A predicate that moves, of the value that a path leads to."""

    __slots__ = ("_find", "_inner")

    def __init__(self, find: Callable[[Any], Any], inner: Predicate) -> None:
        super().__init__(None, inner.traits)
        self._find = find
        self._inner = inner

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return self._inner.holds(self._find(value), now_ms, contact)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return self._inner.next_ms(self._find(value), now_ms, contact)


def _at_path(path: str, inner: Predicate, in_context: bool) -> Predicate:
    holds = inner.fixed
    find = finder(path, in_context=in_context)
    if holds is None:
        return _AtPath(find, inner)
    if in_context and "." not in path:

        def top_level(event: Any) -> bool:
            value = event[0].get(path)
            return holds(None if value == "" else value)

        return Predicate(top_level)

    def test(value: Any) -> bool:
        return holds(find(value))

    return Predicate(test)


def finder(path: str, *, in_context: bool) -> Callable[[Any], Any]:
    """A function that finds a property path in an event `(properties, context)` or in an item."""
    if not in_context:
        return reader(path)
    if path.startswith("context."):
        read_context = reader(path.removeprefix("context."))

        def find_in_context(event: Any) -> Any:
            return read_context(event[1])

        return find_in_context
    read = reader(path)

    def find(event: Any) -> Any:
        return read(event[0])

    return find
