"""Vendors' published payloads, and requests as they would come."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from schemas.events import Event, parse_event
from streams.vendors.assembling import events_of
from streams.vendors.connection import Connection
from streams.vendors.contract import Request, Vendor

DATA = Path(__file__).parents[2] / "data" / "webhooks"
NOW_MS = 1_790_000_000_000
URL = "https://gateway.example/v1/webhooks/vendor/connection"


@cache
def document(path: str) -> Any:
    """A file of `tests/data/webhooks`, such as `email/postmark.json`."""
    return json.loads((DATA / path).read_bytes())


def vectors(vendor: str) -> dict[str, Any]:
    """The signature vector whose vendor begins so."""
    return next(each for each in document("signature_vectors.json") if each["vendor"].startswith(vendor))


def request(
    body: bytes | Any, headers: Mapping[str, str] | None = None, *, url: str = URL, received_at_ms: int = NOW_MS
) -> Request:
    """A request; what is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request("POST", url, {name.lower(): value for name, value in (headers or {}).items()}, raw, received_at_ms)


def events(vendor: Vendor, asked: Request, connection: Connection | None = None) -> list[dict[str, Any]]:
    """All events of a request, of a connection without wishes of its own unless one is given."""
    connection = connection or Connection("here", vendor.name, ("SECRET",))
    return [
        event for notification in vendor.read(asked) for event in events_of(vendor, connection, asked, notification)
    ]


def parsed(made: dict[str, Any]) -> Event:
    """The event as a worker reads it; raises `Rejection`."""
    return parse_event(orjson.dumps(made))
