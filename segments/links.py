"""Two contacts that turn out to be one (language page, section 9, Links), and the end of one."""

from typing import Any

from schemas.events import Event
from segments.answers import (
    Work,
    age_of,
    change,
    change_keyed,
    count_up,
    emit,
    find_keyed_due,
    flip,
    is_held,
    takes_effect,
)
from segments.bounds import drop_keys, drop_traits
from segments.nodes import HeldNode, KeyedNode, SegmentNode
from segments.program import Index
from segments.refresh import refresh
from segments.state import ContactState, Keyed, joined_known
from segments.taking import take_event
from segments.unit import Unit

Age = tuple[bool, int]


def newcomer(contact: str, revision: int, born_ms: int, first_ms: int) -> ContactState:
    """A contact of whom nothing is known but that another becomes part of it."""
    state = ContactState(contact, revision)
    state.born_ms, state.first_ms = born_ms, first_ms
    return state


def leave_all(index: Index, state: ContactState, work: Work) -> None:
    """`left` for every membership; the state itself is given up afterwards."""
    for id in sorted(id for id in state.members if state.is_in(id)):
        emit(state, index.by_id[id], None, count_up(state, id, work.now_ms), work)
    for id in sorted(state.keyed):
        node = index.by_id.get(id)
        for key, keyed in state.keyed[id].items():
            if keyed.seq & 1 and isinstance(node, KeyedNode):
                change_keyed(state, node, key, keyed, work)


def merge(index: Index, survivor: ContactState, absorbed: ContactState, event: Event, t_ms: int, work: Work) -> None:
    """Make the histories one, apply the event that links them, and take answers once."""
    leave_all(index, absorbed, work)
    both = [survivor, absorbed] if survivor.revision else [absorbed]  # a newcomer has given no answer yet
    ages = {key: tuple(age_of(state, key, state.born_ms) for state in both) for key in _aged(index)}
    survivor.revision = max(survivor.revision, absorbed.revision) + 1
    survivor.limits_passed += absorbed.limits_passed
    survivor.first_ms = min(survivor.first_ms, absorbed.first_ms, t_ms)
    survivor.born_ms = min(survivor.born_ms, absorbed.born_ms)
    survivor.known = joined_known(survivor.known, absorbed.known)
    survivor.traits = _joined(absorbed.traits, survivor.traits, 1)
    survivor.consent = _joined(absorbed.consent, survivor.consent, 0)
    survivor.lists = _joined(absorbed.lists, survivor.lists, 0)
    survivor.contact_changed = True
    _merge_kept(survivor, absorbed, {**index.leaves, **index.scores}, survivor)
    keyed_ages = {node.id: _merge_keyed(node, survivor, absorbed) for node in index.keyed}
    take_event(index, survivor, event, t_ms, work)
    drop_traits(index, survivor)
    for node in index.keyed:
        if node.id in survivor.keyed:
            drop_keys(index, survivor, node, work, index.limits.values)
    refresh(index, survivor, work.now_ms)
    for node_of_all in index.nodes:
        if isinstance(node_of_all, KeyedNode):
            _ask_keyed(survivor, node_of_all, keyed_ages[node_of_all.id], work)
        elif isinstance(node_of_all, HeldNode):
            answer = node_of_all.tree(survivor, survivor)
            _date(survivor, node_of_all.key, answer, ages[node_of_all.key], work.now_ms)
            if is_held(survivor, node_of_all, answer, work.now_ms, survivor.born_ms):
                flip(index, survivor, node_of_all.key, True, work)
        elif isinstance(node_of_all, SegmentNode):
            _ask(index, survivor, node_of_all, ages, work)
    work.affected.clear()
    work.keys.clear()
    survivor.due_stale = True
    survivor.find_due()


def _aged(index: Index) -> list[int]:
    """Keys of all answers whose age counts."""
    held = [node.key for node in index.nodes if isinstance(node, HeldNode)]
    return held + [node.hold_key for node in index.nodes if isinstance(node, SegmentNode) and node.holds]


