"""`/v1/segments/{id}/members.csv` and `.ndjson` of `tidegate api`: all members of a segment, as they are read.

Invariants:
  * Of an export no more than a page is in memory, and as much as is on its way to whoever asked.
  * An export that could not be finished has no end: the connection is closed before it, which every client tells.
"""

import asyncio
import csv
import io
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from streams.api_definitions import DefinitionsInForce
from streams.api_lookups import told
from streams.api_metrics import ApiMetrics
from streams.api_paths import Paths
from streams.api_problems import responses, unavailable
from streams.api_segments import SEGMENT, named_segment
from streams.api_tokens import EXPORT
from streams.lookups import Lookups, Member, Members, NotWhole

logger = logging.getLogger(__name__)

# small, as others' lookups wait while one is taken apart
PAGE: Final = 200
AT_ONCE: Final = 8
# who takes nothing for so long has gone, or means no good
TAKE_S_MAX: Final = 60.0
COLUMNS: Final = ("contact", "key", "since", "seq", "version")

Write = Callable[[Sequence[Member]], bytes]


class Exports:
    """The handlers; `AT_ONCE` exports are made at a time."""

    def __init__(self, lookups: Lookups, definitions: DefinitionsInForce, metrics: ApiMetrics) -> None:
        self._lookups, self._definitions, self._metrics = lookups, definitions, metrics
        self._under_way = 0

    def add_to(self, paths: Paths) -> None:
        """Has them answer."""
        segment = [SEGMENT]
        answers = responses(400, 404, 503)
        paths.add("/segments/{id}/members.csv", self.as_csv, EXPORT, _described("text/csv") | answers, segment)
        paths.add("/segments/{id}/members.ndjson", self.as_lines, EXPORT, _described(LINES) | answers, segment)

    async def as_csv(self, request: Request) -> Response:
        """All members of a segment as CSV (RFC 4180, UTF-8), with a line of names: contact, key, since, seq, version."""
        return await self._export(request, "csv", "text/csv", _rows([COLUMNS]), _members_as_rows)

    async def as_lines(self, request: Request) -> Response:
        """All members of a segment, as JSON a line."""
        return await self._export(request, "ndjson", LINES, b"", msgspec.json.Encoder().encode_lines)

    async def _export(self, request: Request, suffix: str, kind: str, head: bytes, write: Write) -> Response:
        id = named_segment(request, self._definitions).id
        first = await told(self._lookups.members(id, None, PAGE))
        if self._under_way >= AT_ONCE:
            raise unavailable(f"expected fewer exports to be under way, got {self._under_way} already: ask again later")
        name = f'attachment; filename="{id}.{suffix}"'
        headers = {"Cache-Control": "no-store", "Content-Disposition": name}
        self._count(1)
        logger.info("an export of the members of %s, with the token of %s", id, request.state.token.variable)
        return _Export(self._pages(id, first, head, write), headers, kind, lambda: self._count(-1))

    async def _pages(self, id: str, page: Members, head: bytes, write: Write) -> AsyncIterator[bytes]:
        yield head + write(page.members)
        while page.next is not None:
            page = await self._lookups.members(id, page.next, PAGE)
            yield write(page.members)

    def _count(self, change: int) -> None:
        self._under_way += change
        self._metrics.exports.set(self._under_way)


class _Export(StreamingResponse):
    """Says `ended` at its end, however that comes."""

    def __init__(
        self, pages: AsyncIterator[bytes], headers: dict[str, str], kind: str, ended: Callable[[], None]
    ) -> None:
        super().__init__(pages, headers=headers, media_type=kind)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As it was."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()

    async def stream_response(self, send: Send) -> None:
        """As it was, but gives up in the middle, with no end, where what is left can't be told or is not taken."""

        async def in_time(message: Any) -> None:
            async with asyncio.timeout(TAKE_S_MAX):
                await send(message)

        try:
            await super().stream_response(in_time)
        except TimeoutError:
            logger.warning("an export was given up: nothing was taken for %g s", TAKE_S_MAX)
        except (RedisError, OSError, NotWhole) as error:
            logger.warning("an export was given up: Redis has no answer any more (%s)", type(error).__name__)


LINES: Final = "application/x-ndjson"


def _members_as_rows(members: Sequence[Member]) -> bytes:
    return _rows([(each.contact, each.key, each.since, each.seq, each.version) for each in members])


def _rows(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _described(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "All of them", "content": {kind: {"schema": {"type": "string"}}}}}
