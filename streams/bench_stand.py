"""What benches with a broker share: topics of their own, definitions, events, and workers as processes that are looked at.

What counts is the CPU time of the process that is measured: the machine has other things to do, the broker among them.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click
from aiokafka.admin import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import TOPICS
from streams import broker, definitions, topics
from streams.errors import StreamsError
from streams.health import web_port
from streams.revisions import Name, revise
from streams.settings import SETTINGS, Settings

NAMES = 20
PARTITIONS = 12
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def own_settings(settings: Settings, what: str, partitions: int = PARTITIONS) -> Settings:
    """The settings with a prefix that nobody else has."""
    prefix = f"bench-{os.getpid()}-{what}."
    return dataclasses.replace(settings, prefix=prefix, partitions=partitions, clock="wall", web_port=0)


@contextlib.asynccontextmanager
async def stand(settings: Settings, others: Sequence[str] = ()) -> AsyncIterator[None]:
    """All topics of the prefix, and `others`; deleted afterwards."""
    names = [*(settings.topic(topic.name) for topic in TOPICS), *others]
    await topics.create(settings)
    async with broker.admin(settings) as client:
        if others:
            await client.create_topics([NewTopic(name, settings.partitions, settings.replication) for name in others])
    try:
        yield
    finally:
        async with broker.admin(settings) as client:
            await client.delete_topics(names)


async def apply(
    settings: Settings, bodies: list[dict[str, Any]], others: Mapping[Name, dict[str, Any]] | None = None
) -> None:
    """Puts segments in force, and `others` by kind and id."""
    named: dict[Name, dict[str, Any]] = {("segment", body["id"]): body for body in bodies} | dict(others or {})
    revised = revise(await definitions.read_in_force(settings), named, (), time.time_ns() // 1_000_000)
    assert revised is not None
    await definitions.commit(settings, revised)


def rolling_counts(count: int, least: int = 3) -> list[dict[str, Any]]:
    """So many segments of some events of one name, `least` or more, in some hours."""
    return [_rolling_count(index, least) for index in range(count)]


def _rolling_count(index: int, least: int) -> dict[str, Any]:
    more, hours = index // NAMES, 1 + index // NAMES
    when = {"event": f"Event {index % NAMES}", "within": f"{hours}h", "count": {"gte": least + more}}
    return {"id": f"segment-{index}", "when": when}


def event_bytes(index: int, contact: str, name: int, at: str) -> bytes:
    """An event of 350 bytes."""
    head = (
        f'{{"messageId":"m-{index:010d}","type":"track","event":"Event {name}","userId":"{contact}","timestamp":"{at}",'
        f'"properties":{{"order_id":"o-{index:09d}","total":{index % 500}.25,"currency":"EUR","sku":"sku-{index % 20000}"}},'
        '"context":{"locale":"fr-FR","ip":"10.1.2.3","library":{"name":"js","version":"4.1.0"},"page":{"path":"/'
    )
    return (head + "x" * (350 - len(head) - 4) + '"}}}').encode()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables; durations are milliseconds."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    own |= {name: value for name, value in os.environ.items() if name.startswith("TIDEGATE_SECRET_")}
    for setting in SETTINGS:
        value = str(getattr(settings, setting.field))
        own[setting.variable] = value + "ms" if setting.kind == "duration" else value
    return own


def say(text: str) -> None:
    """Where a bench is, for people."""
    click.echo(text, err=True)


# ---- processes ---------------------------------------------------------------------------------------------------------


def cpu_s_of(pid: int) -> float:
    """CPU time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Process:
    """A running `tidegate` process with a web port."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, session: aiohttp.ClientSession) -> None:
        self._process, self._url, self._session = process, url, session

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        return cpu_s_of(self.pid)

    def resident_bytes(self) -> int:
        """Memory that it has now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def metrics(self) -> dict[str, float]:
        """Its metrics by name without prefix, summed over labels; histograms as `…_sum`, `…_count`."""
        async with self._session.get(f"{self._url}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        found: dict[str, float] = {}
        for family in families:
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    name = sample.name.removeprefix("tidegate_")
                    found[name] = found.get(name, 0.0) + sample.value
        return found

    async def ready(self) -> str | None:
        """What `/readyz` says, None while it isn't ready. Raises `StreamsError` where the process has ended."""
        if self._process.returncode is not None:
            raise StreamsError(f"a process ended with status {self._process.returncode}; its log is above")
        try:
            async with self._session.get(f"{self._url}/readyz") as answer:
                return await answer.text() if answer.status == 200 else None
        except aiohttp.ClientError:
            return None


class Worker(Process):
    """A running `tidegate worker`."""

    async def partitions(self) -> int:
        """How many it owns and has recovered; 0 while it isn't ready. Raises `StreamsError` where it has ended."""
        said = await self.ready()
        return 0 if said is None else len(json.loads(said)["partitions"])

    async def owns(self, count: int) -> None:
        """Waits until it is ready with so many partitions. Raises `StreamsError`."""
        await until(lambda: self._owns(count), START_TIMEOUT_S, f"a worker with {count} partitions")

    async def _owns(self, count: int) -> bool:
        return await self.partitions() == count


@contextlib.asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker of its own process, from its start (it isn't ready yet) to its clean end."""
    async with _running(settings, "worker", {}) as (process, url, session):
        yield Worker(process, url, session)


@contextlib.asynccontextmanager
async def running(settings: Settings, command: str, secrets: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """`tidegate <command>` of its own process, from when it is ready. `secrets`: further environment of it."""
    async with _running(settings, command, secrets or {}) as (process, url, session):
        started = Process(process, url, session)

        async def is_ready() -> bool:
            return await started.ready() is not None

        await until(is_ready, START_TIMEOUT_S, f"a {command} that is ready")
        yield started


@contextlib.asynccontextmanager
async def _running(
    settings: Settings, command: str, secrets: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, aiohttp.ClientSession]]:
    with tempfile.TemporaryDirectory() as directory:
        own = dataclasses.replace(settings, data_dir=directory, web_port=web_port(settings))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from streams.cli import main; main()", command,
            env=environment(own) | {"TIDEGATE_LOG_LEVEL": "warning"} | dict(secrets),
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession() as session:
                yield process, f"http://{own.web_host}:{own.web_port}", session
        finally:
            await _stop(process)


@dataclasses.dataclass(frozen=True)
class Bare:
    """A process that listens on a port of this machine."""

    pid: int
    port: int


@contextlib.asynccontextmanager
async def serving(module: str, function: str) -> AsyncIterator[Bare]:
    """`function` of a module, called with a port in a process of its own, from when that listens; it ends with SIGTERM."""
    port = free_port()
    code = f"from {module} import {function}; {function}({port})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    try:
        await until(lambda: _listens(port), START_TIMEOUT_S, "the bare server")
        yield Bare(process.pid, port)
    finally:
        process.terminate()
        await process.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def workers(settings: Settings, count: int) -> AsyncIterator[list[Worker]]:
    """So many workers, from when they share the partitions as evenly as these can be shared. Raises `StreamsError`."""
    async with contextlib.AsyncExitStack() as opened:
        started = [await opened.enter_async_context(worker(settings)) for _ in range(count)]

        async def shared() -> bool:
            owned = [await each.partitions() for each in started]
            return sum(owned) == settings.partitions and min(owned) == settings.partitions // count

        await until(shared, START_TIMEOUT_S, f"{count} workers with {settings.partitions} partitions between them")
        yield started


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def until(met: Any, timeout_s: float, what: str) -> None:
    """Waits until `met()` is true. Raises `StreamsError` after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await met():  # noqa: ASYNC110  # what is waited for is in another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise StreamsError(f"expected {what} within {timeout_s:g} s, got none") from None


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of them are at or below; NaN without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
