"""From a leaf that flips to a transition: nodes above it are asked, each after those it names, and put out what changed."""

import heapq

import orjson

from schemas.events import Event
from schemas.transitions import CAUSE_PROPERTIES_BYTES_MAX, Cause, CauseEvent, Transition
from segments.contact import find_trait
from segments.members import pack_member, seq_of
from segments.nodes import HeldNode, KeyedNode, SegmentNode
from segments.program import AnyLeaf, Index
from segments.scores import ScoreTest
from segments.state import ContactState, Keyed
from segments.unit import Unit

# characters of an event's name that a transition quotes, and of an id that it carries at all
CAUSE_TEXT_MAX = 1_024


class Work:
    """One step at one instant: which nodes are to be asked again, and what to say if they changed.

    `keys`: of a segment with `per`, the values whose memberships are to be asked; None for all of them.
    """

    __slots__ = ("affected", "cause", "event", "keys", "now_ms", "out")

    def __init__(self, now_ms: int, cause: Cause, event: Event | None, out: list[Transition]) -> None:
        self.now_ms = now_ms
        self.cause: Cause = cause
        self.event = event
        self.out = out
        self.affected: list[int] = []  # a heap, repeats allowed
        self.keys: dict[int, dict[str, None] | None] = {}

    def ask(self, indexes: list[int]) -> None:
        """Have these asked again, with all their keys; `indexes` ascend, so they are a heap by themselves."""
        if self.affected:
            for index in indexes:
                heapq.heappush(self.affected, index)
        else:
            self.affected.extend(indexes)
        if self.keys:
            for index in indexes:
                if index in self.keys:
                    self.keys[index] = None

    def ask_key(self, index: int, key: str) -> None:
        """Have one membership of a segment with `per` asked again."""
        if index in self.keys:
            keys = self.keys[index]
            if keys is not None:
                keys[key] = None
        elif index not in self.affected:  # there already: with all its keys
            self.keys[index] = {key: None}
            heapq.heappush(self.affected, index)


# ---- leaves ---------------------------------------------------------------------------------------------------------


def read(index: Index, state: ContactState, leaf: AnyLeaf, work: Work) -> None:
    """Ask a leaf of the contact again; where it flipped, the nodes above it are to be asked."""
    index.tally.leaves += 1
    kept = state.kept.get(leaf.score.key if isinstance(leaf, ScoreTest) else leaf.key)
    answer, due_ms = leaf.read(kept, state, work.now_ms)
    if state.note(leaf.key, answer, due_ms):
        work.ask(index.above[leaf.key])


def flip(index: Index, state: ContactState, key: int, answer: bool, work: Work) -> None:
    """Note the answer of a node that others name; where it flipped, the nodes above it are to be asked."""
    if state.set_true(key, answer):
        work.ask(index.above[key])


def read_keyed(state: ContactState, node: KeyedNode, key: str, keyed: Keyed, leaf: AnyLeaf, work: Work) -> None:
    """Ask a leaf of one value again."""
    answer, due_ms = leaf.read(keyed.kept.get(leaf.key), state, work.now_ms)
    before_ms = keyed.due_of(leaf.key)
    if keyed.note(leaf.key, answer, due_ms) or before_ms != due_ms:
        work.ask_key(node.index, key)


# ---- nodes ----------------------------------------------------------------------------------------------------------


def settle(index: Index, state: ContactState, work: Work) -> None:
    """Ask the affected nodes, each after those it names, and put out what changed."""
    affected = work.affected
    while affected:
        at = heapq.heappop(affected)
        while affected and affected[0] == at:
            heapq.heappop(affected)
        node = index.nodes[at]
        index.tally.trees += 1
        if isinstance(node, HeldNode):
            answer = is_held(state, node, node.tree(state, state), work.now_ms, state.born_ms)
            flip(index, state, node.key, answer, work)
        elif isinstance(node, KeyedNode):
            _ask_keyed(state, node, work)
        else:
            assert isinstance(node, SegmentNode)
            _ask_segment(index, state, node, work)


def _ask_segment(index: Index, state: ContactState, node: SegmentNode, work: Work) -> None:
    answer, inside = node.tree(state, state), state.is_in(node.id)
    if node.holds:
        if not takes_effect(state, node, answer, inside, work.now_ms, state.born_ms):
            return
    elif answer is inside:
        return
    change(index, state, node, work)


def change(index: Index, state: ContactState, node: SegmentNode, work: Work) -> None:
    """Enter or leave a segment."""
    seq = count_up(state, node.id, work.now_ms)
    emit(state, node, None, seq, work)
    if node.key in index.named:
        flip(index, state, node.key, seq & 1 == 1, work)


