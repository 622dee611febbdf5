"""The tracking API over real HTTP: who may call, how calls are answered, and what is done with senders that mean no good."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import resource
import socket
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from streams.errors import StreamsError
from streams.gateway import bodies, serving
from streams.gateway.intake import Crowded
from streams.gateway.serving import listen
from streams.gateway.tracking import BATCH_BYTES_MAX, BATCH_EVENTS_MAX

EVENT = {"userId": "ada", "event": "Signed Up"}
TAKEN = {"success": True}
BATCH = {"batch": [{"type": "track", **EVENT}]}
GZIP = {"Content-Encoding": "gzip"}
MB = 1 << 20


@pytest.mark.parametrize("path", ["/v1/track", "/v1/track/", "/v1/t", "/v1/t/", "/v1/track?x=1", "/v1/track/?"])
async def test_a_call_is_taken_under_all_names_that_sdks_have_for_it(gateway: Any, path: str) -> None:
    assert (200, TAKEN) == (await gateway.post(path, EVENT))[:2]
    assert ["Signed Up"] == [event["event"] for event in gateway.kafka.events]


@pytest.mark.parametrize("name", ["identify", "track", "page", "screen", "group", "alias"])
async def test_each_call_becomes_an_event_of_its_type(gateway: Any, name: str) -> None:
    body = {**EVENT, "groupId": "g", "previousId": "p"}
    assert (200, TAKEN) == (await gateway.post(f"/v1/{name}", body))[:2]
    assert [(name, "website")] == [(event["type"], event["context"]["source"]) for event in gateway.kafka.events]


async def test_nothing_is_answered_before_kafka_has_it(gateway: Any, wait_for: Any) -> None:
    gateway.kafka.let.clear()
    asking = asyncio.create_task(gateway.post("/v1/batch", BATCH))
    await wait_for(lambda: gateway.server.server_state.tasks, 5, "the request to be under way")
    done, _ = await asyncio.wait([asking], timeout=0.1)
    assert not done

    gateway.kafka.let.set()
    assert (200, TAKEN) == (await asking)[:2]


async def test_a_write_key_is_the_user_of_basic_or_stands_in_the_body(gateway: Any) -> None:
    assert 200 == (await gateway.post("/v1/track", {**EVENT, "writeKey": "website-key"}, key=None))[0]
    assert 200 == (await gateway.post("/v1/batch", {**BATCH, "writeKey": "shop-key"}, key=None))[0]
    assert 200 == (await gateway.post("/v1/track", EVENT, key="website-key-before"))[0]
    bare = {"Authorization": "basic " + base64.b64encode(b"website-key").decode()}
    assert 200 == (await gateway.post("/v1/track", EVENT, key=None, headers=bare))[0]
    bearer = {"Authorization": "Bearer x"}
    assert 200 == (await gateway.post("/v1/track", {**EVENT, "writeKey": "website-key"}, key=None, headers=bearer))[0]

    sources = [event["context"]["source"] for event in gateway.kafka.events]
    assert ["website", "shop", "website", "website", "website"] == sources
    assert not any("writeKey" in event for event in gateway.kafka.events)


@pytest.mark.parametrize(
    ("key", "body", "header", "code"),
    [
        (None, EVENT, None, "no_key"),
        ("nope", EVENT, None, "unknown_key"),
        ("nope", {**EVENT, "writeKey": "website-key"}, None, "unknown_key"),
        (None, {**EVENT, "writeKey": "website-ke"}, None, "unknown_key"),
        (None, {**EVENT, "writeKey": ["website-key"]}, None, "no_key"),
        (None, EVENT, "Basic !!!", "no_key"),
        (None, EVENT, "Basic", "no_key"),
        (None, EVENT, "Basic " + base64.b64encode(b":website-key").decode(), "no_key"),
        (None, EVENT, "Basic " + base64.b64encode(b"\xff\xfe:").decode(), "unknown_key"),
        (None, EVENT, "Bearer website-key", "no_key"),
    ],
)
async def test_without_a_known_write_key_nothing_is_taken(
    gateway: Any, key: str | None, body: Any, header: str | None, code: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    status, answer, _ = await gateway.post("/v1/track", body, key=key, headers=headers)

    assert (401, False, code) == (status, answer["success"], answer["code"])
    assert [] == gateway.kafka.records
    assert {(code,): 1} == gateway.counted("refused")


async def test_what_a_body_is_said_to_be_does_not_matter(gateway: Any) -> None:
    for kind in (
        "application/json",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "x",
    ):
        assert 200 == (await gateway.post("/v1/track", EVENT, headers={"Content-Type": kind}))[0]
    assert 5 == len(gateway.kafka.events)


async def test_batches_come_in_gzip_as_sdks_send_them(gateway: Any) -> None:
    packed = gzip.compress(json.dumps({"batch": [{"type": "track", **EVENT}] * 100}).encode())
    assert (200, TAKEN) == (await gateway.post("/v1/batch", packed, headers=GZIP))[:2]
    assert 100 == len(gateway.kafka.events)


@pytest.mark.parametrize("cut", [1, 7])
async def test_a_gzip_body_may_come_in_pieces(gateway: Any, cut: int) -> None:
    packed = gzip.compress(json.dumps(BATCH).encode())

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), cut):
            yield packed[start : start + cut]

    async with gateway.client.post(
        "/v1/batch", data=pieces(), headers=GZIP | {"Authorization": f"Basic {BASIC}"}
    ) as answer:
        assert 200 == answer.status
    assert 1 == len(gateway.kafka.events)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"no gzip at all", "gzip"),
        (gzip.compress(json.dumps(BATCH).encode())[:-3], "gzip"),
        (gzip.compress(json.dumps(BATCH).encode())[:-8] + bytes(8), "gzip"),
        (gzip.compress(json.dumps(BATCH).encode()) + b"more", "gzip"),
        (gzip.compress(json.dumps(BATCH).encode()) * 2, "gzip"),
        (b"", "gzip"),
        (zlib.compress(json.dumps(BATCH).encode()), "deflate"),
        (json.dumps(BATCH).encode(), "br"),
    ],
)
async def test_a_body_that_does_not_unpack_is_refused(gateway: Any, body: bytes, encoding: str) -> None:
    status, answer, _ = await gateway.post("/v1/batch", body, headers={"Content-Encoding": encoding})

    assert (400, "invalid_request") == (status, answer["code"]), answer
    assert "expected" in answer["message"]
    assert 0 == gateway.kafka.bytes


async def test_a_gzip_bomb_is_given_up_on_at_the_bound(gateway: Any) -> None:
    bomb = gzip.compress(bytes(400 * MB), 9)
    assert len(bomb) < BATCH_BYTES_MAX
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status, answer, _ = await gateway.post("/v1/batch", bomb, headers=GZIP)

    assert (400, "too_large") == (status, answer["code"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024
    assert 0 == gateway.kafka.bytes


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
async def test_a_body_of_50_megabytes_is_refused_before_it_is_read(gateway: Any, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {50 * MB}\r\nAuthorization: Basic {BASIC}\r\n\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    assert answer.startswith(b"HTTP/1.1 400 ") and b'"too_large"' in answer
    writer.close()


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
async def test_a_body_that_does_not_say_how_long_it_is_is_refused_as_soon_as_it_is_too_long(
    gateway: Any, path: str
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(50 * 16):
            sent += MB // 16
            yield bytes(MB // 16)

    with contextlib.suppress(aiohttp.ClientError):
        async with gateway.client.post(path, data=endless(), headers={"Authorization": f"Basic {BASIC}"}) as answer:
            assert 400 == answer.status
    assert {("too_large",): 1} == gateway.counted("refused")
    assert sent < 8 * MB
    assert 0 == gateway.kafka.bytes


async def test_gzip_that_unpacks_to_nothing_has_the_same_bound(gateway: Any) -> None:
    """Stored blocks of no bytes: for ten seconds a sender could have had us unpack whatever its line holds."""
    block = b"\x00\x00\x00\xff\xff" * 20_000

    async def pieces() -> AsyncIterator[bytes]:
        yield gzip.compress(b"")[:10]
        for _ in range(20):
            yield block

    headers = GZIP | {"Authorization": f"Basic {BASIC}"}
    with contextlib.suppress(aiohttp.ClientError):
        async with gateway.client.post("/v1/batch", data=pieces(), headers=headers) as answer:
            assert 400 == answer.status
    assert {("too_large",): 1} == gateway.counted("refused")


async def test_a_batch_is_answered_with_200_though_events_of_it_are_rejected(gateway: Any) -> None:
    body = {"batch": [{"type": "track"}, {"type": "page", "userId": "ada"}, {"type": "page"}]}

    assert (200, TAKEN) == (await gateway.post("/v1/batch", body))[:2]
    assert ["missing_field", "no_contact"] == gateway.kafka.rejected
    assert {("website", "taken"): 1, ("website", "rejected"): 2} == gateway.counted("events")


@pytest.mark.parametrize("body", [b"nope", b"[]", b'{"batch":5}', b'{"batch":[' + b"[" * 100_000, b"", b"\xff"])
async def test_a_batch_that_is_none_is_refused(gateway: Any, body: bytes) -> None:
    status, answer, _ = await gateway.post("/v1/batch", body)

    assert (400, False, "invalid_request") == (status, answer["success"], answer["code"])
    assert [] == gateway.kafka.records


async def test_the_most_events_that_a_batch_may_have_are_taken(gateway: Any) -> None:
    events = [{"type": "page", "userId": f"c-{n}"} for n in range(BATCH_EVENTS_MAX)]
    assert 200 == (await gateway.post("/v1/batch", {"batch": events}))[0]
    assert [event["userId"] for event in events] == [event["userId"] for event in gateway.kafka.events]


async def test_whoever_comes_while_kafka_is_slow_or_away_is_told_when_to_come_again(gateway: Any, away: Any) -> None:
    for failure, status, after in ((Crowded(), 429, "1"), (away, 503, "5")):
        gateway.kafka.fails = failure
        got, answer, headers = await gateway.post("/v1/batch", BATCH, headers={"Origin": "https://any.example"})
        assert (status, False) == (got, answer["success"])
        assert after == headers["Retry-After"] == headers["X-RateLimit-Reset"]
        assert "X-RateLimit-Reset" in headers["Access-Control-Expose-Headers"]
        assert "*" == headers["Access-Control-Allow-Origin"]
    assert {("crowded",): 1, ("unavailable",): 1} == gateway.counted("refused")


async def test_bodies_that_are_read_count_towards_the_bound(gateway: Any, wait_for: Any) -> None:
    gateway.kafka._bytes_max = 1000
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\nAuthorization: Basic {BASIC}\r\n\r\n".encode()
    )
    writer.write(bytes(800))
    await wait_for(lambda: gateway.kafka.bytes == 800, 5, "800 bytes to be held")
    assert 429 == (await gateway.post("/v1/batch", bytes(300)))[0]
    writer.close()
    await wait_for(lambda: gateway.kafka.bytes == 0, 5, "the bytes of who hung up to be let go of")
    assert 400 == (await gateway.post("/v1/batch", bytes(300)))[0]


async def test_what_is_made_of_a_body_counts_towards_the_bound_before_kafka_gets_it(gateway: Any) -> None:
    """2,500 empty objects are 7 KB, and as many rejections a thousand times that in all who send them at once."""
    gateway.kafka._bytes_max = 500_000
    assert 429 == (await gateway.post("/v1/batch", {"batch": [{}] * BATCH_EVENTS_MAX}))[0]
    assert [] == gateway.kafka.records
    assert 0 == gateway.kafka.bytes

    gateway.kafka._bytes_max = 64 << 20
    assert 200 == (await gateway.post("/v1/batch", {"batch": [{}] * BATCH_EVENTS_MAX}))[0]
    assert 0 == gateway.kafka.bytes


async def test_whoever_sends_slowly_is_hung_up_on(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S_MAX", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nAuthorization: Basic {BASIC}\r\n\r\n{{".encode()
    )
    answer = await asyncio.wait_for(reader.read(), 5)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert {("late",): 1} == gateway.counted("refused")
    writer.close()


@pytest.mark.parametrize("said", [b"", b"POST /v1/track HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_says_nothing_more_is_closed(
    said: bytes, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.setattr(serving, "HEAD_S_MAX", 0.2)
    gateway = make()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(said)
    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_second_request_that_is_not_finished_closes_its_connection(
    monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.setattr(serving, "HEAD_S_MAX", 0.2)
    gateway = make()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/m HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert b"200" in await asyncio.wait_for(reader.readuntil(b"}"), 5)
    writer.write(b"POST /v1/track HT")
    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_body_in_a_great_many_chunks_is_hung_up_on(gateway: Any, wait_for: Any) -> None:
    """Each costs as much as an event: half a megabyte of them, of a byte each, held up everybody for seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(CHUNKED.encode() + b"1\r\n \r\n" * (serving.CHUNKS_MAX + 1))
    with contextlib.suppress(ConnectionError):
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await wait_for(lambda: gateway.server.open_connections == 0, 5, "the end of the connection")

    body = json.dumps(BATCH).encode()
    body += b" " * (serving.CHUNKS_MAX - len(body))
    for _ in range(2):

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(len(body)):
                yield body[at : at + 1]

        async with gateway.client.post(
            "/v1/batch", data=pieces(), headers={"Authorization": f"Basic {BASIC}"}
        ) as answer:
            assert 200 == answer.status


