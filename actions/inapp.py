"""The in-app channel: a Redis stream for each contact, which the product reads through `GET /v1/inapp/{contact}`.

The same delivery is added once, however often it is attempted: its id is kept as long as the message. A contact's stream
holds the last `MESSAGES_MAX` messages, and is gone `KEPT_MS` after the last one.
"""

import re
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from actions.channels import SENT, Resources, Result, Sender, shorten
from actions.message import encodable, payload, text_of, values_of
from actions.rules import Rule
from actions.templates import TemplateError, render
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Delivery

MESSAGES_MAX: Final = 500
# ids are kept of more messages than the stream has, as one may be tried again for days
IDS_MAX: Final = 5_000
KEPT_MS: Final = 30 * 86_400_000
TEXT_CHARACTERS_MAX: Final = 10_000
TITLE_CHARACTERS_MAX: Final = 1_000
READ_MAX: Final = 100
_CURSOR: Final = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?", re.ASCII)

# in one step, so that a repeat adds nothing, whoever else is writing
_ADD: Final = """
local stream, ids = KEYS[1], KEYS[2]
local id, message, length, kept_ms, ids_max = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local added = redis.call('ZADD', ids, 'NX', time[1] * 1000 + math.floor(time[2] / 1000), id)
if added == 1 then
    redis.call('XADD', stream, 'MAXLEN', length, '*', 'message', message)
    redis.call('ZREMRANGEBYRANK', ids, 0, -ids_max - 1)
end
redis.call('PEXPIRE', stream, kept_ms)
redis.call('PEXPIRE', ids, kept_ms)
return added
"""

# what was added before goes, and the keys with the last of it
_FORGET: Final = """
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1])
"""


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return InAppSender(Inbox(resources.redis, resources.prefix), resources.links)


class Inbox:
    """The streams of all contacts, below `prefix`."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._add, self._forget = client.register_script(_ADD), client.register_script(_FORGET)

    async def add(self, contact: str, id: str, message: dict[str, Any]) -> bool:
        """Adds a message; False where it is there already. Raises what Redis raises."""
        stream = self._stream(contact)
        arguments: list[bytes | str | int] = [id, msgspec.json.encode(message), MESSAGES_MAX, KEPT_MS, IDS_MAX]
        return bool(await self._add([stream, self._ids(contact)], arguments))

    async def read(self, contact: str, after: str | None = None, count: int = READ_MAX) -> list[dict[str, Any]]:
        """The messages of `contact` later than the cursor `after`, oldest first, each with its `cursor`."""
        start = f"({after}" if after else "-"
        found: Any = await self._client.xrange(self._stream(contact), start, "+", count=count)
        return [{"cursor": cursor.decode(), **msgspec.json.decode(fields[b"message"])} for cursor, fields in found]

    async def forget(self, contact: str, before_ms: int) -> None:
        """Removes the messages of a contact that was erased at `before_ms`: those that were added before. Raises as `add`."""
        await self._forget([self._stream(contact), self._ids(contact)], [before_ms])

    def _stream(self, contact: str) -> str:
        return f"{self._prefix}inapp:{contact}"

    def _ids(self, contact: str) -> str:
        # a contact can't be named so that one key is another's: this one begins otherwise
        return f"{self._prefix}inapp-ids:{contact}"


def is_cursor(text: str) -> bool:
    """Whether `text` is a place in a stream."""
    return _CURSOR.fullmatch(text) is not None


class InAppSender:
    """Adds deliveries to their contacts' streams."""

    def __init__(self, inbox: Inbox, links: UnsubscribeLinks | None = None) -> None:
        self._inbox, self._links = inbox, links

    def lane(self, delivery: Delivery) -> str:
        """There is one Redis."""
        return "inapp"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One script in Redis; no answer is for later."""
        assert rule.template is not None
        text = text_of(delivery, rule, self._links, TEXT_CHARACTERS_MAX)
        if isinstance(text, Result):
            return text
        try:
            title = " ".join(encodable(render(rule.template.subject, values_of(delivery, self._links))).split())
        except TemplateError as error:
            return Result("template", shorten(f"rule {rule.id!r}: {error}"))
        message = {"id": delivery.id, "title": title[:TITLE_CHARACTERS_MAX], "text": text, **payload(delivery)}
        try:
            await self._inbox.add(delivery.contact, delivery.id, message)
        except (redis.RedisError, OSError) as error:
            # Redis' own words may hold its URL
            return Result("retry", f"expected Redis to take the message, got {type(error).__name__}", again=True)
        return SENT

    async def close(self) -> None:
        """The connection is the ledger's."""
