"""The Faust app: a genuine agent, table and consumer, with our transport and recovery (`faust -A streams.app worker`).

The agent takes turns (`transport.py`), the table shows the committed state of the contacts (`recovery.py`), everything that
happens to them is in `worker.py`. `tidegate worker` starts the same app by `run_worker`.
"""

import asyncio
import errno
import gc
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import faust

from schemas.topics import SOURCES, STATE
from streams import loop, malloc
from streams.clock import SteadyClock
from streams.ending import Explained, causes, lines_of
from streams.errors import StreamsError
from streams.guard import Guard
from streams.health import add_pages, web_port
from streams.kafka_log import FETCH_BYTES_MAX, KafkaLog, Reader
from streams.logs import logging_config
from streams.metrics import Metrics
from streams.partition import Rates
from streams.plans import FollowedPlans
from streams.recovery import StateTable, StateTableManager
from streams.security import tls_context
from streams.settings import UNTOLD, SettingError, Settings, load_settings
from streams.surroundings import look_after, refuse_wrong
from streams.transport import LeaveSchema, WorkerTransport
from streams.worker import Pace, Worker

logger = logging.getLogger("tidegate.worker")

# a group's rebalance waits this long for the slowest member's last checkpoint
REBALANCE_TIMEOUT_S = 30.0
# the last checkpoints may take 10 of it, leaving the group another 10 (transport.py)
STOP_TIMEOUT_S = 25.0
GC_THRESHOLDS = (50_000, 50, 50)
_ENDS = "the worker ends, its supervisor has to start it again: %s"


class WebPortError(StreamsError):
    """The web port can't be had. Operator's step: set TIDEGATE_WEB_PORT to another one, or 0."""


class TidegateApp(faust.App):  # type: ignore[misc]  # faust has no types
    """The app, with the worker that it hosts."""

    settings: Settings
    plans: FollowedPlans
    worker: Worker
    guard: Guard
    turns_topic: str
    cause: BaseException | None = None

    async def on_first_start(self) -> None:
        """Refuses to start in wrong surroundings (I1), then reads the definitions: before the first event."""
        for handler in logging.getLogger().handlers:
            handler.addFilter(Explained(lambda: self.cause))
        await refuse_wrong(self.settings)
        await self.plans.start()
        self.add_future(look_after(self.settings, self.worker.metrics.surroundings_problems.set))
        # contacts' states make no cycles, but there are many of them: looking through them took a fifth of all time
        gc.set_threshold(*GC_THRESHOLDS)
        self.add_future(self.guard.follow())
        await super().on_first_start()

    async def on_started(self) -> None:
        """Says where it can be looked at."""
        logger.info("metrics and health on http://%s:%d", self.conf.web_bind, self.conf.web_port)
        await super().on_started()

    def _crash(self, reason: BaseException) -> None:
        """Keeps the first cause: what fails in consequence of it says nothing."""
        if self.cause is None and not isinstance(reason, asyncio.CancelledError):
            self.cause = reason
        super()._crash(reason)

    async def on_stop(self) -> None:
        """Last checkpoints, then the rest, in bounded time: with the broker away, clients would hang on to it for ever."""
        watch = threading.Timer(STOP_TIMEOUT_S, lambda: _give_up(self.cause))
        watch.daemon = True
        watch.start()
        await super().on_stop()
        await self.plans.stop()


def _give_up(cause: BaseException | None) -> None:
    """Ends the process as it is: what isn't committed by now is not going to be, and the next owner has the rest.

    Says why it was to stop, as that is said at the end of stopping, which this one may not reach.
    """
    for line in lines_of(cause) if cause is not None else ():
        logger.critical(_ENDS, line)
    logger.error(
        "expected to have stopped within %g s, but clients still wait for the broker: ending now", STOP_TIMEOUT_S
    )
    logging.shutdown()
    os._exit(1)


