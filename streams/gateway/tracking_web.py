"""The paths of Segment's tracking API: who may call, within which bounds, and how they are answered.

SDKs send again what was answered with 429 or 5xx, and nothing else; `Retry-After`, and `X-RateLimit-Reset` for those that
look there, say when. Answers are what Segment's are: `{"success": true}`, or a `code` and a `message`.
"""

import asyncio
import base64
import binascii
import logging
import os
from collections.abc import Callable
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from schemas.topics import REJECTED
from streams.connections import Connected, Connections
from streams.counted import GONE
from streams.gateway.bodies import Late, read_body
from streams.gateway.intake import Crowded, Held, Intake, Unavailable
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.record import Record, bytes_of
from streams.gateway.tracking import (
    BATCH_BYTES_MAX,
    BATCHES,
    CALLS,
    EVENT_BYTES_MAX,
    Arrival,
    Refused,
    read_call,
    records_of,
)
from streams.gateway.tracking_description import DESCRIPTIONS

logger = logging.getLogger(__name__)

CROWDED_RETRY_S: Final = 1
UNAVAILABLE_RETRY_S: Final = 5
# what Python needs for an event of a batch besides its bytes
EVENT_BYTES: Final = 50
# how long a browser remembers what it may send
PREFLIGHT_S: Final = 7200
_TAKEN: Final = b'{"success":true}'
_STATUS: Final = {"no_key": 401, "unknown_key": 401, "origin": 403, "too_large": 400, "invalid_request": 400}


class TrackingPages:
    """The handlers."""

    def __init__(
        self, connections: Connections, intake: Intake, metrics: GatewayMetrics, now_ms: Callable[[], int]
    ) -> None:
        """`now_ms` is the wall clock, epoch ms."""
        self._connections, self._intake, self._metrics, self._now_ms = connections, intake, metrics, now_ms
        tracking = [each.connection for each in connections if each.vendor is None]
        self._origins = None if any(not each.origins for each in tracking) else {o for e in tracking for o in e.origins}

    def router(self) -> APIRouter:
        """To be mounted."""
        router = APIRouter()
        for name, described in DESCRIPTIONS.items():
            router.add_api_route(
                f"/v1/{name}", self._handler(name), methods=["POST"], name=name, response_class=Response, **described
            )
        # what SDKs call besides: first letters, and a slash at the end
        others = {f"/v1/{name}{end}": name for name in (*CALLS, *BATCHES) for end in ("", "/")}
        for path, name in others.items():
            if path.removeprefix("/v1/") not in DESCRIPTIONS:
                router.add_api_route(path, self._handler(name), methods=["POST"], include_in_schema=False)
        router.add_api_route("/v1/m", self.sdk_metrics, methods=["POST"], include_in_schema=False)
        for path in (*others, "/v1/m"):
            router.add_api_route(path, self.preflight, methods=["OPTIONS"], include_in_schema=False)
        return router

    async def preflight(self, request: Request) -> Response:
        """What a browser asks before it sends; which connection it is for it doesn't say yet."""
        origin = request.headers.get("origin", "")
        headers = {"Vary": "Origin"}
        if self._origins is None or origin.lower() in self._origins:
            headers |= {
                # by name, as `*` is for none with credentials: a beacon says that it has some
                "Access-Control-Allow-Origin": origin or "*",
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding, *",
                "Access-Control-Max-Age": str(PREFLIGHT_S),
            }
        return Response(status_code=204, headers=headers)

    async def sdk_metrics(self, request: Request) -> Response:
        """Figures that analytics.js has of itself: nobody here asks for them."""
        return _answer(200, _TAKEN, {"Access-Control-Allow-Origin": "*"})

    def _handler(self, name: str) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            cors = {"Access-Control-Allow-Origin": "*"} if "origin" in request.headers else {}
            try:
                with self._intake.held() as held:
                    await self._take(name, request, held, cors)
            except Refused as refused:
                return self._refuse(_STATUS[refused.code], refused.code, str(refused), cors)
            except Late as late:
                return self._refuse(408, "late", str(late), {**cors, "Connection": "close"})
            except Crowded:
                sentence = "expected Kafka to have taken more of what came before: send it again"
                return self._refuse(429, "crowded", sentence, _again(CROWDED_RETRY_S) | cors)
            except Unavailable as unavailable:
                return self._refuse(503, "unavailable", str(unavailable), _again(UNAVAILABLE_RETRY_S) | cors)
            except ClientDisconnect:
                return Response(status_code=GONE)
            return _answer(200, _TAKEN, cors)

        handle.__doc__ = f"`{name}`, as Segment's tracking API has it."
        return handle

    async def _take(self, name: str, request: Request, held: Held, cors: dict[str, str]) -> None:
        """Returns once Kafka has all of it; `cors` becomes what a browser is answered."""
        header = request.headers.get("authorization")
        known = self._known(_basic(header), request, cors) if header and header[:6].lower() == "basic " else None
        most = BATCH_BYTES_MAX if name in BATCHES else EVENT_BYTES_MAX
        if int(request.headers.get("content-length", "0")) > most:
            raise Refused("too_large", f"expected at most {most} bytes, got more")
        encoding = request.headers.get("content-encoding", "")
        body = await read_body(request.stream(), encoding, most, held)
        call = read_call(name, body)
        held.add(len(call.events) * EVENT_BYTES)
        known = known or self._known(call.key, request, cors)
        arrival = Arrival(
            known.connection.id,
            self._now_ms(),
            request.client.host if request.client else None,
            _new_id,
            imported=name == "import",
        )
        records: list[Record] = []
        for some in records_of(call, arrival):
            if records:
                await asyncio.sleep(0)
            records += some
            held.add(sum(map(bytes_of, some)))
        await self._intake.take(records)
        rejected = sum(record.topic == REJECTED.name for record in records)
        self._metrics.events.labels(arrival.source, "taken").inc(len(records) - rejected)
        if rejected:
            self._metrics.events.labels(arrival.source, "rejected").inc(rejected)

    def _known(self, key: str | None, request: Request, cors: dict[str, str]) -> Connected:
        if key is None:
            raise Refused("no_key", "expected a write key as the user of HTTP Basic or in `writeKey`, got none")
        known = self._connections.tracking(key)
        if known is None:
            raise Refused("unknown_key", "expected the write key of a connection, got another")
        origins, origin = known.connection.origins, request.headers.get("origin")
        if origins and origin is not None:
            cors.clear()
            if origin.lower() not in origins:
                raise Refused("origin", "expected a page of one of the connection's origins, got another")
            cors |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return known

    def _refuse(self, status: int, code: str, sentence: str, headers: dict[str, str]) -> Response:
        self._metrics.refused.labels(code).inc()
        body = orjson.dumps({"success": False, "code": code, "message": sentence})
        return _answer(status, body, headers)


def _basic(header: str) -> str | None:
    """The user of HTTP Basic; None where there is none."""
    try:
        given = base64.b64decode(header[6:].strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return given.partition(b":")[0].decode("latin-1") or None


def _again(after_s: int) -> dict[str, str]:
    text = str(after_s)
    exposed = "Retry-After, X-RateLimit-Reset"
    return {"Retry-After": text, "X-RateLimit-Reset": text, "Access-Control-Expose-Headers": exposed}


def _answer(status: int, body: bytes, headers: dict[str, str]) -> Response:
    return Response(body, status, headers, "application/json")


def _new_id() -> str:
    return "gw-" + os.urandom(16).hex()
