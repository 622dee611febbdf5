"""The paths of vendors' webhooks, `/v1/webhooks/<vendor>/<connection>`.

The order is fixed: bounds while the body is read, the connection, the proof on the raw bytes, then what it says. A vendor is
answered as soon as Kafka has what it told, what it told wrongly included: that is in `rejected`, and sending it again would not
mend it. What is not taken for now (429, 503) vendors send again by themselves, hours on end.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi import Request as Asked
from starlette.requests import ClientDisconnect

from schemas.rejected import Rejection
from streams.connections import Connected, Connections
from streams.counted import GONE
from streams.gateway.bodies import Late, read_body
from streams.gateway.fetching import Fetcher, Unfetched
from streams.gateway.intake import Crowded, Held, Intake, Unavailable
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.notified import Notified, notified, refused
from streams.gateway.once import Once
from streams.gateway.record import bytes_of
from streams.gateway.tracking import Refused
from streams.gateway.tracking_web import CROWDED_RETRY_S, UNAVAILABLE_RETRY_S
from streams.vendors.contract import Answer, Request, Unproved, Vendor, Wanted

logger = logging.getLogger(__name__)

_PATH: Final = "/v1/webhooks/{vendor}/{connection}"
_TEXT: Final = "text/plain; charset=utf-8"
_STATUS: Final = {"too_large": 413, "invalid_request": 400}


class WebhookPages:
    """The handlers."""

    def __init__(
        self,
        connections: Connections,
        intake: Intake,
        metrics: GatewayMetrics,
        fetcher: Fetcher,
        now_ms: Callable[[], int],
        url: str = "",
    ) -> None:
        """`now_ms` is the wall clock, epoch ms. `url`: where vendors reach this, for those that sign it."""
        self._connections, self._intake, self._metrics = connections, intake, metrics
        self._fetcher, self._now_ms, self._url = fetcher, now_ms, url.rstrip("/")
        self._once = Once()

    def router(self) -> APIRouter:
        """To be mounted."""
        router = APIRouter()
        router.add_api_route(
            _PATH,
            self.take,
            methods=["POST"],
            response_class=Response,
            responses=_RESPONSES,
            openapi_extra={
                "requestBody": {"description": "As the vendor sends it", "content": {"*/*": {"schema": {}}}}
            },
        )
        # some vendors look whether there is anybody before they agree to send there
        router.add_api_route(_PATH, self.look, methods=["GET", "HEAD"], include_in_schema=False)
        return router

    async def look(self, vendor: str, connection: str) -> Response:
        """That something receives here."""
        return _unknown() if self._connections.webhook(vendor, connection) is None else _text(200, "ok: POST to here")

    async def take(self, vendor: str, connection: str, asked: Asked) -> Response:
        """A vendor's notifications, signed as the vendor signs them; 200 once Kafka has all of them."""
        connected = self._connections.webhook(vendor, connection)
        if connected is None:
            return _unknown()
        assert connected.vendor is not None, "only vendors have webhooks"
        origins, origin = connected.connection.origins, asked.headers.get("origin")
        if origins and origin is not None and origin.lower() not in origins:
            self._metrics.refused.labels("origin").inc()
            return _text(403, "expected a page of one of the connection's origins, got another")
        answer = await self._answer(connected, connected.vendor, asked)
        if origin is not None:
            # a form that a page's script posts, and that wants to know how it went
            answer.headers["Access-Control-Allow-Origin"] = origin if origins else "*"
            answer.headers["Vary"] = "Origin"
        return answer

    async def _answer(self, connected: Connected, vendor: Vendor, asked: Asked) -> Response:
        try:
            with self._intake.held() as held:
                most = vendor.body_bytes_max
                if int(asked.headers.get("content-length", "0")) > most:
                    raise Refused("too_large", f"expected at most {most} bytes, got more")
                encoding = asked.headers.get("content-encoding", "")
                body = await read_body(asked.stream(), encoding, most, held)
                return _answered(await self._take(connected, vendor, self._request(asked, body), held))
        except Unproved as unproved:
            self._metrics.unproved.labels(vendor.name, unproved.doubt).inc()
            return _text(401, str(unproved), {"WWW-Authenticate": "Basic"} if "login" in unproved.doubt else {})
        except Refused as refused:
            self._metrics.refused.labels(refused.code).inc()
            return _text(_STATUS[refused.code], str(refused))
        except Late as late:
            self._metrics.refused.labels("late").inc()
            return _text(408, str(late), {"Connection": "close"})
        except Crowded:
            self._metrics.refused.labels("crowded").inc()
            sentence = "expected Kafka to have taken more of what came before: send it again"
            return _text(429, sentence, {"Retry-After": str(CROWDED_RETRY_S)})
        except (Unavailable, Unfetched) as unavailable:
            self._metrics.refused.labels("unavailable").inc()
            return _text(503, str(unavailable), {"Retry-After": str(UNAVAILABLE_RETRY_S)})
        except ClientDisconnect:
            return Response(status_code=GONE)

    async def _take(self, connected: Connected, vendor: Vendor, request: Request, held: Held) -> Answer:
        """Returns once Kafka has all of it."""
        now_ms = self._now_ms()
        try:
            vendor.prove(request, connected.secrets, now_ms)
        except Wanted as wanted:
            request = dataclasses.replace(request, fetched={wanted.url: await self._fetcher.kept(wanted.url)})
            vendor.prove(request, connected.secrets, now_ms)
        once = vendor.once(request)
        if once is None:
            await self._believe(connected, vendor, request, held)
        else:
            await self._believe_once(connected, vendor, request, held, once, now_ms)
        return vendor.answer

    async def _believe_once(
        self, connected: Connected, vendor: Vendor, request: Request, held: Held, once: str, now_ms: int
    ) -> None:
        id = connected.connection.id
        claim = self._once.claim(id, once, now_ms, vendor.once_ms)
        if claim == "under_way":
            raise Unavailable("expected the same request to come again once the first is answered")
        if claim == "known":
            self._metrics.unproved.labels(vendor.name, "repeated").inc()
            return
        try:
            await self._believe(connected, vendor, request, held)
        except BaseException:
            self._once.forget(id, once)
            raise
        self._once.keep(id, once)

    async def _believe(self, connected: Connected, vendor: Vendor, request: Request, held: Held) -> None:
        await self._hand_over(connected, request, held)
        agrees = vendor.confirms(request)
        if agrees is not None:
            await self._fetcher.get(agrees)
            logger.info("connection %s: agreed to the vendor's subscription", connected.connection.id)

    async def _hand_over(self, connected: Connected, request: Request, held: Held) -> None:
        done = Notified()
        try:
            for some in notified(connected, request):
                held.add(sum(map(bytes_of, some.records)))
                done.add(some)
                await asyncio.sleep(0)
        except Rejection as rejection:
            done = refused(connected, request, rejection)
        await self._intake.take(done.records)
        count = self._metrics.notifications.labels
        id = connected.connection.id
        for outcome in ("taken", "rejected", "ignored"):
            count(id, outcome).inc(getattr(done, outcome))
        if not done.taken + done.rejected + done.ignored:
            count(id, "ping").inc()

    def _request(self, asked: Asked, body: bytes) -> Request:
        url = str(asked.url)
        if self._url:
            url = f"{self._url}{asked.url.path}" + (f"?{asked.url.query}" if asked.url.query else "")
        # of a header that comes twice, the first counts, whatever stands before us made of it
        headers: dict[str, str] = {}
        for name, value in asked.headers.items():
            headers.setdefault(name, value)
        return Request(asked.method, url, headers, body, self._now_ms())


def _answered(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _unknown() -> Response:
    return _text(404, "expected the vendor and id of a connection in the path, got others")


def _text(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{sentence}\n", status, headers, _TEXT)


def _described(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: _described("Kafka has it"),
    303: _described("Kafka has it: of a form, where the connection says where to go next"),
    400: _described("A body that can't be unpacked"),
    401: _described("Not proved to be the vendor's: nothing of it is kept"),
    403: _described("From a page of another origin than the connection's"),
    404: _described("No such connection"),
    408: _described("The body did not come in time"),
    413: _described("More than 1,000,000 bytes, or 4,000,000 from who sends a thousand events at once"),
    429: _described("Kafka is slow: send it again after `Retry-After` seconds"),
    503: _described("Kafka, or the vendor's certificate, is away: send it again after `Retry-After` seconds"),
}
