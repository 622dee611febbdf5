"""One owned partition: the contacts' states, what changed, what is due, and the turn in which records are applied.

Invariants:
  * `committed` is a prefix of the state topic as a read-committed reader sees it. Everything else may be thrown away at any
    moment (I5): `states` (decoded; each equals its committed record, or is in the overlay or in the running checkpoint).
  * A contact's state is changed by `turn` alone, which awaits nothing (I2): a turn is applied whole.
  * `arrival_ms` never falls. Timers are played up to it less the grace, so what a restart finds is what would have been.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from schemas.events import Event
from schemas.rejected import Reason, Rejection, rejection_headers
from schemas.topics import partition_of
from streams.checkpoint import META_FORMAT, Freezing, Frozen, Meta, Overlay
from streams.clock import Clock
from streams.committed import Committed
from streams.inbox import Inbox, Taken
from streams.log import Claim
from streams.metrics import Metrics
from streams.plan import Plan, fitting
from streams.sizes import Sizes
from streams.timers import Timers

# decoded states kept from one checkpoint to the next, per partition: some 2 KiB each
STATES_KEPT_MAX = 4_096
OVERLAY_BYTES_MAX = 16 << 20
# timers and changed definitions share a turn with the events: at most so much of it
SIDE_WORK_MS = 1.5
_BETWEEN_LOOKS = 16


@dataclasses.dataclass(frozen=True)
class Rates:
    """What bounds a partition's work; durations in ms."""

    arrival: bool
    grace_ms: int
    slack_ms: int
    partitions: int
    chunk_events: int = 500
    checkpoint_events: int = 10_000


