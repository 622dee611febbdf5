"""`tidegate bench stream`: events a second through raw aiokafka, a stock Faust agent and the worker, in one run.

Each contestant is a process of its own that reads the same kind of backlog to its end; what counts is its CPU time (all of
its threads) over all but the first tenth of the events, so that starting up isn't measured. Ratios hold from machine to
machine, absolute figures don't.
"""

import asyncio
import dataclasses
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from schemas.instants import format_instant
from schemas.topics import EVENTS_PRODUCT, partition_of
from streams import broker
from streams.bench_stand import (
    NAMES,
    PARTITIONS,
    apply,
    environment,
    event_bytes,
    own_settings,
    rolling_counts,
    say,
    stand,
)
from streams.errors import StreamsError
from streams.health import web_port
from streams.settings import Settings, load_settings

CONTACTS = 20_000
WARM_UP = 10  # one in so many events
TIMEOUT_S = 180.0
BATCH_EVENTS = 500
FIGURE = "figure.json"


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Who reads so many events: `kind` is `raw`, `stock` or `worker`."""

    name: str
    kind: str
    shown: str
    events: int
    segments: int = 0
    partitions: int = PARTITIONS


CONTESTANTS = (
    Contestant("raw", "raw", "raw aiokafka, reading only", 300_000),
    Contestant("stock", "stock", "stock Faust agent, one table write an event", 40_000),
    Contestant("worker-10", "worker", "Tidegate's worker, 10 segments", 300_000, 10),
    Contestant("worker-100", "worker", "Tidegate's worker, 100 segments", 300_000, 100),
    Contestant("worker-100-one", "worker", "the same, one partition", 300_000, 100, 1),
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What one contestant did: events in the measured part, and what they took."""

    events: int
    cpu_s: float
    wall_s: float
    transitions: int = 0

    @property
    def per_s_core(self) -> float:
        """Events a second of CPU time."""
        return self.events / self.cpu_s

    @property
    def per_s(self) -> float:
        """Events a second of wall time."""
        return self.events / self.wall_s


