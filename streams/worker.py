"""The worker: partitions that this process owns, and what happens to them, without Faust and without threads.

    feed -> inboxes -> turn -> overlays -> checkpoint -> committed

Whoever hosts it calls `feed` in a loop, `turn` whenever `ready`, and runs `commit_when_due`; the Faust app does so
(`transport.py`), and so does the simulation. Any error ends the worker: nothing is repaired in place, a new start goes on
from what is committed (I5). A contact's step that raises is no such error: its partition alone goes on from there.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence, Set

from streams.checkpoint import EncodeError, Frozen, write
from streams.clock import Clock
from streams.committed import Committed
from streams.log import FencedError, Log, LogError
from streams.memory import Memory
from streams.metrics import Metrics
from streams.partition import Partition, Rates
from streams.plan import Plans
from streams.skew import Skew
from streams.takeover import close, take_over

logger = logging.getLogger("tidegate.worker")

# what one turn may take before the loop gets its own (I8)
TURN_MS = 5.0
# group offsets are for tools that show lag and cost half a transaction: once a second is enough (I9)
OFFSETS_EVERY_MS = 1_000.0
# checkpoints due within this of each other start together: fewer wake-ups
TOGETHER_MS = 5.0
# what another owner wrote while this process slept for longer may be gone from the log again: Kafka keeps tombstones for a
# day (`delete.retention.ms`), and without its own an erased contact would come back
ASLEEP_MS = 3_600_000
# transactions under way at once: a broker gets through several one after the other sooner than side by side
TRANSACTIONS_MAX = 3
# a partition that is far behind takes so many times as many events into a checkpoint: the more, the fewer states are
# written twice
BEHIND_TIMES = 3
# counting the members of segments takes a tenth of the time at most
COUNT_MS = 2.0


@dataclasses.dataclass(frozen=True)
class Pace:
    """When checkpoints come: ms from the first change when idle, at most under load; or at so many events.

    A partition that is further behind than an eighth of `events` gains nothing from an early one, but pays for it: there
    they come at `BEHIND_TIMES` as many events, or after `behind_ms`; but not where timers wait for room in the next one.
    """

    idle_ms: float = 50.0
    load_ms: float = 120.0
    events: int = 10_000
    behind_ms: float = 3_000.0


class Worker:
    """The partitions that this process owns."""

    def __init__(
        self, log: Log, plans: Plans, clock: Clock, topics: Sequence[str], rates: Rates, pace: Pace, metrics: Metrics
    ) -> None:
        self.log = log
        self.plans = plans
        self.clock = clock
        self.topics = topics
        self.rates = rates
        self.pace = pace
        self.metrics = metrics
        self.partitions: dict[int, Partition] = {}
        self.committed: dict[int, Committed] = {}
        self.failed = False
        self.wake = asyncio.Event()
        self._answered_ms = clock.spent_ms()
        self._awake_ms, self._slept = clock.now_ms(), False
        self.memory = Memory(rates.memory_bytes)
        self._held: set[tuple[str, int]] = set()
        self._astray = False
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._transactions = asyncio.Semaphore(TRANSACTIONS_MAX)
        self._offsets_ms: dict[int, float] = {}
        self._changed = asyncio.Event()
        self._next = 0
        self.assigned = self.recovering = False
        self.skew = Skew()
        self._uncounted = asyncio.Event()

    # ---- taking over and letting go -----------------------------------------------------------------------------------

    async def take_over(self, numbers: Set[int]) -> None:
        """Makes these partitions, and no others, ours. What was ours before must have been released."""
        assert not self.partitions, "released first"
        self._refuse_if_failed()
        started_ms = self.clock.spent_ms()
        self.recovering = True
        try:
            await self._take_over(numbers)
        finally:
            self.recovering = False
        self.assigned = True
        self.metrics.rebalances.inc()
        took_s = (self.clock.spent_ms() - started_ms) / 1000
        self.metrics.takeover_seconds.observe(took_s)
        contacts = sum(len(committed.states) for committed in self.committed.values())
        logger.info("took over %d partitions with %d contacts in %.2f s", len(numbers), contacts, took_s)
        self._uncounted.set()
        self.wake.set()

    async def _take_over(self, numbers: Set[int]) -> None:
        self._note_awake()
        kept, self._slept = {} if self._slept else self.committed, False
        self.committed = {number: kept.get(number) or Committed() for number in sorted(numbers)}
        self.partitions = await take_over(
            self.log, numbers, self.committed, self.plans, self.topics, self.rates, self.metrics, self.memory
        )
        # ours before anything is read for them: a fetch that finds no partition is dropped, and leaves a hole
        try:
            await self.log.seek({number: each.inbox.positions() for number, each in self.partitions.items()})
        except BaseException:
            taken, self.partitions = self.partitions, {}
            await close([each.claim for each in taken.values()])
            raise
        self._held.clear()
        self._astray = False
        self._offsets_ms.clear()
        self.metrics.name(self.plans.current)

    def _note_awake(self) -> None:
        """Notes whether this process has slept for long since it was here last."""
        now_ms = self.clock.now_ms()
        self._slept = self._slept or now_ms - self._awake_ms > ASLEEP_MS
        self._awake_ms = now_ms

    async def release(self, timeout_s: float) -> None:
        """A last checkpoint of each partition, then lets go of them, in bounded time.

        A checkpoint that fails here is only logged: the next owner goes on from the one before.
        """
        partitions, self.partitions = self.partitions, {}
        self.assigned = False
        if not partitions:
            return
        last = [asyncio.ensure_future(self._last_checkpoint(partition)) for partition in partitions.values()]
        _, late = await asyncio.wait(last, timeout=timeout_s)
        if late:
            # what becomes of those transactions is not known: nothing of this worker may be committed after them
            self.failed = True
            for task in (*last, *self._jobs.values()):
                task.cancel()
            await asyncio.gather(*self._jobs.values(), return_exceptions=True)
        self._jobs.clear()
        for partition, result in zip(partitions.values(), await _results(last), strict=True):
            if result is not None:
                logger.warning("partition %d: last checkpoint failed: %r", partition.number, result)
        await close([partition.claim for partition in partitions.values()])
        logger.info("released %d partitions", len(partitions))

    async def _last_checkpoint(self, partition: Partition) -> None:
        running = self._jobs.get(partition.number)
        if running is not None:
            await asyncio.wait([running])
            running.result()
        if partition.overlay.events and not self.failed:
            await self.checkpoint(partition, offsets=True)

    # ---- reading ------------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """One fetch into the inboxes. Raises LostEventsError and what the log raises."""
        await self._read_anew()
        fetches = await self.log.fetch(frozenset(self._held))
        self._note_awake()
        for fetch in fetches:
            partition = self.partitions.get(fetch.partition)
            if partition is not None:
                partition.inbox.fill(fetch)
                if fetch.records and fetch.end >= fetch.log_end:
                    self.skew.take(self.clock.now_ms() - fetch.records[-1][0], self.clock.spent_ms())
        self._hold()
        # with all of it held nothing was asked; with some of it, the rest is to be heard of
        if fetches or 0 < len(self._held) == len(self.partitions) * len(self.topics):
            self._answered_ms = self.clock.spent_ms()
        self.wake.set()

    async def _read_anew(self) -> None:
        """Has partitions in which a step raised go on from what is committed; the others read on where they are.

        Here, and nowhere else, no fetch is under way that might tell of records after positions that are left.
        """
        for partition in self.partitions.values():
            if partition.void and partition.committing_since_ms is None and not self.failed:
                partition.read_anew()
                self._astray = True
        if self._astray:
            await self.log.seek({number: each.inbox.reading() for number, each in self.partitions.items()})
            self._astray = False
            self._hold()
            self._uncounted.set()

    @property
    def answered_ms(self) -> float:
        """When the log answered last, by the monotonic clock."""
        return self._answered_ms

    @property
    def unanswered_ms(self) -> float:
        """How long ago the log answered last, if only that there is nothing."""
        return self.clock.spent_ms() - self._answered_ms

    @property
    def uncommitted_ms(self) -> float:
        """Age of the oldest change that isn't committed; 0 when all is."""
        since = [partition.uncommitted_since_ms for partition in self.partitions.values()]
        return max((self.clock.spent_ms() - each for each in since if each is not None), default=0.0)

    def _hold(self) -> None:
        """Decides what is not read on until some of it has been applied, or until there is room for more contacts."""
        self.memory.look(self.committed.values())
        self._held = {
            (topic, number)
            for number, partition in self.partitions.items()
            for topic in self.topics
            if self.memory.full or partition.inbox.full(topic, held=(topic, number) in self._held)
        }

    # ---- applying -----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether a turn may find something to do."""
        now_ms = self.clock.now_ms()
        self._swap_plans()
        return any(partition.ready(now_ms) for partition in self.partitions.values())

    def turn(self) -> bool:
        """Applies what is ready, each partition in its turn, for about `TURN_MS`; returns whether there is more."""
        started_ms = self.clock.spent_ms()
        until_ms, more = started_ms + TURN_MS, False
        self._swap_plans()
        waiting, first = sorted(self.partitions), self._next
        for index in range(len(waiting)):
            partition = self.partitions[waiting[(index + first) % len(waiting)]]
            self._next += 1
            if partition.full():
                continue
            try:
                more = partition.turn(self.clock, until_ms) or more
            except BaseException:
                self.failed = True  # a step may have been taken by half: nothing of this worker is committed any more
                raise
            if self.clock.spent_ms() > until_ms:
                more = True
                break
        self.metrics.turn_seconds.inc((self.clock.spent_ms() - started_ms) / 1000)
        if any(partition.overlay.events for partition in self.partitions.values()):
            self._changed.set()
        return more

    def _swap_plans(self) -> None:
        """Takes newer definitions up, in each partition as soon as all that was due is played and all of it committed."""
        plan = self.plans.current
        for number, partition in self.partitions.items():
            if plan.revision <= partition.plan.revision or partition.void:
                continue
            partition.settling = True
            if partition.timers_due or partition.to_change:
                continue
            if partition.overlay.events or number in self._jobs:
                partition.closing = True
                self._changed.set()
            else:
                plan.program.follow(partition.plan.program)
                partition.take_plan(plan, self.clock.spent_ms())
                self.metrics.name(plan)
                logger.info("partition %d: revision %d of the definitions is in force", number, plan.revision)
                # one at a time: it looks through all contacts of the partition, and the loop is to get its turn
                self.wake.set()
                return

    @property
    def busy(self) -> bool:
        """Whether checkpoints are under way."""
        return bool(self._jobs)

    # ---- committing ---------------------------------------------------------------------------------------------------

    async def commit_when_due(self) -> None:
        """Starts checkpoints when they are due, for ever; raises what ends one."""
        while True:
            wait_ms = self._start_due()
            self._changed.clear()
            try:
                async with asyncio.timeout(None if wait_ms is None else wait_ms / 1000):
                    await self._changed.wait()
            except TimeoutError:
                pass
            for number, job in list(self._jobs.items()):
                if job.done():
                    del self._jobs[number]
                    job.result()

    def _start_due(self) -> float | None:
        """Starts what is due; returns ms until the next may be (None: when something changes)."""
        now_ms, next_ms = self.clock.spent_ms(), None
        for number, partition in self.partitions.items():
            if number in self._jobs or not partition.overlay.events:
                continue
            wait_ms = self._due_ms(partition) - now_ms
            if wait_ms <= TOGETHER_MS:
                self._jobs[number] = asyncio.ensure_future(self.checkpoint(partition))
                self._jobs[number].add_done_callback(lambda _: self._changed.set())
            else:
                next_ms = wait_ms if next_ms is None else min(next_ms, wait_ms)
        return next_ms

    def _due_ms(self, partition: Partition) -> float:
        """When its checkpoint should begin: soon, but not before three times as long as the last one took."""
        overlay = partition.overlay
        since_ms = overlay.since_ms or 0.0
        if partition.full() or partition.crowded:
            return since_ms
        behind = partition.inbox.lag > self.pace.events // 8
        if overlay.events >= self.pace.events * (BEHIND_TIMES * partition.share if behind else 1):
            return since_ms
        if behind:
            return since_ms + self.pace.behind_ms
        return since_ms + min(max(self.pace.idle_ms, 3 * partition.checkpoint_ms), self.pace.load_ms)

    async def checkpoint(self, partition: Partition, *, offsets: bool = False) -> None:
        """Commits what changed in the partition; with `offsets` the group's offsets in any case.

        Once a checkpoint has failed, none is made again: what it held is lost to this worker.
        """
        try:
            async with self._transactions:
                await self._checkpoint(partition, offsets)
        except BaseException:
            self.failed = True
            raise

    async def _checkpoint(self, partition: Partition, offsets: bool) -> None:
        self._refuse_if_failed()
        if partition.void:  # since this checkpoint was asked for
            return
        started_ms = self.clock.spent_ms()
        offsets = offsets or started_ms - self._offsets_ms.get(partition.number, -OFFSETS_EVERY_MS) >= OFFSETS_EVERY_MS
        freezing = partition.freeze()
        positions = partition.inbox.positions()
        try:
            while not freezing.encode(self.clock, self.clock.spent_ms() + TURN_MS):
                await asyncio.sleep(0)
                self._refuse_if_failed()
        except EncodeError as error:
            partition.give_up(error)
            return
        frozen = freezing.frozen()
        partition.thaw()
        self.wake.set()
        end = await self._write(partition, frozen, positions if offsets else None)
        partition.commit(frozen, end)
        if offsets:
            self._offsets_ms[partition.number] = started_ms
        partition.checkpoint_ms = self.clock.spent_ms() - started_ms
        self.metrics.checkpoint_seconds.observe(partition.checkpoint_ms / 1000)
        for topic, records in frozen.records().items():
            self.metrics.checkpoint_records.labels(topic).inc(len(records))
        self.wake.set()

    async def _write(self, partition: Partition, frozen: Frozen, offsets: Mapping[str, int] | None) -> int:
        """`checkpoint.write`, counted by what became of it."""
        result = "aborted"
        try:
            end = await write(partition.claim, frozen, offsets)
            result = "committed"
        except FencedError:
            result = "fenced"
            raise
        finally:
            self.metrics.transactions.labels(result).inc()
        grace_ms, overlay = self.rates.grace_ms, frozen.overlay
        # with the arrival clock, due is no time of day
        played = [] if self.rates.arrival else [(due_ms + grace_ms, count) for due_ms, count in overlay.played]
        self.metrics.committed(overlay.taken, played, self.clock.now_ms())
        return end

    def _refuse_if_failed(self) -> None:
        if self.failed:
            raise LogError(
                "expected to go on, but an earlier step or checkpoint of this worker has failed: start it again"
            )

    # ---- counting -----------------------------------------------------------------------------------------------------

    async def count_sizes(self) -> None:
        """Counts the members of segments in what was taken over, beside all else, for ever."""
        while True:
            left = [partition for partition in self.partitions.values() if partition.sizes.uncounted]
            if not left:
                self._uncounted.clear()
                await self._uncounted.wait()
                continue
            left[0].count_sizes(self.clock, self.clock.spent_ms() + COUNT_MS)
            await asyncio.sleep(9 * COUNT_MS / 1000)


async def _results(tasks: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))
