"""What the definitions topic says, and what an `apply` or a `remove` would add to it. No Kafka in here.

Invariants:
  * What is in force is what the newest closing revision lists; versions behind the last revision count for nothing.
  * Versions of one id go up by one, also over a removal: `seq` goes on, and no version ever means two things.
  * A change that can't change an answer (`name`, `carry`, `24h` for `1d` …) rewrites the body under its version.
  * A segment whose score asks something else is another one, be it named in the apply or not.
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
from segments import DefinitionErrors, Definitions, Limits, load_data
from segments.check_references import scores_read
from segments.questions import questions
from segments.read import DEPTH_MAX, NODES_MAX
from streams.errors import DefinitionsRefused, StreamsError

Kind = Literal["segment", "score", "rule", "sequence", "policy"]
Name = tuple[Kind, str]
What = Literal["new", "changed", "updated", "unchanged", "removed"]

# what brokers take by default is 1 MiB with key and headers; a revision lists all that is in force: of 10,000 definitions,
# which are a megabyte, gzip leaves a tenth
RECORD_BYTES_MAX = 900 * 1024
VALUE_BYTES_MAX = 15 * 1024 * 1024
# a segment can only be another one when one of these differs (segments/README.md, New definitions)
_ASKED = ("when", "per", "tz", "hold")
# a score can, a rule, a sequence or a policy is another one when anything but these differs
PROSE = ("name", "description", "tags", "owner")
# whether a definition may be that deep was asked when it was applied
_BOUNDLESS = Limits(depth=DEPTH_MAX, conditions=NODES_MAX)


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
    differing = {name for name, body in bodies.items() if name in there and not _same(there[name].body, body)}
    changed = _changed(in_force, bodies, removed := tuple(removed), differing)
    bodies = {**bodies, **{name: there[name].body for name in sorted(changed) if name not in bodies}}
    after = dict(there)
    since_ms = dict(in_force.since_ms)
    changes, records = [], []
    for name, body in bodies.items():
        what: What = "new" if name not in there else "changed" if name in changed else "updated"
        if what == "updated" and name not in differing:
            changes.append(Change(name[0], name[1], there[name].version, "unchanged"))
            continue
        version = there[name].version if what == "updated" else in_force.versions.get(name, 0) + 1
        record = DefinitionRecord(kind=name[0], id=name[1], version=version, body=body, applied_at_ms=now_ms)
        changes.append(Change(name[0], name[1], version, what))
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


def _changed(
    in_force: InForce, bodies: Mapping[Name, dict[str, Any]], removed: Sequence[Name], differing: set[Name]
) -> set[Name]:
    """Those in force that are others with `bodies`; `differing` are those that differ as data."""
    there = in_force.records
    others = {
        name for name in differing if not _same(_meaning(name[0], there[name].body), _meaning(name[0], bodies[name]))
    }
    scores = {id for kind, id in others if kind == "score"}
    if scores:
        staying = {name: bodies.get(name, record.body) for name, record in there.items() if name not in removed}
        others |= {
            name for name, body in staying.items() if name[0] == "segment" and scores_read(body.get("when")) & scores
        }
    doubtful = {name for name in others if name[0] in ("segment", "score")}
    return others - _asking_the_same(there, bodies, doubtful)


def _asking_the_same(
    there: Mapping[Name, DefinitionRecord], bodies: Mapping[Name, dict[str, Any]], doubtful: set[Name]
) -> set[Name]:
    """Those of `doubtful`, segments and scores, that only say otherwise what they said before."""
    if not doubtful:
        return set()
    before = {name: record.body for name, record in there.items()}
    try:
        was, now = (questions(_loaded(each)) for each in (before, {**before, **bodies}))
    except DefinitionErrors:
        return set()  # what is in force was applied by another release, whose language this one doesn't read
    return {name for name in doubtful if was[name] == now[name]}


def _loaded(bodies: Mapping[Name, dict[str, Any]]) -> Definitions:
    listed = {f"{kind}s": [body for name, body in bodies.items() if name[0] == kind] for kind in ("segment", "score")}
    return load_data({**listed, "rules": []}, limits=_BOUNDLESS)


def _meaning(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    if kind == "segment":
        return {key: body[key] for key in _ASKED if key in body}
    return {key: value for key, value in body.items() if key not in PROSE}


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
