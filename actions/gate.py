"""The last look before a delivery goes out: facts from the read model, the verdict on them, then caps and rates."""

from collections.abc import Callable

from actions.decisions import GO, Verdict, asks_zone, decide, erased
from actions.ledger import Ledger
from actions.limits import Limits, host_of
from actions.metrics import DispatcherMetrics
from actions.policies import Policies
from actions.read_model import ReadModel
from schemas.deliveries import Delivery


class Gate:
    """Asked by every attempt, just before it begins. Raises redis-py's errors, and `Unsynced`."""

    def __init__(
        self,
        ledger: Ledger,
        limits: Limits,
        read_model: ReadModel,
        policies: Callable[[], Policies],
        metrics: DispatcherMetrics,
    ) -> None:
        self._ledger, self._limits, self._read_model = ledger, limits, read_model
        self._policies, self._metrics = policies, metrics

    async def verdict(self, delivery: Delivery, now_ms: int) -> Verdict:
        """Whether the delivery may go out now. One that may is counted by the caps, and has had its token."""
        policies = self._policies()
        facts = await self._read_model.facts(delivery, with_zone=asks_zone(delivery, policies))
        verdict = decide(delivery, facts, policies, now_ms, 0)
        if verdict.code == "behind" and facts.ready:
            behind_ms = await self._ledger.behind_ms(delivery, now_ms)
            verdict = decide(delivery, facts, policies, now_ms, behind_ms)
            if verdict.code != "behind":
                self._metrics.behind.labels("overtaken").inc()
        return await self._limited(delivery, policies, now_ms) if verdict.code is None else verdict

    async def erased(self, delivery: Delivery) -> Verdict | None:
        """The verdict where the contact was erased, else None; nothing is counted."""
        return erased(delivery, await self._read_model.facts(delivery, with_zone=False))

    async def give_back(self, delivery: Delivery) -> None:
        """Says that a delivery was over before: no cap counts it."""
        await self._ledger.uncount(delivery)

    async def _limited(self, delivery: Delivery, policies: Policies, now_ms: int) -> Verdict:
        caps, rate = policies.caps_of(delivery), policies.rate_of(delivery.channel, host_of(delivery))
        limited = await self._limits.take(delivery, caps, rate) if caps or rate else None
        if limited is None:
            return GO
        if limited.cap is None:
            return Verdict("rate", limited.reason, now_ms + limited.wait_ms)
        later = limited.cap.then == "later"
        return Verdict("capped", limited.reason, now_ms + limited.wait_ms if later else None)
