"""The measures of section 6: what each event adds, and what is answered of all that were added.

A measure is told of events one after the other, in any order of time. What it keeps of them is the least that its
answer needs where events only ever come in; how to keep less than all of them where they go out again is the leaves'
matter (`windows.py`), and so is which events count (`leaf.py`).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from schemas.events import Event
from segments.canonical import count_flips
from segments.conditions import Measure, Where
from segments.contact import VALUES_KEPT_MAX, Contact
from segments.leaf import Read, encoded_bytes_max
from segments.matching import paths_of
from segments.predicates import finder, instant_predicate, number_tests, where_predicate
from segments.totals import Total, average_tests, plus, plus_total, total_tests
from segments.values import Number, decimal, eq_key, number

# a key of `distinct` or `by` is at most 40 characters of up to 4 bytes, or a digest
KEY_BYTES_MAX = 176
# how many moves from one period to the next are looked at before `regularly` is simply asked again
_MOVES_MAX = 1_000


class Summary:
    """A measure of events that only come in; `kept` None: none did.

    `traits`: whose change may change the answer. `flipped`: tests that hold of no event, which stand for their complement.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        self.traits: frozenset[str] = frozenset()
        self.flipped = flipped

    def value(self, event: Event) -> Any:
        """What a matching event adds; None: it has no such value, and is skipped."""
        return True

    def add(self, kept: Any, at_ms: int, value: Any) -> Any:
        """What is kept once a value, of an event at `at_ms`, has come in."""
        raise NotImplementedError  # pragma: no cover - abstract

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and the next instant at which it may change."""
        raise NotImplementedError  # pragma: no cover - abstract

    def merge(self, kept: Any, other: Any) -> Any:
        """Two summaries as one; neither is None."""
        raise NotImplementedError  # pragma: no cover - abstract

    def bytes_max(self, kept: Any, event: Event) -> int:
        """What the last event, or the text of a number, may take in the state beside times and numbers."""
        return 0

    def times(self, kept: Any) -> Iterable[int]:
        """The times of what `shed` can take away."""
        return ()

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without values last seen up to `before_ms`, where each is kept."""
        return kept


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
        self.passes = total_tests(measure.tests)

    def value(self, event: Event) -> Number | None:
        return number(self.find((event.properties, event.context)))

    def add(self, kept: Any, at_ms: int, value: Number) -> Any:
        return plus(kept or 0, value)

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        return self.passes_total(kept, 1), None

    def passes_total(self, total: Total | None, count: int) -> bool:
        """The answer of a total of so many numbers; None: of none."""
        return total is not None and self.passes(total) is not self.flipped

    def merge(self, kept: Any, other: Any) -> Any:
        return plus_total(kept, other)

    def bytes_max(self, kept: Any, event: Event) -> int:
        return len(kept) if type(kept) is str else 0


class Averaged(Summed):
    """`avg`: the exact total, and of how many numbers."""

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.average_passes = average_tests(measure.tests)

    def add(self, kept: list[Any] | None, at_ms: int, value: Number) -> list[Any]:
        return [plus(0, value), 1] if kept is None else [plus(kept[0], value), kept[1] + 1]

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        return kept is not None and self.passes_total(kept[0], kept[1]), None

    def passes_total(self, total: Total | None, count: int) -> bool:
        return total is not None and count > 0 and self.average_passes(total, count)

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

    From there on the answer is what it is, whatever else comes in.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.find = finder(measure.path, in_context=True)
        self.flips = count_flips(measure.tests)
        self.values_max = min(self.flips[-1] if self.flips else 0, VALUES_KEPT_MAX)

    def value(self, event: Event) -> str | None:
        found = self.find((event.properties, event.context))
        return None if found is None else eq_key(found)

    def add(self, kept: dict[str, int] | None, at_ms: int, value: str) -> dict[str, int]:
        seen = {} if kept is None else kept
        before_ms = seen.get(value)
        if before_ms is None:
            if len(seen) < self.values_max:
                seen[value] = at_ms
        elif before_ms < at_ms:
            seen[value] = at_ms
        return seen

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


