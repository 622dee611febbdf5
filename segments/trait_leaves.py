"""The leaves over traits, and over the time since when a contact is known: what each keeps, and what it answers now.

As the leaves over events do, they keep plain data, None for nothing, and say when time alone may change their answer.
`traits` are the top-level traits whose change may change it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.instants import INSTANT_MS_MAX
from segments.canonical import leaf_key
from segments.conditions import Known, TraitIs
from segments.contact import EVENTS_KEPT_MAX, Contact, drop_oldest, find_trait, trait_keys, trait_ways
from segments.predicates import instant_predicate, predicate
from segments.values import eq_key

# the answer, and the next instant at which time alone may change it: maybe early, never late; None: never
Read = tuple[bool, int | None]

# what one written value takes at most in a state's record: a number, and a key of 40 characters
_WRITE_BYTES = 176


class KeepsNothing:
    """What is common to leaves that ask the contact itself: nothing is kept, merged or shed."""

    def limit(self, events_max: int, values_max: int) -> None:
        """Set how much may be kept."""

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        """Two histories as one."""
        return None

    def times(self, kept: Any) -> Iterable[int]:
        """The times of what `shed` can take away."""
        return ()

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without what happened up to `before_ms`."""
        return None

    def is_empty(self, kept: Any) -> bool:
        """Whether `kept` says no more than None."""
        return True


class TraitLeaf(KeepsNothing):
    """A trait against one operator, but for `unchanged_for`: the contact's traits are all that is asked."""

    def __init__(self, condition: TraitIs) -> None:
        self.key: int = leaf_key(condition)
        self.ways = trait_ways(condition.path)
        self.test = predicate(condition.test)
        self.traits: frozenset[str] = trait_keys(condition.path) | self.test.traits

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change."""
        value, test = find_trait(contact.traits, self.ways), self.test
        if test.fixed is not None:
            return test.fixed(value), None
        return test.holds(value, now_ms, contact), test.next_ms(value, now_ms, contact)


class KnownLeaf(KeepsNothing):
    """The time of the contact's first event against a date operator; true of nothing, as of anyone, where that is past."""

    def __init__(self, condition: Known) -> None:
        self.key: int = leaf_key(condition)
        self.test = instant_predicate(condition.test)
        self.traits: frozenset[str] = self.test.traits

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change."""
        first_ms, test = contact.first_ms, self.test
        return test.holds(first_ms, now_ms, contact), test.next_ms(first_ms, now_ms, contact)


class UnchangedFor:
    """A trait whose value has been written, and nothing else, for `duration_ms`.

    Keeps the writes of the last `duration_ms` and, of each top-level trait the path may lead through, the newest one
    before that: `[at_ms, index of the way, key of the value or None, …]` for each event, by time, then arrival. What one
    event writes is one entry, as between its traits the value never was another. Equal values can't be joined into one
    entry: a late write of another value may come between them. What lies further back can't matter: the run that reaches
    over the whole duration begins at or before the newest write outside of it.
    """

    def __init__(self, condition: TraitIs) -> None:
        self.key: int = leaf_key(condition)
        self.ways = trait_ways(condition.path)
        self.keys: tuple[str, ...] = tuple(key for key, _ in self.ways)
        self.traits: frozenset[str] = frozenset(self.keys)
        self.duration_ms: int = condition.test.argument
        self.writes_max: int = EVENTS_KEPT_MAX

    def limit(self, events_max: int, values_max: int) -> None:
        """Set how many writes may be kept, in place of the default: as many as events."""
        self.writes_max = events_max

    def write(
        self, kept: list[Any] | None, written: Mapping[str, Any], at_ms: int, contact: Contact
    ) -> list[Any] | None:
        """What is kept once an event of `at_ms` has written these traits, of whatever names: all of them at once."""
        entry: list[Any] = [at_ms]
        for at, (key, rest) in enumerate(self.ways):
            if key in written:
                value = written[key]
                if rest is not None:
                    value = rest(value) if type(value) is dict else None
                entry += [at, None if value is None or value == "" else eq_key(value)]
        if len(entry) == 1:
            return kept
        writes = kept if kept is not None else []
        writes.insert(bisect_right(writes, at_ms, key=_time_of), entry)
        contact.bytes_estimated += _WRITE_BYTES * (len(entry) // 2)
        return self._bounded(writes, contact)

    def read(self, kept: list[Any] | None, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change; drops from `kept` what can't matter any more."""
        if not kept:
            return False, None
        self._forget(kept, now_ms - self.duration_ms)
        since_ms = self._since(kept)
        if since_ms is None:
            return False, None
        due_ms = since_ms + self.duration_ms
        if due_ms <= now_ms:
            return True, None
        return False, due_ms if due_ms <= INSTANT_MS_MAX else None

    def merge(self, kept: list[Any] | None, other: list[Any] | None, contact: Contact) -> list[Any] | None:
        """Two histories as one: each write at its own time."""
        if not kept or not other:
            return kept or other
        return self._bounded(sorted(kept + other, key=_time_of), contact)

    def times(self, kept: list[Any] | None) -> Iterable[int]:
        """The times of what `shed` can take away."""
        return [_time_of(entry) for entry in kept or ()]

    def shed(self, kept: list[Any] | None, before_ms: int) -> list[Any] | None:
        """What is left without the writes up to `before_ms`."""
        return kept[bisect_right(kept, before_ms, key=_time_of) :] if kept else None

    def is_empty(self, kept: list[Any] | None) -> bool:
        """Whether `kept` says no more than None."""
        return not kept

    def _bounded(self, writes: list[Any], contact: Contact) -> list[Any]:
        self._forget(writes, contact.clock_ms - self.duration_ms)
        drop_oldest(writes, self.writes_max, contact)
        return writes

    def _forget(self, writes: list[Any], until_ms: int) -> None:
        """Drop what was written up to `until_ms` to a trait that was written again by then."""
        newer: set[int] = set()
        for i in range(bisect_right(writes, until_ms, key=_time_of) - 1, -1, -1):
            entry = writes[i]
            left = [entry[0]]
            for at in range(1, len(entry), 2):
                if entry[at] not in newer:
                    newer.add(entry[at])
                    left += entry[at : at + 2]
            if len(left) == 1:
                del writes[i]
            elif len(left) < len(entry):
                writes[i] = left

    def _since(self, kept: list[Any]) -> int | None:
        """When the latest run of one value began, None where the latest value is absent."""
        values: list[str | None] = [None] * len(self.ways)
        since_ms: int | None = None
        current: str | None = None
        for entry in kept:
            for at in range(1, len(entry), 2):
                values[entry[at]] = entry[at + 1]
            found = next((value for value in values if value is not None), None)
            if found != current:
                current = found
                since_ms = entry[0]
        return None if current is None else since_ms


def trait_leaf(condition: TraitIs) -> TraitLeaf | UnchangedFor:
    """The leaf of a normal trait condition."""
    return UnchangedFor(condition) if condition.test.operator == "unchanged_for" else TraitLeaf(condition)


def _time_of(entry: list[Any]) -> int:
    return entry[0]  # type: ignore[no-any-return]
