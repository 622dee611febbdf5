"""One partition's contacts in memory, over what is committed of them: what is decoded, what changed, what is due.

Invariants:
  * All of it may be thrown away at any moment (I5). A decoded state equals its committed record, or is in the overlay or in
    the running checkpoint.
  * A step that raises leaves nothing behind: what it had decoded for itself is dropped; where it may have changed what is
    in the overlay, or was an event's, all of this is `void` and the partition begins anew from what is committed.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from actions.own_events import is_ours
from schemas.events import Event
from schemas.rejected import Reason, Rejection
from streams.checkpoint import Overlay
from streams.clock import Clock
from streams.committed import Committed
from streams.metrics import Metrics
from streams.plan import Plan
from streams.poison import Poison
from streams.refusals import check_key, quarantined, wrong_key
from streams.sizes import Sizes
from streams.timers import Timers

# decoded states that a worker keeps from one checkpoint to the next, shared among its partitions
STATES_KEPT_MAX = 50_000
# of their records; decoded they take some three times as much
STATES_KEPT_BYTES_MAX = 192 << 20


class Contacts:
    """Of partition `number` of so many `partitions`, from take-over until it is read anew.

    `effective_ms` is the instant at which the plan takes effect on states of other revisions; `beside_max` how many timers
    and changes of definition one checkpoint takes; `owned` how many partitions share what a worker keeps decoded.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        committed: Committed,
        plan: Plan,
        effective_ms: int,
        poison: Poison,
        metrics: Metrics,
        beside_max: int,
        owned: int,
    ) -> None:
        self.number = number
        self.partitions = partitions
        self.committed = committed
        self.plan = plan
        self.effective_ms = effective_ms
        self.poison = poison
        self.metrics = metrics
        self.void = False
        self.beside_max = beside_max
        self._kept_max = STATES_KEPT_MAX // owned
        self._kept_bytes_max = STATES_KEPT_BYTES_MAX // owned
        self.overlay = Overlay()
        self.sizes = Sizes(committed.states)
        self.states: dict[bytes, Any] = {}
        # decoded for time or a change of definitions alone: not to be kept, as those whose events come would make room
        self._passing: set[bytes] = set()
        self._kept_bytes = 0
        # contacts erased by what is not committed yet: their committed records are none any more
        self.erased: set[bytes] = set()
        # timers and states of other revisions are found again from the headers of the state records alone (I7)
        self.to_change: deque[bytes] = deque()
        due: list[tuple[bytes, int]] = []
        for key, due_ms, revision in self._headers():
            if due_ms is not None:
                due.append((key, due_ms))
            if revision != plan.revision:
                self.to_change.append(key)
        self._timers = Timers(due)

    @property
    def first_due_ms(self) -> int | None:
        """The earliest due instant, None without any; may be one that was put off."""
        return self._timers.first_ms

    def take_plan(self, plan: Plan, effective_ms: int) -> None:
        """From here on `plan` applies; nothing may be left to commit."""
        self.plan = plan
        self.effective_ms = effective_ms
        self.states.clear()
        self._kept_bytes = 0
        self.erased.clear()
        self.to_change = deque(key for key, _, revision in self._headers() if revision != plan.revision)

    def older_revisions(self) -> list[int]:
        """Those that contacts still to be taken over were written under."""
        return sorted({self.plan.header(self.committed.states[key])[1] for key in self.to_change})

    def _headers(self) -> Iterator[tuple[bytes, int | None, int]]:
        """Key, due instant and revision of all state records but those of quarantined contacts."""
        header, left_out = self.plan.header, self.poison.contacts
        for key, record in self.committed.states.items():
            if key in left_out:
                continue
            try:
                due_ms, revision = header(record)
            except Exception as error:
                self.poison.quarantine(key, error, "state record")
            else:
                yield key, due_ms, revision

    # ---- events -------------------------------------------------------------------------------------------------------

    def apply(self, key: bytes | None, event: Event, arrived_ms: int, received_ms: int, now_ms: int) -> bool:
        """One step of a contact, and whether it was erased in it.

        Raises Rejection for a key that isn't the contact's, or where it is quarantined.
        """
        if key is None:
            raise Rejection(Reason.NO_KEY, "expected the contact as the record's key, got none")
        if event.type == "alias":
            raise Rejection(
                Reason.NOT_SUPPORTED, "expected no alias: workers do not link contacts across partitions yet"
            )
        if event.links is not None:
            self.metrics.links_left.inc()
        state = self.states.get(key)
        if state is None:
            state = self._decode(key, arrived_ms, now_ms)
        if state is None:
            check_key(key, event, self.number, self.partitions)
            if is_ours(event):
                return False  # erased since what it tells of began: it must not make the contact known anew
        elif state.contact != event.contact:
            raise wrong_key(key, event)
        passed = 0 if state is None else state.limits_passed
        step = self.plan.program.apply(state, event, arrived_ms, received_ms)
        if step.duplicate:
            self.metrics.events_duplicate.inc()
            return False
        if step.late:
            self.metrics.events_late.inc()
        if step.state is None:
            if state is not None:
                self._erase(key, state, step.transitions, arrived_ms, now_ms)
            return state is not None
        self._count_limits(step.state, passed)
        self._changed(key, step.state, step.transitions, arrived_ms, now_ms)
        return False

    def _count_limits(self, state: Any, passed_before: int) -> None:
        if state.limits_passed > passed_before:
            self.metrics.limits_passed.inc(state.limits_passed - passed_before)

    def _erase(self, key: bytes, state: Any, transitions: Sequence[Any], arrived_ms: int, now_ms: int) -> None:
        """Puts into the overlay that nothing is kept of a contact any more."""
        emitted = self.plan.act(transitions, state, arrived_ms, now_ms)
        self.overlay.emit(emitted)
        self.overlay.forget(state.contact, state.take_forgotten())
        self.overlay.erase(key, state)
        self.metrics.emitted(emitted)
        self.sizes.move(key, None, transitions)
        self.states.pop(key, None)
        self.erased.add(key)

    def _changed(self, key: bytes, state: Any, transitions: Sequence[Any], arrived_ms: int, now_ms: int) -> None:
        """Puts a state that has changed and what came of it into the overlay: all of it, or nothing where rules raise."""
        if transitions or state.told:
            emitted = self.plan.act(transitions, state, arrived_ms, now_ms)
            self.overlay.emit(emitted)
            self.metrics.emitted(emitted)
            self.sizes.move(key, state, transitions)
        if state.forgotten:
            self.overlay.forget(state.contact, state.take_forgotten())
        dirty = self.overlay.dirty
        if key not in dirty:
            self.overlay.bytes += state.bytes_estimated
        if key not in self.states:
            self._kept_bytes += state.bytes_estimated
        if key in self.erased:
            self.erased.discard(key)
            state.contact_changed = True  # `contacts` has a tombstone, and a contact anew is one with no traits
        self.states[key] = dirty[key] = state
        due_ms = state.due_ms
        if due_ms is not None:
            self._timers.arm(key, due_ms)

    def _decode(self, key: bytes, arrival_ms: int, now_ms: int) -> Any:
        """The committed state, taken over into the plan's revision where it was written under another; None: none.

        Raises Rejection where the contact is quarantined, or is so from now on.
        """
        if key in self.poison.contacts:
            raise quarantined()
        record = self.committed.states.get(key)
        if record is None or key in self.erased:
            return None
        what = "state record"
        try:
            state = self.plan.program.decode(key.decode(), record)
            if self.plan.header(record)[1] != self.plan.revision:
                passed, what = state.limits_passed, "change of definitions"
                transitions = self.plan.program.change_over(state, self.effective_ms)
                self._count_limits(state, passed)
                self._changed(key, state, transitions, arrival_ms, now_ms)
                self.overlay.events += 1
                self.overlay.beside += 1
        except MemoryError:
            raise
        except Exception as error:
            self.quarantine(key, error, what)
            raise quarantined() from None
        self.states[key] = state
        self._kept_bytes += len(record)
        return state

    # ---- time ---------------------------------------------------------------------------------------------------------

    @property
    def has_room_beside(self) -> bool:
        """Whether the next checkpoint takes more timers and changes of definition: events are not to wait for long for it."""
        return self.overlay.beside < self.beside_max

    def play(self, clock: Clock, until_ms: float, arrival_ms: int, grace_ms: int, now_ms: int) -> None:
        """Plays due instants, earliest contact first, until the clock's `spent_ms` passes `until_ms`."""
        played: list[int] = []
        while not self.void and self.has_room_beside and (key := self._timers.pop(arrival_ms - grace_ms)) is not None:
            try:
                if (due_ms := self._advance(key, arrival_ms, arrival_ms - grace_ms, now_ms)) is not None:
                    played.append(due_ms)
            except Rejection:
                pass  # quarantined
            except MemoryError:
                raise
            except Exception as error:
                self.quarantine(key, error, "timer")
            if clock.spent_ms() > until_ms:
                break
        if played and not self.void:
            self.metrics.timers_played.inc(len(played))
            self.overlay.played.append((min(played), len(played)))

    def _advance(self, key: bytes, arrival_ms: int, until_ms: int, now_ms: int) -> int | None:
        """Plays what is due of a contact; returns the instant that was, None where it is later or gone."""
        state = self.states.get(key)
        if state is None:
            record = self.committed.states.get(key) if key not in self.erased else None
            if record is not None and (due_ms := self.plan.header(record)[0]) is not None and due_ms > until_ms:
                self._timers.arm(key, due_ms)  # postponed since: there is nothing to decode
                return None
            self._passing.add(key)
            state = self._decode(key, arrival_ms, now_ms)
        if state is None:
            return None
        due_ms = state.due_ms
        if due_ms is None or due_ms > until_ms:
            if due_ms is not None:
                self._timers.arm(key, due_ms)
            return None
        passed = state.limits_passed
        transitions = self.plan.program.advance(state, until_ms)
        self._count_limits(state, passed)
        self.overlay.events += 1
        self.overlay.beside += 1
        self._changed(key, state, transitions, arrival_ms, now_ms)
        return int(due_ms)

    def change_over(self, clock: Clock, until_ms: float, arrival_ms: int, now_ms: int) -> None:
        """Takes contacts over into the plan's revision, without waiting for their next event."""
        while self.to_change and self.has_room_beside:
            key = self.to_change.popleft()
            if key not in self.states:
                self._passing.add(key)
                with contextlib.suppress(Rejection):  # quarantined
                    self._decode(key, arrival_ms, now_ms)
            if clock.spent_ms() > until_ms:
                break

    # ---- what raises, and what is committed ---------------------------------------------------------------------------

    def quarantine(self, key: bytes, error: BaseException, what: str) -> None:
        """Nothing of the contact is touched any more, as `what` of it raised `error`."""
        self.poison.quarantine(key, error, what)
        self.states.pop(key, None)
        if key in self.overlay.dirty:
            self.forget()

    def forget(self) -> None:
        """Throws away what isn't committed: the rest is void, too."""
        self.void = True
        self.overlay = Overlay()

    def commit(self, states: dict[bytes, bytes | None], end: int) -> None:
        """Takes in that these records are committed; `end` is where the state topic goes on."""
        self.committed.load(states.items(), end)
        for key, record in states.items():
            if record is None and self.overlay.dirty.get(key, _ABSENT) is not None:
                self.erased.discard(key)
        self._let_pass()
        if len(self.states) > self._kept_max or self._kept_bytes > self._kept_bytes_max:
            self.states = {key: state for key, state in self.overlay.dirty.items() if state is not None}
            self._kept_bytes = self.overlay.bytes

    def _let_pass(self) -> None:
        """Keeps of those that pass only what isn't committed."""
        left = {key for key in self._passing if key in self.overlay.dirty}
        for key in self._passing - left:
            if self.states.pop(key, None) is not None:
                self._kept_bytes -= len(self.committed.states.get(key, b""))
        self._passing = left

    def state_of(self, key: bytes) -> Any:
        """The contact's state as of its last step; None: none is committed."""
        record = self.committed.states.get(key)
        decoded = self.states.get(key)
        return decoded if decoded is not None or record is None else self.plan.program.decode(key.decode(), record)


_ABSENT = object()