class TimeOf(Summary):
    """`first_at` and `last_at`: one time, as one before the last (after the first) never is it again."""

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.last = measure.kind == "last_at"
        self.test = instant_predicate(measure.tests[0])
        self.traits = self.test.traits

    def add(self, kept: int | None, at_ms: int, value: Any) -> int:
        return at_ms if kept is None or (at_ms > kept if self.last else at_ms < kept) else kept

    def read(self, kept: int | None, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        return self.test.holds(kept, now_ms, contact), self.test.next_ms(kept, now_ms, contact)

    def merge(self, kept: int, other: int) -> int:
        return self.add(kept, other, True)


class Then(Summary):
    """`earliest` and `latest`: the time of that event and whether it passes, or where that may change, what it is asked for.

    Of one instant, `earliest` is the one that came in first, `latest` the one that came in last.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        assert measure.where is not None
        self.last = measure.kind == "latest"
        self.test = where_predicate(measure.where, in_context=True)
        self.fixed = self.test.fixed
        self.traits = self.test.traits
        self.asked = Picker(measure.where)

    def value(self, event: Event) -> Any:
        if self.fixed is not None:
            return self.fixed((event.properties, event.context))
        return self.asked.pick(event)

    def add(self, kept: list[Any] | None, at_ms: int, value: Any) -> list[Any]:
        if kept is not None and (at_ms < kept[0] if self.last else at_ms >= kept[0]):
            return kept
        return [at_ms, value]

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        value = kept[1]
        if self.fixed is not None:
            return bool(value), None
        seen = (value[0], value[1])
        return self.test.holds(seen, now_ms, contact), self.test.next_ms(seen, now_ms, contact)

    def merge(self, kept: list[Any], other: list[Any]) -> list[Any]:
        if kept[0] == other[0]:
            return kept
        return self.add(kept, other[0], other[1])

    def bytes_max(self, kept: Any, event: Event) -> int:
        return 0 if self.fixed is not None else encoded_bytes_max(event)


class Regularly(Summary):
    """`regularly`: the times of all events, as each moves from period to period at an instant of its own.

    Those older than all periods are the leaf's to drop.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        super().__init__(measure, flipped)
        self.every_ms = measure.every_ms
        self.periods = measure.periods
        self.at_least = measure.at_least
        self.times_needed = measure.times

    def add(self, kept: list[int] | None, at_ms: int, value: Any) -> list[int]:
        times = [] if kept is None else kept
        times.append(at_ms)
        return times

    def read(self, kept: list[int] | None, contact: Contact, now_ms: int) -> Read:
        if not kept:
            return False, None
        counts = [0] * self.periods
        moves: list[tuple[int, int]] = []  # when each event moves on next, and from which period
        for at_ms in kept:
            period = (now_ms - at_ms) // self.every_ms
            if period < self.periods:
                counts[period] += 1
                moves.append((at_ms + (period + 1) * self.every_ms, period))
        met = sum(count >= self.times_needed for count in counts)
        moves.sort()
        return met >= self.at_least, self._turn_ms(counts, met, moves)

    def _turn_ms(self, counts: list[int], met: int, moves: list[tuple[int, int]]) -> int | None:
        """The instant at which the answer turns if nothing happens, or one before it where that is far."""
        answer, needed = met >= self.at_least, self.times_needed
        last_ms: int | None = None
        for step in range(_MOVES_MAX):
            if not moves:
                return None
            turn, at = divmod(step, len(moves))
            move_ms, period = moves[at]
            move_ms += turn * self.every_ms
            if last_ms is not None and move_ms != last_ms and (met >= self.at_least) is not answer:
                return last_ms
            last_ms = move_ms
            period += turn
            if period < self.periods:
                counts[period] -= 1
                met -= counts[period] == needed - 1
                if period + 1 < self.periods:
                    counts[period + 1] += 1
                    met += counts[period + 1] == needed
            elif turn >= self.periods:
                return None
        return last_ms

    def merge(self, kept: list[int], other: list[int]) -> list[int]:
        return kept + other


class Picker:
    """Takes out of an event what a `where` asks, so that only that is kept: each path stands as a key of its own."""

    def __init__(self, where: Where | None) -> None:
        self.paths = sorted(paths_of(where)) if where is not None else []
        self._finders = [finder(path, in_context=True) for path in self.paths]

    def pick(self, event: Event) -> list[dict[str, Any]]:
        """`[properties, context]`, as far as they are asked."""
        seen = (event.properties, event.context)
        properties: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for path, find in zip(self.paths, self._finders, strict=True):
            found = find(seen)
            if found is None:
                continue
            if path.startswith("context."):
                context[path.removeprefix("context.")] = found
            else:
                properties[path] = found
        return [properties, context]


_SUMMARIES: dict[str, Callable[[Measure, bool], Summary]] = {
    "count": Counted,
    "sum": Summed,
    "avg": Averaged,
    "min": Extreme,
    "max": Extreme,
    "distinct": Distinct,
    "first_at": TimeOf,
    "last_at": TimeOf,
    "earliest": Then,
    "latest": Then,
    "regularly": Regularly,
}


def summary(measure: Measure, flipped: bool) -> Summary:
    """The summary of a checked measure; `flipped`: it holds of no event."""
    return _SUMMARIES[measure.kind](measure, flipped)
