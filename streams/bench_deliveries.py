"""`tidegate bench deliveries`: what one dispatcher sends, beside a client that does nothing but send, and how soon.

The dispatcher does all that it does in production: consent, suppression and a cap are looked at for each message, the ledger
is taken before and recorded after, the outcome is in Kafka. A bare client makes the same requests with as many at a time, so
the ratio is what being sure costs. Sinks, broker and Redis are on this machine, too.
"""

import asyncio
import base64
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import aiohttp
import click
import msgspec
from aiokafka import AIOKafkaProducer

from actions import load_policies, load_rules
from actions.lanes import LANE_ATTEMPTS_MAX
from actions.mail_connections import MailConnections, MailServer
from schemas.deliveries import Channel, Delivery, TransitionOf
from schemas.instants import format_instant
from schemas.topics import CONTACTS, DELIVERIES, EVENTS_PRODUCT, partition_of
from schemas.transitions import ContactRecord
from streams import broker, loop
from streams.bench_flow import now_ms, read_transitions
from streams.bench_sinks import MAIL_DOMAIN, Sinks, sinks
from streams.bench_stand import (
    Process,
    apply,
    own_settings,
    percentile,
    running,
    say,
    stand,
    until,
    worker,
)
from streams.dispatcher_setup import connect
from streams.revisions import Name
from streams.settings import Settings

CHANNELS: tuple[Channel, ...] = ("webhook", "email")
RATES = (50, 200)
ALL_TIMEOUT_S = 900.0
SETTLE_S = 3.0
SECRETS = {
    "TIDEGATE_SECRET_BENCH": "whsec_" + base64.b64encode(b"of this bench and of nothing else").decode(),
    "TIDEGATE_SECRET_UNSUBSCRIBE": "of this bench and of nothing else, too",
}
CAME = {"id": "came", "when": {"event": "Came"}}
POLICIES = "policies: [{id: default, caps: [{at_most: 5, within: 7d}]}]"


@dataclasses.dataclass(frozen=True)
class Sent:
    """What was sent by a channel: messages a second and CPU ms a message, of the dispatcher and of a bare client."""

    channel: str
    messages: int
    per_second: float
    cpu_ms: float
    bare_per_second: float
    bare_cpu_ms: float
    again: int

    @property
    def ratio(self) -> float:
        """Messages a second, the dispatcher's to the bare client's."""
        return self.per_second / self.bare_per_second


@dataclasses.dataclass(frozen=True)
class Row:
    """At `rate` transitions a second: ms from the event, and from the readable transition, until the request was there."""

    channel: str
    rate: int
    measured: int
    event_p50_ms: float
    event_p99_ms: float
    transition_p50_ms: float
    transition_p99_ms: float


