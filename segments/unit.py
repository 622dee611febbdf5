"""The answers of one contact, or of one value of a `per` property, and what they are answered from: a row a leaf.

A contact may have hundreds of rows, and an event touches five. So they stay packed as they were read, in columns sorted
by key, and a row is unpacked when it is asked for: what a step costs doesn't grow with what it doesn't touch, and a
contact that rests takes its bytes and no more. Due instants and answers are written through to the columns, what a leaf
keeps when the record is made.

A row stands for a leaf, a `held` condition, a segment that others name, or the end of a hold.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec

_NEVER = 2**63 - 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Any).decode

# keys, due instants, answers, lengths of what is kept, and all that is kept in order of the keys
Packed = tuple[bytes, bytes, bytes, bytes, bytes]


class Row:
    """`kept`: the leaf's own, None for nothing. `due_ms`: when time alone may change the answer. `true`: the answer.

    `at` is its place in the columns, below 0 for a row that is not in them.
    """

    __slots__ = ("at", "due_ms", "kept", "true")

    def __init__(self, at: int, kept: Any, due_ms: int | None, true: bool) -> None:
        self.at = at
        self.kept = kept
        self.due_ms = due_ms
        self.true = true


class Unit:
    """Rows by key, and the earliest of their due instants; `answers` as the module `state` has them.

    `due_ms` is that earliest instant once `find_due` has been called after a change, else it or an earlier one.
    """

    __slots__ = ("_blob", "_dues", "_flags", "_keys", "_lengths", "_rows", "answers", "due_ms", "due_stale")

    def __init__(self) -> None:
        self._keys: array[int] = array("Q")
        self._dues: array[int] = array("q")
        self._flags = bytearray()
        self._lengths: array[int] = array("I")
        self._blob = b""
        self._rows: dict[int, Row] = {}
        self.answers: dict[int, int] = {}
        self.due_ms: int | None = None
        self.due_stale = False

    # ---- rows -------------------------------------------------------------------------------------------------------

    def row(self, key: int) -> Row:
        """The row of a key; a new one is taken in by `put` or `note`, and forgotten if it isn't."""
        row = self._rows.get(key)
        if row is not None:
            return row
        keys = self._keys
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return Row(-1, None, None, False)
        kept, length = None, self._lengths[at]
        if length:
            start = sum(self._lengths[:at])
            kept = _decode(self._blob[start : start + length])
        due_ms = self._dues[at]
        row = self._rows[key] = Row(at, kept, None if due_ms == _NEVER else due_ms, self._flags[at] == 1)
        return row

    def _find(self, key: int) -> int:
        keys = self._keys
        at = bisect_left(keys, key)
        return at if at < len(keys) and keys[at] == key else -1

    def __contains__(self, key: int) -> bool:
        """Whether the row's answer is true."""
        row = self._rows.get(key)
        if row is not None:
            return row.true
        at = self._find(key)
        return at >= 0 and self._flags[at] == 1

    @property
    def unpacked(self) -> int:
        """How many rows have been asked for since the record was read or made."""
        return len(self._rows)

    def all_keys(self) -> list[int]:
        """The keys of all rows, ascending."""
        return list(self._keys)

    def put(self, key: int, row: Row) -> None:
        """Take a new row in."""
        if row.at >= 0:
            return
        at = bisect_left(self._keys, key)
        for other in self._rows.values():
            if other.at >= at:
                other.at += 1
        row.at = at
        self._keys.insert(at, key)
        self._dues.insert(at, _NEVER)
        self._flags.insert(at, 0)
        self._lengths.insert(at, 0)
        self._rows[key] = row

    def keep(self, key: int, kept: Any) -> None:
        """Keep that for a leaf, None for nothing; its answer is to be asked."""
        row = self.row(key)
        row.kept = kept
        self.put(key, row)

    def drop(self, key: int) -> None:
        """Forget a row: what is kept, its answer and its due instant."""
        at = self._find(key)
        if at < 0:
            return
        if self._dues[at] != _NEVER:
            self.due_stale = True
        start = sum(self._lengths[:at])
        self._blob = self._blob[:start] + self._blob[start + self._lengths[at] :]
        del self._keys[at], self._dues[at], self._flags[at], self._lengths[at]
        self._rows.pop(key, None)
        for other in self._rows.values():
            if other.at > at:
                other.at -= 1

    def note(self, key: int, row: Row, answer: bool, due_ms: int | None) -> bool:
        """Write an answer and the instant at which time may change it; whether the answer flipped."""
        if row.at < 0:
            if not answer and due_ms is None and row.kept is None:
                return False
            self.put(key, row)
        if row.due_ms != due_ms:
            self._note_due(row, due_ms)
        if row.true is answer:
            return False
        row.true = answer
        self._flags[row.at] = 1 if answer else 0
        return True

    def set_due(self, key: int, due_ms: int | None) -> None:
        """Note when a row may change next, None for never."""
        row = self.row(key)
        if row.due_ms != due_ms:
            self.put(key, row)
            self._note_due(row, due_ms)

    def set_true(self, key: int, answer: bool) -> bool:
        """Note an answer alone; whether it flipped."""
        row = self.row(key)
        return self.note(key, row, answer, row.due_ms)

    def _note_due(self, row: Row, due_ms: int | None) -> None:
        before_ms, row.due_ms = row.due_ms, due_ms
        if due_ms is not None:
            self._dues[row.at] = due_ms
            if self.due_ms is None or due_ms <= self.due_ms:
                self.due_ms = due_ms
                return
        else:
            self._dues[row.at] = _NEVER
        if before_ms is not None and before_ms == self.due_ms:
            self.due_stale = True

    def find_due(self) -> None:
        """Bring `due_ms` up to the earliest, where the row that it came from has moved."""
        if self.due_stale:
            first_ms = min(self._dues, default=_NEVER)
            self.due_ms = None if first_ms == _NEVER else first_ms
            self.due_stale = False

    def due_keys(self, now_ms: int) -> list[int]:
        """The keys of the rows that are due by now."""
        return [key for key, due_ms in zip(self._keys, self._dues, strict=True) if due_ms <= now_ms]

    def forget_answers(self) -> None:
        """Make every row false and never due; what they keep stays."""
        for key in self.all_keys():
            row = self.row(key)
            row.true, row.due_ms = False, None
        self._flags = bytearray(len(self._keys))
        self._dues = array("q", [_NEVER]) * len(self._keys)
        self.due_ms, self.due_stale = None, False

    def kept(self) -> Iterator[tuple[int, Any]]:
        """`(key, kept)` of all rows that keep something."""
        for key in self.all_keys():
            kept = self.row(key).kept
            if kept is not None:
                yield key, kept

    # ---- columns ----------------------------------------------------------------------------------------------------

    def pack(self) -> Packed:
        """The columns as bytes, little-endian; rows that say nothing are left out."""
        self._store()
        keys, dues, lengths = self._keys, self._dues, self._lengths
        if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
            keys, dues, lengths = keys[:], dues[:], lengths[:]
            for column in (keys, dues, lengths):
                column.byteswap()
        return keys.tobytes(), dues.tobytes(), bytes(self._flags), lengths.tobytes(), self._blob

    def unpack(self, packed: Packed) -> None:
        """Take the columns of `pack`."""
        keys, dues, flags, lengths, blob = packed
        for column, read in ((self._keys, keys), (self._dues, dues), (self._lengths, lengths)):
            column.frombytes(read)
            if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
                column.byteswap()
        self._flags = bytearray(flags)
        self._blob = blob
        if not len(self._keys) == len(self._dues) == len(self._flags) == len(self._lengths):
            raise ValueError("expected columns of one length")

    def _store(self) -> None:
        """Bring what the unpacked rows keep into the blob, and leave out those that say nothing any more."""
        rows, lengths = self._rows, self._lengths
        if not rows:
            return
        blob, pieces, void = self._blob, [], []
        copied = end = at = 0  # bytes that `pieces` stand for; those of the rows before `at`
        for key, row in rows.items() if len(rows) == 1 else sorted(rows.items()):  # columns are in order of the keys
            place = row.at
            start = end if place == at else end + sum(lengths[at:place])
            if start > copied:
                pieces.append(blob[copied:start])
            kept = row.kept
            piece = b"" if kept is None else _encode(kept)
            pieces.append(piece)
            at = place + 1
            copied = end = start + lengths[place]
            lengths[place] = len(piece)
            if kept is None and not row.true and row.due_ms is None:
                void.append(key)
        if copied < len(blob):
            pieces.append(blob[copied:])
        self._blob = b"".join(pieces)
        self._rows = {}
        for key in void:
            self.drop(key)
