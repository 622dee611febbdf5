"""`/v1/contacts/{id}` of `tidegate api`: what is known of a contact, and which segments it is in."""

import asyncio
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from streams.api_definitions import DefinitionsInForce
from streams.api_lookups import last_known, personal, told
from streams.api_paths import Paths, described, in_path, path_text
from streams.api_problems import Problem, responses
from streams.api_questions import short
from streams.api_tokens import CONTACTS_READ, MEMBERSHIPS_READ
from streams.lookups import Contact, Lookups

SEGMENTS_MAX: Final = 1_000
BODY_BYTES_MAX: Final = 128 * 1024
BODY_S_MAX: Final = 10.0
QUESTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["segments"],
    "additionalProperties": False,
    "properties": {
        "segments": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
            "minItems": 1,
            "maxItems": SEGMENTS_MAX,
            "description": "ids of segments in force",
        }
    },
    "example": {"segments": ["vip"]},
}


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The segments that a contact may be in."""

    segments: list[str]


class Memberships(msgspec.Struct, frozen=True):
    """Whether a contact is in each segment that was asked for; of one with `per`, with any of its values."""

    contact: str
    memberships: dict[str, bool]


class ContactPages:
    """The handlers."""

    def __init__(self, lookups: Lookups, definitions: DefinitionsInForce) -> None:
        self._lookups, self._definitions = lookups, definitions

    def add_to(self, paths: Paths) -> None:
        """Has them answer."""
        contact = [in_path("id", "the contact's id", "ada")]
        paths.add("/contacts/{id}", self.contact, CONTACTS_READ, described(Contact) | responses(400, 404, 503), contact)
        paths.add(
            "/contacts/{id}/memberships",
            self.memberships,
            MEMBERSHIPS_READ,
            described(Memberships) | responses(400, 408, 413, 503),
            contact,
            QUESTION,
        )

    async def contact(self, request: Request) -> Response:
        """What is known of a contact: traits, consent, and the segments that it is in, or once was."""
        contact = path_text(request, "id")
        found = await told(self._lookups.contact(contact))
        if found is None:
            raise Problem(404, f"expected the id of a contact that is known, got {short(contact)}")
        return personal(found)

    async def memberships(self, request: Request) -> Response:
        """Whether a contact is in each of some segments. A contact that isn't known is in none."""
        contact = path_text(request, "id")
        asked = _asked(await _body(request))
        there = last_known(self._definitions).records
        unknown = [each for each in asked.segments if ("segment", each) not in there]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise Problem(400, f"expected ids of segments in force in `segments`, got {short(unknown[0])}{more}")
        return personal(Memberships(contact, await told(self._lookups.is_member(contact, asked.segments))))


def _asked(body: bytes) -> Asked:
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f'expected {{"segments": ["id", …]}}, got something else: {error}') from None
    if not 0 < len(asked.segments) <= SEGMENTS_MAX:
        raise Problem(400, f"expected 1 to {SEGMENTS_MAX} ids in `segments`, got {len(asked.segments)}")
    return asked


async def _body(request: Request) -> bytes:
    """All of it, bounded in bytes and in time."""
    body = b""
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for part in request.stream():
                body += part
                if len(body) > BODY_BYTES_MAX:
                    raise Problem(413, f"expected a body of at most {BODY_BYTES_MAX} bytes, got more")
    except TimeoutError:
        raise Problem(408, f"expected the body within {BODY_S_MAX:g} s, got {len(body)} bytes of it") from None
    return body
