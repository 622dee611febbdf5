"""`GET /v1/fields` of `tidegate api`: the catalogue of fields, out of Redis, which the API needs for nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, get_args

import msgspec
from fastapi import Request, Response
from redis.exceptions import RedisError

from streams.api_problems import Problem, unavailable
from streams.api_questions import once, short, whole
from streams.fields import Kind
from streams.fields_shown import SHOWN, SHOWN_MAX, Question, read_fields
from streams.fields_store import FieldStore

KINDS: Final = get_args(Kind)
# each with what it may be
PARAMETERS: Final[Mapping[str, str]] = {
    "event": "only properties of the events of this name",
    "kind": "`trait` or `property`",
    "source": "only what this source sends",
    "conflicts": "`true`: only what comes in more than one type",
    "limit": f"at most so many, from 1 to {SHOWN_MAX} (default: {SHOWN})",
}
# in OpenAPI, what isn't just text
SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "kind": {"enum": list(KINDS)},
    "conflicts": {"type": "boolean", "default": False},
    "limit": {"type": "integer", "minimum": 1, "maximum": SHOWN_MAX, "default": SHOWN},
}


class FieldPages:
    """The handler; `store` is asked for nothing before the first request."""

    def __init__(self, store: FieldStore) -> None:
        self._store = store

    async def fields(self, request: Request) -> Response:
        """The traits and properties that events have had, as `tidegate fields --json` says it.

        By kind, event and name, with types, sources, when each came last, and a sample. Samples are of contacts.
        """
        try:
            asked = question(request.query_params.multi_items())
        except ValueError as error:
            raise Problem(400, str(error)) from None
        try:
            found = await read_fields(self._store, asked)
        except (RedisError, OSError) as error:
            raise unavailable(
                f"expected Redis to tell the catalogue of fields, got {type(error).__name__}: see TIDEGATE_REDIS of the API"
            ) from None
        return Response(
            msgspec.json.encode(found), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )


def question(given: Iterable[tuple[str, str]]) -> Question:
    """What is asked by the parameters `given`; raises `ValueError` saying what was expected."""
    found = once(given, PARAMETERS)
    kind, conflicts = found.get("kind"), found.get("conflicts", "false")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"expected {' or '.join(KINDS)} in `kind`, got {short(kind)}")
    if conflicts not in ("true", "false"):
        raise ValueError(f"expected true or false in `conflicts`, got {short(conflicts)}")
    if kind == "trait" and "event" in found:
        raise ValueError("expected one of `event` and `kind=trait`, got both: traits are of contacts, not of events")
    limit = whole("limit", found.get("limit", str(SHOWN)))
    if limit > SHOWN_MAX:
        raise ValueError(f"expected at most {SHOWN_MAX} in `limit`, got {limit}")
    return Question(found.get("event"), cast(Kind | None, kind), found.get("source"), conflicts == "true", limit)
