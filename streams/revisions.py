"""What the definitions topic says, and what an `apply` or a `remove` would add to it. No Kafka in here.

Invariants:
  * What is in force is what the newest closing revision lists; versions behind the last revision count for nothing.
  * Versions of one id go up by one, also over a removal: `seq` goes on, and no version ever means two things.
  * A change that can't change an answer (`name`, `description`, `carry` …) rewrites the body under its version.
  * A segment whose score differs is another one, be it named in the apply or not.
"""

import dataclasses
import functools
import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from actions.sequences import VERSIONS_KEPT
from schemas import definitions as wire
from schemas.definitions import DefinitionRecord, RevisionRecord, definition_key
from segments.check_references import scores_read
from streams.errors import DefinitionsRefused, StreamsError

Kind = Literal["segment", "score", "rule", "sequence", "policy"]
Name = tuple[Kind, str]
What = Literal["new", "changed", "updated", "unchanged", "removed"]

# what brokers take by default is 1 MiB with key and headers; a revision lists all that is in force: of 10,000 definitions,
# which are a megabyte, gzip leaves a tenth
RECORD_BYTES_MAX = 900 * 1024
VALUE_BYTES_MAX = 15 * 1024 * 1024
# a segment is another one when one of these differs as data (language page, section 9)
SEGMENT_MEANING = ("when", "per", "tz", "hold")
# a rule, a sequence or a policy is another one when anything but these differs
PROSE = ("name", "description", "tags", "owner")


class DefinitionsUnreadable(StreamsError):
    """A record of the definitions topic that we can't have written; the operator looks at who else writes there."""


@dataclasses.dataclass(frozen=True)
class InForce:
    """The definitions of revision `number`; 0 and empty where nothing was ever applied.

    `kept`: earlier versions of `sequences` that contacts may still be in. `since_ms`: when the version in force came into
    force first, by kind and id; of a rule or a sequence, when it began to listen as it does. `versions`: the last version
    there ever was, of those removed too.
    """

    number: int = 0
    segments: list[DefinitionRecord] = dataclasses.field(default_factory=list)
    rules: list[DefinitionRecord] = dataclasses.field(default_factory=list)
    since_ms: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    scores: list[DefinitionRecord] = dataclasses.field(default_factory=list)
    versions: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    sequences: list[DefinitionRecord] = dataclasses.field(default_factory=list)
    kept: list[DefinitionRecord] = dataclasses.field(default_factory=list)
    policies: list[DefinitionRecord] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def records(self) -> dict[Name, DefinitionRecord]:
        """All records, by kind and id."""
        listed = (*self.segments, *self.scores, *self.rules, *self.sequences, *self.policies)
        return {(record.kind, record.id): record for record in listed}


@dataclasses.dataclass(frozen=True)
class Change:
    """What an apply does to one definition; `version` is the one in force afterwards, the last one for `removed`."""

    kind: Kind
    id: str
    version: int
    what: What


@dataclasses.dataclass(frozen=True)
class Revised:
    """A revision to be written: the records, the revision that closes them, and what it does to each definition."""

    records: list[DefinitionRecord]
    revision: RevisionRecord
    changes: list[Change]


