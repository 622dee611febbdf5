"""The paths of `tidegate api` under `/v1`: who may ask them, and how they stand in OpenAPI."""

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response

from streams.api_problems import Problem, responses
from streams.api_questions import TEXT_LENGTH_MAX, short
from streams.api_tokens import SCOPES, Token, Tokens

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH_MAX}
_REF: Final = "#/components/schemas/{name}"
_SCHEME: Final = "HTTPBearer"
_OPENS: Final = "; ".join(f"`{name}`: {what}" for name, what in SCOPES.items())

Handler = Callable[[Request], Awaitable[Response]]
Answers = dict[int | str, dict[str, Any]]


class Paths:
    """Each with the scope that a token needs for it."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens, self.router = tokens, APIRouter(prefix="/v1")

    def add(
        self,
        path: str,
        handler: Handler,
        scope: str,
        answers: Answers,
        parameters: Iterable[dict[str, Any]] = (),
        body: dict[str, Any] | None = None,
    ) -> None:
        """One that is asked with GET, or with POST where it has a `body` of that JSON schema."""
        extra: dict[str, Any] = {"parameters": list(parameters), "security": [{_SCHEME: [scope]}]}
        if body is not None:
            extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        self.router.add_api_route(
            path,
            self._guarded(handler, scope),
            methods=["GET" if body is None else "POST"],
            response_class=Response,
            responses=answers | responses(401, 403),
            openapi_extra=extra,
        )

    def _guarded(self, handler: Handler, scope: str) -> Handler:
        # by hand, as FastAPI's dependencies take as long as all else that it does
        @functools.wraps(handler)
        async def guarded(request: Request) -> Response:
            request.state.token = self._token(request, scope)
            return await handler(request)

        return guarded

    def _token(self, request: Request, scope: str) -> Token:
        token = self._tokens.of(request.headers.get("Authorization", "").encode("latin-1"))  # the bytes as they came
        if token is None:
            detail = "expected `Authorization: Bearer` and a token, got none or another one"
            raise Problem(401, detail, **{"WWW-Authenticate": "Bearer"})
        if scope not in token.scopes:
            shown = f'Bearer error="insufficient_scope", scope="{scope}"'
            detail = f"expected a token with the scope {scope}, got one with {', '.join(sorted(token.scopes))}"
            raise Problem(403, detail, **{"WWW-Authenticate": shown})
        return token


def as_it_came(scope: MutableMapping[str, Any]) -> None:
    """Has paths matched before they are decoded, which is left to `path_text`: a contact's id may have slashes in it."""
    scope["path"] = scope["raw_path"].decode("latin-1")


def path_text(request: Request, name: str) -> str:
    """A part of the path, decoded: any text; raises `Problem` where it is none."""
    given = request.path_params[name]
    try:
        return unquote_to_bytes(given.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Problem(400, f"expected UTF-8, percent-encoded, in the path, got {short(given)}") from None


def in_path(name: str, help: str, example: str) -> dict[str, Any]:
    """A part of a path, as it stands in OpenAPI."""
    schema = {"type": "string", "minLength": 1}
    described = f"{help}, percent-encoded"
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": described,
        "schema": schema,
        "example": example,
    }


def in_query(parameters: Mapping[str, str], schemas: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Parameters, each with what it may be, as they stand in OpenAPI: text of some length where `schemas` has nothing else."""
    return [
        {"name": name, "in": "query", "description": help, "schema": schemas.get(name, _TEXT)}
        for name, help in parameters.items()
    ]


def described(struct: type[msgspec.Struct]) -> Answers:
    """That what is asked is answered so."""
    schema = {"$ref": _REF.format(name=struct.__name__)}
    return {200: {"description": "As asked", "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, structs: Sequence[type[msgspec.Struct]]) -> None:
    """Has the description hold what paths refer to: the schemas of `described`, and how to show a token."""
    made = app.openapi
    _, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    description = f"A token; what it opens is up to its scopes. {_OPENS}"
    schemes = {_SCHEME: {"type": "http", "scheme": "bearer", "description": description}}

    def openapi() -> dict[str, Any]:
        told = made()
        told.setdefault("components", {}).update({"schemas": schemas, "securitySchemes": schemes})
        return told

    app.openapi = openapi  # type: ignore[method-assign]
