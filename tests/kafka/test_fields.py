"""The catalogue of fields on a real broker and Redis: what events have is in it, whatever happens to projector and Redis."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis.asyncio as redis
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from dispatcher_runs import PARTITIONS, Dispatching, Setup, command

from actions.read_model import BeingRebuilt, Moved, ReadModel
from schemas.events import parse_event
from schemas.topics import EVENTS_BILLING, EVENTS_PRODUCT, Topic, partition_of
from streams import fields_store, topics
from streams.broker import admin
from streams.fields import Field, Gathered
from streams.fields_shown import Question, read_fields
from streams.fields_store import OTHER, FieldStore, Told

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
PART = "events.product/0"
MINUTE_MS = 60_000
WaitFor = Callable[..., Awaitable[Any]]


@pytest.fixture
async def setup(broker: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(broker, redis_url, prefix, tmp_path)
    await topics.create(made.settings)
    yield made
    await made.stop()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
def store(client: redis.Redis, prefix: str) -> FieldStore:
    return FieldStore(client, prefix)


class Sent:
    """Events into the source topics, and what must be in the catalogue of them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.expected: dict[Field, set[tuple[str, str]]] = {}

    async def __call__(self, events: Iterable[tuple[Topic, dict[str, Any]]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._setup.settings.broker)
        await producer.start()
        gathered = Gathered()
        for topic, fields in events:
            value, key = orjson.dumps({"timestamp": 1, **fields}), fields["userId"].encode()
            gathered.add(parse_event(value), topic.name, 1)
            await producer.send(self._setup.settings.topic(topic.name), value, key, partition_of(key, PARTITIONS))
        await producer.stop()
        for field, entry in gathered.entries():
            self.expected.setdefault(field, set()).update(entry.seen)


@pytest.fixture
def send(setup: Setup) -> Sent:
    return Sent(setup)


def identify(contact: str, source: str = "crm", **traits: Any) -> tuple[Topic, dict[str, Any]]:
    context = {"source": source}
    return EVENTS_PRODUCT, {"type": "identify", "userId": contact, "traits": traits, "context": context}


def track(contact: str, event: str, topic: Topic = EVENTS_BILLING, **properties: Any) -> tuple[Topic, dict[str, Any]]:
    return topic, {"type": "track", "userId": contact, "event": event, "properties": properties}


async def known(store: FieldStore) -> dict[Field, set[tuple[str, str]]]:
    """Each field with the sources and types it came in."""
    found = (await store.read()).fields
    return {each.field: {(source, kind) for source, by in each.sources.items() for kind in by} for each in found}


async def throw_away(client: redis.Redis, prefix: str) -> None:
    """As a Redis that was emptied."""
    await client.delete(*[key async for key in client.scan_iter(match=f"{{{prefix}read}}:*", count=5_000)])


async def told(setup: Setup, *arguments: str) -> Any:
    """What `tidegate fields --json` says."""
    status, said, _ = await asyncio.to_thread(command, setup, "fields", "--json", *arguments)
    assert status == 0
    return json.loads(said)


async def test_what_events_have_is_told_and_a_redis_that_was_emptied_is_filled_again(
    setup: Setup, store: FieldStore, send: Sent, client: redis.Redis, prefix: str, wait_for: WaitFor
) -> None:
    """By source and type; a record that is no event is passed over, and what is a conflict is said to be one."""
    await send([identify("c-1", plan="pro", address={"city": "Rome"}), identify("c-2", "shop", plan=7)])
    await send([track("c-1", "Order Completed", total=12.5), track("c-1", "Invoice Paid", paid_at="2026-03-01")])
    producer = AIOKafkaProducer(bootstrap_servers=setup.settings.broker)
    await producer.start()
    await producer.send(setup.settings.topic(EVENTS_PRODUCT.name), b"nonsense", b"c-1", 0)
    await producer.stop()
    setup.projector()

    for _ in range(2):
        await wait_for(lambda: _is(store, send.expected), TIMEOUT_S, "all fields in the catalogue")
        await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole")
        await throw_away(client, prefix)
    await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole again")

    found = await told(setup, "--conflicts")
    assert [(each["name"], sorted(each["types"])) for each in found["fields"]] == [("plan", ["number", "text"])]
    assert {each["source"]: list(each["types"]) for each in found["fields"][0]["sources"]} == {
        "crm": ["text"],
        "shop": ["number"],
    }
    found = await told(setup, "--event", "Order Completed")
    assert [(each["event"], each["name"], each["sample"]) for each in found["fields"]] == [
        ("Order Completed", "total", "12.5")
    ]
    assert found["whole"] is True
    assert len((await told(setup, "--traits", "--limit", "2"))["fields"]) == 2


async def test_the_api_says_the_same_as_the_command(
    setup: Setup, store: FieldStore, send: Sent, tmp_path: Path, wait_for: WaitFor
) -> None:
    """With the same choices."""
    await send([identify("c-1", plan="pro"), identify("c-2", "shop", plan=7), track("c-1", "Order Completed", total=1)])
    setup.projector()
    await wait_for(lambda: _is(store, send.expected), TIMEOUT_S, "all fields in the catalogue")
    token = "t" * 32
    api = Dispatching("api", {**setup.environment, "TIDEGATE_SECRET_API": token}, tmp_path / "api.log", "api")

    def get(path: str) -> Any:
        asked = urllib.request.Request(f"http://{api.address()}{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    try:
        await wait_for(lambda: asyncio.to_thread(api.ready), TIMEOUT_S, "an API that is ready")
        assert await asyncio.to_thread(get, "/v1/fields") == await told(setup)
        conflicts = await asyncio.to_thread(get, "/v1/fields?conflicts=true&source=shop")
        assert [each["name"] for each in conflicts["fields"]] == ["plan"]
        assert conflicts == await told(setup, "--conflicts", "--source", "shop")
    finally:
        assert await asyncio.to_thread(api.stop) == 0


async def test_a_definition_that_asks_for_what_no_event_had_is_warned_of(
    setup: Setup, store: FieldStore, send: Sent, tmp_path: Path, wait_for: WaitFor
) -> None:
    """By `tidegate check`, where TIDEGATE_REDIS says which catalogue."""
    await send([identify("c-1", plan="pro")])
    setup.projector()
    await wait_for(lambda: _is(store, send.expected), TIMEOUT_S, "all fields in the catalogue")
    await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole")
    file = tmp_path / "segments.yaml"
    file.write_text("segments: [{id: pro, when: {any: [{trait: plann, eq: pro}, {trait: plan, eq: pro}]}}]")
    status, said, warned = await asyncio.to_thread(command, setup, "check", str(file))
    assert (status, said) == (0, "1 segment: sound\n")
    assert len(warned.splitlines()) == 1
    assert "no event ever had the trait 'plann', did you mean 'plan' (seen from 1 source, last 2" in warned


async def test_killed_anywhere_and_shared_by_two_nothing_is_passed_over(
    setup: Setup, store: FieldStore, send: Sent, wait_for: WaitFor
) -> None:
    """Two projectors, one of them killed and started again while events come."""
    projectors = [setup.projector(f"projector-{n}") for n in range(2)]
    for round in range(4):
        await send(track(f"c-{n}", "Order Completed", **{f"p{round}-{n % 300}": n}) for n in range(3_000))
        projectors[round % 2].kill()
        projectors[round % 2].start()
    assert len(send.expected) == 1_200

    await wait_for(lambda: _is(store, send.expected), TIMEOUT_S, "all fields in the catalogue")
    await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole")


async def test_events_that_retention_removed_before_they_were_read_are_told(
    setup: Setup, store: FieldStore, send: Sent, wait_for: WaitFor
) -> None:
    """Nothing is passed over without a word."""
    await send([identify("c-1", plan="pro")])
    projector = setup.projector()
    await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole")
    await wait_for(lambda: _is(store, send.expected), TIMEOUT_S, "what came first")
    assert await asyncio.to_thread(projector.stop) == 0

    await send(identify("c-1", n=n) for n in range(5))
    topic, partition = setup.settings.topic(EVENTS_PRODUCT.name), partition_of(b"c-1", PARTITIONS)
    async with admin(setup.settings) as broker:
        await broker.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=6)})
    await send([identify("c-1", seen=True)])
    projector.start()
    await wait_for(lambda: _has(store, "seen"), TIMEOUT_S, "what came last")
    assert not await _has(store, "n")
    assert await asyncio.to_thread(projector.metric, "tidegate_fields_lost_events_total") == 5
    assert "the events 1 to 5 are gone before their fields were read" in projector.text()


