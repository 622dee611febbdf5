"""How the events that match a sequence's steps make up matches: pure arithmetic on times (language page, section 7).

A *chain* is a matching event for each event step up to some step, in strictly increasing time, each in the window of its
step and with nothing between that an `absent` step forbids. Of all chains that end with one event, only the latest start
matters: it stays in a `started` window longest, and what may follow depends on where the chain ends alone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from schemas.instants import INSTANT_MS_MAX
from segments.conditions import Step

# later than any instant plus any duration
FOREVER_MS = 2**62

# an event: `[when it happened, [indexes of the steps that it matches]]`
Matched = list[Any]
# when a match completes, and when its first event happened
Match = tuple[int, int]


class Gap:
    """What lies between an event step and the next, or after the last: a window, and what may not happen in it.

    `within_ms`: of the next event, None for any time later. `absents`: `(step, within_ms)` of those that forbid.
    """

    def __init__(self, within_ms: int | None, absents: list[tuple[int, int | None]]) -> None:
        self.within_ms = within_ms
        self.absents = absents

    def limit_ms(self, at_ms: int, absent_times: list[list[int]]) -> int:
        """The last instant at which the next event may follow one of `at_ms`: at that of a forbidden one it still may."""
        limit_ms = FOREVER_MS if self.within_ms is None else at_ms + self.within_ms
        for step, within_ms in self.absents:
            times = absent_times[step]
            first = bisect_right(times, at_ms)
            if first < len(times) and (within_ms is None or times[first] <= at_ms + within_ms):
                limit_ms = min(limit_ms, times[first])
        return limit_ms

    def is_kept(self, at_ms: int, absent_times: list[list[int]]) -> bool:
        """Whether nothing that is forbidden has happened after `at_ms` and within its window."""
        for step, within_ms in self.absents:
            assert within_ms is not None, "a last step that is absent has a window"
            times = absent_times[step]
            first = bisect_right(times, at_ms)
            if first < len(times) and times[first] <= at_ms + within_ms:
                return False
        return True


class Open:
    """The chains that end with one event step and may go on over the gap after it."""

    def __init__(self, gap: Gap) -> None:
        self._gap = gap
        self._chains: list[tuple[int, int]] = []  # a heap: (-start, the last instant for the next event)
        self._limit_ms = -FOREVER_MS  # the latest of these

    def put(self, start_ms: int, at_ms: int, absent_times: list[list[int]]) -> None:
        """Add a chain that ends at `at_ms`."""
        limit_ms = self._gap.limit_ms(at_ms, absent_times)
        if limit_ms >= self._limit_ms:
            self._limit_ms = limit_ms
            if self._chains and -self._chains[0][0] <= start_ms:
                self._chains.clear()  # none of them starts or ends later
        heappush(self._chains, (-start_ms, limit_ms))

    def latest(self, at_ms: int) -> int | None:
        """The latest start of the chains that an event of `at_ms` may extend; those it comes too late for never return."""
        chains = self._chains
        while chains and chains[0][1] < at_ms:
            heappop(chains)
        return -chains[0][0] if chains else None


class Chains:
    """The steps of a sequence, ready to be matched.

    `last`: index of the last event step. `trailing_ms`: how long after its event a match completes, 0 where nothing is
    asked to stay absent then. `span_ms`: how long a chain can take, None where some event may come any time later.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.positions: list[int] = []  # of each step, its place among the event steps; -1: absent
        self.event_steps: list[int] = []
        self.gaps: list[Gap] = []
        self.last = 0
        self.span_ms: int | None = 0
        absents: list[tuple[int, int | None]] = []
        events = 0
        for index, step in enumerate(steps):
            if step.absent:
                self.positions.append(-1)
                absents.append((index, step.within_ms))
                continue
            self.positions.append(events)
            if events:
                self.gaps.append(Gap(step.within_ms, absents))
                both = self.span_ms is not None and step.within_ms is not None
                self.span_ms = self.span_ms + step.within_ms if both else None  # type: ignore[operator]
                absents = []
            events += 1
            self.event_steps.append(index)
            self.last = index
        self.events = events
        self.trailing = Gap(None, absents)
        self.trailing_ms = max([within_ms or 0 for _, within_ms in absents], default=0)
        self.forbids = -1 in self.positions

    def matches(self, entries: Sequence[Matched]) -> list[Match]:
        """The matches among `entries` (by time), those to complete included: of each last event, the latest start."""
        starts = self.latest_starts(entries)
        if not self.trailing.absents or not starts:
            return starts
        times = self._absent_times(entries)
        return [
            (at_ms + self.trailing_ms, start_ms) for at_ms, start_ms in starts if self.trailing.is_kept(at_ms, times)
        ]

    def telling(
        self, entries: Sequence[Matched], now_ms: int, completed_ms: int | None, started_ms: int | None
    ) -> list[Match]:
        """Matches that make up the same answer as all do, and turn no later; mostly one, found by looking back.

        That is the newest that has completed, where none starts later: it stands longest. Where something is to stay
        absent after it, matches that are yet to complete may go on from it, so this holds without windows alone.
        """
        until_ms = now_ms - self.trailing_ms
        no_window = completed_ms is None and started_ms is None
        if entries and entries[-1][0] <= now_ms and (no_window or not self.trailing.absents):
            for index in range(len(entries) - 1, -1, -1):
                at_ms, steps = entries[index]
                if completed_ms is not None and at_ms <= until_ms - completed_ms:
                    return []
                if at_ms <= until_ms and self.last in steps:
                    start_ms = self._led_back(entries, index)
                    times = self._absent_times(entries[index:]) if self.trailing.absents else []
                    if start_ms is not None and self.trailing.is_kept(at_ms, times):
                        return [(at_ms + self.trailing_ms, start_ms)]
                    break
        return self.matches(entries)

    def latest_starts(self, entries: Sequence[Matched]) -> list[Match]:
        """Of each event that ends a chain through all event steps, `(its time, the latest start)`; O(n log n)."""
        usable = self._usable(entries)
        if usable is None:
            return []
        first_ms, last_ms = usable
        times = self._absent_times(entries) if self.forbids else []
        open_chains = [Open(gap) for gap in self.gaps]
        found: list[Match] = []
        fresh: list[tuple[int, int]] = []  # chains that end at this very instant: none of its events can extend them
        now_ms, lowest = -FOREVER_MS, 0
        for at_ms, steps in entries:
            if at_ms != now_ms:
                for position, start_ms in fresh:
                    open_chains[position].put(start_ms, now_ms, times)
                fresh.clear()
                now_ms = at_ms
                while lowest < self.events and last_ms[lowest] < at_ms:
                    lowest += 1
                if lowest == self.events:
                    break
            for step in steps[bisect_left(steps, self.event_steps[lowest]) :]:
                position = self.positions[step]
                if position < 0:
                    continue
                if first_ms[position] > at_ms:
                    break
                start = at_ms if position == 0 else open_chains[position - 1].latest(at_ms)
                if start is None:
                    continue
                if position == self.events - 1:
                    found.append((at_ms, start))
                else:
                    fresh.append((position, start))
        return found

    def _usable(self, entries: Sequence[Matched]) -> tuple[list[int], list[int]] | None:
        """Of each event step, when the first and the last event happened that steps before and after it leave room for.

        None where the steps don't follow each other at all, whatever lies between: then there is no chain.
        """
        first_ms: list[int] = []
        for at_ms, steps in entries:
            if self.event_steps[len(first_ms)] in steps and (not first_ms or at_ms > first_ms[-1]):
                first_ms.append(at_ms)
                if len(first_ms) == self.events:
                    break
        else:
            return None
        last_ms: list[int] = []
        for at_ms, steps in reversed(entries):
            if self.event_steps[-1 - len(last_ms)] in steps and (not last_ms or at_ms < last_ms[-1]):
                last_ms.append(at_ms)
                if len(last_ms) == self.events:
                    break
        return first_ms, last_ms[::-1]

    def _led_back(self, entries: Sequence[Matched], index: int) -> int | None:
        """The start of the chain to that last event in which each event is the newest before the next.

        None where that is no chain, though another may be; where it is, no other to here or before starts later.
        """
        at_ms: int = entries[index][0]
        for position in range(self.events - 2, -1, -1):
            step, gap, next_ms, end = self.event_steps[position], self.gaps[position], at_ms, index
            while index >= 0 and (entries[index][0] >= next_ms or step not in entries[index][1]):
                index -= 1
            if index < 0:
                return None
            at_ms = entries[index][0]
            times = self._absent_times(entries[index:end]) if gap.absents else []
            if next_ms > gap.limit_ms(at_ms, times):
                return None
        return at_ms

    def _absent_times(self, entries: Sequence[Matched]) -> list[list[int]]:
        """Of each step, when its matches happened; empty for event steps."""
        times: list[list[int]] = [[] for _ in self.positions]
        for at_ms, steps in entries:
            for step in steps:
                if self.positions[step] < 0:
                    times[step].append(at_ms)
        return times

    def may_turn(self, entries: Sequence[Matched], answer: bool, due_ms: int | None) -> bool:
        """Whether the newest of `entries` may change more than put off when a true answer ends, or one due turns.

        An event later than all others changes nothing that has been: it completes a chain if it matches the last event
        step, or is what may not happen after one. What it begins or forbids further on shows with what comes later.
        """
        at_ms, steps = entries[-1]
        is_due_before = due_ms is not None and due_ms <= at_ms + self.trailing_ms
        if self.last in steps and not answer and not is_due_before and self._ends_chain(entries, at_ms):
            return True
        for step, within_ms in self.trailing.absents:
            if step in steps and within_ms is not None and self._follows_last(entries, at_ms, within_ms):
                return True
        return False

    def _ends_chain(self, entries: Sequence[Matched], at_ms: int) -> bool:
        if self.span_ms is None:
            return True  # as dear to find out as to read anew
        if self._led_back(entries, len(entries) - 1) is not None:
            return True
        first = bisect_left(entries, at_ms - self.span_ms, key=_time)
        return any(end_ms == at_ms for end_ms, _ in self.latest_starts(entries[first:]))

    def _follows_last(self, entries: Sequence[Matched], at_ms: int, within_ms: int) -> bool:
        """Whether an event of the last event step lies less than `at_ms`, and no more than `within_ms` before it."""
        for index in range(len(entries) - 1, -1, -1):
            before_ms, steps = entries[index]
            if before_ms < at_ms - within_ms:
                return False
            if before_ms < at_ms and self.last in steps:
                return True
        return False


def standing(
    matches: Sequence[Match], now_ms: int, completed_ms: int | None, started_ms: int | None
) -> tuple[bool, int | None]:
    """Whether some match is complete, and recent enough, now; and when that changes if nothing happens, None for never.

    A match counts from the instant it completes until that leaves the `completed` window, or its start the `started` one.
    """
    spans: list[tuple[int, int]] = []
    for completes_ms, start_ms in matches:
        end_ms = FOREVER_MS if completed_ms is None else completes_ms + completed_ms
        if started_ms is not None:
            end_ms = min(end_ms, start_ms + started_ms)
        if end_ms > completes_ms and end_ms > now_ms:
            spans.append((completes_ms, end_ms))
    spans.sort()
    answer, until_ms = False, now_ms
    for from_ms, end_ms in spans:
        if from_ms > now_ms and not answer:
            return False, from_ms if from_ms <= INSTANT_MS_MAX else None
        if from_ms > until_ms:
            break  # true until then, not as far as the next
        answer, until_ms = True, max(until_ms, end_ms)
    return answer, until_ms if answer and until_ms <= INSTANT_MS_MAX else None


def _time(entry: Matched) -> int:
    return entry[0]  # type: ignore[no-any-return]
