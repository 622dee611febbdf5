"""Connections as they are written, to `Connection`s: every error of a file at once, each with its path.

connections:
  - id: shop-stripe
    vendor: stripe
    secret: [STRIPE, STRIPE_BEFORE]
    contact: [user_id, email, vendor_id]
    user_id: $.data.object.metadata.account
    events:
      charge.dispute.created: {event: Payment Disputed, properties: {amount: $.data.object.amount}, traits: {disputed: true}}
      product.*: ignore
"""

import re
from typing import Any, Final

from jsonpath_rfc9535 import JSONPathError

from actions.errors import RuleErrors
from actions.reader import DESCRIPTIVE, Reader, read_each
from streams.vendors.connection import NAME_KINDS, TRACKING, Connection, Override, Path
from streams.vendors.own_reading import read_form, read_generic
from streams.vendors.registry import MODULES

CONNECTIONS_MAX: Final = 1_000
SECRETS_MAX: Final = 4
OVERRIDES_MAX: Final = 500
PATH_CHARACTERS_MAX: Final = 500
_KEYS: Final = ("id", "vendor", "secret", "contact", "user_id", "events", "namespace", *DESCRIPTIVE)
_READ_OWN: Final = {"generic": read_generic, "form": read_form}
# keys of a vendor that differ from those of all others
_OWN_KEYS: Final = {
    "generic": (*_KEYS, "signature", "notification", "names", "title"),
    "form": (*_KEYS, "form_name", "redirect", "fields", "origins"),
    # its events say themselves whose they are
    "segment": ("id", "vendor", "secret", "events", *DESCRIPTIVE),
    TRACKING: ("id", "vendor", "secret", "origins", *DESCRIPTIVE),
}
_OVERRIDE_KEYS: Final = ("event", "properties", "traits")
_SECRET = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:\d{1,5})?", re.ASCII)


def load_connections(text: str, name: str = "connections") -> tuple[Connection, ...]:
    """The connections in one YAML or JSON file. Raises `RuleErrors` with every error."""
    connections, errors = read_each("connection", "connections", text, name, None, _connection)
    if len(connections) > CONNECTIONS_MAX:
        errors.append(
            f"{name}: expected at most {CONNECTIONS_MAX} connections, got {len(connections)} - at $.connections"
        )
    if errors:
        raise RuleErrors(errors)
    return connections


def _connection(reader: Reader, body: Any) -> Connection | None:
    if not reader.is_mapping(body, ""):
        return None
    id = reader.id(body, "connection")
    reader.descriptive(body)
    vendor = reader.choice(body, "vendor", (TRACKING, *MODULES), "")
    if vendor:
        reader.keys(body, _OWN_KEYS.get(vendor, _KEYS), "")
    connection = Connection(
        id,
        vendor,
        _secrets(reader, body),
        contact=_contact(reader, body),
        user_ids=tuple(_user_ids(reader, body)),
        overrides=_overrides(reader, body, only_ignored=vendor == "segment"),
        # ids of two systems of the company's own may be the same
        namespace=_namespace(reader, body) or (id if vendor == "generic" else ""),
        origins=_origins(reader, body),
        own=_READ_OWN[vendor](reader, body, read_path) if vendor in _READ_OWN else {},
    )
    return None if reader.errors else connection


def _secrets(reader: Reader, body: dict[str, Any]) -> tuple[str, ...]:
    written = body.get("secret")
    names = written if isinstance(written, list) else [written]
    for name in names:
        if not isinstance(name, str) or not _SECRET.fullmatch(name):
            expected = (
                "the name of a secret in capitals, which stands in TIDEGATE_SECRET_<name> (two while it is rotated)"
            )
            reader.say(f"expected {expected}, got {'nothing' if name is None else 'something else'}", ".secret")
            return ()
    if not names or len(names) > SECRETS_MAX:
        reader.say(f"expected 1 to {SECRETS_MAX} names of secrets, got {len(names)}", ".secret")
    return tuple(names)


