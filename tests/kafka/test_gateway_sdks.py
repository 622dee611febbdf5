"""Segment's own SDKs, unmodified, with nothing changed but the host: what they send is in Kafka, whatever happens on the way."""

from __future__ import annotations

import asyncio
import datetime
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_runs import KEY, GatewayRun
from languages import SDKS, is_set_up, node
from segment.analytics.client import Client

from schemas.events import parse_event
from schemas.instants import parse_instant

pytestmark = pytest.mark.kafka

needs_node = pytest.mark.skipif(not is_set_up("Node"), reason="Node, or the SDK, is not here: run deploy/setup")
TIMEOUT_S = 60
MANY = 1_000
AT = "2026-03-01T09:30:00.250Z"
WaitFor = Callable[..., Awaitable[Any]]
# what each SDK sends of every kind: topic, kind, contact, name, properties that it gave, traits
KINDS = [
    ("events.product", "identify", "zoé", None, {}, {"plan": "pro", "email": "zoe@example.com"}),
    ("events.billing", "track", "zoé", "Order Completed", {"total": 19.99, "currency": "EUR"}, None),
    ("events.product", "page", "zoé", "Page Viewed", {"path": "/pricing", "name": "Pricing"}, None),
    ("events.product", "screen", "phone-1", "Screen Viewed", {"name": "Home"}, None),
    ("events.product", "group", "zoé", None, {}, {"group.id": "acme", "group.seats": 5}),
    ("events.product", "alias", "zoé", None, {}, None),
]


@pytest.fixture
async def run(broker: str, prefix: str, tmp_path: Path, wait_for: WaitFor) -> AsyncIterator[GatewayRun]:
    """A gateway that takes events, and is at the same address when it is started again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = GatewayRun(broker, prefix, tmp_path, gateway_port=str(port))
    made.make_topics()
    made.start()
    try:
        await wait_for(made.ready, TIMEOUT_S, "a gateway that takes events")
        yield made
    finally:
        made.close()


class Python:
    """The SDK for Python."""

    def __init__(self, url: str) -> None:
        self.failed: list[Exception] = []
        self.client = Client(
            KEY,
            host=url,
            gzip=True,
            upload_size=20,
            max_retries=20,
            on_error=lambda error, batch: self.failed.append(error),
        )

    def send_every_kind(self) -> None:
        """As `send.mjs` does."""
        at = {"timestamp": datetime.datetime.fromisoformat(AT)}
        self.client.identify("zoé", {"plan": "pro", "email": "zoe@example.com"}, **at)
        self.client.track("zoé", "Order Completed", {"total": 19.99, "currency": "EUR"}, **at)
        self.client.page("zoé", name="Pricing", properties={"path": "/pricing"}, **at)
        self.client.screen(anonymous_id="phone-1", name="Home", **at)
        self.client.group("zoé", "acme", {"seats": 5}, **at)
        self.client.alias("phone-1", "zoé", **at)

    def send_many(self) -> None:
        """Events that anybody could send."""
        for n in range(MANY):
            self.client.track(f"python-{n % 7}", "Moved", {"n": n})

    def end(self) -> list[Exception]:
        """Waits until all is sent; what was not."""
        self.client.flush()
        self.client.join()
        return self.failed


async def _node(run: GatewayRun, count: int) -> asyncio.subprocess.Process:
    assert run.url is not None
    return await asyncio.create_subprocess_exec(
        node(), "send.mjs", run.url, KEY, str(count), cwd=SDKS, stderr=asyncio.subprocess.PIPE
    )


def _seen(run: GatewayRun, contacts: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """What came of every kind; what an SDK adds to properties by itself is left out."""
    found = []
    for topic, record, _ in run.events():
        event = parse_event(record.value or b"")
        if event.contact in contacts:
            assert run.partition(event.contact) == record.partition
            properties = {
                name: value for name, value in event.properties.items() if name in ("total", "currency", "path", "name")
            }
            found.append((topic, event.type, event.contact, event.name, properties, event.traits))
    return found


def _moved(run: GatewayRun, sdk: str) -> list[int]:
    """The numbers of the many events, each id once."""
    by_id = {
        event["messageId"]: event["properties"]["n"]
        for _, _, event in run.events()
        if event.get("event") == "Moved" and event["userId"].startswith(sdk)
    }
    return sorted(by_id.values())


async def test_every_call_of_the_sdk_for_python_is_the_event_that_it_means(run: GatewayRun) -> None:
    sdk = Python(run.url or "")
    sdk.send_every_kind()

    assert [] == await asyncio.to_thread(sdk.end)
    assert sorted(KINDS, key=str) == sorted(_seen(run, ("zoé", "phone-1")), key=str)
    times = {event["originalTimestamp"] for _, _, event in run.events()}
    assert {parse_instant(AT, offset_required=True)} == {parse_instant(each, offset_required=True) for each in times}


@needs_node
async def test_every_call_of_the_sdk_for_node_is_the_event_that_it_means(run: GatewayRun) -> None:
    sending = await _node(run, 0)
    _, said = await sending.communicate()

    assert 0 == sending.returncode, said.decode()
    assert sorted(KINDS, key=str) == sorted(_seen(run, ("zoé", "phone-1")), key=str)


@needs_node
async def test_through_a_kill_of_the_gateway_the_sdks_lose_nothing_and_repeats_have_the_same_id(
    run: GatewayRun, wait_for: WaitFor
) -> None:
    sdk = Python(run.url or "")
    sending = await _node(run, MANY)
    sdk.send_many()
    await wait_for(lambda: run.metric("tidegate_gateway_events_total") > 200, TIMEOUT_S, "two hundred events")
    run.process.kill()
    run.start()
    await wait_for(run.ready, TIMEOUT_S, "the gateway again")

    assert [] == await asyncio.to_thread(sdk.end)
    _, said = await sending.communicate()
    assert 0 == sending.returncode, said.decode()
    for name in ("python", "node"):
        assert list(range(MANY)) == _moved(run, name), f"of the SDK for {name}"