@pytest.mark.parametrize("rest", [b"zz\r\n", b"1\r\nx\r\n" * (serving.CHUNKS_MAX + 1)])
async def test_what_is_no_http_behind_an_answer_ends_the_connection_and_says_nothing(
    gateway: Any, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It was a traceback in the log, and needed no write key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(CHUNKED.replace(BASIC, "bm9wZTo=").encode())
    assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 401 ")
    with contextlib.suppress(ConnectionError):
        writer.write(rest)
        assert b"" == await asyncio.wait_for(reader.read(), 5)
    assert [] == caplog.records
    writer.close()


async def test_requests_that_do_not_wait_for_their_answers_may_be_a_few(gateway: Any, wait_for: Any) -> None:
    """Ten thousand connections, with a quarter of a megabyte of them each, were gigabytes that nobody counted."""
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request * 100)
    for _ in range(100):
        assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 404 ")
    writer.write(request * 2_000)
    await wait_for(lambda: gateway.server.open_connections == 0, 5, "the end of the connection")
    writer.close()


async def test_a_request_that_waits_for_kafka_is_not_hung_up_on(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setattr(serving, "HEAD_S_MAX", 0.1)
    gateway = make()
    gateway.kafka.let.clear()
    asking = asyncio.create_task(gateway.post("/v1/batch", BATCH))
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done
    gateway.kafka.let.set()
    assert 200 == (await asking)[0]


async def test_connections_beyond_the_bound_are_closed_at_once_and_the_others_served(make: Any) -> None:
    gateway = make(connections_max=50)
    kept = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(49)]
    assert 200 == (await gateway.post("/v1/track", EVENT))[0]
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        with contextlib.suppress(ConnectionResetError):
            assert b"" == await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert gateway.server.open_connections <= 50
    assert 200 == (await gateway.post("/v1/track", EVENT))[0]
    for _, writer in kept:
        writer.close()


