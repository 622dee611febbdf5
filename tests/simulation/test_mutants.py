"""Faults put into the shell on purpose: the simulation finds each of them, so that its silence means something."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import machine
import plans
import pytest
from script import draw
from trials import failure_of

from streams import checkpoint, takeover, worker
from streams.inbox import Inbox, Mark
from streams.log import FencedError, LogError
from streams.partition import Partition
from streams.timers import Timers
from streams.worker import Worker

SEEDS = 4_000
# looked at first, as few others find these; where they no longer do, all are
FOUND_BY = {
    "plays_what_is_due_under_the_newer_definitions": (1659, 1674),
    "reads_state_before_it_has_the_claim": (868, 1084),
    "takes_turns_while_it_encodes": (296, 492),
}
Patch = pytest.MonkeyPatch
_mutants: list[Callable[[Patch], None]] = []


def mutant(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Has the fault looked for."""
    _mutants.append(function)
    return function


@mutant
def commits_before_acknowledgements(patch: Patch) -> None:
    async def write(claim: Any, frozen: Any, offsets: Any) -> int:
        await claim.begin()
        sent = [future for t, records in frozen.records().items() for future in await claim.send(t, records)]
        await claim.commit()
        await asyncio.wait(sent)
        ends = [future.result() for future in sent if future.exception() is None]
        return ends[0] if ends else 0

    patch.setattr(worker, "write", write)


@mutant
def reads_state_before_it_has_the_claim(patch: Patch) -> None:
    claim, load = takeover._claim, takeover._load
    promised: dict[Any, tuple[Any, dict[int, Any]]] = {}

    async def promise(log: Any, numbers: Any) -> dict[int, Any]:
        promised[log] = numbers, {}
        return promised[log][1]

    async def load_first(log: Any, *rest: Any) -> None:
        await load(log, *rest)
        numbers, claims = promised.pop(log)
        claims.update(await claim(log, numbers))

    patch.setattr(takeover, "_claim", promise)
    patch.setattr(takeover, "_load", load_first)


@mutant
def says_it_applied_what_it_has_read(patch: Patch) -> None:
    def marks(inbox: Inbox) -> dict[str, Mark]:
        return {s.topic: Mark(s.read, s.received_ms, s.order_ms, s.closed) for s in inbox._sources}

    patch.setattr(Inbox, "marks", marks)


@mutant
def goes_on_from_the_offsets_of_the_group(patch: Patch) -> None:
    take_over, marks = takeover.take_over, takeover._marks
    offsets: dict[tuple[str, int], int] = {}

    async def taking(log: Any, *rest: Any) -> Any:
        offsets.update(log._broker.offsets)
        return await take_over(log, *rest)

    def by_offsets(number: int, *rest: Any) -> dict[str, Mark]:
        return {
            topic: Mark(offsets.get((topic, number), 0), mark.received_ms, mark.order_ms, mark.closed)
            for topic, mark in marks(number, *rest).items()
        }

    patch.setattr(worker, "take_over", taking)
    patch.setattr(takeover, "_marks", by_offsets)


@mutant
def plays_timers_before_the_slack_is_over(patch: Patch) -> None:
    patch.setattr(Partition, "_arrival_at", lambda self, now_ms: max(self.arrival_ms, now_ms + 1))


@mutant
def forgets_arrival_time_at_a_take_over(patch: Patch) -> None:
    init = Partition.__init__

    def forgetful(self: Partition, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        self.arrival_ms = 0

    patch.setattr(Partition, "__init__", forgetful)


@mutant
def goes_on_after_a_checkpoint_that_failed(patch: Patch) -> None:
    async def checkpoint(self: Worker, partition: Partition, *, offsets: bool = False) -> None:
        try:
            await self._checkpoint(partition, offsets)
        except FencedError:
            raise
        except LogError:
            pass

    patch.setattr(Worker, "checkpoint", checkpoint)


@mutant
def goes_on_after_a_last_checkpoint_without_an_answer(patch: Patch) -> None:
    release = Worker.release

    async def hopeful(self: Worker, timeout_s: float) -> None:
        await release(self, timeout_s)
        self.failed = False

    patch.setattr(Worker, "release", hopeful)


@mutant
def takes_turns_while_it_encodes(patch: Patch) -> None:
    """What a turn changes then goes into both checkpoints, or into the wrong one."""
    freeze = Partition.freeze

    def soft(self: Partition) -> Any:
        freezing = freeze(self)
        self.frozen = False
        return freezing

    encode = checkpoint.Freezing.encode
    looks = itertools.count()

    def slow(self: Any, clock: Any, until_ms: float) -> bool:
        return False if next(looks) % 30 else encode(self, clock, until_ms)

    patch.setattr(Partition, "freeze", soft)
    patch.setattr(checkpoint.Freezing, "encode", slow)


@mutant
def takes_definitions_up_at_once(patch: Patch) -> None:
    def swap(self: Worker) -> None:
        plan = self.plans.current
        for partition in self.partitions.values():
            if plan.revision > partition.plan.revision and not partition.frozen:
                partition.plan = plan

    patch.setattr(Worker, "_swap_plans", swap)


@mutant
def plays_what_is_due_under_the_newer_definitions(patch: Patch) -> None:
    def swap(self: Worker) -> None:
        plan = self.plans.current
        for number, partition in self.partitions.items():
            if plan.revision <= partition.plan.revision or partition.void or partition.to_change:
                continue
            if partition.overlay.events or number in self._jobs:
                partition.closing = True
                self._changed.set()
            else:
                plan.program.follow(partition.plan.program)
                partition.take_plan(plan, self.clock.spent_ms())
                return

    patch.setattr(Worker, "_swap_plans", swap)


@mutant
def takes_all_of_an_edit_for_unchanged(patch: Patch) -> None:
    patch.setattr(plans.Touchy, "follow", lambda self, previous: None)


@mutant
def believes_the_newest_definitions_at_a_take_over(patch: Patch) -> None:
    take_over = takeover.take_over

    async def newest(log: Any, numbers: Any, committed: Any, plans: Any, *rest: Any) -> Any:
        taken = await take_over(log, numbers, committed, plans, *rest)
        for partition in taken.values():
            partition.plan = plans.current
        return taken

    patch.setattr(worker, "take_over", newest)


@mutant
def follows_the_wall_clock_wherever_it_goes(patch: Patch) -> None:
    patch.setattr(machine.MachineClock, "now_ms", lambda self: int(self._wall_ms()))


@mutant
def merges_topics_by_what_was_fetched_first(patch: Patch) -> None:
    patch.setattr("streams.inbox._certain", lambda *_: True)


@mutant
def forgets_what_is_due_after_a_restart(patch: Patch) -> None:
    patch.setattr("streams.contacts.Timers", lambda due: Timers([]))


@pytest.mark.parametrize("put_in", _mutants, ids=lambda function: function.__name__)
def test_a_worker_that_does_it_wrong_is_found_out(put_in: Callable[[Patch], None], monkeypatch: Patch) -> None:
    put_in(monkeypatch)
    seeds = itertools.chain(FOUND_BY.get(put_in.__name__, ()), range(SEEDS))
    found = next(filter(None, (failure_of(draw(seed)) for seed in seeds)), None)
    assert found is not None, f"expected it to be found by one of {SEEDS} seeds"
    assert not any(each in found for each in ("TypeError", "AttributeError", "NameError")), "that is the mutant's own"
