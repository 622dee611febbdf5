"""Second act, on the wall clock: a cart is left, time alone makes it abandoned, a mail comes; she buys, and is out at once.

Beside her others leave carts, too, and are followed up (`demo_reminders.py`), through a kill -9 of what does it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from children import Child
from demo_reminders import SHOPPERS, Reminders
from rich.console import Console
from stage import DEPLOY, Stage, StageError, tidegate
from watch import Watch

from schemas.topics import partition_of, source_of
from streams.settings import load_settings

SEGMENTS = DEPLOY / "segments" / "story.yaml"
VISITORS = 400
VISITS_PER_S = 100
SHOPPER = "ada"


class Story:
    """The act: one worker, one dispatcher and one projector under a prefix of its own, and a shop that publishes as it goes."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self.stage, self.console = stage, console
        self.settings = stage.settings("story.", "wall")
        self.partitions = load_settings(self.settings).partitions

    def play(self) -> None:
        """The whole act; raises `StageError` or `TimeoutError` where something doesn't come."""
        rules = (DEPLOY / "rules" / "story.yaml").read_text()
        path = self.stage.directory / "story-rules.yaml"
        path.write_text(rules.replace("http://127.0.0.1:8080/hooks", self.stage.urls["webhook"]))
        tidegate(self.settings, "topics", "create")
        tidegate(self.settings, "segments", "apply", str(SEGMENTS), str(path))
        self.children = self._start("worker", "dispatcher", "projector")
        watch = Watch(load_settings(self.settings)).start()
        try:
            asyncio.run(self._tell(watch))
        finally:
            watch.stop()
        self._sum_up(watch)

    async def _tell(self, watch: Watch) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stage.kafka.address, acks="all", enable_idempotence=True)
        await producer.start()
        self.reminders = Reminders(self.stage, self.console, self.settings, lambda event: self._send(producer, event))
        try:
            await self.reminders.leave_carts()
            await self._cart(producer, watch)
            await self.reminders.buy()
            self._line(
                f"{len(self.reminders.buyers)} of {SHOPPERS} others buy, too, in the middle of their wait",
                "Order Completed",
            )
            await self._visits(producer, watch)
            await asyncio.to_thread(self._kill)
            await self.reminders.end()
            self._line("the second mail arrives at those who have not bought, and at nobody else", "by the sequence")
        finally:
            await producer.stop()

    async def _cart(self, producer: AIOKafkaProducer, watch: Watch) -> None:
        self.started_s = time.monotonic()
        traits = {"email": "ada@lovelace.example", "first_name": "Ada"}
        await self._send(producer, {"type": "identify", "userId": SHOPPER, "traits": traits})
        added = await self._send(producer, _track(SHOPPER, "Product Added", {"product": "teapot", "price": 34.5}))
        self._line("Ada adds a teapot to her cart, and goes away", "Product Added")
        entered = await asyncio.to_thread(watch.wait, "abandoned-cart", SHOPPER, 1, 30)
        if entered["cause"] != "timer":
            raise StageError(f"expected Ada to enter by time alone, got {entered}")
        after_ms = _ms(entered["at"]) - added["at_ms"]
        self._line(
            f"nothing happened, and she [bold]entered abandoned-cart[/] {after_ms / 1000:.3f} s after it",
            "by time alone; readable after a grace of 2 s and a slack of 0.5 s",
        )
        mail = await self._receipt("email", "entered", "ada@lovelace.example")
        self._line(f"the mail arrives at {mail['to']}: “{mail['subject']}”", f"Message-ID {mail['id']}")
        hook = await self._receipt("webhook", "entered", SHOPPER)
        self._line("the shop's own system is told by webhook, signed", f"webhook-id {hook['id']}")
        sent_s = time.monotonic()
        await self._send(producer, _track(SHOPPER, "Order Completed", {"order_id": "o-1", "total": 34.5}))
        left = await asyncio.to_thread(watch.wait, "abandoned-cart", SHOPPER, 2, 30)
        out_ms = (watch.readable_s["abandoned-cart", SHOPPER, 2] - sent_s) * 1000
        if left["cause"] != "event":
            raise StageError(f"expected Ada to leave by her order, got {left}")
        self._line("she buys", "Order Completed")
        self._line(
            f"and [bold]left abandoned-cart[/] at once: readable {out_ms:.0f} ms after the order was sent", "by event"
        )
        await self._receipt("webhook", "left", SHOPPER)
        self._line("the shop's own system is told that, too", "webhook")

    async def _visits(self, producer: AIOKafkaProducer, watch: Watch) -> None:
        """Contacts who come one after the other, each entering `visitors` by its first event: event to transition."""
        sent_s: dict[str, float] = {}
        begun_s = time.monotonic()
        acknowledged = []
        for n in range(VISITORS):
            await asyncio.sleep(max(0.0, begun_s + n / VISITS_PER_S - time.monotonic()))
            contact = f"visitor-{n}"
            sent_s[contact] = time.monotonic()
            page = {"type": "page", "userId": contact, "name": "Home", "messageId": f"visit-{n}"}
            acknowledged.append(await self._produce(producer, page))
        await asyncio.gather(*acknowledged)
        for contact in sent_s:
            await asyncio.to_thread(watch.wait, "visitors", contact, 1, 30)
        took_ms = sorted((watch.readable_s["visitors", contact, 1] - at_s) * 1000 for contact, at_s in sent_s.items())
        p50, p99 = statistics.median(took_ms), took_ms[int(len(took_ms) * 0.99)]
        self.console.print(
            f"[green]✓[/] how fast: {VISITORS} contacts at {VISITS_PER_S} a second, event sent → transition readable: "
            f"[bold]p50 {p50:.0f} ms, p99 {p99:.0f} ms[/]"
        )

    def _start(self, *commands: str) -> dict[str, Child]:
        """Starts these processes, and returns once they are ready."""
        # a worker with a name that comes back takes its partitions at once
        named = self.settings | {"TIDEGATE_INSTANCE": "story-worker"}
        started = {
            each: self.stage.process(f"story-{each}", named if each == "worker" else self.settings, each)
            for each in commands
        }
        for child in started.values():
            self.stage.ready(child)
        return started

    def _kill(self) -> None:
        """Kills the worker and the dispatcher before the second mails are due, and starts them again."""
        killed = ("worker", "dispatcher")
        for each in killed:
            self.children[each].kill()
        self._line("[bold]worker and dispatcher are killed[/], and started again", "kill -9")
        self.children |= self._start(*killed)
        self._line("they are back, and go on where they were", "what fell due meanwhile is played")

    async def _receipt(self, channel: str, transition: str, to: str) -> dict[str, Any]:
        for _ in range(300):
            for receipt in self.stage.receipts():
                told = receipt.get("body", {}).get("data", {}) if channel == "webhook" else {"transition": transition}
                if receipt["channel"] == channel and receipt["to"] == to and _transition(told) == transition:
                    return receipt
            await asyncio.sleep(0.1)
        raise TimeoutError(f"expected a message by {channel} to {to} about `{transition}` within 30 s, but none came")

    async def _send(self, producer: AIOKafkaProducer, event: dict[str, Any]) -> dict[str, Any]:
        at_ms = time.time_ns() // 1_000_000
        event = {**event, "timestamp": at_ms, "messageId": f"{event['type']}-{at_ms}"}
        await (await self._produce(producer, event))
        return {"at_ms": at_ms}

    async def _produce(self, producer: AIOKafkaProducer, event: dict[str, Any]) -> Any:
        key = event["userId"].encode()
        topic = "story." + source_of(event.get("event")).name
        return await producer.send(topic, orjson.dumps(event), key=key, partition=partition_of(key, self.partitions))

    def _line(self, what: str, how: str) -> None:
        self.console.print(f"  {time.monotonic() - self.started_s:6.2f} s  {what}  [dim]{how}[/]", highlight=False)

    def _sum_up(self, watch: Watch) -> None:
        ids = [receipt["id"] for receipt in self.stage.receipts()]
        others = self.reminders
        # two mails, or one to who bought after it; webhooks for who left a cart, and for who bought
        mails = 1 + 2 * len(others.reminded) - len([each for each in others.buyers if each in others.reminded])
        expected = mails + (1 + SHOPPERS) + (1 + len(others.buyers))
        if len(ids) != len(set(ids)) or len(ids) != expected:
            raise StageError(f"expected {expected} messages, each once, got {len(ids)}, {len(set(ids))} different ones")
        self.console.print(
            f"[green]✓[/] {len(ids)} messages received ({mails} mails, else webhooks), [bold]each once[/]"
        )
        others.tell()


def _track(contact: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "track", "userId": contact, "event": name, "properties": properties}


def _transition(told: dict[str, Any]) -> Any:
    inner = told.get("transition")
    return inner.get("transition") if isinstance(inner, dict) else inner


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).astimezone(UTC).timestamp() * 1000)
