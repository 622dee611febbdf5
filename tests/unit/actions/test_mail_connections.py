"""Connections to a mail server, on a real one: kept while they are good, and left behind when they aren't."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP

from actions import mail_connections
from actions.mail_connections import MailConnections, MailServer

HOST = "127.0.0.1"


class Server:
    """A mail server that counts its connections, and may answer as it is told."""

    def __init__(self) -> None:
        self.connections = self.messages = 0
        self.answer = "250 kept"
        self.open: list[asyncio.Transport] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens; the port."""
        self._server = await asyncio.get_running_loop().create_server(self._connection, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stops."""
        assert self._server is not None
        self._server.close()

    async def handle_DATA(self, server: Any, _: Any, __: Any) -> str:
        """Of aiosmtpd."""
        self.messages += 1
        self.open = [server.transport]
        return self.answer

    def _connection(self) -> SMTP:
        self.connections += 1
        return SMTP(self, hostname="mail.example", loop=asyncio.get_running_loop())


Send = Callable[[], Awaitable[None]]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    yield Server()


@pytest.fixture
async def send(server: Server) -> AsyncIterator[Send]:
    connections = MailConnections(MailServer(HOST, await server.start(), False, None, None))
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@shop.example", "b@home.example", "Hello"
    message.set_content("you")

    async def one() -> None:
        async with connections.one() as client:
            await client.send_message(message)

    yield one
    await connections.close()
    server.stop()


async def test_messages_one_after_the_other_share_a_connection(send: Send, server: Server) -> None:
    for _ in range(10):
        await send()
    assert (server.messages, server.connections) == (10, 1)


async def test_messages_at_a_time_have_one_each_and_these_are_kept(send: Send, server: Server) -> None:
    for _ in range(2):
        await asyncio.gather(*(send() for _ in range(5)))
    assert (server.messages, server.connections) == (10, 5)


async def test_a_connection_has_a_bound_of_messages(
    send: Send, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_connections, "MESSAGES_MAX", 3)
    for _ in range(7):
        await send()
    assert (server.messages, server.connections) == (7, 3)


@pytest.mark.parametrize("sure_s", [0.0, 1.0])
async def test_one_that_the_server_has_closed_is_not_used_again(
    send: Send, server: Server, monkeypatch: pytest.MonkeyPatch, sure_s: float
) -> None:
    """Whether the client has heard of it before, or asks first."""
    monkeypatch.setattr(mail_connections, "SURE_S", sure_s)
    await send()
    server.open[0].abort()
    if sure_s:
        await asyncio.sleep(0.05)  # the end of a connection comes by itself, and there is nothing to ask about it
    await send()
    assert (server.messages, server.connections) == (2, 2)


async def test_one_that_was_idle_for_long_is_not_used_again(
    send: Send, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_connections, "IDLE_S_MAX", 0.0)
    await send()
    await send()
    assert (server.messages, server.connections) == (2, 2)


async def test_one_on_which_a_message_was_refused_is_not_used_again(send: Send, server: Server) -> None:
    server.answer = "451 later"
    with pytest.raises(aiosmtplib.SMTPDataError):
        await send()
    server.answer = "250 kept"
    await send()
    assert (server.messages, server.connections) == (2, 2)
