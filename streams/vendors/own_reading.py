"""What a connection says under keys that only its vendor has: `generic` and `form`, which have no mapping of their own.

The values become what the vendors' modules take from `Connection.own`: texts, `Path`s, and a `Scheme`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from actions.reader import Reader
from schemas.instants import DAY_MS
from streams.vendors.connection import NAME_KINDS, Path
from streams.vendors.schemes import TOKEN, TOKENS, Login, Scheme, Signature, Standard

ALGORITHMS: Final = ("sha1", "sha256", "sha512")
ENCODINGS: Final = ("hex", "base64")
UNITS: Final = {"s": 1000, "ms": 1}
NOTIFICATION_KEYS: Final = ("id", "name", "at")
SIGNATURE_KEYS: Final = ("header", "algorithm", "encoding", "prefix", "signed", "timestamp", "tolerance")
TEXT_CHARACTERS_MAX: Final = 200
URL_CHARACTERS_MAX: Final = 2_000
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
# what decides where a header's elements end can't be in one
_PREFIX: Final = re.compile(r"[!-+\--:<-~]{1,40}", re.ASCII)
_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)

ReadPath = Callable[[Reader, Any, str], Path | None]


def read_generic(reader: Reader, body: dict[str, Any], read_path: ReadPath) -> dict[str, Any]:
    """`signature`, `notification`, `names` and `title` of a generic webhook."""
    own: dict[str, Any] = {"signature": _scheme(reader, body.get("signature"))}
    if "title" in body:
        own["title"] = _text(reader, body["title"], ".title")
    notification = _mapping(reader, body, "notification", NOTIFICATION_KEYS)
    own["notification"] = {
        key: _path_or_header(reader, each, f".notification.{key}", read_path) for key, each in notification.items()
    }
    names = _mapping(reader, body, "names", NAME_KINDS)
    own["names"] = {kind: read_path(reader, each, f".names.{kind}") for kind, each in names.items()}
    return own


def read_form(reader: Reader, body: dict[str, Any], read_path: ReadPath) -> dict[str, Any]:
    """`form_name`, `redirect` and `fields` of a form."""
    own: dict[str, Any] = {}
    if "form_name" in body:
        own["form_name"] = _text(reader, body["form_name"], ".form_name")
    if "redirect" in body:
        own["redirect"] = _url(reader, body["redirect"], ".redirect")
    fields = _mapping(reader, body, "fields", ("user_id", "email"))
    own["fields"] = {kind: _text(reader, each, f".fields.{kind}") for kind, each in fields.items()}
    return own


def _mapping(reader: Reader, body: dict[str, Any], key: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    written = body.get(key, {})
    if not reader.is_mapping(written, f".{key}"):
        return {}
    reader.keys(written, known, f".{key}")
    return {name: each for name, each in written.items() if name in known}


def _path_or_header(reader: Reader, written: Any, path: str, read_path: ReadPath) -> Path | str | None:
    if not isinstance(written, dict):
        return read_path(reader, written, path)
    reader.keys(written, ("header",), path)
    return _header(reader, written.get("header"), f"{path}.header")


def _scheme(reader: Reader, written: Any) -> Scheme:
    named: dict[str, Scheme] = {"basic": Login(), "standard-webhooks": Standard()}
    if isinstance(written, str) and written in named:
        return named[written]
    expected = "`basic`, `standard-webhooks`, or a mapping that begins with the name of a header"
    if not reader.is_mapping(written, ".signature", expected):
        return Login()
    reader.keys(written, SIGNATURE_KEYS, ".signature")
    return _signature(reader, {"algorithm": "sha256", "encoding": "hex", "signed": "{body}"} | written)


def _signature(reader: Reader, written: dict[str, Any]) -> Signature:
    at = ".signature"
    timestamp_header, timestamp_prefix, unit_ms = _timestamp(reader, written)
    made = Signature(
        _header(reader, written.get("header"), f"{at}.header"),
        reader.choice(written, "algorithm", ALGORITHMS, at),
        reader.choice(written, "encoding", ENCODINGS, at),
        _prefix(reader, written["prefix"], f"{at}.prefix") if "prefix" in written else "",
        _signed(reader, written, bool(timestamp_header or timestamp_prefix)),
        timestamp_header,
        timestamp_prefix,
        unit_ms,
    )
    if "tolerance" not in written:
        return made
    if not made.timed:
        reader.say("expected `timestamp` with it, got none: nothing else says how old a request is", f"{at}.tolerance")
    tolerance_ms = reader.duration(
        written["tolerance"], f"{at}.tolerance", ms_max=DAY_MS, expected="a duration of at most 1d"
    )
    return dataclasses.replace(made, tolerance_ms=tolerance_ms)


def _timestamp(reader: Reader, written: dict[str, Any]) -> tuple[str, str, int]:
    """Its header, its prefix in the signature's header, and ms of its unit."""
    at = ".signature.timestamp"
    timestamp = written.get("timestamp", {})
    expected = "a mapping with `header` or `prefix`, and `unit`"
    if "timestamp" not in written or not reader.is_mapping(timestamp, at, expected):
        return "", "", UNITS["s"]
    reader.keys(timestamp, ("header", "prefix", "unit"), at)
    unit_ms = UNITS.get(reader.choice({"unit": "s"} | timestamp, "unit", tuple(UNITS), at), 1)
    if ("header" in timestamp) == ("prefix" in timestamp):
        reader.error("one of `header` and `prefix`", timestamp, at)
        return "", "", unit_ms
    if "header" in timestamp:
        return _header(reader, timestamp["header"], f"{at}.header"), "", unit_ms
    return "", _prefix(reader, timestamp["prefix"], f"{at}.prefix"), unit_ms