def build_app(settings: Settings) -> TidegateApp:
    """The app of these settings; nothing is connected yet."""
    app = TidegateApp(settings.group, **_configuration(settings))
    app.settings = settings
    app.transport = WorkerTransport(app.conf.broker_consumer, app)
    app.producer_transport = app.transport
    sources = [topic.name for topic in SOURCES]

    async def call(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return await app.consumer.call(function, *arguments)

    app.plans = FollowedPlans(settings)
    clock = SteadyClock()
    log = KafkaLog(settings, Reader(settings, sources, clock), call)
    metrics = Metrics(settings.metrics_segments)
    app.worker = Worker(log, app.plans, clock, sources, rates_of(settings), pace_of(settings), metrics)
    app.guard = Guard(app.worker, settings)
    app.plans.on_newer = app.worker.wake.set
    app.turns_topic = settings.topic(sources[0])
    _add_agent(app, [settings.topic(name) for name in sources])
    add_pages(app)
    return app


def _add_agent(app: TidegateApp, names: list[str]) -> None:
    count = app.settings.partitions
    state = app.topic(app.settings.topic(STATE.name), partitions=count, key_type=bytes, value_type=bytes)
    app.Table("contacts", partitions=count, key_type=bytes, value_type=bytes, changelog_topic=state)

    @app.agent(app.topic(*names, partitions=count, schema=LeaveSchema()), concurrency=1, name="contacts")  # type: ignore[untyped-decorator]
    async def contacts(leaves: Any) -> None:
        async for leave in leaves:
            while app.consumer.take(leave):  # noqa: ASYNC110  # there is more to do, not something to wait for
                await asyncio.sleep(0)


def rates_of(settings: Settings) -> Rates:
    """What bounds a partition's work."""
    return Rates(
        arrival=settings.clock == "arrival",
        grace_ms=settings.grace_ms,
        slack_ms=settings.slack_ms,
        partitions=settings.partitions,
        chunk_events=settings.chunk_events,
        checkpoint_events=settings.checkpoint_events,
        memory_bytes=settings.memory_bytes,
    )


def pace_of(settings: Settings) -> Pace:
    """When checkpoints come."""
    return Pace(settings.checkpoint_idle_ms, settings.checkpoint_load_ms, settings.checkpoint_events)


def credentials(settings: Settings) -> faust.SSLCredentials | faust.SASLCredentials | None:
    """TLS and login as Faust takes them; None for neither. Raises `SettingError`."""
    context = tls_context(settings)
    if settings.uses_login:
        return faust.SASLCredentials(
            username=settings.broker_user,
            password=settings.broker_password,
            ssl_context=context,
            mechanism=settings.broker_mechanism,
        )
    return None if context is None else faust.SSLCredentials(context)


def _configuration(settings: Settings) -> dict[str, Any]:
    session_s = settings.session_ms / 1000
    port = web_port(settings)
    return _membership(settings) | {
        "broker": [f"kafka://{server}" for server in settings.servers],
        "broker_credentials": credentials(settings),
        "datadir": settings.data_dir,
        "store": "memory://",
        "Table": StateTable,
        "TableManager": StateTableManager,
        "table_standby_replicas": 0,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": FETCH_BYTES_MAX,
        "broker_session_timeout": session_s,
        "broker_heartbeat_interval": session_s / 10,
        "broker_request_timeout": max(30.0, session_s),
        "broker_rebalance_timeout": REBALANCE_TIMEOUT_S,
        "broker_max_poll_interval": 300.0,
        "producer_request_timeout": 30.0,
        "logging_config": logging_config(settings),
        "worker_redirect_stdouts": False,
        "web_port": port,
        "web_bind": settings.web_host,
        "web_host": settings.web_host,
        "web_cors_options": None,
        "web_router_enabled": False,
        "web_tables_enabled": False,
        "web_graph_enabled": False,
        "web_stats_enabled": False,
        "web_metrics_enabled": False,
    }


def _membership(settings: Settings) -> dict[str, Any]:
    """Of a worker with a name: a static member of the group, for which the group keeps its partitions.

    Faust ends a member that comes back under another URL, which is that of the web server: with any free port it is
    another one each time, so nobody is told it.
    """
    if not settings.instance:
        return {}
    named = {"consumer_group_instance_id": settings.instance}
    return named if settings.web_port else named | {"canonical_url": f"http://{UNTOLD}/{settings.instance}"}


def run_worker(settings: Settings | None = None) -> None:
    """Runs the worker until SIGTERM or an error, then exits: 0 or 1. Raises `StreamsError` before it has begun."""
    settings = load_settings() if settings is None else settings
    asyncio.run(refuse_wrong(settings))
    _refuse_taken_port(settings)
    _refuse_unwritable(settings.data_dir)
    malloc.keep_freed()
    loop.install()
    app = build_app(settings)
    worker = faust.Worker(app, loglevel="INFO", quiet=True, loop=asyncio.new_event_loop())
    try:
        worker.execute_from_commandline()
    except (SystemExit, asyncio.CancelledError):
        cause = app.cause or worker.crash_reason
        if cause is None:
            raise
        for line in causes(cause, settings):
            logger.critical(_ENDS, line)
        raise SystemExit(1) from None


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.web_host, settings.web_port))
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"can't be had: {error.strerror}"
            raise WebPortError(
                f"expected to serve /metrics on {settings.web_host}:{settings.web_port}, but it {what}: "
                "set TIDEGATE_WEB_PORT to another port, or to 0 for any free one"
            ) from None


def _refuse_unwritable(directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise StreamsError(
            f"expected to write to the data directory {directory!r}, got {error.strerror}: set TIDEGATE_DATA_DIR"
        ) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StreamsError(f"expected to write to the data directory {directory!r}, may not: set TIDEGATE_DATA_DIR")


def __getattr__(name: str) -> Any:
    """`app` for `faust -A streams.app`, made from the environment when it is first asked for."""
    if name != "app":
        raise AttributeError(name)
    try:
        app = build_app(load_settings())
    except (SettingError, StreamsError) as error:
        raise SystemExit(str(error)) from None
    globals()["app"] = app
    return app
