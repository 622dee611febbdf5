"""What became of one definition over the revisions: who put which version of it in force, when and why. No Kafka in here."""

import dataclasses
from collections.abc import Iterator

from schemas.definitions import DefinitionRecord, RevisionRecord
from streams.errors import InputError
from streams.revisions import Name, Revisions, What


@dataclasses.dataclass(frozen=True)
class Step:
    """What a revision did to a definition; `version` is the one in force afterwards, the last one for `removed`.

    `record` is what it wrote; None where it wrote nothing, or that was written anew under the same version since.
    """

    revision: RevisionRecord
    version: int
    what: What
    record: DefinitionRecord | None = None


def find_ever(revisions: Revisions, given: str) -> Name:
    """What `given`, an id or `kind/id`, means, in force or not; raises `InputError` for what never was or is ambiguous."""
    kind, _, id = given.rpartition("/")
    ever: list[Name] = sorted({(listed.kind, listed.id) for each in revisions.history for listed in each.definitions})
    found = [name for name in ever if name[1] == id and kind in ("", name[0])]
    if len(found) > 1:
        either = " or ".join(f"{name[0]}/{id}" for name in found)
        raise InputError(f"expected one definition, got {given!r}, which is several: say {either}")
    if not found:
        raise InputError(
            f"expected the id of a definition that is or was in force, got {given!r}: `tidegate segments list` has those "
            "in force"
        )
    return found[0]


def history_of(revisions: Revisions, name: Name) -> Iterator[Step]:
    """The revisions that did something to a definition, in order.

    A new body under the same version (`updated`) is known of revisions that say so themselves, and of the last one.
    """
    records = revisions.versions(name)
    last: int | None = None
    for revision in revisions.history:
        now = next((each.version for each in revision.definitions if (each.kind, each.id) == name), None)
        record = records.get(now or 0)
        wrote = record if record is not None and record.applied_at_ms == revision.applied_at_ms else None
        if now is None:
            if last is not None:
                yield Step(revision, last, "removed")
        elif now != last:
            yield Step(revision, now, "new" if last is None else "changed", wrote)
        elif wrote is not None or f"{name[0]}/{name[1]}" in revision.updated:
            yield Step(revision, now, "updated", wrote)
        last = now


def since_ms(revisions: Revisions, name: Name, version: int) -> int | None:
    """When a version came into force first, in epoch ms; None where it never did, or nothing is known of it."""
    listed = (each for revision in revisions.history for each in revision.definitions)
    return next(
        (each.since_ms for each in listed if (each.kind, each.id, each.version) == (*name, version)),
        None,
    )


def version(revisions: Revisions, name: Name, number: int) -> DefinitionRecord:
    """One version of a definition, as it was written last; raises `InputError` where there is none."""
    records = revisions.versions(name)
    if number not in records:
        there = ", ".join(map(str, records))
        raise InputError(f"expected a version of {name[0]} {name[1]!r} ({there}), got {number}")
    return records[number]
