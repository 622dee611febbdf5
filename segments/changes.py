"""From one set of definitions to the next (language page, section 9): what is new is told the past, and answers are net."""

from collections.abc import Sequence
from typing import Any

import orjson

from schemas.events import Event
from schemas.transitions import Transition
from segments.answers import (
    Work,
    change,
    change_keyed,
    count_up,
    find_keyed_due,
    flip,
    is_held,
    takes_effect,
)
from segments.bounds import drop_keys
from segments.conditions import Definitions, ScoreIs, Segment, is_quiet, walk
from segments.nodes import HeldNode, KeyedNode, SegmentNode
from segments.program import Index
from segments.refresh import refresh
from segments.state import UNSEEN_MS, ContactState, Keyed
from segments.unit import Unit

# a contact's accepted events in order of arrival, each with the time at which it counts
Past = Sequence[tuple[Event, int]]

_MEANING = ("when", "per", "tz")


class Change:
    """What differs between the definitions of two revisions.

    `added` and `changed`: ids of segments whose answers are taken anew. `reheld`: of those of which only `hold` differs.
    `leaves`: keys of all leaves and scores that were asked before.
    """

    def __init__(self, before: Index, after: Index) -> None:
        self.leaves = set(before.leaves) | set(before.scores)
        self.leaves_keyed = {node.id: set(node.leaves) for node in before.keyed}
        was = {segment.id: segment for segment in before.definitions.segments}
        self.added: set[str] = set()
        self.changed: set[str] = set()
        self.reheld: set[str] = set()
        for segment in after.definitions.segments:
            if segment.id not in was:
                self.added.add(segment.id)
            elif _meaning(before, was[segment.id]) != _meaning(after, segment):
                self.changed.add(segment.id)
            elif _data(was[segment.id].body.get("hold")) != _data(segment.body.get("hold")):
                self.reheld.add(segment.id)

    def is_new(self, id: str) -> bool:
        """Whether a segment's answers are taken anew."""
        return id in self.added or id in self.changed


def _meaning(index: Index, segment: Segment) -> bytes:
    """What makes a segment another one where it differs as data: its own words, and those of the scores it reads."""
    read = sorted({part.id for part in walk(segment.when) if isinstance(part, ScoreIs)})
    scores = [index.scores_by_id[id].body for id in read]
    return _data([[segment.body.get(key) for key in _MEANING], scores])


def _data(data: Any) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)


def errors_against(before: Definitions, after: Definitions) -> list[str]:
    """What is wrong with definitions only because of those in force: `per` can't be changed under one id."""
    was = {segment.id: segment for segment in before.segments}
    return [
        f"segment {segment.id!r}: expected `per` to stay {was[segment.id].per!r}, got {segment.per!r}; "
        "give the other one an id of its own - at $.per"
        for segment in after.segments
        if segment.id in was and was[segment.id].per != segment.per
    ]


def change_over(index: Index, state: ContactState, change_: Change | None, past: Past | None, work: Work) -> None:
    """Take a state over; `change_` is None where what it was before isn't at hand: all is taken as unchanged then."""
    state.program_revision = index.revision
    _forget(index, state, change_)
    _remove(index, state, work)
    _seed(index, state)
    if past is not None and change_ is not None:
        _replay(index, state, change_, past, work)
    refresh(index, state, work.now_ms)
    for node in index.nodes:
        if isinstance(node, HeldNode):
            _ask_held(index, state, node, change_, work)
        elif isinstance(node, KeyedNode):
            _ask_keyed(state, node, change_, work)
        elif isinstance(node, SegmentNode):
            _ask(index, state, node, change_, work)
    work.affected.clear()
    work.keys.clear()
    state.due_stale = True
    state.find_due()


# ---- what is kept ---------------------------------------------------------------------------------------------------


