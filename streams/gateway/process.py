"""The process of `tidegate gateway`. It begins and goes on without Kafka, and says so."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Mapping
from typing import Final, get_args

from streams.clock import SystemClock
from streams.connections import Connections, load
from streams.dispatcher_web import WebServer
from streams.gateway.fetching import Fetcher
from streams.gateway.intake import Intake
from streams.gateway.metrics import NOTIFIED, OUTCOMES, GatewayMetrics
from streams.gateway.serving import CONNECTIONS_MAX, Server, listen
from streams.gateway.tracking_web import TrackingPages
from streams.gateway.web import web_app
from streams.gateway.webhooks_web import WebhookPages
from streams.settings import Settings
from streams.vendors.contract import Doubt

logger = logging.getLogger(__name__)

# open files besides those of senders: Kafka's brokers, scrapes, the log
FILES_OWN: Final = 200


async def run_gateway(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Takes events in until SIGTERM or SIGINT; raises `SettingError` or `StreamsError` saying what to do."""
    connections = load(settings, os.environ if environment is None else environment)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connections_max = min(CONNECTIONS_MAX, _raise_files() - FILES_OWN)
    metrics = GatewayMetrics()
    intake = Intake(settings, settings.gateway_bytes, metrics.acknowledged_seconds.observe)
    now_ms, fetcher = SystemClock().now_ms, Fetcher()
    tracking = TrackingPages(connections, intake, metrics, now_ms)
    webhooks = WebhookPages(connections, intake, metrics, fetcher, now_ms, settings.gateway_url)
    server = Server(web_app([tracking.router(), webhooks.router()], metrics), connections_max)
    _show(metrics, connections, intake, server)
    web = WebServer(metrics.registry, lambda: None, lambda: intake.problem)
    listening = listen(settings.gateway_host, settings.gateway_port)
    logger.info("taking events on http://%s:%d", settings.gateway_host, listening.getsockname()[1])
    await web.start(settings.web_host, settings.web_port)
    serving, following = asyncio.create_task(server.serve([listening])), asyncio.create_task(intake.follow())
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait((serving, following, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        # answers to what came wait for Kafka, so it is let go of last
        server.should_exit = True
        await serving
    finally:
        for task in (serving, following, stopping):
            task.cancel()
        await asyncio.gather(serving, following, stopping, return_exceptions=True)
        await intake.close()
        await fetcher.close()
        await web.stop()


def _show(metrics: GatewayMetrics, connections: Connections, intake: Intake, server: Server) -> None:
    metrics.bytes.set_function(lambda: intake.bytes)
    metrics.connections.set_function(lambda: server.open_connections)
    metrics.unavailable.set_function(lambda: intake.problem is not None)
    # Prometheus sees no rise in what wasn't there
    for each in connections:
        id, vendor = each.connection.id, each.connection.vendor
        for outcome in NOTIFIED if each.vendor else OUTCOMES:
            (metrics.notifications if each.vendor else metrics.events).labels(id, outcome)
        for why in (*get_args(Doubt), "repeated") if each.vendor else ():
            metrics.unproved.labels(vendor, why)


def _raise_files() -> int:
    """How many open files may be, each connection is one; allows itself as many as it is let."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return CONNECTIONS_MAX + FILES_OWN if most == resource.RLIM_INFINITY else most
