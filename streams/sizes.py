"""How many members each segment has in one partition, for the metrics.

Nothing counts them for us: state is one record a contact, and at take-over only its header is looked at. So each
contact is counted once after a take-over, when there is time (some microseconds each) or when a membership of it
changes, whichever comes first; from there on transitions count.

Invariant: a contact is in `uncounted`, or its memberships as of its last step are in `members`.
"""

from collections.abc import Callable, Iterable, Sequence

from schemas.transitions import Transition
from streams.clock import Clock
from streams.plan import State

_BETWEEN_LOOKS = 16


class Sizes:
    """Of the partition's contacts, those in `uncounted` are still to come."""

    def __init__(self, contacts: Iterable[bytes]) -> None:
        self.uncounted = set(contacts)
        self.members: dict[str, int] = {}

    def count_some(self, state_of: Callable[[bytes], State | None], clock: Clock, until_ms: float) -> None:
        """Counts contacts until none is left, or the clock's `spent_ms` passes `until_ms`."""
        uncounted = self.uncounted
        while uncounted:
            contact = uncounted.pop()
            try:
                state = state_of(contact)
            except Exception:
                state = None  # what can't be decoded is said, and dealt with, where it is needed
            if state is not None:
                self.count(contact, state)
            if not len(uncounted) % _BETWEEN_LOOKS and clock.spent_ms() > until_ms:
                return

    def count(self, contact: bytes, state: State) -> None:
        """Counts a contact in whose `state` no transition is missing."""
        self.uncounted.discard(contact)
        for segment, *_ in state.memberships():
            self.members[segment] = self.members.get(segment, 0) + 1

    def move(self, contact: bytes, state: State | None, transitions: Sequence[Transition]) -> None:
        """Takes a step's transitions in; `state` is that after it, None where the contact was erased."""
        if contact in self.uncounted:
            self.uncounted.discard(contact)
            if state is not None:
                self.count(contact, state)
            return
        members = self.members
        for transition in transitions:
            change = 1 if transition.transition == "entered" else -1
            members[transition.segment] = members.get(transition.segment, 0) + change
