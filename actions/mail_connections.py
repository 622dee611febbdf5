"""Connections to the mail server: kept for the next message, as a handshake, TLS and a login take longer than a message."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import aiosmtplib

SMTP_S_MAX: Final = 20
# servers end a connection after so many messages, or when it is idle for a while: we are earlier
MESSAGES_MAX: Final = 100
IDLE_S_MAX: Final = 10.0
# one that was used just now is there still; of another the server is asked first
SURE_S: Final = 1.0


@dataclass(frozen=True)
class MailServer:
    """Where mail goes: `tls` from the start, else STARTTLS where the server offers it."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"  # never the password


@dataclass
class _Idle:
    client: aiosmtplib.SMTP
    messages: int
    since_s: float


class MailConnections:
    """As many as are used at a time; whoever made it closes it."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._idle: list[_Idle] = []  # the last used last

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection, for one message; kept unless something is raised. Raises aiosmtplib's errors and OSError."""
        client, messages = await self._reused() or (await self._opened(), 0)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        if messages + 1 >= MESSAGES_MAX:
            await _quit(client)
        else:
            self._idle.append(_Idle(client, messages + 1, _now_s()))
        await self._drop_old()

    async def close(self) -> None:
        """Says good-bye on all that are kept."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(each.client) for each in idle))

    async def _reused(self) -> tuple[aiosmtplib.SMTP, int] | None:
        while self._idle:
            found = self._idle.pop()
            if await _alive(found):
                return found.client, found.messages
            found.client.close()
        return None

    async def _opened(self) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=False if server.tls else None,
            username=server.user,
            password=server.password,
            timeout=SMTP_S_MAX,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    async def _drop_old(self) -> None:
        while self._idle and _now_s() - self._idle[0].since_s > IDLE_S_MAX:
            await _quit(self._idle.pop(0).client)


async def _alive(idle: _Idle) -> bool:
    for_s = _now_s() - idle.since_s
    if not idle.client.is_connected or for_s > IDLE_S_MAX:
        return False
    if for_s < SURE_S:
        return True
    try:
        await idle.client.noop()
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


async def _quit(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=1)
    client.close()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
