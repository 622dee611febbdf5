"""Cursors: where a page ended, as text that nobody but the API can make.

One is signed with the key of the token that it is given to: each API of the same token takes it, also after a start, and it
is none with another token or for another segment.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from streams.api_tokens import Token

_MAC_BYTES: Final = 16


def cursor_of(token: Token, segment: str, after: str) -> str:
    """The cursor for what comes after `after` in a segment."""
    return base64.urlsafe_b64encode(_mac(token, segment, after) + after.encode()).decode().rstrip("=")


def after_of(token: Token, segment: str, cursor: str) -> str:
    """What a cursor stands for; raises `ValueError` where it wasn't made by us, for this token and segment."""
    try:
        signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        after = signed[_MAC_BYTES:].decode()
    except (binascii.Error, ValueError):
        signed, after = b"", ""
    if not hmac.compare_digest(signed[:_MAC_BYTES], _mac(token, segment, after)):
        raise ValueError(
            "expected in `after` what `next` was with this token, of this segment, got something else: begin without it"
        )
    return after


def _mac(token: Token, segment: str, after: str) -> bytes:
    return hmac.digest(token.key, msgspec.json.encode([segment, after]), hashlib.sha256)[:_MAC_BYTES]
