"""Definitions compiled: leaves shared by key, an index from event names and traits to leaves, nodes above them.

The pipeline: `check.load` gives `Definitions`; here each `when` is made normal, its leaves are looked up by key, and its
tree becomes a function of the answers of leaves. `evaluate.py` has the `Program` that steps contacts through it.
"""

from collections.abc import Mapping
from typing import Any

from segments.canonical import Scores, leaf_key, normal, score_key
from segments.conditions import (
    Condition,
    Definitions,
    EventIs,
    InSegment,
    Known,
    Leaf,
    Listed,
    Sample,
    ScoreIs,
    Segment,
    SequenceIs,
    Subscribed,
    TraitIs,
    walk,
)
from segments.consent_leaves import EVERY_GROUP, ConsentLeaf, ListLeaf, SampleLeaf
from segments.leaves import event_leaf
from segments.limits import Limits
from segments.nodes import (
    EventLike,
    HeldNode,
    KeyedNode,
    Node,
    SegmentNode,
    TreeMaker,
    asked_below,
    helds_of,
    in_order,
    leaves_of,
    on_events,
)
from segments.scores import ScoreLeaf, ScoreTest
from segments.sequences import SequenceLeaf
from segments.trait_leaves import KnownLeaf, UnchangedFor, trait_leaf
from segments.unit import Unit

AnyLeaf = Any  # a leaf of any kind: `key`, `traits`, `read(kept, state, now_ms)`

# event names come from outside: the index by name is forgotten when it has grown to this
NAMES_CACHED_MAX = 10_000
NAME_CACHED_MAX = 256


class Tally:
    """What the steps of a program have done so far: leaves asked, trees walked, due instants played."""

    __slots__ = ("instants", "leaves", "trees")

    def __init__(self) -> None:
        self.leaves = 0
        self.trees = 0
        self.instants = 0


class Listeners:
    """What listens for events of one name: leaves, scores, and segments with `per` together with their leaves."""

    __slots__ = ("keyed", "leaves", "scores")

    def __init__(
        self,
        leaves: list[EventLike],
        scores: list[tuple[ScoreLeaf, list[ScoreTest]]],
        keyed: list[tuple[KeyedNode, list[EventLike]]],
    ) -> None:
        self.leaves = leaves
        self.scores = scores
        self.keyed = keyed


