"""The engine, with a real Redis, and in place of Kafka a list."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis
from prometheus_client import generate_latest

from actions import Rule
from actions.channels import SENT, Result
from actions.dispatch import Dispatcher
from actions.gate import Gate
from actions.lanes import LANE_ATTEMPTS_MAX
from actions.ledger import Batch, Ledger
from actions.limits import Limits
from actions.metrics import DispatcherMetrics
from actions.policies import Cap, Policies, Policy, Rate
from actions.read_model import ReadModel
from actions.retry import Backoff
from schemas.deliveries import Delivery, Outcome
from schemas.transitions import Consent, ContactRecord
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
        self.removed: set[str] = set()
        self.policies = Policies()
        self._clock = SystemClock()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def rule(self, delivery: Delivery) -> Rule | None:
        return self.rules.get(delivery.rule)

    def paused(self, delivery: Delivery) -> str | None:
        helds = (f"channel/{delivery.channel}", f"{delivery.kind}/{delivery.rule}")
        return next((held for held in helds if held in self.pauses), None)

    def is_removed(self, delivery: Delivery) -> bool:
        return f"{delivery.kind}/{delivery.rule}" in self.removed

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


def engine_of(
    client: redis.Redis, prefix: str, channel: Channel, world: World, ledger: Ledger, backoff: Backoff = QUICK
) -> Dispatcher:
    metrics = DispatcherMetrics()
    gate = Gate(ledger, Limits(client, ledger), ReadModel(client, prefix), lambda: world.policies, metrics)
    return Dispatcher(ledger, {"webhook": channel, "email": channel}, gate, world, metrics, backoff=backoff)


@pytest.fixture
async def make_engine(redis_url: str, prefix: str, world: World) -> AsyncIterator[Callable[..., Dispatcher]]:
    """Engines over one Redis; what they sweep is swept until the test ends."""
    client = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(redis_url, max_connections=16))
    sweeps: list[asyncio.Task[None]] = []

    def make(channel: Channel, backoff: Backoff = QUICK, **options: Any) -> Dispatcher:
        engine = engine_of(client, prefix, channel, world, Ledger(client, prefix, **options), backoff)
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


async def quick_and_hanging(
    make_engine: Callable[..., Dispatcher], make_delivery: Make
) -> tuple[Dispatcher, Channel, asyncio.Event]:
    """An engine whose receiver is known to be quick, as it has taken one, and hangs until the event is set."""
    release = asyncio.Event()
    release.set()

    async def answer(_: Delivery) -> Result:
        await release.wait()
        return SENT

    channel = Channel(answer)
    engine = make_engine(channel)
    await engine.deliver(make_delivery("a" * 32))
    release.clear()
    return engine, channel, release


async def test_what_comes_for_a_receiver_that_was_quick_and_hangs_makes_room_and_is_sent_once(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actions.lanes.LANE_WAIT_S_MAX", 0.3)
    monkeypatch.setattr("actions.dispatch.BUSY_MS_MIN", 200)
    monkeypatch.setattr("actions.dispatch.BUSY_MS_MAX", 600)
    engine, channel, release = await quick_and_hanging(make_engine, make_delivery)
    delivering = [asyncio.create_task(engine.deliver(make_delivery(f"{n:032x}"))) for n in range(30)]

    def given_up() -> int:
        return sum((outcome.code, outcome.attempts) == ("busy", 0) for outcome in world.outcomes)

    await wait_for(lambda: given_up() >= 30 - LANE_ATTEMPTS_MAX, TIMEOUT_S, "those that were next to make room")
    release.set()
    await asyncio.gather(*delivering)
    await wait_for(
        lambda: sum(outcome.status == "sent" for outcome in world.outcomes) == 31, TIMEOUT_S, "all to be sent"
    )
    assert len(channel.sent) == 31
    assert {outcome.attempts for outcome in world.outcomes if outcome.status == "sent"} == {1}


@pytest.mark.parametrize("stop", ["pause", "policy"])
async def test_what_was_decided_on_before_a_receiver_hung_is_decided_anew_when_it_is_free(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
    stop: str,
) -> None:
    """A pause works at once, and so does what a contact or an operator has said meanwhile."""
    monkeypatch.setattr("actions.dispatch.LANE_AHEAD_S", 0.0)
    engine, channel, release = await quick_and_hanging(make_engine, make_delivery)
    (lane,) = engine._lanes.values()
    delivering = [asyncio.create_task(engine.deliver(make_delivery(f"{n:032x}"))) for n in range(30)]
    ahead = 30 - LANE_ATTEMPTS_MAX
    await wait_for(lambda: len(lane.slots._waiters or ()) == ahead, TIMEOUT_S, "those that are next to be decided on")
    if stop == "pause":
        world.pauses.add("rule/hook")
    else:
        world.policies = Policies(policies=(Policy("p", {}, caps=(Cap(1, 60_000),)),))
    release.set()
    await asyncio.gather(*delivering)

    assert len(channel.sent) == 1 + LANE_ATTEMPTS_MAX
    left = ("waiting", 0, "paused") if stop == "pause" else ("skipped", 0, "capped")
    assert world.statuses().count(left) == ahead


async def test_a_pause_holds_what_is_next_to_be_tried_again_at_a_receiver_that_hangs(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actions.dispatch.LANE_AHEAD_S", 0.0)
    release = asyncio.Event()
    tried: set[str] = set()

    async def answer(delivery: Delivery) -> Result:
        if delivery.id not in tried:
            tried.add(delivery.id)
            return Result("retry", "expected 2xx, got 503", again=True)
        await release.wait()
        return SENT

    channel = Channel(answer)
    engine = make_engine(channel)
    await asyncio.gather(*(engine.deliver(make_delivery(f"{n:032x}")) for n in range(30)))
    (lane,) = engine._lanes.values()
    await wait_for(lambda: lane.slots._waiters and engine.under_way == LANE_ATTEMPTS_MAX, TIMEOUT_S, "some to be next")
    world.pauses.add("rule/hook")
    release.set()
    ledger = engine._ledger

    async def all_held() -> bool:
        return await ledger.next_due_ms() is None and await ledger.waiting() == 30 - LANE_ATTEMPTS_MAX

    await wait_for(all_held, TIMEOUT_S, "all others to be held")
    assert len(channel.sent) == 30 + LANE_ATTEMPTS_MAX


async def test_a_pause_keeps_nothing_for_a_contact_that_was_erased(
    make_engine: Callable[..., Dispatcher],
    client: redis.Redis,
    prefix: str,
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
) -> None:
    """A pause may last for weeks, and what it holds has the contact's address in it."""
    world.pauses.add("rule/hook")
    channel, model = Channel(), ReadModel(client, prefix)
    engine = make_engine(channel)
    ledger = engine._ledger
    await engine.deliver(make_delivery("a" * 32))
    await model.begin(["contacts/0"])
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", None)])
    await ledger.forget("c-17", world.now_ms(), world.now_ms())
    await engine.deliver(make_delivery("b" * 32))

    async def over() -> bool:
        return len(world.outcomes) == 3 and not await ledger.waiting()

    await wait_for(over, TIMEOUT_S, "both to be left out")
    assert [outcome.code for outcome in world.outcomes] == ["paused", "gone", "gone"]
    assert channel.sent == []


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
    engine = engine_of(client, prefix, Channel(), world, Ledger(client, prefix))
    starting = asyncio.create_task(engine.catch_up())
    await wait_for(lambda: engine.problem, 10, "a problem to be said")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await client.aclose()

    assert engine.problem == "redis refuses the user or password"
    (said,) = [record.getMessage() for record in caplog.records if record.name == "actions.ledger_access"]
    assert "TIDEGATE_REDIS" in said
    assert "hunter2" not in caplog.text


