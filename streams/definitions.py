"""Definitions on their topic: read what is in force, follow it, and put new ones in force in one transaction.

A revision is whole or not there: readers take committed records only and act on closing revisions alone. An apply is
refused when a newer revision is in force than the one it was checked against; its transactional id sees to it that of
two at the same moment one is fenced.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, MessageSizeTooLargeError, ProducerFenced

from schemas.topics import DEFINITIONS, STATE
from streams.broker import partitions_of, producer, reader, words_of
from streams.errors import BrokerError, DefinitionsRefused
from streams.revisions import RECORD_BYTES_MAX, DefinitionsUnreadable, InForce, Revised, Revisions, messages
from streams.settings import Settings

if TYPE_CHECKING:
    import actions
    from schemas.definitions import DefinitionRecord
    from streams.plan import Plan

__all__ = ["DefinitionsReader", "InForce", "commit", "compile_plan", "events_taken", "read_in_force", "read_revisions"]

log = logging.getLogger(__name__)

FETCH_MS = 500
# the client's own bound is on what isn't compressed yet, with key and overhead (`revisions.VALUE_BYTES_MAX`)
REQUEST_BYTES_MAX = 16 * 1024 * 1024
STALLED_S = 15.0
RETRY_S = 1.0


async def read_in_force(settings: Settings) -> InForce:
    """The definitions of the newest revision; `number` 0 where nothing was applied. Raises `StreamsError`."""
    return (await read_revisions(settings)).in_force


async def read_revisions(settings: Settings) -> Revisions:
    """All revisions, read to the end of the topic. Raises `StreamsError`."""
    revisions = Revisions()
    async with reader(settings, [settings.topic(DEFINITIONS.name)]) as consumer:
        await _read_to_end(consumer, revisions)
    return revisions


async def commit(settings: Settings, revised: Revised) -> None:
    """Puts a revision in force, all of it or nothing.

    Raises `DefinitionsRefused` where another one is in force than the one it was made from, or a record would be larger
    than Kafka takes; `BrokerError`.
    """
    topic = settings.topic(DEFINITIONS.name)
    options = {"compression_type": "gzip", "max_request_size": REQUEST_BYTES_MAX}
    records = messages(revised)
    async with producer(settings, transactional_id=settings.topic("definitions"), **options) as client:
        # from here on an apply that was under way elsewhere is fenced; what it committed before, this reads
        number = (await read_in_force(settings)).number
        if number != revised.revision.number - 1:
            raise DefinitionsRefused(
                f"checked against revision {revised.revision.number - 1}, but revision {number} is in force by now: "
                "nothing was applied; look with `tidegate segments list`, then run this again"
            )
        try:
            async with client.transaction():
                sent = [await client.send(topic, value, key, partition=0) for key, value in records]
                await asyncio.gather(*sent)
        except (ProducerFenced, InvalidProducerEpoch):
            raise DefinitionsRefused(
                "another apply began while this one was being written: nothing of this one was applied; "
                "look with `tidegate segments list`, then run this again"
            ) from None
        except MessageSizeTooLargeError:
            raise DefinitionsRefused(
                f"expected {topic} to take records of up to {RECORD_BYTES_MAX:,} bytes, it doesn't: nothing was applied; "
                "`tidegate topics check` says which of its settings to raise"
            ) from None
        except KafkaError as error:
            raise BrokerError(
                f"Kafka at {settings.broker} failed while revision {revised.revision.number} was being written: "
                f"{words_of(error)}; all of it is in force or nothing: look with `tidegate segments list`"
            ) from error


async def events_taken(settings: Settings) -> bool:
    """Whether a worker of this prefix has ever written state. Raises `StreamsError`."""
    topic = settings.topic(STATE.name)
    count = (await partitions_of(settings, [topic]))[topic]
    async with reader(settings, [topic]) as consumer:
        ends = await consumer.end_offsets([TopicPartition(topic, n) for n in range(count)])
    return any(ends.values())


class DefinitionsReader:
    """Follows the definitions topic for a worker: `start`, then `changed` in a loop, then `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._revisions = Revisions()
        self._newer = asyncio.Condition()
        self._open = contextlib.AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def in_force(self) -> InForce:
        """The definitions of the newest revision read so far."""
        return self._revisions.in_force

    def in_force_at(self, number: int) -> InForce:
        """The definitions of an earlier revision. Raises `DefinitionsUnreadable`."""
        return self._revisions.at(number)

    async def start(self) -> None:
        """Reads to the end of the topic, then goes on reading in a task of its own. Raises `StreamsError`."""
        consumer = await self._open.enter_async_context(
            reader(self._settings, [self._settings.topic(DEFINITIONS.name)])
        )
        try:
            await _read_to_end(consumer, self._revisions)
        except BaseException:
            await self._open.aclose()
            raise
        self._following = asyncio.create_task(self._follow(consumer), name="definitions")

    async def changed(self, after: int) -> InForce:
        """Waits for a revision newer than number `after` and returns it; raises what ended the reading, if it ended."""
        assert self._following is not None, "start it first"
        async with self._newer:
            await self._newer.wait_for(lambda: self._ended or self.in_force.number > after)
        if self.in_force.number <= after:
            await self._following
        return self.in_force

    async def stop(self) -> None:
        """Ends the reading; nobody may wait for `changed` any more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._open.aclose()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    fetched = await consumer.getmany(timeout_ms=FETCH_MS)
                except KafkaError as error:
                    log.warning("definitions can't be read, trying again in %g s: %r", RETRY_S, error)
                    await asyncio.sleep(RETRY_S)
                    continue
                added = [_add(self._revisions, record) for batch in fetched.values() for record in batch]
                if any(added):
                    await self._wake()
        finally:
            self._ended = True
            await self._wake()

    async def _wake(self) -> None:
        async with self._newer:
            self._newer.notify_all()


def _add(revisions: Revisions, record: "ConsumerRecord[bytes, bytes]") -> bool:
    """As `Revisions.add`; what can't be read is said with its place and a way out."""
    try:
        return revisions.add(record.key, record.value)
    except DefinitionsUnreadable as error:
        raise DefinitionsUnreadable(
            f"{record.topic}, offset {record.offset}: {error}: nothing but `tidegate` may write to this topic; "
            "run the version that wrote this, or begin anew under another TIDEGATE_PREFIX"
        ) from None


async def _read_to_end(consumer: AIOKafkaConsumer, revisions: Revisions) -> None:
    """Feeds `revisions` all that is committed now."""
    (partition,) = consumer.assignment()
    end = (await consumer.end_offsets([partition]))[partition]
    clock = asyncio.get_running_loop().time
    read_s = clock()
    while await consumer.position(partition) < end:
        fetched: dict[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]] = await consumer.getmany(
            timeout_ms=FETCH_MS
        )
        for record in fetched.get(partition, ()):
            _add(revisions, record)
            read_s = clock()
        if clock() - read_s > STALLED_S:
            raise BrokerError(
                f"{partition.topic}: expected records up to offset {end}, got none past "
                f"{await consumer.position(partition)} for {STALLED_S:g} s: see that the partition has a leader"
            )


def compile_plan(in_force: InForce, settings: Settings, before: "Plan | None" = None) -> "Plan":
    """The segments, rules and sequences of `in_force`, compiled with the settings that belong to their meaning.

    `before` is the plan that was in force until then, so that states of it are taken over by what differs.

    Raises `DefinitionErrors` or `RuleErrors` where this code can't take what another version of it applied.
    """
    from actions import compile_rules, rule_of, sequence_of
    from actions.compiled import compile_sequences
    from actions.machine import InForce as SequenceInForce
    from segments import Program, compile_program, load_data
    from streams.plan import Plan

    # `rules` is there to say that no segments at all is meant
    bodies = {
        "segments": [record.body for record in in_force.segments],
        "scores": [record.body for record in in_force.scores],
        "rules": [],
    }
    limits, name = settings.limits(), settings.topic(DEFINITIONS.name)
    definitions, follower = compile_sequences(
        [
            SequenceInForce(sequence_of(record.body), record.version, in_force.since_ms["sequence", record.id])
            for record in in_force.sequences
        ],
        _readable(in_force.kept),
        lambda lifted: load_data(bodies, name, limits, lifted=lifted),
        # by that clock time passes by records alone, so what is due is played long after it without being late
        prompt_ms=limits.grace_ms if settings.clock == "arrival" else None,
    )
    program = compile_program(
        definitions,
        limits=limits,
        versions={record.id: record.version for record in in_force.segments},
        revision=in_force.number,
        previous=before.program if before is not None and isinstance(before.program, Program) else None,
        follower=follower if any(kind == "sequence" for kind, _ in in_force.versions) else None,
    )
    rules = compile_rules(
        [rule_of(record.body) for record in in_force.rules],
        {record.id: in_force.since_ms["rule", record.id] for record in in_force.rules},
        {record.id: record.version for record in in_force.rules},
    )
    sequences = tuple(record.id for record in in_force.sequences)
    return Plan(program, rules, in_force.number, sequence_ids=sequences)


def _readable(kept: "Sequence[DefinitionRecord]") -> "dict[tuple[str, int], actions.Sequence]":
    """Earlier versions of sequences; one that this code can't take is left out, and who is in it ends: a worker must start."""
    from actions import RuleErrors, sequence_of

    found = {}
    for record in kept:
        try:
            found[record.id, record.version] = sequence_of(record.body)
        except RuleErrors as error:
            log.warning(
                "sequence %s, version %d: this code can't take it, and who is in it ends: %s",
                record.id, record.version, error,
            )  # fmt: skip
    return found