def run_stream(settings: Settings, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    figures = asyncio.run(_measure(settings))
    if as_json:
        click.echo(json.dumps(as_object(figures), indent=2))
    else:
        click.echo(as_table(figures))


def as_object(figures: dict[str, Figure]) -> dict[str, Any]:
    """The figures as `--json` has them."""
    stock, worker = figures["stock"], figures["worker-100"]
    return {
        "stock_events_per_s_core": round(stock.per_s_core),
        "events_per_s_core": round(worker.per_s_core),
        "ratio": round(worker.per_s_core / stock.per_s_core, 2),
        "contestants": {
            name: {
                "events": figure.events,
                "events_per_s_core": round(figure.per_s_core),
                "events_per_s": round(figure.per_s),
                "cpu_us_per_event": round(figure.cpu_s / figure.events * 1e6, 2),
                "ratio_to_stock": round(figure.per_s_core / stock.per_s_core, 2),
                "transitions": figure.transitions,
            }
            for name, figure in figures.items()
        },
    }


def as_table(figures: dict[str, Figure]) -> str:
    """The figures for people."""
    lines = [f"{'':44}{'events/s a core':>16}{'events/s':>12}{'µs CPU':>9}{'× stock':>9}"]
    for contestant in CONTESTANTS:
        figure = figures[contestant.name]
        ratio = figure.per_s_core / figures["stock"].per_s_core
        micros = figure.cpu_s / figure.events * 1e6
        lines.append(f"{contestant.shown:44}{figure.per_s_core:16,.0f}{figure.per_s:12,.0f}{micros:9.1f}{ratio:9.1f}")
    return "\n".join(lines)


async def _measure(settings: Settings) -> dict[str, Figure]:
    """One contestant after the other, each on topics of its own."""
    figures = {}
    for contestant in CONTESTANTS:
        own = own_settings(settings, contestant.name, partitions=contestant.partitions)
        say(f"{contestant.shown}: {contestant.events:,} events")
        async with stand(own, [f"{own.group}-counts-changelog"]):
            if contestant.segments:
                await apply(own, rolling_counts(contestant.segments))
            await publish_backlog(own, contestant.events)
            figures[contestant.name] = await _contest(own, contestant.kind, contestant.events)
    return figures


async def publish_backlog(settings: Settings, count: int) -> None:
    """The backlog: contacts unevenly busy, names evenly spread."""
    rng, topic = random.Random(42), settings.topic(EVENTS_PRODUCT.name)
    at = format_instant(time.time_ns() // 1_000_000)
    where = [partition_of(f"contact-{number:06d}".encode(), settings.partitions) for number in range(CONTACTS)]
    async with broker.producer(settings, max_batch_size=900_000) as client:
        waiting: dict[int, list[tuple[bytes, bytes]]] = {number: [] for number in range(settings.partitions)}
        for index in range(count):
            number = int(CONTACTS * rng.random() ** 1.5)
            contact = f"contact-{number:06d}"
            waiting[where[number]].append((contact.encode(), event_bytes(index, contact, rng.randrange(NAMES), at)))
            if len(waiting[where[number]]) >= BATCH_EVENTS:
                await _send(client, topic, where[number], waiting)
        for partition in waiting:
            await _send(client, topic, partition, waiting)
        await client.flush()


async def _send(client: Any, topic: str, partition: int, waiting: dict[int, list[tuple[bytes, bytes]]]) -> None:
    batch = client.create_batch()
    for key, value in waiting[partition]:
        assert batch.append(key=key, value=value, timestamp=None) is not None
    waiting[partition] = []
    batch.close()
    await client.send_batch(batch, topic, partition=partition)


# ---- the contestants, each in a process of its own --------------------------------------------------------------------


async def _contest(settings: Settings, contestant: str, events: int) -> Figure:
    """Runs `python -m streams.bench_stream CONTESTANT EVENTS` and reads what it says of itself."""
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streams.bench_stream", contestant, str(events),
            env=environment(dataclasses.replace(settings, data_dir=directory)),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise StreamsError(f"{contestant}: expected {events} events within {TIMEOUT_S:g} s, got fewer") from None
        if process.returncode:
            raise StreamsError(f"{contestant}: ended with status {process.returncode}:\n{err.decode()[-2000:]}")
        return Figure(**json.loads((Path(directory) / FIGURE).read_text()))


class _Meter:
    """CPU and wall time from the end of the warm-up on."""

    def __init__(self, events: int, settings: Settings) -> None:
        self._path = Path(settings.data_dir) / FIGURE
        self._from = events // WARM_UP
        self._started: tuple[int, float, float] | None = None

    def count(self, events: int) -> None:
        """So many events have been taken by now."""
        if self._started is None and events >= self._from:
            self._started = events, time.process_time(), time.perf_counter()

    def finish(self, events: int, transitions: int = 0) -> None:
        """Writes it down and ends the process: nothing after this is measured."""
        assert self._started is not None
        before, cpu_s, wall_s = self._started
        figure = Figure(events - before, time.process_time() - cpu_s, time.perf_counter() - wall_s, transitions)
        self._path.write_text(json.dumps(dataclasses.asdict(figure)))
        os._exit(0)


async def _raw(settings: Settings, events: int) -> None:
    meter, count = _Meter(events, settings), 0
    async with broker.reader(settings, [settings.topic(EVENTS_PRODUCT.name)]) as consumer:
        await consumer.seek_to_beginning()
        while count < events:
            count += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
            meter.count(count)
    meter.finish(count)


def _stock(settings: Settings, events: int) -> None:
    import faust

    from streams.app import credentials

    app = faust.App(
        settings.group, broker=[f"kafka://{server}" for server in settings.servers], datadir=settings.data_dir,
        store="memory://", topic_partitions=PARTITIONS, topic_replication_factor=settings.replication,
        topic_disable_leader=True, table_standby_replicas=0, consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False, web_bind=settings.web_host, web_port=web_port(settings),
        broker_credentials=credentials(settings),
    )  # fmt: skip
    topic = app.topic(settings.topic(EVENTS_PRODUCT.name), key_type=str, value_serializer="json", key_serializer="raw")
    counts = app.Table("counts", default=int, partitions=PARTITIONS, key_type=str)
    meter, taken = _Meter(events, settings), 0

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        nonlocal taken
        async for event in stream:
            counts[event["userId"]] += 1
            taken += 1
            if not taken % 1000:
                meter.count(taken)
            if taken == events:
                meter.finish(taken)

    faust.Worker(app, loglevel="ERROR", quiet=True, loop=_loop()).execute_from_commandline()


def _worker(settings: Settings, events: int) -> None:
    import faust

    from streams.app import build_app

    app, meter = build_app(settings), _Meter(events, settings)

    @app.task  # type: ignore[untyped-decorator]
    async def watch() -> None:
        metrics = app.worker.metrics
        while True:
            await asyncio.sleep(0.02)
            # where the inboxes are: the metric counts by checkpoints, and would leave out what was applied before the first
            taken = sum(sum(each.inbox.positions().values()) for each in app.worker.partitions.values())
            meter.count(taken)
            idle = not any(partition.overlay.events for partition in app.worker.partitions.values())
            if taken >= events and idle and not app.worker.busy:
                emitted = sum(child.value for _, child in metrics.transitions_emitted.items())
                meter.finish(taken, int(emitted))

    faust.Worker(app, loglevel="ERROR", quiet=True, loop=_loop()).execute_from_commandline()


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    uvloop.install()
    return asyncio.new_event_loop()


if __name__ == "__main__":
    _contestant, _events = sys.argv[1], int(sys.argv[2])
    if _contestant == "raw":
        asyncio.run(_raw(load_settings(), _events))
    else:
        {"stock": _stock, "worker": _worker}[_contestant](load_settings(), _events)
