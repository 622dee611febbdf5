"""What an explanation consists of, and its JSON.

    {"contact", "names": [...], "known_since", "at", "looked_ahead_to", "notes": [...], "rejected": {...},
     "segments": [{"segment", "name", "version", "keys", "notes": [...],
                   "memberships": [{"key", "member", "since", "seq", "changes", "why": [...], "hold",
                                    "condition": {"path", "says", "answer", "changes", "evidence": {...}, "notes": [...],
                                                  "parts": [...]}}]}]}

Instants are ISO 8601 in UTC with milliseconds; what isn't known, or never comes, is null. `changes` is `{"at", "to"}`: what
time alone brings first if nothing happens, to `entered` or `left` of a membership, to true or false of a condition. Fields
are only ever added. What stands in `evidence` depends on the condition's head: see `explain_leaves`, `explain_events`,
`explain_sequences`.
"""

import dataclasses
from typing import Any

from schemas.instants import format_instant
from segments.errors import SegmentsError

Evidence = dict[str, Any]


class UnknownName(SegmentsError):
    """A contact, a segment or a key that isn't there; the text says what is close to it."""


@dataclasses.dataclass(frozen=True)
class Change:
    """At `at_ms` the answer becomes `answer` if nothing happens."""

    at_ms: int
    answer: bool


@dataclasses.dataclass(frozen=True)
class Node:
    """One condition as its author wrote it: `says` is the whole of a leaf, and of others what stands above their `parts`.

    `path` is where it stands in its segment. `change`: the first that time alone brings, None where there is none, or none
    up to where was looked. `evidence` is data for JSON. `notes`: what can't match, and would say nothing about it.
    """

    path: str
    says: str
    answer: bool
    change: Change | None = None
    evidence: Evidence = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: tuple["Node", ...] = ()

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        change = self.change
        return {
            "path": self.path,
            "says": self.says,
            "answer": self.answer,
            "changes": None if change is None else {"at": format_instant(change.at_ms), "to": change.answer},
            "evidence": self.evidence,
            "notes": list(self.notes),
            "parts": [part.json() for part in self.parts],
        }

    def walk(self) -> list["Node"]:
        """This one and all below it."""
        return [self, *(node for part in self.parts for node in part.walk())]


@dataclasses.dataclass(frozen=True)
class Membership:
    """Whether the contact is in a segment (with `key`, under that value of its `per`), since when, and until when.

    `since_ms` and `seq`: of its last transition, None and 0 where there was none. `why`: the leaves that turn when
    `change` comes. `hold`: of an answer that has not taken effect yet, `{"answer", "since", "takes_effect"}`.
    """

    key: str | None
    member: bool
    since_ms: int | None
    seq: int
    change: Change | None
    why: tuple[Node, ...]
    hold: Evidence | None
    condition: Node

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        change = self.change
        to = None if change is None else "entered" if change.answer else "left"
        return {
            "key": self.key,
            "member": self.member,
            "since": None if self.since_ms is None else format_instant(self.since_ms),
            "seq": self.seq,
            "changes": None if change is None else {"at": format_instant(change.at_ms), "to": to},
            "why": [leaf.path for leaf in self.why],
            "hold": self.hold,
            "condition": self.condition.json(),
        }


@dataclasses.dataclass(frozen=True)
class SegmentExplained:
    """A segment: one membership, or with `per` those of the keys seen last; `keys` is how many keys there are, else None."""

    id: str
    name: str | None
    version: int
    memberships: tuple[Membership, ...]
    keys: int | None = None
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        return {
            "segment": self.id,
            "name": self.name,
            "version": self.version,
            "keys": self.keys,
            "notes": list(self.notes),
            "memberships": [membership.json() for membership in self.memberships],
        }


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a contact is where it is at `at_ms`.

    `names`: the other names that mean it. `looked_ahead_to_ms`: how far changes were looked for, None where to the end of
    time. `rejected`: the first lines that mention the contact and are no events, `(line, reason)`; `rejections` counts all.
    """

    contact: str
    names: tuple[str, ...]
    known_since_ms: int
    at_ms: int
    looked_ahead_to_ms: int | None
    segments: tuple[SegmentExplained, ...]
    notes: tuple[str, ...] = ()
    rejected: tuple[tuple[int, str], ...] = ()
    rejections: int = 0

    def json(self) -> dict[str, Any]:
        """As data for JSON; the module says what is in it."""
        ahead_ms = self.looked_ahead_to_ms
        lines = [{"line": line, "reason": reason} for line, reason in self.rejected]
        return {
            "contact": self.contact,
            "names": list(self.names),
            "known_since": format_instant(self.known_since_ms),
            "at": format_instant(self.at_ms),
            "looked_ahead_to": None if ahead_ms is None else format_instant(ahead_ms),
            "notes": list(self.notes),
            "rejected": {"count": self.rejections, "lines": lines},
            "segments": [segment.json() for segment in self.segments],
        }
