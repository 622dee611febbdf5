"""The gateway as an application: the routers that it is given, counted, and described at /openapi.json."""

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.metrics import GatewayMetrics
from streams.gateway.tracking_description import SECURITY
from streams.poison import place_of

logger = logging.getLogger(__name__)

# who asked has hung up, so that nobody hears it: for metrics, as nginx has it
GONE: Final = 499
_OTHER: Final = "other"


def web_app(routers: Sequence[APIRouter], metrics: GatewayMetrics) -> ASGIApp:
    """All of it, counted."""
    app = FastAPI(
        title="Tidegate's gateway",
        description="Events in, as Segment's tracking API and vendors' webhooks send them.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _fault)
    _describe(app)
    return Counted(app, metrics)


class Counted:
    """Counts requests to `app` by path and status, and how long they take."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        status, began_s = 0, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            path = getattr(scope.get("route"), "path", _OTHER)
            self._metrics.requests.labels(path, str(status or GONE)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began_s)


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked = f"expected POST, got {request.method[:20]!r}"
    if error.status_code == 404:
        asked = "expected a path that /openapi.json has, got another"
    return _response(error.status_code, asked, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    # not the error's own words, which may be a contact's: at debug they are there
    path = getattr(request.scope.get("route"), "path", _OTHER)
    logger.error("%s: answered 500, as this version raises %s (%s)", path, type(error).__name__, place_of(error))
    logger.debug("%s: answered 500", path, exc_info=error)
    return _response(500, "this is a fault of Tidegate's: its log says more", None)


def _response(status: int, message: str, headers: Any) -> Response:
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    return Response(
        orjson.dumps({"success": False, "code": code, "message": message}), status, headers, "application/json"
    )


def _describe(app: FastAPI) -> None:
    made = app.openapi

    def openapi() -> dict[str, Any]:
        described = made()
        described.setdefault("components", {})["securitySchemes"] = SECURITY
        return described

    app.openapi = openapi  # type: ignore[method-assign]
