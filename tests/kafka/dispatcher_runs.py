"""Helpers of the dispatcher's tests on real services: dispatcher processes, deliveries in, outcomes out."""

from __future__ import annotations

import asyncio
import collections
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from children import Child
from receivers import DEMO_SECRET, MailSink, WebhookReceiver

from actions import load_rules
from schemas.deliveries import Delivery, Outcome, TransitionOf
from schemas.topics import CONTACTS, DELIVERIES, partition_of
from schemas.transitions import ContactRecord
from streams import deliveries as topics_deliveries
from streams import topics
from streams.definitions import commit
from streams.revisions import InForce, revise
from streams.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
PARTITIONS = 4
# long enough for an attempt at a receiver on this machine, and short enough to wait for
LEASE_MS = 3000
BEHIND_MS = 1000
RULES = """
rules:
  - {id: hook, on: {segment: cart}, channel: webhook, target: "http://127.0.0.1:1/", secret: DEMO}
  - id: mail
    on: {segment: cart}
    channel: email
    target: {trait: email}
    template: {subject: "Cart of {{ contact }}", text: "Hello {{ traits.name }}"}
"""
AT = "2026-03-01T09:30:00.000Z"
REVISION = 1


class Setup:
    """One test's surroundings: topics and rules under a prefix of its own, a webhook receiver, a mail sink."""

    def __init__(self, broker: str, redis: str, prefix: str, directory: Path) -> None:
        self.webhooks, self.mails = WebhookReceiver(), MailSink()
        self._directory = directory
        self._projectors: list[Dispatching] = []
        self._broker, self._redis, self._prefix = broker, redis, prefix

    @property
    def environment(self) -> dict[str, str]:
        """Settings for a process of ours."""
        own = {
            "BROKER": self._broker,
            "REDIS": self._redis,
            "PREFIX": self._prefix,
            "PARTITIONS": str(PARTITIONS),
            "SESSION": "6s",
            "WEB_PORT": "0",
            "SMTP": self.mails.url,
            "MAIL_FROM": "Shop <hello@shop.example>",
            "SECRET_DEMO": DEMO_SECRET,
            "TARGETS_PRIVATE": "allow",
            "TEMPLATES": str(ROOT / "deploy" / "templates"),
        }
        return {f"TIDEGATE_{name}": value for name, value in own.items()}

    @property
    def settings(self) -> Settings:
        """The same, read."""
        return load_settings(self.environment)

    async def start(self) -> None:
        """Receivers, topics, rules."""
        await self.webhooks.start()
        await self.mails.start()
        await topics.create(self.settings)
        bodies = {("rule", rule.id): rule.body for rule in load_rules(RULES)}
        revised = revise(InForce(), bodies, (), 1_772_000_000_000)  # type: ignore[arg-type]
        assert revised is not None
        await commit(self.settings, revised)

    async def stop(self) -> None:
        """Stops the receivers, and kills projectors, as these may be killed at any moment."""
        for projector in self._projectors:
            projector.kill()
        await self.webhooks.stop()
        await self.mails.stop()

    def dispatcher(self, name: str = "dispatcher", changes: str = "") -> Dispatching:
        """A dispatcher, started; `changes` is code that shortens what it waits for."""
        return Dispatching(name, self.environment, self._directory / f"{name}.log", changes=changes)

    def projector(self, name: str = "projector", *arguments: str) -> Dispatching:
        """A projector, started; handled as a dispatcher is. The end of the test is its own."""
        started = Dispatching(name, self.environment, self._directory / f"{name}.log", "projector", *arguments)
        self._projectors.append(started)
        return started

    async def projected(self) -> None:
        """Returns when a projector has read everything."""
        projector = self._projectors[0] if self._projectors else self.projector()
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(projector.ready):  # noqa: ASYNC110  # it is another process
                await asyncio.sleep(0.05)

    def make(self, count: int, channel: str = "webhook", start: int = 0) -> list[Delivery]:
        """Deliveries to as many contacts."""
        return [self._delivery(channel, n) for n in range(start, start + count)]

    def _delivery(self, channel: str, n: int) -> Delivery:
        rule = "mail" if channel == "email" else "hook"
        return Delivery(
            id=f"{channel:0>8}{n:024}"[-32:],
            rule=rule,
            rule_version=1,
            step=0,
            channel=channel,  # type: ignore[arg-type]
            target=f"c{n}@home.example" if channel == "email" else self.webhooks.url,
            contact=f"c-{n}",
            revision=REVISION,
            transition=TransitionOf(
                id=f"t-{n}", segment="cart", segment_version=1, transition="entered", seq=1, at=AT, cause="timer"
            ),
            traits={"name": f"N{n}"},
            created_at=AT,
        )

    async def publish(self, deliveries: Iterable[Delivery]) -> None:
        """Writes deliveries as a worker does, in a transaction, with their contacts' records."""
        topic, contacts = self.settings.topic(DELIVERIES.name), self.settings.topic(CONTACTS.name)
        producer = AIOKafkaProducer(bootstrap_servers=self._broker, transactional_id=f"{self._prefix}test")
        await producer.start()
        try:
            async with producer.transaction():
                for each in deliveries:
                    key = each.contact.encode()
                    contact = msgspec.json.encode(ContactRecord(each.contact, {}, AT, REVISION))
                    await producer.send(contacts, contact, key, partition_of(key, PARTITIONS))
                    await producer.send(topic, msgspec.json.encode(each), key, partition_of(key, PARTITIONS))
        finally:
            await producer.stop()

    async def statuses(self) -> collections.Counter[str]:
        """How many deliveries stand how, by the topics."""
        found = await topics_deliveries.standings(self.settings)
        return collections.Counter(standing.status for standing in found.values())

    async def outcomes(self, id: str) -> list[Outcome]:
        """All outcomes of one delivery, the one that counts last."""
        found = await topics_deliveries.standings(self.settings, ids=[id])
        return sorted(found[id].outcomes, key=lambda outcome: outcome.rank) if id in found else []

    def received(self) -> collections.Counter[str]:
        """How often each delivery arrived, by its id as the receivers saw it."""
        ids = [receipt.id for receipt in self.webhooks.received]
        ids += [receipt.id.removeprefix("<").partition("@")[0] for receipt in self.mails.received]
        return collections.Counter(ids)


