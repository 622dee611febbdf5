"""One owned partition: its contacts, the records to come, and the turn in which these are applied.

Invariants:
  * `committed` is a prefix of the state topic as a read-committed reader sees it; everything else may be thrown away at any
    moment (I5), and is when a step raises: the partition then goes on from `committed`, once no checkpoint is under way.
  * A contact's state is changed by `turn` alone, which awaits nothing (I2): a turn is applied whole, or void.
  * `arrival_ms` never falls but with what it came from. Timers are played up to it less the grace, so what a restart finds
    is what would have been.
"""

import dataclasses

import msgspec

from actions.own_events import is_taken
from schemas.erasures import receipt_of
from schemas.events import Event
from schemas.rejected import Reason, Rejection
from schemas.topics import ERASURES, EVENTS_OWN, REJECTED
from streams.checkpoint import META_FORMAT, EncodeError, Freezing, Frozen, Meta, Overlay
from streams.clock import Clock
from streams.committed import Committed
from streams.contacts import Contacts
from streams.inbox import FRESH_MS, Inbox, Taken
from streams.log import Claim, Outgoing
from streams.metrics import Metrics
from streams.plan import Plan
from streams.poison import Poison
from streams.refusals import rejected
from streams.sizes import Sizes

# what a partition may hold that isn't committed, where a worker has this many; one of fewer may hold as much more
PARTITIONS_USUAL = 12
OVERLAY_BYTES_MAX = 16 << 20
# timers and changed definitions share a turn with the events: at most so much of it
SIDE_WORK_MS = 1.5
_BETWEEN_LOOKS = 16


@dataclasses.dataclass(frozen=True)
class Rates:
    """What bounds a partition's work, and the memory of all of a worker's; durations in ms."""

    arrival: bool
    grace_ms: int
    slack_ms: int
    partitions: int
    chunk_events: int = 500
    checkpoint_events: int = 10_000
    memory_bytes: int = 4 << 30


