"""What channels and pages do on a real broker: records to a topic of the user's, the event of one click, in-app reading."""

from __future__ import annotations

import asyncio
import collections
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
from aiohttp import web
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from dispatcher_runs import PARTITIONS, Dispatching, Setup

from actions import load_rules
from actions.inapp import Inbox
from actions.kafka import KafkaSender
from actions.lanes import LANE_ATTEMPTS_MAX, LANE_TURNS_MAX
from actions.registry import SPECS
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Channel
from schemas.topics import EVENTS_EMAIL, partition_of
from streams.definitions import commit, read_in_force
from streams.revisions import revise
from streams.topic_writer import TopicWriter
from tests.channel_stages import LOGIN, RULES, SLACK_PATH, WRITE_KEY, HttpStage, KafkaStage, Stage

pytestmark = pytest.mark.kafka

WaitFor = Callable[..., Awaitable[Any]]
TIMEOUT_S = 60
COUNT = 60
KEY, TOKEN = "a key of ours that nobody guesses", "a token that only the product knows"
PUBLIC_URL = "https://shop.example/mail"


@pytest.fixture
async def topic(broker: str, prefix: str) -> str:
    """A topic of the user's."""
    name = f"crm-{prefix.strip('.')}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1)])
    await admin.close()
    return name


@pytest.fixture
async def writer(setup: Setup) -> AsyncIterator[TopicWriter]:
    made = TopicWriter(setup.settings)
    yield made
    await made.stop()


async def read(broker: str, topic: str, count: int, wait_for: WaitFor) -> list[ConsumerRecord]:
    """The first `count` records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    found: list[ConsumerRecord] = []

    async def enough() -> bool:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found.extend(records)
        return len(found) >= count

    try:
        await wait_for(enough, TIMEOUT_S, f"{count} records in {topic}")
    finally:
        await consumer.stop()
    return found


async def test_a_record_has_the_contact_as_its_key_and_the_same_id_in_each_attempt(
    broker: str, topic: str, writer: TopicWriter, prefix: str, wait_for: WaitFor
) -> None:
    """On the partition of the contact, as every other client of Kafka would choose it."""
    stage = KafkaStage()
    sender = KafkaSender(writer.publish, prefix)
    stage.target = topic
    for contact in ("c-1", "c-2", "c-1"):
        assert (await sender.send(stage.delivery("d" * 32, contact=contact), stage.rule)).code is None
    records = await read(broker, topic, 3, wait_for)

    assert sorted(record.key for record in records) == [b"c-1", b"c-1", b"c-2"]
    for record in records:
        assert record.partition == partition_of(record.key, 3)
        assert dict(record.headers) == {"delivery_id": b"d" * 32, "content-type": b"application/json"}
        body = json.loads(record.value)
        assert (body["type"], body["data"]["contact"]) == ("segment.entered", record.key.decode())


async def test_a_record_that_no_topic_takes_is_final_and_the_next_one_is_written(
    broker: str, topic: str, writer: TopicWriter, prefix: str, wait_for: WaitFor
) -> None:
    stage = KafkaStage()
    stage.target = topic
    sender = KafkaSender(writer.publish, prefix)
    long = await sender.send(stage.delivery(name="x" * 2_000_000), stage.rule)
    short = await sender.send(stage.delivery("e" * 32), stage.rule)

    assert (long.code, long.again) == ("refused", False)
    assert "MessageSizeTooLarge" in str(long.reason)
    assert short.code is None
    assert len(await read(broker, topic, 1, wait_for)) == 1


async def test_a_topic_that_is_not_there_is_not_made_and_waited_for(
    broker: str, writer: TopicWriter, prefix: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may come; a client that was told of it would fill the log with asking for it."""
    stage = KafkaStage()
    stage.target = topic + "-mistyped"
    sender = KafkaSender(writer.publish, prefix)
    result = await sender.send(stage.delivery(), stage.rule)
    stage.target = topic
    after = await sender.send(stage.delivery("e" * 32), stage.rule)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    there = await admin.list_topics()
    await admin.close()

    assert (result.code, result.again, after.code) == ("retry", True, None)
    assert "no topic of that name" in str(result.reason)
    assert topic + "-mistyped" not in there
    assert "mistyped" not in caplog.text


