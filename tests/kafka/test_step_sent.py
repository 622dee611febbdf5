"""The loop of a sequence's message: delivery, receiver, `Sequence Step Sent`, and what contacts do by it; on real services."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from children import Child
from dispatcher_runs import ROOT, Setup, command

from schemas.instants import format_instant
from schemas.topics import EVENTS_OWN, TRANSITIONS
from streams.broker import stored

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
DEFINITIONS = """
segments:
  - {{id: new, when: {{event: Signed Up}}}}
  - {{id: told, when: {{event: Sequence Step Sent, where: {{step: hello}}}}}}
sequences:
  - id: welcome
    on: {{segment: new}}
    steps:
      - send: {{channel: webhook, target: "{url}", secret: DEMO}}
        name: hello
      - wait: 1d
"""


async def values(setup: Setup, topic: str) -> list[dict[str, Any]]:
    found = stored(setup.settings, [setup.settings.topic(topic)])
    return [orjson.loads(record.value or b"null") async for record in found]


async def test_a_message_that_was_sent_is_an_event_that_segments_can_ask_for(
    setup: Setup, tmp_path: Path, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """The worker takes the dispatcher's word as an event, and the report counts the message as sent."""
    (tmp_path / "d.yaml").write_text(DEFINITIONS.format(url=setup.webhooks.url))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    own = setup.environment | {"TIDEGATE_DATA_DIR": str(tmp_path / "worker")}
    argv = [sys.executable, "-c", "from streams.cli import main; main()", "worker"]
    status, _, said = await asyncio.to_thread(command, setup, "segments", "apply", str(tmp_path / "d.yaml"))
    assert status == 0, said
    # after the sequence has come into force, as what was before begins nothing
    event = {
        "type": "track",
        "userId": "ada",
        "event": "Signed Up",
        "timestamp": format_instant(time.time_ns() // 1_000_000),
    }
    (tmp_path / "e.jsonl").write_text(json.dumps(event))
    worker = Child("worker", argv, tmp_path / "worker.log", env=clean | own, cwd=ROOT)
    setup.projector()
    dispatcher = setup.dispatcher()
    try:
        status, _, said = await asyncio.to_thread(command, setup, "publish", str(tmp_path / "e.jsonl"))
        assert status == 0, said

        async def is_told() -> bool:
            return any(each["segment"] == "told" for each in await values(setup, TRANSITIONS.name))

        await wait_for(is_told, TIMEOUT_S, "a transition by Sequence Step Sent")
    finally:
        worker.kill()
        dispatcher.kill()
        print(worker.output()[-3000:])

    (sent,) = [each for each in await values(setup, EVENTS_OWN.name) if each.get("event") == "Sequence Step Sent"]
    (delivery,) = setup.received()
    (entered,) = [each for each in await values(setup, TRANSITIONS.name) if each["segment"] == "new"]
    assert {
        "sequence": "welcome", "version": 1, "entry": entered["id"], "step": "hello", "channel": "webhook",
        "delivery_id": delivery,
    } == sent["properties"]  # fmt: skip
    status, out, said = await asyncio.to_thread(command, setup, "sequences", "report", "welcome", "--json")
    assert status == 0, said
    (step,) = json.loads(out)["versions"][0]["funnel"]["steps"]
    assert ("sent", 1) == (step["stages"][0]["stage"], step["stages"][0]["count"])
