"""What goes first where a contact passes a limit (language page, section 10); never silent: `limits_passed` counts it."""

from segments import state as codec
from segments.answers import Work, emit, find_keyed_due, read, read_keyed, settle
from segments.nodes import KeyedNode
from segments.program import AnyLeaf, Index, writer_of
from segments.scores import ScoreLeaf
from segments.state import KNOWN_BYTES, ContactState
from segments.unit import Unit
from segments.windows import CountWithin


def forget_gone(unit: Unit, leaf: AnyLeaf, now_ms: int) -> None:
    """Forget of what a due leaf keeps what time has taken out of its window."""
    if type(leaf) is CountWithin:
        unit.keep(leaf.key, leaf.left(unit.kept.get(leaf.key), now_ms))
    else:  # these have dropped it when they were read
        forget_empty(unit, leaf)


def forget_empty(unit: Unit, leaf: AnyLeaf) -> None:
    """Forget what a leaf keeps where that says no more than nothing."""
    kept = unit.kept.get(leaf.key)
    if kept is not None and leaf.is_empty(kept):
        del unit.kept[leaf.key]


def drop_traits(index: Index, state: ContactState) -> list[str]:
    """Bring the traits down to their limit, the one seen longest ago first; those that were dropped, to be asked again."""
    dropped = []
    while len(state.traits) > index.limits.traits:
        dropped.append(_drop_trait(index, state))
    return dropped


def _drop_trait(index: Index, state: ContactState) -> str:
    key = next(iter(state.traits))
    del state.traits[key]
    state.limits_passed += 1
    state.contact_changed = True
    for leaf in index.on_trait.get(key, ()):
        writer = writer_of(leaf)
        if writer is not None:
            kept = state.kept.get(writer.key)
            state.keep(writer.key, writer.forget_writes(kept) if isinstance(writer, ScoreLeaf) else None)
    return key


def drop_keys(index: Index, state: ContactState, node: KeyedNode, work: Work, number: int) -> None:
    """Bring the values of a segment with `per` down to that many, the one seen longest ago first; members leave."""
    by_key = state.keyed[node.id]
    while len(by_key) > number:
        key = next(iter(by_key))
        keyed = by_key.pop(key)
        state.limits_passed += 1
        if keyed.seq & 1:
            emit(state, node, key, keyed.seq + 1, work)
        if keyed.seq:
            state.forgotten.append((node.id, key))
    find_keyed_due(state, node)


def bound(index: Index, state: ContactState, work: Work) -> None:
    """Keep the record within its limit: the oldest kept events go first, then known messages, values of `per`, traits, words.

    The estimate counts every event at the most that it can take; the record is measured when that passes the limit,
    and brought down to three quarters of it where it is really over, so that a contact at its limit isn't cut at
    every event.
    """
    limit = index.limits.state_bytes
    goal = limit * 3 // 4
    if len(codec.encode(state)) <= limit:
        return
    from_ms, to_ms = state.first_ms, state.clock_ms + 1
    while len(codec.encode(state)) > goal and from_ms < to_ms:
        from_ms = (from_ms + to_ms) // 2 if to_ms - from_ms > 1 else to_ms
        _shed(index, state, from_ms)
        state.limits_passed += 1
    if len(codec.encode(state)) > goal and state.known:
        half = len(state.known) // KNOWN_BYTES // 2 * KNOWN_BYTES
        state.known = state.known[half:]
        state.limits_passed += 1
    for node in index.keyed:
        while len(state.keyed.get(node.id, ())) > 1 and len(codec.encode(state)) > goal:
            drop_keys(index, state, node, work, len(state.keyed[node.id]) // 2)
    while len(codec.encode(state)) > limit and state.traits:
        _drop_trait(index, state)
    for words in (state.consent, state.lists):
        while len(codec.encode(state)) > limit and words:
            del words[next(iter(words))]
            state.limits_passed += 1
    _read_all(index, state, work)
    settle(index, state, work)
    state.find_due()
    codec.encode(state)  # the estimate starts anew from what it really is


def _shed(index: Index, state: ContactState, before_ms: int) -> None:
    """Drop the events up to an instant that are kept one by one."""
    _shed_unit(state, {**index.leaves, **index.scores}, before_ms)
    for node in index.keyed:
        for keyed in state.keyed.get(node.id, {}).values():
            _shed_unit(keyed, node.leaves, before_ms)


def _shed_unit(unit: Unit, leaves: dict[int, AnyLeaf], before_ms: int) -> None:
    for key, kept in list(unit.kept.items()):
        leaf = leaves.get(key)
        if leaf is None:
            unit.drop(key)
        else:
            unit.keep(key, leaf.shed(kept, before_ms))
            forget_empty(unit, leaf)


def _read_all(index: Index, state: ContactState, work: Work) -> None:
    for leaf in index.leaves.values():
        read(index, state, leaf, work)
    for node in index.keyed:
        for key, keyed in state.keyed.get(node.id, {}).items():
            for leaf in node.leaves.values():
                read_keyed(state, node, key, keyed, leaf, work)
