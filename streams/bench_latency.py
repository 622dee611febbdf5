"""`tidegate bench latency`: event in to transition readable, and what a worker takes, idle and at steady rates."""

import asyncio
import dataclasses
import json

import click

from streams import loop
from streams.bench_flow import LEAST, Flow, Reading, now_ms
from streams.bench_stand import Worker, apply, own_settings, percentile, rolling_counts, say, stand, worker
from streams.settings import Settings

RATES = (0, 1_000, 5_000)
SEGMENTS = 100
SETTLE_S = 10.0


@dataclasses.dataclass(frozen=True)
class Row:
    """At `rate` events a second: share of a core that the worker takes, latencies in ms, how many were measured."""

    rate: int
    cpu: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    measured: int


def run_latency(settings: Settings, seconds: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    rows = loop.run(_measure(own_settings(settings, "latency"), seconds))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    click.echo(f"{'events/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'measured':>10}{'% of a core':>13}")
    for row in rows:
        latencies = f"{row.p50_ms:9.0f}{row.p99_ms:9.0f}{row.max_ms:9.0f}" if row.rate else f"{'':27}"
        click.echo(f"{row.rate:9,}{latencies}{row.measured:10,}{row.cpu * 100:13.1f}")


async def _measure(settings: Settings, seconds: int) -> list[Row]:
    async with stand(settings):
        await apply(settings, rolling_counts(SEGMENTS, LEAST))
        async with worker(settings) as measured:
            await measured.owns(settings.partitions)
            flow, reading = Flow(settings, 0), Reading(settings)
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(flow.run()), tasks.create_task(reading.run())]
                await reading.ready.wait()
                rows = [await _row(measured, flow, reading, rate, seconds) for rate in RATES]
                for task in running:
                    task.cancel()
    return rows


async def _row(measured: Worker, flow: Flow, reading: Reading, rate: int, seconds: int) -> Row:
    say(f"{rate:,} events a second for {seconds} s")
    flow.rate = rate
    await asyncio.sleep(SETTLE_S)
    from_ms, cpu_s = now_ms(), measured.cpu_s()
    await asyncio.sleep(seconds)
    took_s = (now_ms() - from_ms) / 1000
    cpu = (measured.cpu_s() - cpu_s) / took_s
    latencies = reading.latencies_ms("event", from_ms)
    return Row(
        rate, cpu, percentile(latencies, 50), percentile(latencies, 99), max(latencies, default=0.0), len(latencies)
    )
