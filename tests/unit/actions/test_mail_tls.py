"""The e-mail channel over TLS: from the start, by STARTTLS, with a login, and with a certificate that nobody trusts."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from actions import Rule
from actions.mail import MailSender
from actions.mail_connections import MailServer
from schemas.deliveries import Delivery

Make = Callable[..., Delivery]
NOW_MS = 1_772_357_400_500


class Server:
    """A mail server that knows one login; `said` has the sender and whether TLS was on, for each message."""

    def __init__(self) -> None:
        self.said: list[tuple[str | None, bool, str | None]] = []

    def authenticate(self, _s: SMTP, _n: Session, _e: Envelope, mechanism: str, given: object) -> AuthResult:
        assert isinstance(given, LoginPassword), mechanism
        known = given.login == b"shop" and given.password == b"p@ss"
        return AuthResult(success=known, handled=known, auth_data=given.login.decode())

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        tls = bool(session.ssl) or _server.transport.get_extra_info("sslcontext") is not None
        self.said.append((envelope.mail_from, tls, session.auth_data))
        return "250 kept"


@pytest.fixture
async def server(certificate: tuple[Path, ssl.SSLContext]) -> AsyncIterator[Callable[..., object]]:
    """Starts a server, with TLS from the start or by STARTTLS; returns it and its port."""
    started: list[asyncio.Server] = []

    async def start(*, tls: bool) -> tuple[Server, int]:
        made, context = Server(), certificate[1]
        options = {} if tls else {"tls_context": context, "require_starttls": True}
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(
                made,
                hostname="x.example",
                loop=loop,
                authenticator=made.authenticate,
                auth_require_tls=not tls,
                **options,
            )

        started.append(await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if tls else None))
        return made, started[-1].sockets[0].getsockname()[1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("tls", [True, False], ids=["from the start", "by STARTTLS"])
async def test_mail_goes_over_tls_and_with_a_login(
    server: Callable[..., Any],
    certificate: tuple[Path, ssl.SSLContext],
    rules: dict[str, Rule],
    make_delivery: Make,
    monkeypatch: pytest.MonkeyPatch,
    tls: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    receiving, port = await server(tls=tls)
    sender = MailSender(MailServer("127.0.0.1", port, tls, "shop", "p@ss"), "hello@shop.example", lambda: NOW_MS)
    result = await sender.send(make_delivery(channel="email", target="a@b.example"), rules["mail"])

    assert result.reason is None
    assert receiving.said == [("hello@shop.example", True, "shop")]


@pytest.mark.parametrize("tls", [True, False], ids=["from the start", "by STARTTLS"])
async def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    server: Callable[..., Any], rules: dict[str, Rule], make_delivery: Make, tls: bool
) -> None:
    """Neither mail nor password; it is for later, as a certificate can be put right."""
    receiving, port = await server(tls=tls)
    sender = MailSender(MailServer("127.0.0.1", port, tls, "shop", "p@ss"), "hello@shop.example", lambda: NOW_MS)
    result = await sender.send(make_delivery(channel="email", target="a@b.example"), rules["mail"])

    assert (result.code, result.again, receiving.said) == ("retry", True, [])
    assert str(result.reason).startswith(
        "expected the mail server, got a certificate that can't be trusted: self-signed"
    )
    assert "p@ss" not in str(result.reason)


async def test_a_login_that_is_refused_is_for_later_and_never_said(
    server: Callable[..., Any],
    certificate: tuple[Path, ssl.SSLContext],
    rules: dict[str, Rule],
    make_delivery: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    receiving, port = await server(tls=True)
    sender = MailSender(MailServer("127.0.0.1", port, True, "shop", "geheim"), "hello@shop.example", lambda: NOW_MS)
    result = await sender.send(make_delivery(channel="email", target="a@b.example"), rules["mail"])

    assert (result.code, result.again, receiving.said) == ("retry", True, [])
    assert "535" in str(result.reason)
    assert "geheim" not in str(result.reason)
