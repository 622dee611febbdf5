"""The engine, with a real Redis, and in place of Kafka a list."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as redis

from actions import Rule
from actions.channels import SENT, Result
from actions.dispatch import Dispatcher
from actions.lanes import LANE_ATTEMPTS_MAX
from actions.ledger import Batch, Ledger
from actions.metrics import DispatcherMetrics
from actions.retry import Backoff
from schemas.deliveries import Delivery, Outcome
from streams.clock import SystemClock

pytestmark = pytest.mark.kafka  # it takes a Redis

Make = Callable[..., Delivery]
WaitFor = Callable[..., Awaitable[Any]]
TIMEOUT_S = 20
QUICK = Backoff(attempts_max=3, first_ms=1)


class World:
    """What the engine is given: outcomes go into a list, rules and pauses are what a test sets."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        self.outcomes: list[Outcome] = []
        self.rules: dict[str, Rule] = rules
        self.pauses: set[str] = set()
        self._clock = SystemClock()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def rule(self, id: str, version: int) -> Rule | None:
        return self.rules.get(id)

    def paused(self, channel: str, rule: str) -> str | None:
        return next((held for held in (f"channel/{channel}", f"rule/{rule}") if held in self.pauses), None)

    def is_paused(self, held: str) -> bool:
        return held in self.pauses

    async def write(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def read_outcomes(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        known = self.outcomes[positions.get("0", 0) :]
        if known:
            yield Batch(known, {"0": len(self.outcomes)})

    def statuses(self) -> list[tuple[str, int, str | None]]:
        """Status, attempts and code of each outcome."""
        return [(outcome.status, outcome.attempts, outcome.code) for outcome in self.outcomes]


class Channel:
    """A channel that answers as it is told; the lane is the target."""

    def __init__(self, answer: Callable[[Delivery], Awaitable[Result]] | None = None) -> None:
        self.sent: list[str] = []
        self._answer = answer

    def lane(self, delivery: Delivery) -> str:
        return delivery.target

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        self.sent.append(delivery.id)
        return await self._answer(delivery) if self._answer else SENT

    async def close(self) -> None:
        pass


@pytest.fixture
def world(rules: dict[str, Rule]) -> World:
    return World(rules)


@pytest.fixture
async def make_engine(redis_url: str, prefix: str, world: World) -> AsyncIterator[Callable[..., Dispatcher]]:
    """Engines over one Redis; what they sweep is swept until the test ends."""
    client = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(redis_url, max_connections=16))
    sweeps: list[asyncio.Task[None]] = []

    def make(channel: Channel, backoff: Backoff = QUICK, **options: Any) -> Dispatcher:
        engine = Dispatcher(
            Ledger(client, prefix, **options), {"webhook": channel}, world, DispatcherMetrics(), backoff=backoff
        )
        sweeps.append(asyncio.create_task(engine.sweep()))
        return engine

    yield make
    for sweep in sweeps:
        sweep.cancel()
    await asyncio.gather(*sweeps, return_exceptions=True)
    await client.aclose()


async def test_a_delivery_read_twice_is_sent_once(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make
) -> None:
    """And each reading ends with an outcome, so that its offset can be committed."""
    channel = Channel()
    one, other = make_engine(channel), make_engine(channel)
    for engine in (one, other, one):
        await engine.deliver(make_delivery())

    assert len(channel.sent) == 1
    assert world.statuses() == [("sent", 1, None)] * 3


async def test_what_fails_for_now_is_tried_again_and_given_up_after_the_last_attempt(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    async def away(_: Delivery) -> Result:
        return Result("retry", "expected 2xx, got 503", again=True)

    channel = Channel(away)
    await make_engine(channel).deliver(make_delivery())
    await wait_for(lambda: world.outcomes[-1].status == "failed", TIMEOUT_S, "the last attempt")

    assert world.statuses() == [("waiting", 1, "retry"), ("waiting", 2, "retry"), ("failed", 3, "gave_up")]
    assert world.outcomes[-1].reason == "given up after attempt 3: expected 2xx, got 503"
    assert len(channel.sent) == 3


async def test_what_is_refused_is_not_tried_again(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make
) -> None:
    async def refuse(_: Delivery) -> Result:
        return Result("refused", "expected 2xx, got 404")

    await make_engine(Channel(refuse)).deliver(make_delivery())

    assert world.statuses() == [("failed", 1, "refused")]


async def test_a_rule_that_is_not_there_yet_is_waited_for(
    make_engine: Callable[..., Dispatcher], world: World, rules: dict[str, Rule], make_delivery: Make, wait_for: WaitFor
) -> None:
    world.rules = {}
    channel = Channel()
    await make_engine(channel, Backoff(first_ms=1)).deliver(make_delivery())
    assert world.statuses()[0] == ("waiting", 1, "no_rule")
    world.rules = rules
    await wait_for(lambda: world.outcomes[-1].status == "sent", TIMEOUT_S, "the delivery to be sent")

    assert len(channel.sent) == 1


async def test_an_attempt_that_hangs_ends(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: Delivery) -> Result:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("actions.dispatch.ATTEMPT_MS_MAX", 50)
    await make_engine(Channel(hang)).deliver(make_delivery())

    assert world.outcomes[0].reason == "expected an end within 0.05 s, got none"
    assert (world.outcomes[0].status, world.outcomes[0].code) == ("waiting", "retry")


async def test_a_receiver_that_hangs_holds_up_nobody_else(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hundred deliveries to it; all but those that have their turn make room, and wait in Redis."""
    monkeypatch.setattr("actions.lanes.LANE_WAIT_S_MAX", 2.0)
    monkeypatch.setattr("actions.dispatch.BUSY_MS_MIN", 200)
    monkeypatch.setattr("actions.dispatch.BUSY_MS_MAX", 600)
    release = asyncio.Event()

    async def answer(delivery: Delivery) -> Result:
        if delivery.target == "slow":
            await release.wait()
        return SENT

    engine = make_engine(Channel(answer))
    slow = [asyncio.create_task(engine.deliver(make_delivery(f"{n:032x}", target="slow"))) for n in range(200)]
    quick = [engine.deliver(make_delivery(f"{n:032x}", target="quick")) for n in range(1000, 1200)]
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*quick)

    def parked() -> bool:
        return sum(outcome.code == "busy" for outcome in world.outcomes) >= 200 - LANE_ATTEMPTS_MAX

    await wait_for(parked, TIMEOUT_S, "the slow receiver's deliveries to make room")
    assert sum(task.done() for task in slow) == 200 - LANE_ATTEMPTS_MAX
    release.set()
    await asyncio.gather(*slow)
    await wait_for(
        lambda: sum(outcome.status == "sent" for outcome in world.outcomes) == 400, TIMEOUT_S, "all to be sent"
    )
    assert len({outcome.delivery for outcome in world.outcomes if outcome.status == "sent"}) == 400


async def test_a_pause_holds_what_comes_and_what_was_to_be_tried_again(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    async def away(_: Delivery) -> Result:
        world.pauses.add("rule/hook")
        return Result("retry", "expected 2xx, got 503", again=True) if len(channel.sent) == 1 else SENT

    channel = Channel(away)
    engine = make_engine(channel)
    await engine.deliver(make_delivery("a" * 32))
    await engine.deliver(make_delivery("b" * 32))
    ledger = engine._ledger

    async def all_held() -> bool:
        return await ledger.next_due_ms() is None and await ledger.waiting() == 2

    await wait_for(all_held, TIMEOUT_S, "both to be held")
    assert world.statuses() == [("waiting", 1, "retry"), ("waiting", 0, "paused")]
    world.pauses.clear()
    await engine.release()
    await wait_for(lambda: len(channel.sent) == 3, TIMEOUT_S, "both to be sent")


async def test_an_outcome_that_only_kafka_has_is_learnt_before_anything_in_doubt_is_sent(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    """A dispatcher died after Kafka had its outcome and before the ledger had it; another one takes over."""
    channel = Channel()
    dying = make_engine(channel, lease_ms=1)

    async def die(_: Outcome) -> None:
        await asyncio.Event().wait()

    dying._ledger.record = die  # type: ignore[method-assign]
    task = asyncio.create_task(dying.deliver(make_delivery()))
    await wait_for(lambda: world.statuses() == [("sent", 1, None)], TIMEOUT_S, "Kafka to have the outcome")
    task.cancel()
    heir = make_engine(channel, lease_ms=1)

    async def settled() -> bool:
        return (await heir._ledger.take(make_delivery(), 0)).state == "sent"

    await wait_for(settled, TIMEOUT_S, "the ledger to know")
    assert len(channel.sent) == 1


async def test_a_cancelled_sweep_ends(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    """redis-py loses a cancellation now and then; a dispatcher that is to stop must stop all the same."""
    engine = make_engine(Channel())
    await engine.deliver(make_delivery())
    for yields in range(400):
        sweep = asyncio.create_task(engine.sweep())
        for _ in range(yields % 40):
            await asyncio.sleep(0)
        sweep.cancel()
        done, _ = await asyncio.wait([sweep], timeout=5)
        assert done, f"cancelled after {yields % 40} turns of the loop it went on"


async def test_a_password_that_redis_refuses_is_said_with_the_setting_and_never_shown(
    redis_url: str, prefix: str, world: World, caplog: pytest.LogCaptureFixture, wait_for: WaitFor
) -> None:
    """Redis is there: "away" would send the operator to the wrong place."""
    client = redis.Redis.from_url(redis_url.replace("://", "://nobody:hunter2@"))
    engine = Dispatcher(Ledger(client, prefix), {"webhook": Channel()}, world, DispatcherMetrics())
    starting = asyncio.create_task(engine.catch_up())
    await wait_for(lambda: engine.problem, 10, "a problem to be said")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await client.aclose()

    assert engine.problem == "redis refuses the user or password"
    (said,) = [record.getMessage() for record in caplog.records if record.name == "actions.ledger_access"]
    assert "TIDEGATE_REDIS" in said
    assert "hunter2" not in caplog.text
