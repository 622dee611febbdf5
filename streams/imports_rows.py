"""Rows of a file of CSV or JSON lines, with the position behind them, so that a later run can go on from there."""

import codecs
import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streams.errors import InputError
from streams.event_lines import Blocks
from streams.imports_events import Malformed

# a row with what its cells hold; an event may have 256 KiB, but columns that are left out may be large
ROW_BYTES_MAX = 4 * 1024 * 1024
# how the csv module says it
_ENDED_OPEN = "unexpected end of data"
_CR_ALONE = "new-line character seen in unquoted field"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# with the number of the line where it begins
Row = tuple[int, "list[str] | bytes | Malformed"]


@dataclass(frozen=True)
class Position:
    """Between two rows: bytes of the file (gunzipped) before it, and lines."""

    offset: int = 0
    lines: int = 0


class Rows:
    """What CSV and JSON lines have in common: blocks that end with a row. `position` is behind the last one given.

    `columns`: None of JSON.
    """

    columns: Sequence[str] | None = None

    def __init__(self, file: Blocks) -> None:
        self.position = Position()
        self._file = file
        self._pending = b""
        self._begun = False

    def go_to(self, position: Position) -> None:
        """Has the next block begin there; raises `InputError`."""
        self._file.go_to(position.offset)
        self._begun = True
        self._pending, self.position = b"", position

    def __iter__(self) -> Iterator[Sequence[Row]]:
        """Block by block; raises `InputError` where the file can't be read on."""
        while (rows := self._next()) is not None:
            yield rows

    async def blocks(self) -> AsyncIterator[Sequence[Row]]:
        """The same; the loop goes on while a pipe has nothing."""
        await self._file.ready()
        while (rows := self._next()) is not None:
            yield rows
            await self._file.ready()

    @property
    def header(self) -> bytes:
        """What a file of some of these rows begins with, to be read as this one is."""
        return b""

    def written(self, row: Any) -> bytes:
        """A row as it stands in such a file."""
        assert isinstance(row, bytes), "JSON is not decoded here"
        return row

    def _next(self) -> Sequence[Row] | None:
        block = self._file.block(self.position.lines)
        if not block:
            return self._rows(self._taken(len(self._pending)), last=True) if self._pending else None
        if not self._begun:
            self._begun = True
            block = self._first(block)
        self._pending += block
        if b"\n" not in block:
            return [*self._over_long()]
        return [*self._rows(self._taken(self._pending.rindex(b"\n") + 1), last=False), *self._over_long()]

    def _first(self, block: bytes) -> bytes:
        """The beginning of the file without what marks it as text."""
        if block.startswith(_UTF_16):
            raise InputError(
                f"{self._file.name}: expected UTF-8 or `encoding`, got UTF-16: `iconv -f utf-16 -t utf-8` first"
            )
        if block.startswith(codecs.BOM_UTF8):
            self.position = Position(len(codecs.BOM_UTF8), 0)
            return block[len(codecs.BOM_UTF8) :]
        return block

    def _taken(self, length: int) -> bytes:
        data, self._pending = self._pending[:length], self._pending[length:]
        return data

    def _over_long(self) -> Iterator[Row]:
        """What is pending has no end in sight: nothing, or its first line as a bad row."""
        if len(self._pending) <= ROW_BYTES_MAX:
            return
        end = self._pending.find(b"\n") + 1
        if not end:
            raise InputError(
                f"{self._file.name}:{self.position.lines + 1}: expected lines of at most {ROW_BYTES_MAX} bytes, got a longer one"
            )
        yield self._dropped(self._taken(end))

    def _dropped(self, line: bytes) -> Row:
        """A line that opens a quote which isn't closed, to go on behind it."""
        number = self.position.lines + 1
        self._pass(line)
        sentence = (
            f"expected a quote that opens here to be closed within {ROW_BYTES_MAX} bytes of the file, got no other"
        )
        return number, Malformed(line, sentence)

    def _pass(self, data: bytes) -> None:
        self.position = Position(self.position.offset + len(data), self.position.lines + data.count(b"\n"))

    def _rows(self, data: bytes, *, last: bool) -> list[Row]:
        raise NotImplementedError


class JsonRows(Rows):
    """A file of JSON, an object a line."""

    def _rows(self, data: bytes, *, last: bool) -> list[Row]:
        first = self.position.lines + 1
        self._pass(data)
        return [(number, line) for number, piece in enumerate(data.split(b"\n"), first) if (line := piece.strip())]