class Dispatching:
    """A `tidegate dispatcher` (or another) in a process of its own; `start` again after `kill` is the same, same log."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        log: Path,
        command: str = "dispatcher",
        *arguments: str,
        changes: str = "",
    ) -> None:
        self._name, self._log, self._command, self._changes = name, log, (command, *arguments), changes
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        self._environment = clean | dict(environment)
        self._child: Child | None = None
        self.start()

    def start(self) -> None:
        """Starts it."""
        short = f"d.LEASE_MS = {LEASE_MS}; j.BEHIND_MS = {BEHIND_MS}; {self._changes}"
        code = f"import streams.dispatcher as d, actions.decisions as j; {short}\nfrom streams.cli import main; main()"
        argv = [sys.executable, "-c", code, *self._command]
        self._child = Child(self._name, argv, self._log, env=self._environment, cwd=ROOT)

    def kill(self) -> None:
        """kill -9."""
        assert self._child is not None
        self._child.kill()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._child is not None
        return self._child.stop(timeout_s=45)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.running

    def text(self) -> str:
        """Its log since it was last started."""
        assert self._child is not None
        return self._log.read_bytes()[self._child.log_start :].decode()

    def address(self) -> str | None:
        """Host and port of its web server; None while it has none."""
        places = [line.split("http://")[1].split("/")[0] for line in self.text().splitlines() if "http://127" in line]
        return places[-1] if places else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of its web server's answer; (0, "") where there is none."""
        if self.address() is None:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://{self.address()}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return self.get("/readyz")[0] == 200

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


def command(setup: Setup, *arguments: str) -> tuple[int, str, str]:
    """Runs `tidegate …`; status, standard output, standard error."""
    import subprocess

    argv = [sys.executable, "-c", "from streams.cli import main; main()", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    ran = subprocess.run(
        argv, cwd=ROOT, env=clean | setup.environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


def now_s() -> float:
    """Seconds of a clock that never falls."""
    return time.monotonic()


def doubled(received: Mapping[str, int]) -> dict[str, Any]:
    """What arrived more than once."""
    return {id: count for id, count in received.items() if count > 1}