def _signed(reader: Reader, written: dict[str, Any], timed: bool) -> str:
    """What is signed: it has the body in it, and the time where there is one, or either would prove nothing."""
    signed, at = written["signed"], ".signature.signed"
    if not isinstance(signed, str) or len(signed) > TEXT_CHARACTERS_MAX:
        reader.error("text such as {timestamp}.{body}", signed, at)
        return ""
    names = TOKEN.findall(signed)
    for name in names:
        if name not in TOKENS:
            reader.error("{timestamp}, {body}, {method} or {url}", "{" + name + "}", at)
    if "body" not in names:
        reader.error("{body} in it, or anything could be sent with it", signed, at)
    if timed and "timestamp" not in names:
        reader.error("{timestamp} in it, or anything could be written there", signed, at)
    if not timed and "timestamp" in names:
        reader.say("expected `timestamp`, which says where {timestamp} is, got none", ".signature")
    return signed


def _header(reader: Reader, written: Any, path: str) -> str:
    if isinstance(written, str) and _HEADER.fullmatch(written):
        return written
    reader.error("the name of a header", written, path)
    return ""


def _prefix(reader: Reader, written: Any, path: str) -> str:
    if isinstance(written, str) and _PREFIX.fullmatch(written):
        return written
    reader.error("1 to 40 characters of ASCII without blanks, `,` and `;`", written, path)
    return ""


def _text(reader: Reader, written: Any, path: str) -> str:
    if isinstance(written, str) and written.strip() and len(written) <= TEXT_CHARACTERS_MAX:
        return written
    reader.error(f"text of at most {TEXT_CHARACTERS_MAX} characters", written, path)
    return ""


def _url(reader: Reader, written: Any, path: str) -> str:
    """A page; nothing in it ends the header that it stands in."""
    if isinstance(written, str) and len(written) <= URL_CHARACTERS_MAX and _URL.fullmatch(written):
        try:
            if urlsplit(written).hostname:
                return written
        except ValueError:
            pass
    reader.error("the address of a page such as https://shop.example/thanks", written, path)
    return ""
