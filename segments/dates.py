"""The date operators, as predicates of an instant in epoch ms: one of them reads the same whether the instant is that of
an event or was found in a trait.

A day, a calendar word, an age are in the zone of the test; where that is the contact's, `timezone` is among the traits
that the answer depends on.
"""

import operator as operators
from collections.abc import Callable
from typing import Any

from segments.calendar import Zone, age, anniversary, civil, first_day, next_anniversary, period_of, span_days
from segments.conditions import Local, Span, Test, TraitRef, Tz
from segments.contact import TIMEZONE, Contact, find_trait, fixed_zone, trait_keys, trait_ways, zone_of
from segments.literals import number_tests
from segments.predicate import NO_TRAITS, Predicate, first_after
from segments.values import instant

ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "before": operators.lt,
    "after": operators.gt,
    "on_or_before": operators.le,
    "on_or_after": operators.ge,
}
ROLLING = ("within_last", "older_than", "within_next", "further_than")
DATE_OPERATORS = (*ORDER, *ROLLING, "on_day", "calendar", "anniversary", "age")


def zone_traits(tz: Tz) -> frozenset[str]:
    """The traits that the zone depends on."""
    return frozenset((TIMEZONE,)) if tz.contact else NO_TRAITS


class _Zoned(Predicate):
    """Base of those that ask for the local day."""

    __slots__ = ("_fixed_zone", "tz")

    def __init__(self, tz: Tz, fixed: Callable[[Any], bool] | None = None) -> None:
        super().__init__(fixed, zone_traits(tz))
        self.tz = tz
        self._fixed_zone = fixed_zone(tz)

    def zone(self, contact: Contact) -> Zone:
        """The zone in which the days are."""
        return self._fixed_zone if self._fixed_zone is not None else zone_of(self.tz, contact)


class Absolute(_Zoned):
    """Ordered against a local time in the contact's zone."""

    __slots__ = ("_compare", "local")

    def __init__(self, operator: str, local: Local, tz: Tz) -> None:
        super().__init__(tz)
        self._compare = ORDER[operator]
        self.local = local

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return self._compare(value, self.zone(contact).instant_ms(self.local.day, self.local.ms))


class AgainstTrait(_Zoned):
    """Ordered against the instant that a trait holds now, read once for all that is asked; false where that is none."""

    __slots__ = ("_at_ms", "_compare", "_read_in", "_right", "ways")

    def __init__(self, operator: str, path: str, tz: Tz) -> None:
        super().__init__(tz)
        self.traits = self.traits | trait_keys(path)
        self._compare = ORDER[operator]
        self.ways = trait_ways(path)
        self._right: Any = None
        self._read_in: Zone | None = None
        self._at_ms: int | None = None

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        right, zone = find_trait(contact.traits, self.ways), self.zone(contact)
        if right is not self._right or zone is not self._read_in:
            self._right, self._read_in, self._at_ms = right, zone, instant(right, zone)
        return self._at_ms is not None and self._compare(value, self._at_ms)


class _Rolling(Predicate):
    """Base of those that are a duration away from now."""

    __slots__ = ("duration_ms",)

    def __init__(self, duration_ms: int) -> None:
        super().__init__(None)
        self.duration_ms = duration_ms


class WithinLast(_Rolling):
    """In (now - D, now]: from then on, until just before D later."""

    __slots__ = ()

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return bool(now_ms - self.duration_ms < value <= now_ms)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return first_after(now_ms, value, value + self.duration_ms)


class OlderThan(_Rolling):
    """At or before now - D."""

    __slots__ = ()

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return bool(value <= now_ms - self.duration_ms)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return first_after(now_ms, value + self.duration_ms, value + self.duration_ms)


class WithinNext(_Rolling):
    """In (now, now + D]: from D before on, until just before it."""

    __slots__ = ()

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return bool(now_ms < value <= now_ms + self.duration_ms)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return first_after(now_ms, value - self.duration_ms, value)


class FurtherThan(_Rolling):
    """After now + D."""

    __slots__ = ()

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return bool(value > now_ms + self.duration_ms)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        return first_after(now_ms, value - self.duration_ms, value - self.duration_ms)


class OnDay(_Zoned):
    """On one of some days of the contact's zone."""

    __slots__ = ("days",)

    def __init__(self, days: frozenset[int], tz: Tz) -> None:
        super().__init__(tz)
        self.days = days

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        return self.zone(contact).day(value) in self.days