async def test_a_sample_goes_with_its_contact_and_what_it_did_before_brings_none(
    setup: Setup, store: FieldStore, send: Sent, client: redis.Redis, prefix: str, wait_for: WaitFor
) -> None:
    """Of who is deleted nothing is in Redis, even where it is read anew; nor does a log line have it."""
    projector = setup.projector()
    await send([identify("c-1", email="ada@shop.example"), track("c-1", "Order Completed", card="4242")])
    email = Field("trait", "", "email")
    await wait_for(lambda: store.samples([email]), TIMEOUT_S, "a sample")
    await send([(EVENTS_PRODUCT, {"type": "delete", "userId": "c-1"}), identify("c-2", plan="pro")])
    plan = Field("trait", "", "plan")
    for _ in range(2):
        await wait_for(lambda: store.samples([plan]), TIMEOUT_S, "what came after the delete")
        await wait_for(lambda: _whole(store), TIMEOUT_S, "a catalogue that is whole")
        assert await store.samples(send.expected) == {plan: "pro"}
        await throw_away(client, prefix)

    await wait_for(lambda: store.samples([plan]), TIMEOUT_S, "the sample of who was not deleted")
    kept = [await client.get(key) async for key in client.scan_iter(match=f"{{{prefix}read}}:field-sample:*")]
    assert len(kept) == 1 and kept[0].endswith(b"pro") and b"c-2" not in kept[0]
    assert "ada@shop.example" not in projector.text()


