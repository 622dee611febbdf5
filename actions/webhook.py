"""The webhook channel: one signed POST, as the Standard Webhooks specification has it (standardwebhooks.com).

`webhook-id` is the delivery's id, the same in every attempt: the receiver tells repeats by it. Redirects are not
followed, as the signature is for the receiver that the rule names.
"""

import base64
import binascii
import datetime
import email.utils
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from standardwebhooks import Webhook

from actions.channels import SENT, Result, shorten
from actions.rules import Rule
from schemas.deliveries import Delivery
from schemas.instants import EPOCH, MS

CONNECT_S_MAX = 5
RESPONSE_S_MAX = 15
RESPONSE_BYTES_MAX = 2048
CONNECTIONS_MAX = 200
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
USER_AGENT = "Tidegate (webhooks; standardwebhooks.com)"
# beside 5xx: what a receiver says that would take the same message later
_AGAIN = frozenset((408, 425, 429))


class WebhookSender:
    """Posts deliveries. `secrets`: signing secrets by the names that rules give them."""

    def __init__(self, secrets: Mapping[str, str], now_ms: Callable[[], int]) -> None:
        self._secrets = secrets
        self._now_ms = now_ms
        self._session: aiohttp.ClientSession | None = None

    def lane(self, delivery: Delivery) -> str:
        """The receiver's host and port."""
        return f"webhook {urlsplit(delivery.target).netloc}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One POST. 2xx is sent; 5xx, 429, 408, 425, time-outs and broken connections are for later; all else is final."""
        secret = self._secrets.get(rule.secret or "")
        if secret is None:
            sentence = f"expected the signing secret in TIDEGATE_SECRET_{rule.secret}, got none: set it, start again"
            return Result("no_secret", sentence, again=True)
        body = msgspec.json.encode(payload(delivery))
        try:
            async with self._open().post(
                delivery.target, data=body, headers=self._headers(delivery, secret, body), allow_redirects=False
            ) as response:
                start = await response.content.read(RESPONSE_BYTES_MAX)
                return self._result(response.status, response.headers.get("Retry-After"), start)
        except TimeoutError:
            return Result("retry", f"expected an answer within {RESPONSE_S_MAX} s, got none", again=True)
        except (aiohttp.ClientError, OSError) as error:
            return Result("retry", shorten(f"expected an answer, got {type(error).__name__}: {error}"), again=True)
        except ValueError as error:
            return Result("refused", shorten(f"expected a URL that can be called, got {error}"))

    async def close(self) -> None:
        """Closes the connections that are open."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=RESPONSE_S_MAX, connect=CONNECT_S_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                # a body that unpacks to gigabytes is nothing to us: a few bytes of it are quoted as they are
                auto_decompress=False,
            )
        return self._session

    def _headers(self, delivery: Delivery, secret: str, body: bytes) -> dict[str, str]:
        at = EPOCH + self._now_ms() // 1000 * 1000 * MS
        return {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery.id, at, body.decode()),
        }

    def _result(self, status: int, retry_after: str | None, start: bytes) -> Result:
        if 200 <= status < 300:
            return SENT
        said = shorten(start.decode("utf-8", "replace"))
        reason = shorten(f"expected 2xx, got {status}" + (f": {said}" if said else ""))
        if status >= 500 or status in _AGAIN:
            return Result("retry", reason, again=True, retry_after_ms=self._retry_after_ms(retry_after))
        return Result("refused", reason)

    def _retry_after_ms(self, text: str | None) -> int | None:
        """`Retry-After` in ms: seconds, or an HTTP date; None where there is none that can be read."""
        if text is None or len(text) > 64:
            return None
        if text.strip().isascii() and text.strip().isdigit():
            return int(text.strip()) * 1000
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
        return max(0, (at - EPOCH) // MS - self._now_ms())


def payload(delivery: Delivery) -> dict[str, Any]:
    """What a webhook's body says: the transition, the contact and the traits that the rule asks for."""
    transition = delivery.transition
    return {
        "type": f"segment.{transition.transition}",
        "timestamp": transition.at,
        "data": {
            "contact": delivery.contact,
            "rule": delivery.rule,
            "transition": transition,
            "traits": delivery.traits,
        },
    }


def secret_problem(secret: str) -> str | None:
    """What a signing secret should have been; None when it is all right. Never says what it is."""
    expected = f"`whsec_` and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes in base64"
    try:
        size = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return f"expected {expected}, got something else"
    return None if SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX else f"expected {expected}, got {size} bytes"