class Revisions:
    """The definitions topic, read record by record; `in_force` is always that of a whole revision."""

    def __init__(self) -> None:
        self._in_force = InForce()
        self._missing: str | None = None
        self.history: list[RevisionRecord] = []
        self._written: dict[tuple[str, str, int], DefinitionRecord] = {}
        self._open: dict[tuple[str, str, int], DefinitionRecord] = {}

    @property
    def in_force(self) -> InForce:
        """The definitions of the newest revision; raises `DefinitionsUnreadable` where some of them are gone."""
        if self._missing is not None:
            raise DefinitionsUnreadable(self._missing)
        return self._in_force

    def add(self, key: bytes | None, value: bytes | None) -> bool:
        """Takes one record; whether it put a revision in force. Raises `DefinitionsUnreadable`."""
        if value is None or (key is not None and key.startswith(b"pause/")):
            return False  # what is paused is the dispatcher's matter (streams/rulebook.py)
        try:
            if key is not None and key.startswith(b"revision/"):
                return self._close(msgspec.json.decode(value, type=RevisionRecord))
            record = msgspec.json.decode(value, type=DefinitionRecord)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DefinitionsUnreadable(f"record {key!r}: expected a definition or a revision, got {error}") from None
        self._open[record.kind, record.id, record.version] = record
        return False

    def _close(self, revision: RevisionRecord) -> bool:
        self._written |= self._open
        self._open.clear()
        if self.history and revision.number <= self.history[-1].number:
            return False
        self.history.append(revision)
        try:
            self._in_force = self._of(revision)
        except DefinitionsUnreadable as error:
            # compaction keeps of a body that was rewritten only the last one, which stands behind this revision
            self._missing = str(error)
            return False
        self._missing = None
        return True

    def at(self, number: int) -> InForce:
        """The definitions of revision `number`; raises `DefinitionsUnreadable` where it, or one of them, is gone."""
        if number == 0:
            return InForce()
        for revision in self.history:
            if revision.number == number:
                return self._of(revision)
        raise DefinitionsUnreadable(
            f"expected revision {number} in the topic, found none: its records have been deleted"
        )

    def versions(self, name: Name) -> dict[int, DefinitionRecord]:
        """The versions of a definition that are there, in force or not, by number from 1 on."""
        found = {n: record for (kind, id, n), record in self._written.items() if (kind, id) == name}
        return dict(sorted(found.items()))

    def _of(self, revision: RevisionRecord) -> InForce:
        by_kind: dict[str, list[DefinitionRecord]] = {kind: [] for kind in get_args(Kind)}
        for listed in revision.definitions:
            record = self._written.get((listed.kind, listed.id, listed.version))
            if record is None:
                raise DefinitionsUnreadable(
                    f"revision {revision.number}: expected version {listed.version} of {listed.kind} {listed.id!r} "
                    "before it, found none: records of this topic have been deleted"
                )
            by_kind[listed.kind].append(record)
        versions: dict[tuple[str, str], int] = {}
        for kind, id, version in self._written:
            versions[kind, id] = max(version, versions.get((kind, id), 0))
        return InForce(
            number=revision.number,
            segments=by_kind["segment"],
            scores=by_kind["score"],
            rules=by_kind["rule"],
            sequences=by_kind["sequence"],
            policies=by_kind["policy"],
            kept=[record for sequence in by_kind["sequence"] for record in self._before(sequence)],
            since_ms={(listed.kind, listed.id): listed.since_ms for listed in revision.definitions},
            versions=versions,
        )

    def _before(self, record: DefinitionRecord) -> list[DefinitionRecord]:
        """The versions before this one that contacts may still be in, the newest first."""
        numbers = range(record.version - 1, max(0, record.version - 1 - VERSIONS_KEPT), -1)
        found = (self._written.get((record.kind, record.id, number)) for number in numbers)
        return [each for each in found if each is not None]


def revise(
    in_force: InForce,
    bodies: Mapping[Name, dict[str, Any]],
    removed: Iterable[Name],
    now_ms: int,
    *,
    author: str = "",
    note: str = "",
) -> Revised | None:
    """The revision that puts `bodies` in force and takes `removed` out; None where nothing would change at all.

    The result's `changes` name every one of `bodies` and `removed`, and the segments that another score makes others;
    with None all of `bodies` are unchanged.
    """
    there = in_force.records
    rescored = _rescored(in_force, bodies, removed := tuple(removed))
    bodies = {**bodies, **{name: there[name].body for name in sorted(rescored) if name not in bodies}}
    after = dict(there)
    since_ms = dict(in_force.since_ms)
    changes, records = [], []
    for name, body in bodies.items():
        record, what = _version(in_force, name, body, now_ms, anew=name in rescored)
        changes.append(Change(name[0], name[1], record.version, what))
        if what == "unchanged":
            continue
        records.append(record)
        after[name] = record
        if what != "updated" and not _listens_as_before(name, there, body):
            since_ms[name] = now_ms
    for name in removed:
        gone = after.pop(name)
        changes.append(Change(gone.kind, gone.id, gone.version, "removed"))
    if not records and len(after) == len(there):
        return None
    listed = [
        wire.InForce(record.kind, record.id, record.version, since_ms[name]) for name, record in sorted(after.items())
    ]
    revision = RevisionRecord(
        number=in_force.number + 1,
        applied_at_ms=now_ms,
        definitions=listed,
        hash=_hash(record for _, record in sorted(after.items())),
        author=author,
        note=note,
        updated=[f"{change.kind}/{change.id}" for change in changes if change.what == "updated"],
    )
    return Revised(records, revision, changes)


