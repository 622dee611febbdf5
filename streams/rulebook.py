"""What the dispatcher reads of the definitions topic: messages of rules and sequences by version, policies, and what is paused.

Pauses are records of that topic, which is compacted and outlives every process: key `pause/channel/<channel>` or
`pause/rule/<rule>` or `pause/sequence/<sequence>`, and a tombstone ends it. Workers pass them over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from actions import Rule, RuleErrors, rule_of, sequence_of
from actions.policies import Policy
from actions.policy_reading import policy_of
from actions.rules import STEP
from actions.sequences import Send
from schemas.definitions import DefinitionRecord, RevisionRecord, definition_key
from schemas.deliveries import Delivery, Outcome
from schemas.topics import DEFINITIONS
from streams.broker import reader
from streams.revisions import DefinitionsUnreadable
from streams.settings import Settings

logger = logging.getLogger(__name__)

PAUSE = b"pause/"
FETCH_MS = 500
RETRY_S = 1.0
# a delivery can be read only after the rule or sequence that it names: a topic that stalls for longer fails the attempt for now
CATCH_UP_S_MAX = 10.0


class Pause(msgspec.Struct, frozen=True):
    """Value of a pause record."""

    paused_at: str


def pause_key(held: str) -> bytes:
    """Kafka key of the pause of `channel/<channel>`, `rule/<rule>` or `sequence/<sequence>`."""
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
        self._newest: frozenset[tuple[str, str]] = frozenset()  # kind and id of the rules and sequences in force
        self._ever: set[tuple[str, str]] = set()  # and of those that ever were
        self._partition = TopicPartition(settings.topic(DEFINITIONS.name), 0)
        self._rules: dict[bytes, dict[int, Rule]] = {}  # by step
        self._names: dict[bytes, dict[int, str]] = {}
        self._policies: dict[bytes, Policy | str] = {}  # a text: why it can't be read
        self.policies: tuple[Policy, ...] = ()  # those in force
        self._paused: set[str] = set()
        self._open = contextlib.AsyncExitStack()
        self._consumer: AIOKafkaConsumer | None = None
        self._read = asyncio.Condition()

    @property
    def paused(self) -> frozenset[str]:
        """What is paused: `channel/<channel>`, `rule/<rule>`, `sequence/<sequence>`."""
        return frozenset(self._paused)

    def held_for(self, delivery: Delivery) -> str | None:
        """Why a delivery must wait, as its channel, rule or sequence is paused; None if it need not."""
        helds = (f"channel/{delivery.channel}", f"{delivery.kind}/{delivery.rule}")
        return next((held for held in helds if held in self._paused), None)

    def is_removed(self, delivery: Delivery) -> bool:
        """Whether a delivery's rule or sequence, in whatever version, was in force and is no more."""
        # not what no revision has had: a delivery may be read before the revision that brought it
        named = (delivery.kind, delivery.rule)
        return named in self._ever and named not in self._newest

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

    async def rule(self, delivery: Delivery) -> Rule | None:
        """What a delivery's message is made by: its rule, or its step of a sequence, in the version that it names.

        As soon as the topic is read as far as it goes now; None if it isn't there.
        """
        key = definition_key(delivery.kind, delivery.rule, delivery.rule_version)
        if key not in self._rules:
            try:
                async with asyncio.timeout(CATCH_UP_S_MAX):
                    await self._caught_up()
            except (TimeoutError, KafkaError):
                logger.warning("definitions: expected to read to the end within %g s, did not", CATCH_UP_S_MAX)
        return self._rules.get(key, {}).get(delivery.step)

    def step_name(self, outcome: Outcome) -> str:
        """What the sequence calls the step of an outcome; its number where the sequence isn't there."""
        key = definition_key(outcome.kind, outcome.rule, outcome.rule_version)
        return self._names.get(key, {}).get(outcome.step, str(outcome.step))

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
            self._on_rules([rule for key in keys for rule in self._rules.get(key, {}).values()])

    def _take(self, key: bytes, value: bytes | None) -> None:
        if key.startswith(PAUSE):
            held = key.removeprefix(PAUSE).decode("utf-8", "replace")
            (self._paused.discard if value is None else self._paused.add)(held)
            self._on_pause()
        elif key.startswith((b"rule/", b"sequence/")) and value is not None:
            try:
                self._rules[key], self._names[key] = _messages(msgspec.json.decode(value, type=DefinitionRecord))
            except (msgspec.DecodeError, RecursionError, RuleErrors) as error:
                # its deliveries wait and are tried again: a newer dispatcher may know better
                logger.error(
                    "%s: expected a definition that this version can read: %s", key.decode("utf-8", "replace"), error
                )
                self._rules[key] = {}
        elif key.startswith(b"policy/") and value is not None:
            try:
                self._policies[key] = policy_of(msgspec.json.decode(value, type=DefinitionRecord).body)
            except (msgspec.DecodeError, RecursionError, RuleErrors) as error:
                self._policies[key] = str(error)
        elif key.startswith(b"revision/") and value is not None:
            # one that can't be read is the workers' to refuse: what is sent doesn't hang on it
            with contextlib.suppress(msgspec.DecodeError):
                listed = msgspec.json.decode(value, type=RevisionRecord).definitions
                self._in_force = [
                    definition_key(each.kind, each.id, each.version)
                    for each in listed
                    if each.kind in ("rule", "sequence")
                ]
                self._newest = frozenset((each.kind, each.id) for each in listed)
                self._ever |= self._newest
                keys = [definition_key("policy", each.id, each.version) for each in listed if each.kind == "policy"]
                self.policies = tuple(self._policy(key) for key in keys)

    def _policy(self, key: bytes) -> Policy:
        found = self._policies.get(key, "there is none")
        if isinstance(found, Policy):
            return found
        # not passed over, as a rule is: without it more would be sent than is allowed
        raise DefinitionsUnreadable(
            f"{key.decode('utf-8', 'replace')}: expected a policy that this version can read, got something else: {found}"
        )


def _messages(record: DefinitionRecord) -> tuple[dict[int, Rule], dict[int, str]]:
    """The messages of a rule or a sequence, by step, and the names of a sequence's; raises `RuleErrors`."""
    if record.kind == "rule":
        return {STEP: rule_of(record.body)}, {}
    sends = {number: step for number, step in enumerate(sequence_of(record.body).steps) if isinstance(step, Send)}
    return {number: step.message for number, step in sends.items()}, {n: step.name for n, step in sends.items()}
