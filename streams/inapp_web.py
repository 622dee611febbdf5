"""`GET /v1/inapp/{contact}?after=CURSOR&limit=N`: the in-app messages of a contact, for the product's own server.

Whoever asks shows the token of `TIDEGATE_SECRET_INAPP`; it opens the messages of every contact, so it is no browser's.
"""

import hmac
import logging

import orjson
import redis.asyncio as redis
from aiohttp import web

from actions.inapp import READ_MAX, Inbox, is_cursor

logger = logging.getLogger(__name__)


class InAppPages:
    """The handler."""

    def __init__(self, inbox: Inbox, token: str) -> None:
        self._inbox, self._authorization = inbox, f"Bearer {token}".encode()

    def routes(self) -> list[web.RouteDef]:
        """To be mounted."""
        # a contact's id may have slashes in it
        return [web.get("/v1/inapp/{contact:.+}", self.read)]

    async def read(self, request: web.Request) -> web.Response:
        """`{"messages": […], "next": cursor}`, oldest first; `next` is what `after` is to be the next time."""
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            return _answer(401, {"error": "expected `Authorization: Bearer` and the token"})
        after = request.query.get("after", "")
        if after and not is_cursor(after):
            return _answer(400, {"error": "expected a cursor of a message in `after`"})
        limit = request.query.get("limit", str(READ_MAX))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 0 < int(limit) <= READ_MAX):
            return _answer(400, {"error": f"expected a number from 1 to {READ_MAX} in `limit`"})
        try:
            messages = await self._inbox.read(request.match_info["contact"], after, int(limit))
        except (redis.RedisError, OSError) as error:
            logger.error("in-app messages: expected Redis to answer, got %s: answered 503", type(error).__name__)
            return _answer(503, {"error": "expected Redis to answer, try again"})
        return _answer(200, {"messages": messages, "next": messages[-1]["cursor"] if messages else after or None})


def _answer(status: int, body: object) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)
