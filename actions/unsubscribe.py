"""Links that unsubscribe: signed, so that nobody unsubscribes anybody else, and good for ever.

A token is base64url of `[contact, group, delivery]` in JSON, `.`, and base64url of HMAC-SHA256 over the first part.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import msgspec

# what the key is used for is a part of what is signed: the same secret elsewhere makes no token
_PURPOSE: Final = b"tidegate unsubscribe 1\n"
TOKEN_CHARACTERS_MAX: Final = 8192


@dataclass(frozen=True)
class Unsubscribe:
    """What a token stands for."""

    contact: str
    group: str
    delivery: str


class UnsubscribeLinks:
    """Makes and reads links below `public_url` (no `/` at its end), signed with `secret`; reads those of `before`, too."""

    def __init__(self, public_url: str, secret: str, before: str | None = None) -> None:
        self._public_url = public_url.rstrip("/")
        self._keys = [key.encode() for key in (secret, before) if key is not None]

    def __repr__(self) -> str:
        return f"UnsubscribeLinks({self._public_url})"  # never the secret

    def url(self, contact: str, group: str, delivery: str) -> str:
        """The link that unsubscribes `contact` from `group`; `delivery` is the id of the message that it stands in."""
        named = base64.urlsafe_b64encode(msgspec.json.encode([contact, group, delivery])).rstrip(b"=")
        return f"{self._public_url}/u/{named.decode()}.{_signature(self._keys[0], named).decode()}"

    def read(self, token: str) -> Unsubscribe | None:
        """What `token` stands for; None where it is none of ours."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        named, _, signature = token.encode().partition(b".")
        if not any(hmac.compare_digest(signature, _signature(key, named)) for key in self._keys):
            return None
        try:
            return Unsubscribe(*msgspec.json.decode(base64.urlsafe_b64decode(named + b"=" * (-len(named) % 4))))
        except (binascii.Error, msgspec.DecodeError, TypeError):
            return None


def _signature(key: bytes, named: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.digest(key, _PURPOSE + named, hashlib.sha256)).rstrip(b"=")
