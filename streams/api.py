"""The process of `tidegate api`: what Tidegate knows, over HTTP.

`api_web.py` has the paths and `api_tokens.py` who may ask them. Out of Redis: `api_contacts.py`, `api_segments.py`,
`api_export.py`, `api_fields.py`. Out of Kafka: `api_definitions.py` follows what is in force, `api_reading.py` reads reports,
`api_answers.py` has each read once for all who ask it. It begins and goes on without Kafka and Redis, and says so.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Final

import uvicorn

from streams.api_answers import Answers
from streams.api_definitions import DefinitionsInForce
from streams.api_fields import FieldPages
from streams.api_metrics import ApiMetrics
from streams.api_reading import read_apart
from streams.api_tokens import read_tokens
from streams.api_web import Pages, web_app
from streams.dispatcher_setup import connect
from streams.dispatcher_web import listen
from streams.dispatching import closed
from streams.fields_store import FieldStore
from streams.lookups import Lookups
from streams.report import Asked
from streams.settings import Settings

logger = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 1000
# from the signal on, for answers that are on their way
FINISH_S_MAX: Final = 2


async def run_api(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Answers until SIGTERM or SIGINT; raises `SettingError` or `StreamsError` saying what to do."""
    tokens = read_tokens(os.environ if environment is None else environment)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics, definitions = ApiMetrics(), DefinitionsInForce(settings)

    async def read(asked: Asked) -> bytes:
        began_s = time.perf_counter()
        body = await read_apart(asked)
        metrics.report_seconds.observe(time.perf_counter() - began_s)
        return body

    answers = Answers(read, settings.report_keep_ms / 1000, settings.report_waiting)
    client = connect(settings)
    fields = FieldPages(FieldStore(client, settings.prefix))
    lookups = Lookups(client, settings.prefix)
    app = web_app(Pages(definitions, answers, metrics), fields, lookups, definitions, tokens, metrics)
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=FINISH_S_MAX,
        )
    )
    listening = listen(settings.web_host, settings.web_port)
    logger.info("answering on http://%s:%d", settings.web_host, listening.getsockname()[1])
    works = [asyncio.create_task(work) for work in (server.serve([listening]), definitions.follow(), stop.wait())]
    try:
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await answers.close()
        server.should_exit = True
        for task in works[1:]:
            task.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        await closed(client.aclose())


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them to us: readings have to end first."""
        yield
