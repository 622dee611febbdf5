"""The dispatcher's /metrics, /livez and /readyz."""

import logging
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from streams.errors import StreamsError

logger = logging.getLogger(__name__)


class WebServer:
    """Serves until `stop`; `live` and `ready` say what is wrong, None when all is well."""

    def __init__(
        self, registry: CollectorRegistry, live: Callable[[], str | None], ready: Callable[[], str | None]
    ) -> None:
        self._registry, self._live, self._ready = registry, live, ready
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(application, access_log=None)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 is any free one, said in the log. Raises `StreamsError` when the port is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise StreamsError(
                f"expected to listen on {host}:{port}, got {error.strerror}: set TIDEGATE_WEB_PORT (0: any free one)"
            ) from None
        self.port = self._runner.addresses[0][1]
        logger.info("metrics and health on http://%s:%d/metrics, /livez, /readyz", host, self.port)

    async def stop(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._live())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready())


def _answer(problem: str | None) -> web.Response:
    return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")