# ---- decided at the instant of sending --------------------------------------------------------------------------------


async def project(client: redis.Redis, prefix: str, contact: str, revision: int, **consent: bool) -> None:
    """Has the read model hold a contact, as a projector that has read everything."""
    model = ReadModel(client, prefix)
    for partition, position in (await model.begin(["contacts/0"])).items():
        words = {group: Consent(on, "2026-01-01T00:00:00.000Z") for group, on in consent.items()}
        record = msgspec.json.encode(ContactRecord(contact, {}, "2026-01-01T00:00:00.000Z", revision, consent=words))
        await model.apply(partition, position, position + 1, [model.contact(contact, record)])
        await model.filled(partition)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()


async def test_what_is_left_out_has_its_reason_and_stays_out_when_it_is_read_again(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, client: redis.Redis, prefix: str
) -> None:
    """Also when consent comes back in between: it was told to be skipped."""
    channel = Channel()
    engine = make_engine(channel)
    await project(client, prefix, "c-17", 4, promo=False)
    mail = make_delivery(channel="email", group="promo")
    await engine.deliver(mail)
    await project(client, prefix, "c-17", 5, promo=True)
    await engine.deliver(mail)

    assert channel.sent == []
    assert world.statuses() == [("skipped", 0, "consent")] * 2
    assert world.outcomes[0].reason == "expected consent to messages of group 'promo', it was taken back"


