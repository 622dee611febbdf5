"""How far an import is: a small file beside the one that is imported, written when Kafka has all up to there.

It says what it is about as well, so that no other file, mapping or Kafka is gone on with by it.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from streams.errors import InputError
from streams.imports_mapping import Mapping
from streams.settings import Settings

HEAD_BYTES = 64 * 1024
_FORMAT = 1


class About(msgspec.Struct, frozen=True):
    """What is imported, how and where to: file (size and SHA-256 of its head), mapping, Kafka; `live`: not marked as past."""

    file_bytes: int
    head: str
    mapping: str
    broker: str
    prefix: str
    live: bool = False


class Place(msgspec.Struct, frozen=True):
    """Between two rows: bytes (gunzipped) and lines before it, and what became of the rows before it.

    `bad_bytes`: how long the file of bad rows was. `done`: nothing comes behind it.
    """

    about: About
    offset: int = 0
    lines: int = 0
    events: int = 0
    bad: int = 0
    skipped: int = 0
    bad_bytes: int = 0
    done: bool = False
    format: int = _FORMAT


def about(path: str | None, mapping: Mapping, settings: Settings, *, live: bool) -> About:
    """What an import of the file at `path` (None: of a pipe) is about; raises `InputError` where it can't be read."""
    if path is None:
        return About(0, "", mapping.digest, settings.broker, settings.prefix, live)
    try:
        with Path(path).open("rb") as file:
            head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
            size = os.fstat(file.fileno()).st_size
            return About(size, head, mapping.digest, settings.broker, settings.prefix, live)
    except OSError as error:
        raise InputError(f"{path}: expected a file to import: {error.strerror}") from None


class PlaceFile:
    """Where the place of an import is kept."""

    def __init__(self, path: str, mapping: Mapping) -> None:
        """`path` of the file that is imported."""
        self.path = Path(f"{path}.{mapping.id}.import")
        self._repeatable = mapping.repeatable

    def read(self) -> Place | None:
        """What stands there, None where nothing does; raises `InputError`."""
        try:
            place = msgspec.json.decode(self.path.read_bytes(), type=Place)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(f"{self.path}: expected how far an import is, got {error}; {self._anew}") from None
        if place.format != _FORMAT:
            raise InputError(f"{self.path}: expected format {_FORMAT}, got {place.format}; {self._anew}")
        return place

    def write(self, place: Place) -> None:
        """All of it or nothing, also where the power fails; raises `OSError`."""
        beside = self.path.with_name(self.path.name + ".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(place) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def end(self, place: Place) -> None:
        """Notes that all was imported; what may be imported again at any time leaves no note. Raises `OSError`."""
        if self._repeatable:
            self.path.unlink(missing_ok=True)
        else:
            self.write(place)

    def start(self, about: About, *, resume: bool) -> Place:
        """From where on an import goes; raises `InputError` where it is another one, or was begun and that isn't meant."""
        there = self.read()
        if there is None:
            return Place(about)
        same_file = (there.about.file_bytes, there.about.head) == (about.file_bytes, about.head)
        same_kafka = (there.about.broker, there.about.prefix) == (about.broker, about.prefix)
        if not resume:
            if not (same_file and same_kafka):
                return Place(about)
            reached = f"was imported up to line {there.lines}" if there.offset else "was begun to be imported"
            how_far = "was imported whole" if there.done else f"{reached}; --resume goes on there"
            twice = "" if self._repeatable else "What is published again counts twice once the dedup horizon is over; "
            raise InputError(f"{self.path}: by this, the file {how_far}. {twice}{self._anew}")
        if there.about != about:
            what = "mapping" if there.about.mapping != about.mapping else "--live"
            what = (
                "the file" if not same_file else "Kafka (TIDEGATE_BROKER, TIDEGATE_PREFIX)" if not same_kafka else what
            )
            raise InputError(
                f"{self.path}: expected what was imported up to here, but {what} is another one now; {self._anew}"
            )
        return there

    @property
    def _anew(self) -> str:
        return "without that file, the import begins anew"


class BadFile:
    """A file of the rows that no event came of, as they were, to be mended and imported alone."""

    def __init__(self, path: str, imported: str, header: bytes, place: Place) -> None:
        """Goes on with it behind what it had at `place`; raises `InputError`, also where it is what is `imported`."""
        with contextlib.suppress(OSError):
            if os.path.samefile(path, imported):
                raise InputError(f"{path}: expected a file of its own for bad rows, got the one that is imported")
        try:
            self._file = Path(path).open("r+b" if place.bad_bytes and Path(path).exists() else "wb")  # noqa: SIM115
            self._file.seek(min(place.bad_bytes, os.fstat(self._file.fileno()).st_size))
            self._file.truncate()
        except OSError as error:
            raise InputError(f"{path}: expected a file for bad rows: {error.strerror}") from None
        if not self._file.tell():
            self._file.write(header)

    def write(self, row: bytes) -> None:
        """Adds a row, with the end of its line."""
        self._file.write(row if row.endswith(b"\n") else row + b"\n")

    def size(self) -> int:
        """Bytes so far, all of which outlive this process."""
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """After this nothing can be added."""
        self._file.close()
