"""The leaf that keeps its matching events one by one: for what may come in and go out again, or count today and not tomorrow."""

from bisect import bisect_left, bisect_right
from typing import Any

from schemas.events import Event
from segments.amounts import KEY_BYTES_MAX, Counted
from segments.conditions import EventIs
from segments.contact import Contact, drop_oldest
from segments.leaf import EventLeaf, Read, Taken, encoded_bytes_max, put, time_of
from segments.measures import summary
from segments.moments import Regularly, Then, TimeOf
from segments.predicate import earlier

# events gone through to find the instant at which the answer turns, before it is simply asked again at the next change
_LOOKED_AT_MAX = 4_000
# the same at each event, which must be quick
_LOOKED_AT_BY_EVENTS_MAX = 50
_BISECTED = 8


class Matches(EventLeaf):
    """Any measure over any range, of events that may be open: whether one counts is a matter of now.

    Keeps, in order of time and those of one instant in order of arrival, `[at_ms]` of each event that passes what is
    fixed and may ever lie in the range; with what it adds to the measure, `[at_ms, value]`, where that is asked for; and
    with the properties that its open tests ask for, `[at_ms, value, properties, context]`. All that a late event can
    change is there. Its answer is worked out anew each time.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.summary = summary(condition.measure, self.flipped)
        self.valued: bool = condition.measure.kind not in ("count", "first_at", "last_at", "regularly")
        self.fixed: bool = self.matcher.fixed
        # of these, the first that holds from either end is all that is asked
        self.one: bool = isinstance(self.summary, TimeOf | Then)
        self.from_end: bool = condition.measure.kind in ("last_at", "latest")
        self.traits |= self.summary.traits | self.stretch.traits
        # `regularly` looks back no further than this
        self.back_ms: int | None = None
        if isinstance(self.summary, Regularly):
            self.back_ms = self.summary.every_ms * self.summary.periods
        # the measure says to the millisecond when it turns, and nothing else moves
        self.exact: bool = self.back_ms is not None and self.fixed and not self.stretch.moves

    def forgotten_ms(self, now_ms: int) -> int:
        """No event before this instant will ever count again."""
        forgotten_ms = self.stretch.forgotten_ms(now_ms)
        return forgotten_ms if self.back_ms is None else max(forgotten_ms, now_ms - self.back_ms + 1)

    def take(self, kept: list[Any] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value, now_ms = self.summary.value(event), contact.clock_ms
        forgotten_ms = self.forgotten_ms(now_ms)
        if value is None or at_ms < forgotten_ms:
            return None
        entries: list[Any] = [] if kept is None else kept
        put(entries, self._entry(event, at_ms, value, contact))
        _forget(entries, forgotten_ms)
        drop_oldest(entries, self.events_max, contact)
        return entries, *self._look_ahead(entries, contact, now_ms, _LOOKED_AT_BY_EVENTS_MAX)

    def _entry(self, event: Event, at_ms: int, value: Any, contact: Contact) -> list[Any]:
        if self.fixed:
            if not self.valued:
                return [at_ms]
            contact.bytes_estimated += max(KEY_BYTES_MAX, self.summary.bytes_max(None, event))
            return [at_ms, value]
        contact.bytes_estimated += encoded_bytes_max(event) + max(KEY_BYTES_MAX, self.summary.bytes_max(None, event))
        return [at_ms, value, *self.matcher.pick(event)]

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if not kept:
            return False, None
        _forget(kept, self.forgotten_ms(now_ms))
        return self._look_ahead(kept, contact, now_ms, _LOOKED_AT_MAX)

    def _look_ahead(self, entries: list[Any], contact: Contact, now_ms: int, looked_at_max: int) -> Read:
        """The answer now, and when it turns; or an instant before that, where much had to be gone through to find it."""
        answer, due_ms = self._ask(entries, contact, now_ms)
        if self.exact:
            return answer, due_ms
        # a count of fixed events is found by bisection
        cost = _BISECTED if self.fixed and isinstance(self.summary, Counted) else len(entries)
        looked_at = cost
        while due_ms is not None and looked_at <= looked_at_max:
            later, next_ms = self._ask(entries, contact, due_ms)
            if later is not answer:
                break
            looked_at += cost
            due_ms = next_ms
        return answer, due_ms

    def _ask(self, entries: list[Any], contact: Contact, now_ms: int) -> Read:
        """The answer at some instant, and the next at which what it depends on changes."""
        start_ms, end_ms = self.stretch.bounds(now_ms, contact)
        if self.back_ms is not None:
            start_ms = max(start_ms, now_ms - self.back_ms + 1)
        first = bisect_left(entries, start_ms, key=time_of)
        end = bisect_left(entries, end_ms, key=time_of)
        due_ms: int | None = None
        if self.stretch.moves:
            for at in (first, end):
                if at < len(entries) and (at == end or first < end):
                    due_ms = earlier(due_ms, self.stretch.next_ms(entries[at][0], now_ms, contact))
        if not self.fixed:
            for at in range(first, end):
                entry = entries[at]
                due_ms = earlier(due_ms, self.matcher.next_ms(entry[2], entry[3], now_ms, contact))
        answer, own_ms = self._measure(entries, first, end, contact, now_ms)
        return answer, earlier(due_ms, own_ms)

    def _measure(self, entries: list[Any], first: int, end: int, contact: Contact, now_ms: int) -> Read:
        """What the measure answers of the entries from `first` up to `end` that hold now."""
        if self.fixed and isinstance(self.summary, Counted):
            return self.summary.read(max(end - first, 0), contact, now_ms)
        if self.exact:
            return self.summary.read(list(map(time_of, entries[first:end])), contact, now_ms)
        summed: Any = None
        for at in range(end - 1, first - 1, -1) if self.from_end else range(first, end):
            entry = entries[at]
            if self.fixed or self.matcher.holds(entry[2], entry[3], entry[0], now_ms, contact):
                summed = self.summary.add(summed, entry[0], entry[1] if len(entry) > 1 else True)
                if self.one:
                    break
        return self.summary.read(summed, contact, now_ms)

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        if kept is None or other is None:
            return other if kept is None else kept
        entries = sorted(kept + other, key=time_of)
        drop_oldest(entries, self.events_max, contact)
        return entries

    def times(self, kept: list[Any] | None) -> list[int]:
        return list(map(time_of, kept or []))

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        return kept[bisect_right(kept, before_ms, key=time_of) :] if kept else None


def _forget(entries: list[Any], before_ms: int) -> None:
    if entries and entries[0][0] < before_ms:
        del entries[: bisect_left(entries, before_ms, key=time_of)]