def run_deliveries(settings: Settings, messages: int, seconds: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    sent, rows = loop.run(_measure(settings, messages, seconds))
    if as_json:
        found = {
            "sent": [dataclasses.asdict(each) for each in sent],
            "latency": [dataclasses.asdict(row) for row in rows],
        }
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(
        f"{'one dispatcher':14}{'messages':>10}{'a second':>10}{'CPU ms':>8}{'bare':>8}{'CPU ms':>8}{'×':>7}{'twice':>7}"
    )
    for each in sent:
        click.echo(
            f"{each.channel:14}{each.messages:10,}{each.per_second:10,.0f}{each.cpu_ms:8.2f}"
            f"{each.bare_per_second:8,.0f}{each.bare_cpu_ms:8.2f}{each.ratio:7.2f}{each.again:7,}"
        )
    click.echo(
        f"\n{'until a request':14}{'a second':>10}{'measured':>10}{'event p50':>11}{'p99 ms':>8}{'transition p50':>16}"
        f"{'p99 ms':>8}"
    )
    for row in rows:
        click.echo(
            f"{row.channel:14}{row.rate:11,}{row.measured:10,}{row.event_p50_ms:11.0f}{row.event_p99_ms:8.0f}"
            f"{row.transition_p50_ms:16.0f}{row.transition_p99_ms:8.0f}"
        )


async def _measure(settings: Settings, messages: int, seconds: int) -> tuple[list[Sent], list[Row]]:
    async with sinks() as receivers:
        sent = [await _sent(settings, receivers, channel, messages) for channel in CHANNELS]
        rows = [row for channel in CHANNELS for row in await _latency(settings, receivers, channel, seconds)]
    return sent, rows


def sending(settings: Settings, what: str, receivers: Sinks) -> Settings:
    """Settings of a prefix of its own, with the sinks as the world."""
    return dataclasses.replace(
        own_settings(settings, what),
        smtp=receivers.smtp,
        mail_from="Bench <bench@sinks.example>",
        public_url="https://bench.example",
        targets_private="allow",
    )


def rules(receivers: Sinks, channel: Channel) -> dict[Name, dict[str, Any]]:
    """A rule on segment `came` by that channel, and a policy."""
    to = {
        "webhook": f'target: "{receivers.webhook}/", secret: BENCH',
        "email": 'target: {trait: email}, group: news, template: {subject: "Hello {{ contact }}", text: "{{ traits.plan }}"}',
    }[channel]
    text = f"rules: [{{id: bench, on: {{segment: came}}, channel: {channel}, traits: [plan], {to}}}]"
    named: dict[Name, dict[str, Any]] = {("rule", rule.id): dict(rule.body) for rule in load_rules(text)}
    return named | {("policy", policy.id): dict(policy.body) for policy in load_policies(POLICIES)}


async def publish(
    producer: AIOKafkaProducer, settings: Settings, contact: str, at_ms: int, traits: dict[str, Any]
) -> None:
    """The event that brings a contact into `came`, with all that its message says."""
    event = {
        "messageId": f"came-{contact}",
        "type": "track",
        "event": "Came",
        "userId": contact,
        "timestamp": format_instant(at_ms),
        "context": {"traits": {"email": f"{contact}@{MAIL_DOMAIN}", "plan": "pro", **traits}},
    }
    key = contact.encode()
    partition = partition_of(key, settings.partitions)
    await producer.send(settings.topic(EVENTS_PRODUCT.name), msgspec.json.encode(event), key=key, partition=partition)


@asynccontextmanager
async def standing(settings: Settings) -> AsyncIterator[None]:
    """As `stand`, and what is in Redis under the prefix is deleted afterwards as well."""
    async with stand(settings):
        try:
            yield
        finally:
            async with connect(settings) as client:
                async for key in client.scan_iter(f"{{{settings.prefix}*", count=1_000):
                    await client.unlink(key)


# ---- how many ----------------------------------------------------------------------------------------------------------


async def _sent(given: Settings, receivers: Sinks, channel: Channel, messages: int) -> Sent:
    settings = sending(given, f"sent-{channel}", receivers)
    say(f"{channel}: {messages:,} messages by a bare client")
    bare_per_second, bare_cpu_ms = await _bare(receivers, channel, messages)
    await receivers.clear()
    async with standing(settings):
        await apply(settings, [CAME], rules(receivers, channel))
        await _write(settings, receivers, channel, messages)
        async with running(settings, "projector"):
            pass  # what it has read stays in Redis
        say(f"{channel}: the same by a dispatcher")
        async with running(settings, "dispatcher", SECRETS) as dispatcher:
            first_s, took_s, cpu_s = await _all_sent(receivers, dispatcher, messages)
        say(f"{channel}: {took_s:.1f} s, begun after {first_s:.1f} s")
        return Sent(
            channel,
            messages,
            messages / took_s,
            cpu_s / messages * 1000,
            bare_per_second,
            bare_cpu_ms,
            await receivers.again(),
        )


async def _all_sent(receivers: Sinks, dispatcher: Process, messages: int) -> tuple[float, float, float]:
    """Seconds until the first, from the first to the last, and CPU seconds meanwhile."""
    began_ms, cpu_s = now_ms(), dispatcher.cpu_s()

    async def all_there() -> bool:
        return await receivers.count() >= messages

    await until(all_there, ALL_TIMEOUT_S, f"{messages:,} messages at the receiver")
    cpu_s = dispatcher.cpu_s() - cpu_s
    seen_ms = (await receivers.first_ms()).values()
    return (min(seen_ms) - began_ms) / 1000, (max(seen_ms) - min(seen_ms)) / 1000, cpu_s


async def _write(settings: Settings, receivers: Sinks, channel: Channel, messages: int) -> None:
    """Deliveries and their contacts' records, as a worker has them."""
    at = format_instant(int(now_ms()))
    contacts, deliveries = settings.topic(CONTACTS.name), settings.topic(DELIVERIES.name)
    async with broker.producer(settings, linger_ms=5) as producer:
        for number in range(messages):
            contact = f"contact-{number:06d}"
            key = contact.encode()
            partition = partition_of(key, settings.partitions)
            record = ContactRecord(contact, {"plan": "pro"}, at, 1)
            await producer.send(contacts, msgspec.json.encode(record), key=key, partition=partition)
            delivery = _delivery(contact, number, channel, receivers, at)
            await producer.send(deliveries, msgspec.json.encode(delivery), key=key, partition=partition)
        await producer.flush()


def _delivery(contact: str, number: int, channel: Channel, receivers: Sinks, at: str) -> Delivery:
    return Delivery(
        id=f"{number:032x}",
        rule="bench",
        rule_version=1,
        step=0,
        channel=channel,
        target=f"{contact}@{MAIL_DOMAIN}" if channel == "email" else f"{receivers.webhook}/",
        contact=contact,
        revision=1,
        transition=TransitionOf(f"{number:032x}", "came", 1, "entered", 1, at, "event"),
        traits={"plan": "pro"},
        created_at=at,
        group="news" if channel == "email" else None,
    )


async def _bare(receivers: Sinks, channel: Channel, messages: int) -> tuple[float, float]:
    """Messages a second and CPU ms a message of a client that only sends, as many at a time as a dispatcher does."""
    numbers = iter(range(messages))
    async with _client(receivers, channel) as send:

        async def work() -> None:
            for number in numbers:
                await send(f"contact-{number:06d}")

        began_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(LANE_ATTEMPTS_MAX)))
        return messages / (time.perf_counter() - began_s), (time.process_time() - cpu_s) / messages * 1000