def _forget(index: Index, state: ContactState, change_: Change | None) -> None:
    """Forget what nobody asks any more; what is asked anew starts from nothing."""
    for key in state.all_keys():
        asked = key in index.leaves or key in index.scores
        if not asked or (change_ is not None and key not in change_.leaves):
            state.drop(key)
    state.answers = {key: answer for key, answer in state.answers.items() if key in index.due_nodes}
    for node in index.keyed:
        anew = change_ is not None and change_.is_new(node.id)
        for keyed in state.keyed.get(node.id, {}).values():
            for key in keyed.all_keys():
                if anew or key not in node.leaves:
                    keyed.drop(key)
            if anew:
                keyed.answers = {}


def _remove(index: Index, state: ContactState, work: Work) -> None:
    """Members of segments that are no more leave them; the last `seq` stays, but of those that nobody was told of."""
    for id in [id for id in state.members if id not in index.by_id]:
        if state.is_in(id):
            seq = count_up(state, id, work.now_ms)
            work.out.append(Transition(id, 0, state.contact, seq, work.now_ms, "edit"))
        if is_quiet(id):  # each edit of a condition in place leaves one behind
            del state.members[id]
            state.forgotten.append((id, None))
    for id in [id for id in state.keyed if id not in index.by_id]:
        for key, keyed in state.keyed[id].items():
            if keyed.seq & 1:
                keyed.seq += 1
                keyed.at_ms = work.now_ms
                work.out.append(Transition(id, 0, state.contact, keyed.seq, work.now_ms, "edit", key=key))
            for row_key in keyed.all_keys():
                keyed.drop(row_key)
            keyed.answers, keyed.due_ms = {}, None


def _seed(index: Index, state: ContactState) -> None:
    """Without a past, a new `unchanged_for` knows the last write of each trait, and nothing before."""
    for leaf in index.writers():
        if leaf.key not in state.kept:
            for key in sorted(leaf.traits):
                if key in state.traits:
                    value, at_ms = state.traits[key]
                    state.keep(leaf.key, leaf.write(state.kept.get(leaf.key), {key: value}, at_ms, state))


def _replay(index: Index, state: ContactState, change_: Change, past: Past, work: Work) -> None:
    """Give the past to what is new; leaves don't mind that it is late."""
    new = {key for key in (*index.leaves, *index.scores) if key not in change_.leaves}
    for key in new:
        state.drop(key)
    keyed_nodes = [node for node in index.keyed if change_.is_new(node.id)]
    before = {node.id: state.keyed.pop(node.id, {}) for node in keyed_nodes}
    if not new and not keyed_nodes:
        return
    written = [leaf for leaf in index.writers() if leaf.key in new]
    for event, t_ms in past:
        if event.traits is not None:
            for leaf in written:
                if not leaf.traits.isdisjoint(event.traits):
                    state.keep(leaf.key, leaf.write(state.kept.get(leaf.key), event.traits, t_ms, state))
        if event.name is not None:
            _replay_event(index, state, new, keyed_nodes, event, t_ms, work)
    for node in keyed_nodes:
        _keep_numbers(index, state, node, before[node.id], work)


def _replay_event(
    index: Index,
    state: ContactState,
    new: set[int],
    keyed_nodes: list[KeyedNode],
    event: Event,
    t_ms: int,
    work: Work,
) -> None:
    assert event.name is not None
    listeners, seen = index.listeners(event.name), (event.properties, event.context)
    for leaf in listeners.leaves:
        if leaf.key in new and (leaf.where is None or leaf.where(seen)):
            _take(state, leaf, event, t_ms, state)
    for score, _ in listeners.scores:
        if score.key in new:
            kept = score.take(state.kept.get(score.key), event, t_ms, state)
            if kept is not None:
                state.keep(score.key, kept)
    for node, leaves in listeners.keyed:
        key = node.key_of(seen) if node in keyed_nodes else None
        if key is None:
            continue
        by_key = state.keyed.setdefault(node.id, {})
        keyed = by_key.pop(key, None) or Keyed(work.now_ms)
        by_key[key] = keyed
        for leaf in leaves:
            if leaf.where is None or leaf.where(seen):
                _take(keyed, leaf, event, t_ms, state)
        if len(by_key) > index.limits.values:
            drop_keys(index, state, node, work, index.limits.values)


def _take(unit: Unit, leaf: Any, event: Event, t_ms: int, state: ContactState) -> None:
    taken = leaf.take(unit.kept.get(leaf.key), event, t_ms, state)
    if taken is not None:
        unit.keep(leaf.key, taken[0])


