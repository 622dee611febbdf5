"""A segment's conditions as their author wrote them, each with the answer of the core's own rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.instants import format_duration, format_instant
from segments.answers import age_of
from segments.canonical import Scores, normal
from segments.conditions import Condition, Held, Segment
from segments.explain_ahead import Watched
from segments.explain_leaves import explain_leaf
from segments.explain_nodes import Change, Evidence, Node
from segments.explain_scene import Scene
from segments.explain_words import parts, says
from segments.nodes import Tree, TreeMaker, on_events
from segments.program import Index
from segments.state import ContactState
from segments.unit import Unit

_NOTHING = Unit()


class Place(NamedTuple):
    """A condition, its body, where it stands, and its tree: how the core answers it."""

    condition: Condition
    body: dict[str, Any]
    path: str
    tree: Tree
    parts: tuple["Place", ...]

    def walk(self) -> list["Place"]:
        """This one and all below it, in the order of `Node.walk`."""
        return [self, *(place for part in self.parts for place in part.walk())]


def places(segment: Segment, scores: Scores) -> Place:
    """The conditions of a segment, from its root on."""
    maker = TreeMaker(segment, scores)

    def place(condition: Condition, body: dict[str, Any], path: str) -> Place:
        below = tuple(place(*part) for part in parts(condition, body, path))
        return Place(condition, body, path, maker.tree(normal(condition, scores)), below)

    return place(segment.when, segment.body["when"], "$.when")


def unit_of(state: ContactState, segment: str, key: str | None) -> Unit:
    """What a segment's conditions on events are answered from: the contact, or one value's part of it."""
    return state if key is None else state.keyed.get(segment, {}).get(key) or _NOTHING


def watched_answer(place: Place, segment: str, key: str | None) -> Watched:
    """The answer of a condition, as a function of a contact's state."""
    tree = place.tree

    def answer(state: ContactState) -> bool:
        return tree(state, unit_of(state, segment, key))

    return answer


def explain_place(scene: Scene, segment: Segment, place: Place, changes: dict[str, Change | None]) -> Node:
    """A condition and all below it; `changes` by path."""
    condition = place.condition
    evidence: Evidence = {}
    notes: Sequence[str] = ()
    if isinstance(condition, Held):
        evidence = _held(scene, segment, condition)
    elif not place.parts:
        evidence, notes = explain_leaf(scene, condition)
    return Node(
        place.path,
        says(condition, place.body),
        place.tree(scene.state, scene.unit),
        changes.get(place.path),
        evidence,
        tuple(notes),
        tuple(explain_place(scene, segment, part, changes) for part in place.parts),
    )


def _held(scene: Scene, segment: Segment, condition: Held) -> Evidence:
    """Since when the condition within has the answer that it has, and how long it must have been true."""
    index: Index = scene.index
    own = segment.per is not None and on_events(condition)
    unit = scene.unit if own else scene.state
    born_ms = getattr(unit, "born_ms", scene.state.born_ms)
    key = TreeMaker(segment, index.scores_by_id).key_of(normal(condition, index.scores_by_id))
    answer, since_ms = age_of(unit, key, born_ms)
    return {"condition": answer, "since": format_instant(since_ms), "for": format_duration(condition.for_ms)}
