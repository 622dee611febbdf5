"""Third act: what a company already has sends events, unchanged. Vendors' published payloads, signed, over HTTP; Segment's SDK.

All that was answered with 200 has to be in Kafka, each event once and as it was mapped; a kill -9 of the gateway under load
must lose nothing of it.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import secrets as random
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from children import Child
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table
from segment.analytics.client import Client
from stage import DEPLOY, Stage, StageError, tidegate
from tools import free_ports
from watch import Watch

from schemas.events import parse_event
from schemas.topics import SOURCES
from streams.connections import Connected, Connections, load
from streams.settings import SECRET_PREFIX, load_settings
from streams.vendors.connection import Connection

SEGMENTS = DEPLOY / "segments" / "sources.yaml"
CONNECTIONS = DEPLOY / "connections" / "demo.yaml"
PAYLOADS = DEPLOY.parent / "tests" / "data" / "webhooks"
CALLERS = 16
CALLS = 4_000
KILLED_AFTER = 1_500


class Sources:
    """The act: one gateway and one worker under a prefix of its own."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self.stage, self.console = stage, console
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = stage.settings("sources.", "wall") | _secrets()
        self.settings |= {"TIDEGATE_CONNECTIONS": str(CONNECTIONS), "TIDEGATE_GATEWAY_PORT": str(self.port)}
        self.connections: Connections = load(load_settings(self.settings), self.settings)
        self.answers: collections.Counter[int] = collections.Counter()
        self.requests: collections.Counter[str] = collections.Counter()

    def play(self) -> None:
        """The whole act; raises `StageError` or `TimeoutError` where something doesn't come."""
        tidegate(self.settings, "topics", "create")
        tidegate(self.settings, "segments", "apply", str(SEGMENTS))
        worker = self.stage.process("sources-worker", self.settings, "worker")
        self.gateway = self._start()
        self.stage.ready(worker)
        watch = Watch(load_settings(self.settings)).start()
        try:
            asyncio.run(self._tell(watch))
        finally:
            watch.stop()

    async def _tell(self, watch: Watch) -> None:
        async with aiohttp.ClientSession() as self.client:
            await asyncio.to_thread(self._sdk, watch)
            await self._payloads()
            await self._trial(watch)
            await self._forged()
            await self._kill()

    def _start(self) -> Child:
        started = self.stage.process("sources-gateway", self.settings, "gateway")
        self.stage.ready(started)
        return started

    def _sdk(self, watch: Watch) -> None:
        """Segment's SDK for Python, with nothing changed but the host."""
        failed: list[Exception] = []
        sdk = Client(
            self.settings[SECRET_PREFIX + "WEBSITE_KEY"],
            host=self.url,
            gzip=True,
            on_error=lambda error, batch: failed.append(error),
        )
        sdk.identify("ada", {"email": "ada@lovelace.example", "first_name": "Ada"})
        sdk.track("ada", "Signed Up", {"source": "newsletter"})
        sdk.flush()
        sdk.join()
        if failed:
            raise StageError(f"expected Segment's SDK to be answered with 200, got {failed[0]}")
        watch.wait("signed-up", "ada", 1, 30)
        self.console.print(
            "[green]✓[/] Segment's SDK for Python, its host changed and nothing else: Ada signs up, [bold]entered signed-up[/]"
        )

    async def _payloads(self) -> None:
        """What vendors published of their webhooks, each signed as they sign, and everything that came of it."""
        for connected, body, headers in self._requests():
            connection = connected.connection
            status = await self._post(connected, body, headers)
            if status not in (200, 303):
                raise StageError(f"expected {connection.vendor} to be answered with 200, got {status}")
            self.requests[connection.id] += 1
        events, rejected = await self._came()
        table = Table(box=None, pad_edge=False)
        for heading in ("connection", "vendor", "requests", "events", "most of them"):
            counted = heading in ("requests", "events")
            table.add_column(heading, justify="right" if counted else "left", no_wrap=heading != "most of them")
        for id, count in self.requests.items():
            names = collections.Counter(
                parse_event(orjson.dumps(event)).name for event in events if _source(event) == id
            )
            names.pop(None, None)
            most = ", ".join(f"{name} {n}" for name, n in names.most_common(3))
            table.add_row(id, self._vendor(id), f"{count}", f"{sum(_source(each) == id for each in events)}", most)
        self.console.print(table)
        total = sum(self.requests.values())
        self.console.print(
            f"[green]✓[/] {total} payloads of {len(self.requests)} vendors, as they published them: [bold]each in Kafka when it "
            f"was answered[/], {len(rejected)} kept in `rejected` with the reason"
        )
        if missing := [id for id in self.requests if not any(_source(each) == id for each in (*events, *rejected))]:
            raise StageError(f"expected events of every connection, got none of {', '.join(missing)}")

    async def _trial(self, watch: Watch) -> None:
        """A trial that begins at the payment provider, until a subscriber can read that somebody is in a segment."""
        connected = self._connected("payments")
        body = orjson.dumps(_trial_begun("ada", int(time.time())))
        sent_s = time.monotonic()
        status = await self._post(connected, body, {})
        answered_ms = (time.monotonic() - sent_s) * 1000
        if status != 200:
            raise StageError(f"expected Stripe to be answered with 200, got {status}")
        await asyncio.to_thread(watch.wait, "on-trial", "ada", 1, 30)
        readable_ms = (watch.readable_s["on-trial", "ada", 1] - sent_s) * 1000
        self.console.print(
            f"[green]✓[/] Stripe says that Ada's trial began: answered after {answered_ms:.0f} ms, and she [bold]entered "
            f"on-trial[/]: readable {readable_ms:.0f} ms after the request was sent"
        )

    async def _forged(self) -> None:
        """The same, with one byte changed after it was signed."""
        connected = self._connected("payments")
        body = orjson.dumps(_trial_begun("eve", int(time.time())))
        headers = self._signed(connected, body)
        async with self.client.post(self._url(connected), data=body.replace(b"eve", b"Eve"), headers=headers) as answer:
            if answer.status != 401:
                raise StageError(f"expected a forged request to be answered with 401, got {answer.status}")
            said = (await answer.text()).strip()
        self.console.print(f"[green]✓[/] one byte changed after signing: 401, {said!r}")

    async def _kill(self) -> None:
        """Calls of many at once; the gateway is killed among them. What was acknowledged is there afterwards."""
        acknowledged: set[str] = set()
        numbers = iter(range(CALLS))
        key = aiohttp.BasicAuth(self.settings[SECRET_PREFIX + "WEBSITE_KEY"])

        async def call() -> None:
            for number in numbers:
                event = {"userId": f"caller-{number % 97}", "event": "Called", "messageId": f"call-{number}"}
                while not await self._call(event, key):  # noqa: ASYNC110 - as a client that tries again does
                    await asyncio.sleep(0.05)
                acknowledged.add(event["messageId"])

        callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
        while len(acknowledged) < KILLED_AFTER:  # noqa: ASYNC110 - the gateway tells it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self.gateway.kill)
        before = len(acknowledged)
        self.gateway = await asyncio.to_thread(self._start)
        await asyncio.gather(*callers)
        events, _ = await self._came()
        there = collections.Counter(event["messageId"] for event in events if event.get("event") == "Called")
        lost = acknowledged - set(there)
        if lost or len(acknowledged) != CALLS:
            raise StageError(f"expected all of {CALLS} acknowledged calls in Kafka, {len(lost)} are missing")
        again = sum(count - 1 for count in there.values())
        self.console.print(
            f"[green]✓[/] [bold]the gateway is killed[/] (kill -9) after {before:,} of {CALLS:,} calls and started again: "
            f"[bold]{len(lost)} acknowledged calls lost[/], {again} there twice with the same messageId, which counts once"
        )

    async def _call(self, event: dict[str, Any], key: aiohttp.BasicAuth) -> bool:
        try:
            async with self.client.post(f"{self.url}/v1/track", json=event, auth=key) as answer:
                await answer.read()
                self.answers[answer.status] += 1
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    def _requests(self) -> Iterator[tuple[Connected, bytes, dict[str, str]]]:
        """Connection, body, and headers beside the proof."""
        for id, bodies in _published().items():
            for body in bodies:
                headers = {"Content-Type": "application/xml"} if body.startswith(b"<") else {}
                yield self._connected(id), body, headers

    async def _post(self, connected: Connected, body: bytes, headers: dict[str, str]) -> int:
        assert connected.vendor is not None, "it has a webhook"
        sealed = connected.vendor.seal(body, connected.secrets[0], time.time_ns() // 1_000_000)
        headers = {"Content-Type": connected.vendor.content_type} | headers | self._signed(connected, sealed)
        async with self.client.post(
            self._url(connected), data=sealed, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status

    def _signed(self, connected: Connected, body: bytes) -> dict[str, str]:
        assert connected.vendor is not None, "it has a webhook"
        return connected.vendor.sign(body, connected.secrets[0], self._url(connected), time.time_ns() // 1_000_000)

    def _connected(self, id: str) -> Connected:
        return next(each for each in self.connections if each.connection.id == id)

    def _vendor(self, id: str) -> str:
        connection: Connection = self._connected(id).connection
        return connection.vendor

    def _url(self, connected: Connected) -> str:
        return f"{self.url}/v1/webhooks/{connected.connection.vendor}/{connected.connection.id}"

    async def _came(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All events in the source topics, and of what was rejected where it came from."""
        events = [orjson.loads(value) for topic in SOURCES async for value, _ in self._records(topic.name)]
        rejected = [
            {"context": {"source": dict(headers)["topic"].decode().removeprefix("gateway:")}}
            async for _, headers in self._records("rejected")
        ]
        return events, rejected

    async def _records(self, topic: str) -> Any:
        name = self.settings["TIDEGATE_PREFIX"] + topic
        consumer = AIOKafkaConsumer(bootstrap_servers=self.stage.kafka.address, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(name, n) for n in range(load_settings(self.settings).partitions)]
            consumer.assign(partitions)
            missing = sum((await consumer.end_offsets(partitions)).values())
            while missing:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    missing -= len(records)
                    for record in records:
                        yield record.value, record.headers
        finally:
            await consumer.stop()


def _published() -> dict[str, list[bytes]]:
    """Bodies that vendors published, by the id of the connection that they go to."""

    def cases(path: str) -> list[Any]:
        found = json.loads((PAYLOADS / path).read_bytes())["cases"]
        return list(found.values()) if isinstance(found, dict) else list(found)

    def encoded(bodies: list[Any]) -> list[bytes]:
        return [body.encode() if isinstance(body, str) else orjson.dumps(body) for body in bodies]

    return {
        "payments": encoded([case["body"] for case in cases("billing/stripe_captured.json")])
        + encoded(cases("billing/stripe_events.json")),
        "subscriptions": encoded(cases("billing/chargebee_sample.json")),
        "accounts": encoded(cases("billing/recurly_xml.json")),
        "survey": encoded(cases("forms/typeform.json")),
        "contact-us": [b"name=Grace&email=grace%40hopper.example&message=Do+you+ship+to+Alaska%3F"],
        "newsletter": encoded([case["payload"] for case in cases("email/sendgrid.json")])
        + encoded(cases("email/sendgrid_official.json")),
        "receipts": encoded([case["payload"] for case in cases("email/postmark.json")]),
        "cdp": encoded([_dated(case["message"]) for case in cases("segment/spec_samples.json") if _is_event(case)]),
    }


def _is_event(case: dict[str, Any]) -> bool:
    message = case.get("message") or {}
    return message.get("type") in ("track", "identify", "page", "screen", "group") and "userId" in message


def _dated(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "writeKey"}


def _trial_begun(user_id: str, now_s: int) -> dict[str, Any]:
    """The event that Stripe sends for a subscription that begins with a trial."""
    price = {"id": "price_pro", "lookup_key": "pro", "unit_amount": 4900, "currency": "eur", "type": "recurring"}
    price["recurring"] = {"interval": "month", "interval_count": 1}
    subscription = {
        "id": "sub_demo",
        "object": "subscription",
        "customer": "cus_demo",
        "status": "trialing",
        "currency": "eur",
        "trial_start": now_s,
        "trial_end": now_s + 14 * 86_400,
        "metadata": {"user_id": user_id},
        "items": {"data": [{"price": price, "quantity": 1, "current_period_end": now_s + 14 * 86_400}]},
    }
    event = {"id": f"evt_{user_id}", "object": "event", "type": "customer.subscription.created", "created": now_s}
    return event | {"api_version": "2026-08-27.basil", "data": {"object": subscription}}


def _source(event: dict[str, Any]) -> Any:
    return (event.get("context") or {}).get("source")


def _secrets() -> dict[str, str]:
    """A secret for each connection, made up anew; of SendGrid the private key, which nobody but it has elsewhere."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = {name: random.token_hex(16) for name in ("WEBSITE_KEY", "STRIPE_BEFORE", "TYPEFORM", "FORM_KEY", "SEGMENT")}
    made |= {"STRIPE": f"whsec_{random.token_hex(16)}", "SENDGRID": base64.b64encode(key).decode()}
    made |= {name: f"demo:{random.token_hex(16)}" for name in ("CHARGEBEE", "RECURLY", "POSTMARK")}
    return {SECRET_PREFIX + name: secret for name, secret in made.items()}