async def test_browsers_are_told_what_they_may_send(make: Any) -> None:
    gateway = make()
    asked = {"Origin": "https://any.example", "Access-Control-Request-Method": "POST"}
    for path in ("/v1/t", "/v1/batch", "/v1/track/"):
        async with gateway.client.options(path, headers=asked) as answer:
            assert (204, asked["Origin"]) == (answer.status, answer.headers["Access-Control-Allow-Origin"])
            # without it a beacon of JSON is never sent: browsers ask for it with credentials, though there are none
            assert "true" == answer.headers["Access-Control-Allow-Credentials"]
            assert "POST" == answer.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


async def test_a_connection_with_origins_takes_events_from_pages_there_and_from_servers(gateway: Any) -> None:
    there = {"Origin": "https://shop.example"}
    status, _, headers = await gateway.post("/v1/t", EVENT, key="shop-key", headers=there)
    assert (200, "https://shop.example", "Origin") == (
        status, headers["Access-Control-Allow-Origin"], headers["Vary"],
    )  # fmt: skip
    status, answer, headers = await gateway.post(
        "/v1/t", EVENT, key="shop-key", headers={"Origin": "https://evil.example"}
    )
    assert (403, "origin") == (status, answer["code"])
    assert "Access-Control-Allow-Origin" not in headers
    assert 200 == (await gateway.post("/v1/t", EVENT, key="shop-key"))[0]
    assert 2 == len(gateway.kafka.events)


