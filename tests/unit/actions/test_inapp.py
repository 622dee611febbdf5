"""In-app messages: added once, bounded, and read by whoever has the token."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from actions import load_rules
from actions.inapp import InAppSender, Inbox
from schemas.deliveries import Delivery
from streams.dispatcher_web import WebServer
from streams.inapp_web import InAppPages
from tests.channel_stages import KEY, LINKS, InAppStage

Get = Callable[..., Awaitable[tuple[int, Any]]]
RULE = """
rules:
  - id: nudge
    on: {segment: s}
    channel: inapp
    group: tips
    template: {subject: "{{ traits.name }}, look", text: "Connect {{ traits.what }} ({{ unsubscribe_url }})"}
"""
(rule,) = load_rules(RULE)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
def inbox(client: redis.Redis, prefix: str) -> Inbox:
    return Inbox(client, prefix)


@pytest.fixture
async def get(inbox: Inbox) -> AsyncIterator[Get]:
    """GET of a path with a token: status and body."""
    server = WebServer(CollectorRegistry(), lambda: None, lambda: None, InAppPages(inbox, KEY).routes())
    await server.start("127.0.0.1", 0)
    async with ClientSession() as session:

        async def ask(path: str, token: str | None = KEY) -> tuple[int, Any]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.get(f"http://127.0.0.1:{server.port}{path}", headers=headers) as answer:
                return answer.status, await answer.json()

        yield ask
    await server.stop()


def delivery(id: str, contact: str = "c-17") -> Delivery:
    plain = InAppStage("redis://127.0.0.1:1", "").delivery(id, contact=contact)
    return msgspec.structs.replace(plain, traits={"name": "Ada\n", "what": "Stripe"}, group="tips")


async def test_a_message_is_what_the_template_says_beside_what_a_webhook_has(inbox: Inbox, get: Get) -> None:
    await InAppSender(inbox, LINKS).send(delivery("d1"), rule)
    status, body = await get("/v1/inapp/c-17")

    (message,) = body["messages"]
    assert status == 200
    assert (message["id"], message["title"]) == ("d1", "Ada , look")
    assert message["text"] == f"Connect Stripe ({LINKS.url('c-17', 'tips', 'd1')})"
    assert (message["type"], message["data"]["contact"]) == ("segment.entered", "c-17")
    assert body["next"] == message["cursor"]


async def test_a_repeat_adds_nothing_whatever_came_between(inbox: Inbox) -> None:
    sender = InAppSender(inbox, LINKS)
    for id in ("d1", "d2", "d1", "d2", "d1"):
        assert (await sender.send(delivery(id), rule)).code is None

    assert [message["id"] for message in await inbox.read("c-17")] == ["d1", "d2"]


async def test_of_an_erased_contact_what_was_there_goes_and_what_came_later_stays(
    inbox: Inbox, client: redis.Redis, prefix: str
) -> None:
    for at_ms in (1_000, 2_000):
        await client.xadd(f"{prefix}inapp:c-17", {"message": b'{"id": "d"}'}, id=f"{at_ms}-0")
    await inbox.forget("c-17", 2_000)
    await inbox.forget("nobody", 2_000)

    assert [message["cursor"] for message in await inbox.read("c-17")] == ["2000-0"]


async def test_with_the_last_message_of_an_erased_contact_its_name_goes(
    inbox: Inbox, client: redis.Redis, prefix: str
) -> None:
    """It is in the keys."""
    await inbox.add("c-17", "d1", {"id": "d1"})
    await inbox.forget("c-17", 4_000_000_000_000)

    assert not await client.exists(f"{prefix}inapp:c-17", f"{prefix}inapp-ids:c-17")


async def test_a_repeat_adds_nothing_after_the_message_itself_has_gone(
    inbox: Inbox, client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is shorter than the memory of what was added: an old message must not come back as a new one."""
    monkeypatch.setattr("actions.inapp.MESSAGES_MAX", 2)
    monkeypatch.setattr("actions.inapp.IDS_MAX", 4)
    for n in range(4):
        assert await inbox.add("c-17", f"d{n}", {"id": f"d{n}"})
    assert not await inbox.add("c-17", "d0", {"id": "d0"})

    assert [message["id"] for message in await inbox.read("c-17")] == ["d2", "d3"]
    assert await client.zcard(f"{prefix}inapp-ids:c-17") == 4
    await inbox.add("c-17", "d4", {"id": "d4"})
    assert await client.zcard(f"{prefix}inapp-ids:c-17") == 4


