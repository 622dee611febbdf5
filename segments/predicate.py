"""What a predicate is: the question that a test puts to a value, for a contact, at an instant."""

from collections.abc import Callable
from typing import Any

from schemas.instants import INSTANT_MS_MAX
from segments.contact import Contact

NO_TRAITS: frozenset[str] = frozenset()


class Predicate:
    """A test of a value. This one is *fixed*: a function of the value alone, whose answer never changes.

    `fixed`: that function; None where the answer may change with time or with the contact's traits. `traits`: the
    top-level traits whose change may change it. A value that is absent is None.
    """

    __slots__ = ("fixed", "traits")

    def __init__(self, fixed: Callable[[Any], bool] | None, traits: frozenset[str] = NO_TRAITS) -> None:
        self.fixed = fixed
        self.traits = traits

    def holds(self, value: Any, now_ms: int, contact: Contact) -> bool:
        """The answer at `now_ms`."""
        assert self.fixed is not None
        return self.fixed(value)

    def next_ms(self, value: Any, now_ms: int, contact: Contact) -> int | None:
        """The first instant after `now_ms` at which time alone may change the answer: maybe early, never late; None: never."""
        return None


def first_after(now_ms: int, a_ms: int, b_ms: int) -> int | None:
    """The earlier of two instants that is after now; one after the year 9999, which a number may mean, never comes."""
    if a_ms <= now_ms or (now_ms < b_ms < a_ms):
        a_ms = b_ms
    return a_ms if now_ms < a_ms <= INSTANT_MS_MAX else None


def earlier(a_ms: int | None, b_ms: int | None) -> int | None:
    """The earlier of two instants, None standing for never."""
    if a_ms is None or b_ms is None:
        return a_ms if b_ms is None else b_ms
    return a_ms if a_ms <= b_ms else b_ms
