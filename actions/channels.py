"""What a channel is: it makes one attempt at a delivery and says how that went."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from actions.rules import Rule
from schemas.deliveries import Code, Delivery

if TYPE_CHECKING:
    import redis.asyncio as redis

    from actions.mail_connections import MailServer
    from actions.reach import Reach
    from actions.unsubscribe import UnsubscribeLinks

# one attempt takes no longer, all told; the ledger's lease is longer still, so no second one starts meanwhile
ATTEMPT_MS_MAX: Final = 30_000
REASON_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True)
class Result:
    """How an attempt went: `code` None is sent. `again` says that another attempt may go better."""

    code: Code | None = None
    reason: str | None = None
    again: bool = False
    retry_after_ms: int | None = None


SENT = Result()


class Sender(Protocol):
    """One channel. `send` raises nothing but what is a bug."""

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """Makes one attempt at `delivery`, whose rule in its version is `rule`."""

    def lane(self, delivery: Delivery) -> str:
        """What the delivery shares a queue with: a slow receiver holds up its own lane alone."""

    async def close(self) -> None:
        """Lets go of connections."""


class NotTaken(Exception):
    """A record that its topic will never take; the message says why."""


# topic, key, value, headers; returns when all replicas have the record. Raises `NotTaken`, or OSError where it may be
# taken later
Publish = Callable[[str, bytes, bytes, list[tuple[str, bytes]]], Awaitable[None]]


@dataclass(frozen=True)
class Resources:
    """What senders are made of. `secrets` by the names that rules give them, `now_ms` the wall clock in epoch ms.

    `prefix` begins the names of our topics and Redis keys; `links` is None where none are set up.
    """

    secrets: Mapping[str, str]
    now_ms: Callable[[], int]
    reach: "Reach"
    mail_server: "MailServer"
    mail_from: str
    sms_url: str
    redis: "redis.Redis"
    prefix: str
    publish: Publish
    links: "UnsubscribeLinks | None"


def no_secret(rule: Rule) -> Result:
    """The result where what a rule calls its secret isn't there: it may be put right."""
    sentence = f"expected a secret in TIDEGATE_SECRET_{rule.secret}, got none that is one: set it, start again"
    return Result("no_secret", sentence, again=True)


def certificate_problem(error: BaseException | None) -> str | None:
    """Of an error that a certificate is behind: what is wrong with that, and what to do; None of all others."""
    # aiohttp's own is one by its class, without what it would say
    while error is not None and not hasattr(error, "verify_message"):
        error = error.__cause__ or error.__context__
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    sentence = f"a certificate that can't be trusted: {error.verify_message}"
    return f"{sentence} (one of an authority of your own: SSL_CERT_FILE, start again)"


def shorten(text: str) -> str:
    """`text` as one line, short enough for an outcome; what a terminal would take for a command is left out of it."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return line if len(line) <= REASON_CHARACTERS_MAX else line[: REASON_CHARACTERS_MAX - 3] + "..."
