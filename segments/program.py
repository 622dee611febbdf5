"""Definitions compiled: leaves shared by key, an index from event names and traits to leaves, trees above them.

The pipeline: `check.load` gives `Definitions`; here each `when` is made normal, its leaves are looked up by key, and its
tree becomes a function of the set of true leaves. Segments stand in an order in which each comes after those it names.
`evaluate.py` has the `Program` that steps contacts through it.
"""

import dataclasses
from collections.abc import Callable, Mapping

from segments.canonical import hold_key, leaf_key, leaves_of, membership_leaf_key, normal
from segments.check import in_order, references
from segments.conditions import All, Any_, Condition, Definitions, EventIs, Everyone, InSegment, Not, Segment, TraitIs
from segments.leaves import EventLeaf, event_leaf
from segments.trait_leaves import TraitLeaf, trait_leaf

Tree = Callable[[set[int]], bool]
Leaf = EventLeaf | TraitLeaf

# event names come from outside: the index by name is forgotten when it has grown to this
NAMES_CACHED_MAX = 10_000
NAME_CACHED_MAX = 256


@dataclasses.dataclass(frozen=True)
class Limits:
    """Settings of the core, with their defaults (language page, sections 1, 3 and 10); times in ms."""

    grace_ms: int = 2_000
    dedup_horizon_ms: int = 86_400_000
    future_ms: int = 300_000
    traits: int = 1_000
    state_bytes: int = 900 * 1024


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One segment, ready to be asked: `tree(true leaves)`; `key` stands for its answer where others name it."""

    index: int
    id: str
    version: int
    tree: Tree
    enter_ms: int
    leave_ms: int
    key: int
    hold_key: int

    @property
    def holds(self) -> bool:
        """Whether answers take effect later than they are given."""
        return bool(self.enter_ms or self.leave_ms)


class Index:
    """All definitions in force, compiled; immutable but for the cache of names.

    `revision` is the definitions revision it was made from. `above[key]`: indexes of the segments whose trees hold the
    leaf. `by_name`: the leaves that an event of a name that some definition spells out can touch. `at_once`: those that
    are true of a contact of whom nothing is known. `named`: those that others name.
    """

    def __init__(self, definitions: Definitions, limits: Limits, versions: Mapping[str, int], revision: int) -> None:
        self.limits = limits
        self.revision = revision
        self.leaves: dict[int, Leaf] = {}
        self.event_leaves: list[EventLeaf] = []
        self.trait_leaves: list[TraitLeaf] = []
        self.by_trait: dict[str, list[TraitLeaf]] = {}
        self.above: dict[int, list[int]] = {}
        self.segments: list[Compiled] = []
        self.named: set[int] = set()
        self.held: dict[int, int] = {}
        # by id, so that the order of transitions in a step doesn't depend on the order in a file
        by_id = sorted(definitions.segments, key=lambda segment: segment.id)
        for index, segment in enumerate(in_order(by_id)):
            self._add(index, segment, versions.get(segment.id, 1))
        nothing: set[int] = set()
        self.at_once = [segment.index for segment in self.segments if segment.tree(nothing)]
        self.segment_ids = tuple(segment.id for segment in self.segments)
        self.by_id = {segment.id: segment for segment in self.segments}
        self._by_pattern = [leaf for leaf in self.event_leaves if not leaf.names.names]
        self.by_name: dict[str, list[EventLeaf]] = {}
        for leaf in self.event_leaves:
            for name in leaf.names.names:
                self.by_name.setdefault(name, []).append(leaf)
        for name, leaves in self.by_name.items():
            leaves.extend(self._matching(name))
        self._other_names: dict[str, list[EventLeaf]] = {}

    def _add(self, index: int, segment: Segment, version: int) -> None:
        when = normal(segment.when)
        for condition in leaves_of(when):
            leaf = self._leaf(condition)
            above = self.above.setdefault(leaf.key, [])
            if not above or above[-1] != index:
                above.append(index)
        for id in sorted(references(segment.when)):
            self.above.setdefault(membership_leaf_key(id), []).append(index)
            self.named.add(membership_leaf_key(id))
        key, hold = membership_leaf_key(segment.id), hold_key(segment.id)
        self.held[hold] = index
        self.segments.append(
            Compiled(index, segment.id, version, tree(when), segment.enter_ms, segment.leave_ms, key, hold)
        )

    def _leaf(self, condition: TraitIs | EventIs) -> Leaf:
        known = self.leaves.get(leaf_key(condition))
        if known is not None:
            return known
        if isinstance(condition, EventIs):
            event = event_leaf(condition)
            self.event_leaves.append(event)
            self.leaves[event.key] = event
            return event
        trait = trait_leaf(condition)
        self.trait_leaves.append(trait)
        self.leaves[trait.key] = trait
        for key, _ in trait.ways:
            self.by_trait.setdefault(key, []).append(trait)
        return trait

    def leaves_of_event(self, name: str) -> list[EventLeaf]:
        """The leaves that an event of this name can touch."""
        found = self.by_name.get(name) or self._other_names.get(name)
        if found is None:
            if len(self._other_names) >= NAMES_CACHED_MAX:
                self._other_names.clear()
            found = self._matching(name)
            if len(name) <= NAME_CACHED_MAX:
                self._other_names[name] = found
        return found

    def _matching(self, name: str) -> list[EventLeaf]:
        return [leaf for leaf in self._by_pattern if leaf.names.matches(name)]


def tree(condition: Condition) -> Tree:
    """A normal condition as a function of the set of true leaves."""
    if isinstance(condition, TraitIs | EventIs):
        return _member(leaf_key(condition))
    if isinstance(condition, InSegment):
        return _member(membership_leaf_key(condition.id))
    if isinstance(condition, Not):
        inner = tree(condition.condition)
        return lambda true: not inner(true)
    if isinstance(condition, Everyone):
        return lambda true: True
    assert isinstance(condition, All | Any_)
    parts = [tree(part) for part in condition.conditions]
    if len(parts) == 1:
        return parts[0]
    if isinstance(condition, All):
        return lambda true: all(part(true) for part in parts)
    return lambda true: any(part(true) for part in parts)


def _member(key: int) -> Tree:
    return lambda true: key in true
