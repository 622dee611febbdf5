"""`tidegate bench lookups`: how soon an API answers what is known of a contact, at a steady rate, beside a bare server.

Both are asked by this process, each request at its time whether those before are answered or not. The bare server is the same
uvicorn and FastAPI, and answers with bytes that it has; so the difference is what looking up costs: a token, Redis, JSON.
"""

import asyncio
import dataclasses
import json
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final

import aiohttp
import click
import msgspec
from fastapi import FastAPI, Response
from yarl import URL

from actions.read_model import ReadModel, Write, partition_name
from schemas.instants import format_instant
from schemas.topics import CONTACTS, MEMBERSHIPS
from schemas.transitions import Consent, ContactRecord, MembershipRecord, membership_key
from streams import loop
from streams.api_tokens import WHOLE
from streams.bench_flow import now_ms
from streams.bench_stand import cpu_s_of, free_port, own_settings, percentile, running, say, serving, stand
from streams.dispatcher_setup import connect
from streams.errors import StreamsError
from streams.gateway.serving import Server, listen
from streams.settings import Settings

TOKEN: Final = "of this bench and of nothing else".replace(" ", "-")
SEGMENTS: Final = 10
BATCH: Final = 250
PARTITIONS: Final = (partition_name(CONTACTS.name, 0), partition_name(MEMBERSHIPS.name, 0))
# of the requests: the first are the start's
LEFT_OUT: Final = 5


@dataclasses.dataclass(frozen=True)
class Row:
    """Requests at a rate: ms from the sending of one to its whole answer, and CPU of the server's process for each."""

    what: str
    measured: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float


def run_lookups(settings: Settings, contacts: int, rate: int, seconds: int, *, as_json: bool) -> None:
    """Measures and prints. Raises `StreamsError`."""
    rows = loop.run(_measure(own_settings(settings, "lookups", 1), contacts, rate, seconds))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    click.echo(f"{f'{rate} a second':20}{'measured':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}")
    for row in rows:
        click.echo(f"{row.what:20}{row.measured:10,}{row.p50_ms:9.1f}{row.p99_ms:9.1f}{row.cpu_ms:9.2f}")


async def _measure(given: Settings, contacts: int, rate: int, seconds: int) -> list[Row]:
    settings = dataclasses.replace(given, web_port=free_port())
    client = connect(settings)
    model = ReadModel(client, settings.prefix)
    ids = [f"contact/{number:07d}@home.example" for number in range(contacts)]
    try:
        say(f"{contacts:,} contacts into Redis, each in {SEGMENTS // 2} of {SEGMENTS} segments")
        await _fill(model, ids)
        async with serving(__name__, "serve_bare") as bare:
            say(f"{rate} requests a second for {seconds} s to a server that only answers")
            rows = [await _row("bare", bare.pid, f"http://127.0.0.1:{bare.port}", ids, rate, seconds)]
        async with stand(settings), running(settings, "api", {WHOLE: TOKEN}) as api:
            say(f"{rate} requests a second for {seconds} s to the API")
            url = f"http://{settings.web_host}:{settings.web_port}"
            rows.append(await _row("a contact", api.pid, url, ids, rate, seconds))
    finally:
        await model.clear("bench")
        await client.aclose()
    return rows


async def _fill(model: ReadModel, ids: Sequence[str]) -> None:
    await model.begin(PARTITIONS)
    for partition, writes in zip(PARTITIONS, (_contacts(model, ids), _memberships(model, ids)), strict=True):
        end, batch = 0, list[Write]()
        for write in writes:
            batch.append(write)
            if len(batch) == BATCH:
                await model.apply(partition, end, end := end + BATCH, batch)
                batch.clear()
        await model.apply(partition, end, end + len(batch), batch)
        await model.filled(partition)


def _contacts(model: ReadModel, ids: Sequence[str]) -> Iterator[Write]:
    at = format_instant(int(now_ms()))
    for number, id in enumerate(ids):
        traits = {"email": id, "name": f"Ada {number}", "plan": "pro", "seats": number % 50, "timezone": "Europe/Rome"}
        record = ContactRecord(id, traits, at, 1, consent={"promo": Consent(True, at)})
        yield model.contact(id, msgspec.json.encode(record))


def _memberships(model: ReadModel, ids: Sequence[str]) -> Iterator[Write]:
    at = format_instant(int(now_ms()))
    for number, id in enumerate(ids):
        for each in range(SEGMENTS // 2):
            segment = f"segment-{(number + each) % SEGMENTS}"
            record = MembershipRecord(id, segment, True, at, 1, 1, 1)
            yield model.membership(membership_key(id, segment, None), msgspec.json.encode(record))


def serve_bare(port: int) -> None:
    """The bare server, until SIGTERM."""
    app = FastAPI()
    body = msgspec.json.encode({"contact": "x" * 30, "traits": {"email": "x" * 30}, "memberships": ["x" * 120] * 5})

    @app.get("/v1/contacts/{id:path}")
    async def contact() -> Response:
        return Response(body, media_type="application/json")

    async def serve() -> None:
        server = Server(app)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
        await server.serve([listen("127.0.0.1", port)])

    loop.run(serve())


async def _row(what: str, pid: int, url: str, ids: Sequence[str], rate: int, seconds: int) -> Row:
    took_ms: dict[int, float] = {}
    refused: list[str] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    cpu_s = cpu_s_of(pid)
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as asking:

        async def ask(number: int) -> None:
            began_s = time.perf_counter()
            # not one after the other, as they were written
            id = ids[number * 7919 % len(ids)].replace("/", "%2F").replace("@", "%40")
            async with session.get(URL(f"{url}/v1/contacts/{id}", encoded=True)) as answer:
                said = await answer.text()
                if answer.status != 200:
                    refused.append(f"{answer.status}: {said}")
            took_ms[number] = (time.perf_counter() - began_s) * 1000

        began_s = time.perf_counter()
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, began_s + number / rate - time.perf_counter()))
            asking.create_task(ask(number))
    if refused:
        raise StreamsError(f"expected 200 to each request, got {len(refused):,} others, one of them {refused[0]}")
    cpu_ms = (cpu_s_of(pid) - cpu_s) * 1000 / len(took_ms)
    counted = [took_ms[number] for number in range(len(took_ms) // LEFT_OUT, len(took_ms))]
    return Row(what, len(counted), percentile(counted, 50), percentile(counted, 99), cpu_ms)
