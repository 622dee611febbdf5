"""The leaf over sequences: what it keeps of the events that match a step, and what it answers (language page, section 7).

A late event may make, undo or lengthen a match, so the events are kept one by one: of each its time and the steps that it
matches, and its properties only where a step's test is open (`matching.py`). The answer is kept beside them, with the
instant at which it may change, so that an event that can't change it (`Chains.may_turn`) costs no more than its keeping.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heapreplace
from heapq import merge as merged
from typing import Any

from schemas.events import Event
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN
from segments.canonical import leaf_key
from segments.chains import Chains, Matched, standing
from segments.conditions import SequenceIs
from segments.contact import EVENTS_KEPT_MAX, VALUES_KEPT_MAX, Contact, drop_oldest
from segments.leaf import Read, Taken, encoded_bytes_max, put, time_of
from segments.matching import Matcher, joined_names
from segments.predicates import finder
from segments.values import eq_key

# of a group: its answer, when that may change, its events by time
_ANSWER, _DUE, _ENTRIES = 0, 1, 2
# with `by`, of all groups: the answer, when that may change, how many events, the groups
_COUNT, _GROUPS = 2, 3
# in place of when an answer may change: it has to be found anew
_STALE_MS = INSTANT_MS_MIN


class SequenceLeaf:
    """A sequence.

    Keeps a group `[answer, due, entries]`, an entry being `[at_ms, steps]`, with `properties, context` where a test is
    open; with `by`, `[answer, due, number of entries, {value: group}]`, the value seen longest ago first. Entries go when
    no match that is in its window can reach back to them (`keep_ms`). What can't be undone is all that is kept once it is
    true: a sequence that forbids nothing, has no window and asks nothing open.
    """

    def __init__(self, condition: SequenceIs) -> None:
        steps = condition.steps
        self.key: int = leaf_key(condition)
        self.matchers = tuple(Matcher(step.matching) for step in steps)
        self.names_all = tuple(step.matching.names for step in steps)
        self.plain_names: tuple[str, ...] | None = joined_names(self.matchers)
        # which steps an event matches is asked in `take`
        self.where: Callable[[Any], bool] | None = None
        self.traits: frozenset[str] = frozenset().union(*(matcher.traits for matcher in self.matchers))
        self.fixed: bool = all(matcher.fixed for matcher in self.matchers)
        self.chains = Chains(steps)
        self.completed_ms = condition.completed_ms
        self.started_ms = condition.started_ms
        self.keep_ms: int | None = self._keep_ms()
        no_window = condition.completed_ms is None and condition.started_ms is None
        self.lasts: bool = self.fixed and no_window and not self.chains.forbids
        self.by = None if condition.by is None else finder(condition.by, in_context=True)
        self.events_max: int = EVENTS_KEPT_MAX
        self.values_max: int = VALUES_KEPT_MAX

    def limit(self, events_max: int, values_max: int) -> None:
        """Set how many events and values of `by` may be kept, in place of the defaults."""
        self.events_max, self.values_max = events_max, values_max

    def _keep_ms(self) -> int | None:
        """How far back from now an event can still be part of a match in its windows, None for any time."""
        bounds = [] if self.started_ms is None else [self.started_ms]
        if self.completed_ms is not None and self.chains.span_ms is not None:
            bounds.append(self.completed_ms + self.chains.trailing_ms + self.chains.span_ms)
        return min(bounds, default=None)

    def asks(self, name: str) -> bool:
        """Whether an event of this name may match a step."""
        return any(matcher.asks(name) for matcher in self.matchers)

    # ---- taking events in -------------------------------------------------------------------------------------------

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        """Take an event in, at its own time, however late; None: it changed nothing, neither `kept` nor the answer."""
        if self.lasts and kept is not None and kept[_ANSWER]:
            return None
        if self.keep_ms is not None and at_ms <= contact.clock_ms - self.keep_ms:
            return None
        entry = self._entry(event, at_ms, contact)
        if entry is None:
            return None
        if self.by is not None:
            return self._take_by(kept, entry, event, contact)
        group = kept if kept is not None else _new_group()
        self._add(group, entry, contact)
        over = len(group[_ENTRIES]) - self.events_max
        if over > 0:
            contact.limits_passed += over
            self._shorten(group, over, contact)
        return group, group[_ANSWER], group[_DUE]

    def _entry(self, event: Event, at_ms: int, contact: Contact) -> list[Any] | None:
        """What is kept of an event, None where it matches no step."""
        steps: list[int] = []
        properties: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for step, matcher in enumerate(self.matchers):
            if matcher.accepts(event, at_ms):
                steps.append(step)
                if not matcher.fixed:
                    picked = matcher.pick(event)
                    properties.update(picked[0])
                    context.update(picked[1])
        if not steps:
            return None
        contact.bytes_estimated += 2 * len(steps)
        if self.fixed:
            return [at_ms, steps]
        contact.bytes_estimated += encoded_bytes_max(event)
        return [at_ms, steps, properties, context]

    def _add(self, group: list[Any], entry: list[Any], contact: Contact) -> None:
        """Put an entry among those of its group, and find the answer anew where it may have changed."""
        entries = group[_ENTRIES]
        if self.keep_ms is not None:
            _drop(entries, contact.clock_ms - self.keep_ms)
        put(entries, entry)
        due_ms = group[_DUE]
        is_due = due_ms is not None and due_ms <= contact.clock_ms
        in_order = entries[-1] is entry
        if is_due or not in_order or not self.fixed or self.chains.may_turn(entries, group[_ANSWER], due_ms):
            self._refresh(group, contact, contact.clock_ms)

    def _take_by(self, kept: Any, entry: list[Any], event: Event, contact: Contact) -> Taken | None:
        assert self.by is not None
        found = self.by((event.properties, event.context))
        if found is None:
            return None
        value = eq_key(found)
        if kept is None:
            kept = [False, None, 0, {}]
        groups = kept[_GROUPS]
        group = groups.pop(value, None)
        if group is None:
            group = _new_group()
            contact.bytes_estimated += 4 * len(value) + 16
        groups[value] = group
        count = len(group[_ENTRIES])
        self._add(group, entry, contact)
        kept[_COUNT] += len(group[_ENTRIES]) - count
        self._forget_old(kept, contact.clock_ms)
        self._keep_within_limits(kept, contact)
        self._sum_up(kept)
        return kept, kept[_ANSWER], kept[_DUE]

    def _forget_old(self, kept: Any, now_ms: int) -> None:
        """Drop the values seen longest ago whose events can't matter any more."""
        if self.keep_ms is None:
            return
        groups = kept[_GROUPS]
        while groups:
            value = next(iter(groups))
            entries = groups[value][_ENTRIES]
            if entries and entries[-1][0] > now_ms - self.keep_ms:
                return
            kept[_COUNT] -= len(entries)
            del groups[value]

    def _keep_within_limits(self, kept: Any, contact: Contact) -> None:
        groups = kept[_GROUPS]
        while len(groups) > self.values_max:
            contact.limits_passed += 1
            kept[_COUNT] -= len(groups.pop(next(iter(groups)))[_ENTRIES])
        over = kept[_COUNT] - self.events_max
        if over > 0:
            contact.limits_passed += over
            for value, count in _oldest(groups, over).items():
                self._drop_of(groups, value, count, contact)
            kept[_COUNT] = sum(len(group[_ENTRIES]) for group in groups.values())

    def _drop_of(self, groups: dict[str, Any], value: str, count: int, contact: Contact) -> None:
        """Drop the oldest entries of a group, and the group where that leaves nothing of it."""
        group = groups[value]
        self._shorten(group, count, contact)
        if not group[_ENTRIES] and not (self.lasts and group[_ANSWER]):
            del groups[value]

    def _shorten(self, group: list[Any], count: int, contact: Contact) -> None:
        """Drop the oldest entries of a group; that makes no match, as what an event forbids began before it."""
        entries = group[_ENTRIES]
        del entries[:count]
        if entries and (group[_ANSWER] or not self.fixed):
            self._refresh(group, contact, contact.clock_ms)

    # ---- answering --------------------------------------------------------------------------------------------------

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change; drops what can't count any more."""
        if kept is None:
            return False, None
        if self.lasts and kept[_ANSWER]:
            return True, None
        if self.by is None:
            self._refresh_due(kept, contact, now_ms)
        else:
            self._read_groups(kept, contact, now_ms)
        return kept[_ANSWER], kept[_DUE]

    def _read_groups(self, kept: Any, contact: Contact, now_ms: int) -> None:
        groups = kept[_GROUPS]
        count = 0
        for value, group in list(groups.items()):
            self._refresh_due(group, contact, now_ms)
            if group[_ENTRIES] or group[_ANSWER]:
                count += len(group[_ENTRIES])
            else:
                del groups[value]
        kept[_COUNT] = count
        self._sum_up(kept)

    def _sum_up(self, kept: Any) -> None:
        """Bring the answer of all groups, and when it may change, up to theirs."""
        answer, due_ms = False, None
        for group in kept[_GROUPS].values():
            if group[_ANSWER]:
                answer = True
            if group[_DUE] is not None and (due_ms is None or group[_DUE] < due_ms):
                due_ms = group[_DUE]
        kept[_ANSWER], kept[_DUE] = answer, due_ms
        if answer and self.lasts:
            kept[:] = [True, None, 0, {}]

    def _refresh_due(self, group: list[Any], contact: Contact, now_ms: int) -> None:
        """Find a group's answer anew where time, or something open, may have changed it."""
        due_ms = group[_DUE]
        if not self.fixed or (due_ms is not None and due_ms <= now_ms):
            self._refresh(group, contact, now_ms)

    def _refresh(self, group: list[Any], contact: Contact, now_ms: int) -> None:
        entries = group[_ENTRIES]
        if self.keep_ms is not None:
            _drop(entries, now_ms - self.keep_ms)
        due_ms: int | None = None
        seen: list[Matched] = entries
        if not self.fixed:
            seen, due_ms = self._seen(entries, contact, now_ms)
        matches = self.chains.telling(seen, now_ms, self.completed_ms, self.started_ms)
        answer, turns_ms = standing(matches, now_ms, self.completed_ms, self.started_ms)
        if turns_ms is not None and (due_ms is None or turns_ms < due_ms):
            due_ms = turns_ms
        group[_ANSWER], group[_DUE] = answer, due_ms
        if answer and self.lasts:
            entries.clear()

    def _seen(self, entries: list[Any], contact: Contact, now_ms: int) -> tuple[list[Matched], int | None]:
        """The entries with the steps they match as of now, and an instant up to which that stays so."""
        seen: list[Matched] = []
        due_ms: int | None = None
        for at_ms, steps, properties, context in entries:
            passed: list[int] = []
            for step in steps:
                matcher = self.matchers[step]
                if matcher.fixed:
                    passed.append(step)
                    continue
                if matcher.holds(properties, context, at_ms, now_ms, contact):
                    passed.append(step)
                next_ms = matcher.next_ms(properties, context, now_ms, contact)
                if next_ms is not None and next_ms <= INSTANT_MS_MAX and (due_ms is None or next_ms < due_ms):
                    due_ms = next_ms
            if passed:
                seen.append([at_ms, passed])
        return seen, due_ms

    # ---- histories as a whole ---------------------------------------------------------------------------------------

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        """Two histories as one, either may be None; `other` is that of the absorbed contact. To be read again."""
        if kept is None or other is None:
            return other if kept is None else kept
        if self.lasts and (kept[_ANSWER] or other[_ANSWER]):
            return kept if kept[_ANSWER] else other
        if self.by is None:
            _join(kept, other)
            drop_oldest(kept[_ENTRIES], self.events_max, contact)
            return kept
        return self._merge_groups(kept, other, contact)

    def _merge_groups(self, kept: Any, other: Any, contact: Contact) -> Any:
        groups: dict[str, Any] = kept[_GROUPS]
        for value, group in other[_GROUPS].items():
            if value in groups:
                _join(groups[value], group)
            else:
                groups[value] = group
        # which value was seen longest ago is now a matter of its newest event
        kept[_GROUPS] = dict(sorted(groups.items(), key=lambda item: item[1][_ENTRIES][-1][0]))
        kept[_COUNT] += other[_COUNT]
        self._keep_within_limits(kept, contact)
        kept[_DUE] = _STALE_MS
        return kept

    def times(self, kept: Any) -> list[int]:
        """The times of what `shed` can take away."""
        groups = [kept] if self.by is None else kept[_GROUPS].values()
        return [entry[0] for group in groups for entry in group[_ENTRIES]]

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without what happened up to `before_ms`. To be read again."""
        if self.by is None:
            _shed(kept, before_ms)
            return kept
        groups = kept[_GROUPS]
        for value, group in list(groups.items()):
            kept[_COUNT] -= _shed(group, before_ms)
            if not group[_ENTRIES]:
                del groups[value]
        if not (self.lasts and kept[_ANSWER]):
            kept[_ANSWER], kept[_DUE] = False, _STALE_MS
        return kept

    def is_empty(self, kept: Any) -> bool:
        """Whether `kept` says no more than None."""
        return kept is None or not (kept[_ANSWER] or kept[_ENTRIES if self.by is None else _GROUPS])


def _new_group() -> list[Any]:
    return [False, None, []]


def _oldest(groups: dict[str, Any], number: int) -> dict[str, int]:
    """How many of the oldest `number` entries of all groups each of them has; O((groups + number) log groups)."""
    counts: dict[str, int] = {}
    first = [(group[_ENTRIES][0][0], place, value) for place, (value, group) in enumerate(groups.items())]
    heapify(first)
    for _ in range(number):
        _, place, value = first[0]
        counts[value] = count = counts.get(value, 0) + 1
        entries = groups[value][_ENTRIES]
        if count < len(entries):
            heapreplace(first, (entries[count][0], place, value))
        else:
            heappop(first)
    return counts


def _drop(entries: list[Any], until_ms: int) -> int:
    """Drop the entries up to `until_ms`; how many."""
    count = 0
    while count < len(entries) and entries[count][0] <= until_ms:
        count += 1
    del entries[:count]
    return count


def _shed(group: list[Any], before_ms: int) -> int:
    count = _drop(group[_ENTRIES], before_ms)
    if count:
        group[_DUE] = _STALE_MS
    return count


def _join(group: list[Any], other: list[Any]) -> None:
    group[_ENTRIES] = list(merged(group[_ENTRIES], other[_ENTRIES], key=time_of))
    group[_DUE] = _STALE_MS
