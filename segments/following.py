"""What follows a contact's transitions within the contact's own step: sequences, which `actions/` knows.

The core knows of it that it keeps bytes with the contact (`ContactState.progress`), that it may be due (the key `WAITING`
among the contact's due instants), and that it may have the contact take events of its own.
"""

from typing import Any, Final, Protocol

from schemas.transitions import Transition

# no leaf, node or hold has it: theirs are hashes
WAITING: Final = 1


class Follower(Protocol):
    """Called with the contact's `state` after its answers are found, at `now_ms`; what it says goes to `state.told`.

    `out` has the transitions of the step; those from `begun` on are new. More come where it has the contact take events
    (`program.take_own`), and it sees to these itself. `arrived_ms` is arrival time. It notes at `WAITING` when it is due
    next.
    """

    def succeed(self, revision: int, previous: Any) -> None:
        """Has contacts of `revision`, which `previous` (None: nothing) followed, taken over by what differs."""

    def follow(self, program: Any, state: Any, out: list[Transition], begun: int, now_ms: int, arrived_ms: int) -> None:
        """Takes new transitions, and what is due by now."""

    def change_over(
        self, program: Any, state: Any, out: list[Transition], revision: int, now_ms: int, arrived_ms: int
    ) -> None:
        """The same, after the contact was taken over from definitions of `revision`."""

    def merge(
        self, program: Any, survivor: Any, absorbed: Any, out: list[Transition], now_ms: int, arrived_ms: int
    ) -> None:
        """The same, after two contacts became one."""
