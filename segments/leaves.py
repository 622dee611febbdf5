"""The leaves over events: what each keeps of a contact's past, and what it answers now. Those over traits: `trait_leaves.py`.

A leaf's `kept` is plain data that goes into the contact's state as it is; None means nothing. `read(kept, now_ms)` gives
the answer and the next instant at which time alone may change it (maybe early, never late; None: never). `add` takes a
matching event in, at its own time, however late: what is kept does not depend on the order of arrival.

Which of them a condition becomes is decided by `event_leaf`: the one that keeps the least.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import Any, Protocol

from schemas.events import Event
from schemas.instants import INSTANT_MS_MAX
from segments.canonical import count_flips, leaf_key
from segments.conditions import EventIs, Names, Test, Where
from segments.predicates import finder, where_predicate
from segments.totals import Total, plus, total_tests
from segments.values import number

EVENTS_KEPT_MAX = 10_000

Read = tuple[bool, int | None]


class Tally(Protocol):
    """What a leaf is told, the clock, and where it says what it kept beside times, and that it passed a limit."""

    bytes_estimated: int
    clock_ms: int
    limits_passed: int


def encoded_bytes_max(event: Event) -> int:
    """What an event's values take at most in a state's record: `1e9,` is four bytes of JSON, and nine of MessagePack."""
    return event.size * 9 // 4


class EventLeaf:
    """Base of the leaves over events: which names, and which of those events."""

    def __init__(self, condition: EventIs) -> None:
        self.key = leaf_key(condition)
        self.names: Names = condition.names
        self.within_ms = condition.within_ms
        where = None if condition.where is None else where_predicate(condition.where, in_context=True)
        self.moving = None if where is None or where.moments is None else where
        # whether an event, given as (properties, context), may count; None: any that has the name
        self.where: Callable[[Any, int], bool] | None = None if where is None else where.holds

    def add(self, kept: Any, event: Event, at_ms: int, tally: Tally) -> Any:
        """What is kept once a matching event of `at_ms` has been taken in."""
        raise NotImplementedError  # pragma: no cover - abstract

    def read(self, kept: Any, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change."""
        raise NotImplementedError  # pragma: no cover - abstract

    def take(self, kept: Any, event: Event, at_ms: int, tally: Tally) -> tuple[Any, bool, int | None] | None:
        """`add` and `read` at the clock in one: `(kept, answer, due)`, or None where nothing is kept before or after."""
        after = self.add(kept, event, at_ms, tally)
        return None if after is None else (after, *self.read(after, tally.clock_ms))

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left of `kept` without the events up to `before_ms`, where it keeps events one by one."""
        return kept


class _Counting(EventLeaf):
    """Base of what counts: `flips` are the counts at which the answer turns."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.flips = count_flips(condition.measure.tests)


class Count(_Counting):
    """Matching events ever. Keeps their number: order and time make no difference to it."""

    def add(self, kept: int | None, event: Event, at_ms: int, tally: Tally) -> int:
        return (kept or 0) + 1

    def read(self, kept: int | None, now_ms: int) -> Read:
        return bool(bisect_right(self.flips, kept or 0) & 1), None


class CountWithin(_Counting):
    """Matching events in the last `within_ms`.

    Keeps the times of the newest as many as the highest count at which the answer flips, oldest first: with more in the
    window the answer is that of so many, and one older than those leaves the window before them. A late one finds its
    place among them, or is older than all and would be dropped had it come in time.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert condition.within_ms is not None
        self.window_ms: int = condition.within_ms

    def take(
        self, kept: list[int] | None, event: Event, at_ms: int, tally: Tally
    ) -> tuple[list[int] | None, bool, int | None] | None:
        flips, now_ms = self.flips, tally.clock_ms
        until_ms = now_ms - self.window_ms
        if at_ms <= until_ms or not flips:
            return None
        if not kept:
            kept = [at_ms]
        else:
            if at_ms >= kept[-1]:
                kept.append(at_ms)
            else:
                insort(kept, at_ms)
            if kept[0] <= until_ms or len(kept) > flips[-1]:
                del kept[0]
        if len(kept) < flips[0] and kept[0] > until_ms:
            return kept, False, None
        return kept, *self.read(kept, now_ms)

    def read(self, kept: list[int] | None, now_ms: int) -> Read:
        if not kept:
            return False, None
        until_ms = now_ms - self.window_ms
        if kept[0] <= until_ms:
            del kept[: bisect_right(kept, until_ms)]
        count = len(kept)
        below = bisect_right(self.flips, count)
        if not below:
            return False, None
        # down to one less than the flip below: when the oldest (count - flip + 1) have left the window
        return below & 1 == 1, kept[count - self.flips[below - 1]] + self.window_ms

    def shed(self, kept: list[int], before_ms: int) -> list[int]:
        return kept[bisect_right(kept, before_ms) :]


class _Summing(EventLeaf):
    """Base of what sums a property: which value an event adds, and whether a total passes."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.passes = _sum_test(condition)
        self.find = finder(condition.measure.path, in_context=True)

    def value(self, event: Event) -> Any:
        """The number that the event adds, None for none."""
        return number(self.find((event.properties, event.context)))


