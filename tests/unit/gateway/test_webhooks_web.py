"""Vendors' webhooks over real HTTP, with a Kafka that is a list."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import aiohttp
import orjson
import pytest

from streams.connections import Connections, connect
from streams.gateway.fetching import Fetcher, Unfetched
from streams.gateway.intake import Crowded, Held, Unavailable
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.record import Record
from streams.gateway.serving import Server, listen
from streams.gateway.web import web_app
from streams.gateway.webhooks_web import WebhookPages
from streams.vendors.connection_reading import load_connections
from streams.vendors.contract import BATCH_BYTES_MAX, BODY_BYTES_MAX
from streams.vendors.registry import vendor_for
from tests.unit.vendors import test_ses as sns
from tests.unit.vendors.payloads import NOW_MS

SECRETS = {"TIDEGATE_SECRET_FORM": "of these tests", "TIDEGATE_SECRET_FORM_NEXT": "another of these"}
SECRETS |= {"TIDEGATE_SECRET_TOPIC": sns.TOPIC, "TIDEGATE_SECRET_LOGIN": "user:password"}
MAIL = "/v1/webhooks/ses/mail"
SURVEY = "/v1/webhooks/typeform/survey"
CONNECTIONS = load_connections("""
connections:
  - {id: survey, vendor: typeform, secret: [FORM, FORM_NEXT]}
  - {id: quiet, vendor: typeform, secret: FORM, events: {form_response: ignore}}
  - {id: mail, vendor: ses, secret: TOPIC}
  - {id: events, vendor: mailjet, secret: LOGIN}
  - {id: letters, vendor: mailgun, secret: FORM}
  - {id: site, vendor: segment, secret: FORM}
""")
VENDORS = {each.vendor: vendor_for(each) for each in CONNECTIONS}
TYPEFORM = VENDORS["typeform"]
BODY = TYPEFORM.sample(NOW_MS)


class Kafka:
    """What was taken, or why it isn't."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fails: Exception | None = None
        self.bytes = 0
        self.let, self.reached = asyncio.Event(), asyncio.Event()
        self.let.set()

    def held(self) -> Held:
        return Held(self)  # type: ignore[arg-type]

    def reserve(self, count: int) -> None:
        self.bytes += count

    def release(self, count: int) -> None:
        self.bytes -= count

    async def take(self, records: Iterable[Record]) -> None:
        self.reached.set()
        await self.let.wait()
        if self.fails is not None:
            raise self.fails
        self.records += records


