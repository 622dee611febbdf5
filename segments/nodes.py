"""What is asked when a leaf flips: segments, the `held` conditions in them, and segments with `per`, as trees over leaves.

A tree is a function of two units: the contact's, and for a segment with `per`, that of one value. Nodes stand in an order
in which each comes after those that it names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from segments.canonical import Scores, held_key, hold_key, keyed_key, leaf_key, membership_leaf_key
from segments.conditions import (
    All,
    Any_,
    Condition,
    EventIs,
    Everyone,
    Held,
    InSegment,
    Leaf,
    Not,
    Segment,
    SequenceIs,
    parts_of,
    walk,
)
from segments.contact import trait_ways
from segments.predicates import finder
from segments.unit import Unit
from segments.values import key_text

Tree = Callable[[Unit, Unit], bool]
EventLike = Any  # an event leaf, a sequence leaf


class Node:
    """Base: `index` is its place in the order; `tree` its condition; `key` stands for its answer where others name it."""

    def __init__(self, index: int, key: int, tree: Tree) -> None:
        self.index = index
        self.key = key
        self.tree = tree


class HeldNode(Node):
    """A `held` condition of the segment `segment`: true once `tree` has been for `for_ms`."""

    def __init__(self, index: int, key: int, tree: Tree, segment: str, for_ms: int) -> None:
        super().__init__(index, key, tree)
        self.segment = segment
        self.for_ms = for_ms


class SegmentNode(Node):
    """A segment; `hold_key` is that of its answer's age and of the end of its hold."""

    def __init__(self, index: int, segment: Segment, version: int, tree: Tree) -> None:
        super().__init__(index, membership_leaf_key(segment.id), tree)
        self.id = segment.id
        self.version = version
        self.enter_ms = segment.enter_ms
        self.leave_ms = segment.leave_ms
        self.holds = bool(segment.enter_ms or segment.leave_ms)
        self.hold_key = hold_key(segment.id)
        self.carry = [(path, trait_ways(path)) for path in segment.carry]
        self.silent = segment.silent


class KeyedNode(SegmentNode):
    """A segment with `per`: one membership a value of that property, each with leaves and `held` conditions of its own.

    `leaves` are those over events; `helds` those that stand on one of them, each after those within it.
    """

    def __init__(
        self,
        index: int,
        segment: Segment,
        version: int,
        tree: Tree,
        leaves: Mapping[int, EventLike],
        helds: list[HeldNode],
    ) -> None:
        super().__init__(index, segment, version, tree)
        assert segment.per is not None
        self.leaves = dict(leaves)
        self.helds = helds
        self.keyed_key = keyed_key(segment.id)
        self._find = finder(segment.per, in_context=True)

    def key_of(self, seen: Any) -> str | None:
        """The value that an event `(properties, context)` has, as text; None where it makes no key."""
        return key_text(self._find(seen))

    def asked(self, name: str) -> list[EventLike]:
        """The leaves that ask for events of this name."""
        return [leaf for leaf in self.leaves.values() if leaf.asks(name)]


def references(condition: Condition) -> set[str]:
    """Ids of the segments that a condition names."""
    return {part.id for part in walk(condition) if isinstance(part, InSegment)}


def leaves_of(condition: Condition) -> list[Leaf]:
    """The leaves of a normal condition."""
    return [part for part in walk(condition) if isinstance(part, Leaf)]


def on_events(condition: Condition) -> bool:
    """Whether the condition asks for events itself, so that within a segment with `per` it has an answer a value."""
    return any(isinstance(part, EventIs | SequenceIs) for part in walk(condition))


def helds_of(condition: Condition) -> list[Held]:
    """The `held` conditions in a normal condition, each once and after those within it."""
    found = [held for part in parts_of(condition) for held in helds_of(part)]
    if isinstance(condition, Held):
        found.append(condition)
    return list(dict.fromkeys(found))


def asked_below(condition: Condition, keyed: bool) -> Iterator[Condition]:
    """What a tree asks: leaves, segments and `held` conditions; in the latter only those that have an answer a value."""
    if isinstance(condition, Leaf | InSegment | Held):
        yield condition
        if not (keyed and isinstance(condition, Held) and on_events(condition)):
            return
    for part in parts_of(condition):
        yield from asked_below(part, keyed)


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """The segments, each after those it names; those of a cycle are left out."""
    named = {segment.id: segment for segment in segments}
    waits = {id: references(segment.when) & named.keys() for id, segment in named.items()}
    waited_by: dict[str, list[str]] = {id: [] for id in named}
    for id, others in waits.items():
        for other in others:
            waited_by[other].append(id)
    ready = [id for id, others in waits.items() if not others]
    for id in ready:  # grows while it is walked
        for other in waited_by[id]:
            waits[other].discard(id)
            if not waits[other]:
                ready.append(other)
    return [named[id] for id in ready]


class TreeMaker:
    """Makes trees of one segment's normal conditions; `keyed` says that it has `per`."""

    def __init__(self, segment: Segment, scores: Scores) -> None:
        self.id = segment.id
        self.keyed = segment.per is not None
        self.scores = scores

    def key_of(self, part: Condition) -> int:
        """The key that stands for a leaf, a `held` condition or another segment."""
        if isinstance(part, InSegment):
            return membership_leaf_key(part.id)
        if isinstance(part, Held):
            return held_key(self.id, part, self.scores)
        assert isinstance(part, Leaf)
        return leaf_key(part, self.scores)

    def tree(self, condition: Condition) -> Tree:
        """A normal condition as a function of the answers of leaves, `held` conditions and segments."""
        if isinstance(condition, Not):
            return _not(self.tree(condition.condition))
        if isinstance(condition, Everyone):
            return _always
        if isinstance(condition, All | Any_):
            parts = [self.tree(part) for part in condition.conditions]
            if len(parts) == 1:
                return parts[0]
            return _all(parts) if isinstance(condition, All) else _any(parts)
        if self.keyed and on_events(condition):
            return _true_of_value(self.key_of(condition))
        return _true(self.key_of(condition))


def _true(key: int) -> Tree:
    def tree(contact: Unit, own: Unit) -> bool:
        return key in contact

    return tree


def _true_of_value(key: int) -> Tree:
    def tree(contact: Unit, own: Unit) -> bool:
        return key in own

    return tree


def _always(contact: Unit, own: Unit) -> bool:
    return True


def _not(inner: Tree) -> Tree:
    def tree(contact: Unit, own: Unit) -> bool:
        return not inner(contact, own)

    return tree


def _all(parts: list[Tree]) -> Tree:
    def tree(contact: Unit, own: Unit) -> bool:
        for part in parts:  # noqa: SIM110 - `all` over a generator takes three times as long
            if not part(contact, own):
                return False
        return True

    return tree


def _any(parts: list[Tree]) -> Tree:
    def tree(contact: Unit, own: Unit) -> bool:
        for part in parts:  # noqa: SIM110
            if part(contact, own):
                return True
        return False

    return tree
