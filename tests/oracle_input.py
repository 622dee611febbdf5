"""What the oracle reads: events and definition files (page sections 1, 4)."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from math import floor
from typing import Any

import yaml

from tests.oracle_values import NUMBER, duration, exact, look_up, present, read_instant, shown

__all__ = ["Definitions", "Event", "Rejected", "duration", "load", "parse", "read_instant", "settled", "shown"]

EVENT_BYTES_MAX = 256 * 1024
KINDS = ("track", "identify", "page", "screen", "group", "alias", "list", "delete")


class Rejected(ValueError):
    """A line that is no event; the text is the reason."""


# ---- what goes in (section 1) ----


@dataclass
class Event:
    """One accepted event; `t`, `r` and `order` are set by the contact that takes it."""

    kind: str
    contact: str
    linked: str | None
    name: str | None
    properties: dict[str, Any]
    context: dict[str, Any]
    writes: dict[str, Any]
    list_name: str | None
    added: bool
    message_id: str | None
    timestamp: int | None
    received: int
    t: int = 0
    r: int = 0
    order: int = 0

    def value(self, path: str) -> Any:
        """What stands at the path: in the properties, or with `context.` in the context."""
        if path.startswith("context."):
            return look_up(self.context, path.removeprefix("context."))
        return look_up(self.properties, path)


@dataclass
class Definitions:
    """A line of an events file that replaces all definitions."""

    segments: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    received: int


def parse(line: bytes | str | dict[str, Any]) -> Event | Definitions:
    """The event, or the definitions, that the line holds; raises `Rejected`."""
    raw = read_json(line)
    kind = text_field(raw, "type")
    if kind == "definitions":
        return parse_definitions(raw)
    if kind not in KINDS:
        raise Rejected(f"expected a known type, got {kind!r}")
    user, anonymous = text_field(raw, "userId"), text_field(raw, "anonymousId")
    if not (user or anonymous):
        raise Rejected("expected userId or anonymousId, got neither")
    context = object_field(raw, "context") if kind != "delete" else {}
    timestamp, received = time_field(raw, "timestamp"), time_field(raw, "receivedAt")
    if timestamp is None and received is None:
        raise Rejected("expected timestamp or receivedAt, got neither")
    message_id = raw.get("messageId")
    return Event(
        kind=kind,
        contact=user or anonymous or "",
        linked=linked_name(raw, kind, user, anonymous),
        name=event_name(raw, kind),
        properties=event_properties(raw, kind),
        context=context,
        writes=object_field(context, "traits") | own_writes(raw, kind),
        list_name=wanted(raw, "list") if kind == "list" else None,
        added=kind == "list" and list_action(raw) == "added",
        message_id=message_id if isinstance(message_id, str) and message_id else None,
        timestamp=timestamp,
        received=received if received is not None else timestamp,  # type: ignore[arg-type]
    )


def parse_definitions(raw: dict[str, Any]) -> Definitions:
    received = time_field(raw, "receivedAt")
    if received is None:
        raise Rejected("expected receivedAt, got none")
    parts = [raw.get("segments"), raw.get("scores", [])]
    if not all(isinstance(part, list) and all(isinstance(one, dict) for one in part) for part in parts):
        raise Rejected(f"expected lists of segments and scores, got {raw!r}")
    return Definitions(raw["segments"], raw.get("scores", []), received)


def wanted(raw: dict[str, Any], key: str) -> str:
    """The text of a field that the event's type can't do without."""
    value = text_field(raw, key)
    if value is None:
        raise Rejected(f"expected {key}, got none")
    return value


def linked_name(raw: dict[str, Any], kind: str, user: str | None, anonymous: str | None) -> str | None:
    """The name that the event asks to link to its contact."""
    if kind == "alias":
        return wanted(raw, "previousId")
    return anonymous if kind == "identify" and user else None


def list_action(raw: dict[str, Any]) -> str:
    action = wanted(raw, "action")
    if action not in ("added", "removed"):
        raise Rejected(f"expected action to be added or removed, got {action!r}")
    return action


def event_name(raw: dict[str, Any], kind: str) -> str | None:
    if kind == "track":
        return wanted(raw, "event")
    return {"page": "Page Viewed", "screen": "Screen Viewed"}.get(kind)


def event_properties(raw: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind not in ("track", "page", "screen"):
        return {}
    properties = object_field(raw, "properties")
    name = text_field(raw, "name") if kind != "track" else None
    return {**properties, "name": name} if name and not present(properties.get("name")) else properties


def own_writes(raw: dict[str, Any], kind: str) -> dict[str, Any]:
    """The traits that the event itself writes, by top-level name."""
    if kind == "identify":
        return object_field(raw, "traits")
    if kind == "group":
        group = wanted(raw, "groupId")
        return {f"group.{key}": value for key, value in object_field(raw, "traits").items()} | {"group.id": group}
    return {}


def read_json(line: bytes | str | dict[str, Any]) -> dict[str, Any]:
    """The object on the line with its numbers exact; raises `Rejected`."""
    text = json.dumps(line) if isinstance(line, dict) else line
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw.strip()) > EVENT_BYTES_MAX:
        raise Rejected(f"expected at most {EVENT_BYTES_MAX} bytes, got {len(raw.strip())}")
    try:
        value = json.loads(raw.decode(), parse_int=json_number, parse_float=json_number, parse_constant=json_number)
        json.dumps(value, default=str, ensure_ascii=False).encode()  # no lone surrogates
    except RecursionError:
        raise Rejected("expected less nesting") from None
    except Rejected:
        raise
    except ValueError as why:
        raise Rejected(f"expected JSON: {why}") from None
    if not isinstance(value, dict):
        raise Rejected("expected an object")
    return value


def json_number(text: str) -> Decimal:
    number = exact(text) if NUMBER.fullmatch(text) else None
    if number is None:
        raise Rejected(f"expected a number that a double can hold, got {text[:40]}")
    return number


def text_field(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if present(value) and not isinstance(value, str):
        raise Rejected(f"expected {key} to be text, got {value!r}")
    return value or None


def object_field(raw: dict[str, Any], key: str) -> dict[str, Any]:
    value = raw.get(key)
    if present(value) and not isinstance(value, dict):
        raise Rejected(f"expected {key} to be an object, got {value!r}")
    return value or {}


def time_field(raw: dict[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if not present(value):
        return None
    ms = floor(value) if isinstance(value, Decimal) else None
    if isinstance(value, str):
        ms = read_instant(value, needs_offset=True)
    if ms is None or not -62_135_596_800_000 <= ms < 253_402_300_800_000:  # the years 1 to 9999
        raise Rejected(f"expected {key} to be a time with offset or epoch ms, got {value!r}")
    return ms


# ---- files ----


class CoreLoader(yaml.SafeLoader):
    """YAML 1.2, core schema: no dates, no `yes`, no base 60."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base class has it


def yaml_number(loader: CoreLoader, node: yaml.ScalarNode) -> int | float:
    """The number as int or float; a float's shortest form is what section 1 makes of it anyway."""
    text = node.value
    if re.match("0[ox]", text):
        return int(text, 0)
    return int(text) if re.fullmatch("[-+]?[0-9]+", text) else float(text)


CoreLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), None)
CoreLoader.add_implicit_resolver(
    "!number",
    re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)$"),
    None,
)
CoreLoader.add_constructor("!number", yaml_number)


def settled(tree: Any) -> Any:
    """Definitions with every number an exact decimal, as in events."""
    if isinstance(tree, dict):
        return {key: settled(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [settled(part) for part in tree]
    if isinstance(tree, (int, float, Decimal)) and not isinstance(tree, bool):
        return exact(repr(tree) if isinstance(tree, float) else str(tree))
    return tree


def load(text: str) -> Any:
    """The YAML 1.2 (or JSON) document that `text` holds."""
    return yaml.load(text, CoreLoader)  # a SafeLoader