class Partition:
    """Owned: from take-over to release."""

    def __init__(
        self,
        number: int,
        claim: Claim,
        committed: Committed,
        inbox: Inbox,
        plan: Plan,
        rates: Rates,
        metrics: Metrics,
        beside_max: int,
        owned: int,
    ) -> None:
        """`beside_max`: how many timers and changes of definition one of its checkpoints takes.

        `owned`: how many partitions the worker has, this one among them.
        """
        self.number = number
        self.claim = claim
        self.committed = committed
        self.inbox = inbox
        self.plan = plan
        self.rates = rates
        self.metrics = metrics
        self.beside_max = beside_max
        self._owned = owned
        # how many times as much it may hold as one of many: the more, the fewer states are written twice in a backlog
        self.share = max(1, PARTITIONS_USUAL // owned)
        self.poison = Poison(number)
        self.frozen = False
        # a newer plan waits: first what is due under this one is played and nothing else taken, then all of it committed
        self.settling = False
        self.closing = False
        self.checkpoint_ms = 0.0
        self.committing_since_ms: float | None = None
        # what the checkpoint under way holds, counted once it is committed: else it would be again where it is read anew
        self._taken: dict[str, int] = {}
        self._start = inbox.marks()
        self.arrival_ms = committed.meta.arrival_ms if committed.meta else 0
        effective_ms = committed.meta.effective_ms if committed.meta else None
        self.contacts = self._recalled(self.arrival_ms - rates.grace_ms if effective_ms is None else effective_ms)

    def _recalled(self, effective_ms: int) -> Contacts:
        """The contacts as they are committed."""
        return Contacts(
            self.number, self.rates.partitions, self.committed, self.plan, effective_ms, self.poison, self.metrics,
            self.beside_max, self._owned,
        )  # fmt: skip

    def read_anew(self) -> None:
        """Goes on from what is committed: of what was in memory nothing is left but the plan and what raised under it.

        The log has to be sought back to where the inbox is now; no checkpoint may be under way.
        """
        meta = self.committed.meta
        marks = self._start if meta is None else self._start | meta.topics
        self.inbox = Inbox(tuple(self._start), marks, arrival=self.rates.arrival)
        self.arrival_ms = 0 if meta is None else meta.arrival_ms
        self.settling = self.closing = False
        self.poison.forget(self.inbox.positions())
        self.contacts = self._recalled(self.contacts.effective_ms)

    # ---- what there is to do ------------------------------------------------------------------------------------------

    @property
    def overlay(self) -> Overlay:
        """What changed since the last checkpoint began."""
        return self.contacts.overlay

    @property
    def sizes(self) -> Sizes:
        """How many members each segment has."""
        return self.contacts.sizes

    @property
    def void(self) -> bool:
        """Whether a step raised, so that it has to be read anew before anything else."""
        return self.contacts.void

    @property
    def stopped(self) -> bool:
        """Whether too much raised: it takes nothing in, until newer definitions are in force."""
        return self.poison.stopped is not None

    @property
    def to_change(self) -> int:
        """Contacts whose state may still be of an older revision."""
        return len(self.contacts.to_change)

    @property
    def crowded(self) -> bool:
        """Whether its next checkpoint takes no more timers and changes of definition."""
        return not self.contacts.has_room_beside

    @property
    def uncommitted_since_ms(self) -> float | None:
        """When the oldest change that isn't committed was made, by the monotonic clock; None: all is."""
        return self.overlay.since_ms if self.committing_since_ms is None else self.committing_since_ms

    def overdue_ms(self, now_ms: int) -> int:
        """By how much time is past the first due instant and its grace; 0 when nothing is due.

        With the wall clock that is its time, as arrival time stands still where nothing is read.
        """
        first_ms, time_ms = self.contacts.first_due_ms, self.arrival_ms
        if not self.rates.arrival:
            time_ms = max(time_ms, now_ms - self.rates.slack_ms - FRESH_MS)
        return 0 if first_ms is None else max(0, time_ms - self.rates.grace_ms - first_ms)

    def full(self) -> bool:
        """Whether it takes nothing more in until a checkpoint has gone, it was read anew, or newer definitions are there."""
        overlay = self.contacts.overlay
        return (
            self.frozen
            or self.closing
            or self.contacts.void
            or (self.stopped and not self.settling)
            or overlay.events >= 4 * self.rates.checkpoint_events * self.share
            or overlay.bytes >= OVERLAY_BYTES_MAX * self.share
        )

    def ready(self, now_ms: int) -> bool:
        """Whether a turn may find something to do."""
        if self.full():
            return False
        if self.settling:
            return self._beside(self.arrival_ms)
        return len(self.inbox) > 0 or self._beside(self._arrival_at(now_ms))

    @property
    def timers_due(self) -> bool:
        """Whether the plan in force has due instants to play, as of the last turn."""
        return self._due(self.arrival_ms)

    def take_plan(self, plan: Plan, spent_ms: float) -> None:
        """From here on `plan` applies; contacts written under another revision are changed over in the next turns.

        Only with all committed: what was decoded or changed under one plan is never encoded under another. And only once
        what was due has been played under the old one: the new one takes effect at this instant, and plays nothing of before.
        `spent_ms` is the clock's.
        """
        assert not self.overlay.events and not self.frozen and not self.void
        self.plan = plan
        self.settling = self.closing = False
        self.poison.take_plan(plan.revision, self._read(), spent_ms)
        self.contacts.take_plan(plan, self.arrival_ms - self.rates.grace_ms)

    def _read(self) -> int:
        """How many source records have left the inbox, from the topics' beginnings."""
        return sum(self.inbox.positions().values())

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
        contacts, more = self.contacts, False
        contacts.change_over(clock, side_until_ms, self.arrival_ms, now_ms)
        contacts.play(clock, side_until_ms, self.arrival_ms, self.rates.grace_ms, now_ms)
        if not self.settling and not contacts.void and not self.stopped:
            more = self._apply_events(clock, until_ms, now_ms)
        if contacts.overlay.events and contacts.overlay.since_ms is None:
            contacts.overlay.since_ms = started_ms
        return more or self._beside(self.arrival_ms)

    def _apply_events(self, clock: Clock, until_ms: float, now_ms: int) -> bool:
        inbox, applied, room = self.inbox, 0, self.rates.chunk_events
        apply, left_out = self.contacts.apply, self.poison.records
        first_ms, started_ms = inbox.first_ms(), clock.spent_ms()
        while applied < room:
            taken = inbox.pop(now_ms)
            if taken is None:
                break
            applied += 1
            topic, record, event, received_ms = taken
            arrived_ms = self._arrive(record[0], received_ms, now_ms)
            try:
                if left_out and (sentence := left_out.get((topic, record[1]))) is not None:
                    raise Rejection(Reason.RAISED, sentence)
                if isinstance(event, Exception):
                    raise event
                if event.type != "tick" and not (topic == EVENTS_OWN.name and is_taken(event)):
                    erased = apply(record[2], event, arrived_ms, received_ms, now_ms)
                    if event.type == "delete":
                        self._receipt(taken, event, erased, arrived_ms)
            except Rejection as rejection:
                self._reject(taken, rejection, now_ms)
            except MemoryError:
                raise
            except Exception as error:
                self.poison.raised(taken, error, self._read(), clock.spent_ms())
                self.contacts.forget()
                return False
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

    def _receipt(self, taken: Taken, event: Event, erased: bool, arrived_ms: int) -> None:
        """Has it known that a `delete` was taken, whoever asked for it: nothing else is left to tell it by."""
        receipt = receipt_of(event.contact, erased, arrived_ms, (taken.topic, self.number, taken.record[1]))
        self.overlay.keep(ERASURES.name, [Outgoing(receipt.contact.encode(), msgspec.json.encode(receipt))])

    def _reject(self, taken: Taken, rejection: Rejection, now_ms: int) -> None:
        self.overlay.reject(rejected(taken, rejection, self.number, now_ms))

    # ---- time ---------------------------------------------------------------------------------------------------------

    def _arrival_at(self, now_ms: int) -> int:
        """Arrival time now: with the wall clock it goes on by itself while there is nothing left to read."""
        if self.rates.arrival:
            return self.arrival_ms
        seen_ms = self.inbox.end_seen_ms(now_ms)
        if seen_ms is None:
            return self.arrival_ms
        return max(self.arrival_ms, min(now_ms - self.rates.slack_ms, seen_ms))

    def _beside(self, arrival_ms: int) -> bool:
        """Whether there are contacts to be played or changed over, and room for them."""
        return self.contacts.has_room_beside and (bool(self.contacts.to_change) or self._due(arrival_ms))

    def _due(self, arrival_ms: int) -> bool:
        first_ms = self.contacts.first_due_ms
        return first_ms is not None and first_ms + self.rates.grace_ms <= arrival_ms

    # ---- checkpoint ---------------------------------------------------------------------------------------------------

    def freeze(self) -> Freezing:
        """Starts a checkpoint: the overlay is set aside, to be encoded piece by piece; until then no turn is taken."""
        assert not self.void, "its positions are those of what was thrown away"
        overlay, self.contacts.overlay = self.contacts.overlay, Overlay()
        self.frozen, self.committing_since_ms = True, overlay.since_ms
        self._taken = self.inbox.count_taken()
        contacts, marks = self.contacts, self.inbox.marks()
        meta = Meta(
            META_FORMAT, self.arrival_ms, self.plan.revision, marks, contacts.effective_ms, contacts.first_due_ms
        )
        return Freezing(self.plan.program.encode, overlay, meta)

    def thaw(self) -> None:
        """Turns may go on, on top of what is being committed."""
        self.frozen = False

    def commit(self, frozen: Frozen, end: int) -> None:
        """Takes in that `frozen` is committed; `end` is where the state topic goes on."""
        self.contacts.commit(frozen.states, end)
        self.committed.meta = frozen.meta
        self.committing_since_ms = None
        self.metrics.taken(self._taken)
        self.metrics.rejected(frozen.overlay.kept.get(REJECTED.name, ()))

    def give_up(self, error: EncodeError) -> None:
        """Ends a checkpoint that can't be encoded: the contact is quarantined, and what was to be committed is void."""
        self.frozen, self.committing_since_ms = False, None
        self.contacts.quarantine(error.key, error.cause, "state")
        self.contacts.forget()

    # ---- what is measured ---------------------------------------------------------------------------------------------

    def count_sizes(self, clock: Clock, until_ms: float) -> None:
        """Goes on counting the members of segments, until the clock's `spent_ms` passes `until_ms`."""
        self.sizes.count_some(self.contacts.state_of, clock, until_ms)
