"""A crowd of contacts in the state topic, written as a worker would have left them: for benches of recovery and of timers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from schemas.topics import partition_of
from streams.bench_stand import say
from streams.checkpoint import META_FORMAT, Frozen, Meta, Overlay, write
from streams.definitions import compile_plan, read_in_force
from streams.kafka_log import KafkaClaim, claim_partition
from streams.plan import Plan
from streams.settings import Settings

CHUNK = 60_000
SAID_EVERY = 5

# the record of the n-th contact, whose id is given as well
Make = Callable[[int, str], bytes]


async def plan_in_force(settings: Settings) -> Plan:
    """The plan that a worker would start under, to make a crowd with."""
    return compile_plan(await read_in_force(settings), settings)


async def write_crowd(settings: Settings, plan: Plan, contacts: int, make: Make, arrival_ms: int) -> None:
    """So many contacts' states, in checkpoints as a worker writes them."""
    meta = Meta(META_FORMAT, arrival_ms, plan.revision, {})
    async with _claims(settings) as claims:
        for turn, first in enumerate(range(0, contacts, CHUNK)):
            if turn % SAID_EVERY == 0:
                say(f"writing states: {first:,} of {contacts:,}")
            states: dict[int, dict[bytes, bytes | None]] = {number: {} for number in claims}
            for number in range(first, min(contacts, first + CHUNK)):
                contact = f"sleeper-{number:09d}"
                key = contact.encode()
                states[partition_of(key, settings.partitions)][key] = make(number, contact)
            frozen = {number: Frozen(records, [], Overlay(), meta) for number, records in states.items()}
            await asyncio.gather(*(write(claim, frozen[number], None) for number, claim in claims.items()))


@contextlib.asynccontextmanager
async def _claims(settings: Settings) -> AsyncIterator[Mapping[int, KafkaClaim]]:
    claims = {number: await claim_partition(settings, number) for number in range(settings.partitions)}
    try:
        yield claims
    finally:
        await asyncio.gather(*(claim.close() for claim in claims.values()))
