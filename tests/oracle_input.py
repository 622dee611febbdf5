"""What the oracle reads: numbers, instants and durations, events and definition files (page sections 1, 3, 4).

Plain on purpose and shared with nothing: `segments/` has its own.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import yaml

FUTURE_MS = 5 * 60_000
EVENT_BYTES_MAX = 256 * 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rejected(ValueError):
    """A line that is no event; the text is the reason."""


# ---- values: numbers, texts, instants, durations (sections 1, 3, 5) ----

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
UNITS_MS = (7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def exact(text: str) -> Decimal | None:
    """The number that `text` writes: up to 15 digits as written, else by the nearest double; None if none holds it."""
    try:
        number = Decimal(text)
        nearest = float(number)
    except ArithmeticError:
        return None
    if abs(nearest) == float("inf"):
        return None
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return number if len(digits) <= 15 else Decimal(repr(nearest))


def number_of(value: Any) -> Fraction | None:
    """The value as an exact number, or None: booleans never are one, text in JSON's number grammar is."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = exact(value)
    return Fraction(value) if isinstance(value, Decimal) else None


def plain(value: Any) -> str:
    """A scalar by its characters: `true`, `false`, or a number in its shortest plain decimal form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return str(value)


def equal(a: Any, b: Any, fold: bool = False) -> bool:
    """Section 5, `eq`."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y, fold) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key], fold) for key in a)
    if isinstance(a, (list, dict)) or isinstance(b, (list, dict)):
        return False
    if a is None or b is None:
        return a is b
    if isinstance(a, str) or isinstance(b, str):
        return folded(plain(a), fold) == folded(plain(b), fold)
    return type(a) is type(b) and bool(a == b)


def folded(text: str, fold: bool) -> str:
    """The text, case folded where `fold`."""
    return text.casefold() if fold else text


def instant(value: Any) -> int | None:
    """The date in ms: ISO 8601 text, or a number (seconds below 10^11, else ms); None where it is no date."""
    if isinstance(value, Decimal):
        return floor(Fraction(value) * 1000) if abs(value) < 10**11 else floor(value)
    return read_instant(value) if isinstance(value, str) else None


def read_instant(text: str, needs_offset: bool = False) -> int | None:
    """The instant that `text` writes in ms, UTC where it has no offset; None where it writes none."""
    match = INSTANT.fullmatch(text)
    if not match or (needs_offset and not match[8]):
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    ms = (whole - EPOCH) // timedelta(seconds=1) * 1000 + int(((match[7] or "") + "000")[:3])
    if match[8] in (None, "Z"):
        return ms
    off_h, off_m = int(match[8][1:3]), int(match[8][3:].strip(":") or 0)
    if off_h > 23 or off_m > 59:
        return None
    return ms - (off_h * 60 + off_m) * (60_000 if match[8][0] == "+" else -60_000)


def duration(text: str) -> int:
    """The duration that `text` writes, in ms."""
    match = DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if not match:
        raise ValueError(f"expected a duration, got {text!r}")
    return sum(int(part or 0) * unit for part, unit in zip(match.groups(), UNITS_MS, strict=True))


def shown(ms: int) -> str:
    """The instant as transitions show it."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def present(value: Any) -> bool:
    """False for null and `""`, which are missing everywhere."""
    return value is not None and value != ""


def look_up(tree: Any, path: str) -> Any:
    """What stands at the dotted path, the longest key first at each level; None where it is absent."""
    parts = path.split(".")
    for taken in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:taken]), ".".join(parts[taken:])
        if isinstance(tree, dict) and key in tree:
            value = look_up(tree[key], rest) if rest else tree[key]
            if present(value):
                return value
    return None


# ---- what goes in (section 1) ----


@dataclass
class Event:
    """One accepted event; `t` and `r` are set by the contact that takes it."""

    contact: str
    name: str | None
    properties: dict[str, Any]
    context: dict[str, Any]
    writes: dict[str, Any]
    message_id: str | None
    timestamp: int | None
    received: int
    t: int = 0
    r: int = 0
    order: int = 0


def parse(line: bytes | str | dict[str, Any]) -> Event:
    """The event that the line holds; raises `Rejected`."""
    raw = read_json(line)
    kind = text_field(raw, "type")
    if kind in ("alias", "list", "delete", "definitions"):
        raise Rejected(f"type {kind!r} is not supported yet")
    if kind not in ("track", "identify", "page", "screen", "group"):
        raise Rejected(f"expected a known type, got {kind!r}")
    contact = text_field(raw, "userId")
    anonymous = text_field(raw, "anonymousId")
    if not (contact or anonymous):
        raise Rejected("expected userId or anonymousId, got neither")
    context = object_field(raw, "context")
    timestamp, received = time_field(raw, "timestamp"), time_field(raw, "receivedAt")
    if timestamp is None and received is None:
        raise Rejected("expected timestamp or receivedAt, got neither")
    message_id = raw.get("messageId")
    return Event(
        contact=contact or anonymous or "",
        name=event_name(raw, kind),
        properties=event_properties(raw, kind),
        context=context,
        writes=object_field(context, "traits") | own_writes(raw, kind),
        message_id=message_id if isinstance(message_id, str) and message_id else None,
        timestamp=timestamp,
        received=received if received is not None else timestamp,  # type: ignore[arg-type]
    )


def event_name(raw: dict[str, Any], kind: str) -> str | None:
    if kind == "track":
        name = text_field(raw, "event")
        if name is None:
            raise Rejected("expected an event name, got none")
        return name
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
        group = text_field(raw, "groupId")
        if group is None:
            raise Rejected("expected groupId, got none")
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