def _ask(index: Index, state: ContactState, node: SegmentNode, ages: dict[int, tuple[Age, ...]], work: Work) -> None:
    answer, inside = node.tree(state, state), state.is_in(node.id)
    if node.holds:
        _date(state, node.hold_key, answer, ages[node.hold_key], work.now_ms)
        if takes_effect(state, node, answer, inside, work.now_ms, state.born_ms):
            change(index, state, node, work)
    elif answer is not inside:
        change(index, state, node, work)


def _ask_keyed(state: ContactState, node: KeyedNode, ages: dict[str, dict[int, tuple[Age, ...]]], work: Work) -> None:
    for key, keyed in state.keyed.get(node.id, {}).items():
        if not keyed.known:
            continue
        for held in node.helds:
            answer = held.tree(state, keyed)
            _date(keyed, held.key, answer, ages[key][held.key], work.now_ms)
            if is_held(keyed, held, answer, work.now_ms, keyed.born_ms):
                keyed.set_true(held.key, True)
        answer = node.tree(state, keyed)
        inside = keyed.seq & 1 == 1
        if node.holds:
            _date(keyed, node.hold_key, answer, ages[key][node.hold_key], work.now_ms)
            if takes_effect(keyed, node, answer, inside, work.now_ms, keyed.born_ms):
                change_keyed(state, node, key, keyed, work)
        elif answer is not inside:
            change_keyed(state, node, key, keyed, work)
        keyed.due_stale = True
        keyed.find_due()
    find_keyed_due(state, node)


def _date(unit: Unit, key: int, answer: bool, ages: tuple[Age, ...], now_ms: int) -> None:
    """An answer stands since the earliest instant given for it by those whose last answer it was; if none, since now."""
    since_ms = min((since_ms for last, since_ms in ages if last is answer), default=now_ms)
    unit.answers[key] = since_ms * 2 + answer


def _joined(absorbed: dict[str, list[Any]], survivor: dict[str, list[Any]], time: int) -> dict[str, list[Any]]:
    """The latest entry by event time of each name; between two of one instant the survivor's."""
    joined = dict(absorbed)
    for name, entry in survivor.items():
        other = joined.pop(name, None)
        joined[name] = entry if other is None or entry[time] >= other[time] else other
    return joined


def _merge_kept(survivor: Unit, absorbed: Unit, leaves: dict[int, Any], contact: ContactState) -> None:
    for key, kept in absorbed.kept.items():
        leaf = leaves.get(key)
        if leaf is not None:
            survivor.keep(key, leaf.merge(survivor.kept.get(key), kept, contact))


def _merge_keyed(
    node: KeyedNode, survivor: ContactState, absorbed: ContactState
) -> dict[str, dict[int, tuple[Age, ...]]]:
    """Bring values together; the ages of their answers, by value and key."""
    aged = [held.key for held in node.helds] + ([node.hold_key] if node.holds else [])
    ours, theirs = survivor.keyed.get(node.id, {}), absorbed.keyed.get(node.id, {})
    ages: dict[str, dict[int, tuple[Age, ...]]] = {}
    joined: dict[str, Keyed] = {}
    for key in [*(key for key in theirs if key not in ours), *ours]:
        both = [keyed for keyed in (ours.get(key), theirs.get(key)) if keyed is not None and keyed.known]
        if not both and key not in ours:
            continue
        ages[key] = {name: tuple(age_of(keyed, name, keyed.born_ms) for keyed in both) for name in aged}
        keyed = ours.get(key)
        if keyed is None:
            keyed = Keyed(both[0].born_ms)
        if key in theirs:
            keyed.born_ms = min(keyed.born_ms, theirs[key].born_ms)
            _merge_kept(keyed, theirs[key], node.leaves, survivor)
        joined[key] = keyed
    if joined:
        survivor.keyed[node.id] = joined
    return ages
