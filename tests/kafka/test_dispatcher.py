"""The dispatcher on a real broker and a real Redis: each message once, whatever is killed, emptied or away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dispatcher_runs import Dispatching, Setup, command, doubled, now_s
from receivers import Receipt

from actions.lanes import LANE_ATTEMPTS_MAX, LANE_TURNS_MAX

pytestmark = pytest.mark.kafka

WaitFor = Callable[..., Awaitable[Any]]
Note = Callable[[str, int, int], None]
COUNT = 200  # of each channel
TIMEOUT_S = 60


@pytest.fixture
def setup_redis(own_redis: Any) -> str:
    """One that may be stopped and emptied."""
    return str(own_redis.url)


@pytest.fixture
def start(setup: Setup) -> Iterator[Callable[..., Dispatching]]:
    """Starts dispatchers; ends them with the test."""
    started: list[Dispatching] = []

    def begin(name: str = "dispatcher") -> Dispatching:
        started.append(setup.dispatcher(name))
        return started[-1]

    yield begin
    for each in started:
        if each.running:
            each.kill()


async def all_sent(setup: Setup, count: int, wait_for: WaitFor) -> None:
    """Waits until so many deliveries have arrived and stand as sent."""

    async def sent() -> bool:
        return len(setup.received()) >= count and (await setup.statuses()) == {"sent": count}

    await wait_for(sent, TIMEOUT_S, f"{count} deliveries sent")


def slowly(setup: Setup) -> None:
    """Receivers that take a while, so that much is under way at any time."""

    async def webhook(_: Receipt) -> tuple[int, dict[str, str]]:
        await asyncio.sleep(0.05)
        return 204, {}

    async def mail(_: Receipt) -> str:
        await asyncio.sleep(0.05)
        return "250 kept"

    setup.webhooks.answer, setup.mails.answer = webhook, mail


def ids(setup: Setup) -> set[str]:
    return {each.id for channel in ("webhook", "email") for each in setup.make(COUNT, channel)}


async def publish_both(setup: Setup) -> None:
    await setup.projected()
    await setup.publish([*setup.make(COUNT), *setup.make(COUNT, "email")])


async def test_each_message_arrives_once_and_a_restart_repeats_nothing(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    await publish_both(setup)
    dispatcher = start()
    await all_sent(setup, 2 * COUNT, wait_for)

    assert dispatcher.stop() == 0
    again = start()
    await wait_for(again.ready, TIMEOUT_S, "the second dispatcher to be ready")
    await setup.publish(setup.make(1, start=COUNT))
    await all_sent(setup, 2 * COUNT + 1, wait_for)
    assert doubled(setup.received()) == {}
    assert again.metric("tidegate_outcomes_total") == 1
    assert {receipt.signed for receipt in setup.webhooks.received} == {True}


@pytest.mark.parametrize("channel", ["webhook", "email"])
async def test_killed_between_sending_and_recording_it_repeats_only_what_was_under_way(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor, note_repeats: Note, channel: str
) -> None:
    """kill -9 when the message has arrived and its answer is on the way; repeats carry the same id."""
    slowly(setup)
    dispatcher = start()
    receiver: Any = setup.mails if channel == "email" else setup.webhooks
    answer, killed_at = receiver.answer, COUNT // 2

    async def kill_on_the_way(receipt: Receipt) -> Any:
        if len(receiver.received) == killed_at:
            dispatcher.kill()
        return await answer(receipt)

    receiver.answer = kill_on_the_way
    await publish_both(setup)
    await wait_for(lambda: not dispatcher.running, TIMEOUT_S, "the receiver to kill the dispatcher")
    dispatcher.start()
    await all_sent(setup, 2 * COUNT, wait_for)

    received = setup.received()
    assert set(received) == ids(setup)
    repeats = doubled(received)
    webhooks, mails = (sum(name in id for id in repeats) for name in ("webhook", "email"))
    note_repeats("webhook, the same webhook-id", COUNT, webhooks)
    note_repeats("email, the same Message-ID", COUNT, mails)
    # whoever gets a webhook twice knows it by its id, so there may be more of them under way than of mails
    assert webhooks <= LANE_TURNS_MAX
    assert mails <= LANE_ATTEMPTS_MAX
    assert repeats
    assert set(repeats.values()) == {2}
    # it counts what may have been sent: what it took and never sent is among it
    assert len(repeats) <= dispatcher.metric("tidegate_deliveries_in_doubt_total") <= LANE_TURNS_MAX + LANE_ATTEMPTS_MAX


async def test_redis_away_for_ten_seconds_repeats_and_loses_nothing(
    setup: Setup, own_redis: Any, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    slowly(setup)
    dispatcher = start()
    await publish_both(setup)
    await wait_for(lambda: len(setup.received()) > COUNT // 2, TIMEOUT_S, "some messages")
    await asyncio.to_thread(own_redis.kill)
    away_s = now_s()
    await wait_for(lambda: dispatcher.get("/readyz") == (503, "redis is away\n"), TIMEOUT_S, "/readyz to say so")
    meanwhile = len(setup.received())
    await asyncio.sleep(10 - (now_s() - away_s))  # this is the outage, not a synchronisation
    assert len(setup.received()) - meanwhile <= 2 * LANE_ATTEMPTS_MAX
    assert dispatcher.metric("tidegate_ledger_away") == 1
    await asyncio.to_thread(own_redis.start)
    await all_sent(setup, 2 * COUNT, wait_for)

    assert set(setup.received()) == ids(setup)
    assert doubled(setup.received()) == {}
    assert dispatcher.ready()
    assert dispatcher.text().count("redis is away, nothing is sent until that is over") == 1


async def test_redis_restarted_empty_in_the_middle_repeats_and_loses_nothing(
    setup: Setup, own_redis: Any, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    """The ledger is rebuilt from the outcomes before anything more is sent."""
    slowly(setup)
    dispatcher = start()
    await publish_both(setup)
    await wait_for(lambda: len(setup.received()) > COUNT // 2, TIMEOUT_S, "some messages")
    await asyncio.to_thread(own_redis.restart, empty=True)
    await all_sent(setup, 2 * COUNT, wait_for)
    # what was sent before is known now: the same records again are no new deliveries
    await publish_both(setup)
    await setup.publish(setup.make(1, start=COUNT))
    await wait_for(lambda: len(setup.received()) == 2 * COUNT + 1, TIMEOUT_S, "the delivery behind the repeated ones")

    assert doubled(setup.received()) == {}
    assert dispatcher.metric("tidegate_ledger_rebuilds_total") == 1


async def test_redis_flushed_while_connected_is_noticed(
    setup: Setup, own_redis: Any, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    """No connection breaks; the epoch alone tells."""
    import redis.asyncio as redis

    slowly(setup)
    dispatcher = start()
    await publish_both(setup)
    await wait_for(lambda: len(setup.received()) > COUNT // 2, TIMEOUT_S, "some messages")
    async with redis.Redis.from_url(own_redis.url) as client:
        await client.flushall()
    await all_sent(setup, 2 * COUNT, wait_for)

    assert doubled(setup.received()) == {}
    assert dispatcher.metric("tidegate_ledger_rebuilds_total") == 1


async def test_dispatchers_that_come_and_go_share_the_work_without_repeating_it(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    slowly(setup)
    first = start("first")
    await publish_both(setup)
    await wait_for(lambda: len(setup.received()) > COUNT // 4, TIMEOUT_S, "some messages")
    second = start("second")
    await wait_for(lambda: "dispatching partitions" in second.text(), TIMEOUT_S, "the second to get partitions")
    assert await asyncio.to_thread(first.stop) == 0
    await all_sent(setup, 2 * COUNT, wait_for)

    assert set(setup.received()) == ids(setup)
    assert doubled(setup.received()) == {}


async def test_a_pause_works_at_once_outlives_a_restart_and_loses_nothing(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    dispatcher = start()
    await wait_for(dispatcher.ready, TIMEOUT_S, "the dispatcher to be ready")
    status, _, said = await asyncio.to_thread(command, setup, "deliveries", "pause", "--channel", "email")
    assert (status, "paused: channel email, since" in said) == (0, True)
    status, listed, _ = await asyncio.to_thread(command, setup, "segments", "list", "--json")
    assert (status, "mail" in listed) == (0, True), "a pause stands in the topic of definitions, and disturbs none"
    await publish_both(setup)

    async def held() -> bool:
        return (await setup.statuses()) == {"sent": COUNT, "waiting": COUNT}

    await wait_for(held, TIMEOUT_S, "webhooks sent and mails waiting")
    assert dispatcher.stop() == 0
    dispatcher.start()
    await wait_for(dispatcher.ready, TIMEOUT_S, "the dispatcher to be ready again")
    await setup.publish(setup.make(1, start=COUNT))
    await wait_for(lambda: len(setup.webhooks.received) == COUNT + 1, TIMEOUT_S, "the other channel to go on")
    assert setup.mails.received == []

    await asyncio.to_thread(command, setup, "deliveries", "resume", "--channel", "email")
    await all_sent(setup, 2 * COUNT + 1, wait_for)
    assert doubled(setup.received()) == {}


async def test_a_refused_delivery_fails_and_is_sent_again_when_a_person_asks(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    setup.webhooks.answer = lambda receipt: (410, {})
    start()
    (delivery,) = setup.make(1)
    await setup.publish([delivery])

    async def stands(status: str) -> bool:
        return (await setup.statuses()) == {status: 1}

    await wait_for(lambda: stands("failed"), TIMEOUT_S, "the delivery to fail")
    setup.webhooks.answer = lambda receipt: (204, {})
    status, _, said = await asyncio.to_thread(command, setup, "deliveries", "retry", delivery.id)
    assert (status, said) == (0, f"{delivery.id} is queued again, for the first time\n")
    await wait_for(lambda: stands("sent"), TIMEOUT_S, "the delivery to be sent")

    assert setup.received() == {delivery.id: 2}
    found = await setup.outcomes(delivery.id)
    assert [(each.status, each.retry, each.attempts) for each in found] == [("failed", 0, 1), ("sent", 1, 1)]
    status, listed, _ = await asyncio.to_thread(command, setup, "deliveries", "list", "--status", "sent", "--json")
    assert (status, [each["id"] for each in json.loads(listed)]) == (0, [delivery.id])
    status, shown, _ = await asyncio.to_thread(command, setup, "deliveries", "show", delivery.id, "--json")
    assert (status, json.loads(shown)["outcomes"][0]["reason"]) == (0, "expected 2xx, got 410")
    status, _, said = await asyncio.to_thread(command, setup, "deliveries", "retry", delivery.id)
    assert status == 2
    assert "expected one that failed, got one that is sent" in said


async def test_a_receiver_that_is_down_for_a_while_gets_it_later_and_holds_up_nobody(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    """Its attempts wait in Redis; mails that come behind go out meanwhile."""
    down, count = True, 30  # so few that none is unlucky in all its waits
    setup.webhooks.answer = lambda receipt: (503, {}) if down else (204, {})
    start()
    await setup.projected()
    await setup.publish([*setup.make(count), *setup.make(count, "email")])
    await wait_for(lambda: len(setup.mails.received) == count, TIMEOUT_S, "the mails behind the webhooks")
    down = False
    await all_sent(setup, 2 * count, wait_for)

    found = await setup.outcomes(setup.make(1)[0].id)
    assert [each.status for each in found] == ["waiting"] * (len(found) - 1) + ["sent"]
    assert len(found) >= 2


async def test_a_record_that_is_no_delivery_is_put_aside(
    setup: Setup, start: Callable[..., Dispatching], wait_for: WaitFor
) -> None:
    import msgspec

    class NoDelivery(msgspec.Struct):
        contact: str = "c-0"

    await setup.publish([NoDelivery(), *setup.make(1)])  # type: ignore[list-item]
    dispatcher = start()
    await wait_for(lambda: len(setup.received()) == 1, TIMEOUT_S, "the delivery behind it")

    assert dispatcher.metric("tidegate_deliveries_unreadable_total") == 1
    status, shown, _ = await asyncio.to_thread(
        command, setup, "tail", "rejected", "--from-beginning", "--until-idle", "1s", "--envelope"
    )
    assert (status, "expected a delivery, got something else" in shown) == (0, True)


async def test_the_broker_away_for_ten_seconds_repeats_and_loses_nothing(
    services_module: ModuleType,
    own_redis: Any,
    prefix: str,
    tmp_path: Path,
    wait_for: WaitFor,
) -> None:
    """What was sent as it went waits to be written down, in the process that sent it."""
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        setup = Setup(kafka.address, own_redis.url, prefix, tmp_path)
        await setup.start()
        slowly(setup)
        await publish_both(setup)
        dispatcher = setup.dispatcher()
        try:
            await wait_for(lambda: len(setup.received()) > COUNT // 2, TIMEOUT_S, "some messages")
            await asyncio.to_thread(kafka.kill)
            await asyncio.sleep(10)  # this is the outage, not a synchronisation
            meanwhile = len(setup.received())
            assert meanwhile < 2 * COUNT
            await asyncio.to_thread(kafka.start)
            await all_sent(setup, 2 * COUNT, wait_for)

            assert set(setup.received()) == ids(setup)
            assert doubled(setup.received()) == {}
            assert dispatcher.stop() == 0
        finally:
            if dispatcher.running:
                dispatcher.kill()
            await setup.stop()
