"""What a secret of a channel has to look like; no function here ever says what it is."""

import base64
import binascii
import re
from typing import Final

from actions.targets import url_problem

SIGNING_BYTES_MIN, SIGNING_BYTES_MAX = 24, 64
KEY_CHARACTERS_MIN: Final = 32
# no URL: it must not be taken for a login, and shown to another service
_LOGIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}:(?!//)[!-~]{1,512}", re.ASCII)
# nor a webhook's for a write key
_WRITE_KEY: Final = re.compile(r"(?!whsec_)[A-Za-z0-9._~-]{8,256}", re.ASCII)


def signing_problem(secret: str) -> str | None:
    """What a signing secret of Standard Webhooks should have been; None when it is all right."""
    expected = f"`whsec_` and {SIGNING_BYTES_MIN} to {SIGNING_BYTES_MAX} bytes in base64"
    try:
        size = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return f"expected {expected}, got something else"
    return None if SIGNING_BYTES_MIN <= size <= SIGNING_BYTES_MAX else f"expected {expected}, got {size} bytes"


def hook_problem(secret: str) -> str | None:
    """What a URL that must stay secret should have been; None when it is all right."""
    expected = url_problem(secret)
    return None if expected is None else f"expected {expected}, got something else"


def login_problem(secret: str) -> str | None:
    """What the name and the token of an account should have been; None when they are all right."""
    if _LOGIN.fullmatch(secret):
        return None
    return "expected the account's sid, `:` and its token, got something else"


def write_key_problem(secret: str) -> str | None:
    """What the write key of a Segment source should have been; None when it is all right."""
    if _WRITE_KEY.fullmatch(secret):
        return None
    return "expected a write key of 8 to 256 letters, digits, `.`, `_`, `~` and `-`, got something else"


def key_problem(secret: str) -> str | None:
    """What a key that is ours alone should have been; None when it is all right."""
    if len(secret) >= KEY_CHARACTERS_MIN:
        return None
    return f"expected at least {KEY_CHARACTERS_MIN} characters, got {len(secret)}"
