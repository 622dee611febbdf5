"""A contact that is erased, through all that runs: nothing in Redis holds it, and after compaction no compacted topic does."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
import worker_runs as runs
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from dispatcher_runs import Dispatching, Setup, command

from schemas.erasures import contact_hash
from schemas.rejected import Reason, rejection_headers
from schemas.topics import TOPICS
from streams import topics
from streams.erasure import PIECE, erase

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
COMPACTED_S = 120
WaitFor = Callable[..., Awaitable[Any]]
ADA, MAIL = "ada-7f3c9e/ä", "Secret.Ada@home.example"
BOB = "bob-55aa"
COMPACTED = [topic.name for topic in TOPICS if topic.cleanup == "compact"]
# an hour of what a cleaner does in seconds; tombstones are kept as long
QUICK = {
    "segment.ms": "1000",
    "max.compaction.lag.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "1000",
}
DEFINITIONS = """
segments:
  - {id: pro, when: {trait: plan, eq: pro}}
  - {id: carts, per: cart_id, when: {event: Product Added}}
  - {id: vips, when: {listed: vip}}
  - {id: odd, when: {trait: odd, eq: true}}
rules:
  - {id: hook, on: {segment: pro}, channel: webhook, target: 'HOOK', secret: DEMO}
  - id: mail
    on: {segment: pro}
    channel: email
    target: {trait: email}
    template: {subject: "Hello {{ traits.name }}", text: "Hello"}
  - id: read
    on: {segment: pro}
    channel: inapp
    template: {subject: "Hello {{ traits.name }}", text: "Hello"}
  # nobody answers: it waits for another attempt, with all that is to be sent
  - {id: waits, on: {segment: pro}, channel: webhook, target: 'http://127.0.0.1:1/', secret: DEMO}
  - {id: held, on: {segment: carts}, channel: webhook, target: 'HOOK', secret: DEMO}
policies:
  - {id: gentle, caps: [{at_most: 100, within: 1d}]}
