"""`/v1/segments` of `tidegate api`: the segments in force, how many are in each, and who, page by page."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from schemas.definitions import DefinitionRecord
from schemas.instants import format_instant
from streams.api_cursors import after_of, cursor_of
from streams.api_definitions import DefinitionsInForce
from streams.api_lookups import last_known, personal, told
from streams.api_paths import Paths, described, in_path, in_query, path_text
from streams.api_problems import Problem, responses, unavailable
from streams.api_questions import once, short, whole
from streams.api_tokens import MEMBERSHIPS_READ, SEGMENTS_READ
from streams.lookups import MEMBERS_MAX, Lookups, Members

LIMIT: Final = 100
# of a cursor in which a contact's id and a value have their greatest lengths
CURSOR_LENGTH_MAX: Final = 16_384
SEGMENT: Final = in_path("id", "the segment's id", "vip")
PARAMETERS: Final[Mapping[str, str]] = {
    "after": "`next` of the page before",
    "limit": f"at most so many members, from 1 to {MEMBERS_MAX} (default: {LIMIT})",
}
# in OpenAPI
SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "after": {"type": "string", "minLength": 1, "maxLength": CURSOR_LENGTH_MAX},
    "limit": {"type": "integer", "minimum": 1, "maximum": MEMBERS_MAX, "default": LIMIT},
}


class SegmentListed(msgspec.Struct, frozen=True):
    """A segment in force, in `version` since an instant; `name` and `description` where it has them."""

    id: str
    version: int
    since: str
    name: str | None
    description: str | None


class Segments(msgspec.Struct, frozen=True):
    """All segments in force with a revision of the definitions, by id."""

    revision: int
    segments: list[SegmentListed]


class SegmentShown(msgspec.Struct, frozen=True):
    """A segment in force, in `version` since an instant, with its `definition` as it was applied."""

    id: str
    version: int
    since: str
    definition: dict[str, Any]


class Size(msgspec.Struct, frozen=True):
    """How many are in a segment now; of one with `per`, a contact counts with each of its values."""

    segment: str
    size: int


class SegmentPages:
    """The handlers."""

    def __init__(self, lookups: Lookups, definitions: DefinitionsInForce) -> None:
        self._lookups, self._definitions = lookups, definitions

    def add_to(self, paths: Paths) -> None:
        """Has them answer."""
        segment = [SEGMENT]
        paths.add("/segments", self.segments, SEGMENTS_READ, described(Segments) | responses(503))
        answers = responses(400, 404, 503)
        paths.add("/segments/{id}", self.segment, SEGMENTS_READ, described(SegmentShown) | answers, segment)
        paths.add("/segments/{id}/size", self.size, SEGMENTS_READ, described(Size) | answers, segment)
        paths.add(
            "/segments/{id}/members",
            self.members,
            MEMBERSHIPS_READ,
            described(Members) | answers,
            [*segment, *in_query(PARAMETERS, SCHEMAS)],
        )

    async def segments(self, request: Request) -> Response:
        """The segments in force, by id."""
        if self._definitions.problem is not None:
            raise unavailable(self._definitions.problem)
        in_force = self._definitions.in_force
        listed = [
            SegmentListed(
                record.id, record.version, self._since(record), *map(record.body.get, ("name", "description"))
            )
            for record in sorted(in_force.segments, key=lambda record: record.id)
        ]
        return personal(Segments(in_force.number, listed))

    async def segment(self, request: Request) -> Response:
        """A segment in force, with its definition."""
        if self._definitions.problem is not None:
            raise unavailable(self._definitions.problem)
        record = named_segment(request, self._definitions)
        return personal(SegmentShown(record.id, record.version, self._since(record), record.body))

    async def size(self, request: Request) -> Response:
        """How many are in a segment now."""
        id = named_segment(request, self._definitions).id
        return personal(Size(id, (await told(self._lookups.sizes())).get(id, 0)))

    async def members(self, request: Request) -> Response:
        """Who is in a segment, page by page; `next` is null on the last page.

        They are in one order, whatever happens meanwhile: who was a member all the time is told once. A page may have fewer
        than `limit`, and a `next` all the same.
        """
        id = named_segment(request, self._definitions).id
        token = request.state.token
        try:
            given = once(request.query_params.multi_items(), PARAMETERS, CURSOR_LENGTH_MAX)
            limit = whole("limit", given.get("limit", str(LIMIT)))
            if limit > MEMBERS_MAX:
                raise ValueError(f"expected at most {MEMBERS_MAX} in `limit`, got {limit}")
            after = after_of(token, id, given["after"]) if "after" in given else None
        except ValueError as error:
            raise Problem(400, str(error)) from None
        found = await told(self._lookups.members(id, after, limit))
        if found.next is not None:
            found = msgspec.structs.replace(found, next=cursor_of(token, id, found.next))
        return personal(found)

    def _since(self, record: DefinitionRecord) -> str:
        return format_instant(self._definitions.in_force.since_ms["segment", record.id])


def named_segment(request: Request, definitions: DefinitionsInForce) -> DefinitionRecord:
    """The segment that the path names; raises `Problem` where there is none, or the definitions were never read."""
    id = path_text(request, "id")
    record = last_known(definitions).records.get(("segment", id))
    if record is None:
        raise Problem(404, f"expected the id of a segment in force (/v1/segments lists them), got {short(id)}")
    return record
