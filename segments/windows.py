"""The leaves over events in a window that ends now: `within: D`, or a calendar word of today or a period with today in it.

Events go out of such a window in the order of their times, and never come in but by happening. So most measures need
few of them: one that will go out before another that outdoes it can be forgotten at once.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from schemas.events import Event
from segments.amounts import Counted, kept_max
from segments.conditions import EventIs
from segments.contact import Contact
from segments.instants import SHIFT, SIZE, from_bytes, pack, packed, put, unpack, until
from segments.leaf import EventLeaf, Read, Taken
from segments.measures import summary

# so few times are kept until more come, though the window has left them
FEW = 8


class Window(EventLeaf):
    """Base of these leaves: until when an event counts, and from when on."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.window_ms: int = self.stretch.rolling_ms

    def until_ms(self, now_ms: int) -> int:
        """Events up to this instant count no more."""
        return now_ms - self.window_ms if self.window_ms else self.stretch.forgotten_ms(now_ms) - 1

    def goes_ms(self, at_ms: int, now_ms: int, contact: Contact) -> int | None:
        """When an event of `at_ms`, which counts now, goes out; None: not before the end of time."""
        return at_ms + self.window_ms if self.window_ms else self.stretch.next_ms(at_ms, now_ms, contact)


class CountWithin(Window):
    """Matching events in the window.

    Keeps the times of the newest as many as the highest count at which the answer flips, oldest first: with more in the
    window the answer is that of so many, and one older than those leaves the window before them. A late one finds its
    place among them, or is older than all and would be dropped had it come in time. They are packed (`instants.py`); one
    time that flips nothing by itself is kept as it is: most of what contacts have are those. A few that the window has
    left may stay until there are enough to flip the answer.
    """

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        counted = summary(condition.measure, self.flipped)
        assert isinstance(counted, Counted)
        self.flips: tuple[int, ...] = counted.flips
        self.times_max = self.few = 0
        self.limit(self.events_max, self.values_max)

    def limit(self, events_max: int, values_max: int) -> None:
        super().limit(events_max, values_max)
        self.times_max = kept_max(self.flips, events_max)
        # in bytes: while there are fewer, which flip nothing, nobody looks at which of them still count
        self.few = SIZE * self.flips[0] if self.flips and self.flips[0] <= min(FEW, self.times_max) else 0

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        flips, now_ms = self.flips, contact.clock_ms
        until_ms = now_ms - self.window_ms if self.window_ms else self.until_ms(now_ms)
        if at_ms <= until_ms or not flips:
            return None
        if kept is None and flips[0] > 1:
            return at_ms, False, None
        one = (at_ms + SHIFT).to_bytes(SIZE, "big")
        times: bytes = kept if type(kept) is bytes else _times(kept)
        times = times + one if one >= times[-SIZE:] else put(times, one)
        if len(times) < self.few:
            return times, False, None
        if from_bytes(times[:SIZE], "big") - SHIFT <= until_ms:
            times = times[SIZE:]  # most often it is the only one
            if from_bytes(times[:SIZE], "big") - SHIFT <= until_ms:
                times = times[SIZE * until(times, until_ms) :]
        if len(times) > self.times_max * SIZE:
            times = self._bound(times, contact)
        if len(times) < flips[0] * SIZE:
            return times, False, None
        return times, *self._answer(times, contact, now_ms)

    def _bound(self, times: bytes, contact: Contact) -> bytes:
        """The newest that matter; no limit is passed where those before them don't."""
        over = len(times) // SIZE - self.times_max
        if over > 0 and self.times_max < self.flips[-1]:
            contact.limits_passed += over
        return times[over * SIZE :] if over > 0 else times

    def _answer(self, times: bytes, contact: Contact, now_ms: int) -> Read:
        """The answer of times that are all in the window."""
        count = len(times) // SIZE
        below = bisect_right(self.flips, count)
        if not below:
            return False, None
        # down to one less than the flip below: when the oldest (count - flip + 1) have left the window
        last = SIZE * (count - self.flips[below - 1])
        last_ms = from_bytes(times[last : last + SIZE], "big") - SHIFT
        due_ms = last_ms + self.window_ms if self.window_ms else self.goes_ms(last_ms, now_ms, contact)
        return below & 1 == 1, due_ms

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        if kept is None or type(kept) is int:
            return False, None
        return self._answer(self.left(kept, now_ms) or b"", contact, now_ms)

    def left(self, kept: Any, now_ms: int) -> bytes | None:
        """What is left of what is kept when the window ends at `now_ms`."""
        times = _times(kept)
        return times[SIZE * until(times, self.until_ms(now_ms)) :] or None

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        return self._bound(pack(sorted([*self.times(kept), *self.times(other)])), contact) or None

    def times(self, kept: Any) -> list[int]:
        return unpack(_times(kept))

    def shed(self, kept: Any, before_ms: int) -> Any:
        times = _times(kept)
        return times[SIZE * until(times, before_ms) :] or None


def _times(kept: Any) -> bytes:
    """The times packed, as the leaf keeps them, or as formats up to 3 had them."""
    if type(kept) is bytes:
        return kept
    if kept is None:
        return b""
    return packed(kept) if type(kept) is int else pack(kept)


class NewestWithin(Window):
    """`last_at` and `latest` of the window: the measure's own summary, which is of the newest event: it leaves last."""

    def __init__(self, condition: EventIs) -> None:
        super().__init__(condition)
        self.summary = summary(condition.measure, self.flipped)
        self.traits |= self.summary.traits

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        if self.gate is not None and not self.gate(event, at_ms):
            return None
        if at_ms <= self.until_ms(contact.clock_ms):
            return None
        if kept is not None and at_ms < (kept if isinstance(kept, int) else kept[0]):
            return None
        kept = self.summary.add(kept, at_ms, self.summary.value(event))
        contact.bytes_estimated += self.summary.bytes_max(kept, event)
        return kept, *self.read(kept, contact, contact.clock_ms)

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        if kept is None:
            return False, None
        at_ms = kept if isinstance(kept, int) else kept[0]
        if at_ms <= self.until_ms(now_ms):
            return False, None
        answer, due_ms = self.summary.read(kept, contact, now_ms)
        goes_ms = self.goes_ms(at_ms, now_ms, contact)
        if answer and goes_ms is not None:
            due_ms = goes_ms if due_ms is None else min(due_ms, goes_ms)
        elif due_ms is not None and goes_ms is not None and goes_ms <= due_ms:
            due_ms = None  # it has left by then
        return answer, due_ms

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        if kept is None or other is None:
            return other if kept is None else kept
        return self.summary.merge(kept, other)

    def times(self, kept: Any) -> Iterable[int]:
        return () if kept is None else self.summary.times(kept)

    def shed(self, kept: Any, before_ms: int) -> Any:
        return None if kept is None else self.summary.shed(kept, before_ms)

    def is_empty(self, kept: Any) -> bool:
        return kept is None
