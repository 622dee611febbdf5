"""Files of events: JSON, one a line, plain or gzipped, or standard input."""

import asyncio
import contextlib
import gzip
import os
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from streams.errors import InputError

BLOCK_BYTES = 1024 * 1024
# far above the largest event; what lies beyond in a line is left out, so that a file without line ends can't fill memory
LINE_BYTES_MAX = 16 * 1024 * 1024

Line = tuple[int, bytes]
T = TypeVar("T")


class Blocks:
    """A file or standard input, gunzipped, a block at a time; read once.

    `name` is what messages call the file; `bytes_total` its size on disk, None where that can't be known.
    """

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        read: Callable[[int], bytes],
        bytes_total: int | None,
        seek: Callable[[int], int] | None = None,
    ) -> None:
        self.name = name
        self.bytes_total = bytes_total
        self._file = file
        self._read = read
        self._seek = seek

    @property
    def bytes_read(self) -> int:
        """How much of the file, as it is on disk, has been read; 0 where its size can't be known."""
        return self._file.tell() if self.bytes_total is not None else 0

    def block(self, line: int) -> bytes:
        """What comes next, empty at the end; raises `InputError`, which says that `line` was the last before."""
        return self._within(line, lambda: self._read(BLOCK_BYTES))

    def go_to(self, offset: int) -> None:
        """Has the next block begin there (bytes, gunzipped); raises `InputError`."""
        seek = self._seek
        if seek is None:
            raise InputError(f"{self.name}: expected a file, got what can't be read from its middle")
        self._within(0, lambda: seek(offset))

    async def ready(self) -> None:
        """Waits until a pipe has something."""
        if self.bytes_total is None:
            await _readable(self._file.fileno())

    def _within(self, line: int, read: Callable[[], T]) -> T:
        try:
            return read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{self.name}: expected gzip, got {error} after line {line}") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self.name}: can't be read past line {line}: {reason}") from None


class EventLines:
    """The lines of a file that aren't blank, each with its number (from 1) and without its end; read once."""

    def __init__(self, file: Blocks) -> None:
        self.name = file.name
        self.bytes_total = file.bytes_total
        self._file = file
        self._number = 0
        self._tail = b""

    @property
    def bytes_read(self) -> int:
        """How much of the file, as it is on disk, has been read; 0 where its size can't be known."""
        return self._file.bytes_read

    def __iter__(self) -> Iterator[Line]:
        """Line by line; raises `InputError` where the file can't be read on."""
        while block := self._file.block(self._number):
            yield from self._split(block)
        yield from self._split(b"\n")

    async def blocks(self) -> AsyncIterator[list[Line]]:
        """The same in lists of what is there to be read; the loop goes on while a pipe has nothing."""
        while True:
            await self._file.ready()
            block = self._file.block(self._number)
            yield self._split(block or b"\n")
            if not block:
                return

    def _split(self, block: bytes) -> list[Line]:
        pieces = (self._tail + block).split(b"\n")
        self._tail = pieces.pop()[:LINE_BYTES_MAX]
        first = self._number + 1
        self._number += len(pieces)
        return [(number, line) for number, piece in enumerate(pieces, first) if (line := piece.strip())]


@contextlib.contextmanager
def open_lines(path: str) -> Iterator[EventLines]:
    """The lines of the file at `path` (`-` is standard input, `.gz` is read as such); raises `InputError`."""
    with open_blocks(path, "a file of events") as file:
        yield EventLines(file)


@contextlib.contextmanager
def open_blocks(path: str, expected: str) -> Iterator[Blocks]:
    """The file at `path` (`-` is standard input, `.gz` is read as such); raises `InputError` where there is none."""
    if path == "-":
        stdin = cast(BinaryIO, sys.stdin.buffer)
        # not through Python's buffer: what waits there, a poll of the descriptor can't see
        yield Blocks(path, stdin, lambda size: os.read(stdin.fileno(), size), None)
        return
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(Path(path).open("rb"))
            bytes_total = os.fstat(file.fileno()).st_size if file.seekable() else None
            read = file.read if bytes_total is not None else file.read1
            seek: Callable[[int], int] | None = file.seek if bytes_total is not None else None
            if path.endswith(".gz"):
                unpacked = opened.enter_context(gzip.open(file))
                read, seek = unpacked.read, unpacked.seek if seek is not None else None
        except OSError as error:
            raise InputError(f"{path}: expected {expected}: {error.strerror}") from None
        yield Blocks(path, file, read, bytes_total, seek)


async def _readable(descriptor: int) -> None:
    """Waits until a pipe or terminal has something; returns at once for what can't be waited for, such as a file."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    try:
        loop.add_reader(descriptor, wake)
    except OSError:
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