class Partition:
    """Owned: from take-over to release."""

    def __init__(
        self, number: int, claim: Claim, committed: Committed, inbox: Inbox, plan: Plan, rates: Rates, metrics: Metrics
    ) -> None:
        self.number = number
        self.claim = claim
        self.committed = committed
        self.inbox = inbox
        self.plan = plan
        self.rates = rates
        self.metrics = metrics
        self.arrival_ms = committed.meta.arrival_ms if committed.meta else 0
        # the instant at which the plan takes effect on states of other revisions
        effective_ms = committed.meta.effective_ms if committed.meta else None
        self._effective_ms = self.arrival_ms - rates.grace_ms if effective_ms is None else effective_ms
        self.states: dict[bytes, Any] = {}
        # contacts erased by what is not committed yet: their committed records are none any more
        self.erased: set[bytes] = set()
        self.overlay = Overlay()
        self.frozen = False
        # a newer plan waits: first what is due under this one is played and nothing else taken, then all of it committed
        self.settling = False
        self.closing = False
        self.checkpoint_ms = 0.0
        self.committing_since_ms: float | None = None
        self.sizes = Sizes(committed.states)
        # timers and states of other revisions are found again from the headers of the state records alone (I7)
        headers = ((key, plan.header(record)[0]) for key, record in committed.states.items())
        self._timers = Timers((key, due_ms) for key, due_ms in headers if due_ms is not None)
        self._to_change = deque(self._of_other_revisions())

    # ---- what there is to do ------------------------------------------------------------------------------------------

    @property
    def to_change(self) -> int:
        """Contacts whose state may still be of an older revision."""
        return len(self._to_change)

    @property
    def uncommitted_since_ms(self) -> float | None:
        """When the oldest change that isn't committed was made, by the monotonic clock; None: all is."""
        return self.overlay.since_ms if self.committing_since_ms is None else self.committing_since_ms

    @property
    def overdue_ms(self) -> int:
        """By how much arrival time is past the first due instant and its grace; 0 when nothing is due."""
        first_ms = self._timers.first_ms
        return 0 if first_ms is None else max(0, self.arrival_ms - self.rates.grace_ms - first_ms)

    def full(self) -> bool:
        """Whether it takes nothing more in until a checkpoint has gone."""
        return (
            self.frozen
            or self.closing
            or self.overlay.events >= 4 * self.rates.checkpoint_events
            or self.overlay.bytes >= OVERLAY_BYTES_MAX
        )

    def ready(self, now_ms: int) -> bool:
        """Whether a turn may find something to do."""
        if self.full():
            return False
        if self.settling:
            return bool(self._to_change) or self.timers_due
        return bool(self._to_change) or len(self.inbox) > 0 or self._due(self._arrival_at(now_ms))

    @property
    def timers_due(self) -> bool:
        """Whether the plan in force has due instants to play, as of the last turn."""
        return self._due(self.arrival_ms)

    def take_plan(self, plan: Plan) -> None:
        """From here on `plan` applies; contacts written under another revision are changed over in the next turns.

        Only with all committed: what was decoded or changed under one plan is never encoded under another. And only once
        what was due has been played under the old one: the new one takes effect at this instant, and plays nothing of before.
        """
        assert not self.overlay.events and not self.frozen
        self.plan = plan
        self._effective_ms = self.arrival_ms - self.rates.grace_ms
        self.settling = self.closing = False
        self.states.clear()
        self.erased.clear()
        self._to_change = deque(self._of_other_revisions())

    # ---- the turn -----------------------------------------------------------------------------------------------------

    def turn(self, clock: Clock, until_ms: float) -> bool:
        """Applies what is ready, until the clock's `spent_ms` passes `until_ms`; returns whether there is more.

        Timers and changes of definition come first but for a part of the time only, so that a crowd of them doesn't hold
        up the events. Each contact plays its own due instants before its event anyway, so this changes no answer.
        """
        now_ms, started_ms = clock.now_ms(), clock.spent_ms()
        if not self.settling:
            self.arrival_ms = self._arrival_at(now_ms)
        side_until_ms = min(until_ms, started_ms + SIDE_WORK_MS)
        self._change_over(clock, side_until_ms, now_ms)
        self._play(clock, side_until_ms, now_ms)
        more = False if self.settling else self._apply_events(clock, until_ms, now_ms)
        if self.overlay.events and self.overlay.since_ms is None:
            self.overlay.since_ms = started_ms
        return more or bool(self._to_change) or self._due(self.arrival_ms)

    def _apply_events(self, clock: Clock, until_ms: float, now_ms: int) -> bool:
        inbox, applied, room = self.inbox, 0, self.rates.chunk_events
        first_ms, started_ms = inbox.first_ms(), clock.spent_ms()
        while applied < room:
            taken = inbox.pop(now_ms)
            if taken is None:
                break
            applied += 1
            _, record, event, received_ms = taken
            arrived_ms = self._arrive(record[0], received_ms, now_ms)
            if isinstance(event, Rejection):
                self._reject(taken, event, now_ms)
            elif event.type != "tick":
                try:
                    self._apply(record[2], event, arrived_ms, received_ms, now_ms)
                except Rejection as rejection:
                    self._reject(taken, rejection, now_ms)
            if not applied % _BETWEEN_LOOKS and clock.spent_ms() > until_ms:
                break
        if applied:
            self.overlay.events += applied
            assert first_ms is not None
            self.overlay.taken.append((first_ms, applied))
            self.metrics.evaluation_seconds.observe((clock.spent_ms() - started_ms) / 1000 / applied, applied)
        return taken is not None and len(inbox) > 0 and not self.full()

    def _arrive(self, time_ms: int, received_ms: int, now_ms: int) -> int:
        """When a record arrived (`time_ms` is its own); moves the partition's arrival time on."""
        before_ms = self.arrival_ms
        to_ms = received_ms if self.rates.arrival else time_ms - self.rates.slack_ms
        if to_ms > before_ms:
            self.arrival_ms = to_ms
        if self.rates.arrival:
            # where `receivedAt` falls, timers may have been played past it or not: it counts as arriving in its place
            return self.arrival_ms
        if received_ms >= before_ms:
            return received_ms
        # time has been played past it: it counts as arriving when it was put in the log, or as late as it was read
        self.metrics.events_late_read.inc()
        return time_ms if time_ms >= before_ms else now_ms

    def _apply(self, key: bytes | None, event: Event, arrived_ms: int, received_ms: int, now_ms: int) -> None:
        """One step of a contact; raises Rejection for a key that isn't the contact's."""
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
            state = self._decode(key, now_ms)
        if state is None:
            self._check_key(key, event)
        elif state.contact != event.contact:
            raise _wrong_key(key, event)
        passed = 0 if state is None else state.limits_passed
        step = self.plan.program.apply(state, event, arrived_ms, received_ms)
        if step.duplicate:
            self.metrics.events_duplicate.inc()
            return
        if step.late:
            self.metrics.events_late.inc()
        if step.state is None:
            if state is not None:
                self._erase(key, state, step.transitions, arrived_ms, now_ms)
            return
        self._count_limits(step.state, passed)
        self._changed(key, step.state, step.transitions, arrived_ms, now_ms)

    def _count_limits(self, state: Any, passed_before: int) -> None:
        if state.limits_passed > passed_before:
            self.metrics.limits_passed.inc(state.limits_passed - passed_before)

    def _erase(self, key: bytes, state: Any, transitions: Sequence[Any], arrived_ms: int, now_ms: int) -> None:
        """Puts into the overlay that nothing is kept of a contact any more."""
        emitted = self.plan.act(transitions, state, arrived_ms, now_ms)
        self.overlay.emit(emitted)
        self.overlay.erase(key, state)
        self.metrics.emitted(transitions, emitted)
        self.sizes.move(key, None, transitions)
        self.states.pop(key, None)
        self.erased.add(key)

    def _changed(self, key: bytes, state: Any, transitions: Sequence[Any], arrived_ms: int, now_ms: int) -> None:
        """Puts a state that has changed and what came of it into the overlay."""
        dirty = self.overlay.dirty
        if key not in dirty:
            self.overlay.bytes += state.bytes_estimated
        if key in self.erased:
            self.erased.discard(key)
            state.contact_changed = True  # `contacts` has a tombstone, and a contact anew is one with no traits
        self.states[key] = dirty[key] = state
        due_ms = state.due_ms
        if due_ms is not None:
            self._timers.arm(key, due_ms)
        if transitions:
            emitted = self.plan.act(transitions, state, arrived_ms, now_ms)
            self.overlay.emit(emitted)
            self.metrics.emitted(transitions, emitted)
            self.sizes.move(key, state, transitions)

    def _decode(self, key: bytes, now_ms: int) -> Any:
        """The committed state, taken over into the plan's revision where it was written under another; None: none."""
        record = self.committed.states.get(key)
        if record is None or key in self.erased:
            return None
        state = self.states[key] = self.plan.program.decode(key.decode(), record)
        if self.plan.header(record)[1] != self.plan.revision:
            passed = state.limits_passed
            transitions = self.plan.program.change_over(state, self._effective_ms)
            self._count_limits(state, passed)
            self.overlay.events += 1
            self._changed(key, state, transitions, self.arrival_ms, now_ms)
        return state

    def _check_key(self, key: bytes, event: Event) -> None:
        """Looks at the key of a contact seen for the first time; later on the state stands under it."""
        if event.contact.encode() != key:
            raise _wrong_key(key, event)
        expected = partition_of(key, self.rates.partitions)
        if expected != self.number:
            raise Rejection(
                Reason.WRONG_PARTITION,
                f"expected partition {expected} for this key (murmur2, as the Java client has it), got {self.number}: "
                "set `partitioner=murmur2_random` where the producer is librdkafka",
            )

    def _reject(self, taken: Taken, rejection: Rejection, now_ms: int) -> None:
        _, offset, key, value = taken.record
        headers = rejection_headers(rejection.reason, rejection.sentence, taken.topic, self.number, offset, now_ms)
        self.overlay.reject(fitting(key, value if value is not None else b"", headers))
        self.metrics.events_rejected.labels(str(rejection.reason)).inc()

    # ---- time ---------------------------------------------------------------------------------------------------------

    def _arrival_at(self, now_ms: int) -> int:
        """Arrival time now: with the wall clock it goes on by itself while there is nothing left to read."""
        if self.rates.arrival:
            return self.arrival_ms
        seen_ms = self.inbox.end_seen_ms(now_ms)
        if seen_ms is None:
            return self.arrival_ms
        return max(self.arrival_ms, min(now_ms - self.rates.slack_ms, seen_ms))

    def _due(self, arrival_ms: int) -> bool:
        first_ms = self._timers.first_ms
        return first_ms is not None and first_ms + self.rates.grace_ms <= arrival_ms

    def _play(self, clock: Clock, until_ms: float, now_ms: int) -> None:
        """Plays due instants, earliest contact first."""
        played: list[int] = []
        while (key := self._timers.pop(self.arrival_ms - self.rates.grace_ms)) is not None:
            if (due_ms := self._advance(key, now_ms)) is not None:
                played.append(due_ms)
            if clock.spent_ms() > until_ms:
                break
        if played:
            self.metrics.timers_played.inc(len(played))
            self.overlay.played.append((min(played), len(played)))

    def _advance(self, key: bytes, now_ms: int) -> int | None:
        """Plays what is due of a contact; returns the instant that was, None where it is later or gone."""
        until_ms = self.arrival_ms - self.rates.grace_ms
        state = self.states.get(key)
        if state is None:
            record = self.committed.states.get(key) if key not in self.erased else None
            if record is not None and (due_ms := self.plan.header(record)[0]) is not None and due_ms > until_ms:
                self._timers.arm(key, due_ms)  # postponed since: there is nothing to decode
                return None
            state = self._decode(key, now_ms)
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
        self._changed(key, state, transitions, self.arrival_ms, now_ms)
        return int(due_ms)

    # ---- changed definitions ------------------------------------------------------------------------------------------

    def _change_over(self, clock: Clock, until_ms: float, now_ms: int) -> None:
        """Takes contacts over into the plan's revision, without waiting for their next event."""
        while self._to_change:
            key = self._to_change.popleft()
            if key not in self.states:
                self._decode(key, now_ms)
            if clock.spent_ms() > until_ms:
                break

    def _of_other_revisions(self) -> Iterable[bytes]:
        revision, header = self.plan.revision, self.plan.header
        return [key for key, record in self.committed.states.items() if header(record)[1] != revision]

    # ---- checkpoint ---------------------------------------------------------------------------------------------------

    def freeze(self) -> Freezing:
        """Starts a checkpoint: the overlay is set aside, to be encoded piece by piece; until then no turn is taken."""
        overlay, self.overlay = self.overlay, Overlay()
        self.frozen, self.committing_since_ms = True, overlay.since_ms
        self.metrics.taken(self.inbox.count_taken())
        meta = Meta(META_FORMAT, self.arrival_ms, self.plan.revision, self.inbox.marks(), self._effective_ms)
        return Freezing(self.plan.program.encode, overlay, meta)

    def thaw(self) -> None:
        """Turns may go on, on top of what is being committed."""
        self.frozen = False

    def commit(self, frozen: Frozen, end: int) -> None:
        """Takes in that `frozen` is committed; `end` is where the state topic goes on."""
        self.committed.load(frozen.states.items(), end)
        for key, record in frozen.states.items():
            if record is None and self.overlay.dirty.get(key, _ABSENT) is not None:
                self.erased.discard(key)
        self.committed.meta = frozen.meta
        self.committing_since_ms = None
        if len(self.states) > STATES_KEPT_MAX:
            self.states = {key: state for key, state in self.overlay.dirty.items() if state is not None}

    # ---- what is measured ---------------------------------------------------------------------------------------------

    def count_sizes(self, clock: Clock, until_ms: float) -> None:
        """Goes on counting the members of segments, until the clock's `spent_ms` passes `until_ms`."""
        self.sizes.count_some(self._state_of, clock, until_ms)

    def _state_of(self, key: bytes) -> Any:
        record = self.committed.states.get(key)
        decoded = self.states.get(key)
        return decoded if decoded is not None or record is None else self.plan.program.decode(key.decode(), record)


_ABSENT = object()


def _wrong_key(key: bytes, event: Event) -> Rejection:
    shown = key[:80].decode("utf-8", "replace")
    return Rejection(Reason.WRONG_KEY, f"expected the contact {event.contact!r} as the record's key, got {shown!r}")
