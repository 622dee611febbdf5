"""The whole way: events in, a transition by time alone, a signed webhook and an e-mail out, each once."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from children import Child
from dispatcher_runs import ROOT, Setup, command

from schemas.instants import format_instant

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
SECONDS = 2
DEFINITIONS = """
segments:
  - id: abandoned
    when:
      all:
        - {{event: Product Added, last_at: {{older_than: {seconds}s}}}}
        - {{event: Order Completed, count: 0}}
rules:
  - id: reminder
    on: {{segment: abandoned}}
    channel: email
    target: {{trait: email}}
    template: cart-mail
  - {{id: crm, on: {{segment: abandoned}}, channel: webhook, target: "{url}", secret: DEMO, traits: [email]}}
  - {{id: bought, on: {{segment: abandoned, transition: left}}, channel: webhook, target: "{url}", secret: DEMO}}
"""


@pytest.fixture
async def setup(broker: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(broker, redis_url, prefix, tmp_path)
    await made.start()
    yield made
    await made.stop()


def process(setup: Setup, name: str, directory: Path) -> Child:
    """A process of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    own = setup.environment | {"TIDEGATE_DATA_DIR": str(directory / name)}
    argv = [sys.executable, "-c", "from streams.cli import main; main()", name]
    return Child(name, argv, directory / f"{name}.log", env=clean | own, cwd=ROOT)


async def publish(setup: Setup, directory: Path, *events: dict[str, Any]) -> None:
    at = format_instant(time.time_ns() // 1_000_000)
    file = directory / "events.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps({"timestamp": at, **event}) for event in events))
    status, _, said = await asyncio.to_thread(command, setup, "publish", str(file))
    assert status == 0, said


async def test_an_abandoned_cart_is_told_by_mail_and_webhook_and_who_buys_is_told_of_too(
    setup: Setup, tmp_path: Path, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """Ada has an address; Bob has none, and an outcome says that it is why he gets no mail."""
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text(DEFINITIONS.format(seconds=SECONDS, url=setup.webhooks.url))
    status, _, said = await asyncio.to_thread(command, setup, "segments", "apply", str(definitions))
    assert status == 0, said
    children = [process(setup, name, tmp_path) for name in ("worker", "projector", "dispatcher")]
    try:
        await publish(
            setup,
            tmp_path,
            {"type": "identify", "userId": "ada", "traits": {"email": "ada@home.example", "first_name": "Ada"}},
            *({"type": "track", "userId": who, "event": "Product Added"} for who in ("ada", "bob")),
        )
        await wait_for(
            lambda: (len(setup.mails.received), len(setup.webhooks.received)) == (1, 2),
            TIMEOUT_S,
            "a mail, two webhooks",
        )
        await publish(setup, tmp_path, {"type": "track", "userId": "ada", "event": "Order Completed"})
        await wait_for(lambda: len(setup.webhooks.received) == 3, TIMEOUT_S, "word of Ada's order")
        await wait_for(lambda: _statuses(setup, {"sent": 4, "skipped": 1}), TIMEOUT_S, "an outcome of each")
    finally:
        for child in children:
            child.stop()

    (mail,) = setup.mails.received
    assert (mail.to, mail.headers["subject"]) == ("ada@home.example", "Ada, your cart is still here")
    told = [(hook.body["type"], hook.to, hook.body["data"]["transition"]["cause"]) for hook in setup.webhooks.received]
    assert sorted(told[:2]) == [("segment.entered", "ada", "timer"), ("segment.entered", "bob", "timer")]
    assert told[2] == ("segment.left", "ada", "event")
    assert setup.webhooks.received[2].body["data"]["transition"]["event"]["name"] == "Order Completed"
    status, shown, _ = await asyncio.to_thread(command, setup, "deliveries", "list", "--status", "skipped", "--json")
    (skipped,) = orjson.loads(shown)
    assert (skipped["contact"], skipped["reason"]) == ("bob", "expected an e-mail address in trait 'email', got none")


async def _statuses(setup: Setup, expected: dict[str, int]) -> bool:
    return dict(await setup.statuses()) == expected
