"""Each channel with somebody to send to, who takes, refuses, is busy, says nothing or is gone; for the contract suite."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Literal

import redis.asyncio as redis
from aiohttp import web
from receivers import DEMO_SECRET, MailSink

from actions import Rule, load_rules
from actions.channels import NotTaken, Sender
from actions.inapp import InAppSender, Inbox
from actions.kafka import KafkaSender
from actions.mail import MailSender
from actions.mail_connections import MailServer
from actions.reach import Reach
from actions.slack import SlackSender
from actions.sms import SmsSender
from actions.tracking import TrackingSender
from actions.unsubscribe import UnsubscribeLinks
from actions.webhook import WebhookSender
from schemas.deliveries import Channel, Delivery, TransitionOf
from streams.settings import load_settings
from streams.topic_writer import TopicWriter

Mode = Literal["takes", "refuses", "busy", "silent", "echoes", "gone"]

NOW_MS = 1_772_357_400_500
AT = "2026-03-01T09:30:00.000Z"
HERE = Reach(private=True)
KEY = "a key of ours that nobody guesses"
LINKS = UnsubscribeLinks("https://shop.example", KEY)
SLACK_PATH, LOGIN = "/services/T0/B0/very-secret", "AC0123:very-secret-token"
WRITE_KEY = "very-secret-write-key"
RULES = """
rules:
  - {id: webhook, on: {segment: cart}, channel: webhook, target: "https://shop.example/", secret: HOOK}
  - id: email
    on: {segment: cart}
    channel: email
    target: {trait: email}
    template: {subject: "Hi {{ traits.name }}", text: "Hello"}
  - {id: slack, on: {segment: cart}, channel: slack, secret: SALES, template: {text: "Hi {{ traits.name }}"}}
  - id: sms
    on: {segment: cart}
    channel: sms
    target: {trait: phone}
    from: SHOP
    secret: TWILIO
    template: {text: "Hi {{ traits.name }}"}
  - {id: inapp, on: {segment: cart}, channel: inapp, template: {text: "Hi {{ traits.name }}"}}
  - {id: kafka, on: {segment: cart}, channel: kafka, target: crm.messages}
  - id: segment
    on: {segment: cart}
    channel: segment
    target: https://cdp.example
    secret: CDP
    identify: true
"""


class Stage:
    """A channel and its receiver. `arrived`: id of each message that came, None where the channel has none."""

    channel: Channel
    modes: tuple[Mode, ...] = ("takes", "refuses", "silent", "gone")
    secrets: tuple[str, ...] = (KEY,)
    target = ""
    tells_repeats = True

    def __init__(self) -> None:
        self.mode: Mode = "takes"
        self.arrived: list[str | None] = []
        self.sender: Sender
        self.released = asyncio.Event()

    @property
    def rule(self) -> Rule:
        """The rule of the channel."""
        return next(rule for rule in load_rules(RULES) if rule.id == self.channel)

    def delivery(self, id: str = "d" * 32, name: str | None = "Ada", contact: str = "c-17") -> Delivery:
        """A delivery of the rule; `name` None: its template has a hole."""
        return Delivery(
            id=id,
            rule=self.channel,
            rule_version=1,
            step=0,
            channel=self.channel,
            target=self.target,
            contact=contact,
            revision=1,
            transition=TransitionOf(
                id="t", segment="cart", segment_version=1, transition="entered", seq=1, at=AT, cause="timer"
            ),
            traits={} if name is None else {"name": name},
            created_at=AT,
        )

    async def start(self, monkeypatch: Any) -> None:
        """Opens the receiver and makes the sender."""

    async def be(self, mode: Mode) -> None:
        """Lets the receiver be so from now on."""
        self.mode = mode

    async def stop(self) -> None:
        """Closes the receiver."""
        self.released.set()

    @property
    def open_connections(self) -> int:
        """How many connections of the sender's are open."""
        return 0