class CsvRows(Rows):
    """A file of CSV (RFC 4180: quotes are doubled, and lines may break within them)."""

    def __init__(self, file: Blocks, encoding: str, delimiter: str, header: Sequence[str] | None) -> None:
        """`header`: None where the file's first row is it. Raises `InputError` where there is none."""
        super().__init__(file)
        self._encoding = encoding
        self._delimiter = delimiter
        self._waiting: list[Row] = []
        # the csv module's bound, for the whole process, is less than cells have in practice; ours comes before it
        csv.field_size_limit(2 * ROW_BYTES_MAX)
        self._headed = header is None
        self.columns = self._header() if header is None else list(header)

    @property
    def header(self) -> bytes:
        """The columns, where the file names them."""
        return self.written(self.columns) if self._headed else b""

    def written(self, row: Any) -> bytes:
        """A row in quotes where it needs them."""
        written = io.StringIO()
        # with this end of line it puts cells with either of the two in quotes
        csv.writer(written, delimiter=self._delimiter, lineterminator="\r\n").writerow(row)
        return written.getvalue().removesuffix("\r\n").encode(self._encoding, "surrogateescape") + b"\n"

    def go_to(self, position: Position) -> None:
        """Has the next block begin there; raises `InputError`."""
        self._waiting.clear()
        super().go_to(position)

    def _header(self) -> list[str]:
        while not self._waiting and (rows := self._next()) is not None:
            self._waiting = list(rows)
        if not self._waiting:
            raise InputError(f"{self._file.name}: expected a first line with the columns' names, got nothing")
        number, cells = self._waiting.pop(0)
        if not isinstance(cells, list):
            sentence = cells.sentence if isinstance(cells, Malformed) else ""
            raise InputError(f"{self._file.name}:{number}: expected the columns' names: {sentence}")
        return cells

    def _next(self) -> Sequence[Row] | None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            return waiting
        return super()._next()

    def _rows(self, data: bytes, *, last: bool) -> list[Row]:
        """The rows of whole lines; those of one that isn't closed yet go back to what is pending."""
        rows: list[Row] = []
        while data:
            found, used = self._parse(data, rows)
            self._pass(data[:used])
            if found:
                break
            if not last:
                self._pending = data[used:] + self._pending
                break
            line = data[used : data.find(b"\n", used) + 1 or len(data)]
            rows.append(self._dropped(line))
            data = data[used + len(line) :]
        return rows

    def _parse(self, data: bytes, rows: list[Row]) -> tuple[bool, int]:
        """Adds the rows of `data`; whether all of it was used, and how many bytes up to a quote left open."""
        before = self.position.lines + 1
        text, odd = self._decoded(data)
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=self._delimiter, strict=True)
        lines: list[bytes] | None = None
        start, first = 0, len(rows)
        while True:
            try:
                for cells in reader:
                    if cells:
                        rows.append((before + start, cells))
                    start = reader.line_num
                break
            except csv.Error as error:
                lines = lines or io.BytesIO(data).readlines()
                if str(error) == _ENDED_OPEN:
                    if odd:
                        self._check(rows, first)
                    return False, sum(map(len, lines[:start]))
                raw = b"".join(lines[start : reader.line_num])
                problem = "a line that ends with CR alone" if str(error).startswith(_CR_ALONE) else str(error)
                rows.append((before + start, Malformed(raw, f"expected CSV, got {problem}")))
                start = reader.line_num
        if odd:
            self._check(rows, first)
        return True, len(data)

    def _decoded(self, data: bytes) -> tuple[str, bool]:
        """The text, and whether there are bytes in it that are none: these are kept as such."""
        try:
            return data.decode(self._encoding), False
        except UnicodeDecodeError:
            return data.decode(self._encoding, "surrogateescape"), True

    def _check(self, rows: list[Row], first: int) -> None:
        """Makes bad rows of those with bytes that are no text."""
        for at in range(first, len(rows)):
            number, cells = rows[at]
            if isinstance(cells, list):
                try:
                    "".join(cells).encode()
                except UnicodeEncodeError:
                    sentence = f"expected text in {self._encoding}, got bytes that are none; is `encoding` another?"
                    rows[at] = (number, Malformed(self.written(cells), sentence))
