"""Which offsets of a consumer may be committed while its records are worked on side by side."""

from collections.abc import Iterable

from aiokafka import TopicPartition


class Offsets:
    """Per partition: the records under way, and the first offset that is not yet done with.

    Invariant: what `committable` says is never beyond a record that is under way.
    """

    def __init__(self) -> None:
        self._under_way: dict[TopicPartition, dict[int, None]] = {}
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def begin(self, partition: TopicPartition, offset: int) -> None:
        """A record was read; offsets of a partition only rise."""
        assert offset >= self._next.get(partition, 0), "a record came again without `forget`"
        self._under_way.setdefault(partition, {})[offset] = None
        self._next[partition] = offset + 1

    def done(self, partition: TopicPartition, offset: int) -> None:
        """A record is done with; nothing if its partition is forgotten."""
        self._under_way.get(partition, {}).pop(offset, None)

    def count(self, partitions: Iterable[TopicPartition]) -> int:
        """How many records of these are under way."""
        return sum(len(self._under_way.get(partition, ())) for partition in partitions)

    def committable(self) -> dict[TopicPartition, int]:
        """Offsets to commit where they have moved since `committed`."""
        moved = {}
        for partition, following in self._next.items():
            offset = next(iter(self._under_way[partition]), following)
            if offset != self._committed.get(partition):
                moved[partition] = offset
        return moved

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        """These were committed."""
        self._committed |= {partition: offset for partition, offset in offsets.items() if partition in self._next}

    def clear(self) -> None:
        """Forgets all: a new assignment begins."""
        self.forget(list(self._next))

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are no longer ours, or are read anew."""
        for partition in partitions:
            for kept in (self._under_way, self._next, self._committed):
                kept.pop(partition, None)
