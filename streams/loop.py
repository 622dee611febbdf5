"""The event loop of every process: uvloop, with a bound on how long a TLS connection takes to close.

Kafka says no good-bye while it keeps a fetch waiting, and uvloop gives it half a minute: for as long a take-over, or the end
of a command, would stand still now and then.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
GOODBYE_S = 0.2


class Loop(uvloop.Loop):
    """uvloop's, with `GOODBYE_S`."""

    async def create_connection(self, *arguments: Any, ssl: Any = None, **options: Any) -> Any:
        """As uvloop has it."""
        if ssl is not None:
            options.setdefault("ssl_shutdown_timeout", GOODBYE_S)
        return await super().create_connection(*arguments, ssl=ssl, **options)


class _Policy(uvloop.EventLoopPolicy):  # type: ignore[misc]  # of no type, as Python's policies are going
    def _loop_factory(self) -> uvloop.Loop:
        return Loop()


def install() -> None:
    """Has every loop be one of these that is made from now on, in any thread."""
    asyncio.set_event_loop_policy(_Policy())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs `coroutine` to its end."""
    return uvloop.run(coroutine, loop_factory=Loop)
