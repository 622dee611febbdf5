"""That a contact was erased: value of a record of the `erasures` topic, which outlives the contact and doesn't name it."""

import hashlib
from typing import Annotated

import msgspec

from schemas.instants import format_instant


class Receipt(msgspec.Struct, frozen=True):
    """A worker has taken a `delete`; its Kafka key is the hash, its partition is the contact's."""

    contact: Annotated[
        str,
        msgspec.Meta(description="SHA-256 of the contact in UTF-8, 64 hex digits: who knows the id finds it by that"),
    ]
    known: Annotated[bool, msgspec.Meta(description="whether anything was kept of the contact until then")]
    at: Annotated[str, msgspec.Meta(description="arrival time of the `delete`")]
    topic: Annotated[str, msgspec.Meta(description="where the `delete` stands, without the prefix")]
    partition: int
    offset: int


def contact_hash(contact: str) -> str:
    """What stands for an erased contact: the SHA-256 of its id in UTF-8, as 64 hex digits."""
    return hashlib.sha256(contact.encode()).hexdigest()


def receipt_of(contact: str, known: bool, arrived_ms: int, place: tuple[str, int, int]) -> Receipt:
    """The receipt for a `delete` at `place` (topic, partition, offset) that arrived at `arrived_ms`."""
    return Receipt(contact_hash(contact), known, format_instant(arrived_ms), *place)