def _listens_as_before(name: Name, there: Mapping[Name, DefinitionRecord], body: dict[str, Any]) -> bool:
    """Whether only what a rule or a sequence sends has changed: then it goes on listening, and nobody falls in between."""
    listens = name[0] in ("rule", "sequence")
    return listens and name in there and _same(there[name].body.get("on"), body.get("on"))


def _rescored(in_force: InForce, bodies: Mapping[Name, dict[str, Any]], removed: Sequence[Name]) -> set[Name]:
    """The segments in force that read a score which differs in `bodies`."""
    scores = {record.id: record.body for record in in_force.scores}
    changed = {
        id for (kind, id), body in bodies.items() if kind == "score" and id in scores and not _same(scores[id], body)
    }
    names: list[Name] = [("segment", record.id) for record in in_force.segments] if changed else []
    there = in_force.records
    return {
        name
        for name in names
        if name not in removed and scores_read(bodies.get(name, there[name].body).get("when")) & changed
    }


def _version(
    in_force: InForce, name: Name, body: dict[str, Any], now_ms: int, *, anew: bool
) -> tuple[DefinitionRecord, What]:
    kind, id = name
    last = in_force.versions.get(name, 0)
    there = in_force.records.get(name)
    if there is None:
        return DefinitionRecord(kind=kind, id=id, version=last + 1, body=body, applied_at_ms=now_ms), "new"
    if not anew and _same(there.body, body):
        return there, "unchanged"
    if not anew and _same(_meaning(kind, there.body), _meaning(kind, body)):
        return DefinitionRecord(kind=kind, id=id, version=there.version, body=body, applied_at_ms=now_ms), "updated"
    return DefinitionRecord(kind=kind, id=id, version=last + 1, body=body, applied_at_ms=now_ms), "changed"


def _meaning(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    if kind == "segment":
        return {key: body[key] for key in SEGMENT_MEANING if key in body}
    # of a score all is meaning: what reads it compares it as data
    return body if kind == "score" else {key: value for key, value in body.items() if key not in PROSE}


def _same(one: Any, other: Any) -> bool:
    return _canonical(one) == _canonical(other)


def _canonical(value: Any) -> bytes:
    # as JSON, since Python holds True to be 1; keys in order, as a mapping has none
    return msgspec.json.encode(value, order="deterministic")


def hash_of(body: Mapping[str, Any]) -> str:
    """The content hash of a definition: SHA-256 of its body as data, in whatever order its keys were written."""
    return hashlib.sha256(_canonical(body)).hexdigest()


def _hash(records: Iterable[DefinitionRecord]) -> str:
    digest = hashlib.sha256()
    for record in records:
        digest.update(_canonical([record.kind, record.id, record.version, record.body]) + b"\n")
    return digest.hexdigest()


def messages(revised: Revised) -> list[tuple[bytes, bytes]]:
    """Keys and values of the records to write, the closing revision last.

    Raises `DefinitionsRefused`, naming each, where one is larger than a record may be.
    """
    written = [
        (definition_key(record.kind, record.id, record.version), msgspec.json.encode(record))
        for record in revised.records
    ]
    closing = definition_key("revision", "", revised.revision.number), msgspec.json.encode(revised.revision)
    too_large = [
        f"{record.kind} {record.id!r}: expected no more than fits a record of Kafka's, {RECORD_BYTES_MAX:,} bytes once "
        f"compressed, got {len(value):,} that take more: split it in several, or make a static list of what it lists"
        for record, (_, value) in zip(revised.records, written, strict=True)
        if not _fits(value)
    ]
    if not _fits(closing[1]):
        too_large.append(
            f"expected no more definitions than a record of Kafka's can list, {RECORD_BYTES_MAX:,} bytes once compressed, "
            f"got {len(revised.revision.definitions):,}: remove some first"
        )
    if too_large:
        raise DefinitionsRefused(*too_large, "nothing was applied")
    return [*written, closing]


def _fits(value: bytes) -> bool:
    if len(value) <= RECORD_BYTES_MAX:
        return True
    return len(value) <= VALUE_BYTES_MAX and len(gzip.compress(value)) <= RECORD_BYTES_MAX
