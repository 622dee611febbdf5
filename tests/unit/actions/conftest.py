"""Deliveries, rules and receivers for the tests of `actions/`."""

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import receivers
import redis.asyncio as redis

from actions import Rule, load_rules
from schemas.deliveries import Delivery, TransitionOf

RULES = """
rules:
  - id: mail
    on: {segment: cart}
    channel: email
    target: {trait: email}
    template: {subject: "Hi {{ traits.name }}", text: "Hello {{ traits.name }},\\nyours", html: "<p>{{ traits.name }}</p>"}
  - id: hook
    on: {segment: cart}
    channel: webhook
    target: https://shop.example/
    secret: DEMO
"""
AT = "2026-03-01T09:30:00.000Z"


@pytest.fixture
def rules() -> dict[str, Rule]:
    """A mail rule and a webhook rule, by id."""
    return {rule.id: rule for rule in load_rules(RULES)}


@pytest.fixture
def make_delivery() -> Callable[..., Delivery]:
    """Makes a delivery; what isn't given is as plain as can be."""

    def make(
        id: str = "d" * 32, channel: Any = "webhook", target: str = "http://127.0.0.1:9/", **changes: Any
    ) -> Delivery:
        transition = TransitionOf(
            id="t", segment="cart", segment_version=1, transition="entered", seq=1, at=AT, cause="timer"
        )
        values: dict[str, Any] = {
            "rule": "mail" if channel == "email" else "hook",
            "rule_version": 1,
            "step": 0,
            "contact": "c-17",
            "revision": 4,
            "transition": transition,
            "traits": {"name": "Ada"},
            "created_at": AT,
        }
        return Delivery(id=id, channel=channel, target=target, **(values | changes))

    return make


@pytest.fixture
async def webhooks() -> AsyncIterator[receivers.WebhookReceiver]:
    """A webhook receiver on loopback that checks signatures."""
    receiver = receivers.WebhookReceiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def mails() -> AsyncIterator[receivers.MailSink]:
    """A mail server on loopback that keeps what it is sent."""
    sink = receivers.MailSink()
    await sink.start()
    yield sink
    await sink.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and the server's context with it."""
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    """A client of the Redis that all tests share."""
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()
