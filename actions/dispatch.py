"""The dispatcher's engine: each delivery through the ledger to its channel, and its outcome written down.

Invariants:
  * `deliver` returns when a record of what became of the delivery is in Kafka; only then is its offset committed. A
    record that is not final (`waiting`) carries the delivery, so the `deliveries` topic is never read backwards.
  * An outcome goes to Kafka first and then into the ledger. So before what is in doubt is sent again, the ledger learns
    what Kafka has: what remains in doubt was under way when its dispatcher died.
  * An attempt begins with a lease that is fresh and ends before the lease does.
  * Whether a delivery may go out is asked at the instant of sending (`gate.py`). What may not is no attempt.
  * What is held waits, but not for a contact that was erased: it is left out, so that nothing of that is kept.
  * Whatever waits (for another attempt, a pause, a crowded lane) waits in Redis, not in memory and not in the way: a
    receiver that is slow or away holds up its own lane, of bounded length, and nobody else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from actions.channels import ATTEMPT_MS_MAX, Result, Sender
from actions.decisions import Verdict
from actions.gate import Gate
from actions.lanes import LANE_AHEAD_S, Crowded, Lane, Turn
from actions.ledger import Batch, Claimed, Ledger, Taken
from actions.ledger_access import LedgerAccess
from actions.metrics import DispatcherMetrics
from actions.registry import SPECS
from actions.retry import Backoff
from actions.rules import Rule
from schemas.deliveries import Code, Delivery, Outcome, Status
from schemas.instants import format_instant

logger = logging.getLogger(__name__)

# a delivery that finds its lane crowded is due again after that
BUSY_MS_MIN, BUSY_MS_MAX = 5_000, 120_000
SKIPPED_MS = 15_000  # until it is looked at whether what is left out has its outcome
UNDER_WAY_MS = 500
# the read model is most often milliseconds behind: what comes before it waits so long in memory, then in Redis
PATIENCE_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 0.8)
CLAIM_MAX = 100
AGAIN_MAX = 500  # deliveries that the sweep has in memory
SWEEP_S_MAX = 0.5


class Environs(Protocol):
    """What the process around it gives the engine."""

    def now_ms(self) -> int:
        """The wall clock, epoch ms."""

    async def rule(self, delivery: Delivery) -> Rule | None:
        """What its message is made by: the rule or the sequence's step in that version; None when the topic has none."""

    def paused(self, delivery: Delivery) -> str | None:
        """What a delivery is held for (`channel/email`, `rule/cart-mail`, `sequence/welcome`); None for nothing."""

    def is_removed(self, delivery: Delivery) -> bool:
        """Whether its rule or sequence was in force and, in whatever version, is no more."""

    def is_paused(self, held: str) -> bool:
        """Whether `held` (as `paused` says it) is in force."""

    async def write(self, outcome: Outcome) -> None:
        """Writes to the outcomes topic; returns when Kafka has acknowledged it."""

    def read_outcomes(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        """The outcomes in Kafka from `positions` (by partition; missing: the beginning) to the end as of now."""


class Dispatcher:
    """Delivers. One per process; any number of processes share a ledger."""

    def __init__(
        self,
        ledger: Ledger,
        senders: Mapping[str, Sender],
        gate: Gate,
        environs: Environs,
        metrics: DispatcherMetrics,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self.metrics = metrics
        self._ledger, self._senders, self._gate, self._environs = ledger, senders, gate, environs
        self._access = LedgerAccess(ledger, environs.read_outcomes, environs.now_ms, metrics)
        self._backoff = backoff or Backoff()
        self._lanes: dict[str, Lane] = {}
        self._under_way: set[str] = set()
        self._again = 0
        self._stopping = False

    async def deliver(self, delivery: Delivery) -> None:
        """Takes a delivery that was read from Kafka; returns when Kafka has what became of it, or that it waits."""
        rule = await self._environs.rule(delivery)
        lane = self._lane(delivery)
        held = await self._held(delivery)
        if isinstance(held, Verdict):
            await self._leave(delivery, held)
            return
        if held is not None or lane.full:
            await self._park(delivery, held)
            return
        try:
            for wait_s in (*PATIENCE_S, None):
                async with lane.turn() as turn:
                    if await self._take(delivery, rule, turn, last=wait_s is None):
                        return
                assert wait_s is not None
                await asyncio.sleep(wait_s)
        except Crowded:
            await self._park(delivery, None)

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent just now, None when all is well."""
        return self._access.problem

    @property
    def under_way(self) -> int:
        """How many attempts are under way."""
        return len(self._under_way)

    def stop(self) -> None:
        """Lets `sweep` begin nothing new and return when what it has under way is through."""
        self._stopping = True

    async def sweep(self) -> None:
        """Attempts what is due, as it falls due, until `stop`; raises what is a bug."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                due = await self._sweep(group)
                if not due:
                    await asyncio.sleep(await self._pause_s())

    async def release(self) -> None:
        """Makes due what was held for a pause that is over."""
        for held in await self._access(self._ledger.helds):
            if not self._environs.is_paused(held):
                await self._access(lambda held=held: self._ledger.release(held))  # type: ignore[misc]

    async def catch_up(self) -> None:
        """Brings the ledger up to the outcomes in Kafka; waits for Redis."""
        await self._access.catch_up()
        self.metrics.waiting.set(await self._access(self._ledger.waiting))

    # ---- attempts ---------------------------------------------------------------------------------------------------

    async def _take(self, delivery: Delivery, rule: Rule | None, turn: Turn, *, last: bool) -> bool:
        """Whether Kafka has what became of it; unless `last`, what is newer than the read model may come again at once."""
        against = await self._against(delivery, turn)
        if isinstance(against, str):
            await self._park(delivery, against)
            return True
        if against is not None:
            if against.code == "behind" and not last:
                return False
            await self._leave(delivery, against)
            return True
        taken = await self._access(lambda: self._ledger.take(delivery, self._environs.now_ms()))
        if taken.state != "new" or delivery.id in self._under_way:
            await self._repeat(delivery, taken)
        else:
            await self._attempt(delivery, rule, taken.attempts, turn)
        return True

    async def _against(self, delivery: Delivery, turn: Turn) -> str | Verdict | None:
        """What it is held for, or the verdict against it; None when it may go out and the receiver is free for it."""
        fresh = False  # what was decided long before the receiver was free for it is decided anew
        while not fresh:
            held = await self._held(delivery)  # it may have waited for its turn
            if held is not None:
                return held
            verdict = await self._verdict(delivery)
            if verdict.code is not None:
                return verdict
            fresh = await turn.attempt() <= LANE_AHEAD_S
        return None

    async def _held(self, delivery: Delivery) -> str | Verdict | None:
        """What it is held for, None for nothing; the verdict where its contact was erased meanwhile."""
        held = self._environs.paused(delivery)
        return held and (await self._access(lambda: self._gate.erased(delivery)) or held)

    async def _verdict(self, delivery: Delivery) -> Verdict:
        if self._environs.is_removed(delivery):
            return Verdict("removed", f"expected {delivery.kind} {delivery.rule!r} in force, it was removed")
        return await self._access(lambda: self._gate.verdict(delivery, self._environs.now_ms()))

    async def _attempt(self, delivery: Delivery, rule: Rule | None, attempts: int, turn: Turn) -> None:
        self._under_way.add(delivery.id)
        self.metrics.under_way.set(len(self._under_way))
        try:
            with turn.sending():
                result = await self._send(delivery, rule)
            outcome = self._outcome(delivery, attempts, result)
            # when this process dies, what has been sent and is not written down is sent again: where that can't be told from
            # the first, there is no more of it than attempts at a time
            if SPECS[delivery.channel].tells_repeats:
                turn.end_attempt()
            await self._write(outcome)
            turn.end()
            await self._access(lambda: self._ledger.record(outcome))
        finally:
            self._under_way.discard(delivery.id)
            self.metrics.under_way.set(len(self._under_way))

    async def _send(self, delivery: Delivery, rule: Rule | None) -> Result:
        if rule is None:
            sentence = f"expected rule {delivery.rule!r} in version {delivery.rule_version} on the definitions topic"
            return Result("no_rule", sentence + ", got none", again=True)
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ATTEMPT_MS_MAX / 1000):
                return await self._senders[delivery.channel].send(delivery, rule)
        except TimeoutError:
            return Result("retry", f"expected an end within {ATTEMPT_MS_MAX / 1000:g} s, got none", again=True)
        finally:
            lasted_s = asyncio.get_running_loop().time() - started
            self.metrics.attempt_seconds.labels(delivery.channel).observe(lasted_s)

    def _outcome(self, delivery: Delivery, attempts: int, result: Result) -> Outcome:
        now_ms = self._environs.now_ms()
        if result.code is None:
            return outcome_of(delivery, "sent", attempts, now_ms)
        if not result.again:
            return outcome_of(delivery, "failed", attempts, now_ms, result.code, result.reason)
        wait_ms = self._backoff.wait_ms(delivery.id, attempts, result.retry_after_ms)
        if wait_ms is None:
            reason = f"given up after attempt {attempts}: {result.reason}"
            return outcome_of(delivery, "failed", attempts, now_ms, "gave_up", reason)
        return outcome_of(delivery, "waiting", attempts, now_ms, result.code, result.reason, due_ms=now_ms + wait_ms)

    # ---- what waits -------------------------------------------------------------------------------------------------

    async def _park(self, delivery: Delivery, held: str | None) -> None:
        due_ms = None if held else self._later_ms(delivery)
        parked = await self._access(lambda: self._ledger.park(delivery, due_ms, held or ""))
        if parked.state != "new":
            return await self._repeat(delivery, parked)
        code, reason = ("paused", f"{held} is paused") if held else ("busy", "the receiver has enough to do")
        now_ms = self._environs.now_ms()
        return await self._write(outcome_of(delivery, "waiting", 0, now_ms, code, reason, due_ms=due_ms))  # type: ignore[arg-type]

    async def _leave(self, delivery: Delivery, verdict: Verdict) -> None:
        """Puts off or leaves out a delivery that was read from Kafka, as the verdict is."""
        due_ms = self._environs.now_ms() + SKIPPED_MS if verdict.until_ms is None else verdict.until_ms
        parked = await self._access(lambda: self._ledger.park(delivery, due_ms, ""))
        if parked.state != "new":
            await self._repeat(delivery, parked)
        elif verdict.until_ms is None:
            await self._record(self._judged(delivery, verdict, 0))
        else:
            await self._write(self._judged(delivery, verdict, 0))

    async def _leave_again(self, item: Claimed, verdict: Verdict) -> None:
        """The same of one that has waited."""
        if verdict.until_ms is None:
            return await self._record(self._judged(item.delivery, verdict, item.attempts, item.in_doubt))
        await self._access(lambda: self._ledger.put_back(item, verdict.until_ms, ""))
        return await self._write(self._judged(item.delivery, verdict, item.attempts, item.in_doubt))

    def _judged(self, delivery: Delivery, verdict: Verdict, attempts: int, in_doubt: bool = False) -> Outcome:
        if verdict.code == "behind":
            self.metrics.behind.labels("put_off").inc()
        status: Status = "skipped" if verdict.until_ms is None else "waiting"
        reason = f"{verdict.reason}; attempt {attempts} may have sent it" if in_doubt else verdict.reason
        now_ms, due_ms = self._environs.now_ms(), verdict.until_ms
        return outcome_of(delivery, status, attempts, now_ms, verdict.code, reason, due_ms=due_ms, in_doubt=in_doubt)

    async def _sweep(self, group: asyncio.TaskGroup) -> int:
        room = min(CLAIM_MAX, AGAIN_MAX - self._again)
        if room <= 0:
            return 0
        claimed = await self._access(lambda: self._ledger.claim(self._environs.now_ms(), room))
        if any(item.in_doubt for item in claimed):
            await self._access.catch_up()
        self._again += len(claimed)
        for item in claimed:
            group.create_task(self._again_one(item))
        return len(claimed)

    async def _again_one(self, item: Claimed) -> None:
        try:
            lane, held = self._lane(item.delivery), await self._held(item.delivery)
            if item.delivery.id in self._under_way:
                # an attempt is just ending, or was begun before Redis was lost: its own outcome comes first
                soon_ms = self._environs.now_ms() + UNDER_WAY_MS
                await self._access(lambda: self._ledger.put_back(item, soon_ms, ""))
            elif isinstance(held, Verdict):
                await self._leave_again(item, held)
            elif held is not None or lane.full:
                await self._put_back(item, held)
            else:
                await self._attempt_again(item, lane)
        finally:
            self._again -= 1

    async def _attempt_again(self, item: Claimed, lane: Lane) -> None:
        delivery = item.delivery
        try:
            rule = await self._environs.rule(delivery)
            async with lane.turn() as turn:
                against = await self._against(delivery, turn)
                if isinstance(against, str):
                    await self._put_back(item, against)
                    return
                if against is not None:
                    await self._leave_again(item, against)
                    return
                attempts = await self._access(lambda: self._ledger.begin(item, self._environs.now_ms()))
                if attempts is None:
                    return  # it has an outcome by now, or somebody else has begun it
                if item.in_doubt:
                    self.metrics.in_doubt.labels(delivery.channel).inc()
                    logger.warning("delivery %s was taken and has no outcome: sent again, same id", delivery.id)
                await self._attempt(delivery, rule, attempts, turn)
        except Crowded:
            await self._put_back(item, None)

    async def _put_back(self, item: Claimed, held: str | None) -> None:
        due_ms = None if held else self._later_ms(item.delivery)
        await self._access(lambda: self._ledger.put_back(item, due_ms, held or ""))

    def _later_ms(self, delivery: Delivery) -> int:
        """When to come back to a crowded lane: not all at once, and no oftener than it has room."""
        later_ms = int(self._lane(delivery).later_s(BUSY_MS_MIN / 1000) * 1000)
        return self._environs.now_ms() + min(later_ms, BUSY_MS_MAX)

    async def _pause_s(self) -> float:
        next_ms = await self._access(self._ledger.next_due_ms)
        if next_ms is None:
            return SWEEP_S_MAX
        return min(SWEEP_S_MAX, max(0.01, (next_ms - self._environs.now_ms()) / 1000))

    async def _repeat(self, delivery: Delivery, taken: Taken) -> None:
        """Says once more what is known of a delivery that was read a second time, so that its offset can be committed."""
        if taken.outcome is not None:
            if taken.outcome.status != "sent" and not taken.outcome.in_doubt:
                await self._access(lambda: self._gate.give_back(delivery))
            return await self._write(taken.outcome)
        code: Code = "in_doubt" if taken.state == "taken" else "retry"
        reason = "was taken before; what became of it is not known yet"
        now_ms = self._environs.now_ms()
        return await self._write(outcome_of(delivery, "waiting", taken.attempts, now_ms, code, reason, due_ms=now_ms))

    # ---- outcomes ------------------------------------------------------------------------------------------

    async def _record(self, outcome: Outcome) -> None:
        # Kafka first: what only Kafka has, the ledger learns; what only the ledger has would never get into Kafka
        await self._write(outcome)
        await self._access(lambda: self._ledger.record(outcome))

    async def _write(self, outcome: Outcome) -> None:
        await self._environs.write(outcome)
        self.metrics.outcomes.labels(outcome.channel, outcome.status, outcome.code or "").inc()

    def _lane(self, delivery: Delivery) -> Lane:
        name = self._senders[delivery.channel].lane(delivery)
        lane = self._lanes.get(name)
        if lane is None:
            # idle lanes are dropped here, so there are never more than deliveries in memory
            self._lanes = {other: kept for other, kept in self._lanes.items() if kept.count}
            lane = self._lanes[name] = Lane()
        return lane


def outcome_of(
    delivery: Delivery,
    status: Status,
    attempts: int,
    at_ms: int,
    code: Code | None = None,
    reason: str | None = None,
    *,
    due_ms: int | None = None,
    in_doubt: bool = False,
) -> Outcome:
    """The outcome of a delivery; one that is `waiting` carries it."""
    return Outcome(
        delivery=delivery.id,
        status=status,
        rule=delivery.rule,
        rule_version=delivery.rule_version,
        channel=delivery.channel,
        contact=delivery.contact,
        segment=delivery.transition.segment,
        at=format_instant(at_ms),
        attempts=attempts,
        code=code,
        reason=reason,
        due_at=None if due_ms is None else format_instant(due_ms),
        retry=delivery.retry,
        again=delivery if status == "waiting" else None,
        group=delivery.group,
        transactional=delivery.transactional,
        kind=delivery.kind,
        step=delivery.step,
        entry=delivery.transition.id if delivery.kind == "sequence" else None,
        in_doubt=in_doubt,
    )