async def test_where_all_connections_name_origins_other_pages_are_told_so_at_once(make: Any) -> None:
    gateway = make(only_shop=True)
    for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://evil.example", None)):
        async with gateway.client.options("/v1/t", headers={"Origin": origin}) as answer:
            assert allowed == answer.headers.get("Access-Control-Allow-Origin")


async def test_analytics_js_is_answered_for_the_figures_that_it_has_of_itself(gateway: Any) -> None:
    status, answer, headers = await gateway.post("/v1/m", {"series": []}, key=None)
    assert (200, TAKEN, "*") == (status, answer, headers["Access-Control-Allow-Origin"])
    assert [] == gateway.kafka.records


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/track", 405), ("POST", "/v1/nope", 404), ("GET", "/", 404)]
)
async def test_what_there_is_not_is_answered_in_a_sentence(gateway: Any, method: str, path: str, status: int) -> None:
    async with gateway.client.request(method, path) as answer:
        body = await answer.json()
    assert (status, False) == (answer.status, body["success"])
    assert "expected" in body["message"]


async def test_requests_are_counted_by_path_and_status_and_no_other_labels(gateway: Any) -> None:
    await gateway.post("/v1/track", EVENT)
    await gateway.post("/v1/track", EVENT, key="nope")
    for n in range(3):
        await gateway.post(f"/v1/{n}", EVENT)
    expected = {("/v1/track", "200"): 1, ("/v1/track", "401"): 1, ("other", "404"): 3}
    assert expected == gateway.counted("requests")


