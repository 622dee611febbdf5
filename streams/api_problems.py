"""What `tidegate api` answers when it can't do what was asked: problem details (RFC 9457), with a sentence in `detail`."""

from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

# where something is away: when to ask again
RETRY_AFTER_S: Final = 10
# in OpenAPI, by status
_MEANING: Final = {
    400: "A parameter that can't be used: `detail` says what was expected",
    401: "No token, or another one",
    403: "A token without the scope that `detail` names",
    404: "No such sequence, segment or contact: `detail` says more",
    408: "The body did not come in time",
    413: "The body is too large",
    503: "Kafka or Redis is away, or Redis hasn't got everything yet, or too many ask: again after `Retry-After` seconds",
}
_SCHEMA: Final = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string", "description": "the status in words"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was expected, what came, and what to do"},
    },
}


class Problem(Exception):
    """Ends a request with `status`; `detail` is for whoever asked."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def unavailable(detail: str) -> Problem:
    """That whoever asked should ask again in a while."""
    return Problem(503, detail, **{"Retry-After": str(RETRY_AFTER_S)})


def add_problems(app: FastAPI) -> None:
    """Has `app` answer every failure so."""

    async def own(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _response(error.status, error.detail, error.headers)

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        asked = f"expected {(error.headers or {}).get('Allow', 'GET')}, got {request.method}"
        if error.status_code == 404:
            asked = f"expected a path that /openapi.json has, got {request.url.path[:200]!r}"
        return _response(error.status_code, asked, error.headers)

    async def fault(_: Request, error: Exception) -> Response:
        return _response(500, "this is a fault of Tidegate's: its log says more", None)

    app.add_exception_handler(Problem, own)
    app.add_exception_handler(HTTPException, routing)
    app.add_exception_handler(Exception, fault)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How they stand in OpenAPI."""
    content = {"application/problem+json": {"schema": _SCHEMA}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}


def _response(status: int, detail: str, headers: Any) -> Response:
    body = orjson.dumps({"title": HTTPStatus(status).phrase, "status": status, "detail": detail})
    made = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body, status, made, "application/problem+json")
