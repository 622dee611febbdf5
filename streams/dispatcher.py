"""The dispatcher's process: its connections, and what the engine (`actions/dispatch.py`) asks of Kafka.

`dispatching.py` reads deliveries and commits offsets, `rulebook.py` knows rules and pauses, `outcomes.py` writes and
reads outcomes.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from actions.channels import Sender
from actions.dispatch import Dispatcher
from actions.ledger import LEASE_MS, Batch, Ledger
from actions.mail import MailSender, MailServer
from actions.metrics import DispatcherMetrics
from actions.rules import Rule
from actions.webhook import WebhookSender
from schemas.deliveries import Outcome
from schemas.topics import DELIVERIES, OUTCOMES, REJECTED
from streams.broker import partitions_of
from streams.clock import SystemClock
from streams.dispatcher_setup import SecretCheck, check_mail, connect, read_secrets
from streams.dispatching import DispatcherProcess
from streams.errors import BrokerError
from streams.outcomes import OutcomeReader, OutcomeWriter
from streams.rulebook import RuleBook
from streams.settings import Settings

logger = logging.getLogger(__name__)


async def run_dispatcher(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Dispatches until SIGTERM or SIGINT; raises `SettingError` or `StreamsError` saying what to do."""
    environment = os.environ if environment is None else environment
    secrets = read_secrets(environment)
    server = check_mail(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with opened(settings, secrets, server) as process:
            await process.run(stop)
    except KafkaError as error:
        raise BrokerError(f"Kafka at {settings.broker} failed: {error!r}: nothing is lost, start again") from error


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, secrets: Mapping[str, str], server: MailServer
) -> "AsyncIterator[DispatcherProcess]":
    """The process with all its connections; closed in turn, whatever happens."""
    names = [settings.topic(topic.name) for topic in (DELIVERIES, OUTCOMES, REJECTED)]
    counts = await partitions_of(settings, names)
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        producer = AIOKafkaProducer(bootstrap_servers=settings.servers, acks="all", linger_ms=5)
        await _start(stack, producer)
        outcomes = OutcomeReader(settings, counts[names[1]])
        await _start(stack, outcomes)
        woken = asyncio.Event()
        book = RuleBook(settings, on_pause=woken.set, on_rules=SecretCheck(secrets))
        await _start(stack, book)
        client = connect(settings)
        stack.push_async_callback(client.aclose)
        senders: dict[str, Sender] = {
            "webhook": WebhookSender(secrets, clock.now_ms),
            "email": MailSender(server, settings.mail_from, clock.now_ms),
        }
        for sender in senders.values():
            stack.push_async_callback(sender.close)
        writer = OutcomeWriter(producer, names[1], counts[names[1]])
        environs = KafkaEnvirons(clock, book, writer, outcomes)
        engine = Dispatcher(Ledger(client, settings.prefix, lease_ms=LEASE_MS), senders, environs, DispatcherMetrics())
        yield DispatcherProcess(settings, engine, book, writer, client, woken)


async def _start(stack: contextlib.AsyncExitStack, part: "AIOKafkaProducer | OutcomeReader | RuleBook") -> None:
    stack.push_async_callback(part.stop)
    await part.start()


class KafkaEnvirons:
    """What the engine asks of the world, answered by Kafka (see `actions.dispatch.Environs`)."""

    def __init__(self, clock: SystemClock, book: RuleBook, writer: OutcomeWriter, outcomes: OutcomeReader) -> None:
        self._clock, self._book, self._writer, self._outcomes = clock, book, writer, outcomes

    def now_ms(self) -> int:
        """The wall clock, epoch ms."""
        return self._clock.now_ms()

    async def rule(self, id: str, version: int) -> Rule | None:
        """The rule in that version."""
        return await self._book.rule(id, version)

    def paused(self, channel: str, rule: str) -> str | None:
        """What such a delivery is held for."""
        return self._book.held_for(channel, rule)

    def is_paused(self, held: str) -> bool:
        """Whether that pause is in force."""
        return held in self._book.paused

    async def write(self, outcome: Outcome) -> None:
        """Writes to the outcomes topic."""
        await self._writer.write(outcome)

    def read_outcomes(self, positions: dict[str, int]) -> AsyncIterator[Batch]:
        """The outcomes from `positions` on."""
        return self._outcomes.read(positions)
