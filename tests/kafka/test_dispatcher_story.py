"""The whole way: events in, a transition by time alone, a signed webhook and an e-mail out, each once."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from children import Child
from dispatcher_runs import ROOT, Setup, command

from schemas.instants import format_instant

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
UNSUBSCRIBE = "whsec_" + base64.b64encode(b"u" * 32).decode()
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


def process(setup: Setup, name: str, directory: Path) -> Child:
    """A process of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    own = setup.environment | {
        "TIDEGATE_DATA_DIR": str(directory / name),
        "TIDEGATE_PUBLIC_URL": "https://shop.example",
        "TIDEGATE_SECRET_UNSUBSCRIBE": UNSUBSCRIBE,
    }
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


POLICIES = """
segments:
  - {{id: asked, when: {{event: Asked, within: 365d}}, per: n}}
rules:
  - id: promo
    on: {{segment: asked}}
    channel: email
    group: promo
    target: {{trait: email}}
    template: {{subject: "For {{{{ contact }}}}", text: "{{{{ transition.key }}}}"}}
policies:
  - id: mails
    caps: [{{channel: email, group: promo, at_most: 2, within: 7d, then: drop}}]
  - id: nights
    quiet_hours: {{from: "{quiet_from}", to: "{quiet_to}"}}
"""
HOUR_S = 3600


def clock(offset_s: int) -> str:
    """The time of day of UTC, so much from now."""
    return time.strftime("%H:%M", time.gmtime(time.time() + offset_s))


async def test_consent_caps_and_quiet_hours_are_asked_at_the_instant_of_sending(
    setup: Setup, tmp_path: Path, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """Ada gets two of three; Bob has unsubscribed; Cyd sleeps, as where he lives it is twelve hours later."""
    definitions = tmp_path / "definitions.yaml"
    quiet = {"quiet_from": clock(11 * HOUR_S), "quiet_to": clock(13 * HOUR_S)}
    definitions.write_text(POLICIES.format(**quiet))
    status, shown, said = await asyncio.to_thread(command, setup, "segments", "apply", str(definitions))
    assert status == 0, said
    assert "policy" in shown
    children = [process(setup, name, tmp_path) for name in ("worker", "projector", "dispatcher")]
    people = {"ada": "UTC", "bob": "UTC", "cyd": "Etc/GMT-12"}
    traits = {who: {"email": f"{who}@home.example", "timezone": tz} for who, tz in people.items()}
    try:
        await publish(
            setup,
            tmp_path,
            *({"type": "identify", "userId": who, "traits": known} for who, known in traits.items()),
            {"type": "track", "userId": "bob", "event": "Unsubscribed", "properties": {"group": "promo"}},
            *({"type": "track", "userId": "ada", "event": "Asked", "properties": {"n": n}} for n in "123"),
            *({"type": "track", "userId": who, "event": "Asked", "properties": {"n": "1"}} for who in ("bob", "cyd")),
        )
        await wait_for(
            lambda: _statuses(setup, {"sent": 2, "skipped": 2, "waiting": 1}), TIMEOUT_S, "a decision on each of five"
        )
    finally:
        for child in children:
            child.stop()

    assert {mail.to for mail in setup.mails.received} == {"ada@home.example"}
    status, shown, _ = await asyncio.to_thread(command, setup, "deliveries", "list", "--json")
    reasons = {
        (each["contact"], each["reason"].partition(" until")[0]) for each in orjson.loads(shown) if each["reason"]
    }
    assert reasons == {
        ("ada", "expected less than 2 messages by email of group 'promo' in 7d, got that many"),
        ("bob", "expected consent to messages of group 'promo', it was taken back"),
        ("cyd", "expected waking hours in Etc/GMT-12, got quiet ones"),
    }


LEAVING = """
segments:
  - {id: asked, when: {event: Asked, within: 365d}, per: n}
rules:
  - id: promo
    on: {segment: asked}
    channel: email
    group: promo
    target: {trait: email}
    template: {subject: "For you", text: "Leave: {{ unsubscribe_url }}"}
"""


async def test_who_clicks_once_in_a_mail_gets_no_more_of_its_group(
    setup: Setup, tmp_path: Path, wait_for: Callable[..., Awaitable[Any]]
) -> None:
    """The link of the mail's header, as a mailbox provider calls it, to the next message that is not sent."""
    definitions = tmp_path / "definitions.yaml"
    definitions.write_text(LEAVING)
    status, _, said = await asyncio.to_thread(command, setup, "segments", "apply", str(definitions))
    assert status == 0, said
    children = {name: process(setup, name, tmp_path) for name in ("worker", "projector", "dispatcher")}
    try:
        await publish(
            setup,
            tmp_path,
            {"type": "identify", "userId": "ada", "traits": {"email": "ada@home.example"}},
            {"type": "track", "userId": "ada", "event": "Asked", "properties": {"n": "1"}},
        )
        await wait_for(lambda: len(setup.mails.received) == 1, TIMEOUT_S, "the first mail")
        (mail,) = setup.mails.received
        link = mail.headers["list-unsubscribe"].strip("<>")
        assert link in mail.body
        port = children["dispatcher"].output().split("http://127.0.0.1:")[1].split("/")[0]
        here = link.replace("https://shop.example", f"http://127.0.0.1:{port}")
        async with aiohttp.ClientSession() as session:
            answer = await session.post(here, data={"List-Unsubscribe": "One-Click"})
            assert answer.status == 200
        await publish(setup, tmp_path, {"type": "track", "userId": "ada", "event": "Asked", "properties": {"n": "2"}})
        await wait_for(lambda: _statuses(setup, {"sent": 1, "skipped": 1}), TIMEOUT_S, "a decision on the second")
    finally:
        for child in children.values():
            child.stop()

    status, shown, _ = await asyncio.to_thread(command, setup, "deliveries", "list", "--status", "skipped", "--json")
    (skipped,) = orjson.loads(shown)
    assert (skipped["contact"], len(setup.mails.received)) == ("ada", 1)
    assert skipped["reason"] == "expected consent to messages of group 'promo', it was taken back"
