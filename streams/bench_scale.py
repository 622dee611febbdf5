"""`tidegate bench scale`: the same events through one worker and through two, and what each million takes in CPU time."""

import dataclasses
import json
import time

import click

from streams import loop
from streams.bench_stand import apply, own_settings, rolling_counts, say, stand, until, workers
from streams.bench_stream import publish_backlog
from streams.settings import Settings

WORKERS = (1, 2)
SEGMENTS = 100
TIMEOUT_S = 300.0


@dataclasses.dataclass(frozen=True)
class Row:
    """So many workers: seconds of CPU they took for a million events together, and events a second by the clock."""

    workers: int
    cpu_s_per_million: float
    events_per_s: float


def run_scale(settings: Settings, events: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    rows = [loop.run(_row(own_settings(settings, f"scale-{count}"), count, events)) for count in WORKERS]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    click.echo(f"{'workers':>8}{'CPU s a million events':>24}{'events/s':>12}")
    for row in rows:
        click.echo(f"{row.workers:8}{row.cpu_s_per_million:24.1f}{row.events_per_s:12,.0f}")
    click.echo(f"CPU, two to one: {rows[1].cpu_s_per_million / rows[0].cpu_s_per_million:.2f} ×")


async def _row(settings: Settings, count: int, events: int) -> Row:
    async with stand(settings):
        await apply(settings, rolling_counts(SEGMENTS))
        async with workers(settings, count) as started:
            say(f"{count} of {WORKERS[-1]} workers: {events:,} events")
            cpu_s, began_s = sum(each.cpu_s() for each in started), time.perf_counter()
            await publish_backlog(settings, events)

            async def through() -> bool:
                shown = [await each.metrics() for each in started]
                uncommitted = sum(each["commit_age_seconds"] for each in shown)
                return not uncommitted and sum(each["events_taken_total"] for each in shown) >= events

            await until(through, TIMEOUT_S, f"{events:,} events to be taken")
            took_s = time.perf_counter() - began_s
            cpu_s = sum(each.cpu_s() for each in started) - cpu_s
    return Row(count, cpu_s / events * 1e6, events / took_s)