class Sum(_Summing):
    """Sum of a property over all matching events ever. Keeps one exact decimal."""

    def add(self, kept: Total | None, event: Event, at_ms: int, tally: Tally) -> Total | None:
        value = self.value(event)
        return kept if value is None else plus(kept or 0, value)

    def read(self, kept: Total | None, now_ms: int) -> Read:
        return kept is not None and self.passes(kept), None


class SumWithin(_Summing):
    """Sum over the last `within_ms`: keeps the total and each value with its time, oldest first, as each must leave."""

    def add(self, kept: list[Any] | None, event: Event, at_ms: int, tally: Tally) -> list[Any] | None:
        assert self.within_ms is not None
        value = self.value(event)
        if value is None or at_ms <= tally.clock_ms - self.within_ms:
            return kept
        if kept is None:
            return [plus(0, value), [[at_ms, value]]]
        entries = kept[1]
        if not entries or at_ms >= entries[-1][0]:
            entries.append([at_ms, value])
        else:
            entries.insert(bisect_right(entries, at_ms, key=time_of), [at_ms, value])
        kept[0] = plus(kept[0], value)
        if len(entries) > EVENTS_KEPT_MAX:
            tally.limits_passed += 1
            self._drop(kept, 1)
        return kept

    def read(self, kept: list[Any] | None, now_ms: int) -> Read:
        assert self.within_ms is not None
        if kept is None:
            return False, None
        total, entries = kept
        until_ms = now_ms - self.within_ms
        if entries and entries[0][0] <= until_ms:
            self._drop(kept, bisect_right(entries, until_ms, key=time_of))
            total, entries = kept
        return self.passes(total), entries[0][0] + self.within_ms if entries else None

    def shed(self, kept: list[Any], before_ms: int) -> list[Any]:
        self._drop(kept, bisect_right(kept[1], before_ms, key=time_of))
        return kept

    @staticmethod
    def _drop(kept: list[Any], oldest: int) -> None:
        for _, value in kept[1][:oldest]:
            kept[0] = plus(kept[0], -value)
        del kept[1][:oldest]


