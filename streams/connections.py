"""The connections in force: the file of TIDEGATE_CONNECTIONS, with their secrets from the environment.

Secrets are checked where they are read, and never shown: neither in an error nor where one of these is printed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actions import RuleErrors
from streams.definition_files import open_files
from streams.errors import InputError
from streams.settings import SECRET_PREFIX, Settings
from streams.vendors.connection import TRACKING, Connection
from streams.vendors.connection_reading import load_connections
from streams.vendors.contract import Vendor
from streams.vendors.registry import vendor_for

_PUBLIC: Final = (TRACKING, "form")
# it is the user of HTTP Basic, which ends at a colon
_WRITE_KEY = re.compile(r"[!-9;-~]{8,256}", re.ASCII)


@dataclass(frozen=True)
class Connected:
    """A connection with what it needs. `vendor` is None for `tracking`; any of `secrets` proves a request."""

    connection: Connection
    vendor: Vendor | None
    secrets: tuple[str, ...] = field(repr=False)


class Connections:
    """All connections, by what a request has to say of its own: a path, or a write key."""

    def __init__(self, connected: tuple[Connected, ...]) -> None:
        self._all = connected
        self._webhooks = {(each.connection.vendor, each.connection.id): each for each in connected if each.vendor}
        self._tracking = {_hash(secret): each for each in connected if each.vendor is None for secret in each.secrets}

    def __iter__(self) -> Iterator[Connected]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def webhook(self, vendor: str, id: str) -> Connected | None:
        """The connection that receives at `/v1/webhooks/<vendor>/<id>`; None where there is none."""
        return self._webhooks.get((vendor, id))

    def tracking(self, write_key: str) -> Connected | None:
        """The connection whose write key that is; None where there is none.

        Keys are found by their hashes: how long it takes says nothing of what a key begins with.
        """
        return self._tracking.get(_hash(write_key))


def load(settings: Settings, environment: Mapping[str, str]) -> Connections:
    """The connections of the settings' file; raises `InputError` with all of what is wrong, a line each."""
    connected, errors = connect(read(settings.connections), environment)
    if errors:
        raise InputError(*errors)
    return Connections(connected)


def read(path: str) -> tuple[Connection, ...]:
    """The connections of a file, without secrets; raises `InputError` with all of what is wrong, a line each."""
    if path != "-" and not Path(path).exists():
        raise InputError(f"{path}: expected a file of connections, got none: TIDEGATE_CONNECTIONS says where it is")
    (file,) = open_files([path])
    try:
        return load_connections(file.text, file.name)
    except RuleErrors as error:
        raise InputError(*error.errors) from None


def connect(
    connections: tuple[Connection, ...], environment: Mapping[str, str]
) -> tuple[tuple[Connected, ...], list[str]]:
    """Those whose secrets are there and all right, and what is wrong with the others: lines without secrets."""
    connected, errors = [], []
    keys: dict[str, str] = {}
    for connection in connections:
        vendor = None if connection.vendor == TRACKING else vendor_for(connection)
        secrets, problems = _secrets(connection, vendor, environment)
        if vendor is None and not problems:
            problems = [
                f"connection {connection.id!r}: expected a write key of its own, got that of connection {other!r}"
                for secret in secrets
                if (other := keys.setdefault(secret, connection.id)) != connection.id
            ]
        errors += problems
        if not problems:
            connected.append(Connected(connection, vendor, secrets))
    public = {secret: each.connection.id for each in connected if _is_public(each) for secret in each.secrets}
    shared = {
        each.connection.id: next((public[secret] for secret in each.secrets if secret in public), None)
        for each in connected
        if not _is_public(each)
    }
    errors += [
        f"connection {id!r}: expected a secret of its own, got that of connection {other!r}, which is in a page for all to see"
        for id, other in shared.items()
        if other is not None
    ]
    return tuple(each for each in connected if shared.get(each.connection.id) is None), errors


def _is_public(connected: Connected) -> bool:
    """Whether its secrets only say which connection it is: whoever has the page has them."""
    return connected.connection.vendor in _PUBLIC


def _secrets(
    connection: Connection, vendor: Vendor | None, environment: Mapping[str, str]
) -> tuple[tuple[str, ...], list[str]]:
    found, problems = [], []
    for name in connection.secrets:
        variable = SECRET_PREFIX + name
        secret = environment.get(variable, "")
        problem = "expected a secret, got none" if not secret else _problem(vendor, secret)
        if problem:
            problems.append(f"{variable}: {problem} - of connection {connection.id!r}")
        found.append(secret)
    return tuple(found), problems


def _problem(vendor: Vendor | None, secret: str) -> str | None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return "expected text in UTF-8, got something else"
    return (vendor.secret_problem if vendor else _key)(secret)


def _key(secret: str) -> str | None:
    if _WRITE_KEY.fullmatch(secret):
        return None
    return "expected a write key of 8 to 256 characters of ASCII without blanks and `:`, got something else"


def _hash(write_key: str) -> bytes:
    return hashlib.sha256(write_key.encode("utf-8", "surrogateescape")).digest()