"""


@pytest.fixture
def own_broker(services_module: Any, tmp_path: Path) -> Iterator[str]:
    """A Kafka whose cleaner looks several times a second."""
    with services_module.Kafka(tmp_path / "kafka", {"log.cleaner.backoff.ms": "200"}) as kafka:
        yield kafka.address


@pytest.fixture
async def setup(own_broker: str, own_redis: Any, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(own_broker, own_redis.url, prefix, tmp_path)
    await made.webhooks.start()
    await made.mails.start()
    await topics.create(made.settings)
    _compact_soon(made)
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text(DEFINITIONS.replace("HOOK", made.webhooks.url))
    for arguments in (["segments", "apply", str(definitions)], ["deliveries", "pause", "--rule", "held"]):
        status, _, err = await asyncio.to_thread(command, made, *arguments)
        assert status == 0, err
    yield made
    await made.stop()


def _compact_soon(setup: Setup) -> None:
    """Has the topics compact within seconds, in place of a week."""
    client = AdminClient({"bootstrap.servers": setup.settings.broker})
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in QUICK.items()]
    changed = [
        ConfigResource(ResourceType.TOPIC, setup.settings.topic(name), incremental_configs=entries)
        for name in COMPACTED
    ]
    for future in client.incremental_alter_configs(changed).values():
        future.result(10)


async def in_redis(client: redis.Redis, *words: str) -> list[str]:
    """What holds one of `words`, in whatever case: key, or key and what is in it."""
    found = []
    wanted = [word.lower().encode() for word in words]
    async for key in client.scan_iter(count=1_000):
        held = b" ".join([key, *await _values(client, key)]).lower()
        # JSON may have what isn't ASCII either way
        if any(word in held or json.dumps(word.decode())[1:-1].encode() in held for word in wanted):
            found.append(key.decode())
    return sorted(found)


async def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    kind = (await client.type(key)).decode()
    if kind == "string":
        return [await client.get(key) or b""]
    if kind == "hash":
        return [part for pair in (await client.hgetall(key)).items() for part in pair]
    if kind == "set":
        return list(await client.smembers(key))
    if kind == "zset":
        return list(await client.zrange(key, 0, -1))
    assert kind in ("stream", "none"), f"{key!r} is a {kind}"
    return [part for _, fields in await client.xrange(key) for part in fields.values()] if kind == "stream" else []


def in_topic(setup: Setup, name: str, *words: str) -> list[str]:
    """Which records of a topic hold one of `words`, and where."""
    found = []
    for record in runs.committed(setup.settings, name):
        for part, held in (("key", record.key), ("value", record.value)):
            if held is not None and any(word.encode() in held for word in words):
                tombstone = " of a tombstone" if record.value is None else ""
                found.append(f"{name}, partition {record.partition}, offset {record.offset}: in the {part}{tombstone}")
    return found


async def test_an_erased_contact_is_gone_from_redis_and_after_compaction_from_every_compacted_topic(
    setup: Setup, own_redis: Any, tmp_path: Path, wait_for: WaitFor
) -> None:
    """By id and by address, in keys and in values; what others have stays, and the receipt names nobody."""
    environment = setup.environment | {"TIDEGATE_GRACE": "10ms", "TIDEGATE_SLACK": "10ms"}
    processes = {
        name: Dispatching(name, environment, tmp_path / f"{name}.log", name)
        for name in ("worker", "projector", "dispatcher")
    }
    client = redis.Redis.from_url(own_redis.url)
    sources = runs.Sources(setup.settings)
    try:
        for name, process in processes.items():
            await wait_for(process.ready, TIMEOUT_S, f"a {name} that is ready")
        for contact, address in ((ADA, MAIL), (BOB, "bob@home.example")):
            sources.send({"type": "list", "userId": contact, "list": "vip", "action": "added"})
            sources.send(
                {
                    "type": "track",
                    "event": "Product Added",
                    "userId": contact,
                    "properties": {"cart_id": f"{contact}-1"},
                }
            )
            traits = {"plan": "pro", "email": address, "name": contact}
            sources.send({"type": "identify", "userId": contact, "traits": traits})
        sources.flush()
        await wait_for(lambda: len(setup.mails.received) == 2, TIMEOUT_S, "two mails")
        for address in (MAIL, "bob@home.example"):
            sources.send(
                {"type": "track", "event": "Email Bounced", "userId": "desk", "properties": {"email": address.upper()}}
            )
        sources.flush()
        stems = (
            "contact:",
            "memberships:",
            "members:",
            "suppressed:",
            "inapp:",
            "inapp-ids:",
            "body:",
            "field-sample:",
        )

        async def everywhere() -> bool:
            keys = [key.decode() async for key in client.scan_iter(count=1_000)]
            held = await in_redis(client, ADA, MAIL)
            waiting = sum("body:" in key for key in held)
            suppressed = sum(":suppressed:" in key for key in keys)
            return waiting == 2 and suppressed == 2 and all(any(stem in key for key in keys) for stem in stems)

        await wait_for(
            everywhere, TIMEOUT_S, "the contact everywhere, one message for it held and one to be tried again"
        )
        before = await in_redis(client, BOB)

        status, out, err = await asyncio.to_thread(command, setup, "delete", ADA, "nobody-1", "--yes", "--json")
        assert status == 0, err
        erased, unknown = json.loads(out)
        assert (erased["what"], erased["hash"]) == ("erased", contact_hash(ADA))
        assert (unknown["what"], unknown["contact"]) == ("unknown", "nobody-1")
        receipts = runs.committed(setup.settings, "erasures")
        assert {record.key: record.json()["known"] for record in receipts} == {
            contact_hash(ADA).encode(): True,
            contact_hash("nobody-1").encode(): False,
        }
        assert not in_topic(setup, "erasures", ADA, MAIL, "nobody-1")

        async def left() -> list[str]:
            return await in_redis(client, ADA, MAIL)

        await _until_none(left, TIMEOUT_S, wait_for, "nothing of the contact in Redis")
        kept = await in_redis(client, BOB)
        assert [key for key in before if "sample" not in key and key not in kept] == []
        codes = [
            record.json().get("code")
            for record in runs.committed(setup.settings, "outcomes")
            if record.json()["contact"] == ADA and record.json()["status"] == "skipped"
        ]
        assert codes == ["gone", "gone"], "what was held and what was to be tried again"

        turns = itertools.cycle([True, False])

        async def left_in_topics() -> list[str]:
            # a segment of a log is closed by what comes after it
            odd = next(turns)
            for n in range(24):
                sources.send({"type": "identify", "userId": f"other-{n}", "traits": {"odd": odd}})
            sources.flush()
            found: list[str] = []
            for name in COMPACTED:
                found += await asyncio.to_thread(in_topic, setup, name, ADA, MAIL)
            return found

        await _until_none(left_in_topics, COMPACTED_S, wait_for, "nothing of the contact in compacted topics")
        assert in_topic(setup, "contacts", BOB), "others are there"
        assert await left() == []
    finally:
        await client.aclose()
        for process in processes.values():
            process.kill()


async def test_what_no_worker_takes_is_said_and_taken_when_there_is_one(
    make_stage: Callable[..., runs.Stage], wait_for: WaitFor
) -> None:
    """Nobody is told that a contact is gone who isn't; nor does anything have to be asked for twice."""
    stage = make_stage(clock="wall", grace="10ms", slack="10ms")
    (answer,) = await erase(stage.settings, [ADA], wait_s=0.5)
    assert (answer.what, answer.at) == ("waiting", None)

    stage.worker("a")

    def receipts() -> list[Any]:
        return [record.json()["known"] for record in runs.committed(stage.settings, "erasures")]

    await wait_for(receipts, TIMEOUT_S, "a receipt")
    assert receipts() == [False]
    many = [f"c-{n}" for n in range(PIECE + 3)]
    told: list[int] = []
    answers = await erase(stage.settings, many, wait_s=TIMEOUT_S, advance=told.append)
    assert [answer.contact for answer in answers] == many
    assert {answer.what for answer in answers} == {"unknown"}
    assert told == sorted(told) and told[-1] == len(many)