async def test_a_fault_of_ours_is_said_to_be_one_and_tells_nothing(
    gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.kafka.fails = RuntimeError("ada")
    status, answer, _ = await gateway.post("/v1/track", EVENT)
    assert (500, "internal_server_error") == (status, answer["code"])
    assert "ada" not in json.dumps(answer) + caplog.text
    assert "/v1/track: answered 500, as this version raises RuntimeError (gateway/conftest.py" in caplog.text


async def test_the_description_names_every_call_and_how_it_may_be_answered(gateway: Any) -> None:
    async with gateway.client.get("/openapi.json") as answer:
        described = await answer.json()
    names = ("identify", "track", "page", "screen", "group", "alias", "batch", "import")
    assert {f"/v1/{name}" for name in names} == set(described["paths"])
    for path in described["paths"].values():
        assert {"200", "400", "401", "403", "408", "429", "503"} <= set(path["post"]["responses"])
        assert "application/json" in path["post"]["requestBody"]["content"]


async def test_a_port_that_is_taken_is_said_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StreamsError, match="TIDEGATE_GATEWAY_PORT"):
        listen("127.0.0.1", taken.getsockname()[1])


BASIC = base64.b64encode(b"website-key:").decode()
CHUNKED = f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Basic {BASIC}\r\n\r\n"
