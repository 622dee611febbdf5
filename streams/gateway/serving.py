"""The server under the gateway, which faces everybody: bounds on connections, on how long one may say nothing, and on ending."""

import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from streams import dispatcher_web

CONNECTIONS_MAX: Final = 10_000
HEAD_BYTES_MAX: Final = 16 * 1024
# from connecting, or from the last answer, to the end of a request's head
HEAD_S_MAX: Final = 10.0
# of one body: chunks of a byte each, a quarter of a megabyte of them a read, held up everybody for a second
CHUNKS_MAX: Final = 2_000
# longer than proxies keep theirs, which would send a request into a connection that is just being closed
KEEP_ALIVE_S: Final = 75
# from SIGTERM on, for answers that wait for Kafka
FINISH_S_MAX: Final = 7


class _Connection(h11.Connection):
    """h11's, with a bound on the chunks of a body."""

    _chunks = 0

    def next_event(self) -> Any:
        """As h11 has it; raises `RemoteProtocolError` for a body in too many pieces as well."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > CHUNKS_MAX:
                raise h11.RemoteProtocolError(f"expected at most {CHUNKS_MAX} chunks")
        return event


class Protocol(H11Protocol):
    """uvicorn's, with bounds on connections that say nothing or all in small pieces, of which it has none."""

    def __init__(self, connections_max: int, **options: Any) -> None:
        super().__init__(**options)
        self._connections_max = connections_max
        self.conn = _Connection(h11.SERVER, HEAD_BYTES_MAX)

    def connection_made(self, transport: Any) -> None:
        """Hangs up at once on one more than may be."""
        super().connection_made(transport)
        if len(self.connections) > self._connections_max:
            transport.abort()
            return
        self._looked_at: Any = None
        self._look = self.loop.call_later(HEAD_S_MAX, self._hang_up_or_wait)

    def connection_lost(self, exc: Exception | None) -> None:
        """As it was."""
        if hasattr(self, "_look"):
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As it was; hangs up on more than a head that comes before the last answer went: it would be kept, uncounted."""
        super().data_received(data)
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) > HEAD_BYTES_MAX:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """As it was, but where an answer was begun: h11 raises there, a traceback in the log for whoever wants one."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _hang_up_or_wait(self) -> None:
        """Hangs up where no request is under way, nor any came since the last look; between requests a keep-alive may wait."""
        cycle: Any = self.cycle
        idle = cycle is None or cycle.response_complete
        if idle and self._looked_at is cycle and self.timeout_keep_alive_task is None:
            self.transport.close()
            return
        self._looked_at = cycle
        self._look = self.loop.call_later(HEAD_S_MAX, self._hang_up_or_wait)


class Server(uvicorn.Server):
    """Serves `app` until `should_exit`; signals are the process's matter."""

    def __init__(self, app: ASGIApp, connections_max: int = CONNECTIONS_MAX) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(Protocol, connections_max),  # type: ignore[arg-type]  # it is only called
                lifespan="off",
                ws="none",
                log_config=None,
                # a line for each request that is none, or is one too many, would be anybody's to write
                log_level="critical",
                access_log=False,
                server_header=False,
                backlog=4096,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=FINISH_S_MAX,
            )
        )

    @property
    def open_connections(self) -> int:
        """How many there are."""
        return len(self.server_state.connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them to the process: Kafka is let go of last."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Listens, on any free port for 0. Raises `StreamsError` naming the setting to change."""
    return dispatcher_web.listen(host, port, "TIDEGATE_GATEWAY", backlog=4096)
