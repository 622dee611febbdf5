"""Warns of what definitions ask for and no event of a sample has: names, properties, traits; and of events without a key."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from schemas.events import Event
from segments.conditions import (
    Condition,
    EventIs,
    EventRule,
    Matching,
    Names,
    Segment,
    SequenceIs,
    Test,
    TraitIs,
    TraitRef,
    TraitRule,
    Where,
    walk,
)
from segments.predicates import finder, where_predicate
from segments.report import Place, Report, shown
from segments.values import reader

# what a sample has too many of is not remembered for the sake of a hint
_REMEMBERED_MAX = 10_000


@dataclasses.dataclass
class _Property:
    """A property that events of these names are asked for; `seen`: some event has it."""

    place: Place
    names: Names
    path: str
    find: Callable[[Any], Any]
    seen: bool = False
    events: int = 0


@dataclasses.dataclass
class _Key:
    """The property that each event of these names, where it `counts`, has to have for `use`; those that lack it by name."""

    place: Place
    names: Names
    path: str
    use: str
    find: Callable[[Any], Any]
    counts: Callable[[Any], bool] | None
    events: Counter[str] = dataclasses.field(default_factory=Counter)
    lacking: Counter[str] = dataclasses.field(default_factory=Counter)


class SampleWarner:
    """Gathers what definitions ask for at their places in a report, looks at events, and says what was nowhere.

    `traits`: what was asked of, and where.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self._names: list[tuple[Place, str, bool]] = []
        self._properties: list[_Property] = []
        self._keys: list[_Key] = []
        self.traits: list[tuple[Place, str]] = []
        self._trait_readers: dict[str, Callable[[Any], Any]] = {}
        self._names_seen: set[str] = set()
        self._properties_seen: set[str] = set()
        self._traits_seen: set[str] = set()
        self._traits_found: set[str] = set()
        self._asked: dict[str, tuple[list[_Property], list[_Key]]] = {}

    # ---- what is asked ----------------------------------------------------------------------------------------------

    def ask_of_leaf(self, leaf: Condition) -> None:
        """A leaf of a segment's condition, the report being at its place."""
        if isinstance(leaf, TraitIs):
            self._ask_of_trait(leaf)
        elif isinstance(leaf, EventIs):
            self._ask_of_matching(leaf.matching, "event")
            names = leaf.matching.names
            if leaf.by is not None:
                with self.report.at("by"):
                    self._ask_of_key(names, leaf.by, "`by`", leaf.matching.where)
            if leaf.measure.path:
                with self.report.at(leaf.measure.kind, "of"):
                    self._ask_of_property(names, leaf.measure.path)
            if leaf.measure.where is not None:
                with self.report.at(leaf.measure.kind):
                    self._ask_of_where(names, leaf.measure.where)
        elif isinstance(leaf, SequenceIs):
            for at, step in enumerate(leaf.steps):
                with self.report.at("sequence", at):
                    self._ask_of_matching(step.matching, "absent" if step.absent else "event")
                if leaf.by is not None:
                    with self.report.at("by"):
                        self._ask_of_key(step.matching.names, leaf.by, "`by`", step.matching.where)

    def ask_of_rule(self, rule: EventRule | TraitRule) -> None:
        """A rule of a score, the report being at its place."""
        if isinstance(rule, EventRule):
            self._ask_of_matching(rule.matching, "event")
        else:
            self._ask_of_trait(rule.condition)

    def ask_of_segment(self, segment: Segment) -> None:
        """What stands beside a segment's condition: `per`, `carry`."""
        for at, path in enumerate(segment.carry):
            with self.report.at("carry", at):
                self._ask_of_trait_path(path)
        if segment.per is None:
            return
        for condition in walk(segment.when):
            if isinstance(condition, EventIs):
                matchings = [condition.matching]
            else:
                matchings = [step.matching for step in condition.steps] if isinstance(condition, SequenceIs) else []
            for matching in matchings:
                with self.report.at("per"):
                    # an event makes a key, or is missed at one, whatever its `where`
                    self._ask_of_key(matching.names, segment.per, "`per`", None)

    def _ask_of_trait(self, condition: TraitIs) -> None:
        with self.report.at("trait"):
            self._ask_of_trait_path(condition.path)
        self._ask_of_right_side(condition.test)

    def _ask_of_right_side(self, test: Test) -> None:
        if isinstance(test.argument, TraitRef):
            with self.report.at(test.operator, "trait"):
                self._ask_of_trait_path(test.argument.path)

    def _ask_of_trait_path(self, path: str) -> None:
        self.traits.append((self.report.here(), path))
        self._trait_readers.setdefault(path, reader(path))

    def _ask_of_matching(self, matching: Matching, key: str) -> None:
        with self.report.at(key):
            for name in matching.names.names:
                self._names.append((self.report.here(), name, False))
            if matching.names.prefix is not None:
                self._names.append((self.report.here(), matching.names.prefix, True))
        if matching.where is not None:
            with self.report.at("where"):
                self._ask_of_where(matching.names, matching.where)

    def _ask_of_where(self, names: Names, where: Where) -> None:
        for at, part in enumerate(where.parts):
            if part.kind == "path" and part.test is not None:
                with self.report.at(part.path):
                    self._ask_of_property(names, part.path)
                    self._ask_of_right_side(part.test)
            else:
                with self.report.at(where.kind, at):
                    self._ask_of_where(names, part)

    def _ask_of_property(self, names: Names, path: str) -> None:
        self._properties.append(_Property(self.report.here(), names, path, finder(path, in_context=True)))

    def _ask_of_key(self, names: Names, path: str, use: str, where: Where | None) -> None:
        counts = None if where is None else where_predicate(where, in_context=True).fixed
        if where is None or counts is not None:
            find = finder(path, in_context=True)
            self._keys.append(_Key(self.report.here(), names, path, use, find, counts))

    def properties(self) -> Iterator[tuple[Place, Names, str]]:
        """The properties that were asked of, those of `per` and `by` among them: where, and of events of which names."""
        yield from ((asked.place, asked.names, asked.path) for asked in self._properties)
        yield from ((key.place, key.names, key.path) for key in self._keys)

    # ---- what there is ----------------------------------------------------------------------------------------------

    def look_at(self, events: Iterable[Event]) -> None:
        """Reads the sample to its end."""
        for event in events:
            if event.traits:
                self._look_at_traits(event.traits)
            if event.name is not None:
                self._look_at_event(event.name, (event.properties, event.context))

    def _look_at_traits(self, traits: dict[str, Any]) -> None:
        _remember(self._traits_seen, traits)
        for path, read in self._trait_readers.items():
            if path not in self._traits_found and read(traits) is not None:
                self._traits_found.add(path)

    def _look_at_event(self, name: str, event: tuple[dict[str, Any], dict[str, Any]]) -> None:
        asked = self._asked.get(name)
        if asked is None:
            properties = [each for each in self._properties if each.names.matches(name)]
            asked = properties, [each for each in self._keys if each.names.matches(name)]
            if len(self._asked) < _REMEMBERED_MAX:
                self._asked[name] = asked
        _remember(self._names_seen, (name,))
        _remember(self._properties_seen, event[0])
        for each in asked[0]:
            each.events += 1
            each.seen = each.seen or each.find(event) is not None
        for key in asked[1]:
            if key.counts is None or key.counts(event):
                key.events[name] += 1
                key.lacking[name] += key.find(event) is None

    # ---- what is wanting --------------------------------------------------------------------------------------------

    def say(self) -> None:
        """Adds the warnings to the report."""
        if self._names_seen:
            self._say_of_names()
        for asked in self._properties:
            if asked.events and not asked.seen:
                hint = self.report.close_to(asked.path, self._properties_seen)
                self.report.say(f"no event of its name in the sample has it, of {asked.events}{hint}", asked.place)
        self._say_of_keys()
        if self._traits_seen:
            for place, path in self.traits:
                if path not in self._traits_found:
                    self.report.say(f"nobody in the sample has the trait {shown(path)}{self._close_trait(path)}", place)

    def _close_trait(self, path: str) -> str:
        return self.report.close_to(path, self._traits_seen)

    def _say_of_names(self) -> None:
        for place, name, is_prefix in self._names:
            if is_prefix and not any(seen.startswith(name) for seen in self._names_seen):
                self.report.say(f"no event in the sample has a name that begins with {shown(name)}", place)
            elif not is_prefix and name not in self._names_seen:
                hint = self.report.close_to(name, self._names_seen)
                self.report.say(f"no event in the sample has the name {shown(name)}{hint}", place)

    def _say_of_keys(self) -> None:
        said: set[tuple[Place, str]] = set()
        for key in self._keys:
            for name, lacking in key.lacking.items():
                if lacking and (key.place, name) not in said:
                    said.add((key.place, name))
                    self.report.say(
                        f"{lacking} of {key.events[name]} {name!r} in the sample lack {shown(key.path)}, "
                        f"so they count for no value of {key.use}",
                        key.place,
                    )


def _remember(seen: set[str], names: Iterable[str]) -> None:
    if len(seen) < _REMEMBERED_MAX:
        seen.update(names)