async def test_both_keys_of_a_contact_end_with_its_last_message(inbox: Inbox, client: redis.Redis, prefix: str) -> None:
    await inbox.add("c-17", "d1", {"id": "d1"})

    for key in (f"{prefix}inapp:c-17", f"{prefix}inapp-ids:c-17"):
        assert 29 * 86_400_000 < await client.pttl(key) <= 30 * 86_400_000


async def test_reading_goes_on_where_it_was(inbox: Inbox, get: Get) -> None:
    for n in range(5):
        await inbox.add("c-17", f"d{n}", {"id": f"d{n}"})
    _, first = await get("/v1/inapp/c-17?limit=2")
    _, then = await get(f"/v1/inapp/c-17?after={first['next']}")
    _, last = await get(f"/v1/inapp/c-17?after={then['next']}")

    assert [message["id"] for message in first["messages"] + then["messages"]] == ["d0", "d1", "d2", "d3", "d4"]
    assert last == {"messages": [], "next": then["next"]}


@pytest.mark.parametrize("contact", ["a/b", "a b", "ü", "a:b", "..%2Fmetrics", "a%2fb"])
async def test_a_contact_is_any_text(inbox: Inbox, get: Get, contact: str) -> None:
    from urllib.parse import quote

    await inbox.add(contact, "d1", {"id": "d1"})
    _, body = await get(f"/v1/inapp/{quote(contact, safe='')}")
    _, other = await get("/v1/inapp/c-18")

    assert [message["id"] for message in body["messages"]] == ["d1"]
    assert other == {"messages": [], "next": None}


@pytest.mark.parametrize("token", [None, "", "x", KEY[:-1], KEY + "x", KEY.upper(), "ü"])
async def test_nobody_reads_without_the_token(inbox: Inbox, get: Get, token: str | None) -> None:
    await inbox.add("c-17", "d1", {"id": "d1"})
    status, body = await get("/v1/inapp/c-17", token)

    assert status == 401
    assert "messages" not in body and KEY not in str(body)


@pytest.mark.parametrize(
    "query", ["after=x", "after=1-2-3", "after=-", "after=" + "9" * 30, "limit=0", "limit=101", "limit=ten", "limit=²"]
)
async def test_a_query_that_makes_no_sense_is_refused(get: Get, query: str) -> None:
    status, body = await get(f"/v1/inapp/c-17?{query}")

    assert status == 400
    assert body["error"].startswith("expected a ")


async def test_a_redis_that_is_away_is_said(prefix: str, free_port: Callable[[], int]) -> None:
    away = redis.Redis(port=free_port())
    server = WebServer(CollectorRegistry(), lambda: None, lambda: None, InAppPages(Inbox(away, prefix), KEY).routes())
    await server.start("127.0.0.1", 0)
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"http://127.0.0.1:{server.port}/v1/inapp/c-17"
    async with ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 503
    await server.stop()
    await away.aclose()


async def test_a_text_without_end_is_not_sent(inbox: Inbox) -> None:
    long = msgspec.structs.replace(delivery("d1"), traits={"name": "Ada\n", "what": "x" * 10_000})
    result = await InAppSender(inbox, LINKS).send(long, rule)

    assert (result.code, result.again) == ("template", False)
    assert await inbox.read("c-17") == []
