"""`tidegate bench timers`: a million contacts fall due, spread over an hour or all at midnight, while events flow on.

Each contact leaves a segment by time alone. A timer's lag is from its due instant and the grace to the moment at which a
reader of committed records has its transition. The contacts' states are written before the worker starts: it finds what is
due from them alone.
"""

import asyncio
import dataclasses
import json

import click

from schemas.events import Event
from streams import loop
from streams.bench_crowd import plan_in_force, write_crowd
from streams.bench_flow import LEAST, Flow, Reading, now_ms
from streams.bench_stand import (
    apply,
    own_settings,
    percentile,
    rolling_counts,
    say,
    stand,
    until,
    workers,
)
from streams.errors import StreamsError
from streams.plan import Plan
from streams.settings import Settings

SEGMENTS = 100
AWAKE_MS = 30 * 86_400_000
SLEEPER = {"id": "awake", "when": {"event": "Seen", "within": "30d"}}
HOUR_MS = 3_600_000
# from writing the first state to the first due instant: writing and take-over are to be through by then
WRITE_MS_A_CONTACT = 0.06
START_MS = 45_000
USUAL_S = 15.0
ALL_TIMEOUT_S = 240.0


@dataclasses.dataclass(frozen=True)
class Lags:
    """How late transitions could be read, in ms: how many there were, median, 99th percentile, latest."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """Timers' lags, latencies of the events beside them, and those of the same events without timers.

    `all_s`: from the first due instant and its grace until the last transition could be read.
    """

    contacts: int
    at_once: bool
    timers: Lags
    events: Lags
    usual: Lags
    all_s: float


def run_timers(
    settings: Settings, contacts: int, rate: int, seconds: int, count: int, *, at_once: bool, as_json: bool
) -> None:
    """Measures with `count` workers and prints. Raises `StreamsError`."""
    figures = loop.run(_measure(own_settings(settings, "timers"), contacts, rate, seconds, count, at_once))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(figures), indent=2))
        return
    when = "all at one instant" if at_once else "spread over an hour"
    of_whom = "one worker" if count == 1 else f"{count} workers"
    click.echo(f"{contacts:,} contacts of {of_whom} due {when}, {rate:,} events a second beside them")
    click.echo(f"{'':32}{'transitions':>12}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, lags in (
        ("due + grace to readable", figures.timers),
        ("events meanwhile", figures.events),
        ("events without timers", figures.usual),
    ):
        click.echo(f"{name:32}{lags.count:12,}{lags.p50_ms:9.0f}{lags.p99_ms:9.0f}{lags.max_ms:9.0f}")
    if at_once:
        click.echo(f"all readable after {figures.all_s:.1f} s")


async def _measure(settings: Settings, contacts: int, rate: int, seconds: int, count: int, at_once: bool) -> Figures:
    async with stand(settings):
        await apply(settings, [SLEEPER, *rolling_counts(SEGMENTS, LEAST)])
        first_ms = int(now_ms() + contacts * WRITE_MS_A_CONTACT + START_MS + USUAL_S * 1000)
        step_ms = 0.0 if at_once else HOUR_MS / contacts
        await _write(settings, contacts, first_ms, step_ms)
        async with workers(settings, count):
            if now_ms() > first_ms - USUAL_S * 1000:
                raise StreamsError(
                    f"expected the worker to be ready {USUAL_S:g} s before the first due instant, it was later: "
                    "this machine is too slow for so many contacts, or too busy; try fewer with --contacts"
                )
            flow, reading = Flow(settings, rate), Reading(settings)
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(flow.run()), tasks.create_task(reading.run())]
                await reading.ready.wait()
                figures = await _watch(reading, settings, contacts, seconds, first_ms, at_once)
                for task in running:
                    task.cancel()
    return figures


async def _write(settings: Settings, contacts: int, first_ms: int, step_ms: float) -> None:
    """The n-th contact is due at `first_ms` and n steps."""
    plan: Plan = await plan_in_force(settings)

    def make(number: int, contact: str) -> bytes:
        seen_ms = first_ms + int(number * step_ms) - AWAKE_MS
        event = Event("track", contact, "Seen", occurred_at_ms=seen_ms, received_at_ms=seen_ms)
        return plan.program.encode(plan.program.apply(None, event, seen_ms, seen_ms).state)

    await write_crowd(settings, plan, contacts, make, first_ms - AWAKE_MS)


async def _watch(
    reading: Reading, settings: Settings, contacts: int, seconds: int, first_ms: int, at_once: bool
) -> Figures:
    due_ms = first_ms + settings.grace_ms
    say(f"events alone, until {(first_ms - now_ms()) / 1000:.0f} s from now")
    await asyncio.sleep((due_ms - now_ms()) / 1000)
    say("now they fall due")
    if at_once:

        async def all_told() -> bool:
            return reading.count("timer") >= contacts

        await until(all_told, ALL_TIMEOUT_S, f"{contacts:,} transitions by timers")
        end_ms = reading.latest_ms("timer")
    else:
        await asyncio.sleep(seconds)
        end_ms = now_ms()
    return Figures(
        contacts,
        at_once,
        _lags(reading.latencies_ms("timer", 0, end_ms + 1, settings.grace_ms)),
        _lags(reading.latencies_ms("event", due_ms, end_ms)),
        _lags(reading.latencies_ms("event", first_ms - USUAL_S * 1000, due_ms)),
        (end_ms - due_ms) / 1000,
    )


def _lags(found: list[float]) -> Lags:
    return Lags(len(found), percentile(found, 50), percentile(found, 99), max(found, default=0.0))