class InCalendar(_Zoned):
    """In the periods of a calendar word: `first` to `last` counted from the one that holds now."""

    __slots__ = ("span",)

    def __init__(self, span: Span, tz: Tz) -> None:
        super().__init__(tz)
        self.span = span

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        zone, unit = self.zone(contact), self.span.unit
        apart = period_of(unit, zone.day(value)) - period_of(unit, zone.day(now_ms))
        return self.span.first <= apart <= self.span.last

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        zone = self.zone(contact)
        return turns_ms(zone, self.span, zone.day(value), now_ms)


class InAnniversary(_Zoned):
    """Some day with its month and day of the month lies in the periods of a calendar word."""

    __slots__ = ("span",)

    def __init__(self, span: Span, tz: Tz) -> None:
        super().__init__(tz)
        self.span = span

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        zone = self.zone(contact)
        first, end = span_days(self.span, zone.day(now_ms))
        return next_anniversary(zone.day(value), first) < end

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        """Where one is in, when it is out again, though another may be in by then; else, when the next one is in."""
        zone = self.zone(contact)
        first, _ = span_days(self.span, zone.day(now_ms))
        return turns_ms(zone, self.span, next_anniversary(zone.day(value), first), now_ms)


def turns_ms(zone: Zone, span: Span, day: int, now_ms: int) -> int | None:
    """The first instant after now at which a day comes into the periods of a calendar word, or goes out of them."""
    comes_ms, goes_ms = comes_and_goes_ms(zone, span, day)
    return first_after(now_ms, comes_ms, goes_ms)


def comes_and_goes_ms(zone: Zone, span: Span, day: int) -> tuple[int, int]:
    """The instants [first, end) at which a day is in the periods of a calendar word.

    It is in while the period that holds now is one of those from `last` before its own to `first` before it.
    """
    period = period_of(span.unit, day)
    return (
        zone.instant_ms(first_day(span.unit, period - span.last)),
        zone.instant_ms(first_day(span.unit, period - span.first + 1)),
    )


class Age(_Zoned):
    """Whole years completed today meet some number tests."""

    __slots__ = ("_passes", "flips")

    def __init__(self, tests: tuple[Test, ...], tz: Tz) -> None:
        super().__init__(tz)
        self._passes = number_tests(tests)
        # the ages, ascending, at which the answer may differ from that a year before
        self.flips: list[int] = age_flips(tests)

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        zone = self.zone(contact)
        return self._passes(age(zone.day(value), zone.day(now_ms)))

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        zone = self.zone(contact)
        day = zone.day(value)
        years, year = age(day, zone.day(now_ms)), civil(day)[0]
        for flip in self.flips:
            if flip > years:
                turn_ms = zone.instant_ms(anniversary(day, year + flip))
                return first_after(now_ms, turn_ms, turn_ms)
        return None


def age_flips(tests: tuple[Test, ...]) -> list[int]:
    """The whole numbers, ascending, at which the tests' answer differs from that of the number before."""
    passes = number_tests(tests)
    near: set[int] = set()
    for test in tests:
        for threshold in test.argument if isinstance(test.argument, tuple) else (test.argument,):
            near.update((int(threshold // 1), int(threshold // 1) + 1))
    return [years for years in sorted(near) if passes(years) is not passes(years - 1)]


def instant_predicate(test: Test) -> Predicate:
    """The predicate of a date operator over an instant in epoch ms, such as the time of an event; never given None."""
    operator, argument, tz = test.operator, test.argument, test.tz
    if operator in ROLLING:
        return _ROLLING[operator](argument)
    if operator in ORDER:
        if isinstance(argument, TraitRef):
            return AgainstTrait(operator, argument.path, tz)
        return Absolute(operator, argument, tz) if isinstance(argument, Local) else _ordered(operator, argument)
    if operator == "on_day":
        days = frozenset(argument)
        return OnDay(days, tz) if tz.contact else _on_day(days, tz)
    if operator == "calendar":
        return InCalendar(argument, tz)
    if operator == "anniversary":
        return InAnniversary(argument, tz)
    assert operator == "age", f"expected a date operator in a checked definition, got {operator!r}"
    return Age(argument, tz)


_ROLLING: dict[str, type[_Rolling]] = {
    "within_last": WithinLast,
    "older_than": OlderThan,
    "within_next": WithinNext,
    "further_than": FurtherThan,
}


def _ordered(operator: str, argument_ms: int) -> Predicate:
    compare = ORDER[operator]

    def test(at_ms: Any) -> bool:
        return compare(at_ms, argument_ms)

    return Predicate(test)


def _on_day(days: frozenset[int], tz: Tz) -> Predicate:
    zone = fixed_zone(tz)
    assert zone is not None
    day_of = zone.day

    def test(at_ms: Any) -> bool:
        return day_of(at_ms) in days

    return Predicate(test)
