"""What one event brings: traits, consent, lists, and what leaves keep of it."""

from typing import Any

import orjson

from schemas.events import CONSENT, Event
from segments.answers import Work, read, read_keyed
from segments.bounds import drop_keys, drop_traits, forget_gone
from segments.leaf import encoded_bytes_max
from segments.nodes import EventLike, KeyedNode
from segments.program import AnyLeaf, Index, Listeners, writer_of
from segments.state import ContactState, Keyed
from segments.values import plain

# what a leaf's share of one event takes at most, properties that it keeps aside
_LEAF_BYTES = 40
# what a value of `per` takes beside what its leaves keep
_KEY_BYTES = 100
# message groups and lists that a contact is remembered for: as many as traits
GROUPS_MAX = 1_000


def take_event(index: Index, state: ContactState, event: Event, t_ms: int, work: Work) -> None:
    """Take an event in, at its own time; what may answer otherwise is noted in `work`."""
    if event.traits is not None:
        _take_traits(index, state, event, t_ms, work)
    name = event.name
    if name is None:
        if event.listed is not None:
            list_name, added = event.listed
            _note_word(state, state.lists, list_name, t_ms, added)
            for leaf in index.on_list.get(list_name, ()):
                read(index, state, leaf, work)
        return
    if name in CONSENT:
        _take_consent(index, state, event, t_ms, work)
    listeners = index.listeners(name)
    _take_leaves(index, state, listeners, event, t_ms, work)
    if listeners.scores:
        _take_scores(index, state, listeners, event, t_ms, work)
    for node, leaves in listeners.keyed:
        _take_keyed(index, state, node, leaves, event, t_ms, work)


def _take_leaves(index: Index, state: ContactState, listeners: Listeners, event: Event, t_ms: int, work: Work) -> None:
    seen = (event.properties, event.context)
    leaves, kept_of, live = listeners.leaves, state.kept, state.live
    state.bytes_estimated += _LEAF_BYTES * len(leaves)
    index.tally.leaves += len(leaves)
    for leaf in leaves:
        if leaf.where is not None and not leaf.where(seen):
            continue
        key = leaf.key
        taken = leaf.take(kept_of.get(key), event, t_ms, state)
        if taken is None:
            continue
        kept, answer, due_ms = taken
        if kept is None:
            kept_of.pop(key, None)
        else:
            kept_of[key] = kept
        # most have nothing to say, neither before nor after
        if (answer or due_ms is not None or key in live) and state.note(key, answer, due_ms):
            work.ask(index.above[key])


def _take_scores(index: Index, state: ContactState, listeners: Listeners, event: Event, t_ms: int, work: Work) -> None:
    for score, tests in listeners.scores:
        kept = score.take(state.kept.get(score.key), event, t_ms, state)
        if kept is None:
            continue
        state.keep(score.key, kept)
        for test in tests:
            read(index, state, test, work)


def _take_keyed(
    index: Index,
    state: ContactState,
    node: KeyedNode,
    leaves: list[EventLike],
    event: Event,
    t_ms: int,
    work: Work,
) -> None:
    """Give an event to the leaves of its value, which is known from now on."""
    seen = (event.properties, event.context)
    key = node.key_of(seen)
    if key is None:
        return
    by_key = state.keyed.setdefault(node.id, {})
    keyed = by_key.pop(key, None)  # put back at the end: the value seen longest ago comes first
    if keyed is None or not keyed.known:
        keyed = keyed or Keyed(work.now_ms)
        keyed.born_ms = work.now_ms
        # a hold, and each `held`, has a due instant and the age of its answer
        state.bytes_estimated += _KEY_BYTES + 4 * len(key) + _LEAF_BYTES * (len(node.helds) + 1)
    by_key[key] = keyed
    state.bytes_estimated += _LEAF_BYTES * len(leaves)
    index.tally.leaves += len(leaves)
    for leaf in leaves:
        if leaf.where is not None and not leaf.where(seen):
            continue
        taken = leaf.take(keyed.kept.get(leaf.key), event, t_ms, state)
        if taken is not None:
            kept, answer, due_ms = taken
            keyed.keep(leaf.key, kept)
            keyed.note(leaf.key, answer, due_ms)
    work.ask_key(node.index, key)
    if len(by_key) > index.limits.values:
        drop_keys(index, state, node, work, index.limits.values)


# ---- traits ---------------------------------------------------------------------------------------------------------


