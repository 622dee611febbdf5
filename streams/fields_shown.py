"""The catalogue of fields as it is told: which of it is asked for, and the JSON of `tidegate fields` and of the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.instants import format_instant
from streams.fields import Field, Kind
from streams.fields_store import Catalogue, FieldStore, Known

SHOWN_MAX: Final = 10_000
SHOWN: Final = 200


@dataclass(frozen=True)
class Question:
    """Which fields; each is None, or False, where it doesn't matter. `limit`: how many at most, from 1 to `SHOWN_MAX`."""

    event: str | None = None
    kind: Kind | None = None
    source: str | None = None
    conflicts: bool = False
    limit: int = SHOWN


class SourceShown(msgspec.Struct, frozen=True):
    """Who sends a field, and when each type of it came last."""

    source: str
    types: dict[str, str]


class FieldShown(msgspec.Struct, frozen=True):
    """A field: a `trait`, or a `property` of the events named `event` (null for a trait).

    `types` are those that it had, the latest first: more than one, `null` apart, is a `conflict`. `sample` is null where none
    is kept.
    """

    kind: Kind
    event: str | None
    name: str
    types: list[str]
    conflict: bool
    last_seen: str
    sample: str | None
    sources: list[SourceShown]


class Fields(msgspec.Struct, frozen=True):
    """Fields as asked for, by kind, event and name, of `found`; `left_out`: about how many the catalogue couldn't take.

    `whole` is false where it may lack fields that some event has: events are still to be read (`filling`: in so many
    partitions), or something is left out.
    """

    fields: list[FieldShown]
    found: int
    left_out: int
    filling: int
    whole: bool


async def read_fields(store: FieldStore, question: Question) -> Fields:
    """The answer; raises redis-py's errors when Redis can't be reached."""
    catalogue = await store.read()
    found = [each for each in catalogue.fields if _is_asked(each, question)]
    shown = found[: question.limit]
    samples = await store.samples(each.field for each in shown)
    return _fields(catalogue, shown, len(found), samples)


def types_of(known: Known) -> dict[str, int]:
    """When each type of a field came last, the latest first."""
    latest: dict[str, int] = {}
    for by_type in known.sources.values():
        for name, at_ms in by_type.items():
            latest[name] = max(at_ms, latest.get(name, at_ms))
    return dict(sorted(latest.items(), key=lambda item: (-item[1], item[0])))


def _is_asked(known: Known, question: Question) -> bool:
    return (
        (question.event is None or known.field.event == question.event)
        and (question.kind is None or known.field.kind == question.kind)
        and (question.source is None or question.source in known.sources)
        and (not question.conflicts or _is_conflict(types_of(known)))
    )


def _is_conflict(types: Mapping[str, int]) -> bool:
    return len(types.keys() - {"null"}) > 1


def _fields(catalogue: Catalogue, shown: list[Known], found: int, samples: Mapping[Field, str]) -> Fields:
    told = [_shown(each, samples.get(each.field)) for each in shown]
    return Fields(told, found, catalogue.left_out, catalogue.filling, catalogue.whole)


def _shown(known: Known, sample: str | None) -> FieldShown:
    types = types_of(known)
    field = known.field
    return FieldShown(
        field.kind,
        field.event if field.kind == "property" else None,
        field.path,
        list(types),
        _is_conflict(types),
        format_instant(max(types.values())),
        sample,
        [
            SourceShown(source, {name: format_instant(at_ms) for name, at_ms in sorted(by_type.items())})
            for source, by_type in sorted(known.sources.items())
        ],
    )