async def test_what_waits_for_another_attempt_is_left_out_when_its_rule_was_removed_meanwhile(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    async def away(_: Delivery) -> Result:
        world.removed.add("rule/hook")
        return Result("retry", "expected 2xx, got 503", again=True)

    channel = Channel(away)
    await make_engine(channel).deliver(make_delivery())
    await wait_for(lambda: world.outcomes[-1].status == "skipped", TIMEOUT_S, "it to be left out")

    assert world.statuses() == [("waiting", 1, "retry"), ("skipped", 1, "removed")]
    assert world.outcomes[-1].reason == "expected rule 'hook' in force, it was removed"
    assert len(channel.sent) == 1


@pytest.mark.parametrize("again", [True, False], ids=["read again", "not read again"])
async def test_what_may_have_been_sent_and_is_left_out_then_says_so_and_is_counted_on(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    client: redis.Redis,
    prefix: str,
    again: bool,
) -> None:
    """Its dispatcher died on the way; by the next one its rule is removed. It may be the one message that the cap allows."""
    world.policies = Policies(False, (Policy("p", {}, caps=(Cap(1, 60_000),)),))
    mail, other = make_delivery(channel="email"), make_delivery(channel="email", id="e" * 32, rule="other")
    await project(client, prefix, "c-17", 4)

    async def hang(_: Delivery) -> Result:
        await asyncio.Event().wait()
        raise AssertionError

    died = make_engine(Channel(hang), lease_ms=300)
    attempting = asyncio.create_task(died.deliver(mail))
    await wait_for(lambda: died.under_way, TIMEOUT_S, "an attempt")
    attempting.cancel()
    await asyncio.gather(attempting, return_exceptions=True)
    world.removed.add("rule/mail")
    engine = make_engine(Channel())
    await wait_for(lambda: world.statuses() == [("skipped", 1, "removed")], TIMEOUT_S, "it to be left out")
    if again:
        await engine.deliver(mail)
    await engine.deliver(other)

    assert world.outcomes[0].reason == "expected rule 'mail' in force, it was removed; attempt 1 may have sent it"
    assert world.outcomes[0].in_doubt
    assert world.statuses()[-1] == ("skipped", 0, "capped")


async def test_of_three_under_a_cap_of_two_the_third_is_left_out_and_transactional_ones_are_not(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, client: redis.Redis, prefix: str
) -> None:
    world.policies = Policies(False, (Policy("p", {}, caps=(Cap(2, 60_000, "email"),)),))
    channel = Channel()
    engine = make_engine(channel)
    await project(client, prefix, "c-17", 4)
    for n in range(4):
        await engine.deliver(make_delivery(id=f"{n:032}", channel="email", transactional=n == 3))

    assert [int(id) for id in channel.sent] == [0, 1, 3]
    assert world.statuses()[2] == ("skipped", 0, "capped")


async def test_what_is_to_go_later_waits_with_no_attempt_and_then_goes(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, wait_for: WaitFor
) -> None:
    world.policies = Policies(False, (Policy("p", {}, rates=(Rate("webhook", 5, 1),)),))
    channel = Channel()
    engine = make_engine(channel)
    for n in range(3):
        await engine.deliver(make_delivery(id=f"{n:032}"))
    assert world.statuses() == [("sent", 1, None), ("waiting", 0, "rate"), ("waiting", 0, "rate")]
    await wait_for(lambda: len(channel.sent) == 3, TIMEOUT_S, "all three, 200 ms apart")
    await wait_for(lambda: len(world.outcomes) == 5, TIMEOUT_S, "their outcomes")

    assert world.statuses()[3:] == [("sent", 1, None)] * 2


async def test_a_delivery_waits_for_the_read_model_to_be_as_new(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make, client: redis.Redis, prefix: str
) -> None:
    """It is most often milliseconds behind: that takes no outcome, and it sees what the contact had said by then."""
    channel = Channel()
    engine = make_engine(channel)
    await project(client, prefix, "c-17", 4)
    for n, consent in enumerate((True, False)):
        under_way = asyncio.create_task(engine.deliver(make_delivery(id=f"{n:032}", channel="email", revision=5 + n)))
        await asyncio.sleep(0.03)
        assert not under_way.done()
        await project(client, prefix, "c-17", 5 + n, **{"": consent})
        await under_way

    assert world.statuses() == [("sent", 1, None), ("skipped", 0, "consent")]


async def test_without_a_projector_what_asks_for_it_waits_and_nothing_else(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make
) -> None:
    engine = make_engine(Channel())
    await asyncio.gather(engine.deliver(make_delivery()), engine.deliver(make_delivery(id="e" * 32, channel="email")))

    assert world.statuses() == [("sent", 1, None), ("waiting", 0, "behind")]
    assert "behind" in generate_latest(engine.metrics.registry).decode()


async def test_a_retry_is_decided_anew_and_counts_no_second_time(
    make_engine: Callable[..., Dispatcher],
    world: World,
    make_delivery: Make,
    wait_for: WaitFor,
    client: redis.Redis,
    prefix: str,
) -> None:
    """Who unsubscribes between two attempts gets no second one; the cap of one lets a second attempt pass."""
    world.policies = Policies(False, (Policy("p", {}, caps=(Cap(1, 60_000),)),))
    await project(client, prefix, "c-17", 4)

    async def away(delivery: Delivery) -> Result:
        if len(channel.sent) == 2:
            await project(client, prefix, "c-17", 5, **{"": False})
        return Result("retry", "expected 250, got 451", again=True)

    channel = Channel(away)
    await make_engine(channel).deliver(make_delivery(channel="email"))
    await wait_for(lambda: world.outcomes[-1].status == "skipped", TIMEOUT_S, "the end")

    assert world.statuses() == [("waiting", 1, "retry"), ("waiting", 2, "retry"), ("skipped", 2, "consent")]
    assert len(channel.sent) == 2


async def test_a_delivery_that_failed_and_is_read_again_takes_nobodys_place(
    make_engine: Callable[..., Dispatcher], world: World, make_delivery: Make
) -> None:
    world.policies = Policies(False, (Policy("p", {}, caps=(Cap(1, 60_000),)),))

    async def refuse(delivery: Delivery) -> Result:
        return SENT if delivery.id == "e" * 32 else Result("refused", "expected 2xx, got 404")

    engine = make_engine(Channel(refuse))
    for id in ("d", "d", "e"):
        await engine.deliver(make_delivery(id=id * 32))

    assert world.statuses() == [("failed", 1, "refused")] * 2 + [("sent", 1, None)]