def _ask_keyed(state: ContactState, node: KeyedNode, work: Work) -> None:
    asked = work.keys.pop(node.index, None)
    by_key = state.keyed.get(node.id, {})
    first_ms = state.due_of(node.keyed_key)
    moved = False  # whether the membership that the first due instant came from has another now
    for key in list(by_key) if asked is None else asked:
        keyed = by_key.get(key)
        if keyed is None or not keyed.known:
            continue  # dropped in this very step, or not seen yet
        born_ms = keyed.born_ms
        for held in node.helds:
            keyed.set_true(held.key, is_held(keyed, held, held.tree(state, keyed), work.now_ms, born_ms))
        answer = node.tree(state, keyed)
        inside = keyed.seq & 1 == 1
        if takes_effect(keyed, node, answer, inside, work.now_ms, born_ms) if node.holds else answer is not inside:
            change_keyed(state, node, key, keyed, work)
        keyed.find_due()
        if keyed.due_ms != keyed.counted_ms:
            moved = moved or keyed.counted_ms == first_ms
            keyed.counted_ms = keyed.due_ms
            if keyed.due_ms is not None and (first_ms is None or keyed.due_ms < first_ms):
                first_ms, moved = keyed.due_ms, False
    if moved:
        find_keyed_due(state, node)
    else:
        state.set_due(node.keyed_key, first_ms)


def change_keyed(state: ContactState, node: KeyedNode, key: str, keyed: Keyed, work: Work) -> None:
    """Enter or leave the membership of one value."""
    keyed.seq += 1
    keyed.at_ms = work.now_ms
    emit(state, node, key, keyed.seq, work)


def find_keyed_due(state: ContactState, node: KeyedNode) -> None:
    """Bring the first due instant of all values of a segment up to date among the contact's."""
    first_ms = None
    for keyed in state.keyed.get(node.id, {}).values():
        keyed.counted_ms = keyed.due_ms
        if keyed.due_ms is not None and (first_ms is None or keyed.due_ms < first_ms):
            first_ms = keyed.due_ms
    state.set_due(node.keyed_key, first_ms)


def age_of(unit: Unit, key: int, born_ms: int) -> tuple[bool, int]:
    """The last answer given for a hold or a `held` condition, and since when."""
    given = unit.answers.get(key)
    return (False, born_ms) if given is None else (given & 1 == 1, given >> 1)


def _age(unit: Unit, key: int, answer: bool, now_ms: int, born_ms: int) -> int:
    """Since when the answer stands, noted where it is another than before."""
    before, since_ms = age_of(unit, key, born_ms)
    if before is not answer:
        since_ms = now_ms
        unit.answers[key] = now_ms * 2 + answer
    return since_ms


def takes_effect(unit: Unit, node: SegmentNode, answer: bool, inside: bool, now_ms: int, born_ms: int) -> bool:
    """Whether an answer other than the membership has stood for as long as `hold` says; if not yet, when is noted."""
    since_ms = _age(unit, node.hold_key, answer, now_ms, born_ms)
    due_ms = None if answer is inside else since_ms + (node.enter_ms if answer else node.leave_ms)
    waits = due_ms is not None and due_ms > now_ms
    unit.set_due(node.hold_key, due_ms if waits else None)
    return due_ms is not None and not waits


def is_held(unit: Unit, node: HeldNode, answer: bool, now_ms: int, born_ms: int) -> bool:
    """Whether the condition has been true for as long as it must; if not yet, when it will have been is noted."""
    due_ms = _age(unit, node.key, answer, now_ms, born_ms) + node.for_ms
    unit.set_due(node.key, due_ms if answer and due_ms > now_ms else None)
    return answer and due_ms <= now_ms


# ---- transitions ----------------------------------------------------------------------------------------------------


def count_up(state: ContactState, segment: str, at_ms: int) -> int:
    """The next `seq` of a membership, noted with its instant."""
    member = state.members.get(segment)
    seq = 1 if member is None else seq_of(member) + 1
    state.members[segment] = pack_member(seq, at_ms)
    return seq


def emit(state: ContactState, node: SegmentNode, key: str | None, seq: int, work: Work) -> None:
    """Put a transition out, with the traits that its segment gives along."""
    event = cause_event(work.event) if work.event is not None else None
    traits = None
    if node.carry:
        found = ((path, find_trait(state.traits, ways)) for path, ways in node.carry)
        traits = {path: value for path, value in found if value is not None}
    silent = node.silent and work.cause in ("backfill", "edit")
    work.out.append(
        Transition(node.id, node.version, state.contact, seq, work.now_ms, work.cause, event, key, silent, traits)
    )


def cause_event(event: Event) -> CauseEvent:
    """What a transition says of its event: properties over 16 KiB are left out and marked so, as are ids over 1,024."""
    message_id = event.message_id
    if message_id is not None and len(message_id) > CAUSE_TEXT_MAX:
        message_id = None
    if event.name is None:
        return CauseEvent(message_id=message_id)
    cut = event.size > CAUSE_PROPERTIES_BYTES_MAX and len(orjson.dumps(event.properties)) > CAUSE_PROPERTIES_BYTES_MAX
    return CauseEvent(event.name[:CAUSE_TEXT_MAX], message_id, None if cut else event.properties, cut)
