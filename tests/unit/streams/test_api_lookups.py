"""Contacts and segments asked of `tidegate api` over real HTTP, with a real Redis, which a Kafka that isn't there has filled."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
import redis.asyncio as redis
import uvicorn
from yarl import URL

from actions.read_model import ReadModel, partition_name
from schemas.definitions import DefinitionRecord
from schemas.transitions import Consent, ContactRecord, MembershipRecord, membership_key
from streams import api_contacts, api_export
from streams.api_answers import Answers
from streams.api_definitions import DefinitionsInForce
from streams.api_fields import FieldPages
from streams.api_metrics import ApiMetrics
from streams.api_tokens import SCOPES, read_tokens
from streams.api_web import Pages, web_app
from streams.dispatcher_setup import connect
from streams.dispatcher_web import listen
from streams.fields_store import FieldStore
from streams.lookups import Lookups
from streams.revisions import InForce
from streams.settings import load_settings

pytestmark = pytest.mark.kafka  # it takes a Redis

AT = "2026-03-01T09:30:00.000Z"
ALL = "t" * 32
TOKENS = {scope: f"{scope} of the tests, and long enough".replace(" ", "-") for scope in SCOPES}
ENVIRONMENT = {"TIDEGATE_SECRET_API": ALL} | {
    f"TIDEGATE_SECRET_API_{n}": f"{scope} {token}" for n, (scope, token) in enumerate(TOKENS.items())
}
CART = {"id": "cart", "name": "Left a cart", "when": {"event": "Cart"}}
LOYAL = {"id": "loyal.2", "description": "by shop", "per": "shop", "when": {"event": "Order"}}
CONTACTS, MEMBERSHIPS = partition_name("contacts", 0), partition_name("memberships", 0)
# as contacts' ids may be
STRANGE = [
    "a b", "a/b", "/", "//", "a/memberships", "a%2Fb", "%", "%zz", "a+b", "a?b=c", "a#b", "a;b", "..", "é", "e\u0301", "日本",
    "\U0001f680", 'a"b', "a\\b", "{id}", "a\nb", "\u0000", "A" * 1024, "\u0001" * 1024,
    "members.csv",
]  # fmt: skip
# of an export of 80 MB
EXPORT_BYTES_MAX = 32 << 20


class Api:
    """One that serves what Redis has."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.model, self.metrics = ReadModel(client, prefix), ApiMetrics()
        self.definitions = DefinitionsInForce(load_settings({}))
        records = [
            DefinitionRecord(kind="segment", id=body["id"], version=3, body=body, applied_at_ms=0)  # type: ignore[arg-type]
            for body in (LOYAL, CART)
        ]
        self.definitions.in_force = InForce(
            7, segments=records, since_ms={("segment", record.id): 0 for record in records}
        )
        self.definitions.problem, self.definitions.known = None, True
        self.app = web_app(
            Pages(self.definitions, Answers(self._no_report, 60, 2), self.metrics),
            FieldPages(FieldStore(client, prefix)),
            Lookups(client, prefix),
            self.definitions,
            read_tokens(ENVIRONMENT),
            self.metrics,
        )
        self.client = aiohttp.ClientSession()
        self.url = ""
        self._end = {CONTACTS: 0, MEMBERSHIPS: 0}

    async def begin(self) -> None:
        """Has the read model be whole, of nothing."""
        await self.model.begin(list(self._end))
        for partition in self._end:
            await self.model.filled(partition)

    async def contact(self, id: str, **traits: Any) -> None:
        """Puts one into the read model."""
        record = ContactRecord(id, traits, AT, 1, consent={"promo": Consent(True, AT)})
        await self._take(CONTACTS, [self.model.contact(id, msgspec.json.encode(record))])

    async def put(self, segment: str, ids: Iterable[str], member: bool = True, key: str | None = None) -> None:
        """Puts contacts into a segment, or out of it."""
        await self._take(
            MEMBERSHIPS,
            [
                self.model.membership(
                    membership_key(id, segment, key),
                    msgspec.json.encode(MembershipRecord(id, segment, member, AT, 1, 3, 1, key)),
                )
                for id in ids
            ],
        )

    async def ask(
        self, path: str, token: str = ALL, body: Any = None, status: int = 200, **headers: str
    ) -> dict[str, Any]:
        """What is answered to a path that is sent as it is, with a status and as what it says that it is."""
        headers |= {"Authorization": f"Bearer {token}"}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        url = URL(self.url + path, encoded=True)
        async with self.client.request("GET" if body is None else "POST", url, data=data, headers=headers) as response:
            text = await response.text()
            assert status == response.status, text
            kind = "application/json" if status == 200 else "application/problem+json"
            assert kind == response.headers["Content-Type"]
            assert "no-store" == response.headers["Cache-Control"]
            if status == 503:
                assert "10" == response.headers["Retry-After"]
            found: dict[str, Any] = json.loads(text)
            return found

    async def export(self, path: str, token: str = ALL) -> str:
        """All that is sent."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.get(URL(self.url + path, encoded=True), headers=headers) as response:
            assert 200 == response.status
            return (await response.read()).decode()

    async def _take(self, partition: str, writes: list[Any]) -> None:
        start = self._end[partition]
        self._end[partition] += len(writes)
        await self.model.apply(partition, start, self._end[partition], writes)

    async def _no_report(self, _: object) -> bytes:
        raise AssertionError("no report is asked for")


@pytest.fixture
async def make_api(prefix: str) -> AsyncIterator[Callable[[str], Awaitable[Api]]]:
    """A function that serves what the Redis at an address has."""
    async with contextlib.AsyncExitStack() as opened:

        async def make(url: str) -> Api:
            client = connect(load_settings({"TIDEGATE_REDIS": url}))
            opened.push_async_callback(client.aclose)
            made = Api(client, prefix)
            listening = listen("127.0.0.1", 0)
            made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            config = uvicorn.Config(made.app, lifespan="off", log_config=None, log_level="critical", ws="none")
            server = uvicorn.Server(config)
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
            serving = asyncio.create_task(server.serve([listening]))

            async def end() -> None:
                await made.client.close()
                server.should_exit = True
                await serving

            opened.push_async_callback(end)
            return made

        yield make


@pytest.fixture
async def api(make_api: Callable[[str], Awaitable[Api]], redis_url: str) -> Api:
    """One of a read model that is whole."""
    made = await make_api(redis_url)
    await made.begin()
    return made


async def test_a_contact_is_told_whatever_its_id_is_made_of(api: Api) -> None:
    for id in STRANGE:
        await api.contact(id, name=id)
    await api.put("cart", STRANGE)

    for id in STRANGE:
        path = "/v1/contacts/" + "".join(f"%{byte:02x}" for byte in id.encode())
        found = await api.ask(path)
        assert (id, {"name": id}, True) == (found["contact"], found["traits"], found["memberships"][0]["member"])
        asked = await api.ask(f"{path}/memberships", body={"segments": ["cart", "loyal.2"]})
        assert {"contact": id, "memberships": {"cart": True, "loyal.2": False}} == asked
        if id not in ("..", "\u0000"):
            assert found == await api.ask(f"/v1/contacts/{quote(id, safe='')}")
    found = await api.ask("/v1/contacts/a%2Fb")
    membership = {"segment": "cart", "key": None, "member": True, "since": AT, "seq": 1, "version": 3}
    assert {
        "contact": "a/b",
        "traits": {"name": "a/b"},
        "consent": {"promo": {"on": True, "at": AT}},
        "changed_at": AT,
        "memberships": [membership],
    } == found


async def test_what_is_no_id_of_a_contact_is_said_to_be_none(api: Api) -> None:
    await api.contact("a/b")

    problem = await api.ask("/v1/contacts/nobody", status=404)
    assert "expected the id of a contact that is known, got 'nobody'" == problem["detail"]
    problem = await api.ask("/v1/contacts/%ff", status=400)
    assert "expected UTF-8, percent-encoded, in the path, got '%ff'" == problem["detail"]
    assert "'/v1/contacts/a/b'" in (await api.ask("/v1/contacts/a/b", status=404))["detail"]
    await api.ask("/v1/contacts/", status=404)
    assert "expected POST, got GET" == (await api.ask("/v1/contacts/a/memberships", status=405))["detail"]
    assert "expected GET, got POST" == (await api.ask("/v1/contacts/a", body={}, status=405))["detail"]


async def test_a_contact_that_has_left_or_that_nobody_knows_is_in_no_segment(api: Api) -> None:
    await api.put("cart", ["ada"], member=False)
    await api.put("loyal.2", ["ada"], key="north")
    await api.put("loyal.2", ["ada"], key="south", member=False)
    asked = {"segments": ["loyal.2", "cart"]}

    assert {"loyal.2": True, "cart": False} == (await api.ask("/v1/contacts/ada/memberships", body=asked))[
        "memberships"
    ]
    found = await api.ask("/v1/contacts/nobody/memberships", TOKENS["memberships:read"], asked)
    assert {"loyal.2": False, "cart": False} == found["memberships"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"segments": ["cart", "basket", "trolley"]}, 400, "segments in force in `segments`, got 'basket' and 1 more"),
        ({"segments": []}, 400, "expected 1 to 1000 ids in `segments`, got 0"),
        ({"segments": ["cart"] * 1001}, 400, "expected 1 to 1000 ids in `segments`, got 1001"),
        ({"segments": "cart"}, 400, "Expected `array`, got `str` - at `$.segments`"),
        ({"segments": ["cart"], "segment": 1}, 400, "unknown field `segment`"),
        (b"\xff", 400, "got something else"),
        (b"[" * 9_000, 400, "got something else"),
        (b'{"segments": ["' + b"x" * (128 * 1024) + b'"]}', 413, "expected a body of at most 131072 bytes, got more"),
    ],
)
async def test_a_question_that_is_none_says_what_was_expected(api: Api, body: Any, status: int, said: str) -> None:
    """A segment's id that is mistyped is told of, as it would else be taken for a segment that the contact isn't in."""
    assert said in (await api.ask("/v1/contacts/ada/memberships", body=body, status=status))["detail"]


async def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_contacts, "BODY_S_MAX", 0.05)
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"segm'
        await never.wait()

    headers = {"Authorization": f"Bearer {ALL}"}
    async with api.client.post(f"{api.url}/v1/contacts/ada/memberships", data=slowly(), headers=headers) as response:
        assert 408 == response.status
        assert "expected the body within 0.05 s, got 6 bytes of it" == json.loads(await response.text())["detail"]
    never.set()


async def test_segments_are_told_with_their_definitions_and_sizes(api: Api) -> None:
    await api.put("cart", ["ada", "bob"])
    await api.put("loyal.2", ["ada"], key="north")
    await api.put("loyal.2", ["ada"], key="south")
    token, since = TOKENS["segments:read"], "1970-01-01T00:00:00.000Z"

    cart = {"id": "cart", "version": 3, "since": since, "name": "Left a cart", "description": None}
    loyal = {"id": "loyal.2", "version": 3, "since": since, "name": None, "description": "by shop"}
    assert {"revision": 7, "segments": [cart, loyal]} == await api.ask("/v1/segments", token)
    found = await api.ask("/v1/segments/loyal%2E2", token)
    assert {"id": "loyal.2", "version": 3, "since": since, "definition": LOYAL} == found
    assert {"segment": "cart", "size": 2} == await api.ask("/v1/segments/cart/size", token)
    assert {"segment": "loyal.2", "size": 2} == await api.ask("/v1/segments/loyal.2/size", token)
    await api.put("cart", ["ada", "bob"], member=False)
    assert {"segment": "cart", "size": 0} == await api.ask("/v1/segments/cart/size", token)
    for path in ("", "/size", "/members", "/members.csv", "/members.ndjson"):
        problem = await api.ask(f"/v1/segments/basket{path}", status=404)
        assert "expected the id of a segment in force (/v1/segments lists them), got 'basket'" == problem["detail"]


async def pages(api: Api, segment: str, limit: int, token: str = ALL) -> list[list[str]]:
    """The members of each page."""
    found, after = [], ""
    while True:
        page = await api.ask(f"/v1/segments/{segment}/members?limit={limit}{after}", token)
        found.append([each["contact"] for each in page["members"]])
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def test_members_are_told_page_by_page_each_once(api: Api) -> None:
    ids = [*STRANGE, *(f"c-{n}" for n in range(200))]
    await api.put("cart", ids)

    found = await pages(api, "cart", 7, TOKENS["memberships:read"])
    assert {7} == {len(page) for page in found[:-1]}
    assert len(ids) == sum(len(page) for page in await pages(api, "cart", 1))
    assert sorted(ids) == sorted(id for page in found for id in page)
    first = await api.ask("/v1/segments/cart/members?limit=1")
    assert {"contact", "key", "since", "seq", "version"} == first["members"][0].keys()
    assert (225, 1) == (first["size"], len(first["members"]))
    assert 100 == len((await api.ask("/v1/segments/cart/members"))["members"])
    assert [[]] == await pages(api, "loyal.2", 7)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("limit=0", "expected a whole number from 1 in `limit`, got '0'"),
        ("limit=1001", "expected at most 1000 in `limit`, got 1001"),
        ("page=2", "expected a parameter out of after, limit, got 'page'"),
        ("after=", "expected 1 to 16384 characters in `after`, got 0"),
        ("after=c-7", "expected in `after` what `next` was"),
        ("after=%FF", "expected in `after` what `next` was"),
        ("after=" + "A" * 15_000, "expected in `after` what `next` was"),
    ],
)
async def test_a_page_that_cannot_be_asked_for_says_what_was_expected(api: Api, parameters: str, said: str) -> None:
    problem = await api.ask(f"/v1/segments/cart/members?{parameters}", status=400)

    assert said in problem["detail"]


async def test_a_cursor_that_was_not_given_to_this_token_for_this_segment_is_none(api: Api) -> None:
    await api.put("cart", [f"c-{n}" for n in range(20)])
    token, another = ALL, TOKENS["memberships:read"]
    cursor = (await api.ask("/v1/segments/cart/members?limit=5", token))["next"]

    await api.ask(f"/v1/segments/cart/members?after={cursor}", token)
    await api.ask(f"/v1/segments/cart/members?after={cursor}", another, status=400)
    await api.ask(f"/v1/segments/loyal.2/members?after={cursor}", token, status=400)
    for at in range(len(cursor)):
        for forged in (cursor[:at], cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]):
            # the last character has bits that mean nothing
            if forged and at < len(cursor) - 1:
                await api.ask(f"/v1/segments/cart/members?after={forged}", token, status=400)


@pytest.mark.parametrize(
    ("path", "body", "scope"),
    [
        ("/v1/contacts/ada", None, "contacts:read"),
        ("/v1/contacts/ada/memberships", {"segments": ["cart"]}, "memberships:read"),
        ("/v1/segments", None, "segments:read"),
        ("/v1/segments/cart", None, "segments:read"),
        ("/v1/segments/cart/size", None, "segments:read"),
        ("/v1/segments/cart/members", None, "memberships:read"),
        ("/v1/segments/cart/members.csv", None, "export"),
        ("/v1/segments/cart/members.ndjson", None, "export"),
    ],
)
async def test_each_path_wants_its_scope_and_no_other(api: Api, path: str, body: Any, scope: str) -> None:
    await api.contact("ada")

    for other, token in TOKENS.items():
        if other != scope:
            problem = await api.ask(path, token, body, 403)
            assert f"expected a token with the scope {scope}, got one with {other}" == problem["detail"]
    await api.ask(path, "x" * 32, body, 401)
    if "export" == scope:
        await api.export(path, TOKENS[scope])
    else:
        await api.ask(path, TOKENS[scope], body)


async def test_who_exports_what_is_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "streams.api_export")
    await api.put("cart", ["ada"])
    await api.export("/v1/segments/cart/members.csv", TOKENS["export"])

    number = list(SCOPES).index("export")
    assert [f"an export of the members of cart, with the token of TIDEGATE_SECRET_API_{number}"] == caplog.messages


async def test_an_export_has_all_members_as_csv_and_as_lines(api: Api) -> None:
    ids = [*STRANGE, *(f"c-{n}" for n in range(api_export.PAGE * 2))]
    await api.put("cart", ids)
    await api.put("loyal.2", ["ada"], key='nor"th,\n')

    rows = list(csv.reader(io.StringIO(await api.export("/v1/segments/cart/members.csv"), newline="")))
    assert ["contact", "key", "since", "seq", "version"] == rows[0]
    assert sorted([id, "", AT, "1", "3"] for id in ids) == sorted(rows[1:])
    lines = [json.loads(line) for line in (await api.export("/v1/segments/cart/members.ndjson")).splitlines()]
    assert sorted(ids) == sorted(line["contact"] for line in lines)
    text = await api.export("/v1/segments/loyal.2/members.csv")
    assert ["ada", 'nor"th,\n', AT, "1", "3"] == list(csv.reader(io.StringIO(text, newline="")))[1]
    await api.put("loyal.2", ["ada"], member=False, key='nor"th,\n')
    assert "" == await api.export("/v1/segments/loyal.2/members.ndjson")
    assert "contact,key,since,seq,version\r\n" == await api.export("/v1/segments/loyal.2/members.csv")


async def test_what_an_export_needs_does_not_grow_with_the_segment(api: Api) -> None:
    """A reader that is slow is waited for: as much as is on its way is read, and no more."""
    for turn in range(40):
        await api.put("cart", [f"c-{turn:03d}-{n:04d}-" + "x" * 900 for n in range(2_000)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    async with api.client.get(
        f"{api.url}/v1/segments/cart/members.ndjson", headers={"Authorization": f"Bearer {ALL}"}
    ) as response:
        lines = 0
        async for line in response.content:
            lines += line.endswith(b"\n")
    assert 80_000 == lines
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < EXPORT_BYTES_MAX


async def test_more_exports_at_once_than_may_be_are_refused_and_an_end_makes_room(
    api: Api, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    monkeypatch.setattr(api_export, "AT_ONCE", 1)
    for turn in range(10):
        await api.put("cart", [f"c-{turn}-{n:04d}-" + "x" * 900 for n in range(2_000)])
    headers = {"Authorization": f"Bearer {ALL}"}

    first = await api.client.get(f"{api.url}/v1/segments/cart/members.csv", headers=headers)
    assert 200 == first.status
    problem = await api.ask("/v1/segments/cart/members.csv", status=503)
    assert "expected fewer exports to be under way, got 1 already" in problem["detail"]
    assert 1 == api.metrics.exports._value.get()
    first.close()
    await wait_for(lambda: api.metrics.exports._value.get() == 0, 10, "an end of the export that nobody takes")
    assert 20_001 == len((await api.export("/v1/segments/cart/members.csv")).splitlines())


async def test_an_export_that_is_not_taken_is_given_up(
    api: Api, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    monkeypatch.setattr(api_export, "TAKE_S_MAX", 0.2)
    for turn in range(10):
        await api.put("cart", [f"c-{turn}-{n:04d}-" + "x" * 900 for n in range(2_000)])
    request = f"GET /v1/segments/cart/members.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(api.url).port, limit=1024)
    writer.write(request.encode())

    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await wait_for(lambda: api.metrics.exports._value.get() == 0, 10, "an end of the export that nobody takes")
    writer.close()


async def test_an_export_that_breaks_off_is_seen_to_be_no_whole_one(
    make_api: Callable[[str], Awaitable[Api]], own_redis: Any, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    api = await make_api(own_redis.url)
    await api.begin()
    for turn in range(10):
        await api.put("cart", [f"c-{turn}-{n:04d}-" + "x" * 900 for n in range(2_000)])

    with pytest.raises(aiohttp.ClientPayloadError):
        async with api.client.get(
            f"{api.url}/v1/segments/cart/members.csv", headers={"Authorization": f"Bearer {ALL}"}
        ) as response:
            await response.content.readline()
            own_redis.kill()
            await response.content.read()
    await wait_for(lambda: api.metrics.exports._value.get() == 0, 10, "an end of the export")


async def test_while_redis_is_away_or_not_read_to_the_end_who_asks_is_told_to_come_again(
    make_api: Callable[[str], Awaitable[Api]], redis_url: str
) -> None:
    paths = ["/v1/contacts/ada", "/v1/segments/cart/size", "/v1/segments/cart/members", "/v1/segments/cart/members.csv"]
    for url, said in (
        ("redis://127.0.0.1:1/0", "expected Redis to tell who is in which segment, got ConnectionError"),
        (redis_url, "no projector of this version has begun to read them"),
    ):
        api = await make_api(url)
        for path in paths:
            assert said in (await api.ask(path, status=503))["detail"]
        problem = await api.ask("/v1/contacts/ada/memberships", body={"segments": ["cart"]}, status=503)
        assert said in problem["detail"]
        assert 2 == len((await api.ask("/v1/segments"))["segments"])


async def test_while_kafka_is_away_lookups_go_on_by_what_was_in_force_last(api: Api) -> None:
    await api.put("cart", ["ada"])
    api.definitions.problem = "Kafka at x:9092 has not answered for 5 s"

    assert api.definitions.problem == (await api.ask("/v1/segments", status=503))["detail"]
    assert {"segment": "cart", "size": 1} == await api.ask("/v1/segments/cart/size")
    asked = await api.ask("/v1/contacts/ada/memberships", body={"segments": ["cart"]})
    assert {"cart": True} == asked["memberships"]
    api.definitions.known = False
    await api.ask("/v1/segments/cart/size", status=503)
    await api.ask("/v1/contacts/ada/memberships", body={"segments": ["cart"]}, status=503)
