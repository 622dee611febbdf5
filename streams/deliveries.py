"""What the topics say of deliveries, and what a person may do about them: retry, pause, resume."""

import dataclasses
from collections.abc import Iterable, Sequence

import msgspec
from aiokafka import ConsumerRecord

from actions import RuleErrors, sequence_of
from schemas.definitions import DefinitionRecord
from schemas.deliveries import Delivery, Outcome
from schemas.instants import format_instant
from schemas.topics import DEFINITIONS, DELIVERIES, OUTCOMES, partition_of
from streams.broker import partitions_of, producer, stored
from streams.definitions import read_in_force
from streams.errors import InputError
from streams.rulebook import PAUSE, Pause, pause_key
from streams.settings import Settings

QUEUED = "queued"  # written by a worker, and no dispatcher has said anything of it yet


@dataclasses.dataclass
class Standing:
    """All that is known of one delivery. One that a rule left out has outcomes only."""

    id: str
    delivery: Delivery | None = None
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that counts."""
        return max(self.outcomes, key=lambda outcome: outcome.rank, default=None)

    @property
    def status(self) -> str:
        """`queued`, or the status of the outcome that counts; a retry that is asked for is queued again."""
        outcome, delivery = self.outcome, self.delivery
        if outcome is None or (delivery is not None and delivery.retry > outcome.retry):
            return QUEUED
        return outcome.status

    @property
    def at(self) -> str:
        """When something last happened to it."""
        if self.outcome is not None:
            return self.outcome.at
        return self.delivery.created_at if self.delivery is not None else ""

    @property
    def source(self) -> Delivery | Outcome:
        """Where rule, channel and contact stand."""
        found = self.delivery or self.outcome
        assert found is not None, "a standing is made of at least one record"
        return found


async def standings(settings: Settings, *, ids: Iterable[str] | None = None) -> dict[str, Standing]:
    """Deliveries in the topics by id, in order of what last happened; `ids` None: all. Raises `StreamsError`.

    Of each, only the outcome that counts is kept, unless `ids` are given.
    """
    wanted = None if ids is None else set(ids)
    found: dict[str, Standing] = {}
    deliveries = settings.topic(DELIVERIES.name)
    async for record in stored(settings, [deliveries, settings.topic(OUTCOMES.name)]):
        try:
            _add(found, record, record.topic == deliveries, wanted)
        except (msgspec.DecodeError, RecursionError):
            continue  # the dispatcher puts it into `rejected`, where it is counted and shown
    return dict(sorted(found.items(), key=lambda item: item[1].at))


def _add(found: dict[str, Standing], record: ConsumerRecord, is_delivery: bool, wanted: set[str] | None) -> None:
    if is_delivery:
        delivery = msgspec.json.decode(record.value or b"", type=Delivery)
        if wanted is None or delivery.id in wanted:
            standing = found.setdefault(delivery.id, Standing(delivery.id))
            if standing.delivery is None or delivery.retry >= standing.delivery.retry:
                standing.delivery = delivery
        return
    outcome = msgspec.json.decode(record.value or b"", type=Outcome)
    if wanted is None or outcome.delivery in wanted:
        standing = found.setdefault(outcome.delivery, Standing(outcome.delivery))
        standing.outcomes.append(outcome)
        if wanted is None:
            standing.outcomes = [max(standing.outcomes, key=lambda each: each.rank)]


async def step_names(settings: Settings) -> dict[tuple[str, int, int], str]:
    """What sequences call their steps, by id, version and number, as far as this version can read them.

    Raises `StreamsError`.
    """
    found: dict[tuple[str, int, int], str] = {}
    async for record in stored(settings, [settings.topic(DEFINITIONS.name)]):
        if not (record.key or b"").startswith(b"sequence/") or record.value is None:
            continue
        try:
            definition = msgspec.json.decode(record.value, type=DefinitionRecord)
            steps = sequence_of(definition.body).steps
        except (msgspec.DecodeError, RecursionError, RuleErrors):
            continue  # the dispatcher's log says so
        found |= {(definition.id, definition.version, number): step.name for number, step in enumerate(steps)}
    return found


async def retry(settings: Settings, ids: Sequence[str]) -> list[Delivery]:
    """Asks for another attempt at each of these failed deliveries, with the same ids; what was written.

    Raises `InputError` naming those that can't be retried; then nothing is.
    """
    found = await standings(settings, ids=ids)
    problems = [problem for id in ids if (problem := _not_retried(id, found.get(id)))]
    if problems:
        raise InputError(*problems)
    again = []
    for id in dict.fromkeys(ids):
        delivery, outcome = found[id].delivery, found[id].outcome
        assert delivery is not None and outcome is not None
        again.append(msgspec.structs.replace(delivery, retry=outcome.retry + 1))
    await _write(settings, again)
    return again


async def _write(settings: Settings, deliveries: Sequence[Delivery]) -> None:
    topic = settings.topic(DELIVERIES.name)
    count = (await partitions_of(settings, [topic]))[topic]
    async with producer(settings) as client:
        for delivery in deliveries:
            key = delivery.contact.encode()
            await client.send(topic, msgspec.json.encode(delivery), key, partition_of(key, count))
        await client.flush()


def _not_retried(id: str, standing: Standing | None) -> str | None:
    """Why a delivery can't be retried; None when it can."""
    if standing is None:
        return f"expected the id of a delivery, got {id!r}, which the topics don't have: `tidegate deliveries list`"
    outcome = standing.outcome
    expected = f"delivery {id}: expected one that failed, got one that "
    if standing.status == "skipped" and outcome is not None:
        return f"{expected}was left out: {outcome.reason}"
    if standing.status != "failed" or outcome is None:
        return f"{expected}is {standing.status}" + (f" (since {standing.at})" if standing.at else "")
    if standing.delivery is None:
        return f"{expected}is no longer in the deliveries topic"
    return None


async def paused(settings: Settings) -> dict[str, Pause]:
    """What is paused, by `channel/<channel>`, `rule/<rule>` or `sequence/<sequence>`. Raises `StreamsError`."""
    found: dict[str, Pause] = {}
    async for record in stored(settings, [settings.topic(DEFINITIONS.name)]):
        if record.key is not None and record.key.startswith(PAUSE):
            held = record.key.removeprefix(PAUSE).decode("utf-8", "replace")
            found.pop(held, None)
            if record.value is not None:
                found[held] = msgspec.json.decode(record.value, type=Pause)
    return found


async def pause(settings: Settings, helds: Iterable[str], now_ms: int) -> None:
    """Pauses `channel/<channel>`, `rule/<rule>` or `sequence/<sequence>`, until `resume`.

    Raises `InputError` for a rule or a sequence that isn't in force.
    """
    in_force = await read_in_force(settings)
    known = {
        "rule": sorted(record.id for record in in_force.rules),
        "sequence": sorted(record.id for record in in_force.sequences),
    }
    for held in helds:
        kind, _, name = held.partition("/")
        if kind in known and name not in known[kind]:
            raise InputError(f"expected a {kind} in force ({' '.join(known[kind]) or 'there are none'}), got {name!r}")
    await _put_pauses(settings, helds, msgspec.json.encode(Pause(format_instant(now_ms))))


async def resume(settings: Settings, helds: Iterable[str]) -> None:
    """Ends pauses."""
    await _put_pauses(settings, helds, None)


async def _put_pauses(settings: Settings, helds: Iterable[str], value: bytes | None) -> None:
    async with producer(settings) as client:
        for held in helds:
            await client.send_and_wait(settings.topic(DEFINITIONS.name), value, pause_key(held), 0)
