"""All leaves of a contact asked anew, where too much changed to follow it: definitions, or two contacts made one."""

from collections.abc import Iterable

from segments.program import AnyLeaf, Index
from segments.scores import ScoreTest
from segments.state import ContactState
from segments.unit import Unit


def refresh(index: Index, state: ContactState, now_ms: int) -> None:
    """Read every leaf as of now. No node is asked: `held` conditions count as false until the caller asks them."""
    state.forget_answers()
    for id, node in index.by_id.items():
        if node.key in index.named and state.is_in(id):
            state.set_true(node.key, True)
    _read(state, state, index.leaves.values(), now_ms)
    for keyed_node in index.keyed:
        for keyed in state.keyed.get(keyed_node.id, {}).values():
            keyed.forget_answers()
            _read(keyed, state, keyed_node.leaves.values(), now_ms)


def _read(unit: Unit, state: ContactState, leaves: Iterable[AnyLeaf], now_ms: int) -> None:
    for leaf in leaves:
        kept = unit.kept.get(leaf.score.key if isinstance(leaf, ScoreTest) else leaf.key)
        unit.note(leaf.key, *leaf.read(kept, state, now_ms))
