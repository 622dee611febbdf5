"""The gateway as an application: the routers that it is given, counted, and described at /openapi.json."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from streams.counted import OTHER, Counted
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.tracking_description import SECURITY
from streams.poison import place_of

logger = logging.getLogger(__name__)


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
    return Counted(app, metrics.requests, metrics.seconds)


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked = f"expected POST, got {request.method[:20]!r}"
    if error.status_code == 404:
        asked = "expected a path that /openapi.json has, got another"
    return _response(error.status_code, asked, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    # not the error's own words, which may be a contact's: at debug they are there
    path = getattr(request.scope.get("route"), "path", OTHER)
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
