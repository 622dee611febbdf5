"""The leaves over values of events in a window that ends now: `sum avg min max distinct`."""

import itertools
from bisect import bisect_left, bisect_right
from typing import Any

from schemas.events import Event
from segments.amounts import Averaged, Distinct, Extreme, Summed
from segments.conditions import EventIs
from segments.contact import Contact, drop_oldest
from segments.leaf import Read, Taken, put, time_of
from segments.measures import summary
from segments.totals import plus, plus_total
from segments.windows import Window

# how many events that go out are looked at before a leaf is simply asked again at the next
_LOOKED_AT_MAX = 1_000
# the same at each event, which must be quick
_LOOKED_AT_BY_EVENTS_MAX = 4


class SumWithin(Window):
    """Sum or average over the window.

    Keeps the total, each value with its time, oldest first, as each must leave, and two helps: until when a true answer
    is known to last, and how many values are below zero. Where more never makes the answer false (`gte`), a value that
    isn't below zero leaves the one as it is; and without any below zero, a sum that is too small stays so.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        summed = summary(condition.measure, self.flipped)
        assert isinstance(summed, Summed)
        self.summed: Summed = summed
        operators = {test.operator for test in condition.measure.tests}
        upwards = {"lt", "lte"} if self.flipped else {"gt", "gte"}
        self.rising: bool = not isinstance(summed, Averaged) and operators <= upwards

    def take(self, kept: list[Any] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value, now_ms = self.summed.value(event), contact.clock_ms
        until_ms = now_ms - self.window_ms if self.window_ms else self.until_ms(now_ms)
        if value is None or at_ms <= until_ms:
            return None
        if kept is None:
            kept = [0, [], None, 0]
        entries = kept[1]
        put(entries, [at_ms, value])
        total = kept[0] = plus(kept[0], value)
        if value < 0:
            kept[3] += 1
        if type(total) is str:
            contact.bytes_estimated += len(total)
        if entries[0][0] <= until_ms:
            self._drop(kept, bisect_right(entries, until_ms, key=time_of))
        if len(entries) > self.events_max:
            self._bound(kept, contact)
        elif self.rising and value >= 0 and kept[2] is not None and kept[2] > now_ms:
            return kept, True, kept[2]
        return kept, *self._answer(kept, contact, now_ms, _LOOKED_AT_BY_EVENTS_MAX)

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        self._expire(kept, now_ms)
        return self._answer(kept, contact, now_ms, _LOOKED_AT_MAX)

    def _answer(self, kept: list[Any], contact: Contact, now_ms: int, looked_at_max: int) -> Read:
        answer = self.summed.passes_total(kept[0], len(kept[1])) if kept[1] else False
        due_ms: int | None = None
        if answer or not self.rising or kept[3]:
            due_ms = self._turn_ms(kept, contact, now_ms, answer, looked_at_max)
        kept[2] = due_ms if answer else None
        return answer, due_ms

    def _turn_ms(self, kept: list[Any], contact: Contact, now_ms: int, answer: bool, looked_at_max: int) -> int | None:
        """When the answer turns as the oldest leave, or one of them leaves before that; None: it doesn't."""
        total, entries, passes_total = kept[0], kept[1], self.summed.passes_total
        left = len(entries)
        for at_ms, value in entries[:looked_at_max]:
            total = plus(total, -value)
            left -= 1
            if (left > 0 and passes_total(total, left)) is not answer:
                return self.goes_ms(at_ms, now_ms, contact)
        if len(entries) <= looked_at_max:
            return None
        return self.goes_ms(entries[looked_at_max][0], now_ms, contact)

    def _expire(self, kept: list[Any], now_ms: int) -> None:
        entries, until_ms = kept[1], self.until_ms(now_ms)
        if entries and entries[0][0] <= until_ms:
            self._drop(kept, bisect_right(entries, until_ms, key=time_of))

    def _bound(self, kept: list[Any], contact: Contact) -> None:
        over = len(kept[1]) - self.events_max
        if over > 0:
            contact.limits_passed += over
            self._drop(kept, over)

    def _drop(self, kept: list[Any], oldest: int) -> None:
        for _, value in kept[1][:oldest]:
            kept[0] = plus(kept[0], -value)
            if value < 0:
                kept[3] -= 1
        del kept[1][:oldest]
        if not kept[1]:
            kept[0] = 0  # the text of a sum that was of large numbers isn't carried on

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        if kept is None or other is None:
            return other if kept is None else kept
        both = [plus_total(kept[0], other[0]), sorted(kept[1] + other[1], key=time_of), None, kept[3] + other[3]]
        self._bound(both, contact)
        return both

    def times(self, kept: list[Any] | None) -> list[int]:
        return [] if kept is None else list(map(time_of, kept[1]))

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        if kept is not None:
            self._drop(kept, bisect_right(kept[1], before_ms, key=time_of))
            kept[2] = None
        return kept

    def is_empty(self, kept: Any) -> bool:
        return kept is None or not kept[1]


