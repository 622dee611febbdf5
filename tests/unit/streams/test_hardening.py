"""What a fresh look at the worker found: each of these stopped it, set it back, or told somebody something untrue."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from memory_log import MemoryClaim
from test_worker import START_MS, Bench, plan_of

from streams.log import LogError
from streams.plan import KEY_BYTES_MAX, VALUE_BYTES_MAX, fitting

DAY_MS = 86_400_000


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.worker.take_over({0})
    return made


def test_what_was_rejected_is_cut_to_what_a_broker_takes_and_says_so() -> None:
    """A rejected record that can't be written would stop its partition for ever."""
    assert fitting(b"k", b"v" * 300_000, []) == (b"k", b"v" * 300_000, [])
    key, value, headers = fitting(b"k" * 10**6, b"v" * 10**6, [("reason", b"too_large")])
    assert key is not None
    assert value is not None
    assert len(key) == KEY_BYTES_MAX
    assert len(key) + len(value) <= VALUE_BYTES_MAX
    assert headers == [("reason", b"too_large"), ("cut_from_bytes", b"1000000")]


async def test_a_contact_whose_traits_are_too_large_as_json_is_told_without_them(bench: Bench) -> None:
    """Six bytes of JSON stand for one of the state: the record would pass what the broker takes."""
    for number in range(5):
        bench.publish(type="identify", traits={f"t{number}": "\u0001" * 40_000})
    await bench.commit()
    (record,) = bench.broker.committed("contacts", 0)
    told = orjson.loads(record.value or b"")
    assert (told["traits"], told["traits_cut"]) == ({}, True)
    assert len(record.value or b"") < VALUE_BYTES_MAX


async def test_a_worker_whose_last_checkpoint_got_no_answer_never_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its late answer would set state back that the next owner has already moved on."""
    never = asyncio.Event()

    async def commit(claim: Any) -> None:
        await never.wait()

    monkeypatch.setattr(MemoryClaim, "commit", commit)
    bench.publish()
    await bench.apply()
    await bench.worker.release(0.01)
    assert bench.worker.failed
    assert not bench.worker.busy
    with pytest.raises(LogError, match="start it again"):
        await bench.worker.take_over({0})


class TestDefinitionsTakeEffectAtOneInstant:
    """What was due before is played under the old ones; the new ones play nothing of the past."""

    ENDS = "segments: [{id: a-lately, when: {event: A, within: 10s}}, {id: ends, when: {trait: ends, within_next: 1d}}]"

    async def test_a_contact_at_rest_is_not_told_of_what_would_have_been_due(self, bench: Bench) -> None:
        """Rules take timers: an edit would have mailed everybody whose day came and went in the meantime."""
        bench.publish(type="identify", traits={"ends": (START_MS + 3 * DAY_MS) // 1000})
        await bench.commit()
        bench.clock.at_ms += 30 * DAY_MS
        await bench.commit()
        bench.plans.current = plan_of(self.ENDS, 2)
        await bench.commit()
        bench.clock.at_ms += DAY_MS
        await bench.commit()
        assert bench.transitions() == []
        assert bench.worker.partitions[0].plan.revision == 2

    async def test_what_was_due_before_comes_by_time_under_the_old_ones(self, bench: Bench) -> None:
        """The segment didn't change: nobody left it by an edit."""
        bench.publish()
        await bench.commit()
        bench.clock.at_ms += 60_000
        bench.plans.current = plan_of(self.ENDS, 2)
        for _ in range(3):
            await bench.commit()
        assert [each[1:] for each in bench.transitions()] == [
            ("a-lately", "entered", "event"),
            ("a-lately", "left", "timer"),
        ]
        assert bench.worker.partitions[0].plan.revision == 2

    async def test_they_come_into_force_however_much_is_waiting_to_be_read(self, bench: Bench) -> None:
        """While timers fall due with each turn, a backlog would otherwise be read to its end under the old ones."""
        for number in range(3_000):
            bench.clock.at_ms += 20
            bench.publish(contact=f"c{number % 50}", timestamp=bench.clock.now_ms())
        await bench.worker.feed()
        bench.worker.turn()
        bench.plans.current = plan_of(self.ENDS, 2)
        partition = bench.worker.partitions[0]
        while partition.plan.revision == 1:
            taken = partition.inbox.lag
            bench.worker.turn()
            if partition.overlay.events:
                await bench.worker.checkpoint(partition)
            assert partition.inbox.lag == taken or partition.plan.revision == 2, (
                "nothing is taken while newer ones wait"
            )

    async def test_an_owner_who_finds_a_sweep_half_done_knows_since_when(self, bench: Bench) -> None:
        """Else those not swept yet would be taken over as of a later instant, and their timers in between be lost."""
        bench.publish()
        await bench.commit()
        bench.plans.current = plan_of(self.ENDS, 2)
        for _ in range(3):
            await bench.commit()
        bench.publish(contact="d")
        await bench.commit()
        effective_ms = bench.worker.partitions[0].contacts.effective_ms
        bench.clock.at_ms += 60_000
        await bench.restart()
        assert bench.worker.partitions[0].contacts.effective_ms == effective_ms

    async def test_a_new_owner_goes_on_under_the_revision_that_it_finds(self, bench: Bench) -> None:
        """What fell due while nobody was there belongs to the definitions of then (I9)."""
        old = bench.plans.current
        bench.publish()
        await bench.commit()
        bench.clock.at_ms += 60_000
        bench.plans.current = plan_of(self.ENDS, 2)
        bench.plans.older = [old]
        await bench.restart()
        for _ in range(3):
            await bench.commit()
        assert [each[1:] for each in bench.transitions()] == [
            ("a-lately", "entered", "event"),
            ("a-lately", "left", "timer"),
        ]
        assert bench.worker.partitions[0].plan.revision == 2


async def test_with_the_arrival_clock_falling_arrivals_come_out_alike_however_turns_end() -> None:
    """A file out of order must not give one outcome before a crash and another after it."""
    outcomes = []
    for chunk in (50, 1):
        bench = Bench(arrival=True)
        bench.worker = bench.new_worker(chunk_events=chunk)
        await bench.worker.take_over({0})
        for contact, seconds in (("c", 0), ("d", 20), ("c", 5), ("d", 41)):
            at_ms = START_MS + seconds * 1000
            bench.publish(contact=contact, timestamp=at_ms, receivedAt=at_ms)
        tick = orjson.dumps({"type": "tick", "receivedAt": START_MS + 60_000})
        for topic in ("one", "two"):
            bench.broker.publish(topic, 0, b"", tick)
        await bench.commit()
        outcomes.append(sorted(bench.transitions()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]
