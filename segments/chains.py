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


class Chains:
    """The steps of a sequence, ready to be matched.

    `last`: index of the last event step. `trailing_ms`: how long after its event a match completes, 0 where nothing is
    asked to stay absent then. `span_ms`: how long a chain can take, None where some event may come any time later.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.positions: list[int] = []  # of each step, its place among the event steps; -1: absent
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

    def latest_starts(self, entries: Sequence[Matched]) -> list[Match]:
        """Of each event that ends a chain through all event steps, `(its time, the latest start)`; O(n log n)."""
        times = self._absent_times(entries) if self.forbids else []
        # of each event step, the chains that end there and may go on: (-start, the last instant for the next event)
        open_chains: list[list[tuple[int, int]]] = [[] for _ in range(self.events)]
        found: list[Match] = []
        fresh: list[tuple[int, int]] = []  # chains that end at this very instant: none of its events can extend them
        now_ms = -FOREVER_MS
        for at_ms, steps in entries:
            if at_ms != now_ms:
                self._open(fresh, now_ms, open_chains, times)
                now_ms = at_ms
            for step in steps:
                position = self.positions[step]
                if position < 0:
                    continue
                start_ms: int | None = at_ms if position == 0 else _latest(open_chains[position - 1], at_ms)
                if start_ms is None:
                    continue
                if position == self.events - 1:
                    found.append((at_ms, start_ms))
                else:
                    fresh.append((position, start_ms))
        return found

    def _open(
        self,
        fresh: list[tuple[int, int]],
        at_ms: int,
        open_chains: list[list[tuple[int, int]]],
        times: list[list[int]],
    ) -> None:
        for position, start_ms in fresh:
            heappush(open_chains[position], (-start_ms, self.gaps[position].limit_ms(at_ms, times)))
        fresh.clear()

    def _absent_times(self, entries: Sequence[Matched]) -> list[list[int]]:
        """Of each step, when its matches happened; empty for event steps."""
        times: list[list[int]] = [[] for _ in self.positions]
        for at_ms, steps in entries:
            for step in steps:
                if self.positions[step] < 0:
                    times[step].append(at_ms)
        return times

    def may_turn(self, entries: Sequence[Matched], answer: bool) -> bool:
        """Whether the newest of `entries` may change more than put off when a true answer ends.

        An event later than all others changes nothing that has been: it completes a chain if it matches the last event
        step, or is what may not happen after one. What it begins or forbids further on shows with what comes later.
        """
        at_ms, steps = entries[-1]
        if self.last in steps and not answer and self._ends_chain(entries, at_ms):
            return True
        for step, within_ms in self.trailing.absents:
            if step in steps and within_ms is not None and self._follows_last(entries, at_ms, within_ms):
                return True
        return False

    def _ends_chain(self, entries: Sequence[Matched], at_ms: int) -> bool:
        if self.span_ms is None:
            return True  # as dear to find out as to read anew
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


def _latest(chains: list[tuple[int, int]], at_ms: int) -> int | None:
    """The latest start of the chains that an event of `at_ms` may extend; those it comes too late for never return."""
    while chains and chains[0][1] < at_ms:
        heappop(chains)
    return -chains[0][0] if chains else None


def _time(entry: Matched) -> int:
    return entry[0]  # type: ignore[no-any-return]