@asynccontextmanager
async def _client(receivers: Sinks, channel: Channel) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    host, _, port = receivers.smtp.removeprefix("smtp://").partition(":")
    mails = MailConnections(MailServer(host, int(port), False, None, None))
    async with aiohttp.ClientSession() as session:

        async def post(contact: str) -> None:
            async with session.post(f"{receivers.webhook}/", json={"data": {"contact": contact}}) as answer:
                await answer.read()

        async def mail(contact: str) -> None:
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = (
                "bench@sinks.example",
                f"{contact}@{MAIL_DOMAIN}",
                "Hello",
            )
            message.set_content("pro")
            async with mails.one() as client:
                await client.send_message(message)

        yield post if channel == "webhook" else mail
    await mails.close()


# ---- how soon ----------------------------------------------------------------------------------------------------------


async def _latency(given: Settings, receivers: Sinks, channel: Channel, seconds: int) -> list[Row]:
    settings = sending(given, f"latency-{channel}", receivers)
    async with standing(settings):
        await apply(settings, [CAME], rules(receivers, channel))
        async with (
            worker(settings) as working,
            running(settings, "projector"),
            running(settings, "dispatcher", SECRETS),
        ):
            await working.owns(settings.partitions)
            return [await _row(settings, receivers, channel, rate, seconds) for rate in RATES]


async def _row(settings: Settings, receivers: Sinks, channel: Channel, rate: int, seconds: int) -> Row:
    say(f"{channel}: {rate} transitions a second for {seconds} s")
    await receivers.clear()
    contacts = [f"{channel}-{rate}-{number:06d}" for number in range(int(rate * (SETTLE_S + seconds)))]
    readable_ms: dict[str, float] = {}
    ready = asyncio.Event()
    reading = asyncio.create_task(read_transitions(settings, readable_ms, ready))
    try:
        await ready.wait()
        sent_ms = await _publish(settings, contacts, rate)

        async def all_there() -> bool:
            return await receivers.count() >= len(contacts) and len(readable_ms) >= len(contacts)

        await until(all_there, ALL_TIMEOUT_S, f"{len(contacts):,} messages at the receiver")
    finally:
        reading.cancel()
    there_ms, counted = await receivers.first_ms(), contacts[int(rate * SETTLE_S) :]
    of_events = [there_ms[each] - sent_ms[each] for each in counted]
    of_transitions = [there_ms[each] - readable_ms[each] for each in counted]
    return Row(
        channel,
        rate,
        len(counted),
        *(percentile(of_events, percent) for percent in (50, 99)),
        *(percentile(of_transitions, percent) for percent in (50, 99)),
    )


async def _publish(settings: Settings, contacts: list[str], rate: int) -> dict[str, float]:
    """One event of each, evenly at that rate; when it was handed over, epoch ms."""
    sent_ms: dict[str, float] = {}
    async with broker.producer(settings, linger_ms=0) as producer:
        began_s = time.perf_counter()
        for number, contact in enumerate(contacts):
            await asyncio.sleep(max(0.0, began_s + number / rate - time.perf_counter()))
            sent_ms[contact] = now_ms()
            await publish(producer, settings, contact, int(sent_ms[contact]), {})
    return sent_ms
