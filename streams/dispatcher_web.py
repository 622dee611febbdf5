"""A dispatcher's or projector's /metrics, /livez and /readyz, and what else is served on its port."""

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from streams.errors import StreamsError

logger = logging.getLogger(__name__)

# of what anybody posts; nothing of it is looked at
BODY_BYTES_MAX = 4096
SHUTDOWN_S_MAX = 0.5  # who asks for metrics must not hold up the end
# what an address that is none of this machine's is refused with
_NO_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)


class WebServer:
    """Serves until `stop`; `live` and `ready` say what is wrong, None when all is well. `routes`: what else there is."""

    def __init__(
        self,
        registry: CollectorRegistry,
        live: Callable[[], str | None],
        ready: Callable[[], str | None],
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        self._registry, self._live, self._ready = registry, live, ready
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.add_routes(routes)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S_MAX)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 is any free one, said in the log. Raises `StreamsError` naming the setting to change."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except (OSError, UnicodeError) as error:
            raise StreamsError(f"expected to listen on {host}:{port}, got {refusal(error)}") from None
        self.port = self._runner.addresses[0][1]
        logger.info("metrics and health on http://%s:%d/metrics, /livez, /readyz", host, self.port)

    async def stop(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        text = generate_latest(self._process) + generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._live())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready())


def listen(host: str, port: int, setting: str = "TIDEGATE_WEB", backlog: int | None = None) -> socket.socket:
    """Listens, on any free port for 0. Raises `StreamsError` naming the setting to change, which begins with `setting`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=backlog)
    except (OSError, UnicodeError) as error:
        raise StreamsError(f"expected to listen on {host}:{port}, got {refusal(error, setting)}") from None


def refusal(error: OSError | UnicodeError, setting: str = "TIDEGATE_WEB") -> str:
    """Of what listening failed with: what came, and which setting to change."""
    if isinstance(error, UnicodeError | socket.gaierror) or error.errno in _NO_ADDRESS:
        came = "no address" if isinstance(error, UnicodeError) else _words(error)
        return f"{came}: set {setting}_HOST to an address of this machine"
    return f"{_words(error)}: set {setting}_PORT (0: any free one)"


def _words(error: OSError) -> str:
    # the loop's own words hold the address a second time; the numbers of name servers' errors are below 0
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _answer(problem: str | None) -> web.Response:
    return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")
