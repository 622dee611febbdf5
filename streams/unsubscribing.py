"""The links of e-mails that unsubscribe: `GET /u/{token}` shows a button, `POST /u/{token}` unsubscribes (RFC 8058).

GET changes nothing, as mail scanners follow every link. POST answers 200 when Kafka has the event, and not before.
"""

import asyncio
import hashlib
import html
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError

from actions.unsubscribe import Unsubscribe, UnsubscribeLinks
from schemas.instants import format_instant

logger = logging.getLogger(__name__)

WRITE_S_MAX = 10.0
# a click that a mailbox provider repeats is one event; one of tomorrow, after the contact subscribed anew, is another
SAME_MS: Final = 60_000
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_ASK: Final = """<p>You get messages of the group <b>{group}</b>.</p>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<button type="submit">Unsubscribe</button></form>"""
_DONE: Final = "<p>You are unsubscribed from <b>{group}</b>.</p>"
_UNKNOWN: Final = "<p>This link is not complete. Please use the one in the message, as a whole.</p>"
_LATER: Final = "<p>That did not work just now. Please try again in a minute.</p>"

# key and value of an event of a contact, into the topic of e-mail events; returns when Kafka has it
WriteEvent = Callable[[bytes, bytes], Awaitable[None]]


class UnsubscribePages:
    """The two handlers. `write` writes an event, `now_ms` is the wall clock."""

    def __init__(self, links: UnsubscribeLinks, write: WriteEvent, now_ms: Callable[[], int]) -> None:
        self._links, self._write, self._now_ms = links, write, now_ms

    def routes(self) -> list[web.RouteDef]:
        """To be mounted below the public URL."""
        # HEAD is GET without its body, and changes as little
        return [web.get("/u/{token}", self.ask), web.post("/u/{token}", self.take)]

    async def ask(self, request: web.Request) -> web.Response:
        """The page with the button."""
        found = self._links.read(request.match_info["token"])
        return _page(404, _UNKNOWN) if found is None else _page(200, _ASK, found.group)

    async def take(self, request: web.Request) -> web.Response:
        """Unsubscribes; the body says nothing that the link doesn't."""
        token = request.match_info["token"]
        found = self._links.read(token)
        if found is None:
            return _page(404, _UNKNOWN)
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                await self._write(found.contact.encode(), unsubscribed(token, found, self._now_ms()))
        except (TimeoutError, KafkaError) as error:
            logger.error("unsubscribe: expected Kafka to take an event, got %r: answered 503", error)
            return _page(503, _LATER)
        return _page(200, _DONE, found.group)


def unsubscribed(token: str, found: Unsubscribe, now_ms: int) -> bytes:
    """The event, whose `messageId` is the token's and the minute's: a link that is used twice at once is one event."""
    named = f"{token} {now_ms // SAME_MS}".encode()
    return orjson.dumps(
        {
            "type": "track",
            "event": "Unsubscribed",
            "userId": found.contact,
            "messageId": f"unsubscribe-{hashlib.sha256(named).hexdigest()[:32]}",
            "timestamp": format_instant(now_ms),
            "properties": {"group": found.group, "email_id": found.delivery},
        }
    )


def _page(status: int, text: str, group: str = "") -> web.Response:
    body = f"<!doctype html><html lang=en><meta charset=utf-8><title>Unsubscribe</title>{text}</html>\n"
    return web.Response(
        status=status, text=body.replace("{group}", html.escape(group)), content_type="text/html", headers=_HEADERS
    )
