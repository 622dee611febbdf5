"""Requests to an application, counted by path and status, with how long they take."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# who asked has hung up, so that nobody hears it: for metrics, as nginx has it
GONE: Final = 499
# the path of what no route has
OTHER: Final = "other"


class Counted:
    """Counts requests to `app` in `requests` (path, status) and `seconds` (path); `counts` says of which paths."""

    def __init__(
        self, app: ASGIApp, requests: Counter, seconds: Histogram, counts: Callable[[str], bool] = lambda path: True
    ) -> None:
        self._app, self._requests, self._seconds, self._counts = app, requests, seconds, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        status, began_s = 0, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            path = getattr(scope.get("route"), "path", OTHER)
            if scope["type"] == "http" and self._counts(path):
                self._requests.labels(path, str(status or GONE)).inc()
                self._seconds.labels(path).observe(time.perf_counter() - began_s)
