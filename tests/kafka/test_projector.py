"""The projector on a real broker and Redis: what is in the topics is what the checks are told, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import redis.asyncio as redis
from aiokafka import AIOKafkaProducer
from dispatcher_runs import PARTITIONS, ROOT, Setup

from actions.inapp import Inbox
from schemas.erasures import contact_hash
from schemas.topics import CONTACTS, EVENTS_EMAIL, MEMBERSHIPS, Topic, partition_of
from schemas.transitions import Consent, ContactRecord, MembershipRecord, membership_key
from streams import topics

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
AT = "2026-03-01T09:30:00.000Z"
LATER = "2026-03-02T09:30:00.000Z"
CONTACTS_MANY = 400
ROUNDS = 6
WaitFor = Callable[..., Awaitable[Any]]


@pytest.fixture
async def setup(broker: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(broker, redis_url, prefix, tmp_path)
    await topics.create(made.settings)
    yield made


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()


class Keys:
    """The read model as it is, by what its keys are about."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client, self.stem = client, f"{{{prefix}read}}:"

    async def contacts(self) -> dict[str, int | None]:
        """Revision of each contact; None of one that is gone."""
        found: dict[str, int | None] = {}
        async for key in self._client.scan_iter(match=f"{self.stem}contact:*", count=5_000):
            revision = await self._client.hget(key, "revision")
            found[key.decode().removeprefix(f"{self.stem}contact:")] = None if revision is None else int(revision)
        hashes = {contact_hash(id): id for id in (f"c-{n}" for n in range(CONTACTS_MANY))}
        async for key in self._client.scan_iter(match=f"{self.stem}gone:*", count=5_000):
            id = hashes[key.decode().rpartition(":")[2]]
            found[id] = -1 if id in found else None  # gone, and there: never, but while it is looked at
        return found

    async def members(self) -> dict[tuple[str, str], int]:
        """Revision of each membership, by contact and field."""
        found = {}
        async for key in self._client.scan_iter(match=f"{self.stem}memberships:*", count=5_000):
            for field, value in (await self._client.hgetall(key)).items():
                contact = key.decode().removeprefix(f"{self.stem}memberships:")
                found[contact, field.decode()] = orjson.loads(value)["revision"]
        return found

    async def throw_away(self) -> None:
        """As a Redis that was emptied: all at once, or a projector that has noticed writes what is deleted then."""
        await self._client.delete(*[key async for key in self._client.scan_iter(match=f"{self.stem}*", count=5_000)])

    async def suppressed(self) -> set[str]:
        """Addresses that no mail goes to, by their hashes."""
        stem = f"{self.stem}suppressed:"
        found = [key async for key in self._client.scan_iter(match=f"{stem}*", count=5_000)]
        return {key.decode().removeprefix(stem) for key in found if not (await self._client.get(key)).endswith(b" ")}


@pytest.fixture
def keys(client: redis.Redis, prefix: str) -> Keys:
    return Keys(client, prefix)


async def produce(setup: Setup, records: Iterable[tuple[Topic, str, bytes | None, bytes | None]]) -> None:
    """Records by topic, contact, key (None: the contact) and value, in one transaction, as a worker writes them."""
    producer = AIOKafkaProducer(bootstrap_servers=setup.settings.broker, transactional_id=f"{setup.settings.prefix}t")
    await producer.start()
    try:
        async with producer.transaction():
            for topic, contact, key, value in records:
                partition = partition_of(contact.encode(), PARTITIONS)
                name = setup.settings.topic(topic.name)
                await producer.send(name, value, contact.encode() if key is None else key, partition)
    finally:
        await producer.stop()


def contact(id: str, revision: int) -> tuple[Topic, str, None, bytes]:
    consent = {"promo": Consent(revision % 2 == 0, AT)}
    return CONTACTS, id, None, msgspec.json.encode(ContactRecord(id, {"n": revision}, AT, revision, consent=consent))


def membership(id: str, revision: int, key: str | None = None) -> tuple[Topic, str, bytes, bytes]:
    value = msgspec.json.encode(MembershipRecord(id, "cart", bool(revision % 2), AT, 1, 1, revision, key))
    return MEMBERSHIPS, id, membership_key(id, "cart", key), value


def erased(id: str) -> list[tuple[Topic, str, bytes | None, None]]:
    return [(CONTACTS, id, None, None), (MEMBERSHIPS, id, membership_key(id, "cart", None), None)]


def mail_event(id: str, name: str, at: str = AT, **properties: Any) -> tuple[Topic, str, None, bytes]:
    value = {"type": "track", "userId": id, "event": name, "timestamp": at, "properties": properties}
    return EVENTS_EMAIL, id, None, orjson.dumps(value)