class Index:
    """All definitions in force, compiled; immutable but for the cache of names.

    `revision` is the definitions revision it was made from. `above[key]`: indexes of the nodes whose trees hold the leaf.
    `at_once`: nodes that are true of a contact of whom nothing is known. `newborn`: leaves that may be true of a contact
    of whom only the first event is known. `named`: keys of segments that others name.
    """

    def __init__(self, definitions: Definitions, limits: Limits, versions: Mapping[str, int], revision: int) -> None:
        self.definitions = definitions
        self.limits = limits
        self.tally = Tally()
        self.revision = revision
        self.scores_by_id: Scores = {score.id: score for score in definitions.scores}
        self.leaves: dict[int, AnyLeaf] = {}
        self.scores: dict[int, ScoreLeaf] = {}
        self.score_tests: dict[int, list[ScoreTest]] = {}
        self.event_leaves: list[EventLike] = []
        self.newborn: list[AnyLeaf] = []
        self.on_consent: dict[str, list[AnyLeaf]] = {}
        self.on_list: dict[str, list[AnyLeaf]] = {}
        self.on_trait: dict[str, list[AnyLeaf]] = {}
        self.on_trait_keyed: dict[str, list[tuple[KeyedNode, EventLike]]] = {}
        self.above: dict[int, list[int]] = {}
        self.nodes: list[Node] = []
        self.due_nodes: dict[int, Node] = {}
        self.keyed: list[KeyedNode] = []
        self.named: set[int] = set()
        self.by_id: dict[str, SegmentNode] = {}
        # by id, so that the order of transitions in a step doesn't depend on the order in a file
        by_id = sorted(definitions.segments, key=lambda segment: segment.id)
        for segment in in_order(by_id):
            self._add(segment, versions.get(segment.id, 1))
        self.segment_ids = tuple(self.by_id)
        nothing = Unit()
        self.at_once = [
            node.index for node in self.nodes if not isinstance(node, KeyedNode) and node.tree(nothing, nothing)
        ]
        self._by_name: dict[str, Listeners] = {}
        self._plain: dict[str, list[EventLike]] = {}
        self._patterned: list[EventLike] = []
        for leaf in self.event_leaves:
            if leaf.plain_names is None:
                self._patterned.append(leaf)
            else:
                for name in leaf.plain_names:
                    self._plain.setdefault(name, []).append(leaf)
        for name in self._plain:
            self._by_name[name] = self._listeners(name)
        self._other_names: dict[str, Listeners] = {}

    # ---- compiling --------------------------------------------------------------------------------------------------

    def _add(self, segment: Segment, version: int) -> None:
        when = normal(segment.when, self.scores_by_id)
        maker = TreeMaker(segment, self.scores_by_id)
        own: dict[int, EventLike] = {}
        for condition in leaves_of(when):
            if segment.per is not None and isinstance(condition, EventIs | SequenceIs):
                leaf = self._leaf_on_events(condition)
                own[leaf.key] = leaf
            else:
                self._leaf(condition)
        own_helds: list[HeldNode] = []
        for held in helds_of(when):
            node = HeldNode(len(self.nodes), maker.key_of(held), maker.tree(held.condition), segment.id, held.for_ms)
            if segment.per is not None and on_events(held):
                own_helds.append(node)
            else:
                self._append(node, held.condition, maker)
        tree = maker.tree(when)
        if segment.per is None:
            top = SegmentNode(len(self.nodes), segment, version, tree)
        else:
            top = KeyedNode(len(self.nodes), segment, version, tree, own, own_helds)
            self._add_keyed(top)
        self.due_nodes[top.hold_key] = top
        self.by_id[segment.id] = top
        self._append(top, when, maker)
        self.named.update(maker.key_of(part) for part in walk(when) if isinstance(part, InSegment))

    def _append(self, node: Node, condition: Condition, maker: TreeMaker) -> None:
        """Take a node into the order, and have it asked when what stands in its condition flips."""
        self.nodes.append(node)
        self.due_nodes.setdefault(node.key, node)
        keyed = isinstance(node, KeyedNode)
        for part in asked_below(condition, keyed):
            if keyed and on_events(part):
                continue
            above = self.above.setdefault(maker.key_of(part), [])
            if not above or above[-1] != node.index:
                above.append(node.index)

    def _add_keyed(self, node: KeyedNode) -> None:
        self.keyed.append(node)
        self.due_nodes[node.keyed_key] = node
        for leaf in node.leaves.values():
            for key in leaf.traits:
                self.on_trait_keyed.setdefault(key, []).append((node, leaf))

    def _leaf(self, condition: Leaf) -> None:
        key = leaf_key(condition, self.scores_by_id)
        if key in self.leaves:
            return
        leaf: AnyLeaf
        if isinstance(condition, EventIs | SequenceIs):
            leaf = self._leaf_on_events(condition)
            self.event_leaves.append(leaf)
        elif isinstance(condition, ScoreIs):
            leaf = self._score_test(condition)
        elif isinstance(condition, TraitIs):
            leaf = trait_leaf(condition)
            leaf.limit(self.limits.events, self.limits.values)
        elif isinstance(condition, Subscribed):
            leaf = ConsentLeaf(condition)
            self.on_consent.setdefault(condition.group, []).append(leaf)
        elif isinstance(condition, Listed):
            leaf = ListLeaf(condition)
            self.on_list.setdefault(condition.list, []).append(leaf)
        else:
            assert isinstance(condition, Known | Sample)
            leaf = KnownLeaf(condition) if isinstance(condition, Known) else SampleLeaf(condition)
            self.newborn.append(leaf)
        assert leaf.key == key
        self.leaves[key] = leaf
        for trait in leaf.traits:
            self.on_trait.setdefault(trait, []).append(leaf)

    def _leaf_on_events(self, condition: EventIs | SequenceIs) -> EventLike:
        leaf: EventLike = event_leaf(condition) if isinstance(condition, EventIs) else SequenceLeaf(condition)
        leaf.limit(self.limits.events, self.limits.values)
        return leaf

    def _score_test(self, condition: ScoreIs) -> ScoreTest:
        score = self.scores_by_id[condition.id]
        key = score_key(score)
        leaf = self.scores.get(key)
        if leaf is None:
            leaf = self.scores[key] = ScoreLeaf(score)
            leaf.limit(self.limits.events, self.limits.values)
            self.score_tests[key] = []
        test = ScoreTest(leaf, condition.test)
        self.score_tests[key].append(test)
        return test

    # ---- looking up -------------------------------------------------------------------------------------------------

    def listeners(self, name: str) -> Listeners:
        """What listens for events of this name."""
        found = self._by_name.get(name) or self._other_names.get(name)
        if found is None:
            if len(self._other_names) >= NAMES_CACHED_MAX:
                self._other_names.clear()
            found = self._listeners(name)
            if len(name) <= NAME_CACHED_MAX:
                self._other_names[name] = found
        return found

    def _listeners(self, name: str) -> Listeners:
        leaves = self._plain.get(name, []) + [leaf for leaf in self._patterned if leaf.asks(name)]
        scores = [(score, self.score_tests[key]) for key, score in self.scores.items() if score.asks(name)]
        keyed = [(node, own) for node in self.keyed if (own := node.asked(name))]
        return Listeners(leaves, scores, keyed)

    def writers(self) -> list[UnchangedFor | ScoreLeaf]:
        """What keeps the writes of traits."""
        found = {writer.key: writer for leaf in self.leaves.values() if (writer := writer_of(leaf)) is not None}
        return list(found.values())

    def on_group(self, group: str) -> list[AnyLeaf]:
        """The leaves over consent that news of this message group may change."""
        if group == EVERY_GROUP:
            return [leaf for leaves in self.on_consent.values() for leaf in leaves]
        return self.on_consent.get(group, [])


def writer_of(leaf: AnyLeaf) -> UnchangedFor | ScoreLeaf | None:
    """What keeps the writes of a leaf's traits, and not only what they are: itself, or the score that it tests."""
    if isinstance(leaf, UnchangedFor):
        return leaf
    return leaf.score if isinstance(leaf, ScoreTest) and leaf.score.is_told_of_writes else None
