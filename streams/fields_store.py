"""The catalogue of fields in Redis: the projector writes it, `tidegate fields`, `tidegate check` and the API read it.

Invariants:
  * Fields and the positions after the events that had them are written by one script, which does nothing unless this Redis
    stands where those events begin. Taking the same event twice changes nothing.
  * It is bounded: `FIELDS_MAX` fields of `SOURCES_MAX` sources (and `other`); of what is over there is an estimate of its number.
  * A sample is kept for `SAMPLE_MS` at most, and goes with its contact's `delete`; of who it was there is a keyed hash.

It shares the read model's hash tag, so that whoever throws that away throws this away, too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from actions.read_model import REBUILDING, BeingRebuilt, Moved
from actions.read_model_scripts import BEGIN
from schemas.topics import DAY_MS
from streams.fields import Field, Gathered, sample_text
from streams.fields_scripts import APPLY

FIELDS_MAX: Final = 10_000
SOURCES_MAX: Final = 8
OTHER: Final = "other"
# what a field is worth in Redis's append-only file: each is written once a minute at most, unless it is new
SEEN_EVERY_MS: Final = 60_000
# the compacted topics' deadline for what is erased: who is erased under another name leaves here by then as well
SAMPLE_MS: Final = 7 * DAY_MS
# one script holds up all of Redis for as long as it runs: about a millisecond for these
PIECE: Final = 250
SCAN_COUNT: Final = 500
_HASH_CHARACTERS: Final = 32


# when each field came last, by source and type
Told = dict[Field, dict[tuple[str, str], int]]


@dataclass(frozen=True)
class Known:
    """A field of the catalogue: by source and type, the minute (epoch ms) in which it came last."""

    field: Field
    sources: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Catalogue:
    """All known fields. `left_out`: how many others there are, about; `filling`: partitions not read to their end once.

    `began` is False where no projector has begun to read.
    """

    fields: Sequence[Known]
    left_out: int
    filling: int
    began: bool

    @property
    def whole(self) -> bool:
        """Whether what isn't in here is in no event."""
        return self.began and not self.filling and not self.left_out


class FieldStore:
    """The catalogue of one prefix. Every method raises redis-py's errors when Redis can't be reached."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._client = client
        stem = f"{{{prefix}read}}:"
        self._positions, self._filling = stem + "field-positions", stem + "field-filling"
        self._lock, self._fields, self._left_out = stem + "lock", stem + "fields", stem + "field-left-out"
        self._sample, self._theirs, self._mark = (
            stem + f"field-{name}:" for name in ("sample", "contact", "forgotten")
        )
        self._key = prefix.encode()
        self._begin, self._apply = client.register_script(BEGIN), client.register_script(APPLY)

    # ---- the projector ----------------------------------------------------------------------------------------------

    async def begin(self, partitions: Sequence[str]) -> dict[str, int]:
        """Where each of `partitions` (`topic/number`, all there are) goes on; raises `BeingRebuilt`."""
        found = await self._begin(keys=[self._positions, self._filling, self._lock], args=list(partitions))
        if found == REBUILDING:
            raise BeingRebuilt
        return {name: int(position) for name, position in zip(partitions, found, strict=True)}

    async def apply(self, moves: Mapping[str, tuple[int, int]], gathered: Gathered, told: Told | None = None) -> None:
        """Writes the fields of the records [start, end) of partitions, and that they are read; raises `Moved`, `BeingRebuilt`.

        In pieces, of which the last moves the positions: what the others do changes nothing when it comes twice. `told`: what
        this Redis was told before, which it is not told again; after an error it has to be emptied.
        """
        told = {} if told is None else told
        forgotten = [[self._hash(contact), -1 if at is None else at] for contact, at in gathered.forgotten.items()]
        seen: list[Any] = []
        samples: list[Any] = []
        for field, entry in gathered.entries():
            minutes = {key: at_ms - at_ms % SEEN_EVERY_MS for key, at_ms in entry.seen.items()}
            before = told.get(field, {})
            if all(before.get(key, -1) >= at_ms for key, at_ms in minutes.items()):
                continue
            told[field] = before | minutes
            seen.append((_id(field), [(*key, at_ms) for key, at_ms in minutes.items()]))
            if entry.sample is not None:
                value, contact, at_ms = entry.sample
                samples.append((_id(field), sample_text(value), at_ms, self._hash(contact)))
        for piece in [*_pieces(0, forgotten), *_pieces(1, seen), *_pieces(2, samples)]:
            await self._write([[name, str(start), str(start)] for name, (start, _) in moves.items()], *piece, [])
        left_out = [_id(field) for field in gathered.left_out]
        await self._write([[name, str(start), str(end)] for name, (start, end) in moves.items()], [], [], [], left_out)

    async def _write(self, *lists: Any) -> None:
        keys = [self._positions, self._lock, self._fields, self._left_out]
        args: list[str | int | bytes] = [self._sample, self._theirs, self._mark, FIELDS_MAX, SOURCES_MAX, SAMPLE_MS]
        # in one argument, as redis-py takes a microsecond for each
        found = await self._apply(keys=keys, args=[*args, msgspec.msgpack.encode(lists)])
        if found == REBUILDING:
            raise BeingRebuilt
        if not found:
            raise Moved

    async def restart(self, partition: str) -> None:
        """Has a partition begin anew: its topic was made anew."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.sadd(self._filling, partition)
            pipeline.hset(self._positions, partition, "0")
            await pipeline.execute()

    async def filled(self, partition: str) -> None:
        """Says that a partition was read to its end."""
        await self._client.srem(self._filling, partition)

    async def counts(self) -> tuple[int, int]:
        """How many fields are known, and how many are left out, about."""
        return int(await self._client.hlen(self._fields)), int(await self._client.pfcount(self._left_out))

    # ---- who asks ---------------------------------------------------------------------------------------------------

    async def read(self) -> Catalogue:
        """All of it, by kind, event and path."""
        fields: dict[Field, Known] = {}
        async for id, packed in self._client.hscan_iter(self._fields, count=SCAN_COUNT):
            field = msgspec.json.decode(id, type=Field)
            fields[field] = Known(field, msgspec.msgpack.decode(packed, type=dict[str, dict[str, int]]))
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.pfcount(self._left_out)
            pipeline.scard(self._filling)
            pipeline.exists(self._positions)
            left_out, filling, began = await pipeline.execute()
        return Catalogue([fields[field] for field in sorted(fields)], left_out, filling, bool(began))

    async def samples(self, fields: Iterable[Field]) -> dict[Field, str]:
        """A sample of each of `fields` that has one."""
        asked = list(fields)
        found: dict[Field, str] = {}
        for at in range(0, len(asked), SCAN_COUNT):
            piece = asked[at : at + SCAN_COUNT]
            kept = await self._client.mget([self._sample + _id(field) for field in piece])
            texts = zip(piece, kept, strict=True)
            found |= {field: text[_HASH_CHARACTERS:].decode() for field, text in texts if isinstance(text, bytes)}
        return found

    def _hash(self, contact: str) -> str:
        return hashlib.blake2b(contact.encode(), digest_size=_HASH_CHARACTERS // 2, key=self._key[:64]).hexdigest()


def _id(field: Field) -> str:
    return msgspec.json.encode(field).decode()


def _pieces(place: int, items: list[Any]) -> Iterator[list[list[Any]]]:
    """`items` in pieces, each in its place among three."""
    for at in range(0, len(items), PIECE):
        yield [items[at : at + PIECE] if place == each else [] for each in range(3)]
