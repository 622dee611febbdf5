"""The answers of one contact, or of one value of a `per` property, and what they are answered from: a row a leaf.

Most contacts have a handful of rows: those are there as they are, by key. A contact may have hundreds, and an event touches
five. So more than `ROWS_OPEN_MAX` stay packed as they were read, in columns sorted by key, and a row is unpacked when it is
asked for: what a step costs doesn't grow with what it doesn't touch, and a contact that rests takes its bytes and no more.
Due instants and answers are written through to the columns, what a leaf keeps when the record is made. Which of the two it
is follows from the number of rows alone, so the same rows make the same bytes.

A row stands for a leaf, a `held` condition, a segment that others name, or the end of a hold.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec

from segments.state_record import Columns, Row

_NEVER = 2**63 - 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Any).decode

# what stands where there are no columns; never changed
_NO_KEYS: "array[int]" = array("Q")
_NO_DUES: "array[int]" = array("q")
_NO_FLAGS = bytearray()
_NO_LENGTHS: "array[int]" = array("I")

# a row that is there as it is costs 0.2 µs a record whether it is touched or not, one that is unpacked 1 µs; a worker keeps
# states decoded over many events, so it does better with more rows open than one event alone would
ROWS_OPEN_MAX = 128

# rows by key, ascending; or keys, due instants, answers, lengths of what is kept, and all that is kept in order of the keys
Packed = dict[int, Row] | Columns


class Unit:
    """Rows by key, and the earliest of their due instants; `answers` as the module `state` has them.

    `due_ms` is that earliest instant once `find_due` has been called after a change, else it or an earlier one.
    """

    __slots__ = (
        "_blob",
        "_due_of",
        "_dues",
        "_flags",
        "_in_order",
        "_keys",
        "_lengths",
        "_rows",
        "_void",
        "answers",
        "columns",
        "due_ms",
        "due_stale",
    )

    def __init__(self) -> None:
        self.columns = False  # whether the rows are in columns, and `_rows` those of them that were asked for
        self._rows: dict[int, Row] = {}
        self._due_of: dict[int, int] | None = None  # due instants by key, once asked for, where there are no columns
        self._void = False  # whether a row may say nothing any more
        self._in_order = True  # whether `_rows` ascend by key, where there are no columns
        self._keys = _NO_KEYS
        self._dues = _NO_DUES
        self._flags = _NO_FLAGS
        self._lengths = _NO_LENGTHS
        self._blob = b""
        self.answers: dict[int, int] = {}
        self.due_ms: int | None = None
        self.due_stale = False

    # ---- rows -------------------------------------------------------------------------------------------------------

    def row(self, key: int) -> Row:
        """The row of a key; a new one is taken in by `put` or `note`, and forgotten if it isn't."""
        row = self._rows.get(key)
        if row is not None:
            return row
        if not self.columns:
            return Row()
        keys = self._keys
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return Row()
        kept, length = None, self._lengths[at]
        if length:
            start = sum(self._lengths[:at])
            kept = _decode(self._blob[start : start + length])
        due_ms = self._dues[at]
        row = self._rows[key] = Row(kept, None if due_ms == _NEVER else due_ms, self._flags[at] == 1, at)
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
        if not self.columns:
            return False
        at = self._find(key)
        return at >= 0 and self._flags[at] == 1

    @property
    def unpacked(self) -> int:
        """How many rows are there as they are, or have been asked for."""
        return len(self._rows)

    def all_keys(self) -> list[int]:
        """The keys of all rows, ascending."""
        return list(self._keys) if self.columns else sorted(self._rows)

    def put(self, key: int, row: Row) -> None:
        """Take a new row in."""
        if row.at >= 0:
            return
        if not self.columns and len(self._rows) >= ROWS_OPEN_MAX:
            self._close()
        if self.columns:
            self._insert(key, row)
        else:
            row.at = 0
            self._rows[key] = row
            self._in_order = False

    def _insert(self, key: int, row: Row) -> None:
        """Make a place in the columns."""
        at = bisect_left(self._keys, key)
        for other in self._rows.values():
            if other.at >= at:
                other.at += 1
        row.at = at
        self._keys.insert(at, key)
        self._dues.insert(at, _NEVER if row.due_ms is None else row.due_ms)
        self._flags.insert(at, 1 if row.true else 0)
        self._lengths.insert(at, 0)
        self._rows[key] = row

    def _close(self) -> None:
        """Put the rows into columns, as there are too many of them to be there as they are."""
        rows, self._rows, self.columns, self._due_of = self._rows, {}, True, None
        self._keys, self._dues, self._flags, self._lengths = array("Q"), array("q"), bytearray(), array("I")
        for key, row in rows.items():
            self._insert(key, row)

    def _open(self) -> None:
        """Have the rows as they are, as there are few enough of them."""
        rows = {key: self.row(key) for key in self._keys}
        for row in rows.values():
            row.at = 0
        self._rows, self.columns, self._blob = rows, False, b""
        self._keys, self._dues, self._flags, self._lengths = _NO_KEYS, _NO_DUES, _NO_FLAGS, _NO_LENGTHS

    def keep(self, key: int, kept: Any) -> None:
        """Keep that for a leaf, None for nothing; its answer is to be asked."""
        row = self.row(key)
        row.kept = kept
        self.put(key, row)
        if kept is None:
            self._void = True

    def drop(self, key: int) -> None:
        """Forget a row: what is kept, its answer and its due instant."""
        row = self._rows.pop(key, None)
        if self.columns:
            at = self._find(key)
            if at < 0:
                return
            if self._dues[at] != _NEVER:
                self.due_stale = True
            start = sum(self._lengths[:at])
            self._blob = self._blob[:start] + self._blob[start + self._lengths[at] :]
            del self._keys[at], self._dues[at], self._flags[at], self._lengths[at]
            for other in self._rows.values():
                if other.at > at:
                    other.at -= 1
        elif row is not None and row.due_ms is not None:
            self.due_stale = True
            if self._due_of is not None:
                self._due_of.pop(key, None)

    def note(self, key: int, row: Row, answer: bool, due_ms: int | None) -> bool:
        """Write an answer and the instant at which time may change it; whether the answer flipped."""
        before_ms = row.due_ms
        if not answer and due_ms is None and row.kept is None:
            if row.at < 0:
                return False
            self._void = True
        if row.at < 0:
            self.put(key, row)
        if before_ms != due_ms:
            self._note_due(key, row, before_ms, due_ms)
        if row.true is answer:
            return False
        row.true = answer
        if self.columns:
            self._flags[row.at] = 1 if answer else 0
        return True

    def set_due(self, key: int, due_ms: int | None) -> None:
        """Note when a row may change next, None for never."""
        row = self.row(key)
        if row.due_ms != due_ms:
            self.put(key, row)
            self._note_due(key, row, row.due_ms, due_ms)
            if due_ms is None:
                self._void = True

    def set_true(self, key: int, answer: bool) -> bool:
        """Note an answer alone; whether it flipped."""
        row = self.row(key)
        return self.note(key, row, answer, row.due_ms)

    def _note_due(self, key: int, row: Row, before_ms: int | None, due_ms: int | None) -> None:
        row.due_ms = due_ms
        if self.columns:
            self._dues[row.at] = _NEVER if due_ms is None else due_ms
        elif self._due_of is not None:
            if due_ms is None:
                self._due_of.pop(key, None)
            else:
                self._due_of[key] = due_ms
        if due_ms is not None and (self.due_ms is None or due_ms <= self.due_ms):
            self.due_ms = due_ms
        elif before_ms is not None and before_ms == self.due_ms:
            self.due_stale = True

    def find_due(self) -> None:
        """Bring `due_ms` up to the earliest, where the row that it came from has moved."""
        if not self.due_stale:
            return
        self.due_stale = False
        if self.columns:
            first_ms = min(self._dues, default=_NEVER)
            self.due_ms = None if first_ms == _NEVER else first_ms
            return
        if self._due_of is None:
            self._due_of = {key: row.due_ms for key, row in self._rows.items() if row.due_ms is not None}
        self.due_ms = min(self._due_of.values(), default=None)

    def due_keys(self, now_ms: int) -> list[int]:
        """The keys of the rows that are due by now, ascending."""
        if self.columns:
            return [key for key, due_ms in zip(self._keys, self._dues, strict=True) if due_ms <= now_ms]
        return sorted(key for key, row in self._rows.items() if row.due_ms is not None and row.due_ms <= now_ms)

    def forget_answers(self) -> None:
        """Make every row false and never due; what they keep stays."""
        for key in self.all_keys():
            row = self.row(key)
            row.true, row.due_ms = False, None
        if self.columns:
            self._flags = bytearray(len(self._keys))
            self._dues = array("q", [_NEVER]) * len(self._keys)
        self.due_ms, self.due_stale, self._void, self._due_of = None, False, True, None

    def kept(self) -> Iterator[tuple[int, Any]]:
        """`(key, kept)` of all rows that keep something."""
        for key in self.all_keys():
            kept = self.row(key).kept
            if kept is not None:
                yield key, kept

    # ---- as they are kept -------------------------------------------------------------------------------------------

    def pack(self) -> Packed:
        """The rows, or the columns as bytes, little-endian; rows that say nothing are left out."""
        if self._void:
            self._leave_out()
        if not self.columns:
            if not self._in_order:
                self._rows, self._in_order = dict(sorted(self._rows.items())), True
            return self._rows
        self._store()
        keys, dues, lengths = self._keys, self._dues, self._lengths
        if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
            keys, dues, lengths = keys[:], dues[:], lengths[:]
            for column in (keys, dues, lengths):
                column.byteswap()
        return keys.tobytes(), dues.tobytes(), bytes(self._flags), lengths.tobytes(), self._blob

    def unpack(self, packed: Packed) -> None:
        """Take what `pack` gave."""
        if isinstance(packed, dict):
            self._rows = packed
            return
        self.columns = True
        keys, dues, flags, lengths, blob = packed
        self._keys, self._dues, self._lengths = array("Q"), array("q"), array("I")
        for column, read in ((self._keys, keys), (self._dues, dues), (self._lengths, lengths)):
            column.frombytes(read)
            if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
                column.byteswap()
        self._flags = bytearray(flags)
        self._blob = blob
        if not len(self._keys) == len(self._dues) == len(self._flags) == len(self._lengths):
            raise ValueError("expected columns of one length")

    def _leave_out(self) -> None:
        """Drop the rows that say nothing any more."""
        self._void = False
        for key, row in list(self._rows.items()):
            if row.kept is None and not row.true and row.due_ms is None:
                self.drop(key)
        if self.columns and len(self._keys) <= ROWS_OPEN_MAX:
            self._open()

    def _store(self) -> None:
        """Bring what the unpacked rows keep into the blob."""
        rows, lengths = self._rows, self._lengths
        if not rows:
            return
        blob, pieces = self._blob, []
        copied = end = at = 0  # bytes that `pieces` stand for; those of the rows before `at`
        for row in rows.values() if len(rows) == 1 else sorted(rows.values(), key=_place):
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
        if copied < len(blob):
            pieces.append(blob[copied:])
        self._blob = b"".join(pieces)
        self._rows = {}


def _place(row: Row) -> int:
    return row.at
