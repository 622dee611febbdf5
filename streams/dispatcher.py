"""The dispatcher's process: its connections, and what the engine (`actions/dispatch.py`) asks of Kafka.

`dispatching.py` reads deliveries and commits offsets, `rulebook.py` knows rules and pauses, `outcomes.py` writes and
reads outcomes.
"""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from actions.channels import Resources
from actions.dispatch import Dispatcher
from actions.gate import Gate
from actions.inapp import Inbox
from actions.ledger import LEASE_MS, Batch, Ledger
from actions.limits import Limits
from actions.metrics import DispatcherMetrics
from actions.own_events import opted_out, step_sent
from actions.policies import Policies
from actions.read_model import ReadModel
from actions.registry import open_senders
from actions.rules import Rule
from schemas.deliveries import Delivery, Outcome
from schemas.topics import DELIVERIES, EVENTS_EMAIL, EVENTS_OWN, OUTCOMES, REJECTED, partition_of
from streams.broker import partitions_of
from streams.clock import SystemClock
from streams.dispatcher_setup import (
    Secrets,
    SetUpCheck,
    check_mail,
    connect,
    read_links,
    read_reach,
    read_secrets,
    read_sms_url,
)
from streams.dispatching import DispatcherProcess, closed
from streams.errors import BrokerError
from streams.inapp_web import InAppPages
from streams.kafka_log import why_refused
from streams.outcomes import OutcomeReader, OutcomeWriter
from streams.rulebook import RuleBook
from streams.security import access
from streams.settings import Settings
from streams.topic_writer import TopicWriter
from streams.unsubscribing import UnsubscribePages, WriteEvent

logger = logging.getLogger(__name__)

# from the signal to the end of the process, whatever Kafka, Redis and receivers do
STOP_S_MAX = 19.5

T = TypeVar("T")


