"""The versions of a sequence that its report is of, and the segments that are followed: as the definitions topic has them."""

from collections.abc import Iterable

import msgspec

from actions import RuleErrors, sequence_of
from actions.sequences import Sequence
from schemas.definitions import DefinitionRecord
from schemas.topics import DEFINITIONS
from streams.broker import stored
from streams.errors import InputError
from streams.revisions import Revisions
from streams.settings import Settings

Record = tuple[bytes | None, bytes | None]


class UnknownSequence(InputError):
    """There is no such sequence; whoever asked takes one of those that the message names."""


async def read_versions(settings: Settings, id: str) -> tuple[dict[int, Sequence], set[str]]:
    """As `versions_of`, of the topic as it is now. Raises `StreamsError`."""
    topic = settings.topic(DEFINITIONS.name)
    return versions_of(id, [(record.key, record.value) async for record in stored(settings, [topic])])


def versions_of(id: str, records: Iterable[Record]) -> tuple[dict[int, Sequence], set[str]]:
    """All versions of a sequence that there ever were, and the segments that are followed, lifted ones among them.

    Versions that this code can't take are left out. Raises `UnknownSequence`, `DefinitionsUnreadable`.
    """
    revisions = Revisions()
    ids: set[str] = set()
    found: dict[int, Sequence] = {}
    for key, value in records:
        revisions.add(key, value)
        if key is not None and value is not None and key.startswith(b"sequence/"):
            record = msgspec.json.decode(value, type=DefinitionRecord)
            ids.add(record.id)
            if record.id == id and (sequence := _read(record)) is not None:
                found[record.version] = sequence
    if id not in ids:
        raise UnknownSequence(
            f"expected the id of a sequence ({' '.join(sorted(ids)) or 'there are none'}), got {id!r}: "
            "`tidegate segments list` has those in force"
        )
    in_force = revisions.in_force
    asking = [_read(record) for record in (*in_force.sequences, *in_force.kept)]
    lifted = [sequence.lifted for sequence in asking if sequence is not None]
    return found, {record.id for record in in_force.segments}.union(*lifted)


def _read(record: DefinitionRecord) -> Sequence | None:
    try:
        return sequence_of(record.body)
    except RuleErrors:
        return None  # who was in such a version has ended (`definitions.compile_plan`)
