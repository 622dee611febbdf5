"""`tidegate bench due`: contacts wait in a sequence until an hour of their own zone, and then all get their message at once.

Events begin the sequence on the live path; at the hour the worker writes as many deliveries as there are contacts, and one
dispatcher sends them, as fast as it can or as fast as the receiver's rate allows. The hour is the next full minute by which
all are waiting, where nine o'clock would be: in the machine the two are the same.
"""

import asyncio
import dataclasses
import datetime
import json
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import click
import redis.asyncio as redis

from actions import load_policies, load_sequences
from schemas.topics import DELIVERIES
from streams import broker, loop
from streams.bench_deliveries import CAME, POLICIES, SECRETS, publish, sending, standing
from streams.bench_flow import now_ms
from streams.bench_sinks import Sinks, sinks
from streams.bench_stand import Process, apply, running, say, until, worker
from streams.dispatcher_setup import connect
from streams.errors import StreamsError
from streams.revisions import Name
from streams.settings import Settings

ZONE = "Europe/Berlin"
MINUTE_MS = 60_000
# from the first event to the hour: what writing the events and leading so many contacts into the sequence takes
START_MS, START_MS_A_CONTACT = 20_000, 0.25
LOOK_S = 0.5
ALL_TIMEOUT_S = 3_600.0


@dataclasses.dataclass(frozen=True)
class Row:
    """`rate` messages a second allowed (0: as many as can be); seconds from the hour to the last delivery on its topic, to the
    first and the last request; the most bytes of memory, each process; messages that reached somebody who had one."""

    rate: int
    contacts: int
    written_s: float
    first_s: float
    last_s: float
    worker_bytes: int
    dispatcher_bytes: int
    redis_bytes: int
    again: int


def run_due(settings: Settings, contacts: int, rates: Sequence[int], *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    rows = loop.run(_measure(settings, contacts, rates))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    click.echo(f"{contacts:,} contacts due at one instant; seconds after it, MiB at most")
    click.echo(
        f"{'rate a second':>14}{'all written':>13}{'first sent':>12}{'last sent':>11}{'a second':>10}"
        f"{'worker':>9}{'dispatcher':>12}{'redis':>8}{'twice':>7}"
    )
    for row in rows:
        mebibytes = (row.worker_bytes >> 20, row.dispatcher_bytes >> 20, row.redis_bytes >> 20)
        click.echo(
            f"{row.rate or 'none':>14}{row.written_s:13.1f}{row.first_s:12.1f}{row.last_s:11.1f}"
            f"{contacts / (row.last_s - row.first_s):10,.0f}"
            f"{mebibytes[0]:9,}{mebibytes[1]:12,}{mebibytes[2]:8,}{row.again:7,}"
        )


async def _measure(settings: Settings, contacts: int, rates: Sequence[int]) -> list[Row]:
    async with sinks() as receivers:
        return [await _row(settings, receivers, contacts, rate) for rate in rates]


async def _row(given: Settings, receivers: Sinks, contacts: int, rate: int) -> Row:
    settings = sending(given, f"due-{rate}", receivers)
    await receivers.clear()
    async with standing(settings), connect(settings) as client:
        hour_ms = _hour_ms(contacts)
        await apply(settings, [CAME], _sequence(receivers, hour_ms, rate))
        async with worker(settings) as working, running(settings, "projector"):
            await working.owns(settings.partitions)
            say(f"{contacts:,} contacts into the sequence, rate {rate or 'none'}")
            await _begin(settings, contacts)

            async def all_wait() -> bool:
                return (await working.metrics()).get("sequence_events_total", 0) >= contacts

            left_s = (hour_ms - int(now_ms())) / 1000
            await until(all_wait, max(1.0, left_s), f"{contacts:,} contacts to wait before the hour: try fewer")
            async with running(settings, "dispatcher", SECRETS) as dispatcher:
                say(f"all wait; the hour is in {(hour_ms - int(now_ms())) / 1000:.0f} s")
                return await _watch(settings, receivers, contacts, rate, hour_ms, (working, dispatcher), client)


def _hour_ms(contacts: int) -> int:
    earliest_ms = int(now_ms()) + START_MS + contacts * START_MS_A_CONTACT
    return int(-(-earliest_ms // MINUTE_MS) * MINUTE_MS)


def _sequence(receivers: Sinks, hour_ms: int, rate: int) -> dict[Name, dict[str, Any]]:
    until_ = f"{datetime.datetime.fromtimestamp(hour_ms / 1000, ZoneInfo(ZONE)):%H:%M}"
    send = f'{{channel: webhook, target: "{receivers.webhook}/", secret: BENCH}}'
    steps = f'[{{wait: {{until: "{until_}", tz: contact}}}}, {{send: {send}}}]'
    (sequence,) = load_sequences(f"sequences: [{{id: bench, on: {{segment: came}}, steps: {steps}}}]")
    rates = f", rates: [{{channel: webhook, per_second: {rate}, burst: {rate}}}]" if rate else ""
    (policy,) = load_policies(POLICIES.replace("}]}]", "}]" + rates + "}]"))
    return {("sequence", sequence.id): dict(sequence.body), ("policy", policy.id): dict(policy.body)}


async def _begin(settings: Settings, contacts: int) -> None:
    async with broker.producer(settings, linger_ms=5) as producer:
        for number in range(contacts):
            at_ms = int(now_ms())
            await publish(producer, settings, f"contact-{number:06d}", at_ms, {"timezone": ZONE})
        await producer.flush()


async def _watch(
    settings: Settings,
    receivers: Sinks,
    contacts: int,
    rate: int,
    hour_ms: int,
    processes: tuple[Process, Process],
    client: "redis.Redis",
) -> Row:
    most, written = [0, 0, 0], _Written()
    following = asyncio.create_task(written.follow(settings))
    try:
        async with asyncio.timeout(ALL_TIMEOUT_S):
            while await receivers.count() < contacts or written.count < contacts:
                now = [*(each.resident_bytes() for each in processes), (await client.info("memory"))["used_memory"]]
                most = [max(pair) for pair in zip(most, now, strict=True)]
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        there = await receivers.count()
        raise StreamsError(f"expected {contacts:,} messages within {ALL_TIMEOUT_S:g} s, got {there:,}") from None
    finally:
        following.cancel()
    seen_ms = (await receivers.first_ms()).values()
    written_s, first_s, last_s = ((each - hour_ms) / 1000 for each in (written.last_ms, min(seen_ms), max(seen_ms)))
    if first_s < 0:
        raise StreamsError("expected no message before the hour, got some")
    return Row(rate, contacts, written_s, first_s, last_s, most[0], most[1], most[2], await receivers.again())


class _Written:
    """How many deliveries could be read so far, and when the last of them, epoch ms."""

    def __init__(self) -> None:
        self.count, self.last_ms = 0, 0.0

    async def follow(self, settings: Settings) -> None:
        """Reads until it is cancelled."""
        async with broker.reader(settings, [settings.topic(DELIVERIES.name)]) as consumer:
            while True:
                fetched = await consumer.getmany(timeout_ms=100)
                if fetched:
                    self.count += sum(map(len, fetched.values()))
                    self.last_ms = now_ms()
