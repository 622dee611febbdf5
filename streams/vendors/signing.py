"""How requests are proved: HMACs, logins and ages. Compared in constant time, whatever came, over the raw bytes."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from streams.vendors.contract import Request, Unproved

SECOND_MS: Final = 1000
AGE_MS_MAX: Final = 5 * 60 * SECOND_MS
# of a header that is looked at at all; vendors' are below 1 KiB
HEADER_CHARACTERS_MAX: Final = 4096
SIGNATURES_MAX: Final = 16


def header(request: Request, name: str) -> str:
    """The header of that name; raises `Unproved` where it is missing, or is more than anybody signs with."""
    found = request.headers.get(name.lower(), "")
    if not found:
        raise Unproved("no_signature", f"expected a header {name}, got none")
    if len(found) > HEADER_CHARACTERS_MAX:
        raise Unproved("wrong_signature", f"expected at most {HEADER_CHARACTERS_MAX} characters in {name}, got more")
    return found


def digest(secret: str, signed: bytes, algorithm: str = "sha256") -> bytes:
    """HMAC of `signed`."""
    return hmac.digest(secret.encode(), signed, algorithm)


def hex_digest(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    """The same as small hexadecimal digits."""
    return digest(secret, signed, algorithm).hex()


def base64_digest(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    """The same in base64."""
    return base64.b64encode(digest(secret, signed, algorithm)).decode()


def prove_one_of(given: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raises `Unproved` unless one of `given` is one of `expected`; every pair is compared, each in constant time."""
    wanted = [each.encode() for each in expected]
    came = [each.encode("utf-8", "surrogateescape") for each in given][:SIGNATURES_MAX]
    if not sum(hmac.compare_digest(one, other) for one in came for other in wanted):
        raise Unproved("wrong_signature", f"expected {what} of this body with this connection's secret, got another")


def prove_age(signed_at_ms: int, now_ms: int, age_ms_max: int = AGE_MS_MAX) -> None:
    """Raises `Unproved` for what was signed longer than that ago, or is that far ahead; to be asked after the signature."""
    off_ms = now_ms - signed_at_ms
    if abs(off_ms) > age_ms_max:
        side = "old" if off_ms > 0 else "ahead of this machine's clock"
        raise Unproved(
            "old", f"expected a request signed within {age_ms_max // 1000} s, got one {abs(off_ms) // 1000} s {side}"
        )


def number_in(text: str, what: str) -> int:
    """A whole number of a signature's header; raises `Unproved`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Unproved("wrong_signature", f"expected digits as {what}, got something else")
    return int(text)


def prove_login(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """HTTP Basic, which has no age: raises `Unproved` unless the login is one of `secrets`, each `user:password`."""
    given = request.headers.get("authorization", "")
    if not given:
        raise Unproved("no_login", "expected HTTP Basic authentication, got none")
    expected = [basic(secret) for secret in secrets]
    came = given[:HEADER_CHARACTERS_MAX].encode("utf-8", "surrogateescape")
    if not sum(hmac.compare_digest(came, each.encode()) for each in expected):
        raise Unproved("wrong_login", "expected the user and password of this connection's secret, got others")


def sign_login(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """`Vendor.sign` of those who have a login in the webhook's URL and sign nothing."""
    return {"Authorization": basic(secret)}


def basic(secret: str) -> str:
    """The `Authorization` header of a login `user:password`."""
    return "Basic " + base64.b64encode(secret.encode()).decode()


def login_problem(secret: str) -> str | None:
    """What a login should have been; None when it is all right."""
    user, colon, password = secret.partition(":")
    if user and colon and len(password) >= 8:
        return None
    return "expected `user:password` with at least 8 characters of password, got something else"


def fingerprint(raw: bytes) -> str:
    """128 bits of SHA-256, as an id of what has none."""
    return hashlib.sha256(raw).hexdigest()[:32]


@dataclass(frozen=True)
class DatedHmac:
    """A header of parts, with the time of signing in seconds and hexadecimal HMAC-SHA256s of `<time><joint><body>`.

    `header` is its name, `between` stands between its parts, `time` and `signature` name them.
    """

    header: str
    between: str
    time: str
    signature: str
    joint: bytes

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int, age_ms_max: int = AGE_MS_MAX) -> None:
        """A signature, then the age; raises `Unproved`."""
        pairs = [part.strip().partition("=") for part in header(request, self.header).split(self.between)]
        signed_at = next((value for name, _, value in pairs if name == self.time), None)
        if signed_at is None:
            raise Unproved("wrong_signature", f"expected {self.time}= in {self.header}, got none")
        at_ms = number_in(signed_at, f"{self.time}= in {self.header}") * SECOND_MS
        came = [value for name, _, value in pairs if name == self.signature]
        expected = [self._of(request.body, secret, signed_at) for secret in secrets]
        prove_one_of(came, expected, f"{self.signature}= in {self.header}")
        prove_age(at_ms, now_ms, age_ms_max)

    def sign(self, body: bytes, secret: str, now_ms: int) -> dict[str, str]:
        """The header that proves `body`."""
        signed_at = str(now_ms // SECOND_MS)
        signature = self._of(body, secret, signed_at)
        return {self.header: f"{self.time}={signed_at}{self.between}{self.signature}={signature}"}

    def _of(self, body: bytes, secret: str, signed_at: str) -> str:
        return hex_digest(secret, signed_at.encode() + self.joint + body)