def _take_traits(index: Index, state: ContactState, event: Event, t_ms: int, work: Work) -> None:
    assert event.traits is not None
    changed = [key for key, value in event.traits.items() if _write_trait(state, key, value, t_ms)]
    _tell_of_writes(index, state, event, t_ms, work)
    if len(state.traits) > index.limits.traits:
        changed += drop_traits(index, state)
    touched: dict[int, AnyLeaf] = {}
    touched_keyed: dict[tuple[int, int], tuple[KeyedNode, EventLike]] = {}
    for key in changed:
        for leaf in index.on_trait.get(key, ()):
            touched[leaf.key] = leaf
        for node, leaf in index.on_trait_keyed.get(key, ()):
            touched_keyed[node.index, leaf.key] = node, leaf
    for leaf in touched.values():
        read(index, state, leaf, work)
    for node, leaf in touched_keyed.values():
        for key, keyed in state.keyed.get(node.id, {}).items():
            read_keyed(state, node, key, keyed, leaf, work)


def _tell_of_writes(index: Index, state: ContactState, event: Event, t_ms: int, work: Work) -> None:
    """Give what was written, changed or not, to the leaves that keep writes."""
    assert event.traits is not None
    told = {
        leaf.key: leaf for key in event.traits for leaf in index.on_trait.get(key, ()) if writer_of(leaf) is not None
    }
    writers = {writer.key: writer for leaf in told.values() if (writer := writer_of(leaf)) is not None}
    for writer in writers.values():
        state.keep(writer.key, writer.write(state.kept.get(writer.key), event.traits, t_ms, state))
        state.bytes_estimated += encoded_bytes_max(event)
    for leaf in told.values():
        read(index, state, leaf, work)


def _write_trait(state: ContactState, key: str, value: Any, t_ms: int) -> bool:
    """Merge one trait, last write by event time; whether its value changed."""
    if value == "":
        value = None
    entry = state.traits.pop(key, None)  # put back at the end: the trait seen longest ago comes first
    if entry is None:
        state.traits[key] = [value, t_ms]
        changes = value is not None
    elif t_ms >= entry[1]:
        state.traits[key] = [value, t_ms]
        changes = not _same(value, entry[0])
    else:
        state.traits[key] = entry
        changes = False
    state.contact_changed |= changes
    return changes


def _same(value: Any, other: Any) -> bool:
    """Whether two values are one and the same, also to those that tell `true` from 1; where in doubt they aren't."""
    if type(value) is not type(other):
        return False
    if type(value) is dict or type(value) is list:
        return orjson.dumps(value) == orjson.dumps(other)
    return bool(value == other)


# ---- consent and lists ----------------------------------------------------------------------------------------------


def _take_consent(index: Index, state: ContactState, event: Event, t_ms: int, work: Work) -> None:
    """`Subscribed` or `Unsubscribed`, of the group it names or of every one; an object or array names none."""
    named = event.properties.get("group")
    group = "" if named is None else plain(named)
    if group is None:
        return
    assert event.name is not None
    _note_word(state, state.consent, group, t_ms, CONSENT[event.name])
    state.contact_changed = True
    for leaf in index.on_group(group):
        read(index, state, leaf, work)


def _note_word(state: ContactState, words: dict[str, list[Any]], name: str, t_ms: int, on: bool) -> None:
    """The last word by event time wins, of ties the later arrival; the one that won longest ago comes first."""
    entry = words.get(name)
    if entry is not None and t_ms < entry[0]:
        return
    words.pop(name, None)
    words[name] = [t_ms, on]
    state.bytes_estimated += 4 * len(name) + _LEAF_BYTES
    if len(words) > GROUPS_MAX:
        del words[next(iter(words))]
        state.limits_passed += 1


# ---- time -----------------------------------------------------------------------------------------------------------


def read_due(index: Index, state: ContactState, work: Work) -> None:
    """Ask again what is due by now: leaves, and nodes whose hold ends."""
    for key in state.due_keys(work.now_ms):
        leaf = index.leaves.get(key)
        if leaf is not None:
            read(index, state, leaf, work)
            forget_gone(state, leaf, work.now_ms)
            continue
        node = index.due_nodes.get(key)
        if node is None:
            state.set_due(key, None)
        elif isinstance(node, KeyedNode):
            _read_due_keyed(state, node, work)
        else:
            work.ask([node.index])
    state.due_stale = True


def _read_due_keyed(state: ContactState, node: KeyedNode, work: Work) -> None:
    for key, keyed in state.keyed.get(node.id, {}).items():
        if keyed.due_ms is None or keyed.due_ms > work.now_ms:
            continue
        for due_key in keyed.due_keys(work.now_ms):
            leaf = node.leaves.get(due_key)
            if leaf is not None:
                read_keyed(state, node, key, keyed, leaf, work)
                forget_gone(keyed, leaf, work.now_ms)
        keyed.due_stale = True
        work.ask_key(node.index, key)