class LastAt(EventLeaf):
    """The time of the last match against a date operator. Keeps that time: one earlier never is the last again."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.time = _time_test(condition.measure.tests[0])

    def add(self, kept: int | None, event: Event, at_ms: int, tally: Tally) -> int:
        return at_ms if kept is None or at_ms > kept else kept

    def read(self, kept: int | None, now_ms: int) -> Read:
        if kept is None:
            return False, None
        holds, due_ms = self.time(kept, now_ms)
        if self.within_ms is None:
            return holds, due_ms
        end_ms = kept + self.within_ms
        if end_ms <= now_ms:
            return False, None
        return holds, end_ms if due_ms is None else min(due_ms, end_ms)


class Matches(EventLeaf):
    """Any measure over events whose `where` moves with time (`where: {due: {within_next: 1d}}`).

    Whether an event counts is then a matter of now, so each is kept with its time and the properties that are asked
    for, in order of time, those of one instant in order of arrival; and all are gone through at each reading.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert condition.where is not None
        self.kind = condition.measure.kind
        self.flips = count_flips(condition.measure.tests) if self.kind == "count" else ()
        self.find = finder(condition.measure.path, in_context=True) if self.kind == "sum" else None
        if self.kind == "sum":
            self.passes = _sum_test(condition)
        if self.kind == "last_at":
            self.time = _time_test(condition.measure.tests[0])
        self.paths = sorted(_paths(condition.where))
        self.finders = [finder(path, in_context=True) for path in self.paths]
        parts = [where_predicate(part, in_context=True) for part in _conjuncts(condition.where)]
        fixed = [part.holds for part in parts if part.moments is None]
        # an event that fails what can't change is none to keep
        self.where = lambda seen, now_ms: all(holds(seen, now_ms) for holds in fixed)

    def add(self, kept: list[Any] | None, event: Event, at_ms: int, tally: Tally) -> list[Any] | None:
        if self.within_ms is not None and at_ms <= tally.clock_ms - self.within_ms:
            return kept
        seen = (event.properties, event.context)
        value = number(self.find(seen)) if self.find is not None else None
        properties: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for path, find in zip(self.paths, self.finders, strict=True):
            found = find(seen)
            if found is not None:
                inside = path.startswith("context.")
                (context if inside else properties)[path.removeprefix("context.") if inside else path] = found
        tally.bytes_estimated += encoded_bytes_max(event)
        entries = kept if kept is not None else []
        entries.insert(bisect_right(entries, at_ms, key=time_of), [at_ms, value, properties, context])
        if len(entries) > EVENTS_KEPT_MAX:
            tally.limits_passed += 1
            del entries[0]
        return entries

    def read(self, kept: list[Any] | None, now_ms: int) -> Read:
        if kept is None:
            return False, None
        assert self.moving is not None and self.moving.moments is not None
        if self.within_ms is not None:
            del kept[: bisect_right(kept, now_ms - self.within_ms, key=time_of)]
        matching: list[Any] = []
        moments: list[int] = []
        for entry in kept:
            seen = (entry[2], entry[3])
            moments.extend(self.moving.moments(seen))
            if self.within_ms is not None:
                moments.append(entry[0] + self.within_ms)
            if self.moving.holds(seen, now_ms):
                matching.append(entry)
        return self._measure(matching, now_ms, moments), next_moment(moments, now_ms)

    def _measure(self, matching: list[Any], now_ms: int, moments: list[int]) -> bool:
        if self.kind == "count":
            return bool(bisect_right(self.flips, len(matching)) & 1)
        if self.kind == "sum":
            total: Total = 0
            for _, value, _, _ in matching:
                if value is not None:
                    total = plus(total, value)
            return self.passes(total)
        if not matching:
            return False
        holds, due_ms = self.time(matching[-1][0], now_ms)
        if due_ms is not None:
            moments.append(due_ms)
        return holds

    def shed(self, kept: list[Any], before_ms: int) -> list[Any]:
        return kept[bisect_right(kept, before_ms, key=time_of) :]


def event_leaf(condition: EventIs) -> EventLeaf:
    """The leaf of a normal event condition: the one that keeps the least of what its measure needs."""
    where = condition.where
    if where is not None and where_predicate(where, in_context=True).moments is not None:
        return Matches(condition)
    if condition.measure.kind == "last_at":
        return LastAt(condition)
    if condition.measure.kind == "sum":
        return Sum(condition) if condition.within_ms is None else SumWithin(condition)
    return Count(condition) if condition.within_ms is None else CountWithin(condition)


def _sum_test(condition: EventIs) -> Callable[[Any], bool]:
    """Whether a total passes; a leaf is false of nothing, so tests that hold of 0 stand for their complement."""
    passes = total_tests(condition.measure.tests)
    return (lambda total: not passes(total)) if passes(0) else passes


def time_of(entry: list[Any]) -> int:
    """The time of something kept one by one, which comes first in it."""
    return entry[0]  # type: ignore[no-any-return]


def next_moment(moments: Iterable[int], now_ms: int) -> int | None:
    """The first of the moments after now; those after the year 9999, which a number as a date may mean, never come."""
    return min((at_ms for at_ms in moments if now_ms < at_ms <= INSTANT_MS_MAX), default=None)


def _time_test(test: Test) -> Callable[[int, int], Read]:
    """A date operator on the time of an event, which is never after now."""
    argument: int = test.argument
    if test.operator == "within_last":
        return lambda at_ms, now_ms: (True, at_ms + argument) if now_ms < at_ms + argument else (False, None)
    if test.operator == "older_than":
        return lambda at_ms, now_ms: (False, at_ms + argument) if now_ms < at_ms + argument else (True, None)
    if test.operator in ("within_next", "further_than"):
        return lambda at_ms, now_ms: (False, None)
    compare = {"before": lt, "after": gt, "on_or_before": le, "on_or_after": ge}[test.operator]
    return lambda at_ms, now_ms: (compare(at_ms, argument), None)


def _conjuncts(where: Where) -> list[Where]:
    """The parts that must all hold for `where` to hold."""
    return [inner for part in where.parts for inner in _conjuncts(part)] if where.kind == "all" else [where]


def _paths(where: Where) -> set[str]:
    return {where.path} if where.kind == "path" else set().union(*map(_paths, where.parts))