class World(Fetcher):
    """What vendors have at URLs: `there`; `asked` for, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.there:
            raise Unfetched("expected an answer of the vendor, got none")
        return self.there[url]


class Gateway:
    """One that serves."""

    def __init__(self) -> None:
        connected, errors = connect(CONNECTIONS, SECRETS)
        assert errors == []
        self.kafka, self.metrics, self.world = Kafka(), GatewayMetrics(), World()
        kafka: Any = self.kafka
        pages = WebhookPages(Connections(connected), kafka, self.metrics, self.world, lambda: NOW_MS)
        self.server = Server(web_app([pages.router()], self.metrics))
        self.client = aiohttp.ClientSession()
        self.url = ""

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None, path: str = SURVEY) -> tuple[int, str]:
        """Status and text of the answer; signed, unless headers are given."""
        headers = signed(body) if headers is None else headers
        async with self.client.post(self.url + path, data=io.BytesIO(body), headers=dict(headers)) as response:
            return response.status, await response.text()

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"tidegate_gateway_{name}_total", labels) or 0.0


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    listening = listen("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    serving = asyncio.create_task(made.server.serve([listening]))
    try:
        yield made
    finally:
        await made.client.close()
        made.server.should_exit = True
        await serving


def signed(body: bytes, secret: str = SECRETS["TIDEGATE_SECRET_FORM"]) -> dict[str, str]:
    return TYPEFORM.sign(body, secret, "", NOW_MS)


async def test_what_is_signed_is_answered_once_kafka_has_its_events(gateway: Gateway) -> None:
    assert (200, "ok\n") == await gateway.post(BODY)

    assert [("events.product", b"ada@example.com")] * 2 == [(each.topic, each.key) for each in gateway.kafka.records]
    identify, track = (orjson.loads(each.value) for each in gateway.kafka.records)
    assert ("identify", {"email": "ada@example.com"}) == (identify["type"], identify["traits"])
    assert ("Form Submitted", "survey") == (track["event"], track["context"]["source"])
    assert 1 == gateway.count("notifications", connection="survey", outcome="taken")
    assert 0 == gateway.kafka.bytes


async def test_both_secrets_count_while_they_are_rotated(gateway: Gateway) -> None:
    for name in ("FORM", "FORM_NEXT"):
        secret = SECRETS[f"TIDEGATE_SECRET_{name}"]
        assert 200 == (await gateway.post(BODY, signed(BODY, secret)))[0]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "no_signature"),
        (signed(BODY, "somebody else's"), "wrong_signature"),
        (signed(BODY + b" "), "wrong_signature"),
        ({"Typeform-Signature": "sha256=" + "é" * 10}, "wrong_signature"),
        ({"Typeform-Signature": "x" * 5000}, "wrong_signature"),
    ],
)
async def test_what_is_not_proved_is_counted_and_nothing_of_it_is_kept(
    gateway: Gateway, headers: dict[str, str], why: str
) -> None:
    status, text = await gateway.post(BODY, headers)

    assert 401 == status
    assert text.startswith("expected ")
    assert [] == gateway.kafka.records
    assert 1 == gateway.count("unproved", vendor="typeform", why=why)


async def test_what_is_signed_and_cant_be_read_is_kept_as_it_came_and_not_asked_for_again(gateway: Gateway) -> None:
    for body in (b"\xff\xfe no text", b"[1, 2]", b'{"event_type": "form_response", "form_response": {}}'):
        gateway.kafka.records.clear()
        assert 200 == (await gateway.post(body))[0]

        (record,) = gateway.kafka.records
        assert ("rejected", body) == (record.topic, record.value)
        headers = dict(record.headers)
        assert b"gateway:survey" == headers["topic"]
        assert headers["sentence"].startswith(b"expected ")
    assert 3 == gateway.count("notifications", connection="survey", outcome="rejected")


async def test_what_the_connection_ignores_is_counted(gateway: Gateway) -> None:
    assert 200 == (await gateway.post(BODY, path="/v1/webhooks/typeform/quiet"))[0]

    assert [] == gateway.kafka.records
    assert 1 == gateway.count("notifications", connection="quiet", outcome="ignored")


@pytest.mark.parametrize("path", ["/v1/webhooks/typeform/other", "/v1/webhooks/stripe/survey", "/v1/webhooks/x/survey"])
async def test_a_connection_that_there_isnt_is_not_found(gateway: Gateway, path: str) -> None:
    assert 404 == (await gateway.post(BODY, path=path))[0]


async def test_a_vendor_that_only_looks_is_answered(gateway: Gateway) -> None:
    async with gateway.client.head(gateway.url + SURVEY) as response:
        assert 200 == response.status


async def test_a_body_may_be_packed_and_is_proved_as_it_was_before(gateway: Gateway) -> None:
    assert 200 == (await gateway.post(gzip.compress(BODY), signed(BODY) | {"Content-Encoding": "gzip"}))[0]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_over_the_bound_is_refused_however_it_is_packed(gateway: Gateway, packed: bool) -> None:
    body = b" " * (BODY_BYTES_MAX + 1)
    sent, headers = (gzip.compress(body), {"Content-Encoding": "gzip"}) if packed else (body, {})

    assert 413 == (await gateway.post(sent, headers))[0]
    assert 0 == gateway.kafka.bytes


@pytest.mark.parametrize(("fails", "status"), [(Crowded(), 429), (Unavailable("Kafka is away"), 503)])
async def test_while_kafka_is_slow_or_away_vendors_are_told_to_come_again(
    gateway: Gateway, fails: Exception, status: int
) -> None:
    gateway.kafka.fails = fails
    async with gateway.client.post(gateway.url + SURVEY, data=BODY, headers=signed(BODY)) as response:
        assert status == response.status
        assert int(response.headers["Retry-After"]) > 0

    gateway.kafka.fails = None
    assert 200 == (await gateway.post(BODY))[0]


async def _rejected(gateway: Gateway, events: list[Any], headers: dict[str, str], path: str) -> list[tuple[str, bytes]]:
    assert 200 == (await gateway.post(orjson.dumps(events), headers, path))[0]
    return [(dict(each.headers)["reason"].decode(), each.value) for each in gateway.kafka.records]


async def test_a_body_of_more_notifications_than_anybody_sends_is_rejected_as_one(gateway: Gateway) -> None:
    events: list[Any] = [{} for _ in range(10_001)]
    login = VENDORS["mailjet"].sign(b"", SECRETS["TIDEGATE_SECRET_LOGIN"], "", NOW_MS)

    assert [("too_large", orjson.dumps(events))] == await _rejected(
        gateway, events, login, "/v1/webhooks/mailjet/events"
    )


async def test_a_body_that_becomes_much_more_than_it_is_is_rejected_as_one(gateway: Gateway) -> None:
    gateway.world.there[sns.PLACE] = sns.certificate()
    mail = {"destination": [f"{n}@example.com" for n in range(1000)]}
    body = orjson.dumps(
        sns.signed(Message=orjson.dumps({"eventType": "Odd", "mail": mail, "x": "x" * 200_000}).decode())
    )

    assert 200 == (await gateway.post(body, {}, MAIL))[0]
    assert [("rejected", body)] == [(each.topic, each.value) for each in gateway.kafka.records]
    assert 1 == gateway.count("notifications", connection="mail", outcome="rejected")


SITE = "/v1/webhooks/segment/site"


def _batch(text: str) -> tuple[bytes, dict[str, str]]:
    events = [
        {"type": "page", "userId": f"u{n}", "messageId": f"m{n}", "context": {"agent": text}} for n in range(1000)
    ]
    body = orjson.dumps(events)
    return body, VENDORS["segment"].sign(body, SECRETS["TIDEGATE_SECRET_FORM"], "", NOW_MS)


async def test_a_thousand_events_at_once_are_taken_as_segment_sends_them(gateway: Gateway) -> None:
    body, headers = _batch("x" * 2000)
    assert BODY_BYTES_MAX < len(body) < BATCH_BYTES_MAX

    assert 200 == (await gateway.post(body, headers, SITE))[0]
    assert 1000 == len(gateway.kafka.records)
    body, headers = _batch("x" * 4000)
    assert 413 == (await gateway.post(body, headers, SITE))[0]


@pytest.mark.parametrize(
    "odd", [b'{"a": ' * 70 + b"1" + b"}" * 70, rb'"a cut emoji \ud83d"', rb'"\udc00\ud83d\ude00 \\ud83d"']
)
async def test_what_one_of_many_has_costs_none_of_the_others(gateway: Gateway, odd: bytes) -> None:
    event = b'{"type": "page", "userId": "u%d", "messageId": "m%d", "properties": {"title": %s}}'
    body = b"[" + b",".join(event % (n, n, odd if n == 1 else b'"a title"') for n in range(3)) + b"]"
    headers = VENDORS["segment"].sign(body, SECRETS["TIDEGATE_SECRET_FORM"], "", NOW_MS)

    assert 200 == (await gateway.post(body, headers, SITE))[0]
    taken = {each.key for each in gateway.kafka.records if each.topic != "rejected"}
    assert {b"u0", b"u2"} <= taken
    assert 3 == len(gateway.kafka.records)


async def test_a_body_that_is_more_than_a_record_is_cut_where_it_cant_be_read(gateway: Gateway) -> None:
    body = b'[{"type": "page"}, ' + b" " * BODY_BYTES_MAX
    headers = VENDORS["segment"].sign(body, SECRETS["TIDEGATE_SECRET_FORM"], "", NOW_MS)

    assert 200 == (await gateway.post(body, headers, SITE))[0]
    (record,) = gateway.kafka.records
    assert body[:BODY_BYTES_MAX] == record.value
    assert f"the first 1000000 bytes of {len(body)}".encode() in dict(record.headers)["sentence"]


async def test_what_is_rejected_of_a_body_is_never_more_than_the_body(gateway: Gateway) -> None:
    body = b'[{"email":"a@b.c"},{"x":[' + b",".join([b"1e15"] * 150_000) + b"]}]"
    login = VENDORS["mailjet"].sign(body, SECRETS["TIDEGATE_SECRET_LOGIN"], "", NOW_MS)

    assert 200 == (await gateway.post(body, login, "/v1/webhooks/mailjet/events"))[0]
    assert [body] == [each.value for each in gateway.kafka.records if each.topic == "rejected"]


async def test_a_repeat_has_the_message_ids_of_the_first(gateway: Gateway) -> None:
    for _ in range(2):
        await gateway.post(BODY)

    ids = [orjson.loads(each.value)["messageId"] for each in gateway.kafka.records]
    assert ids[:2] == ids[2:]
    assert 2 == len(set(ids))


LETTERS = "/v1/webhooks/mailgun/letters"


def _sealed() -> bytes:
    return VENDORS["mailgun"].seal(VENDORS["mailgun"].sample(NOW_MS), SECRETS["TIDEGATE_SECRET_FORM"], NOW_MS)


async def test_a_token_that_came_before_is_answered_and_not_taken_whatever_is_told_with_it(gateway: Gateway) -> None:
    told = _sealed()
    assert 200 == (await gateway.post(told, {}, LETTERS))[0]
    taken = len(gateway.kafka.records)

    assert 200 == (await gateway.post(told.replace(b"opened", b"complained"), {}, LETTERS))[0]
    assert taken == len(gateway.kafka.records)
    assert 1 == gateway.count("unproved", vendor="mailgun", why="repeated")


async def test_a_token_may_come_again_when_the_first_was_not_taken(gateway: Gateway) -> None:
    gateway.kafka.fails = Unavailable("Kafka is away")
    assert 503 == (await gateway.post(_sealed(), {}, LETTERS))[0]

    gateway.kafka.fails = None
    assert 200 == (await gateway.post(_sealed(), {}, LETTERS))[0]
    assert gateway.kafka.records


async def test_a_token_is_not_answered_as_taken_while_the_first_is_under_way(gateway: Gateway) -> None:
    gateway.kafka.let.clear()
    first = asyncio.create_task(gateway.post(_sealed(), {}, LETTERS))
    async with asyncio.timeout(5):
        await gateway.kafka.reached.wait()
    gateway.kafka.fails = Unavailable("Kafka is away")

    assert 503 == (await gateway.post(_sealed(), {}, LETTERS))[0]
    gateway.kafka.let.set()
    assert 503 == (await first)[0]


async def test_a_fault_of_ours_says_nothing_of_what_came(gateway: Gateway) -> None:
    gateway.kafka.fails = ValueError("ada@example.com")
    status, text = await gateway.post(BODY)

    assert 500 == status
    assert "ada" not in text


async def test_a_certificate_is_asked_for_once_and_only_for_messages_of_the_connection_s_topic(
    gateway: Gateway,
) -> None:
    gateway.world.there[sns.PLACE] = sns.certificate()
    stranger = sns.signed(TopicArn="arn:aws:sns:us-east-1:999999999999:ses-events")
    assert 401 == (await gateway.post(orjson.dumps(stranger), {}, MAIL))[0]
    assert [] == gateway.world.asked

    for _ in range(2):
        assert 200 == (await gateway.post(orjson.dumps(sns.signed()), {}, MAIL))[0]
    assert [sns.PLACE] == gateway.world.asked


async def test_while_the_certificate_cant_be_got_the_vendor_is_told_to_come_again(gateway: Gateway) -> None:
    assert 503 == (await gateway.post(orjson.dumps(sns.signed()), {}, MAIL))[0]
    assert [] == gateway.kafka.records


async def test_a_subscription_is_agreed_to_at_the_vendor_s(gateway: Gateway) -> None:
    agreement = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1"
    gateway.world.there |= {sns.PLACE: sns.certificate(), agreement: b""}
    asked = sns.signed(Type="SubscriptionConfirmation", Token="1", SubscribeURL=agreement)

    assert 200 == (await gateway.post(orjson.dumps(asked), {}, MAIL))[0]
    assert [sns.PLACE, agreement] == gateway.world.asked


async def test_what_is_made_of_a_body_counts_to_the_bytes_that_wait_for_kafka(gateway: Gateway) -> None:
    counted: list[int] = []
    reserve = gateway.kafka.reserve
    gateway.kafka.reserve = lambda count: (counted.append(count), reserve(count))[1]  # type: ignore[method-assign]

    assert 200 == (await gateway.post(BODY))[0]
    assert sum(counted) > len(BODY) + sum(len(record.value) for record in gateway.kafka.records)
    assert 0 == gateway.kafka.bytes
