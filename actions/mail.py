"""The e-mail channel: SMTP, with a Message-ID made from the delivery's id, the same in every attempt.

A mail server that breaks off after it has taken a message leaves us in doubt; the message is then sent again, and a
receiving server that looks at the Message-ID shows it once. Nothing beyond that can be had of SMTP.
"""

import email.utils
from collections.abc import Callable
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from actions.channels import SENT, Result, shorten
from actions.rules import Rule, Template
from actions.targets import is_address
from actions.templates import TemplateError, render
from schemas.deliveries import Delivery
from schemas.instants import EPOCH, MS

SMTP_S_MAX = 20
SUBJECT_CHARACTERS_MAX = 1000


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


class MailSender:
    """Sends deliveries as e-mails from `sender` (`Name <address>`; empty: not set up)."""

    def __init__(self, server: MailServer, sender: str, now_ms: Callable[[], int]) -> None:
        self._server = server
        self._sender = read_sender(sender) if sender else None
        self._now_ms = now_ms

    def lane(self, delivery: Delivery) -> str:
        """All mail goes to one server."""
        return f"email {self._server.host}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One SMTP conversation. 4xx, time-outs and broken connections are for later; 5xx is not."""
        if self._sender is None:
            sentence = "expected the sender in TIDEGATE_MAIL_FROM, got none: set it, start again"
            return Result("not_set_up", sentence, again=True)
        assert rule.template is not None
        try:
            message = message_of(delivery, rule.template, self._sender, self._now_ms())
        except TemplateError as error:
            return Result("template", shorten(f"rule {rule.id!r}: {error}"))
        try:
            await self._talk(message, delivery.target)
        except (aiosmtplib.SMTPException, OSError) as error:
            return _result(error)
        return SENT

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _talk(self, message: EmailMessage, recipient: str) -> None:
        server = self._server
        assert self._sender is not None
        await aiosmtplib.send(
            message,
            sender=self._sender.addr_spec,
            recipients=[recipient],
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=False if server.tls else None,
            username=server.user,
            password=server.password,
            timeout=SMTP_S_MAX,
        )


def message_of(delivery: Delivery, template: Template, sender: Address, now_ms: int) -> EmailMessage:
    """The e-mail of a delivery; raises `TemplateError` where a value is missing."""
    values = values_of(delivery)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = Address(addr_spec=delivery.target)
    # one line, whatever the values hold: a line break in a header is where injection starts
    message["Subject"] = " ".join(render(template.subject, values).split())[:SUBJECT_CHARACTERS_MAX]
    message["Date"] = email.utils.format_datetime(EPOCH + now_ms // 1000 * 1000 * MS)
    message["Message-ID"] = f"<{delivery.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_encodable(render(template.text, values)))
    if template.html is not None:
        message.add_alternative(_encodable(render(template.html, values, html=True)), subtype="html")
    return message


def values_of(delivery: Delivery) -> dict[str, Any]:
    """What a template may name."""
    transition: dict[str, Any] = msgspec.to_builtins(delivery.transition)
    return {
        "contact": delivery.contact,
        "traits": delivery.traits,
        "segment": delivery.transition.segment,
        "transition": transition,
        "event": transition.get("event", {}),
    }


def read_server(url: str) -> MailServer:
    """The mail server of `smtp://[user:password@]host[:port]`, or `smtps://…`; raises ValueError without the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("smtp://host:port or smtps://host:port, user:password@ before the host where needed")
    tls = parts.scheme == "smtps"
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return MailServer(parts.hostname, port or (465 if tls else 25), tls, user, password)


def read_sender(text: str) -> Address:
    """The sender of `Name <address>` or an address alone; raises ValueError saying what was expected."""
    found = email.utils.getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if not is_address(address) or not text.isprintable():
        raise ValueError("an address such as Shop <hello@shop.example>")
    try:
        return Address(name, addr_spec=address)
    except (HeaderParseError, ValueError):
        raise ValueError("an address such as Shop <hello@shop.example>") from None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


_ABOUT_THE_MESSAGE = (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)


def _result(error: Exception) -> Result:
    """For later or never, by the reply's code; what the server said, without our side of the conversation."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        reason = shorten(f"expected the mail server to take it, got {error.code} {error.message}")
        # a login or a greeting that fails is no word about the message: it may be put right
        final = 500 <= error.code < 600 and isinstance(error, _ABOUT_THE_MESSAGE)
        return Result("refused", reason) if final else Result("retry", reason, again=True)
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return Result("refused", shorten(f"expected the mail server to take it, got {error}"))
    return Result("retry", shorten(f"expected the mail server, got {type(error).__name__}: {error}"), again=True)
