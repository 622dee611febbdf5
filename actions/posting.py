"""One HTTP POST, as every channel that makes one wants it: bounded, not redirected, to a host that may be called."""

import datetime
import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from actions.channels import Result, certificate_problem, shorten
from actions.reach import CheckedResolver, NotAllowed, Reach
from schemas.instants import EPOCH, MS

CONNECT_S_MAX = 5
RESPONSE_S_MAX = 15
RESPONSE_BYTES_MAX = 2048
# of a body that is read to its end
WHOLE_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 200
# beside 5xx: what a receiver says that would take the same message later
AGAIN: Final = frozenset((408, 425, 429))


@dataclass(frozen=True)
class Answer:
    """What came back; `start` is what has come of the body with the head, or all of it where that was asked for."""

    status: int
    retry_after_ms: int | None
    start: bytes

    @property
    def sent(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def again(self) -> bool:
        """Whether the same message may be taken later."""
        return self.status >= 500 or self.status in AGAIN


class Poster:
    """Posts; whoever made it closes it."""

    def __init__(self, reach: Reach, now_ms: Callable[[], int]) -> None:
        self._reach, self._now_ms = reach, now_ms
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, hidden: bool = False, whole: bool = False
    ) -> Answer | Result:
        """What the receiver answered, or why there is no answer.

        `hidden`: nothing of the URL but its host is said. `whole`: the body is read to its end, `WHOLE_BYTES_MAX` at most.
        """
        try:
            return await self._post(URL(url), body, headers, whole)
        except TimeoutError:
            return Result("retry", f"expected an answer within {RESPONSE_S_MAX} s, got none", again=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _no_answer(error, hidden)

    async def close(self) -> None:
        """Closes the connections that are open."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: URL, body: bytes, headers: Mapping[str, str], whole: bool) -> Answer:
        self._reach.check(url)
        async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as response:
            start = await response.content.read(RESPONSE_BYTES_MAX)
            while whole and not response.content.at_eof() and len(start) < WHOLE_BYTES_MAX:
                start += await response.content.read(WHOLE_BYTES_MAX - len(start))
            return Answer(response.status, self._retry_after_ms(response.headers.get("Retry-After")), start)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, resolver=CheckedResolver(self._reach)),
                timeout=aiohttp.ClientTimeout(total=RESPONSE_S_MAX, connect=CONNECT_S_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                # a body that unpacks to gigabytes is nothing to us: a few bytes of it are quoted as they are
                auto_decompress=False,
            )
        return self._session

    def _retry_after_ms(self, text: str | None) -> int | None:
        """`Retry-After` in ms: seconds, or an HTTP date; None where there is none that can be read."""
        if text is None or len(text) > 64:
            return None
        if text.strip().isascii() and text.strip().isdigit():
            return int(text.strip()) * 1000
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
        return max(0, (at - EPOCH) // MS - self._now_ms())


def result_of(answer: Answer, expected: str = "2xx", said: str | None = None) -> Result:
    """The result of an answer that says the message was not taken; `said`: in place of its body."""
    said = shorten(answer.start.decode("utf-8", "replace")) if said is None else said
    what = f"{answer.status}, a redirect, which is not followed" if 300 <= answer.status < 400 else str(answer.status)
    reason = shorten(f"expected {expected}, got {what}" + (f": {said}" if said else ""))
    if answer.again:
        return Result("retry", reason, again=True, retry_after_ms=answer.retry_after_ms)
    return Result("refused", reason)


def _no_answer(error: Exception, hidden: bool) -> Result:
    # aiohttp wraps what a look-up raises
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, NotAllowed):
        return Result("refused", shorten(str(cause)))
    if (problem := certificate_problem(error)) is not None:
        return Result("retry", shorten(f"expected an answer, got {problem}"), again=True)
    if isinstance(error, aiohttp.ClientResponseError):
        return Result("retry", "expected an answer, got one that is not HTTP", again=True)
    # a URL that can't be called: the error quotes all of it. A certificate that doesn't hold is a ValueError, too
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return Result("refused", "expected a URL that can be called" + ("" if hidden else shorten(f", got {error}")))
    said = "" if hidden and not isinstance(error, aiohttp.ClientConnectorError) else f": {error}"
    return Result("retry", shorten(f"expected an answer, got {type(error).__name__}{said}"), again=True)