async def test_what_the_topics_say_last_is_what_redis_has_and_erased_contacts_leave_it(
    setup: Setup, keys: Keys, client: redis.Redis, prefix: str, wait_for: WaitFor
) -> None:
    """And which addresses mail no longer goes to: a bounce for good, a complaint; not a soft bounce, nor one taken back."""
    projector = setup.projector()
    await wait_for(projector.ready, TIMEOUT_S, "a projector that is ready")
    await produce(setup, [contact(f"c-{n}", 1) for n in range(20)] + [membership("c-1", 1), membership("c-1", 2, "k")])
    inbox = Inbox(client, prefix)
    for id in ("c-0", "c-1"):
        await inbox.add(id, "d", {"text": "of this contact"})
    await produce(setup, [contact("c-0", 7), *erased("c-1")])
    await produce(
        setup,
        [
            mail_event("c-2", "Email Bounced", email="Two@home.example"),
            mail_event("c-3", "Email Marked as Spam", email="three@home.example"),
            mail_event("c-4", "Email Bounced", email="four@home.example", bounce_type="soft"),
            mail_event("c-5", "Email Bounced"),
            mail_event("c-6", "Email Opened", email="six@home.example"),
            mail_event("c-7", "Email Bounced", email="seven@home.example"),
            mail_event("c-8", "Email Unsuppressed", LATER, email="seven@home.example"),
        ],
    )
    expected = {f"c-{n}": 1 for n in range(20)} | {"c-0": 7, "c-1": None}
    await wait_for(lambda: _equal(keys.contacts, expected), TIMEOUT_S, "the contacts as they were written last")
    await wait_for(lambda: _equal(keys.members, {("c-1", "cart\nk"): 2}), TIMEOUT_S, "the one membership that is left")
    assert [len(await inbox.read(id)) for id in ("c-0", "c-1")] == [1, 0], "nor is there a message of who was erased"
    await wait_for(
        lambda: _equal(keys.suppressed, {contact_hash(f"{who}@home.example") for who in ("two", "three")}),
        TIMEOUT_S,
        "two addresses",
    )
    assert projector.metric("tidegate_projector_unnamed_bounces_total") == 1
    assert projector.stop() == 0


async def test_killed_anywhere_and_shared_out_anew_it_ends_with_what_was_written_last(
    setup: Setup, keys: Keys, wait_for: WaitFor
) -> None:
    """Two projectors, each killed again and again while records come; and Redis is emptied under them once."""
    drawn = random.Random(7)
    running = [setup.projector("one"), setup.projector("two")]
    last: dict[str, int | None] = {}
    members: dict[tuple[str, str], int] = {}
    for round_ in range(ROUNDS):
        records: list[Any] = []
        for _ in range(CONTACTS_MANY):
            id = f"c-{drawn.randrange(CONTACTS_MANY)}"
            revision = (last.get(id) or 0) + 1
            if drawn.random() < 0.05:
                records += erased(id)
                last[id] = None
                members.pop((id, "cart"), None)
            else:
                records += [contact(id, revision), membership(id, revision)]
                last[id] = members[id, "cart"] = revision
        await produce(setup, records)
        victim = running[round_ % 2]
        await asyncio.sleep(drawn.random())  # no synchronisation: anywhere is where it is to be killed
        if round_ == ROUNDS // 2:
            await keys.throw_away()
        else:
            victim.kill()
            victim.start()
    await wait_for(lambda: _equal(keys.contacts, last), TIMEOUT_S, "the contacts as they were written last")
    await wait_for(lambda: _equal(keys.members, members), TIMEOUT_S, "the memberships as they were written last")
    await wait_for(lambda: all(each.ready() for each in running), TIMEOUT_S, "both to say that it is whole")
    await keys.throw_away()
    await wait_for(lambda: _equal(keys.members, members), TIMEOUT_S, "all of it once more, with no record that comes")
    assert [each.stop() for each in running] == [0, 0]


async def test_a_rebuild_reads_all_of_it_anew_and_leaves_the_ledger_alone(
    setup: Setup, keys: Keys, client: redis.Redis, prefix: str, wait_for: WaitFor
) -> None:
    await produce(setup, [contact(f"c-{n}", 1) for n in range(20)])
    first = setup.projector("one")
    await wait_for(first.ready, TIMEOUT_S, "a projector that is ready")
    stray, ledger = f"{keys.stem}contact:nobody", f"{{{prefix}ledger}}:epoch"
    await client.hset(stray, "revision", 1)
    await client.set(ledger, "run")
    second = setup.projector("two", "--rebuild")
    await wait_for(second.ready, TIMEOUT_S, "a projector that has read everything")
    await wait_for(lambda: _equal(keys.contacts, {f"c-{n}": 1 for n in range(20)}), TIMEOUT_S, "the contacts alone")

    assert await client.get(ledger) == b"run"
    assert first.running
    assert "\x1b" not in second.text(), "a bar is for terminals"
    assert (first.stop(), second.stop()) == (0, 0)


async def test_while_another_throws_the_read_model_away_it_waits_and_calls_redis_there(
    setup: Setup, keys: Keys, client: redis.Redis, wait_for: WaitFor
) -> None:
    """Somebody is woken when Redis is away."""
    lock = f"{keys.stem}lock"
    await client.set(lock, "another", ex=60)
    projector = setup.projector()
    await wait_for(lambda: "thrown away" in projector.get("/readyz")[1], TIMEOUT_S, "it to say for what it waits")
    assert projector.metric("tidegate_projector_redis_away") == 0
    await client.delete(lock)
    await wait_for(projector.ready, TIMEOUT_S, "a projector that is ready")
    assert projector.stop() == 0


async def test_on_a_terminal_a_rebuild_shows_a_bar_and_its_log_above_it(setup: Setup) -> None:
    await produce(setup, [contact(f"c-{n}", 1) for n in range(20)])
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from streams.cli import main; main()", "projector", "--rebuild"),
        env={**os.environ, **setup.environment, "TERM": "xterm"}, cwd=ROOT, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = await asyncio.wait_for(asyncio.to_thread(_read_until, ours, b"is whole"), TIMEOUT_S)
        process.terminate()
        shown += await asyncio.wait_for(asyncio.to_thread(_read_until, ours, None), TIMEOUT_S)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        os.close(ours)
    assert "20 records \u2501" in re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", shown.decode())


def _read_until(terminal: int, word: bytes | None) -> bytes:
    """What a terminal is written until `word` is, or whoever writes has ended."""
    read = b""
    with contextlib.suppress(OSError):  # as it is said that nobody has the other end any more
        while word is None or word not in read:
            read += os.read(terminal, 4096)
    return read


async def _equal(ask: Callable[[], Awaitable[Any]], expected: Any) -> bool:
    return bool(await ask() == expected)
