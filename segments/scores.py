"""Scores: what is kept of one, which all tests of it share, and the tests (language page, section 8).

`decay.py` has what decays, `outlook.py` when a test turns, `thresholds.py` how a score is compared.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping
from fractions import Fraction
from heapq import merge as merged
from typing import Any

from schemas.events import Event
from schemas.instants import INSTANT_MS_MAX
from segments.canonical import holds_of_nothing, score_key, score_test_key
from segments.conditions import EventRule, Score, ScoreIs, Test
from segments.contact import EVENTS_KEPT_MAX, Contact, drop_oldest
from segments.decay import NEWEST_MAX, Decay, unpacked
from segments.leaf import Read, encoded_bytes_max, put, time_of
from segments.matching import Matcher, joined_names
from segments.outlook import ENDS_MAX, Outlook
from segments.predicate import earlier
from segments.rules import DECAYS, EXPIRES, LASTS, PointsRule, TraitPoints, scale_of
from segments.thresholds import thresholds_of
from segments.trait_leaves import UnchangedFor
from segments.values import decimal

# what is kept, each where there is any
_NEWEST, _OLDER = "newest", "older"  # of decaying points, see `Decay`
_EXPIRING = "expiring"  # {rule: times}
_LASTING = "lasting"  # {rule: number of events}
_OPEN = "open"  # [[at_ms, rules, properties, context], ...]
_WRITES = "writes"  # {rule: what its `unchanged_for` keeps}
# what an event adds to a record at most, for each rule that it matches
_RULE_BYTES = 48


class ScoreLeaf:
    """A score.

    Keeps of each rule the least that says what its events are worth: of lasting points the number of events; of expiring
    ones the time of each, as each ends by itself; all decaying ones together as `Decay` says. None of these depends on
    the order of arrival. Of events that only some rule's open test decides on (`matching.py`), the properties that it asks
    for are kept as long as the event may count; of traits nothing, but the writes for a rule with `unchanged_for`.
    """

    def __init__(self, score: Score) -> None:
        self.key: int = score_key(score)
        self.definition = score
        self.scale: int = scale_of(score)
        self.rules: list[PointsRule] = []
        self.trait_rules: list[TraitPoints] = []
        for index, rule in enumerate(score.rules):
            if isinstance(rule, EventRule):
                self.rules.append(PointsRule(str(index), rule, self.scale))
            else:
                self.trait_rules.append(TraitPoints(str(index), rule, self.scale))
        self._by_name: dict[str, PointsRule] = {rule.name: rule for rule in self.rules}
        self.decay: Decay | None = None
        if score.half_life_ms is not None:
            units_max = max([abs(rule.units) for rule in self.rules if rule.kind == DECAYS], default=0)
            self.decay = Decay(score.half_life_ms, units_max)
        matchers: tuple[Matcher, ...] = tuple(rule.matcher for rule in self.rules)
        self.plain_names: tuple[str, ...] | None = joined_names(matchers)
        # traits whose change may change the score; and whether their writes are to be told, changed or not
        self.traits: frozenset[str] = frozenset().union(
            *(matcher.traits for matcher in matchers), *(rule.leaf.traits for rule in self.trait_rules)
        )
        self.is_told_of_writes: bool = any(isinstance(rule.leaf, UnchangedFor) for rule in self.trait_rules)
        self._open_life_ms = self._longest_open_ms()
        self.events_max: int = EVENTS_KEPT_MAX

    def limit(self, events_max: int, values_max: int) -> None:
        """Set how many events of a rule may be kept, in place of the default."""
        self.events_max = events_max
        for rule in self.trait_rules:
            rule.leaf.limit(events_max, values_max)

    def _longest_open_ms(self) -> int | None:
        """How long an event that is kept for an open rule may count, None for ever."""
        longest_ms = 0
        for rule in self.rules:
            if not rule.matcher.fixed:
                life_ms = rule.life_ms(self.decay)
                if life_ms is None:
                    return None
                longest_ms = max(longest_ms, life_ms)
        return longest_ms

    def asks(self, name: str) -> bool:
        """Whether some rule gives points for events of this name."""
        return any(rule.matcher.asks(name) for rule in self.rules)

    # ---- taking in --------------------------------------------------------------------------------------------------

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Any:
        """What is kept once an event of `at_ms`, however late, has been taken in; None: it gives no points, now or ever."""
        found = [rule for rule in self.rules if rule.matcher.accepts(event, at_ms)]
        if not found:
            return None
        now_ms = contact.clock_ms
        kept = kept if kept is not None else {}
        contact.bytes_estimated += _RULE_BYTES * len(found)
        asked: list[PointsRule] = []
        for rule in found:
            life_ms = rule.life_ms(self.decay)
            if life_ms is not None and at_ms <= now_ms - life_ms:
                continue
            if not rule.matcher.fixed:
                asked.append(rule)
            else:
                self._add(kept, rule, at_ms, contact)
        if asked:
            self._add_open(kept, asked, event, at_ms, contact)
        return kept or None

    def _add(self, kept: dict[str, Any], rule: PointsRule, at_ms: int, contact: Contact) -> None:
        if rule.kind == LASTS:
            counts = kept.setdefault(_LASTING, {})
            counts[rule.name] = counts.get(rule.name, 0) + 1
        elif rule.kind == EXPIRES:
            times = kept.setdefault(_EXPIRING, {}).setdefault(rule.name, [])
            insort(times, at_ms)
            rule.forget(times, contact.clock_ms)
            drop_oldest(times, self.events_max, contact)
        else:
            assert self.decay is not None
            newest, older = kept.setdefault(_NEWEST, []), kept.setdefault(_OLDER, [])
            self.decay.add(newest, older, at_ms, rule.units, contact.clock_ms)

    def _add_open(
        self, kept: dict[str, Any], rules: list[PointsRule], event: Event, at_ms: int, contact: Contact
    ) -> None:
        properties: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for rule in rules:
            picked = rule.matcher.pick(event)
            properties.update(picked[0])
            context.update(picked[1])
        contact.bytes_estimated += encoded_bytes_max(event)
        entries = kept.setdefault(_OPEN, [])
        put(entries, [at_ms, [rule.name for rule in rules], properties, context])
        drop_oldest(entries, self.events_max, contact)

    def write(self, kept: Any, written: Mapping[str, Any], at_ms: int, contact: Contact) -> Any:
        """What is kept once an event of `at_ms` has written these traits, of whatever names; for `is_told_of_writes`."""
        for rule in self.trait_rules:
            if isinstance(rule.leaf, UnchangedFor):
                before = kept.get(_WRITES, {}).get(rule.name) if kept else None
                after = rule.leaf.write(before, written, at_ms, contact)
                if after is not None:
                    kept = kept if kept is not None else {}
                    kept.setdefault(_WRITES, {})[rule.name] = after
        return kept

    def forget_writes(self, kept: Any) -> Any:
        """What is kept without what was written to traits, where one of them was dropped."""
        if kept:
            kept.pop(_WRITES, None)
        return kept or None

    # ---- reading ----------------------------------------------------------------------------------------------------

    def value(self, kept: Any, contact: Contact, now_ms: int) -> Fraction:
        """The score at `now_ms`, clamped."""
        value = self.outlook(kept, contact, now_ms).value()
        low, high = self.definition.minimum, self.definition.maximum
        if low is not None:
            value = max(value, Fraction(decimal(low)))
        return value if high is None else min(value, Fraction(decimal(high)))

    def outlook(self, kept: Any, contact: Contact, now_ms: int) -> Outlook:
        """The score as of `now_ms`, not clamped, and how it goes on; drops from `kept` what counts no more."""
        outlook = Outlook(now_ms, self.scale, self.decay)
        if self.trait_rules:
            self._read_traits(kept, contact, outlook)
        if kept:
            self._read_kept(kept, contact, outlook)
        return outlook

    def _read_traits(self, kept: Any, contact: Contact, outlook: Outlook) -> None:
        writes = kept.get(_WRITES, {}) if kept else {}
        for rule in self.trait_rules:
            holds, due_ms = rule.leaf.read(writes.get(rule.name), contact, outlook.now_ms)
            if holds:
                outlook.base += rule.units
            outlook.until_ms = earlier(outlook.until_ms, due_ms)

    def _read_kept(self, kept: dict[str, Any], contact: Contact, outlook: Outlook) -> None:
        for name, count in kept.get(_LASTING, {}).items():
            outlook.base += self._by_name[name].units * count
        ends: list[Any] = []
        for name, times in kept.get(_EXPIRING, {}).items():
            rule = self._by_name[name]
            rule.forget(times, outlook.now_ms)
            if times:
                outlook.add_ending(rule.units * len(times))
                ends.append([(at_ms + rule.expires_ms, rule.units) for at_ms in times[:ENDS_MAX]])
        if self.decay is not None:
            newest, older = kept.get(_NEWEST), kept.get(_OLDER)
            outlook.weights = self.decay.weights(newest) if newest else []
            outlook.older = older or []
        if _OPEN in kept:
            ends.append(self._read_open(kept[_OPEN], contact, outlook))
            if self.decay is not None and len(outlook.weights) > NEWEST_MAX:
                # a crossing is searched for in dozens of steps, each of which goes through all weights
                outlook.weights, outlook.older = self.decay.gathered(outlook.weights, outlook.older)
        outlook.ends = ends[0] if len(ends) == 1 else merged(*ends)

    def _read_open(self, entries: list[Any], contact: Contact, outlook: Outlook) -> list[tuple[int, int]]:
        """Add what open rules give now; what of it expires, by time."""
        now_ms = outlook.now_ms
        if self._open_life_ms is not None:
            del entries[: bisect_right(entries, now_ms - self._open_life_ms, key=time_of)]
        ends: list[tuple[int, int]] = []
        for at_ms, names, properties, context in entries:
            for name in names:
                rule = self._by_name[name]
                life_ms = rule.life_ms(self.decay)
                if life_ms is not None and at_ms <= now_ms - life_ms:
                    continue
                outlook.until_ms = earlier(outlook.until_ms, rule.matcher.next_ms(properties, context, now_ms, contact))
                if not rule.matcher.holds(properties, context, at_ms, now_ms, contact):
                    continue
                if rule.kind == DECAYS:
                    assert self.decay is not None
                    outlook.weights.append((at_ms, self.decay.weight(rule.units)))
                elif rule.kind == LASTS:
                    outlook.base += rule.units
                else:
                    outlook.add_ending(rule.units)
                    ends.append((at_ms + rule.expires_ms, rule.units))
        ends.sort()
        return ends

    # ---- histories as a whole ---------------------------------------------------------------------------------------

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        """Two histories as one, either may be None; `other` is that of the absorbed contact. Tests are to be read again."""
        if not kept or not other:
            return kept or other
        if self.decay is not None:
            self._merge_decaying(kept, other, contact)
        for name, count in other.get(_LASTING, {}).items():
            counts = kept.setdefault(_LASTING, {})
            counts[name] = counts.get(name, 0) + count
        for name, times in other.get(_EXPIRING, {}).items():
            ours = kept.setdefault(_EXPIRING, {})
            ours[name] = list(merged(ours.get(name, []), times))
            drop_oldest(ours[name], self.events_max, contact)
        if _OPEN in other:
            kept[_OPEN] = list(merged(kept.get(_OPEN, []), other[_OPEN], key=time_of))
            drop_oldest(kept[_OPEN], self.events_max, contact)
        for rule in self.trait_rules:
            theirs = other.get(_WRITES, {}).get(rule.name)
            if theirs is not None:
                writes = kept.setdefault(_WRITES, {})
                writes[rule.name] = rule.leaf.merge(writes.get(rule.name), theirs, contact)
        return kept

    def _merge_decaying(self, kept: dict[str, Any], other: dict[str, Any], contact: Contact) -> None:
        assert self.decay is not None
        newest, older = kept.setdefault(_NEWEST, []), kept.setdefault(_OLDER, [])
        self.decay.join(older, other.get(_OLDER, []))
        for at_ms, units in other.get(_NEWEST, []):
            self.decay.add(newest, older, at_ms, unpacked(units), contact.clock_ms)

    def times(self, kept: Any) -> list[int]:
        """The times of what `shed` can take away."""
        times = [entry[0] for entry in kept.get(_OPEN, [])]
        for expiring in kept.get(_EXPIRING, {}).values():
            times.extend(expiring)
        return times

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without the events up to `before_ms` that are kept one by one. Tests are to be read again."""
        for times in kept.get(_EXPIRING, {}).values():
            del times[: bisect_right(times, before_ms)]
        if _OPEN in kept:
            del kept[_OPEN][: bisect_right(kept[_OPEN], before_ms, key=time_of)]
        for rule in self.trait_rules:
            writes = kept.get(_WRITES, {})
            if rule.name in writes:
                writes[rule.name] = rule.leaf.shed(writes[rule.name], before_ms)
        return kept

    def is_empty(self, kept: Any) -> bool:
        """Whether `kept` says no more than None."""
        return not kept or not any(any(part.values()) if type(part) is dict else part for part in kept.values())


class ScoreTest:
    """A number test of a score. Keeps nothing: `kept` is the score's. False of nothing: else it stands for its complement."""

    def __init__(self, leaf: ScoreLeaf, test: Test) -> None:
        score = leaf.definition
        self.key: int = score_test_key(score, test)
        self.score = leaf
        self.traits: frozenset[str] = leaf.traits
        self.flipped: bool = holds_of_nothing(ScoreIs(score.id, test), {score.id: score})
        exponent = 0 if leaf.decay is None else leaf.decay.exponent
        self.thresholds = thresholds_of(test, score.minimum, score.maximum, leaf.scale, exponent)

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and the first instant at which it may change: of decay, to the millisecond."""
        if self.thresholds is None:
            return self.flipped, None
        answer, due_ms = self.score.outlook(kept, contact, now_ms).read(self.thresholds)
        return answer is not self.flipped, due_ms if due_ms is None or due_ms <= INSTANT_MS_MAX else None
