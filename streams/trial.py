"""Trying a connection: a request as its vendor would send it, what that becomes, and what a running gateway answers to it."""

import http.client
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from schemas.events import parse_event
from schemas.instants import format_instant
from schemas.rejected import Rejection
from streams.errors import InputError, StreamsError
from streams.vendors.assembling import events_of
from streams.vendors.connection import Connection
from streams.vendors.contract import Request, Unproved, Unsignable, Vendor
from streams.vendors.values import json_object

TIMEOUT_S: Final = 20
ANSWER_BYTES_MAX: Final = 10_000
TRACK: Final = "/v1/track"


@dataclass(frozen=True)
class Attempt:
    """A request. `unsigned` says why nothing proves it; None where it is proved."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    unsigned: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What becomes of a notification: `events`, or why it is `refused`; neither where the connection ignores it."""

    name: str
    events: tuple[dict[str, Any], ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Answered:
    """What a gateway answered; `where` it sends the sender on to, "" where it doesn't."""

    status: int
    text: str
    where: str = ""


def path_of(connection: Connection, vendor: Vendor | None) -> str:
    """Where a connection takes what is sent: the path of a gateway's URL."""
    return TRACK if vendor is None else f"/v1/webhooks/{connection.vendor}/{connection.id}"


def attempt(
    connection: Connection, vendor: Vendor | None, secret: str | None, payload: bytes | None, url: str, now_ms: int
) -> Attempt:
    """The request, with `payload` in place of the vendor's sample, signed where there is a secret.

    `url`: of the gateway, as the vendor calls it.
    """
    path = path_of(connection, vendor)
    if vendor is None:
        body = _tracked(now_ms) if payload is None else payload
        key = b64encode(f"{secret or ''}:".encode()).decode()
        return Attempt(path, {"Content-Type": "application/json", "Authorization": f"Basic {key}"}, body)
    body, headers = vendor.sample(now_ms) if payload is None else payload, {"Content-Type": vendor.content_type}
    if secret is None:
        return Attempt(path, headers, body, "it has no secret to be signed with")
    try:
        sealed = vendor.seal(body, secret, now_ms)
        return Attempt(path, headers | vendor.sign(sealed, secret, url.rstrip("/") + path, now_ms), sealed)
    except (Unsignable, Rejection) as error:
        return Attempt(path, headers, body, str(error))


def outcomes(
    connection: Connection, vendor: Vendor | None, tried: Attempt, secrets: tuple[str, ...], url: str, now_ms: int
) -> Iterator[Outcome]:
    """What the request becomes, in order; raises `InputError` where it isn't proved, or isn't what the vendor sends."""
    headers = {name.lower(): value for name, value in tried.headers.items()}
    request = Request("POST", url.rstrip("/") + tried.path, headers, tried.body, now_ms)
    try:
        if vendor is None:
            # what kind of call it is, the path says
            yield _outcome("track", (json_object(tried.body) | {"type": "track"},))
            return
        if tried.unsigned is None:
            vendor.prove(request, secrets, now_ms)
        notifications = vendor.read(request)
    except Unproved as unproved:
        raise InputError(f"not proved to be the vendor's: {unproved}") from None
    except Rejection as rejection:
        raise InputError(f"refused: {rejection.sentence}") from None
    for notification in notifications:
        try:
            events = events_of(vendor, connection, request, notification)
        except Rejection as rejection:
            yield Outcome(notification.name, refused=rejection.sentence)
        else:
            yield _outcome(notification.name, tuple(events))


def _outcome(name: str, events: tuple[dict[str, Any], ...]) -> Outcome:
    try:
        for event in events:
            parse_event(orjson.dumps(event))
    except Rejection as rejection:
        return Outcome(name, refused=rejection.sentence)
    return Outcome(name, events)


def post(url: str, tried: Attempt) -> Answered:
    """What the gateway at that URL answers; raises `InputError` for a URL that is none, `StreamsError` where nobody answers."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"expected a URL such as http://127.0.0.1:6070, got {url!r}")
    # neither a proxy nor a redirect: what comes back is the gateway's own answer
    made = (
        http.client.HTTPSConnection(parts.hostname, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    )
    try:
        made.request("POST", parts.path.rstrip("/") + tried.path, tried.body, dict(tried.headers))
        answer = made.getresponse()
        text = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").strip()
        return Answered(answer.status, text, answer.headers.get("Location", ""))
    except (OSError, http.client.HTTPException) as error:
        said = str(error) or type(error).__name__
        raise StreamsError(f"expected a gateway at {url}, got no answer: {said}") from None
    finally:
        made.close()


def _tracked(now_ms: int) -> bytes:
    sample = {"type": "track", "userId": "sample", "event": "Sample Sent", "properties": {"plan": "trial"}}
    return orjson.dumps(sample | {"messageId": f"sample-{now_ms}", "timestamp": format_instant(now_ms)})
