"""Taking partitions over: claim first, then read what is committed, then look at what is due (I4, I9).

Invariants:
  * Nothing is read before the claim stands: what is read can't change any more.
  * Positions come from the meta record alone. No state and no meta record: a new partition, from the beginning. State
    without a meta record, or a position that the log no longer has: an error.
  * A partition goes on under the revision that its meta record names; the worker brings it to a newer one (I9).
  * A take-over that fails or is cancelled lets go of its claims.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set

from streams.committed import Committed, check_positions, check_whole, records_of
from streams.inbox import Inbox, Mark
from streams.log import Claim, Log
from streams.memory import Memory
from streams.metrics import Metrics
from streams.partition import Partition, Rates
from streams.plan import Plans

CLOSE_TIMEOUT_S = 3.0
# timers and changes of definition in the checkpoints that a worker has under way: less than a tenth of a second's work, as
# events wait for it
BESIDE_MAX = 1_500


async def take_over(
    log: Log,
    numbers: Set[int],
    committed: dict[int, Committed],
    plans: Plans,
    topics: Sequence[str],
    rates: Rates,
    metrics: Metrics,
    memory: Memory,
) -> dict[int, Partition]:
    """The partitions, ready for their first turn; what is left is to have the log read them from where they are.

    `committed` holds what is known of each from an earlier ownership and is brought up to date; `topics` are the sources in
    the order of the merge. Raises StateError, LostEventsError, MemoryBoundError and whatever the log raises.
    """
    claims = await _claim(log, numbers)
    try:
        await _load(log, committed, metrics, memory)
        for number in numbers:
            check_whole(number, committed[number])
        bounds = await log.bounds(numbers)
        marks = {number: _marks(number, committed[number], topics, bounds) for number in numbers}
        partitions = {}
        for number in sorted(numbers):
            inbox = Inbox(topics, marks[number], arrival=rates.arrival)
            meta = committed[number].meta
            plan = plans.current if meta is None else await plans.of(meta.revision)
            partitions[number] = Partition(
                number,
                claims[number],
                committed[number],
                inbox,
                plan,
                rates,
                metrics,
                max(50, BESIDE_MAX // len(numbers)),
                len(numbers),
            )
            # whoever was here before may have been interrupted in taking contacts over into it
            for revision in partitions[number].contacts.older_revisions():
                plan.program.follow((await plans.of(revision)).program)
            await asyncio.sleep(0)  # each looks through all its contacts: the loop gets its turn in between
    except BaseException:
        await close(claims.values())
        raise
    return partitions


async def close(claims: Iterable[Claim]) -> None:
    """Lets go of claims, in bounded time: one that can't be closed is void as soon as the next one is made."""
    tasks = [asyncio.ensure_future(claim.close()) for claim in claims]
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
        for task in tasks:
            task.cancel()
        for task in done:
            task.exception()  # looked at, so that nobody warns of it


async def _claim(log: Log, numbers: Set[int]) -> dict[int, Claim]:
    ordered = sorted(numbers)
    tasks = [asyncio.ensure_future(log.fence(number)) for number in ordered]
    try:
        return dict(zip(ordered, await asyncio.gather(*tasks), strict=True))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close([task.result() for task in tasks if not task.cancelled() and task.exception() is None])
        raise


async def _load(log: Log, committed: Mapping[int, Committed], metrics: Metrics, memory: Memory) -> None:
    """Reads the state topic from where each partition was left to its end."""
    left = set(committed)
    metrics.recovery_partitions_left.set(len(left))
    async for number, records, end in log.read_state({number: c.end for number, c in committed.items()}):
        committed[number].load(records_of(records), end)
        metrics.recovery_records.inc(len(records))
        memory.admit(committed.values())
        if not records:  # it was read to its end
            left.discard(number)
            metrics.recovery_partitions_left.set(len(left))
    metrics.recovery_partitions_left.set(0)


def _marks(
    number: int,
    committed: Committed,
    topics: Sequence[str],
    bounds: Mapping[tuple[str, int], tuple[int, int]],
) -> dict[str, Mark]:
    """Where each source goes on; one that the meta record doesn't know begins at its beginning."""
    known = committed.meta.topics if committed.meta else {}
    marks = {topic: known.get(topic) or Mark(bounds[topic, number][0]) for topic in topics}
    check_positions(number, {topic: mark.position for topic, mark in marks.items()}, bounds)
    return marks
