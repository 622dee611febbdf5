"""The gateway on a real broker: what it answers with 200 is in Kafka, whatever happens to it, to Kafka, or to whoever sends."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from gateway_runs import KEY, GatewayRun, Senders
from worker_runs import run_command

from schemas.topics import source_of
from streams.rejected import Wanted
from streams.replay import replay, survey

pytestmark = pytest.mark.kafka

TIMEOUT_S = 30
KILLS = 3
CONNECTIONS = 10_500
WaitFor = Callable[..., Awaitable[Any]]


@pytest.fixture
def make_run(broker: str, prefix: str, tmp_path: Path) -> Iterator[Callable[..., GatewayRun]]:
    """A function that makes a `GatewayRun`, which ends with the test."""
    made: list[GatewayRun] = []

    def make(on: str = broker, **changes: str) -> GatewayRun:
        made.append(GatewayRun(on, prefix, tmp_path, **changes))
        return made[-1]

    yield make
    for run in made:
        run.close()


@pytest.fixture
async def run(make_run: Callable[..., GatewayRun], wait_for: WaitFor) -> GatewayRun:
    """A gateway that takes events."""
    made = make_run()
    made.make_topics()
    made.start()
    await wait_for(made.ready, TIMEOUT_S, "a gateway that takes events")
    return made


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """With the write key."""
    async with aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(KEY, "")}) as made:
        yield made


async def post(client: aiohttp.ClientSession, run: GatewayRun, path: str, body: Any) -> int:
    async with client.post(f"{run.url}{path}", data=orjson.dumps(body)) as answer:
        await answer.read()
        return answer.status


async def more(senders: Senders, wait_for: WaitFor) -> None:
    """Returns when a thousand events more are acknowledged."""
    before = len(senders.acknowledged)
    await wait_for(lambda: len(senders.acknowledged) > before + 1000, 2 * TIMEOUT_S, "a thousand events more")


async def test_events_are_in_the_right_topic_and_partition_when_they_are_answered_and_in_order(
    run: GatewayRun, client: aiohttp.ClientSession
) -> None:
    names = ("Signed Up", "Order Completed", "Email Opened")
    batch = [
        {"type": "track", "userId": f"c-ü{n % 7}", "event": names[n % 3], "messageId": f"m-{n}"} for n in range(300)
    ]
    for start in range(0, 300, 30):
        assert 200 == await post(client, run, "/v1/batch", {"batch": batch[start : start + 30]})
    found = run.events()

    assert sorted(event["messageId"] for event in batch) == sorted(event["messageId"] for _, _, event in found)
    order: dict[tuple[str, str], list[int]] = defaultdict(list)
    for topic, record, event in found:
        assert (source_of(event["event"]).name, run.partition(event["userId"])) == (topic, record.partition)
        assert event["userId"].encode() == record.key
        order[topic, event["userId"]].append(int(event["messageId"][2:]))
    assert all(each == sorted(each) for each in order.values())
    assert 300 == run.metric('tidegate_gateway_events_total{connection="website",outcome="taken"}')


async def test_what_can_not_be_taken_is_shown_by_the_command_and_replay_says_why_it_leaves_it(
    run: GatewayRun, client: aiohttp.ClientSession
) -> None:
    assert 200 == await post(
        client, run, "/v1/batch", {"batch": [{"type": "track", "userId": "ada"}, {"type": "page"}]}
    )
    run_command(run.environment, "rejected", "list")
    run_command(run.environment, "rejected", "show")
    by_key = {record.key: record for record in run.rejected()}

    assert {b"ada", None} == set(by_key)
    assert run.partition("ada") == by_key[b"ada"].partition
    assert {"type": "track", "userId": "ada"} == orjson.loads(by_key[b"ada"].value or b"")
    wanted = Wanted()
    done = await replay(run.settings, wanted, await survey(run.settings, wanted), 0)
    assert (0, 2) == (done.records, done.left.total())
    assert all("gateway" in why for why in done.left)


async def test_a_kill_loses_nothing_that_was_acknowledged(run: GatewayRun, wait_for: WaitFor) -> None:
    async with Senders(run) as senders:
        for _ in range(KILLS):
            await more(senders, wait_for)
            run.process.kill()
            run.start()
            await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events again")
        await senders.stop()
    there = {event["messageId"] for _, _, event in run.events()}

    print(f"{KILLS} kills, {len(senders.acknowledged)} events acknowledged, answers {dict(senders.answers)}")
    assert senders.answers[0], "nobody was interrupted"
    assert set() == set(senders.acknowledged) - there
    assert there <= senders.sent


async def test_sigterm_answers_all_that_came_and_ends_within_ten_seconds(run: GatewayRun, wait_for: WaitFor) -> None:
    async with Senders(run) as senders:
        await more(senders, wait_for)
        began_s = time.monotonic()
        run.process.send(signal.SIGTERM)
        status = await asyncio.to_thread(run.process.wait)
        took_s = time.monotonic() - began_s
        senders._stopping = True
    there = [event["messageId"] for _, _, event in run.events()]

    assert 0 == status, run.process.text()[-2000:]
    assert took_s < 10
    assert set() == set(senders.acknowledged) - set(there)
    assert {200, 0} >= set(senders.answers)
    assert "Traceback" not in run.process.text()


async def test_sigterm_while_kafka_is_away_ends_it_in_time_too(
    services_module: Any, make_run: Callable[..., GatewayRun], tmp_path: Path, wait_for: WaitFor
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        run = make_run(kafka.address)
        run.make_topics()
        run.start()
        await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events")
        async with Senders(run) as senders:
            await more(senders, wait_for)
            kafka.pause()
            await wait_for(
                lambda: run.metric("tidegate_gateway_bytes ") > 1000, TIMEOUT_S, "events that wait for Kafka"
            )
            began_s = time.monotonic()
            run.process.send(signal.SIGTERM)
            status = await asyncio.to_thread(run.process.wait)
            took_s = time.monotonic() - began_s
        kafka.resume()
        there = {event["messageId"] for _, _, event in run.events()}
    assert 0 == status, run.process.text()[-2000:]
    assert took_s < 10
    assert set() == set(senders.acknowledged) - there
    assert "Traceback" not in run.process.text()


async def test_without_topics_it_starts_says_so_and_goes_on_once_they_are_there(
    make_run: Callable[..., GatewayRun], client: aiohttp.ClientSession, wait_for: WaitFor
) -> None:
    run = make_run()
    run.start()
    await wait_for(lambda: run.url and "tidegate topics create" in run.readiness()[1], TIMEOUT_S, "what is missing")
    assert 503 == run.readiness()[0]
    assert 503 == await post(client, run, "/v1/track", {"userId": "ada", "event": "x"})
    assert 1 == run.metric("tidegate_gateway_unavailable ")

    run.make_topics()
    await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events")
    assert 200 == await post(client, run, "/v1/track", {"userId": "ada", "event": "x"})
    assert 1 == len(run.events())


async def test_kafka_is_away_for_a_while_nobody_is_lost_and_memory_has_a_bound(
    services_module: Any, make_run: Callable[..., GatewayRun], tmp_path: Path, wait_for: WaitFor
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        run = make_run(kafka.address, gateway_bytes="4194304")
        run.make_topics()
        run.start()
        await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events")
        async with Senders(run, count=40, events=1000) as senders:
            await more(senders, wait_for)
            kafka.pause()
            await wait_for(
                lambda: senders.answers[429] and senders.answers[503], TIMEOUT_S, "answers that say to come again"
            )
            assert 503 == run.readiness()[0]
            assert run.metric("tidegate_gateway_bytes ") <= 4 << 20
            resident = run.metric("process_resident_memory_bytes")
            kafka.resume()
            await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events again")
            await more(senders, wait_for)
            await senders.stop()
        there = {event["messageId"] for _, _, event in run.events()}
    print(f"{len(senders.acknowledged)} acknowledged, answers {dict(senders.answers)}, {resident / 1e6:.0f} MB")
    assert resident < 300e6
    assert set() == set(senders.acknowledged) - there


async def test_kafka_starts_again_under_load_and_nothing_acknowledged_is_lost(
    services_module: Any, make_run: Callable[..., GatewayRun], tmp_path: Path, wait_for: WaitFor
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        run = make_run(kafka.address)
        run.make_topics()
        run.start()
        await wait_for(run.ready, TIMEOUT_S, "a gateway that takes events")
        async with Senders(run) as senders:
            await more(senders, wait_for)
            kafka.stop()
            await asyncio.to_thread(kafka.start)
            await more(senders, wait_for)
            await senders.stop()
        there = {event["messageId"] for _, _, event in run.events()}
    assert set() == set(senders.acknowledged) - there


async def test_ten_thousand_connections_that_say_nothing_are_hung_up_on_and_cost_little(
    run: GatewayRun, client: aiohttp.ClientSession, wait_for: WaitFor
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1000:
        pytest.skip(f"no more than {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = run.metric("process_resident_memory_bytes")
    opened = [
        await asyncio.open_connection(*str(run.url).removeprefix("http://").split(":")) for _ in range(CONNECTIONS)
    ]
    try:
        for _, writer in opened:
            writer.write(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
        await wait_for(lambda: run.metric("tidegate_gateway_open_connections ") > 9_000, TIMEOUT_S, "nine thousand")
        assert run.metric("tidegate_gateway_open_connections ") <= 10_000
        assert run.ready()
        assert run.metric("process_resident_memory_bytes") - before < 150e6
        await wait_for(
            lambda: run.metric("tidegate_gateway_open_connections ") == 0, TIMEOUT_S, "them to be hung up on"
        )
        assert 200 == await post(client, run, "/v1/track", {"userId": "ada", "event": "x"})
    finally:
        for _, writer in opened:
            writer.transport.abort()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_worker_reads_what_the_gateway_wrote(
    make_stage: Callable[..., Any],
    make_run: Callable[..., GatewayRun],
    client: aiohttp.ClientSession,
    wait_for: WaitFor,
) -> None:
    stage = make_stage(clock="wall")
    run = make_run()
    run.start()
    worker = stage.worker("one")
    await wait_for(lambda: run.ready() and worker.ready(), 2 * TIMEOUT_S, "a gateway and a worker")
    batch = [{"type": "identify", "userId": f"c-{n}", "traits": {"plan": "trial"}} for n in range(50)]
    assert 200 == await post(client, run, "/v1/batch", {"batch": batch})
    await wait_for(
        lambda: worker.metric("tidegate_events_taken_total") >= 50, TIMEOUT_S, "50 events read by the worker"
    )
    assert [] == run.rejected()