async def run_dispatcher(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Dispatches until SIGTERM or SIGINT; raises `SettingError` or `StreamsError` saying what to do."""
    environment = os.environ if environment is None else environment
    secrets = read_secrets(environment)
    stop = _stop_by_signals()
    try:
        async with contextlib.AsyncExitStack() as stack:
            process = await _unless(stop, stack.enter_async_context(opened(settings, secrets)))
            if process is not None:
                await process.run(stop)
    except KafkaError as error:
        why = why_refused(error, settings)
        raise BrokerError(f"Kafka at {settings.broker} failed: {why}; nothing is lost, start again") from error


def _stop_by_signals() -> asyncio.Event:
    """What SIGTERM and SIGINT set; the process ends `STOP_S_MAX` after the first of them, whatever holds it up."""
    stop = asyncio.Event()

    def begin() -> None:
        if not stop.is_set():
            timer = threading.Timer(STOP_S_MAX, _end_at_last)
            timer.daemon = True
            timer.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, begin)
    return stop


def _end_at_last() -> None:
    # as safe as kill -9, which the ledger is made for: what was under way is in doubt, and said to be
    logger.error("expected to end within %g s, did not: ending as I stand", STOP_S_MAX)
    os._exit(1)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None when `stop` is set first."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None


@contextlib.asynccontextmanager
async def opened(settings: Settings, secrets: Secrets) -> "AsyncIterator[DispatcherProcess]":
    """The process with all its connections; closed all at once, whatever happens."""
    mail_server, sms_url, links = check_mail(settings), read_sms_url(settings), read_links(settings, secrets)
    deliveries, outcomes_topic, rejected = (settings.topic(topic.name) for topic in (DELIVERIES, OUTCOMES, REJECTED))
    own, events = settings.topic(EVENTS_OWN.name), [settings.topic(EVENTS_EMAIL.name)] if links is not None else []
    counts = await partitions_of(settings, [deliveries, outcomes_topic, rejected, own, *events])
    clock = SystemClock()
    closers: list[Callable[[], Awaitable[Any]]] = []
    try:
        producer = AIOKafkaProducer(**access(settings), acks="all", linger_ms=5)
        await _start(closers, producer)
        outcomes = OutcomeReader(settings, counts[outcomes_topic])
        await _start(closers, outcomes)
        woken = asyncio.Event()
        check = SetUpCheck(secrets.by_name, mail_from=settings.mail_from, links=links is not None)
        book = RuleBook(settings, on_pause=woken.set, on_rules=check)
        await _start(closers, book)
        client = connect(settings)
        closers.append(client.aclose)
        topics = TopicWriter(settings)
        closers.append(topics.stop)
        resources = Resources(
            secrets=secrets.by_name,
            now_ms=clock.now_ms,
            reach=read_reach(settings),
            mail_server=mail_server,
            mail_from=settings.mail_from,
            sms_url=sms_url,
            redis=client,
            prefix=settings.prefix,
            publish=topics.publish,
            links=links,
        )
        senders = open_senders(resources)
        closers.extend(sender.close for sender in senders.values())
        writer = OutcomeWriter(producer, outcomes_topic, counts[outcomes_topic])
        routes: list[web.RouteDef] = []
        if links is not None:
            write = _event_writer(writer, events[0], counts[events[0]])
            routes += UnsubscribePages(links, write, clock.now_ms).routes()
        if secrets.inapp is not None:
            routes += InAppPages(Inbox(client, settings.prefix), secrets.inapp).routes()
        environs = KafkaEnvirons(clock, book, writer, outcomes, _event_writer(writer, own, counts[own]))
        ledger, metrics = Ledger(client, settings.prefix, lease_ms=LEASE_MS), DispatcherMetrics()
        policies = functools.partial(_policies, book, settings.consent == "explicit")
        gate = Gate(ledger, Limits(client, ledger), ReadModel(client, settings.prefix), policies, metrics)
        engine = Dispatcher(ledger, senders, gate, environs, metrics)
        yield DispatcherProcess(settings, engine, book, writer, client, woken, routes)
    finally:
        await asyncio.gather(*(closed(close()) for close in closers))


def _policies(book: RuleBook, explicit: bool) -> Policies:
    return Policies(explicit, book.policies)


def _event_writer(writer: OutcomeWriter, topic: str, partitions: int) -> WriteEvent:
    async def write(key: bytes, value: bytes) -> None:
        await writer.put(topic, partition_of(key, partitions), key, value)

    return write


async def _start(
    closers: list[Callable[[], Awaitable[Any]]], part: "AIOKafkaProducer | OutcomeReader | RuleBook"
) -> None:
    closers.append(part.stop)
    await part.start()


class KafkaEnvirons:
    """What the engine asks of the world, answered by Kafka (see `actions.dispatch.Environs`)."""

    def __init__(
        self, clock: SystemClock, book: RuleBook, writer: OutcomeWriter, outcomes: OutcomeReader, write_own: WriteEvent
    ) -> None:
        self._clock, self._book, self._writer, self._outcomes = clock, book, writer, outcomes
        self._write_own = write_own

    def now_ms(self) -> int:
        """The wall clock, epoch ms."""
        return self._clock.now_ms()

    async def rule(self, delivery: Delivery) -> Rule | None:
        """The rule or the step in that version."""
        return await self._book.rule(delivery)

    def paused(self, delivery: Delivery) -> str | None:
        """What such a delivery is held for."""
        return self._book.held_for(delivery)

    def is_removed(self, delivery: Delivery) -> bool:
        """Whether its rule or sequence was removed."""
        return self._book.is_removed(delivery)

    def is_paused(self, held: str) -> bool:
        """Whether that pause is in force."""
        return held in self._book.paused

    async def write(self, outcome: Outcome) -> None:
        """Writes to the outcomes topic; before it the event, which so is there whenever the outcome is."""
        event = step_sent(outcome, self._book.step_name(outcome)) or opted_out(outcome)
        if event is not None:
            await self._write_own(outcome.contact.encode(), event)
        await self._writer.write(outcome)

    def read_outcomes(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        """The outcomes from `positions` on."""
        return self._outcomes.read(positions)
