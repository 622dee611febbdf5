"""What is committed of one partition's state, in memory, and what must hold of it before anybody goes on from it."""

from collections.abc import Iterable, Mapping, Sequence

from streams.checkpoint import META_KEY, Meta, UnreadableMetaError, read_meta
from streams.log import Record


class StateError(Exception):
    """The state topic holds what no worker of ours can have left there; the message says what.

    Operator's step: see who wrote to the topic or shortened it; restore it, or start under a new prefix.
    """


class Committed:
    """The partition's part of the state topic: the last record of each key, their bytes, and how far it was read or written.

    `unreadable` is what is wrong with the meta record; one that is written behind it makes that good.
    """

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.bytes = 0
        self.meta: Meta | None = None
        self.unreadable: str | None = None
        self.end = 0

    def load(self, records: Iterable[tuple[bytes | None, bytes | None]], end: int) -> None:
        """Takes records in, in the order of the log."""
        states = self.states
        for key, value in records:
            if key == META_KEY and value is not None:
                try:
                    self.meta, self.unreadable = read_meta(value), None
                except UnreadableMetaError as error:
                    self.unreadable = str(error)
            elif key is not None and value is not None:
                self.bytes += len(value) - len(states.get(key, b""))
                states[key] = value
            elif key is not None:
                self.bytes -= len(states.pop(key, b""))
        self.end = end


def check_whole(number: int, committed: Committed) -> None:
    """Raises StateError where state stands without a meta record that can be read (I9): where it led to can't be known."""
    if committed.unreadable is not None:
        raise StateError(f"state, partition {number}: {committed.unreadable}")
    if committed.states and committed.meta is None:
        raise StateError(
            f"state, partition {number}: expected a meta record beside {len(committed.states)} state records, got none: "
            "the topic was written to or shortened by something else; restore it, or start under a new prefix"
        )


def records_of(records: Sequence[Record]) -> Iterable[tuple[bytes | None, bytes | None]]:
    """Keys and values of records."""
    return ((record[2], record[3]) for record in records)


def check_positions(
    number: int, positions: Mapping[str, int], bounds: Mapping[tuple[str, int], tuple[int, int]]
) -> None:
    """Raises StateError where a source no longer has, or has not yet, the position that is to be read next."""
    for topic, position in positions.items():
        first, end = bounds[topic, number]
        if position < first:
            raise StateError(
                f"{topic}, partition {number}: expected to go on at offset {position}, but the log begins at {first}: "
                f"retention has removed {first - position} records that were not applied yet; "
                "start under another TIDEGATE_PREFIX, or put up with the gap by `tidegate topics gaps --accept`"
            )
        if position > end:
            raise StateError(
                f"{topic}, partition {number}: expected to go on at offset {position}, but the log ends at {end}: "
                "the topic was made anew; start under another TIDEGATE_PREFIX, or put up with what is gone by "
                "`tidegate topics gaps --accept`"
            )
