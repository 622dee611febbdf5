"""Ways of proving a request that a connection may name: an HMAC in a header, a login, Standard Webhooks."""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.vendors.contract import Request
from streams.vendors.signing import (
    AGE_MS_MAX,
    digest,
    fingerprint,
    header,
    login_problem,
    number_in,
    prove_age,
    prove_login,
    prove_one_of,
    sign_login,
)

KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
_ELEMENTS: Final = re.compile(r"[,;\s]+")
TOKEN: Final = re.compile(r"\{([^{}]*)\}")
TOKENS: Final = ("timestamp", "body", "method", "url")


class Scheme(Protocol):
    """One of them; the methods are those of `Vendor`."""

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int) -> None:
        """Raises `Unproved`."""

    def sign(self, body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
        """The headers that prove `body`."""

    def problem(self, secret: str) -> str | None:
        """What a secret should have been, None when it is all right."""


@dataclass(frozen=True)
class Signature:
    """An HMAC in a header.

    `timestamp_header`, `timestamp_prefix`: where its time stands, with the prefix in the signature's own header; both empty where
    no time is signed. `unit_ms`: ms in one of its units.
    """

    header: str
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp_header: str = ""
    timestamp_prefix: str = ""
    unit_ms: int = 1000
    tolerance_ms: int = AGE_MS_MAX

    @property
    def timed(self) -> bool:
        """Whether a time is signed."""
        return bool(self.timestamp_header or self.timestamp_prefix)

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int) -> None:
        """Raises `Unproved`."""
        elements = _ELEMENTS.split(header(request, self.header).strip())
        timestamp = self._timestamp(request, elements)
        given = [each.removeprefix(self.prefix) for each in elements if each.startswith(self.prefix)]
        if self.encoding == "hex":
            given = [each.lower() for each in given]
        wanted = [self._written(request.method, request.url, request.body, timestamp, secret) for secret in secrets]
        prove_one_of(given, wanted, self.header)
        if self.timed:
            prove_age(number_in(timestamp, "a timestamp") * self.unit_ms, now_ms, self.tolerance_ms)

    def sign(self, body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
        """The headers that prove `body`."""
        timestamp = str(now_ms // self.unit_ms)
        signature = self.prefix + self._written("POST", url, body, timestamp, secret)
        if self.timestamp_prefix:
            return {self.header: f"{self.timestamp_prefix}{timestamp},{signature}"}
        return {self.header: signature} | ({self.timestamp_header: timestamp} if self.timed else {})

    def problem(self, secret: str) -> str | None:
        """At least 8 characters."""
        return None if len(secret) >= 8 else f"expected at least 8 characters, got {len(secret)}"

    def _timestamp(self, request: Request, elements: Sequence[str]) -> str:
        if self.timestamp_header:
            return header(request, self.timestamp_header).strip()
        if self.timestamp_prefix:
            starts = (each for each in elements if each.startswith(self.timestamp_prefix))
            return next(starts, "").removeprefix(self.timestamp_prefix)
        return ""

    def _written(self, method: str, url: str, body: bytes, timestamp: str, secret: str) -> str:
        values = {
            "method": method.encode(),
            "url": url.encode("utf-8", "surrogateescape"),
            "body": body,
            "timestamp": timestamp.encode("utf-8", "surrogateescape"),
        }
        # text and names of values in turn
        parts = TOKEN.split(self.signed)
        signed = b"".join(values[part] if n % 2 else part.encode() for n, part in enumerate(parts))
        made = digest(secret, signed, self.algorithm)
        return made.hex() if self.encoding == "hex" else base64.b64encode(made).decode()


class Standard:
    """The scheme of https://www.standardwebhooks.com: `webhook-id`, `webhook-timestamp` and `webhook-signature`."""

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int) -> None:
        """Raises `Unproved`."""
        id, timestamp = header(request, "webhook-id"), header(request, "webhook-timestamp")
        given = header(request, "webhook-signature").split()
        wanted = [_written(id, timestamp, request.body, each) for each in secrets if not self.problem(each)]
        prove_one_of(given, wanted, "webhook-signature")
        prove_age(number_in(timestamp, "webhook-timestamp") * 1000, now_ms)

    def sign(self, body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
        """The headers that prove `body`."""
        id, timestamp = f"msg_{fingerprint(body)}", str(now_ms // 1000)
        signature = _written(id, timestamp, body, secret)
        return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}

    def problem(self, secret: str) -> str | None:
        """`whsec_` and 24 to 64 bytes in base64."""
        expected = f"expected `whsec_` and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes in base64, got something else"
        try:
            size = len(_key(secret))
        except ValueError:
            return expected
        return None if secret.startswith("whsec_") and KEY_BYTES_MIN <= size <= KEY_BYTES_MAX else expected


class Login:
    """HTTP Basic; the secret is `user:password`."""

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int) -> None:
        """Raises `Unproved`."""
        prove_login(request, secrets, now_ms)

    def sign(self, body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
        """The header with the login."""
        return sign_login(body, secret, url, now_ms)

    def problem(self, secret: str) -> str | None:
        """`user:password` with at least 8 characters of password."""
        return login_problem(secret)


def _written(id: str, timestamp: str, body: bytes, secret: str) -> str:
    signed = f"{id}.{timestamp}.".encode("utf-8", "surrogateescape") + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
