"""The leaves over traits: what each keeps of the writes of a trait, and what it answers now.

As the leaves over events do (`leaves.py`), they keep plain data, None for nothing, and say when time alone may change their
answer.
"""

from bisect import bisect_right
from typing import Any

from segments.canonical import leaf_key
from segments.conditions import TraitIs
from segments.leaves import EVENTS_KEPT_MAX, Read, Tally, next_moment, time_of
from segments.predicates import Predicate, predicate
from segments.values import equal, reader, splits


class TraitLeaf:
    """A trait against one operator. Keeps nothing: the contact's traits are all that is asked."""

    def __init__(self, condition: TraitIs) -> None:
        self.key = leaf_key(condition)
        self.ways = splits(condition.path)
        self._rests = [(key, None if rest is None else reader(rest)) for key, rest in self.ways]
        self._test: Predicate | None = None if condition.test.operator == "unchanged_for" else predicate(condition.test)

    def find(self, traits: dict[str, list[Any]]) -> Any:
        """The value that the path leads to in a contact's traits (`key: [value, written_at_ms]`), None if absent."""
        for key, rest in self._rests:
            entry = traits.get(key)
            if entry is None or (value := entry[0]) is None:
                continue
            if rest is None:
                return value
            if type(value) is dict and (found := rest(value)) is not None:
                return found
        return None

    def write(self, kept: Any, key: str, value: Any, at_ms: int, tally: Tally) -> Any:
        """What is kept once a trait on the path has been written."""
        return kept

    def read(self, kept: Any, traits: dict[str, list[Any]], now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change."""
        assert self._test is not None
        value = self.find(traits)
        due_ms = next_moment(self._test.moments(value), now_ms) if self._test.moments is not None else None
        return self._test.holds(value, now_ms), due_ms

    def shed(self, kept: Any, before_ms: int) -> Any:
        """Traits are not events: nothing is shed."""
        return kept


class UnchangedFor(TraitLeaf):
    """A trait whose value has been written, and nothing else, for `duration_ms`.

    Keeps the writes of the last `duration_ms` and, of each top-level trait the path may lead through, the newest one
    before that, as `[at_ms, index of the trait, value]` by time, then arrival. Equal values can't be joined into one: a
    late write of another value may come between them. What lies further back can't matter: the run that reaches over
    the whole duration begins at or before the newest write outside it.
    """

    def __init__(self, condition: TraitIs) -> None:
        super().__init__(condition)
        self.duration_ms: int = condition.test.argument
        self._index = {key: at for at, (key, _) in enumerate(self.ways)}

    def write(self, kept: list[Any] | None, key: str, value: Any, at_ms: int, tally: Tally) -> list[Any]:
        at = self._index[key]
        rest = self._rests[at][1]
        if rest is not None:
            value = rest(value) if type(value) is dict else None
        writes = kept if kept is not None else []
        writes.insert(bisect_right(writes, at_ms, key=time_of), [at_ms, at, value])
        self._forget(writes, tally.clock_ms - self.duration_ms)
        if len(writes) > EVENTS_KEPT_MAX:
            tally.limits_passed += 1
            del writes[0]
        return writes

    def _forget(self, writes: list[Any], until_ms: int) -> None:
        """Drop the writes up to `until_ms` that have a newer one of their trait up to then."""
        newest: set[int] = set()
        for i in range(bisect_right(writes, until_ms, key=time_of) - 1, -1, -1):
            if writes[i][1] in newest:
                del writes[i]
            else:
                newest.add(writes[i][1])

    def shed(self, kept: list[Any], before_ms: int) -> list[Any]:
        return kept[bisect_right(kept, before_ms, key=time_of) :]

    def read(self, kept: list[Any] | None, traits: dict[str, list[Any]], now_ms: int) -> Read:
        if not kept:
            return False, None
        self._forget(kept, now_ms - self.duration_ms)
        values: list[Any] = [None] * len(self.ways)
        since_ms, current = None, None
        for at, (at_ms, way, value) in enumerate(kept, 1):
            values[way] = value
            if at < len(kept) and kept[at][0] == at_ms and kept[at][1] != way:
                continue  # one event writes several traits at once: the value in between never was
            found = next((one for one in values if one is not None), None)
            if found is None:
                since_ms, current = None, None
            elif current is None or not equal(found, current):
                since_ms, current = at_ms, found
        if since_ms is None:
            return False, None
        due_ms = since_ms + self.duration_ms
        return (True, None) if due_ms <= now_ms else (False, due_ms)


def trait_leaf(condition: TraitIs) -> TraitLeaf:
    """The leaf of a normal trait condition."""
    return UnchangedFor(condition) if condition.test.operator == "unchanged_for" else TraitLeaf(condition)
