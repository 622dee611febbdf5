"""Steps a contact through events and time: the state in, the state and its transitions out (language page, section 3).

Work is proportional to what changed: an event's name, or a trait that was written, leads to the leaves it can touch; a
leaf that flips, to the nodes above it; a node that flips, to a transition. Time is data: every instant is handed in.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from schemas.events import Event
from schemas.transitions import Cause, Transition
from segments import changes, links
from segments import state as codec
from segments.answers import Work, read, settle
from segments.bounds import bound
from segments.changes import Change, Past
from segments.conditions import Definitions
from segments.following import Follower
from segments.leaf import encoded_bytes_max
from segments.limits import Limits
from segments.program import Index
from segments.state import KNOWN_HASH_BYTES, ContactState
from segments.taking import read_due, take_event


class Step(NamedTuple):
    """What an event did: the state (the one given, changed, or a new one), its transitions in order, and three marks.

    `state` is None where the contact is not known afterwards: it was deleted, or a `delete` was all that was heard of it.
    `duplicate`: its `messageId` was known and nothing changed. `late`: it happened before the contact's clock. `at_ms`:
    the time at which it counts.
    """

    state: ContactState | None
    transitions: list[Transition]
    duplicate: bool = False
    late: bool = False
    at_ms: int = 0


class Program(Index):
    """A compiled program with the verbs: `apply` an event, `advance` time, `link` two contacts, `change_over` to these.

    `follower` is told of transitions within each step, where there is one.
    """

    def __init__(
        self,
        definitions: Definitions,
        limits: Limits,
        versions: Mapping[str, int],
        revision: int,
        previous: Index | None = None,
        follower: Follower | None = None,
    ) -> None:
        super().__init__(definitions, limits, versions, revision)
        self.follower = follower
        # by the revision that a state is of
        self.changes: dict[int, Change] = {}
        if previous is not None:
            self.follow(previous)

    def follow(self, previous: Index) -> None:
        """Have states of `previous` taken over by what differs; those of a revision that isn't followed count as unchanged."""
        if previous.revision not in self.changes:
            self.changes[previous.revision] = Change(previous, self)
            if self.follower is not None:
                self.follower.succeed(previous.revision, previous.follower if isinstance(previous, Program) else None)

    def encode(self, state: ContactState) -> bytes:
        """The state's record (`segments.state`)."""
        return codec.encode(state)

    def decode(self, contact: str, record: bytes) -> ContactState:
        """The state of `contact` in a record; raises `StateError`."""
        return codec.decode(contact, record)

    def apply(self, state: ContactState | None, event: Event, arrived_ms: int, received_ms: int) -> Step:
        """Play what was due before `event`, then the event.

        `arrived_ms` is when it counts as having arrived, `received_ms` what stands in for a missing timestamp; outside
        a service both are its `receivedAt`. `state` is None for a contact that isn't known; it is changed in place.
        Names are linked by the caller, which calls `link` where that brings two contacts together.
        """
        limits = self.limits
        r_ms = arrived_ms if state is None or state.arrived_ms <= arrived_ms else state.arrived_ms
        digest = None
        if event.message_id is not None:
            digest = digest_of(event.message_id)
            if state is not None and state.known and state.knows(digest, r_ms - limits.dedup_horizon_ms):
                return Step(state, [], duplicate=True)
        t_ms = event.occurred_at_ms
        if t_ms is None or t_ms > received_ms + limits.future_ms:
            t_ms = received_ms if state is None or state.arrived_ms <= received_ms else state.arrived_ms
        if event.type == "delete":
            return self._erase(state, t_ms, r_ms)
        out: list[Transition] = []
        new = state is None
        earlier = False
        if state is None:
            state = ContactState(event.contact, self.revision)
            state.first_ms = t_ms
        else:
            assert state.program_revision == self.revision, "changed over first"
            if state.due_ms is not None:
                self._play(state, max(t_ms - 1, r_ms - limits.grace_ms), r_ms, out)
            if t_ms < state.first_ms:
                state.first_ms = t_ms
                earlier = True
        late = t_ms < state.clock_ms
        if not late:
            state.clock_ms = t_ms
        if r_ms - limits.grace_ms > state.clock_ms:
            state.clock_ms = r_ms - limits.grace_ms
        state.arrived_ms = r_ms
        state.revision += 1
        if digest is not None:
            state.learn(digest, r_ms, r_ms - limits.dedup_horizon_ms)
        begun = len(out)
        work = Work(state.clock_ms, cause_of(event), event, out)
        if new:
            state.born_ms = state.clock_ms
            work.ask(self.at_once)
        if new or earlier:
            for leaf in self.newborn:
                read(self, state, leaf, work)
        take_event(self, state, event, t_ms, work)
        if state.due_ms is not None and state.due_ms <= state.clock_ms:
            read_due(self, state, work)
        if work.affected:
            settle(self, state, work)
        state.find_due()
        state.bytes_estimated += encoded_bytes_max(event)
        if state.bytes_estimated > limits.state_bytes:
            bound(self, state, work)
        if self.follower is not None:
            self.follower.follow(self, state, out, begun, state.clock_ms, r_ms)
            state.find_due()
        return Step(state, out, False, late, t_ms)

    def take_own(self, state: ContactState, event: Event, out: list[Transition]) -> None:
        """Have the contact take an event that follows from its own step, at its clock: for the follower.

        Nothing is played before it, nothing is followed after it, and no caller is told that it was known already.
        """
        now_ms, limits = state.clock_ms, self.limits
        if event.message_id is not None:
            digest, since_ms = digest_of(event.message_id), state.arrived_ms - limits.dedup_horizon_ms
            if state.known and state.knows(digest, since_ms):
                return
            state.learn(digest, state.arrived_ms, since_ms)
        work = Work(now_ms, cause_of(event), event, out)
        take_event(self, state, event, now_ms, work)
        if state.due_ms is not None and state.due_ms <= now_ms:
            read_due(self, state, work)
        if work.affected:
            settle(self, state, work)
        state.find_due()
        state.bytes_estimated += encoded_bytes_max(event)
        if state.bytes_estimated > limits.state_bytes:
            bound(self, state, work)

    def link(
        self,
        survivor: ContactState | None,
        absorbed: ContactState,
        event: Event,
        arrived_ms: int,
        received_ms: int,
    ) -> Step:
        """Make one contact of two by an `alias` or `identify`, and apply that event to it (language page, section 9).

        Its transitions are those of both contacts; `survivor` is None where `event.contact` isn't known. The caller
        forgets the absorbed contact's state, unless the event is a duplicate.
        """
        limits = self.limits
        both = [absorbed] if survivor is None else [absorbed, survivor]
        r_ms = max(arrived_ms, *(state.arrived_ms for state in both))
        digest = digest_of(event.message_id) if event.message_id is not None else None
        if digest is not None and survivor is not None and survivor.knows(digest, r_ms - limits.dedup_horizon_ms):
            return Step(survivor, [], duplicate=True)
        t_ms = event.occurred_at_ms
        if t_ms is None or t_ms > received_ms + limits.future_ms:
            t_ms = max(received_ms, *(state.arrived_ms for state in both))
        out: list[Transition] = []
        for state in both:
            assert state.program_revision == self.revision, "changed over first"
            self._play(state, max(t_ms - 1, r_ms - limits.grace_ms), r_ms, out)
        clock_ms = max(t_ms, r_ms - limits.grace_ms)
        late = any(t_ms < state.clock_ms for state in both)
        if survivor is None:
            survivor = links.newcomer(event.contact, self.revision, clock_ms, t_ms)
        survivor.arrived_ms = r_ms
        survivor.clock_ms = max(clock_ms, survivor.clock_ms, absorbed.clock_ms)
        work = Work(survivor.clock_ms, "merge", event, out)
        links.merge(self, survivor, absorbed, event, t_ms, work)
        if digest is not None:
            survivor.learn(digest, r_ms, r_ms - limits.dedup_horizon_ms)
        if len(codec.encode(survivor)) > limits.state_bytes:
            bound(self, survivor, work)
        if self.follower is not None:
            self.follower.merge(self, survivor, absorbed, out, survivor.clock_ms, r_ms)
            survivor.find_due()
        return Step(survivor, out, False, late, t_ms)

    def advance(self, state: ContactState, until_ms: int) -> list[Transition]:
        """Play the due instants up to and including `until_ms`, each transition with its instant and cause `timer`."""
        assert state.program_revision == self.revision, "changed over first"
        out: list[Transition] = []
        self._play(state, until_ms, until_ms + self.limits.grace_ms, out)
        if out:
            state.revision += 1
        return out

    def change_over(self, state: ContactState, until_ms: int, past: Past | None = None) -> list[Transition]:
        """Take a state written under other definitions over to these, as of `until_ms`: net transitions, at the clock.

        The clock becomes at least `until_ms`, the instant at which these definitions take effect: what was due before it
        has been played under the old ones. `past` is the contact's history, from which what the new leaves ask is known;
        without it that counts from now on. A state of these definitions is left as it is.
        """
        if state.program_revision == self.revision:
            return []
        revision = state.program_revision
        state.clock_ms = max(state.clock_ms, until_ms)
        state.revision += 1
        out: list[Transition] = []
        work = Work(state.clock_ms, "edit", None, out)
        changes.change_over(self, state, self.changes.get(state.program_revision), past, work)
        if state.bytes_estimated > self.limits.state_bytes or past is not None:
            bound(self, state, work)
        if self.follower is not None:
            arrived_ms = until_ms + self.limits.grace_ms
            self.follower.change_over(self, state, out, revision, state.clock_ms, arrived_ms)
            state.find_due()
        return out

    def _play(self, state: ContactState, until_ms: int, arrived_ms: int, out: list[Transition]) -> None:
        while state.due_ms is not None and state.due_ms <= until_ms:
            due_ms, begun = state.due_ms, len(out)
            self.tally.instants += 1
            work = Work(due_ms, "timer", None, out)
            state.clock_ms = max(state.clock_ms, due_ms)
            read_due(self, state, work)
            settle(self, state, work)
            state.find_due()
            if self.follower is not None:
                self.follower.follow(self, state, out, begun, state.clock_ms, arrived_ms)
                state.find_due()
            _check_moved(state, due_ms)

    def _erase(self, state: ContactState | None, t_ms: int, r_ms: int) -> Step:
        """The contact leaves all that it is in, and nothing of it is kept."""
        out: list[Transition] = []
        if state is None:
            return Step(None, out)
        self._play(state, max(t_ms - 1, r_ms - self.limits.grace_ms), r_ms, out)
        late = t_ms < state.clock_ms
        state.clock_ms = max(state.clock_ms, t_ms, r_ms - self.limits.grace_ms)
        state.revision += 1
        links.leave_all(self, state, Work(state.clock_ms, "erasure", None, out))
        return Step(None, out, False, late, t_ms)


def _check_moved(state: ContactState, played_ms: int) -> None:
    """A due instant that stays due would be played for ever."""
    if state.due_ms is not None and state.due_ms <= played_ms:
        raise RuntimeError(f"expected due instants after {played_ms}, got {state.due_ms} again")


def digest_of(message_id: str) -> bytes:
    """What a message id is known by."""
    return hashlib.blake2b(message_id.encode(), digest_size=KNOWN_HASH_BYTES).digest()


def cause_of(event: Event) -> Cause:
    """The cause of what an event's own step brings."""
    if event.context.get("import") is True:
        return "import"
    return "manual" if event.type == "list" else "event"
