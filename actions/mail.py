"""The e-mail channel: SMTP, with a Message-ID made from the delivery's id, the same in every attempt.

A mail server that breaks off after it has taken a message leaves us in doubt; the message is then sent again, and a
receiving server that looks at the Message-ID shows it once. Nothing beyond that can be had of SMTP.

A message that has a group says how to leave it with one click (RFC 8058), or is not sent: that is what `links` are for.
"""

import email.utils
import unicodedata
from collections.abc import Callable, Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib

from actions.channels import SENT, Resources, Result, Sender, certificate_problem, shorten
from actions.mail_connections import MailConnections, MailServer
from actions.message import NO_LINKS, encodable, values_of
from actions.rules import Rule, Template
from actions.targets import is_address
from actions.templates import Escape, TemplateError, render
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Delivery
from schemas.instants import EPOCH, MS

SUBJECT_CHARACTERS_MAX = 1000
# with the header's name on the same line, which SMTP allows 998 characters
LINK_CHARACTERS_MAX = 960


class _Verbatim(UnstructuredHeader, BaseHeader):
    """A header of one line: folded or encoded, a link is none any more."""

    def fold(self, *, policy: "Policy[Any]") -> str:
        """The header as it is sent."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Verbatim)
_POLICY = SMTP.clone(header_factory=_HEADERS)


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return MailSender(resources.mail_server, resources.mail_from, resources.now_ms, resources.links)


class MailSender:
    """Sends deliveries as e-mails from `sender` (`Name <address>`; empty: not set up)."""

    def __init__(
        self, server: MailServer, sender: str, now_ms: Callable[[], int], links: UnsubscribeLinks | None = None
    ) -> None:
        self._server, self._links = server, links
        self._connections = MailConnections(server)
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
        if delivery.group is not None and self._links is None:
            return NO_LINKS
        assert rule.template is not None
        try:
            message = message_of(delivery, rule.template, self._sender, self._now_ms(), self._links)
        except TemplateError as error:
            return Result("template", shorten(f"{rule.called}, {error}"))
        try:
            async with self._connections.one() as client:
                await client.send_message(message, sender=self._sender.addr_spec, recipients=[delivery.target])
        except (aiosmtplib.SMTPException, OSError) as error:
            return _result(error)
        return SENT

    async def close(self) -> None:
        """Closes the connections that are open."""
        await self._connections.close()


def message_of(
    delivery: Delivery, template: Template, sender: Address, now_ms: int, links: UnsubscribeLinks | None = None
) -> EmailMessage:
    """The e-mail of a delivery; raises `TemplateError` where a value is missing, or the link would be too long."""
    values = values_of(delivery, links)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = Address(addr_spec=delivery.target)
    message["Subject"] = _line(_part("subject", template.subject, values))
    message["Date"] = email.utils.format_datetime(EPOCH + now_ms // 1000 * 1000 * MS)
    message["Message-ID"] = f"<{delivery.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    link = values.get("unsubscribe_url")
    if link is not None:
        if len(link) > LINK_CHARACTERS_MAX:
            sentence = f"expected an unsubscribe link of at most {LINK_CHARACTERS_MAX} characters, got {len(link)}"
            raise TemplateError(f"link: {sentence}: the contact's id or the group's name is too long for a mail header")
        message["List-Unsubscribe"] = f"<{link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(encodable(_part("text", template.text, values)))
    if template.html is not None:
        message.add_alternative(encodable(_part("html", template.html, values, escape="html")), subtype="html")
    return message


def _part(name: str, text: str, values: Mapping[str, Any], escape: Escape = "") -> str:
    """The part of a mail, rendered; raises `TemplateError` naming it."""
    try:
        return render(text, values, escape=escape)
    except TemplateError as error:
        raise TemplateError(f"{name}: {error}") from None


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


def _line(text: str) -> str:
    """`text` as one line of a header, whatever it holds: a line break there is where injection starts."""
    # the start of an encoded word: what it stands for would be decoded into the header, line breaks and all
    line = " ".join(encodable(text).split()).replace("=?", "= ?")
    return "".join(letter for letter in line if unicodedata.category(letter) != "Cc")[:SUBJECT_CHARACTERS_MAX]


_ABOUT_THE_MESSAGE = (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)


def _result(error: Exception) -> Result:
    """For later or never, by the reply's code; what the server said, without our side of the conversation."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    if (problem := certificate_problem(error)) is not None:
        return Result("retry", shorten(f"expected the mail server, got {problem}"), again=True)
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code < 0:
        return Result("retry", "expected the mail server, got an answer that is not SMTP", again=True)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        reason = shorten(f"expected the mail server to take it, got {error.code} {error.message}")
        # a login or a greeting that fails is no word about the message: it may be put right
        final = 500 <= error.code < 600 and isinstance(error, _ABOUT_THE_MESSAGE)
        return Result("refused", reason) if final else Result("retry", reason, again=True)
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return Result("refused", shorten(f"expected the mail server to take it, got {error}"))
    return Result("retry", shorten(f"expected the mail server, got {type(error).__name__}: {error}"), again=True)
