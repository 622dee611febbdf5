"""What time alone will bring: a copy of a contact's state, played on from due instant to due instant."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.instants import INSTANT_MS_MAX
from segments.evaluate import Program
from segments.explain_nodes import Change
from segments.state import ContactState

# due instants that are played at most, and answers that are looked up on the way
INSTANTS_MAX = 1_000
LOOKUPS_MAX = 1_000_000

Watched = Callable[[ContactState], bool]


class Ahead(NamedTuple):
    """The first change of each answer that was watched; `until_ms`: how far it was looked, None to the end of the year 9999."""

    changes: list[Change | None]
    until_ms: int | None


def look_ahead(program: Program, state: ContactState, watched: Sequence[Watched], instants_max: int = 0) -> Ahead:
    """When each of some answers is another one first, if nothing happens; at most `instants_max` due instants are played."""
    copy = program.decode(state.contact, program.encode(state))
    before = [answer(copy) for answer in watched]
    changes: list[Change | None] = [None] * len(watched)
    left = list(range(len(watched)))
    for _ in range(instants_max or min(INSTANTS_MAX, max(LOOKUPS_MAX // (len(watched) + 1), 1))):
        due_ms = copy.due_ms
        if due_ms is None or due_ms > INSTANT_MS_MAX or not left:
            return Ahead(changes, None)
        program.advance(copy, due_ms)
        for at in left:
            if watched[at](copy) is not before[at]:
                changes[at] = Change(due_ms, not before[at])
        left = [at for at in left if changes[at] is None]
    more = left and copy.due_ms is not None and copy.due_ms <= INSTANT_MS_MAX
    return Ahead(changes, copy.clock_ms if more else None)
