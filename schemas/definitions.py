"""Definitions on their topic: versions, and the revisions that put them in force.

One `apply` is one transaction: the new versions, then a closing revision that lists everything in force. Readers act on
revisions alone. Keys are `kind/id/version`, so compaction keeps every version.
"""

from typing import Annotated, Any, Literal

import msgspec

Kind = Literal["segment", "score", "rule", "sequence", "policy", "revision"]


class DefinitionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a segment, a score, a rule, a sequence or a policy, as it was written (`body` is it as data)."""

    kind: Literal["segment", "score", "rule", "sequence", "policy"]
    id: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    body: dict[str, Any]
    applied_at_ms: int


class InForce(msgspec.Struct, frozen=True):
    """A definition that a revision puts in force; `since_ms`: when this version first came into force.

    Of a rule or a sequence, when it began to listen as it does now: a change of what it sends leaves that as it is.
    """

    kind: Literal["segment", "score", "rule", "sequence", "policy"]
    id: str
    version: int
    since_ms: int


class RevisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in force from this revision on: `number` counts up by one, `hash` is of the bodies in order.

    `author` and `note`: who applied it, and why, as they said. `updated`: `kind/id` of those whose body it wrote anew under
    the version in force. Revisions of earlier releases have none of these.
    """

    number: Annotated[int, msgspec.Meta(ge=1)]
    applied_at_ms: int
    definitions: list[InForce]
    hash: str
    author: str = ""
    note: str = ""
    updated: list[str] = []


def definition_key(kind: Kind, id: str, version: int) -> bytes:
    """Kafka key of a definition version or a revision (`revision//7`)."""
    return f"{kind}/{id}/{version}".encode()
