"""Somebody to send to, in a process of its own: takes webhooks and mail as they come, and says when whom a message reached.

Checks nothing and keeps nothing else, so that what is measured is who sends. `python -m streams.bench_sinks` prints its
ports and serves until it is ended.
"""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from streams.bench_flow import now_ms
from streams.errors import StreamsError

HOST = "127.0.0.1"
MAIL_DOMAIN = "home.example"


class _Seen:
    """When a message first came, epoch ms, by contact; and how many came again."""

    def __init__(self) -> None:
        self.first_ms: dict[str, float] = {}
        self.again = 0

    def note(self, contact: str) -> None:
        if contact in self.first_ms:
            self.again += 1
        else:
            self.first_ms[contact] = now_ms()


@dataclasses.dataclass(frozen=True)
class Sinks:
    """The sinks' process, as who measures sees it."""

    webhook: str
    smtp: str
    _session: aiohttp.ClientSession

    async def count(self) -> int:
        """How many contacts a message reached."""
        return int((await self._ask("count"))["contacts"])

    async def again(self) -> int:
        """How many messages reached a contact that had one."""
        return int((await self._ask("count"))["again"])

    async def first_ms(self) -> dict[str, float]:
        """When whom, epoch ms."""
        return dict(await self._ask("first"))

    async def clear(self) -> None:
        """Forgets all."""
        await self._ask("clear")

    async def _ask(self, what: str) -> Any:
        async with self._session.get(f"{self.webhook}/{what}") as answer:
            return orjson.loads(await answer.read())


@contextlib.asynccontextmanager
async def sinks() -> AsyncIterator[Sinks]:
    """The process, from when it listens to its end. Raises `StreamsError`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.bench_sinks", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise StreamsError("expected the sinks to start, they ended; what they said is above")
        ports = orjson.loads(line)
        async with aiohttp.ClientSession() as session:
            yield Sinks(f"http://{HOST}:{ports['http']}", f"smtp://{HOST}:{ports['smtp']}", session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# ---- the process itself ------------------------------------------------------------------------------------------------


async def _serve() -> None:
    try:
        from aiosmtpd.smtp import SMTP
    except ImportError:
        raise SystemExit(
            "expected aiosmtpd, which takes the mail of this bench, got none: pip install aiosmtpd"
        ) from None
    seen, loop = _Seen(), asyncio.get_running_loop()

    class Mail:
        async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
            for address in envelope.rcpt_tos:
                seen.note(address.partition("@")[0])
            return "250 kept"

    smtp = await loop.create_server(lambda: SMTP(Mail(), hostname="sinks.example", loop=loop), HOST, 0)
    runner = web.ServerRunner(web.Server(_handler(seen)))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    ports = {"http": runner.addresses[0][1], "smtp": smtp.sockets[0].getsockname()[1]}
    sys.stdout.write(orjson.dumps(ports).decode() + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _handler(seen: _Seen) -> Any:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            seen.note(orjson.loads(await request.read())["data"]["contact"])
            return web.Response(status=204)
        if request.path == "/clear":
            seen.first_ms, seen.again = {}, 0
        found = seen.first_ms if request.path == "/first" else {"contacts": len(seen.first_ms), "again": seen.again}
        return web.Response(body=orjson.dumps(found))

    return handle


if __name__ == "__main__":
    from streams import loop

    with contextlib.suppress(KeyboardInterrupt):
        loop.run(_serve())
