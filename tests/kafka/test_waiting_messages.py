"""What waits and has lost its purpose meanwhile: the sequence has ended, or was removed. On real services, the whole way."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis.asyncio as redis
from children import Child
from dispatcher_runs import ROOT, Setup, command

from schemas.instants import format_instant

pytestmark = pytest.mark.kafka

WaitFor = Callable[..., Awaitable[Any]]
TIMEOUT_S = 60
# the exit is written in place: nobody is told of its transitions, but its memberships are there
SEGMENTS = """
segments:
  - {id: added, when: {event: Product Added, within: 30d}}
  - {id: buyers, when: {event: Order Completed, within: 30d}}
"""
SEQUENCES = """
sequences:
  - id: cart
    on: {segment: added}
    goal: {segment: buyers}
    exit: {when: {event: Cart Emptied, within: 30d}, transition: entered}
    steps:
      - send: &mail {channel: email, target: {trait: email}, template: {subject: "Your cart", text: "It is still here"}}
  - {id: survey, on: {segment: added}, steps: [{send: *mail}]}
rules:
  - {id: hello, on: {segment: added}, channel: email, target: {trait: email}, template: {subject: "Hello", text: "you"}}
"""


async def tidegate(setup: Setup, *arguments: str) -> str:
    status, shown, said = await asyncio.to_thread(command, setup, *arguments)
    assert status == 0, said
    return shown


async def publish(setup: Setup, directory: Path, *events: dict[str, Any]) -> None:
    at = format_instant(time.time_ns() // 1_000_000)
    file = directory / "events.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps({"timestamp": at, **event}) for event in events))
    await tidegate(setup, "publish", str(file))


async def listed(setup: Setup) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Status and code by contact and rule or sequence."""
    found = orjson.loads(await tidegate(setup, "deliveries", "list", "--json"))
    return {(each["contact"], each["rule"]): (each["status"], each["code"]) for each in found}


async def test_who_buys_while_the_reminder_waits_gets_none_and_what_was_removed_says_no_more(
    setup: Setup, redis_url: str, prefix: str, tmp_path: Path, wait_for: WaitFor
) -> None:
    """Ada buys, Bob empties his cart, Cyd does neither; of all of them the survey and the hello are removed."""
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text(SEGMENTS + SEQUENCES)
    await tidegate(setup, "segments", "apply", str(definitions))
    await tidegate(setup, "deliveries", "pause", "--channel", "email")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    own = clean | setup.environment | {"TIDEGATE_DATA_DIR": str(tmp_path / "worker")}
    argv = [sys.executable, "-c", "from streams.cli import main; main()", "worker"]
    worker = Child("worker", argv, tmp_path / "worker.log", env=own, cwd=ROOT)
    setup.projector()
    dispatcher = setup.dispatcher()
    client = redis.Redis.from_url(redis_url)
    people = ("ada", "bob", "cyd")
    try:
        traits = [{"type": "identify", "userId": who, "traits": {"email": f"{who}@home.example"}} for who in people]
        added = [{"type": "track", "userId": who, "event": "Product Added"} for who in people]
        await publish(setup, tmp_path, *traits, *added)
        waits = {(who, what): ("waiting", "paused") for who in people for what in ("cart", "survey", "hello")}

        async def all_wait() -> bool:
            return await listed(setup) == waits

        await wait_for(all_wait, TIMEOUT_S, "nine messages to wait")
        await publish(
            setup,
            tmp_path,
            {"type": "track", "userId": "ada", "event": "Order Completed"},
            {"type": "track", "userId": "bob", "event": "Cart Emptied"},
        )

        async def is_known() -> bool:
            counts = [await client.hlen(f"{{{prefix}read}}:memberships:{who}") for who in people]
            return counts == [2, 2, 1]

        await wait_for(is_known, TIMEOUT_S, "Redis to know that Ada has bought and Bob's cart is empty")
        # with them the rules of the set-up, whose segment nobody has made
        await tidegate(setup, "segments", "remove", "sequence/survey", "rule/hello", "rule/hook", "rule/mail")
        await tidegate(setup, "deliveries", "resume", "--channel", "email")

        async def none_waits() -> bool:
            return all(status != "waiting" for status, _ in (await listed(setup)).values())

        await wait_for(none_waits, TIMEOUT_S, "a word on each of the nine")
        found = await listed(setup)
        reasons = {
            each["contact"]: str(each["reason"])
            for each in orjson.loads(await tidegate(setup, "deliveries", "list", "--json"))
            if each["rule"] == "cart"
        }
    finally:
        worker.kill()
        dispatcher.kill()
        await client.aclose()

    assert [mail.to for mail in setup.mails.received] == ["cyd@home.example"]
    assert found == {(who, what): ("skipped", "removed") for who in people for what in ("survey", "hello")} | {
        ("ada", "cart"): ("skipped", "ended"),
        ("bob", "cart"): ("skipped", "ended"),
        ("cyd", "cart"): ("sent", None),
    }
    assert "the contact has entered segment 'buyers' at " in reasons["ada"]
    assert "the contact has entered what `exit` asks for at " in reasons["bob"]