def _contact(reader: Reader, body: dict[str, Any]) -> tuple[Any, ...]:
    written = body.get("contact", list(NAME_KINDS))
    if not isinstance(written, list) or not written or len(set(map(str, written))) != len(written):
        reader.error("a list of user_id, email, vendor_id in the order in which they count", written, ".contact")
        return NAME_KINDS
    for at, kind in enumerate(written):
        if kind not in NAME_KINDS:
            reader.error(" or ".join(NAME_KINDS), kind, f".contact[{at}]", NAME_KINDS)
    return tuple(written)


def _user_ids(reader: Reader, body: dict[str, Any]) -> list[Path]:
    written = body.get("user_id", [])
    listed = written if isinstance(written, list) else [written]
    return [path for each in listed if (path := read_path(reader, each, ".user_id"))]


def _overrides(reader: Reader, body: dict[str, Any], *, only_ignored: bool) -> dict[str, Override]:
    written = body.get("events", {})
    if not reader.is_mapping(written, ".events", "a mapping from the vendor's names of events"):
        return {}
    if len(written) > OVERRIDES_MAX:
        reader.say(f"expected at most {OVERRIDES_MAX} events, got {len(written)}", ".events")
    for name, each in written.items():
        if only_ignored and each != "ignore":
            reader.error("`ignore`, as these events are handed on as they are", each, f".events[{name!r}]")
    return {name: _override(reader, each, f".events[{name!r}]") for name, each in written.items()}


def _override(reader: Reader, written: Any, path: str) -> Override:
    if written == "ignore":
        return Override(ignored=True)
    if not reader.is_mapping(written, path, "`ignore`, or a mapping with event, properties, traits"):
        return Override()
    reader.keys(written, _OVERRIDE_KEYS, path)
    event = written.get("event")
    if "event" in written and (not isinstance(event, str) or not event.strip()):
        reader.error("the name of an event", event, f"{path}.event")
    values = {key: _values(reader, written.get(key, {}), f"{path}.{key}") for key in ("properties", "traits")}
    return Override(event, values["properties"], values["traits"])


def _values(reader: Reader, written: Any, path: str) -> dict[str, Any]:
    """Text that begins with `$` is a JSONPath, all else stands for itself."""
    if not reader.is_mapping(written, path):
        return {}
    return {
        name: read_path(reader, each, f"{path}.{name}") if isinstance(each, str) and each.startswith("$") else each
        for name, each in written.items()
    }


def read_path(reader: Reader, written: Any, path: str) -> Path | None:
    """The JSONPath that is written there, None with an error."""
    expected = "a JSONPath such as $.data.object.metadata.account"
    if not isinstance(written, str) or not written.startswith("$") or len(written) > PATH_CHARACTERS_MAX:
        reader.error(expected, written, path)
        return None
    made = Path(written)
    try:
        made.first({})
    except JSONPathError as error:
        reader.say(f"expected {expected}, got {written!r}: {str(error).splitlines()[0]}", path)
        return None
    return made


def _origins(reader: Reader, body: dict[str, Any]) -> tuple[str, ...]:
    written = body.get("origins", [])
    if not isinstance(written, list):
        reader.error("a list of origins such as https://shop.example", written, ".origins")
        return ()
    for at, each in enumerate(written):
        if not isinstance(each, str) or not _ORIGIN.fullmatch(each):
            reader.error("an origin such as https://shop.example", each, f".origins[{at}]")
    return tuple(str(each).lower() for each in written)


def _namespace(reader: Reader, body: dict[str, Any]) -> str:
    found = body.get("namespace", "")
    if "namespace" in body and (not isinstance(found, str) or not _NAMESPACE.fullmatch(found)):
        reader.error("small letters, digits, `.`, `_` and `-`", found, ".namespace")
        return ""
    return str(found)
