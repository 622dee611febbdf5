"""Somebody to send to: a webhook receiver that checks signatures, and a mail server that keeps what it is sent.

    python deploy/receivers.py            # prints the settings that point to them, then a JSON line for each message

For the demo, for developers and for tests. Both listen on loopback alone; port 0 is any free one.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import inspect
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook, WebhookVerificationError

HOST = "127.0.0.1"
SECRET_VARIABLE = "TIDEGATE_SECRET_DEMO"
# of the demo and nothing else: base64 of "the demo's own signing secret, no other"
DEMO_SECRET = "whsec_dGhlIGRlbW8ncyBvd24gc2lnbmluZyBzZWNyZXQsIG5vIG90aGVy"

Answer = tuple[int, dict[str, str]]


@dataclass
class Receipt:
    """One message as it came. `id`: the `webhook-id`, or the Message-ID; `body`: JSON of a webhook, text of a mail."""

    channel: str
    id: str
    to: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    signed: bool = False


class WebhookReceiver:
    """An HTTP server on loopback. `answer` (plain or async) may choose status and headers; default 204."""

    def __init__(
        self,
        secret: str = DEMO_SECRET,
        on_receipt: Callable[[Receipt], None] = lambda receipt: None,
        answer: Callable[[Receipt], Answer | Awaitable[Answer]] = lambda receipt: (204, {}),
    ) -> None:
        self.received: list[Receipt] = []
        self.answer = answer
        self._webhook, self._on_receipt = Webhook(secret), on_receipt
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://{HOST}:{self.port}/hooks"

    async def start(self, port: int = 0) -> None:
        """Listens."""
        application = web.Application()
        application.router.add_post("/hooks", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:  # verify first, parse after
            self._webhook.verify(raw, dict(request.headers), json_parse=False)
        except WebhookVerificationError as error:
            return web.Response(status=401, text=f"expected a message signed with our secret: {error}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(raw)
        receipt = Receipt("webhook", headers["webhook-id"], body["data"]["contact"], body, headers, True)
        self.received.append(receipt)
        self._on_receipt(receipt)
        answer = self.answer(receipt)
        status, headers = await answer if inspect.isawaitable(answer) else answer
        return web.Response(status=status, headers=headers)


class MailSink:
    """An SMTP server on loopback that delivers nothing. `answer` (plain or async) may choose the reply to a message."""

    def __init__(
        self,
        on_receipt: Callable[[Receipt], None] = lambda receipt: None,
        answer: Callable[[Receipt], str | Awaitable[str]] = lambda receipt: "250 kept",
    ) -> None:
        self.received: list[Receipt] = []
        self.answer = answer
        self._on_receipt = on_receipt
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """As `TIDEGATE_SMTP` takes it."""
        return f"smtp://{HOST}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listens."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, hostname="receivers.example", loop=loop), HOST, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """aiosmtpd calls this for each message; the name is its own."""
        raw = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        part = message.get_body(("plain",))
        headers = {name.lower(): str(value) for name, value in message.items()}
        receipt = Receipt(
            "email", headers["message-id"], envelope.rcpt_tos[0], part.get_content() if part else "", headers
        )
        self.received.append(receipt)
        self._on_receipt(receipt)
        answer = self.answer(receipt)
        return await answer if inspect.isawaitable(answer) else answer


def _print(receipt: Receipt) -> None:
    shown: dict[str, Any] = {"channel": receipt.channel, "id": receipt.id, "to": receipt.to}
    if receipt.channel == "email":
        shown |= {"subject": receipt.headers.get("subject", ""), "text": receipt.body}
    else:
        shown |= {"signed": receipt.signed, "body": receipt.body}
    print(json.dumps(shown, ensure_ascii=False), flush=True)


async def serve(http_port: int, smtp_port: int) -> None:
    """Both receivers, until SIGTERM or Ctrl-C."""
    secret = os.environ.get(SECRET_VARIABLE, DEMO_SECRET)
    webhooks, mails = WebhookReceiver(secret, _print), MailSink(_print)
    await webhooks.start(http_port)
    await mails.start(smtp_port)
    print(json.dumps({"webhook": webhooks.url, "smtp": mails.url}), flush=True)
    print(f"export TIDEGATE_SMTP={mails.url} TIDEGATE_TARGETS={HOST} {SECRET_VARIABLE}={secret}", file=sys.stderr)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await webhooks.stop()
    await mails.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A webhook receiver and a mail server on loopback.")
    parser.add_argument("--http-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="0: any free one")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.http_port, arguments.smtp_port))


if __name__ == "__main__":
    main()