# ---- the store alone ------------------------------------------------------------------------------------------------


def gathered(*events: tuple[Topic, dict[str, Any]], at_ms: int = 5) -> Gathered:
    made = Gathered()
    for topic, fields in events:
        made.add(parse_event(orjson.dumps({"timestamp": 1, **fields})), topic.name, at_ms)
    return made


async def test_events_are_written_once_from_where_redis_stands(store: FieldStore) -> None:
    """Whoever begins elsewhere writes nothing; the same once more changes nothing; the last minute is kept."""
    assert await store.begin([PART]) == {PART: 0}
    with pytest.raises(Moved):
        await store.apply({PART: (3, 5)}, gathered(identify("c-1", plan="pro")))
    assert not (await store.read()).fields

    await store.apply({PART: (0, 5)}, gathered(identify("c-1", plan="pro"), at_ms=9 * MINUTE_MS + 59_999))
    assert await store.begin([PART]) == {PART: 5}
    with pytest.raises(Moved):
        await store.apply({PART: (0, 5)}, gathered(identify("c-1", plan="pro"), at_ms=10 * MINUTE_MS))
    await store.apply({PART: (5, 6)}, gathered(identify("c-1", plan="free"), at_ms=7 * MINUTE_MS))
    assert (await store.read()).fields[0].sources == {"crm": {"text": 9 * MINUTE_MS}}


async def test_what_redis_was_told_it_is_told_again_only_in_another_minute_or_type(
    store: FieldStore, client: redis.Redis
) -> None:
    """Hundreds of fields a second would be gigabytes a day in its append-only file."""
    await store.begin([PART])
    told: Told = {}

    async def written(at: int, **traits: Any) -> dict[Field, dict[str, int]]:
        await client.delete(store._fields)  # so that it shows what it is told now
        await store.apply({PART: (at, at + 1)}, gathered(identify("c-1", **traits), at_ms=traits["n"]), told)
        return {each.field: dict(each.sources["crm"]) for each in (await store.read()).fields}

    plan, n = Field("trait", "", "plan"), Field("trait", "", "n")
    assert await written(0, n=5, plan="pro") == {plan: {"text": 0}, n: {"number": 0}}
    assert await written(1, n=6, plan="pro") == {}
    assert await written(2, n=7, plan=8) == {plan: {"number": 0}}
    assert await written(3, n=MINUTE_MS, plan=8) == {plan: {"number": MINUTE_MS}, n: {"number": MINUTE_MS}}


