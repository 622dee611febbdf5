"""Bodies of requests, read within bounds: of bytes, as they come and as they unpack, of time, and of all requests together."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from streams.gateway.intake import Held
from streams.gateway.tracking import Refused

# from the first byte of a body to its last: whoever takes longer means to keep us waiting, or will come again
BODY_S_MAX: Final = 10.0


class Late(Exception):
    """The body did not come in time."""


async def read_body(chunks: AsyncIterator[bytes], encoding: str, most: int, held: Held) -> bytes:
    """The body, unpacked, of at most `most` bytes; raises `Refused`, `Late`, `Crowded`.

    It is looked at as it comes: what is over the bounds is never all in memory. `held` learns what is.
    """
    unpacked = _Unpacked(encoding, most)
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in chunks:
                before = len(unpacked.body)
                unpacked.add(chunk)
                held.add(len(unpacked.body) - before)
    except TimeoutError:
        raise Late(f"expected the body within {BODY_S_MAX:g} s, got part of it") from None
    return unpacked.end()


class _Unpacked:
    """A body as far as it has come; nothing is unpacked beyond the bound."""

    def __init__(self, encoding: str, most: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise Refused("invalid_request", "expected no Content-Encoding but gzip, got another")
        # 16: with gzip's head and check sum
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        self._most = most
        self._came = 0
        self.body = bytearray()

    def add(self, chunk: bytes) -> None:
        """What comes next."""
        # as they come as well: gzip may have megabytes in it that unpack to nothing
        self._came += len(chunk)
        if self._came > self._most:
            raise self._too_large()
        if self._inflate is not None and chunk:
            if self._inflate.eof:
                raise Refused("invalid_request", "expected one gzip stream, got more behind its end")
            try:
                chunk = self._inflate.decompress(chunk, self._most + 1 - len(self.body))
            except zlib.error as error:
                raise Refused("invalid_request", f"expected a body in gzip, got {error}") from None
            if self._inflate.unused_data:
                raise Refused("invalid_request", "expected one gzip stream, got more behind its end")
        self.body += chunk
        if len(self.body) > self._most:
            raise self._too_large()

    def end(self) -> bytes:
        """All of it."""
        if self._inflate is not None and not self._inflate.eof:
            raise Refused("invalid_request", "expected a whole gzip stream, got a part of one")
        return bytes(self.body)

    def _too_large(self) -> Refused:
        return Refused("too_large", f"expected at most {self._most} bytes, got more")
