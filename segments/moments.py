"""The measures of when, and of what was then: `first_at last_at earliest latest regularly`."""

from collections.abc import Iterable
from typing import Any

from schemas.events import Event
from segments.conditions import Measure, Where
from segments.contact import Contact
from segments.leaf import Read, encoded_bytes_max
from segments.matching import paths_of
from segments.predicates import finder, instant_predicate, where_predicate
from segments.summary import Summary


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

    def times(self, kept: list[Any]) -> Iterable[int]:
        return () if self.fixed is not None else kept[:1]

    def shed(self, kept: list[Any], before_ms: int) -> list[Any] | None:
        return kept if self.fixed is not None or kept[0] > before_ms else None


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
        """The answer at `now_ms`, and the instant at which it turns if nothing happens."""
        if not kept:
            return False, None
        counts = [0] * self.periods
        moves: list[tuple[int, int]] = []  # how long from now each event moves on, and from which period
        for at_ms in kept:
            period, into_ms = divmod(now_ms - at_ms, self.every_ms)
            if period < self.periods:
                counts[period] += 1
                moves.append((self.every_ms - into_ms, period))
        met = 0  # a bit for each period
        for period, count in enumerate(counts):
            if count >= self.times_needed:
                met |= 1 << period
        answer = met.bit_count() >= self.at_least
        if not answer and len(moves) < self.at_least * self.times_needed:
            return False, None
        moves.sort()
        turn_ms = self._turn_ms(answer, counts, met, moves)
        return answer, None if turn_ms is None else now_ms + turn_ms

    def _turn_ms(self, answer: bool, counts: list[int], met: int, moves: list[tuple[int, int]]) -> int | None:
        """How long from now the answer turns; None: never.

        Once each event has moved, all stand as now, one period on, without those that left. So one round of moves says
        it all: what is met after some of them is met a round later as far as it is not in the last period, and so on. A
        false answer turns in the first round or never; of a true one, the fewest rounds are looked for.
        """
        rounds, turn_ms = self.periods + 1, None
        for at, (move_ms, period) in enumerate(moves, 1):
            met = self._moved(counts, met, period)
            if at < len(moves) and moves[at][0] == move_ms:
                continue
            if not answer:
                if met.bit_count() >= self.at_least:
                    return move_ms
                continue
            while rounds and (met & ((1 << (self.periods - rounds + 1)) - 1)).bit_count() < self.at_least:
                rounds -= 1
                turn_ms = move_ms + rounds * self.every_ms
            if not rounds:
                break
        return turn_ms

    def _moved(self, counts: list[int], met: int, period: int) -> int:
        """The periods that are met once an event has moved on from one."""
        if counts[period] == self.times_needed:
            met ^= 1 << period
        counts[period] -= 1
        if period + 1 < self.periods:
            counts[period + 1] += 1
            if counts[period + 1] == self.times_needed:
                met |= 1 << period + 1
        return met

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