def _keep_numbers(index: Index, state: ContactState, node: KeyedNode, before: dict[str, Keyed], work: Work) -> None:
    """Memberships by value go on counting; those of values that the segment no longer knows end."""
    after = state.keyed.get(node.id, {})
    unseen: dict[str, Keyed] = {}
    for key, keyed in before.items():
        if key not in after and keyed.seq & 1:
            change_keyed(state, node, key, keyed, work)
        numbered = after.get(key)
        if numbered is None:
            numbered = unseen[key] = Keyed(UNSEEN_MS)
        numbered.seq, numbered.at_ms = keyed.seq, keyed.at_ms
    state.keyed[node.id] = unseen | after
    drop_keys(index, state, node, work, index.limits.values)


# ---- answers --------------------------------------------------------------------------------------------------------


def _ask_held(index: Index, state: ContactState, node: HeldNode, change_: Change | None, work: Work) -> None:
    answer = node.tree(state, state)
    if change_ is not None and change_.is_new(node.segment):
        state.answers[node.key] = work.now_ms * 2 + answer
    if is_held(state, node, answer, work.now_ms, state.born_ms):
        flip(index, state, node.key, True, work)


def _ask(index: Index, state: ContactState, node: SegmentNode, change_: Change | None, work: Work) -> None:
    answer = node.tree(state, state)
    member = state.membership(node.id)
    inside = member is not None and member[0] & 1 == 1
    if not node.holds:
        state.answers.pop(node.hold_key, None)  # it would be out of date where there is a hold again
    if node.holds and change_ is not None and not change_.is_new(node.id):
        if node.hold_key not in state.answers and member is not None:  # without a hold the membership was the answer
            state.answers[node.hold_key] = member[1] * 2 + inside
        if takes_effect(state, node, answer, inside, work.now_ms, state.born_ms):
            _change(index, state, node, change_, work)
        return
    if change_ is None and node.hold_key in state.answers:
        if takes_effect(state, node, answer, inside, work.now_ms, state.born_ms):
            _change(index, state, node, change_, work)
        return
    if node.holds:
        state.answers[node.hold_key] = work.now_ms * 2 + answer
    if answer is not inside:
        _change(index, state, node, change_, work)


def _change(index: Index, state: ContactState, node: SegmentNode, change_: Change | None, work: Work) -> None:
    work.cause = "backfill" if _is_added(state, node, change_) else "edit"
    change(index, state, node, work)


def _is_added(state: ContactState, node: SegmentNode, change_: Change | None) -> bool:
    if change_ is not None:
        return node.id in change_.added
    return node.version == 1 and node.id not in state.members


def _ask_keyed(state: ContactState, node: KeyedNode, change_: Change | None, work: Work) -> None:
    anew = change_ is not None and change_.is_new(node.id)
    work.cause = "backfill" if change_ is not None and node.id in change_.added else "edit"
    for key, keyed in state.keyed.get(node.id, {}).items():
        if not keyed.known:
            continue
        for held in node.helds:
            answer = held.tree(state, keyed)
            if anew:
                keyed.answers[held.key] = work.now_ms * 2 + answer
            if is_held(keyed, held, answer, work.now_ms, keyed.born_ms):
                keyed.set_true(held.key, True)
        answer = node.tree(state, keyed)
        inside = keyed.seq & 1 == 1
        if not node.holds:
            keyed.answers.pop(node.hold_key, None)
        if node.holds and anew:
            keyed.answers[node.hold_key] = work.now_ms * 2 + answer
        elif node.holds and node.hold_key not in keyed.answers and keyed.seq:
            keyed.answers[node.hold_key] = keyed.at_ms * 2 + inside
        if node.holds and not anew:
            if takes_effect(keyed, node, answer, inside, work.now_ms, keyed.born_ms):
                change_keyed(state, node, key, keyed, work)
        elif answer is not inside:
            change_keyed(state, node, key, keyed, work)
        keyed.due_stale = True
        keyed.find_due()
    find_keyed_due(state, node)
