"""What the dispatcher reads of the definitions topic: rules by version, and what is paused.

Pauses are records of that topic, which is compacted and outlives every process: key `pause/channel/<channel>` or
`pause/rule/<rule>`, and a tombstone ends it. Workers pass them over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from actions import Rule, RuleErrors, rule_of
from actions.policies import Policy
from schemas.definitions import DefinitionRecord, RevisionRecord, definition_key
from schemas.topics import DEFINITIONS
from streams.broker import reader
from streams.settings import Settings

logger = logging.getLogger(__name__)

PAUSE = b"pause/"
FETCH_MS = 500
RETRY_S = 1.0
# a delivery can be read only after the rule that it names: a topic that stalls for longer fails the attempt for now
CATCH_UP_S_MAX = 10.0


class Pause(msgspec.Struct, frozen=True):
    """Value of a pause record."""

    paused_at: str


def pause_key(held: str) -> bytes:
    """Kafka key of the pause of `channel/<channel>` or `rule/<rule>`."""
    return PAUSE + held.encode()


class RuleBook:
    """Follows the definitions topic: `start`, then `follow` in a task, then `stop`.

    `on_pause` is called when a pause begins or ends, `on_rules` with the rules in force: once they are read, and when
    a newer revision is.
    """

    def __init__(
        self,
        settings: Settings,
        on_pause: Callable[[], None] = lambda: None,
        on_rules: Callable[[list[Rule]], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._on_pause, self._on_rules = on_pause, on_rules
        self._in_force: list[bytes] | None = None  # None: told already
        self._partition = TopicPartition(settings.topic(DEFINITIONS.name), 0)
        self._rules: dict[bytes, Rule | None] = {}
        self.policies: tuple[Policy, ...] = ()  # those in force
        self._paused: set[str] = set()
        self._open = contextlib.AsyncExitStack()
        self._consumer: AIOKafkaConsumer | None = None
        self._read = asyncio.Condition()

    @property
    def paused(self) -> frozenset[str]:
        """What is paused: `channel/<channel>`, `rule/<rule>`."""
        return frozenset(self._paused)

    def held_for(self, channel: str, rule: str) -> str | None:
        """Why a delivery of this channel and rule must wait, None if it need not."""
        return next((held for held in (f"channel/{channel}", f"rule/{rule}") if held in self._paused), None)

    async def start(self) -> None:
        """Reads to the end of the topic. Raises `StreamsError`."""
        topic = self._settings.topic(DEFINITIONS.name)
        consumer = await self._open.enter_async_context(reader(self._settings, [topic]))
        self._consumer = consumer
        end = (await consumer.end_offsets([self._partition]))[self._partition]
        while await consumer.position(self._partition) < end:
            await self._fetch()
        self._tell_rules()

    async def follow(self) -> None:
        """Goes on reading, for ever."""
        while True:
            try:
                await self._fetch()
                self._tell_rules()
            except KafkaError as error:
                logger.warning("definitions can't be read, trying again in %g s: %r", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """Lets go of the connection."""
        await self._open.aclose()

    async def rule(self, id: str, version: int) -> Rule | None:
        """The rule in that version, as soon as the topic is read as far as it goes now; None if it isn't there."""
        key = definition_key("rule", id, version)
        if key not in self._rules:
            try:
                async with asyncio.timeout(CATCH_UP_S_MAX):
                    await self._caught_up()
            except (TimeoutError, KafkaError):
                logger.warning("definitions: expected to read to the end within %g s, did not", CATCH_UP_S_MAX)
        return self._rules.get(key)

    async def _caught_up(self) -> None:
        assert self._consumer is not None, "start it first"
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        async with self._read:
            while await self._consumer.position(self._partition) < end:
                await self._read.wait()

    async def _fetch(self) -> None:
        assert self._consumer is not None, "start it first"
        fetched = await self._consumer.getmany(timeout_ms=FETCH_MS)
        for record in fetched.get(self._partition, ()):
            self._take(record.key or b"", record.value)
        async with self._read:
            self._read.notify_all()

    def _tell_rules(self) -> None:
        keys, self._in_force = self._in_force, None
        if keys is not None:
            self._on_rules([rule for key in keys if (rule := self._rules.get(key)) is not None])

    def _take(self, key: bytes, value: bytes | None) -> None:
        if key.startswith(PAUSE):
            held = key.removeprefix(PAUSE).decode("utf-8", "replace")
            (self._paused.discard if value is None else self._paused.add)(held)
            self._on_pause()
        elif key.startswith(b"rule/") and value is not None:
            try:
                self._rules[key] = rule_of(msgspec.json.decode(value, type=DefinitionRecord).body)
            except (msgspec.DecodeError, RecursionError, RuleErrors) as error:
                # its deliveries wait and are tried again: a newer dispatcher may know better
                logger.error(
                    "%s: expected a rule that this version can read: %s", key.decode("utf-8", "replace"), error
                )
                self._rules[key] = None
        elif key.startswith(b"revision/") and value is not None:
            # one that can't be read is the workers' to refuse: what is sent doesn't hang on it
            with contextlib.suppress(msgspec.DecodeError):
                listed = msgspec.json.decode(value, type=RevisionRecord).definitions
                self._in_force = [
                    definition_key("rule", each.id, each.version) for each in listed if each.kind == "rule"
                ]