async def test_a_delete_that_a_worker_rejects_is_said_with_its_reason(
    broker: str, make_stage: Callable[..., runs.Stage], wait_for: WaitFor
) -> None:
    """Of a contact that is quarantined nothing is touched: it is not erased."""
    stage = make_stage(clock="wall")
    asked = asyncio.create_task(erase(stage.settings, [ADA, "other"], wait_s=3))

    def published() -> list[runs.Committed]:
        return [each for each in runs.committed(stage.settings, "events.product") if each.key == ADA.encode()]

    (delete,) = await wait_for(published, TIMEOUT_S, "the delete")
    producer = Producer({"bootstrap.servers": broker})
    place = (stage.settings.topic("events.product"), delete.partition, delete.offset)
    for value in (b'{"type": "track"}', delete.value):
        headers = rejection_headers(Reason.QUARANTINED, "expected the contact's state to be sound", *place, 0)
        producer.produce(stage.settings.topic("rejected"), value, delete.key, delete.partition, headers=headers)
    assert not producer.flush(10)

    rejected, waiting = await asked
    assert (rejected.what, rejected.why) == ("rejected", "quarantined: expected the contact's state to be sound")
    assert waiting.what == "waiting"


async def _until_none(look: Callable[[], Awaitable[list[str]]], timeout_s: float, wait_for: WaitFor, what: str) -> None:
    """Waits until `look` finds nothing; fails with what it found last."""
    found: list[str] = []

    async def none() -> bool:
        found[:] = await look()
        return not found

    try:
        await wait_for(none, timeout_s, what)
    except pytest.fail.Exception as error:
        raise AssertionError(f"{error}; left:\n" + "\n".join(found)) from None
