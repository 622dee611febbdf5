"""Why a contact is in a segment or isn't: the conditions as they were written, each with its answer, what is behind it, and
when time alone would change it.

Answers are those of the core's own rows, so they agree with the membership; what is behind them is looked up in the
contact's history; what will change is found by playing a copy of its state on.

explain_nodes.py       what an explanation consists of, and its JSON
explain_lines.py       which lines of events matter to the contact
explain_tree.py        conditions and answers
explain_leaves.py      what is behind an answer; explain_events.py, explain_sequences.py the same of events
explain_values.py      why a value passes or doesn't, and what can't match
explain_ahead.py       what time alone will bring
explain_text.py        all of it for people; explain_sentences.py, what is behind an answer
"""

from collections.abc import Iterable, Iterator, Sequence

from schemas.instants import format_instant
from segments.answers import age_of
from segments.conditions import LIFTED, Definitions, Segment
from segments.explain_ahead import Watched, look_ahead
from segments.explain_lines import Story
from segments.explain_nodes import Change, Evidence, Explanation, Membership, Node, SegmentExplained, UnknownName
from segments.explain_scene import Scene
from segments.explain_tree import Place, explain_place, places, unit_of, watched_answer
from segments.explain_words import close_to, iso
from segments.following import Follower
from segments.limits import Limits
from segments.nodes import KeyedNode, SegmentNode
from segments.state import ContactState, Keyed

KEYS_SHOWN_MAX = 3


def explain(
    definitions: Definitions,
    lines: Iterable[bytes],
    contact: str,
    *,
    segment: str | None = None,
    key: str | None = None,
    at_ms: int | None = None,
    limits: Limits | None = None,
    follower: Follower | None = None,
) -> Explanation:
    """Why `contact` is where it is at `at_ms`, of all segments or one, and of the last few values of its `per` or one `key`.

    `lines` are events in order of arrival, as `simulate` takes them; they are gone through twice, and an iterator is kept in
    memory for that. Without `at_ms` it is the instant up to which `simulate` plays time; with it, lines that arrived later
    are left out, and time is played on up to and including it. A `follower` leads the contact on the way. Raises
    `UnknownName` where there is no such contact, segment or key.
    """
    if isinstance(lines, Iterator):
        lines = list(lines)
    story = Story(definitions, lines, contact, at_ms, limits or Limits(), follower)
    program, state = story.run.program, story.state
    asked = _asked(program.definitions, segment)
    explained = _Explained(story, asked, key)
    ahead = look_ahead(program, state, [watched for _, watched in explained.watched])
    changes = dict(zip((name for name, _ in explained.watched), ahead.changes, strict=True))
    names = sorted(name for name in story.survey.names if story.run.names.contact_of(name) == story.contact)
    return Explanation(
        story.contact,
        tuple(name for name in names if name != story.contact),
        state.first_ms,
        story.at_ms,
        ahead.until_ms,
        tuple(explained.segment(each, changes) for each in asked),
        tuple(_limit_notes(state)),
        tuple(story.rejected),
        story.rejections,
    )


def _asked(definitions: Definitions, id: str | None) -> list[Segment]:
    by_id = {each.id: each for each in definitions.segments if not each.id.startswith(LIFTED)}
    if id is None:
        return list(by_id.values())
    if id not in by_id:
        raise UnknownName(f"expected a segment that is defined, got {id!r}{close_to(id, by_id)}")
    return [by_id[id]]


def _limit_notes(state: ContactState) -> list[str]:
    passed = state.limits_passed
    if not passed:
        return []
    times = "once" if passed == 1 else f"{passed} times"
    return [f"a limit was passed {times}, and the oldest was dropped: answers may lack events that are shown here"]