class HttpStage(Stage):
    """A channel that posts."""

    modes = ("takes", "refuses", "busy", "silent", "echoes", "gone")

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel
        self.tells_repeats = channel != "sms"
        login = (LOGIN.partition(":")[2], base64.b64encode(LOGIN.encode()).decode())
        own: dict[str, tuple[str, ...]] = {
            "webhook": (DEMO_SECRET.removeprefix("whsec_"),),
            "slack": ("very-secret",),
            "sms": login,
            "segment": (WRITE_KEY, base64.b64encode(f"{WRITE_KEY}:".encode()).decode()),
        }
        self.secrets = (KEY, *own[channel])
        self._transports: set[Any] = set()

    async def start(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("actions.posting.RESPONSE_S_MAX", 0.3)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        secrets = {"HOOK": DEMO_SECRET, "SALES": url + SLACK_PATH, "TWILIO": LOGIN, "CDP": WRITE_KEY}
        targets = {"webhook": url + "/hooks", "slack": "SALES", "sms": "+4930901820", "segment": url}
        self.target = targets[self.channel]
        self.sender = self.make(secrets, url, HERE)

    def make(self, secrets: dict[str, str], url: str, reach: Reach) -> Sender:
        """A sender of the channel."""
        if self.channel == "webhook":
            return WebhookSender(secrets, lambda: NOW_MS, reach)
        if self.channel == "segment":
            return TrackingSender(secrets, lambda: NOW_MS, reach)
        if self.channel == "slack":
            return SlackSender(secrets, lambda: NOW_MS, reach, LINKS)
        return SmsSender(url, secrets, lambda: NOW_MS, reach, LINKS)

    async def be(self, mode: Mode) -> None:
        await super().be(mode)
        if mode == "gone":
            await self._runner.cleanup()

    async def stop(self) -> None:
        await super().stop()
        await self._runner.cleanup()

    @property
    def open_connections(self) -> int:
        return sum(not transport.is_closing() for transport in self._transports)

    async def _take(self, request: web.Request) -> web.Response:
        self._transports.add(request.transport)
        body = await request.text()
        if self.mode == "silent":
            await self.released.wait()
        if self.mode == "busy":
            return web.Response(status=429, headers={"Retry-After": "7"})
        if self.mode == "echoes":
            said = {"code": 1, "message": f"{request.url} {request.headers.get('Authorization')} {body}"}
            return web.json_response(said, status=400)
        if self.mode == "refuses":
            return _REFUSALS[self.channel]()
        if self.channel == "segment":
            self.arrived.append(json.loads(body)["batch"][-1]["messageId"])
        else:
            self.arrived.append(request.headers.get("webhook-id") or request.headers.get("x-delivery-id"))
        return _YESES[self.channel]()


_YESES = {
    "webhook": lambda: web.Response(status=204),
    "slack": lambda: web.Response(text="ok"),
    "sms": lambda: web.json_response({"sid": "SM" + "0" * 32, "status": "queued"}, status=201),
    "segment": lambda: web.json_response({"success": True}),
}
_REFUSALS = {
    "webhook": lambda: web.Response(status=410),
    "slack": lambda: web.Response(status=404, text="no_service"),
    "sms": lambda: web.json_response({"code": 21211, "message": "Invalid 'To' Phone Number"}, status=400),
    "segment": lambda: web.json_response({"success": False, "message": "too large"}, status=400),
}


class MailStage(Stage):
    """E-mail."""

    channel = "email"
    target = "ada@home.example"

    async def start(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("actions.mail_connections.SMTP_S_MAX", 0.3)
        self._sink = MailSink(answer=self._answer)
        await self._sink.start()
        server = MailServer("127.0.0.1", self._sink.port, False, None, None)
        self.sender = MailSender(server, "Shop <hello@shop.example>", lambda: NOW_MS, LINKS)

    async def be(self, mode: Mode) -> None:
        await super().be(mode)
        if mode == "gone":
            await self._sink.stop()

    async def stop(self) -> None:
        await super().stop()
        await self._sink.stop()

    async def _answer(self, receipt: Any) -> str:
        if self.mode == "silent":
            await self.released.wait()
        if self.mode == "refuses":
            return "550 no such user"
        self.arrived.append(receipt.id.removeprefix("<").partition("@")[0])
        return "250 kept"


class InAppStage(Stage):
    """In-app messages, in a real Redis."""

    channel = "inapp"
    target = "inapp"
    modes = ("takes", "silent", "gone")

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__()
        self._client, self._prefix = redis.Redis.from_url(url), prefix

    async def start(self, monkeypatch: Any) -> None:
        self.sender = InAppSender(Inbox(self._client, self._prefix), LINKS)
        self._mute = await asyncio.start_server(self._say_nothing, "127.0.0.1", 0)

    async def be(self, mode: Mode) -> None:
        await super().be(mode)
        port = self._mute.sockets[0].getsockname()[1]
        if mode == "gone":
            self._mute.close()
        other = redis.Redis(port=port, password="very-secret", socket_timeout=0.3, retry=None)  # type: ignore[arg-type]
        self.secrets = (KEY, "very-secret")
        self.sender = InAppSender(Inbox(other, self._prefix), LINKS)

    async def _say_nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.released.wait()
        writer.close()

    async def stop(self) -> None:
        await super().stop()
        self._mute.close()
        await self._client.aclose()

    async def look(self) -> None:
        """Fills `arrived`."""
        self.arrived = [each["id"] for each in await Inbox(self._client, self._prefix).read("c-17")]


class KafkaStage(Stage):
    """Kafka; the broker is a function, but for one that says nothing."""

    channel = "kafka"
    target = "crm.messages"

    async def start(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("streams.topic_writer.PUBLISH_S_MAX", 0.3)
        self._mute = await asyncio.start_server(self._say_nothing, "127.0.0.1", 0)
        port = self._mute.sockets[0].getsockname()[1]
        self._writer = TopicWriter(load_settings({"TIDEGATE_BROKER": f"127.0.0.1:{port}"}))
        self.sender = KafkaSender(self._publish, "tidegate.")

    async def stop(self) -> None:
        await super().stop()
        await self._writer.stop()
        self._mute.close()

    async def _say_nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.released.wait()
        writer.close()

    async def _publish(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        if self.mode == "refuses":
            raise NotTaken("expected a smaller record")
        if self.mode == "gone":
            raise OSError("no leader")
        if self.mode == "silent":
            await self._writer.publish(topic, key, value, headers)
        assert (topic, key, json.loads(value)["data"]["contact"]) == ("crm.messages", b"c-17", "c-17")
        self.arrived.append(dict(headers)["delivery_id"].decode())
