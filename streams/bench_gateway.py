"""`tidegate bench gateway`: events a second that a gateway takes a core, beside a server that only reads and answers.

wrk sends what Segment's SDKs send: batches of a hundred, packed, and single calls. What counts is the CPU time of the
gateway's process, as wrk, Kafka and a worker share the machine with it. The bare server is the same uvicorn and FastAPI, and
does nothing but unpack and parse, so the ratio is what being sure costs.
"""

import asyncio
import dataclasses
import gzip
import json
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import click
import orjson
from fastapi import FastAPI, Request, Response

from schemas.instants import format_instant
from streams import loop
from streams.bench_flow import now_ms, read_transitions
from streams.bench_stand import (
    Process,
    apply,
    cpu_s_of,
    free_port,
    own_settings,
    percentile,
    running,
    say,
    serving,
    stand,
    until,
    worker,
)
from streams.errors import StreamsError
from streams.gateway.serving import Server, listen
from streams.settings import SECRET_PREFIX, Settings
from streams.vendors.signing import basic

KEY = "of-this-bench"
SECRETS = {f"{SECRET_PREFIX}BENCH": KEY}
CONNECTIONS = "connections: [{id: bench, vendor: tracking, secret: BENCH}]\n"
BATCH = 100
BODIES = 64
CONTACTS = 20_000
# enough at a time that the server never waits for the sender
SENDERS = {"batches": 32, "calls": 64}
RATES = (50, 500)
ALL_TIMEOUT_S = 120.0
SCRIPT = """
wrk.method = "POST"
local bodies, at = {}, 0
function init(paths)
  for n = 1, #paths do
    local file = io.open(paths[n], "rb")
    bodies[n] = file:read("*a")
    file:close()
  end
end
function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format('{"requests":%d,"us":%d,"failed":%d,"refused":%d,"p50_us":%d,"p99_us":%d}\\n',
    summary.requests, summary.duration, failed, summary.errors.status, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """What was taken by `calls` of `events` each: a second, a core (of the gateway's CPU time), and answer times."""

    what: str
    requests: int
    requests_per_s: float
    events_per_s: float
    events_per_core_s: float
    bare_events_per_core_s: float
    p50_ms: float
    p99_ms: float

    @property
    def ratio(self) -> float:
        """CPU time of the bare server to the gateway's, for the same events."""
        return self.events_per_core_s / self.bare_events_per_core_s


@dataclasses.dataclass(frozen=True)
class Latency:
    """At `rate` single calls a second: ms from a request's sending until its transition is readable."""

    rate: int
    measured: int
    p50_ms: float
    p99_ms: float


def run_gateway_bench(settings: Settings, seconds: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    if shutil.which("wrk") is None:
        raise StreamsError("expected wrk, which sends the requests: install it (Debian: `apt-get install wrk`)")
    rows, latencies = loop.run(_measure(settings, seconds))
    if as_json:
        found = {
            "taken": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows],
            "latency": [dataclasses.asdict(each) for each in latencies],
        }
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{'':12}{'requests/s':>12}{'events/s':>10}{'a core':>9}{'bare':>9}{'×':>7}{'p50 ms':>9}{'p99 ms':>9}")
    for row in rows:
        click.echo(
            f"{row.what:12}{row.requests_per_s:12,.0f}{row.events_per_s:10,.0f}{row.events_per_core_s:9,.0f}"
            f"{row.bare_events_per_core_s:9,.0f}{row.ratio:7.2f}{row.p50_ms:9.1f}{row.p99_ms:9.1f}"
        )
    click.echo(f"\n{'request → transition readable':32}{'measured':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for each in latencies:
        click.echo(f"{each.rate:>20,} calls/s{'':4}{each.measured:10,}{each.p50_ms:9.0f}{each.p99_ms:9.0f}")


async def _measure(given: Settings, seconds: int) -> tuple[list[Row], list[Latency]]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "connections.yaml").write_text(CONNECTIONS)
        (directory / "load.lua").write_text(SCRIPT)
        settings = _own(given, "gateway", directory)
        loads = {what: _write(directory, what) for what in SENDERS}
        async with stand(settings), running(settings, "gateway", SECRETS) as gateway:
            rows = [await _row(settings, gateway, directory, what, loads[what], seconds) for what in SENDERS]
        # under another prefix, whose worker has nothing behind it to read
        settings = _own(given, "gateway-latency", directory)
        async with stand(settings):
            await apply(settings, [{"id": "came", "when": {"event": "Came"}}])
            async with running(settings, "gateway", SECRETS), worker(settings) as working:
                await working.owns(settings.partitions)
                latencies = [await _latency(settings, rate, seconds) for rate in RATES]
    return rows, latencies


def _own(given: Settings, what: str, directory: Path) -> Settings:
    own = own_settings(given, what)
    connections = str(directory / "connections.yaml")
    return dataclasses.replace(own, connections=connections, gateway_host="127.0.0.1", gateway_port=free_port())


# ---- how many ----------------------------------------------------------------------------------------------------------


def _write(directory: Path, what: str) -> list[str]:
    """Bodies of requests, a file each."""
    paths = []
    for number in range(BODIES):
        events = [_event(number * BATCH + n) for n in range(BATCH if what == "batches" else 1)]
        at = format_instant(int(now_ms()))
        body = {"batch": events, "sentAt": at} if what == "batches" else events[0] | {"sentAt": at}
        path = directory / f"{what}-{number}"
        raw = orjson.dumps(body)
        path.write_bytes(gzip.compress(raw, 6) if what == "batches" else raw)
        paths.append(str(path))
    return paths


def _event(number: int) -> dict[str, Any]:
    """An event as an SDK sends it, of some 450 bytes."""
    return {
        "type": "track",
        "event": f"Event {number % 20}",
        "userId": f"contact-{number * 7919 % CONTACTS:06d}",
        "anonymousId": None,
        "messageId": f"bench-{number:012d}",
        "timestamp": format_instant(int(now_ms())),
        "integrations": {},
        "context": {"library": {"name": "analytics-python", "version": "2.3.4"}, "locale": "fr-FR", "ip": "10.1.2.3"},
        "properties": {
            "order_id": f"o-{number}",
            "total": number % 500 + 0.25,
            "currency": "EUR",
            "sku": f"sku-{number}",
        },
    }


async def _row(
    settings: Settings, gateway: Process, directory: Path, what: str, bodies: list[str], seconds: int
) -> Row:
    events = BATCH if what == "batches" else 1
    url = f"http://127.0.0.1:{settings.gateway_port}/v1/{'batch' if what == 'batches' else 'track'}"
    say(f"{what}: {seconds} s to a server that only reads and answers")
    async with serving(__name__, "serve_bare") as bare:
        bare_cpu_s = cpu_s_of(bare.pid)
        done = await _wrk(directory, f"http://127.0.0.1:{bare.port}/v1/take", what, bodies, seconds)
        bare_per_core_s = done["requests"] * events / (cpu_s_of(bare.pid) - bare_cpu_s)
    say(f"{what}: {seconds} s to the gateway")
    cpu_s = gateway.cpu_s()
    done = await _wrk(directory, url, what, bodies, seconds)
    took_s, cpu_s = done["us"] / 1e6, gateway.cpu_s() - cpu_s
    taken = (await gateway.metrics()).get("gateway_events_total", 0.0)
    if done["refused"] or done["failed"] or taken < done["requests"] * events:
        raise StreamsError(f"expected all requests to be taken, got {done} and {taken:,.0f} events taken")
    return Row(
        what,
        done["requests"],
        done["requests"] / took_s,
        done["requests"] * events / took_s,
        done["requests"] * events / cpu_s,
        bare_per_core_s,
        done["p50_us"] / 1000,
        done["p99_us"] / 1000,
    )


async def _wrk(directory: Path, url: str, what: str, bodies: list[str], seconds: int) -> dict[str, Any]:
    headers = ["-H", "Content-Type: application/json", "-H", f"Authorization: {basic(KEY + ':')}"]
    if what == "batches":
        headers += ["-H", "Content-Encoding: gzip"]
    load = ["-t1", f"-c{SENDERS[what]}", f"-d{seconds}s", "--timeout", "10s", "-s", str(directory / "load.lua")]
    process = await asyncio.create_subprocess_exec(
        "wrk", *load, *headers, url, "--", *bodies, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    found: dict[str, Any] = json.loads(said.decode().strip().splitlines()[-1])
    return found


def serve_bare(port: int) -> None:
    """The bare server, until SIGTERM."""
    app = FastAPI()

    @app.post("/v1/take")
    async def take(request: Request) -> Response:
        body = await request.body()
        orjson.loads(gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body)
        return Response(b'{"success":true}', media_type="application/json")

    async def serve() -> None:
        server = Server(app)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
        await server.serve([listen("127.0.0.1", port)])

    loop.run(serve())


# ---- how soon ----------------------------------------------------------------------------------------------------------


async def _latency(settings: Settings, rate: int, seconds: int) -> Latency:
    say(f"{rate} single calls a second for {seconds} s, with a worker")
    readable_ms: dict[str, float] = {}
    ready = asyncio.Event()
    reading = asyncio.create_task(read_transitions(settings, readable_ms, ready))
    contacts = [f"came-{rate}-{number}" for number in range(rate * seconds)]
    try:
        await ready.wait()
        sent_ms = await _call(settings, contacts, rate)

        async def all_there() -> bool:
            return len(readable_ms) >= len(contacts)

        await until(all_there, ALL_TIMEOUT_S, f"{len(contacts):,} transitions")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    # the first seconds are the start's
    took_ms = [readable_ms[each] - sent_ms[each] for each in contacts[len(contacts) // 5 :]]
    return Latency(rate, len(took_ms), percentile(took_ms, 50), percentile(took_ms, 99))


async def _call(settings: Settings, contacts: list[str], rate: int) -> dict[str, float]:
    """One call for each, evenly at that rate; when it was sent, epoch ms."""
    sent_ms: dict[str, float] = {}
    url = f"http://127.0.0.1:{settings.gateway_port}/v1/track"
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth(KEY)) as session, asyncio.TaskGroup() as calls:

        async def call(contact: str) -> None:
            async with session.post(url, json={"userId": contact, "event": "Came", "messageId": contact}) as answer:
                if answer.status != 200:
                    raise StreamsError(f"expected 200 of the gateway, got {answer.status}: {await answer.text()}")

        began_s = time.perf_counter()
        for number, contact in enumerate(contacts):
            await asyncio.sleep(max(0.0, began_s + number / rate - time.perf_counter()))
            sent_ms[contact] = now_ms()
            calls.create_task(call(contact))
    return sent_ms