class _Explained:
    """The segments that are asked for, their places and keys, and the answers to watch, by name.

    A name is `(segment, key, path)`; the path of a membership is empty.
    """

    def __init__(self, story: Story, asked: list[Segment], key: str | None) -> None:
        self.story = story
        self.index = story.run.program
        past = story.run.past_of(story.contact)
        self.scene = Scene(self.index, story.state, story.at_ms, past, story.survey.event_names)
        self.roots: dict[str, Place] = {each.id: places(each, self.index.scores_by_id) for each in asked}
        self.keys: dict[str, Sequence[str | None]] = {each.id: self._keys(each, key) for each in asked}
        self.watched: list[tuple[tuple[str, str | None, str], Watched]] = []
        for each in asked:
            for one in self.keys[each.id]:
                self.watched.append(((each.id, one, ""), _is_member(each.id, one)))
                for place in self.roots[each.id].walk():
                    self.watched.append(((each.id, one, place.path), watched_answer(place, each.id, one)))

    def _keys(self, segment: Segment, key: str | None) -> Sequence[str | None]:
        """The keys to explain, the one seen last first; of a segment without `per`, None."""
        if segment.per is None:
            if key is not None and len(self.roots) == 1:
                raise UnknownName(f"segment {segment.id!r}: expected no key where there is no `per`, got {key!r}")
            return [None]
        known = self._known(segment.id)
        if key is None:
            return [*reversed(known)][:KEYS_SHOWN_MAX]
        if key not in known and len(self.roots) > 1:
            return []
        if key not in known:
            had = f"a value of {segment.per!r} that the contact has had"
            raise UnknownName(f"segment {segment.id!r}: expected {had}, got {key!r}{close_to(key, known)}")
        return [key]

    def _known(self, id: str) -> dict[str, Keyed]:
        """The values of a segment that its definition in force has seen, the one seen longest ago first."""
        return {key: keyed for key, keyed in self.story.state.keyed.get(id, {}).items() if keyed.known}

    def segment(self, segment: Segment, changes: dict[tuple[str, str | None, str], Change | None]) -> SegmentExplained:
        """One segment, with all that will change by name."""
        node = self.index.by_id[segment.id]
        memberships = []
        for key in self.keys[segment.id]:
            own = {path: change for (id, one, path), change in changes.items() if id == segment.id and one == key}
            memberships.append(self._membership(segment, node, key, own))
        keys = None if segment.per is None else len(self._known(segment.id))
        name = segment.body.get("name")
        notes = self._key_notes(segment, node) if isinstance(node, KeyedNode) and not memberships else []
        return SegmentExplained(segment.id, name, node.version, tuple(memberships), keys, tuple(notes))

    def _key_notes(self, segment: Segment, node: KeyedNode) -> list[str]:
        """Why there is no membership: no events of these names, or none with the property."""
        past = self.story.run.past_of(self.story.contact)
        events = [one for one in past if one.event.name is not None and node.asked(one.event.name)]
        if not events:
            return ["no event that it asks for came for this contact, so there is no key"]
        return [f"none of {len(events)} events that it asks for has a {segment.per!r} that makes a key"]

    def _membership(
        self, segment: Segment, node: SegmentNode, key: str | None, changes: dict[str, Change | None]
    ) -> Membership:
        story, root, scene = self.story, self.roots[segment.id], self.scene
        if isinstance(node, KeyedNode) and key is not None:
            scene = scene.of_value(node, key, segment.per or "")
        change = changes.get("")
        condition = explain_place(scene, segment, root, changes)
        why = () if change is None else _turning(condition, change)
        seq, since_ms = _standing(story.state, segment.id, key)
        hold = _hold(story.state, segment, node, key, condition.answer)
        return Membership(key, seq & 1 == 1, since_ms, seq, change, why, hold, condition)


def _turning(condition: Node, change: Change) -> tuple[Node, ...]:
    """The leaves that turn at that very instant."""
    leaves = [node for node in condition.walk() if not node.parts]
    return tuple(leaf for leaf in leaves if leaf.change is not None and leaf.change.at_ms == change.at_ms)


def _is_member(segment: str, key: str | None) -> Watched:
    def answer(state: ContactState) -> bool:
        return _standing(state, segment, key)[0] & 1 == 1

    return answer


def _standing(state: ContactState, segment: str, key: str | None) -> tuple[int, int | None]:
    """The last `seq` of a membership, and its instant; 0 and None where there was none."""
    if key is None:
        return state.membership(segment) or (0, None)
    keyed = state.keyed.get(segment, {}).get(key)
    return (0, None) if keyed is None or not keyed.seq else (keyed.seq, keyed.at_ms)


def _hold(state: ContactState, segment: Segment, node: SegmentNode, key: str | None, answer: bool) -> Evidence | None:
    """Of an answer that hasn't taken effect yet: since when it stands, and when it will."""
    inside = _standing(state, segment.id, key)[0] & 1 == 1
    if answer is inside or not node.holds:
        return None
    unit = unit_of(state, segment.id, key)
    born_ms = unit.born_ms if isinstance(unit, Keyed) else state.born_ms
    _, since_ms = age_of(unit, node.hold_key, born_ms)
    effect_ms = since_ms + (segment.enter_ms if answer else segment.leave_ms)
    return {"answer": answer, "since": format_instant(since_ms), "takes_effect": iso(effect_ms)}
