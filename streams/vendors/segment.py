"""Segment's webhook destination: events that are ours already, handed on as they came.

Page: https://segment.com/docs/connections/destinations/catalog/actions-webhook/. Segment is told the URL of the connection and,
as Shared Secret, the connection's secret; every event that a mapping lets through comes with its own `messageId`.

* Proof: `X-Signature`, the HMAC-SHA1 of the body in hexadecimal. Of a batch Segment signs the first event alone: what comes after
  it is believed because of the first, so that somebody who has seen one signed request could add events to it. Who doesn't
  want that turns "Enable Batching" off. A `delete` behind the first is rejected all the same: what it does can't be undone. The
  bytes of the first event are those that came, not JSON written again.
* Contact: `userId`, else `anonymousId`, as on every event; the connection's contact rule has no part in it.
* Order: each event's own `timestamp`.
* Replays: no time is signed; the `messageId` is what makes a repeat one, for the dedup horizon.
* `ignore` under `events:` goes by the name of a `track` event, else by the type (`page`, `identify`).
* A `delete` that Segment sends for a user who is to be forgotten is one here, too.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.events import EVENT_BYTES_MAX, event_of
from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.contract import (
    BATCH_BYTES_MAX,
    Meaning,
    Names,
    Notification,
    Request,
    Unproved,
    Vendor,
    text_of,
)
from streams.vendors.signing import header, hex_digest, prove_one_of
from streams.vendors.values import iso, json_objects

SIGNATURE: Final = "X-Signature"
_UNSIGNED_DELETE: Final = "delete, not signed"
# what decides where an object ends: text, whatever stands in it, and brackets; a quote alone is of text that never ends
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{}"]', re.DOTALL)


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The HMAC of the body, or of the first event of an array."""
    given = header(request, SIGNATURE)
    signed = first_event(request.body)
    if signed is None:
        raise Unproved("wrong_signature", "expected an event, or an array that begins with one, got neither")
    prove_one_of([given.lower()], [hex_digest(secret, signed, "sha1") for secret in secrets], SIGNATURE)


def first_event(body: bytes) -> bytes | None:
    """The bytes that are signed: of an array those of its first object, else all; None where an array has no event first."""
    start = len(body) - len(body.lstrip())
    if body[start : start + 1] != b"[":
        return body
    start += 1
    start += len(body[start:]) - len(body[start:].lstrip())
    if body[start : start + 1] != b"{":
        return None
    depth = 0
    # more than an event may be is not looked through: anybody can send it
    for token in _TOKEN.finditer(body, start, start + EVENT_BYTES_MAX):
        if token.group() == b'"':
            return None
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token.group(), 0)
        if depth == 0:
            return body[start : token.end()]
    return None


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`."""
    return {SIGNATURE: hex_digest(secret, first_event(body) or b"", "sha1")}


def read(request: Request) -> list[Notification]:
    """Each event of an array, or the one that is none."""
    return [_notification(event, is_signed=at == 0) for at, event in enumerate(json_objects(request.body))]


def _notification(event: dict[str, Any], *, is_signed: bool) -> Notification:
    kind = text_of(event.get("type")) or "event"
    if kind == "delete" and not is_signed:
        kind = _UNSIGNED_DELETE
    name = text_of(event.get("event")) if kind == "track" else None
    return Notification(name or kind, text_of(event.get("messageId")), iso(event.get("timestamp")), event)


def mean(notification: Notification) -> Meaning:
    """The event itself, checked as a worker checks it."""
    event = notification.body
    if notification.name == _UNSIGNED_DELETE:
        raise Rejection(
            Reason.NOT_SUPPORTED, "expected a delete to be the first of its batch, which is the one that Segment signs"
        )
    event_of(orjson.loads(orjson.dumps(event)))
    return Meaning(Names(), whole=(event,))


def _sample(now_ms: int) -> bytes:
    return orjson.dumps(
        {
            "type": "track",
            "event": "Sample Sent",
            "userId": "sample",
            "messageId": f"sample-{now_ms}",
            "properties": {"plan": "trial"},
            "timestamp": format_instant(now_ms),
        }
    )


VENDOR = Vendor("segment", "Segment", prove, read, mean, _sample, sign, body_bytes_max=BATCH_BYTES_MAX)
