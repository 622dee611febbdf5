"""Who may ask `tidegate api` what: bearer tokens with scopes, out of the environment.

`TIDEGATE_SECRET_API_<NAME>` holds scopes with commas between them, a space, and a token; `TIDEGATE_SECRET_API` a token alone,
which may ask everything. Of a token that is to be replaced there may be two for a while, under two names.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from actions.credentials import key_problem
from actions.message_reading import SECRET
from streams.settings import SECRET_PREFIX, SettingError

CONTACTS_READ: Final = "contacts:read"
MEMBERSHIPS_READ: Final = "memberships:read"
SEGMENTS_READ: Final = "segments:read"
REPORTS_READ: Final = "reports:read"
FIELDS_READ: Final = "fields:read"
EXPORT: Final = "export"
# each with what it opens
SCOPES: Final[Mapping[str, str]] = {
    CONTACTS_READ: "a contact: traits, consent, memberships",
    MEMBERSHIPS_READ: "whether a contact is in segments; who is in a segment, page by page",
    SEGMENTS_READ: "segments and their sizes",
    REPORTS_READ: "sequences, and what they were worth",
    FIELDS_READ: "which fields events have, with samples",
    EXPORT: "all members of a segment at once",
}
WHOLE: Final = f"{SECRET_PREFIX}API"
PREFIX: Final = f"{WHOLE}_"
EXPECTED: Final = f"expected scopes ({', '.join(SCOPES)}) with commas between them, a space and a token"


@dataclass(frozen=True)
class Token:
    """Of the variable `variable`; `digest` is its SHA-256, `key` is for what is signed for whoever shows it."""

    variable: str
    digest: bytes
    key: bytes
    scopes: frozenset[str]

    def __repr__(self) -> str:
        return f"Token({self.variable}: {', '.join(sorted(self.scopes))})"  # never what it is


class Tokens:
    """Those that there are."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._tokens = tuple(tokens)

    def of(self, authorization: bytes) -> Token | None:
        """Whose the header `Authorization` is; it takes as long whichever it is, and however much of one is right."""
        scheme, _, given = authorization.partition(b" ")
        digest = hashlib.sha256(given.strip(b" ")).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found if scheme.lower() == b"bearer" else None


def read_tokens(environment: Mapping[str, str]) -> Tokens:
    """The tokens; raises `SettingError`, which never says what one is."""
    tokens = []
    if whole := environment.get(WHOLE):
        tokens.append(_token(WHOLE, whole, SCOPES))
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX):
            tokens.append(_scoped(variable, text))
    if not tokens:
        raise SettingError(
            f"{WHOLE}: expected a token of at least 32 characters, or some in {PREFIX}<NAME>, got none: "
            "`openssl rand -hex 32` makes one"
        )
    _check_all_differ(tokens)
    return Tokens(tokens)


def _scoped(variable: str, text: str) -> Token:
    if not SECRET.fullmatch(variable.removeprefix(PREFIX)):
        raise SettingError(f"{variable}: expected capital letters, digits and `_` after {PREFIX}, got something else")
    listed, _, token = text.strip().partition(" ")
    scopes = listed.split(",")
    if not token or " " in token.strip() or not SCOPES.keys() >= set(scopes):
        raise SettingError(f"{variable}: {EXPECTED}, got something else")
    return _token(variable, token.strip(), scopes)


def _token(variable: str, token: str, scopes: Iterable[str]) -> Token:
    problem = key_problem(token)
    if problem is not None:
        raise SettingError(f"{variable}: {problem} of a token: `openssl rand -hex 32` makes one")
    given = token.encode()
    return Token(
        variable,
        hashlib.sha256(given).digest(),
        hashlib.sha256(b"tidegate api, signed for\n" + given).digest(),
        frozenset(scopes),
    )


def _check_all_differ(tokens: Iterable[Token]) -> None:
    seen: dict[bytes, str] = {}
    for token in tokens:
        before = seen.setdefault(token.digest, token.variable)
        if before != token.variable:
            raise SettingError(f"{token.variable}: expected another token than that of {before}, got the same")
