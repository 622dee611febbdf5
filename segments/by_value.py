"""`by: path`: a measure for each value of a property; true when it is true for some value that occurs in the range."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from schemas.events import Event
from segments.amounts import KEY_BYTES_MAX
from segments.canonical import holds_of_nothing
from segments.conditions import EventIs, Measure, Test
from segments.contact import Contact
from segments.leaf import EventLeaf, Read, Taken
from segments.predicate import earlier
from segments.predicates import finder
from segments.ranges import BEFORE_ALL_MS
from segments.values import eq_key

_ONCE = Measure("count", (Test("gte", 1),))
# up to so many values, the next change of all of them is looked for at each event
_SCANNED_MAX = 64
# the places in what is kept of a value, and of all of them
_INNER, _ANSWER, _DUE, _SEEN, _OCCURS = range(5)
_TRUE, _NEXT, _VALUES, _ONE_BY_ONE = range(4)


class By(EventLeaf):
    """A leaf for each value, over the same range.

    Keeps how many values are true, the next instant at which that matters, how many events the values keep one by one at
    most, and by value, the one seen longest ago first, `[kept, answer, due, time of its last event]`. Only the value that
    an event carries is asked again. While some are true, the answer stands until the last of them may turn, so the others
    are asked again no earlier; while none is, until the first may. A measure that holds of nothing needs an event in the
    range as well: then, but for a count, which knows, a second leaf sees to that, `occurs`; what it keeps comes last.

    A value none of whose events can come into the range again is forgotten when others come.
    """

    def __init__(self, condition: EventIs, leaf: Callable[[EventIs], EventLeaf]) -> None:
        super().__init__(condition)
        assert condition.by is not None
        single = dataclasses.replace(condition, by=None)
        if holds_of_nothing(single) and condition.measure.kind == "count":
            once = dataclasses.replace(condition.measure, tests=condition.measure.tests + _ONCE.tests)
            single = dataclasses.replace(single, measure=once)
        self.inner: EventLeaf = leaf(single)
        self.occurs: EventLeaf | None = None
        if self.inner.flipped:
            self.occurs = leaf(dataclasses.replace(single, measure=_ONCE))
        self.find = finder(condition.by, in_context=True)
        self.traits |= self.inner.traits

    def limit(self, events_max: int, values_max: int) -> None:
        super().limit(events_max, values_max)
        self.inner.limit(events_max, values_max)
        if self.occurs is not None:
            self.occurs.limit(events_max, values_max)

    def take(self, kept: list[Any] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        found = self.find((event.properties, event.context))
        if found is None or at_ms < self.stretch.forgotten_ms(contact.clock_ms):
            return None
        key = eq_key(found)
        all_: list[Any] = [0, None, {}, 0] if kept is None else kept
        values: dict[str, list[Any]] = all_[_VALUES]
        value = values.pop(key, None)
        new = value is None
        if value is None:
            value = [None, False, None, at_ms]
            if self.occurs is not None:
                value.append(None)
        before = (value[_ANSWER], value[_DUE])
        if not self._take_one(value, event, at_ms, contact):
            if not new:
                values[key] = value
            return None
        values[key] = value
        all_[_TRUE] += int(value[_ANSWER]) - int(before[0])
        all_[_ONE_BY_ONE] += 1
        if new:
            contact.bytes_estimated += KEY_BYTES_MAX
            self._forget(all_, contact)
        self._bound(all_, contact)
        self._note(all_, before, value, contact)
        return all_, all_[_TRUE] > 0, all_[_NEXT]

    def _take_one(self, value: list[Any], event: Event, at_ms: int, contact: Contact) -> bool:
        """Whether the event changed anything of its value."""
        taken = self.inner.take(value[_INNER], event, at_ms, contact)
        if taken is not None:
            value[_INNER], value[_ANSWER], value[_DUE] = taken
        if self.occurs is not None:
            once = self.occurs.take(value[_OCCURS], event, at_ms, contact)
            if once is not None:
                value[_OCCURS] = once[0]
            elif taken is None:
                return False
            self._read_one(value, contact, contact.clock_ms)
        elif taken is None:
            return False
        value[_SEEN] = max(value[_SEEN], at_ms)
        return True

    def _read_one(self, value: list[Any], contact: Contact, now_ms: int) -> None:
        answer, due_ms = self.inner.read(value[_INNER], contact, now_ms)
        if self.occurs is not None:
            occurs, end_ms = self.occurs.read(value[_OCCURS], contact, now_ms)
            answer, due_ms = occurs and not answer, earlier(due_ms, end_ms)
        value[_ANSWER], value[_DUE] = answer, due_ms

    def _note(self, all_: list[Any], before: tuple[bool, int | None], value: list[Any], contact: Contact) -> None:
        """Bring the next instant up to date after one value was asked."""
        answer, due_ms, next_ms = value[_ANSWER], value[_DUE], all_[_NEXT]
        if answer:
            was_last = before[0] and before[1] == next_ms
            if all_[_TRUE] == 1 or due_ms is None:
                all_[_NEXT] = due_ms  # None is never, which is later than any
            elif not was_last or (next_ms is not None and due_ms >= next_ms):
                all_[_NEXT] = None if next_ms is None else max(next_ms, due_ms)
            else:
                self._refresh(all_, contact, contact.clock_ms, everything=False)
        elif before[0] or (all_[_TRUE] == 0 and len(all_[_VALUES]) <= _SCANNED_MAX):
            self._refresh(all_, contact, contact.clock_ms, everything=False)
        elif all_[_TRUE] == 0:
            all_[_NEXT] = earlier(next_ms, due_ms)

    def _refresh(self, all_: list[Any], contact: Contact, now_ms: int, *, everything: bool) -> None:
        """Ask the values that are due, or all, and find the next instant that matters."""
        true = 0
        first_ms: int | None = None
        last_ms: int | None = BEFORE_ALL_MS
        for value in all_[_VALUES].values():
            due_ms = value[_DUE]
            if everything or (due_ms is not None and due_ms <= now_ms):
                self._read_one(value, contact, now_ms)
                due_ms = value[_DUE]
            if value[_ANSWER]:
                true += 1
                last_ms = None if last_ms is None or due_ms is None else max(last_ms, due_ms)
            else:
                first_ms = earlier(first_ms, due_ms)
        all_[_TRUE] = true
        all_[_NEXT] = last_ms if true else first_ms

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        # where it may be read because a trait changed, that can have changed every value
        self._refresh(kept, contact, now_ms, everything=bool(self.traits))
        return kept[_TRUE] > 0, kept[_NEXT]

    # ---- bounds -----------------------------------------------------------------------------------------------------

    def _forget(self, all_: list[Any], contact: Contact) -> None:
        """Drop what can't come in again, as far as it comes first; and one too many, the one seen longest ago."""
        values, forgotten_ms = all_[_VALUES], self.stretch.forgotten_ms(contact.clock_ms)
        for key in list(itertools.takewhile(lambda key: values[key][_SEEN] < forgotten_ms, values)):
            all_[_TRUE] -= int(values.pop(key)[_ANSWER])  # one that hasn't been asked since
        over = len(values) - self.values_max
        if over > 0:
            contact.limits_passed += over
            for key in list(itertools.islice(values, over)):
                del values[key]
            self._refresh(all_, contact, contact.clock_ms, everything=False)

    def _bound(self, all_: list[Any], contact: Contact) -> None:
        """Drop the oldest of too many events that are kept one by one, over all values."""
        if all_[_ONE_BY_ONE] <= self.events_max:
            return
        times = sorted(at_ms for value in all_[_VALUES].values() for at_ms in self._times_of(value))
        over = len(times) - self.events_max
        if over > 0:
            contact.limits_passed += over
            for value in all_[_VALUES].values():
                self._shed_one(value, times[over - 1])
            self._refresh(all_, contact, contact.clock_ms, everything=True)
        all_[_ONE_BY_ONE] = min(len(times), self.events_max)

    def _times_of(self, value: list[Any]) -> Iterable[int]:
        return self.inner.times(value[_INNER])

    def _shed_one(self, value: list[Any], before_ms: int) -> None:
        value[_INNER] = self.inner.shed(value[_INNER], before_ms)
        if self.occurs is not None:
            value[_OCCURS] = self.occurs.shed(value[_OCCURS], before_ms)

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        if kept is None or other is None:
            return other if kept is None else kept
        values: dict[str, list[Any]] = kept[_VALUES]
        for key, absorbed in other[_VALUES].items():
            value = values.get(key)
            values[key] = absorbed if value is None else self._merge_one(value, absorbed, contact)
        over = len(values) - self.values_max
        if over > 0:
            contact.limits_passed += over
            for key in sorted(values, key=lambda key: int(values[key][_SEEN]))[:over]:
                del values[key]
        return self._unread([0, None, values, kept[_ONE_BY_ONE] + other[_ONE_BY_ONE]])

    def _merge_one(self, value: list[Any], other: list[Any], contact: Contact) -> list[Any]:
        inner = self.inner.merge(value[_INNER], other[_INNER], contact)
        both = [inner, False, None, max(value[_SEEN], other[_SEEN])]
        if self.occurs is not None:
            both.append(self.occurs.merge(value[_OCCURS], other[_OCCURS], contact))
        return both

    def times(self, kept: list[Any] | None) -> list[int]:
        if kept is None:
            return []
        values = kept[_VALUES].values()
        return [at_ms for value in values for at_ms in (value[_SEEN], *self._times_of(value))]

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        if kept is None:
            return None
        values = {key: value for key, value in kept[_VALUES].items() if value[_SEEN] > before_ms}
        for value in values.values():
            self._shed_one(value, before_ms)
        return self._unread([0, None, values, kept[_ONE_BY_ONE]])

    def _unread(self, all_: list[Any]) -> list[Any]:
        """The same with every value to be asked again at the next reading."""
        for value in all_[_VALUES].values():
            value[_ANSWER], value[_DUE] = False, BEFORE_ALL_MS
        return all_

    def is_empty(self, kept: Any) -> bool:
        return kept is None or not kept[_VALUES]