@pytest.mark.parametrize("name", ["events.email", "state", "anything"])
async def test_no_topic_of_ours_is_ever_written_to(writer: TopicWriter, prefix: str, name: str) -> None:
    """An event that a rule makes by itself would have to be a sequence's: there loops are refused."""
    stage = KafkaStage()
    stage.target = prefix + name
    result = await KafkaSender(writer.publish, prefix).send(stage.delivery(), stage.rule)

    assert (result.code, result.again) == ("refused", False)
    assert "which is one of ours by its prefix" in str(result.reason)


def ask(method: str, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_one_click_is_an_event_in_kafka_and_in_app_messages_are_read_with_the_token(
    setup: Setup, broker: str, redis_url: str, prefix: str, tmp_path: Path, wait_for: WaitFor
) -> None:
    own = {"PUBLIC_URL": PUBLIC_URL, "SECRET_UNSUBSCRIBE": KEY, "SECRET_INAPP": TOKEN}
    environment = setup.environment | {f"TIDEGATE_{name}": value for name, value in own.items()}
    client = redis.Redis.from_url(redis_url)
    await Inbox(client, prefix).add("c-7", "d1", {"id": "d1", "text": "hello"})
    await client.aclose()
    dispatcher = Dispatching("dispatcher", environment, tmp_path / "dispatcher.log")
    try:
        await wait_for(lambda: "http://127" in dispatcher.text(), TIMEOUT_S, "the dispatcher to listen")
        base = "http://" + dispatcher.text().split("http://")[1].split("/")[0]
        link = UnsubscribeLinks(base, KEY).url("c-7", "promo", "d1")
        looked, _ = await asyncio.to_thread(ask, "GET", link)
        forged, _ = await asyncio.to_thread(ask, "POST", link[:-3])
        clicked, _ = await asyncio.to_thread(ask, "POST", link)
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        read_status, messages = await asyncio.to_thread(ask, "GET", f"{base}/v1/inapp/c-7", bearer)
        stranger, _ = await asyncio.to_thread(ask, "GET", f"{base}/v1/inapp/c-7")
        (event,) = await read(broker, setup.settings.topic(EVENTS_EMAIL.name), 1, wait_for)

        assert (looked, forged, clicked, read_status, stranger) == (200, 404, 200, 200, 401)
        assert (event.key, event.partition) == (b"c-7", partition_of(b"c-7", PARTITIONS))
        assert json.loads(event.value)["event"] == "Unsubscribed"
        assert [message["text"] for message in json.loads(messages)["messages"]] == ["hello"]
        assert KEY not in dispatcher.text() and TOKEN not in dispatcher.text()
        assert dispatcher.stop() == 0
    finally:
        if dispatcher.running:
            dispatcher.kill()


class Services:
    """Slack, the SMS API and Segment's on one port: what arrived, by what tells messages apart; an answer takes a moment."""

    def __init__(self) -> None:
        self.arrived: collections.Counter[str] = collections.Counter()
        self.on_arrival: Callable[[], None] = lambda: None
        self.url = ""

    async def start(self) -> None:
        """Listens."""
        application = web.Application()
        application.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        is_slack = request.path == SLACK_PATH
        if request.path == "/v1/batch":
            text = (await request.json())["batch"][-1]["messageId"]
        else:
            text = (await request.json())["text"] if is_slack else (await request.post())["Body"]
        self.arrived[str(text)] += 1
        self.on_arrival()
        await asyncio.sleep(0.05)
        return web.Response(text="ok") if is_slack else web.json_response({"sid": "SM1"}, status=201)


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    made = Services()
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("channel", ["slack", "sms", "inapp", "kafka", "segment"])
async def test_killed_on_the_way_nothing_is_lost_and_what_arrives_twice_was_in_doubt(
    setup: Setup, services: Services, broker: str, redis_url: str, prefix: str, topic: str, tmp_path: Path,
    wait_for: WaitFor, note_repeats: Callable[[str, int, int], None], channel: Channel,
) -> None:  # fmt: skip
    """kill -9 in the middle. The in-app channel adds nothing twice; of the others the metric says how many may have come."""
    bodies = {("rule", rule.id): rule.body for rule in load_rules(RULES.replace("crm.messages", topic))}
    revised = revise(await read_in_force(setup.settings), bodies, (), 1_772_000_001_000)  # type: ignore[arg-type]
    assert revised is not None
    await commit(setup.settings, revised)
    stage = Stage() if channel in ("inapp", "kafka") else HttpStage(channel)
    stage.channel = channel
    targets = {"slack": "SALES", "sms": "+4930901820", "inapp": "inapp", "kafka": topic, "segment": services.url}
    stage.target = targets[channel]
    sent = [stage.delivery(f"{n:032}", f"N{n}", f"c-{n}") for n in range(COUNT)]
    own = {
        "SMS_URL": services.url,
        "SECRET_TWILIO": LOGIN,
        "SECRET_SALES": services.url + SLACK_PATH,
        "SECRET_CDP": WRITE_KEY,
    }
    environment = setup.environment | {f"TIDEGATE_{name}": value for name, value in own.items()}
    dispatcher = Dispatching("dispatcher", environment, tmp_path / "dispatcher.log")
    services.on_arrival = lambda: dispatcher.kill() if services.arrived.total() == COUNT // 2 else None
    try:
        await setup.projected()
        await setup.publish(sent)
        if channel in ("inapp", "kafka"):
            await wait_for(lambda: dispatcher.metric("tidegate_outcomes_total") > 0, TIMEOUT_S, "some outcomes")
            dispatcher.kill()
        await wait_for(lambda: not dispatcher.running, TIMEOUT_S, "the dispatcher to be killed")
        dispatcher.start()

        async def all_sent() -> bool:
            return (await setup.statuses()) == {"sent": COUNT}

        await wait_for(all_sent, TIMEOUT_S, f"{COUNT} deliveries sent")
        in_doubt = dispatcher.metric("tidegate_deliveries_in_doubt_total")
        arrived = await _arrived(channel, services, broker, redis_url, prefix, topic, wait_for)

        assert len(arrived) == COUNT
        doubled = {id for id, count in arrived.items() if count > 1}
        assert set(arrived.values()) <= {1, 2}
        note_repeats(f"{channel}, the same id" if SPECS[channel].tells_repeats else channel, COUNT, len(doubled))
        under_way_max = LANE_TURNS_MAX if SPECS[channel].tells_repeats else LANE_ATTEMPTS_MAX
        assert len(doubled) <= (0 if channel == "inapp" else in_doubt) <= under_way_max
        if channel in ("slack", "sms", "segment"):
            assert doubled, "expected the kill to come while a message was on the way"
    finally:
        if dispatcher.running:
            dispatcher.kill()


async def _arrived(
    channel: str, services: Services, broker: str, redis_url: str, prefix: str, topic: str, wait_for: WaitFor
) -> collections.Counter[str]:
    """How often each message arrived, by what tells it apart."""
    if channel == "kafka":
        records = await read(broker, topic, COUNT, wait_for)
        return collections.Counter(dict(record.headers)["delivery_id"].decode() for record in records)
    if channel != "inapp":
        return services.arrived
    client = redis.Redis.from_url(redis_url)
    inbox = Inbox(client, prefix)
    ids = [message["id"] for n in range(COUNT) for message in await inbox.read(f"c-{n}")]
    await client.aclose()
    return collections.Counter(ids)
