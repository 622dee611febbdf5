"""The measures of how much and how many: `count sum avg min max distinct`."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from schemas.events import Event
from segments.canonical import count_flips
from segments.conditions import Measure
from segments.contact import VALUES_KEPT_MAX, Contact
from segments.leaf import Read
from segments.predicates import finder, number_tests
from segments.summary import Summary
from segments.totals import Total, TotalTests, plus, plus_total
from segments.values import Number, decimal, eq_key, number

# a key of `distinct` or `by` is at most 40 characters of up to 4 bytes, or a digest, with the head of a text or two
KEY_BYTES_MAX = 176


def kept_max(flips: tuple[int, ...], limit: int) -> int:
    """How many are kept for a number that matters only where it flips the answer.

    One more than the limit are, so that a count of just so many, which is a legal threshold, is told from a higher one.
    """
    return min(flips[-1], limit + 1) if flips else 0


class Counted(Summary):
    """`count`: a number. Order and time make no difference to it."""

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.flips = count_flips(measure.tests)

    def add(self, kept: int | None, at_ms: int, value: Any) -> int:
        return (kept or 0) + 1

    def read(self, kept: int | None, contact: Contact, now_ms: int) -> Read:
        return bisect_right(self.flips, kept or 0) & 1 == 1, None

    def merge(self, kept: int, other: int) -> int:
        return kept + other


class Summed(Summary):
    """`sum`: one exact decimal."""

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.find = finder(measure.path, in_context=True)
        self.tests = TotalTests(measure.tests)

    def value(self, event: Event) -> Number | None:
        return number(self.find((event.properties, event.context)))

    def add(self, kept: Any, at_ms: int, value: Number) -> Any:
        return plus(kept or 0, value)

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        return self.passes_total(kept, 1), None

    def passes_total(self, total: Total | None, count: int) -> bool:
        """The answer of a total of so many numbers; None: of none."""
        return total is not None and self.tests.passes(total, 1) is not self.flipped

    def merge(self, kept: Any, other: Any) -> Any:
        return plus_total(kept, other)

    def bytes_max(self, kept: Any, event: Event) -> int:
        return len(kept) if type(kept) is str else 0


class Averaged(Summed):
    """`avg`: the exact total, and of how many numbers."""

    def add(self, kept: list[Any] | None, at_ms: int, value: Number) -> list[Any]:
        return [plus(0, value), 1] if kept is None else [plus(kept[0], value), kept[1] + 1]

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        return kept is not None and self.passes_total(kept[0], kept[1]), None

    def passes_total(self, total: Total | None, count: int) -> bool:
        return total is not None and count > 0 and self.tests.passes(total, count)

    def merge(self, kept: list[Any], other: list[Any]) -> list[Any]:
        return [plus_total(kept[0], other[0]), kept[1] + other[1]]

    def bytes_max(self, kept: Any, event: Event) -> int:
        return len(kept[0]) if kept is not None and type(kept[0]) is str else 0


class Extreme(Summary):
    """`min` and `max`: one number, as one that isn't the extreme never will be."""

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.find = finder(measure.path, in_context=True)
        self.greatest = measure.kind == "max"
        self._passes = number_tests(measure.tests)

    def value(self, event: Event) -> Number | None:
        return number(self.find((event.properties, event.context)))

    def add(self, kept: Number | None, at_ms: int, value: Number) -> Number:
        return value if kept is None or not self.covers(kept, value) else kept

    def covers(self, value: Number, other: Number) -> bool:
        """Whether `other` makes no difference beside `value`."""
        return value >= other if self.greatest else value <= other

    def passes(self, value: Number) -> bool:
        """Whether it passes all number tests."""
        return self._passes(decimal(value) if type(value) is float else value)

    def read(self, kept: Number | None, contact: Contact, now_ms: int) -> Read:
        return kept is not None and self.passes(kept), None

    def merge(self, kept: Number, other: Number) -> Number:
        return self.add(kept, 0, other)


class Distinct(Summary):
    """`distinct`: the values, each as its key with the time it was last seen, up to the highest count that matters.

    From there on the answer is what it is, whatever else comes in. With a limit below that, it is the values seen last.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.find = finder(measure.path, in_context=True)
        self.flips = count_flips(measure.tests)
        self.count_max: int = self.flips[-1] if self.flips else 0
        self.values_max: int = kept_max(self.flips, VALUES_KEPT_MAX)

    def limit(self, values_max: int) -> None:
        self.values_max = kept_max(self.flips, values_max)

    def value(self, event: Event) -> str | None:
        found = self.find((event.properties, event.context))
        return None if found is None else eq_key(found)

    def add(self, kept: dict[str, int] | None, at_ms: int, value: str) -> dict[str, int]:
        seen = {} if kept is None else kept
        before_ms = seen.get(value)
        if before_ms is None:
            if len(seen) < self.count_max:
                seen[value] = at_ms
        elif before_ms < at_ms:
            seen[value] = at_ms
        return seen

    def bound(self, kept: dict[str, int], contact: Contact) -> None:
        over = len(kept) - self.values_max
        if over > 0:
            contact.limits_passed += over
            for value in sorted(kept, key=lambda value: kept[value])[:over]:
                del kept[value]

    def read(self, kept: dict[str, int] | None, contact: Contact, now_ms: int) -> Read:
        return bisect_right(self.flips, len(kept) if kept else 0) & 1 == 1, None

    def merge(self, kept: dict[str, int], other: dict[str, int]) -> dict[str, int]:
        for value, at_ms in other.items():
            self.add(kept, at_ms, value)
        return kept

    def bytes_max(self, kept: Any, event: Event) -> int:
        return KEY_BYTES_MAX

    def times(self, kept: dict[str, int]) -> Iterable[int]:
        return kept.values()

    def shed(self, kept: dict[str, int], before_ms: int) -> dict[str, int]:
        return {value: at_ms for value, at_ms in kept.items() if at_ms > before_ms}