class ExtremeWithin(Window):
    """Least or greatest value in the window.

    Keeps, oldest first, `[at_ms, value]` of those that no later one covers: each is the extreme once those before it have
    left. A late one is kept unless a later one covers it, and drops those before it that it covers.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        extreme = summary(condition.measure, self.flipped)
        assert isinstance(extreme, Extreme)
        self.extreme: Extreme = extreme

    def take(self, kept: list[Any] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value, now_ms = self.extreme.value(event), contact.clock_ms
        if value is None or at_ms <= self.until_ms(now_ms):
            return None
        entries: list[Any] = [] if kept is None else kept
        if not self._add(entries, at_ms, value):
            return None
        drop_oldest(entries, self.events_max, contact)
        return entries, *self.read(entries, contact, now_ms)

    def _add(self, entries: list[Any], at_ms: int, value: Any) -> bool:
        """Whether it is worth keeping; then it is, and those that it covers aren't."""
        at = bisect_left(entries, at_ms, key=time_of)
        if at < len(entries) and self.extreme.covers(entries[at][1], value):
            return False
        end = at + 1 if at < len(entries) and entries[at][0] == at_ms else at
        while at > 0 and self.extreme.covers(value, entries[at - 1][1]):
            at -= 1
        entries[at:end] = [[at_ms, value]]
        return True

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        if not kept:
            return False, None
        until_ms = self.until_ms(now_ms)
        if kept[0][0] <= until_ms:
            del kept[: bisect_right(kept, until_ms, key=time_of)]
            if not kept:
                return False, None
        answer = self.extreme.passes(kept[0][1])
        looked_at = min(len(kept), _LOOKED_AT_MAX)
        for at in range(1, looked_at):
            if self.extreme.passes(kept[at][1]) is not answer:
                return answer, self.goes_ms(kept[at - 1][0], now_ms, contact)
        if not answer and looked_at == len(kept):
            return False, None
        return answer, self.goes_ms(kept[looked_at - 1][0], now_ms, contact)

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        if kept is None or other is None:
            return other if kept is None else kept
        for at_ms, value in other:
            self._add(kept, at_ms, value)
        drop_oldest(kept, self.events_max, contact)
        return kept

    def times(self, kept: list[Any] | None) -> list[int]:
        return list(map(time_of, kept or []))

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        return kept[bisect_right(kept, before_ms, key=time_of) :] if kept else None


class DistinctWithin(Window):
    """Different values in the window.

    Keeps of each value the time it was last seen, those seen longest ago first, and of them the newest as many as the
    highest count that matters: with more in the window the answer is that of so many, and the others leave before them.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        distinct = summary(condition.measure, self.flipped)
        assert isinstance(distinct, Distinct)
        self.distinct: Distinct = distinct

    def limit(self, events_max: int, values_max: int) -> None:
        super().limit(events_max, values_max)
        self.distinct.limit(values_max)

    def take(self, kept: dict[str, int] | None, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        value, now_ms = self.distinct.value(event), contact.clock_ms
        if value is None or at_ms <= self.until_ms(now_ms) or not self.distinct.flips:
            return None
        seen = {} if kept is None else kept
        before_ms = seen.pop(value, None)
        last_ms = next(reversed(seen.values())) if seen else at_ms
        if before_ms is None:
            contact.bytes_estimated += self.distinct.bytes_max(seen, event)
        seen[value] = at_ms if before_ms is None or before_ms < at_ms else before_ms
        if seen[value] < last_ms:
            seen = _by_time(seen)
        seen = self._newest(seen, contact)
        return seen, *self.read(seen, contact, now_ms)

    def _newest(self, seen: dict[str, int], contact: Contact) -> dict[str, int]:
        over = len(seen) - self.distinct.values_max
        for value in list(itertools.islice(seen, max(over, 0))):
            del seen[value]
            if self.distinct.values_max < self.distinct.flips[-1]:
                contact.limits_passed += 1
        return seen

    def read(self, kept: dict[str, int] | None, contact: Contact, now_ms: int) -> Read:
        if not kept:
            return False, None
        until_ms = self.until_ms(now_ms)
        for value in [value for value, _ in itertools.takewhile(lambda item: item[1] <= until_ms, kept.items())]:
            del kept[value]
        flips, count = self.distinct.flips, len(kept)
        below = bisect_right(flips, count)
        if not below:
            return False, None
        last_ms = next(itertools.islice(kept.values(), count - flips[below - 1], None))
        return below & 1 == 1, self.goes_ms(last_ms, now_ms, contact)

    def merge(self, kept: dict[str, int] | None, other: dict[str, int] | None, contact: Contact) -> Any:
        if kept is None or other is None:
            return other if kept is None else kept
        for value, at_ms in other.items():
            kept[value] = max(at_ms, kept.get(value, at_ms))
        return self._newest(_by_time(kept), contact)

    def times(self, kept: dict[str, int] | None) -> list[int]:
        return list(kept.values()) if kept else []

    def shed(self, kept: dict[str, int] | None, before_ms: int) -> dict[str, int] | None:
        return self.distinct.shed(kept, before_ms) if kept else None


def _by_time(seen: dict[str, int]) -> dict[str, int]:
    """Values in the order in which they were last seen."""
    return dict(sorted(seen.items(), key=lambda item: item[1]))
