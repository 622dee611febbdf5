"""What has to be got from a vendor: the certificate that it signs with, and its agreement to a subscription.

Which hosts may be asked is pinned by the vendor's module; here are the bounds: bytes, time, how many at once, no redirects.
"""

import asyncio
from collections import OrderedDict
from typing import Final

import aiohttp

FETCH_S_MAX: Final = 5.0
FETCH_BYTES_MAX: Final = 64 * 1024
FETCHES_MAX: Final = 4
KEPT_MAX: Final = 32


class Unfetched(Exception):
    """It could not be got; the message says why. The vendor sends again."""


class Fetcher:
    """Gets what URLs have; what `kept` asked for is asked for once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._room = asyncio.Semaphore(FETCHES_MAX)
        self._session: aiohttp.ClientSession | None = None

    async def kept(self, url: str) -> bytes:
        """What is at `url`, which is taken never to change; raises `Unfetched`."""
        if url not in self._kept:
            self._kept[url] = await self.get(url)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(url)
        return self._kept[url]

    async def get(self, url: str) -> bytes:
        """What is at `url` now; raises `Unfetched`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S_MAX))
        try:
            async with self._room, self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise Unfetched(f"expected 200 of the vendor, got {response.status}")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > FETCH_BYTES_MAX:
                        raise Unfetched(f"expected at most {FETCH_BYTES_MAX} bytes of the vendor, got more")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unfetched(f"expected an answer of the vendor, got {type(error).__name__}") from None

    async def close(self) -> None:
        """Lets go of connections."""
        if self._session is not None:
            await self._session.close()