async def test_a_catalogue_that_is_thrown_away_is_not_written_to_meanwhile(
    store: FieldStore, client: redis.Redis, prefix: str
) -> None:
    """As `projector --rebuild` does it: it shares the read model's lock and its end."""
    await store.begin([PART])
    await store.apply({PART: (0, 1)}, gathered(identify("c-1", plan="pro")))
    await client.set(f"{{{prefix}read}}:lock", "x")
    with pytest.raises(BeingRebuilt):
        await store.apply({PART: (1, 2)}, gathered(identify("c-1", plan="pro")))
    await client.delete(f"{{{prefix}read}}:lock")
    assert await ReadModel(client, prefix).clear("token")
    assert [key async for key in client.scan_iter(match=f"{{{prefix}read}}:*")] == []


async def test_an_older_event_of_another_topic_brings_no_sample_of_who_was_deleted(store: FieldStore) -> None:
    """Topics are read one beside the other, so that a delete may come first; who comes back counts again."""
    await store.begin([PART])
    email = Field("trait", "", "email")
    deleted = (EVENTS_PRODUCT, {"type": "delete", "userId": "c-1"})
    await store.apply({PART: (0, 1)}, gathered(deleted, at_ms=8))
    await store.apply({PART: (1, 2)}, gathered(identify("c-1", email="old@shop.example"), at_ms=7))
    assert await store.samples([email]) == {}
    await store.apply({PART: (2, 3)}, gathered(identify("c-1", email="new@shop.example"), at_ms=9))
    assert await store.samples([email]) == {email: "new@shop.example"}
    await store.apply({PART: (3, 4)}, gathered(identify("c-2", email="other@shop.example"), at_ms=9))
    linked = (EVENTS_PRODUCT, {"type": "identify", "userId": "c-2", "anonymousId": "c-1"})
    await store.apply({PART: (4, 5)}, gathered(linked, at_ms=10))
    assert await store.samples([email]) == {}


async def test_samples_are_kept_for_a_week_at_most(store: FieldStore, client: redis.Redis, prefix: str) -> None:
    """And with them what says whose they are."""
    await store.begin([PART])
    await store.apply({PART: (0, 1)}, gathered(identify("c-1", plan="pro")))
    ages = [await client.pttl(key) async for key in client.scan_iter(match=f"{{{prefix}read}}:field-*:*")]
    assert len(ages) == 2 and all(0 < age <= 7 * 86_400_000 for age in ages)


async def test_what_is_over_is_counted_and_told_and_makes_the_catalogue_not_whole(
    store: FieldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 fields; of one 8 sources, and `other` for the rest."""
    monkeypatch.setattr(fields_store, "FIELDS_MAX", 100)
    await store.begin([PART])
    await store.filled(PART)
    many = gathered(*(identify("c-1", f"s{n % 20:02}", plan="pro", **{f"t{n}": n}) for n in range(120)))
    await store.apply({PART: (0, 5)}, many)
    found = await read_fields(store, Question(limit=10_000))
    assert found.found == 100
    assert found.left_out == pytest.approx(21, abs=2)
    assert not found.whole
    plan = next(each for each in found.fields if each.name == "plan")
    assert [each.source for each in plan.sources] == [OTHER, *(f"s{n:02}" for n in range(8))]


async def _is(store: FieldStore, expected: dict[Field, set[tuple[str, str]]]) -> bool:
    return await known(store) == expected


async def _has(store: FieldStore, trait: str) -> bool:
    return Field("trait", "", trait) in await known(store)


async def _whole(store: FieldStore) -> bool:
    return (await store.read()).whole
