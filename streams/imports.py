"""Imports: files of the past, by a mapping, into the source topics; marked, resumable, with nothing lost.

Read `imports_mapping.py` (what a mapping says), then `imports_events.py` (rows to events), `imports_rows.py` (files to
rows) and `imports_place.py` (how far it is). What is published goes through `publish.py`, as all files of events do.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams.errors import InputError
from streams.event_lines import Blocks, open_blocks
from streams.imports_events import Events, Malformed
from streams.imports_mapping import Mapping
from streams.imports_place import BadFile, Place, PlaceFile, about
from streams.imports_rows import CsvRows, JsonRows, Position, Row, Rows
from streams.publish import Routed, Unroutable
from streams.settings import Settings

# a repeated row is harmless, writing to disk for each block is not
NOTED_EVERY_S = 1.0
_ENDINGS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Import:
    """A file on its way: what `streams.publish.publish` asks of one, and what became of its rows.

    `place` counts from the beginning of the file, with what an import before has done.
    """

    def __init__(
        self, file: Blocks, rows: Rows, events: Events, start: Place, places: PlaceFile | None, bad: BadFile | None
    ) -> None:
        self.name = file.name
        self.bytes_total = file.bytes_total
        self.start = start
        # why how far it is can't be written down, None where it can
        self.not_noted: str | None = None
        self._file = file
        self._rows = rows
        self._events = events
        self._reached = start
        self._places = places
        self._bad = bad
        self._noted_s = time.monotonic()
        self._done_events = self._done_bad = 0
        self._begun_anew = False

    @property
    def bytes_read(self) -> int:
        """How much of the file, as it is on disk, has been read; 0 where its size can't be known."""
        return self._file.bytes_read

    @property
    def goes_on_behind(self) -> int:
        """The last line that Kafka has with all before it; 0 where there is none, or nowhere to note it."""
        return self._reached.lines if self._places is not None and self.not_noted is None else 0

    def __iter__(self) -> Iterator[Sequence[Row]]:
        """Rows, block by block; raises `InputError`."""
        return iter(self._rows)

    def blocks(self) -> AsyncIterator[Sequence[Row]]:
        """The same; the loop goes on while a pipe has nothing."""
        return self._rows.blocks()

    def route(self, number: int, row: Any) -> Routed | None:
        """The event of a row, None where a test leaves it out; raises `Unroutable` and keeps the row."""
        try:
            routed = self._events(number, row)
        except Unroutable:
            self._done_bad += 1
            if self._bad is not None:
                self._bad.write(self._written(row))
            raise
        if routed is not None:
            self._done_events += 1
        return routed

    def place(self) -> Place:
        """Behind the last block."""
        start, at = self.start, self._rows.position
        return Place(
            start.about,
            at.offset,
            at.lines,
            start.events + self._done_events,
            start.bad + self._done_bad,
            start.skipped + self._events.skipped,
            self._bad.size() if self._bad is not None else 0,
        )

    def acknowledged(self, place: Place) -> None:
        """Kafka has all up to there: noted once a second."""
        self._reached = place
        now_s = time.monotonic()
        if now_s - self._noted_s >= NOTED_EVERY_S:
            self._noted_s = now_s
            self._note(place)

    def begin(self, *, anew: bool) -> None:
        """Notes that it has begun: of what is killed before Kafka has acknowledged a block, some may be there."""
        self._begun_anew = anew
        self._note(self.start)

    def close(self, *, done: bool) -> None:
        """Notes how far it came; `done`: to its end, and Kafka has it all."""
        if done:
            self._note(msgspec.structs.replace(self.place(), done=True))
        elif self._reached.offset:
            self._note(self._reached)
        elif self._begun_anew and not self._done_events:
            self._note(msgspec.structs.replace(self.start, done=True))  # there is nothing of it in Kafka
        if self._bad is not None:
            self._bad.close()

    def _note(self, place: Place) -> None:
        if self._places is None:
            return
        try:
            (self._places.end if place.done else self._places.write)(place)
        except OSError as error:
            self.not_noted = f"{self._places.path}: can't be written ({error.strerror}), so --resume can't go on by it"

    def _written(self, row: Any) -> bytes:
        return row.raw if isinstance(row, Malformed) else self._rows.written(row)


@contextlib.contextmanager
def open_import(
    path: str,
    mapping: Mapping,
    settings: Settings,
    *,
    live: bool = False,
    resume: bool = False,
    bad: str | None = None,
    keeps_place: bool = True,
) -> Iterator[Import]:
    """The file at `path` (`-` is standard input), mapped, from its beginning or from where it was broken off.

    How far it came is kept beside it (with `keeps_place`), but for what can't be read from its middle. Raises `InputError`.
    """
    with open_blocks(path, "a file of CSV or JSON lines") as file:
        is_file = file.bytes_total is not None
        if resume and not is_file:
            raise InputError(f"{path}: expected a file with --resume, got what can't be read from its middle")
        places = PlaceFile(path, mapping) if keeps_place and is_file else None
        subject = about(path if is_file else None, mapping, settings, live=live)
        start = Place(subject) if places is None else places.start(subject, resume=resume)
        rows = _rows(file, mapping)
        events = Events(
            mapping,
            rows.columns,
            Path(path).name.removesuffix(".gz"),
            live=live,
            arrives_then=settings.clock == "arrival",
        )
        if start.offset:
            rows.go_to(Position(start.offset, start.lines))
        # of an import that is through, they may be mended by now
        bad_file = None if bad is None or start.done else BadFile(bad, path, rows.header, start)
        imported = Import(file, rows, events, start, places, bad_file)
        if mapping.repeatable:
            imported.begin(anew=not resume)
        try:
            yield imported
        except BaseException:
            imported.close(done=False)
            raise
        imported.close(done=True)


def _rows(file: Blocks, mapping: Mapping) -> Rows:
    ending = Path(file.name.removesuffix(".gz")).suffix.lower()
    format = mapping.format or _ENDINGS.get(ending)
    if format is None:
        raise InputError(f"{file.name}: expected a name that ends in {' '.join(_ENDINGS)}, or `format` in the mapping")
    if format == "jsonl":
        return JsonRows(file)
    return CsvRows(file, mapping.encoding, mapping.delimiter or ("\t" if ending == ".tsv" else ","), mapping.header)
