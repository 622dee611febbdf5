"""The leaves over events that, once in the range, stay there: no range, `since`/`until`, or `ago: D`."""

from bisect import bisect_right
from typing import Any

from schemas.events import Event
from segments.amounts import Counted, Summed, kept_max
from segments.conditions import EventIs
from segments.contact import Contact, drop_oldest
from segments.leaf import EventLeaf, Read, Taken, put, time_of
from segments.measures import summary
from segments.moments import TimeOf
from segments.predicate import Predicate
from segments.ranges import Rolling
from segments.totals import Total, plus


class Ever(EventLeaf):
    """A measure over all matching events there have been. Keeps the measure's own summary of them (`measures.py`)."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.summary = summary(condition.measure, self.flipped)
        self.traits |= self.summary.traits

    def limit(self, events_max: int, values_max: int) -> None:
        super().limit(events_max, values_max)
        self.summary.limit(values_max)

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value = self.summary.value(event)
        if value is None:
            return None
        kept = self.summary.add(kept, at_ms, value)
        self.summary.bound(kept, contact)
        contact.bytes_estimated += self.summary.bytes_max(kept, event)
        return kept, *self.summary.read(kept, contact, contact.clock_ms)

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        return self.summary.read(kept, contact, now_ms)

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        if kept is None or other is None:
            return other if kept is None else kept
        kept = self.summary.merge(kept, other)
        self.summary.bound(kept, contact)
        return kept

    def times(self, kept: Any) -> Any:
        return self.summary.times(kept) if kept is not None else ()

    def shed(self, kept: Any, before_ms: int) -> Any:
        return self.summary.shed(kept, before_ms) if kept is not None else None

    def is_empty(self, kept: Any) -> bool:
        # 0 is a sum, a time or an extreme as good as any
        return kept is None or kept == {}


class Count(Ever):
    """Matching events ever. Keeps their number: order and time make no difference to it."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert isinstance(self.summary, Counted)
        self.flips: tuple[int, ...] = self.summary.flips

    def take(self, kept: int | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        count = 1 if kept is None else kept + 1
        return count, bisect_right(self.flips, count) & 1 == 1, None


class Sum(Ever):
    """Sum of a property over all matching events ever. Keeps one exact decimal."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert isinstance(self.summary, Summed)
        self.summed: Summed = self.summary

    def take(self, kept: Total | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value = self.summed.value(event)
        if value is None:
            return None
        total = plus(kept or 0, value)
        if type(total) is str:
            contact.bytes_estimated += len(total)
        return total, self.summed.passes_total(total, 1), None


class LastAt(Ever):
    """The time of the last match against a date operator. Keeps that time: one earlier never is the last again."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert isinstance(self.summary, TimeOf)
        self.test: Predicate = self.summary.test

    def take(self, kept: int | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if (kept is not None and at_ms <= kept) or (self.gate is not None and not self.gate(event, at_ms)):
            return None
        now_ms = contact.clock_ms
        return at_ms, self.test.holds(at_ms, now_ms, contact), self.test.next_ms(at_ms, now_ms, contact)


class CountAgo(EventLeaf):
    """Matching events at or before now - `near_ms`.

    Keeps the times of the oldest as many as the highest count at which the answer flips, oldest first: once they are all
    in, the answer stays, and one later than those comes in after them. A late one finds its place among them.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        counted = summary(condition.measure, self.flipped)
        assert isinstance(counted, Counted) and isinstance(self.stretch, Rolling)
        self.flips: tuple[int, ...] = counted.flips
        self.near_ms: int = self.stretch.near_ms
        self.times_max: int = kept_max(self.flips, self.events_max)

    def limit(self, events_max: int, values_max: int) -> None:
        super().limit(events_max, values_max)
        self.times_max = kept_max(self.flips, events_max)

    def take(self, kept: list[int] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        times = [] if kept is None else kept
        at = bisect_right(times, at_ms)
        if not self.flips or at >= self.flips[-1]:
            return None
        times.insert(at, at_ms)
        if len(times) > self.times_max:
            self._bound(times, contact)
        return times, *self.read(times, contact, contact.clock_ms)

    def read(self, kept: list[int] | None, contact: Contact, now_ms: int) -> Read:
        if not kept:
            return False, None
        count = bisect_right(kept, now_ms - self.near_ms)
        below = bisect_right(self.flips, count)
        if below == len(self.flips) or self.flips[below] > len(kept):
            return below & 1 == 1, None
        return below & 1 == 1, kept[self.flips[below] - 1] + self.near_ms

    def merge(self, kept: list[int] | None, other: list[int] | None, contact: Contact) -> list[int] | None:
        times = sorted((kept or []) + (other or []))
        if len(times) > self.times_max:
            self._bound(times, contact)
        return times or None

    def _bound(self, times: list[int], contact: Contact) -> None:
        """Keep the oldest that matter; no limit is passed where those after them don't."""
        if self.times_max < self.flips[-1]:
            drop_oldest(times, self.times_max, contact)
        else:
            del times[self.times_max :]

    def times(self, kept: list[int] | None) -> list[int]:
        return kept or []

    def shed(self, kept: list[int] | None, before_ms: int) -> list[int] | None:
        return kept[bisect_right(kept, before_ms) :] if kept else None


class Ago(Ever):
    """Any other measure over matching events at or before now - `near_ms`.

    Keeps the summary of those that have come in, which never go out again, and of each that is yet to come in what it
    will add, `[at_ms, value]` in order of time: a late one finds its place, or comes in at once.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        assert isinstance(self.stretch, Rolling)
        self.near_ms: int = self.stretch.near_ms

    def take(self, kept: list[Any] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value = self.summary.value(event)
        if value is None:
            return None
        both: list[Any] = [None, []] if kept is None else kept
        put(both[1], [at_ms, value])
        contact.bytes_estimated += self.summary.bytes_max(both[0], event)
        read = self.read(both, contact, contact.clock_ms)
        if len(both[1]) > self.events_max:
            drop_oldest(both[1], self.events_max, contact)
            read = self.read(both, contact, contact.clock_ms)
        return both, *read

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        waiting = kept[1]
        come = bisect_right(waiting, now_ms - self.near_ms, key=time_of)
        for at_ms, value in waiting[:come]:
            kept[0] = self.summary.add(kept[0], at_ms, value)
        if come:
            self.summary.bound(kept[0], contact)
            del waiting[:come]
        answer, due_ms = self.summary.read(kept[0], contact, now_ms)
        if waiting:
            next_ms = waiting[0][0] + self.near_ms
            due_ms = next_ms if due_ms is None else min(due_ms, next_ms)
        return answer, due_ms

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        if kept is None or other is None:
            return other if kept is None else kept
        both = [super().merge(kept[0], other[0], contact), sorted(kept[1] + other[1], key=time_of)]
        drop_oldest(both[1], self.events_max, contact)
        return both

    def times(self, kept: list[Any] | None) -> list[int]:
        if kept is None:
            return []
        return [*super().times(kept[0]), *map(time_of, kept[1])]

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        if kept is None:
            return None
        return [super().shed(kept[0], before_ms), kept[1][bisect_right(kept[1], before_ms, key=time_of) :]]

    def is_empty(self, kept: Any) -> bool:
        return kept is None or (super().is_empty(kept[0]) and not kept[1])


_LEAVES: dict[str, type[Ever]] = {"count": Count, "sum": Sum, "last_at": LastAt}


def ever_leaf(condition: EventIs) -> EventLeaf:
    """The leaf of a fixed condition without a range, or with `since` and `until`."""
    return _LEAVES.get(condition.measure.kind, Ever)(condition)


def ago_leaf(condition: EventIs) -> EventLeaf:
    """The leaf of a fixed condition with `ago: D`."""
    return CountAgo(condition) if condition.measure.kind == "count" else Ago(condition)
