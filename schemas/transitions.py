"""What comes out: transitions, and the compacted records beside them (language page, section 2).

`Transition` is what the core returns; `TransitionRecord` is its wire form on the `transitions` topic, with CloudEvents
1.0 headers in Kafka's binary mode (attributes as `ce_…` headers, the record's value is the data).
"""

import functools
import hashlib
from typing import Annotated, Any, Literal

import msgspec
import orjson

from schemas.instants import format_instant

Cause = Literal["event", "timer", "import", "backfill", "edit", "merge", "manual", "erasure"]
Direction = Literal["entered", "left"]
CAUSES: tuple[Cause, ...] = ("event", "timer", "import", "backfill", "edit", "merge", "manual", "erasure")

# the steps of a turn are told at one instant, and what falls due at midnight falls due together
_formatted = functools.lru_cache(maxsize=1024)(format_instant)

CAUSE_PROPERTIES_BYTES_MAX = 16 * 1024
CE_SOURCE = "tidegate"
CE_TYPE = "tidegate.transition"


class CauseEvent(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The event behind a transition; `properties_cut` says that they were over 16 KiB and are left out."""

    name: str | None = None
    message_id: str | None = None
    properties: dict[str, Any] | None = None
    properties_cut: bool = False


class Transition(msgspec.Struct, frozen=True):
    """Contact `contact` entered or left `segment` at `at_ms` (event time, epoch ms); `seq` is odd for entered.

    `key`: the value that the membership is of, in a segment with `per`. `traits`: what `carry` asks for, where present.
    `silent`: a backfill that actions leave alone.
    """

    segment: str
    segment_version: int
    contact: str
    seq: int
    at_ms: int
    cause: Cause
    event: CauseEvent | None = None
    key: str | None = None
    silent: bool = False
    traits: dict[str, Any] | None = None

    @property
    def transition(self) -> Direction:
        """`entered` or `left`."""
        return "entered" if self.seq & 1 else "left"

    @property
    def id(self) -> str:
        """32 hex digits: a pure function of segment, contact, key, seq and at, the same on every replay."""
        named = orjson.dumps([self.segment, self.contact, self.key, self.seq, self.at_ms])
        return hashlib.sha256(named).hexdigest()[:32]

    def simulated(self) -> dict[str, Any]:
        """The object that `tidegate simulate` prints (language page, section 11)."""
        shown: dict[str, Any] = {"segment": self.segment, "contact": self.contact}
        if self.key is not None:
            shown["key"] = self.key
        return shown | {
            "transition": self.transition,
            "seq": self.seq,
            "at": format_instant(self.at_ms),
            "cause": self.cause,
        }

    def record(self, emitted_at_ms: int, revision: int) -> "TransitionRecord":
        """The wire form; `revision` is the contact's change counter after the step that brought it."""
        return TransitionRecord(
            id=self.id,
            segment=self.segment,
            segment_version=self.segment_version,
            contact=self.contact,
            key=self.key,
            transition=self.transition,
            seq=self.seq,
            at=_formatted(self.at_ms),
            emitted_at=_formatted(emitted_at_ms),
            cause=self.cause,
            event=self.event,
            silent=self.silent,
            traits=self.traits,
            revision=revision,
        )


class TransitionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Value of a record of the `transitions` topic; its Kafka key is the contact."""

    id: Annotated[str, msgspec.Meta(description="the same on replay: drop repeats by it where you read uncommitted")]
    segment: Annotated[str, msgspec.Meta(description="`~goal-…`: what a sequence has as its goal, written in place")]
    segment_version: int
    contact: str
    transition: Direction
    seq: Annotated[int, msgspec.Meta(ge=1, description="1, 2, 3 … per contact, segment and key; odd is entered")]
    at: Annotated[str, msgspec.Meta(description="event time: the instant of the transition")]
    emitted_at: str
    cause: Cause
    revision: int
    key: str | None = None
    event: CauseEvent | None = None
    silent: Annotated[bool, msgspec.Meta(description="a backfill that actions leave alone")] = False
    traits: Annotated[dict[str, Any] | None, msgspec.Meta(description="those of the segment's `carry`, as of `at`")] = (
        None
    )


def ce_headers(record: TransitionRecord) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes of a transition as Kafka headers (binary content mode)."""
    return [
        *_CE_FIXED,
        ("ce_id", record.id.encode()),
        ("ce_type", _CE_TYPES[record.transition]),
        ("ce_subject", record.contact.encode()),
        ("ce_time", record.at.encode()),
    ]


_CE_FIXED = (
    ("ce_specversion", b"1.0"),
    ("ce_source", CE_SOURCE.encode()),
    ("content-type", b"application/json"),
)
_CE_TYPES: dict[Direction, bytes] = {
    "entered": f"{CE_TYPE}.entered".encode(),
    "left": f"{CE_TYPE}.left".encode(),
}


class MembershipRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Value of a record of `memberships`: whether `contact` is in `segment` now, and since when; key: `membership_key`."""

    contact: str
    segment: str
    member: bool
    since: str
    seq: int
    segment_version: int
    revision: int
    key: str | None = None


def membership_key(contact: str, segment: str, key: str | None) -> bytes:
    """Kafka key of a membership: JSON `[contact, segment]`, or `[contact, segment, key]`; its partition is the contact's."""
    return orjson.dumps([contact, segment] if key is None else [contact, segment, key])


class Consent(msgspec.Struct, frozen=True):
    """Whether messages of a group are wanted, and since when that is known (event time)."""

    on: bool
    at: str


class ContactRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Value of a record of `contacts`: traits that are present and consent, as of the last change; its key is the contact.

    `consent` is by message group, `""` meaning every one: the last word on each, and when it was given. `traits_cut` says
    that the traits would not fit into a record and are left out.
    """

    contact: str
    traits: dict[str, Any]
    changed_at: str
    revision: int
    traits_cut: bool = False
    consent: dict[str, Consent] = {}
