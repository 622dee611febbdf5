"""What our own code raises on is left out, exactly and alone; what looks like a deploy gone wrong stops its partition."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from memory_log import LogError
from test_worker import EVERYONE, SLACK_MS, START_MS, Bench
from test_worker import plan_of as sound_plan_of

from schemas.events import Event
from schemas.rejected import Reason
from schemas.topics import partition_of
from streams import inbox
from streams.checkpoint import META_KEY
from streams.committed import StateError
from streams.log import Outgoing
from streams.plan import Plan
from streams.poison import CONTACTS_MAX, NEW_RECORDS, RECORDS_MAX, WINDOW_MS, text_of
from streams.showing import show
from streams.worker import Worker


class Poisoned:
    """A program that raises as it is told to, once a step is done: state and transitions are changed by then."""

    def __init__(self, program: Any, *, secret: str = "") -> None:
        self._program = program
        self._secret = secret
        self.events: Callable[[Event], bool] = lambda event: False
        self.timers: set[str] = set()
        self.changes: set[str] = set()
        self.encodes: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def apply(self, state: Any, event: Event, arrived_ms: int, received_ms: int) -> Any:
        step = self._program.apply(state, event, arrived_ms, received_ms)
        if self.events(event):
            raise ZeroDivisionError(f"no half of {self._secret}")
        return step

    def advance(self, state: Any, until_ms: int) -> Any:
        transitions = self._program.advance(state, until_ms)
        if state.contact in self.timers:
            raise ZeroDivisionError(self._secret)
        return transitions

    def follow(self, previous: Any) -> None:
        self._program.follow(previous._program if isinstance(previous, Poisoned) else previous)

    def change_over(self, state: Any, until_ms: int) -> Any:
        transitions = self._program.change_over(state, until_ms)
        if state.contact in self.changes:
            raise ZeroDivisionError(self._secret)
        return transitions

    def encode(self, state: Any) -> bytes:
        if state.contact in self.encodes:
            raise ZeroDivisionError(self._secret)
        encoded: bytes = self._program.encode(state)
        return encoded


def plan_of(text: str, revision: int) -> Plan:
    """One on which nothing raises, and which takes over from one that does."""
    return poison(sound_plan_of(text, revision))[0]


def poison(plan: Plan, **given: Any) -> tuple[Plan, Poisoned]:
    """The plan, and what makes it raise."""
    program = plan.program if isinstance(plan.program, Poisoned) else Poisoned(plan.program, **given)
    return dataclasses.replace(plan, program=program), program


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.worker.take_over({0})
    return made


@pytest.fixture
async def program(bench: Bench) -> Poisoned:
    """Of the bench's worker, which has it from the start; events raise that say so."""
    bench.plans.current, made = poison(bench.plans.current)
    made.events = lambda event: bool(event.properties.get("poison"))
    await bench.restart()
    return made


async def through(bench: Bench, worker: Worker | None = None) -> None:
    """Reads, applies and commits, until there is nothing more to do."""
    worker = worker or bench.worker
    for _ in range(300):
        await worker.feed()
        while worker.turn():
            pass
        busy = False
        for partition in worker.partitions.values():
            if partition.overlay.events:
                await worker.checkpoint(partition)
                busy = True
            busy = busy or partition.void or (partition.inbox.lag > 0 and not partition.stopped)
        if not busy:
            return
    raise AssertionError("expected the worker to get through, it never did")


def send(bench: Bench, contact: str = "c", **fields: Any) -> None:
    """An event whose record is told apart by time."""
    bench.clock.at_ms += 1
    bench.publish(contact=contact, timestamp=bench.clock.at_ms, **fields)


def send_poison(bench: Bench, contact: str = "c") -> None:
    send(bench, contact, properties={"poison": True})


def rejected(bench: Bench) -> list[tuple[str, int]]:
    """Reason and offset of what was rejected."""
    found = [dict(each.headers or []) for each in bench.broker.committed("rejected", 0)]
    return [(each["reason"].decode(), int(each["offset"])) for each in found]


def stopped(bench: Bench) -> bool:
    return bench.worker.partitions[0].stopped


def gauge(bench: Bench, name: str) -> str:
    show(bench.worker)
    lines = bench.worker.metrics.text().decode().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith(f"tidegate_{name} "))


def entered(bench: Bench) -> list[str]:
    return [contact for contact, _, transition, _ in bench.transitions() if transition == "entered"]


# ---- records ----------------------------------------------------------------------------------------------------------


async def test_a_record_that_raises_goes_to_rejected_and_all_else_flows_once(bench: Bench, program: Poisoned) -> None:
    send(bench, "before")
    await through(bench)
    send(bench, "c")
    send_poison(bench, "c")
    send_poison(bench, "new")
    send(bench, "after")
    await through(bench)

    assert rejected(bench) == [("raised", 2), ("raised", 3)]
    assert entered(bench) == ["before", "c", "after"]
    bench.clock.at_ms += 60_000
    await through(bench)
    assert len(bench.transitions()) == 6


async def test_nothing_of_a_step_that_raised_is_left_in_the_state(bench: Bench, program: Poisoned) -> None:
    """By then the program has changed the state, and would have told of it."""
    send(bench, "c", type="identify", traits={"plan": "free"})
    await through(bench)
    send(bench, "c", type="identify", traits={"plan": "pro"}, properties={"poison": True})
    program.events = lambda event: bool(event.traits and event.traits.get("plan") == "pro")
    send(bench, "c")
    await through(bench)

    assert [each[1:] for each in bench.transitions()] == [("a-lately", "entered", "event")]
    assert bench.worker.partitions[0].contacts.states[b"c"].present_traits() == {"plan": "free"}
    (contact,) = bench.broker.committed("contacts", 0)
    assert orjson.loads(contact.value or b"")["traits"] == {"plan": "free"}


async def test_what_was_rejected_says_what_was_raised_but_nothing_that_stands_in_the_record(bench: Bench) -> None:
    bench.plans.current, program = poison(bench.plans.current, secret="ann@x.org's 9,000")
    program.events = lambda event: True
    await bench.restart()
    bench.publish(contact="ann@x.org", properties={"owes": "9,000"})
    await through(bench)

    (record,) = bench.broker.committed("rejected", 0)
    sentence = dict(record.headers or [])["sentence"].decode()
    assert sentence.startswith("this version raises ZeroDivisionError (streams/test_poison.py, line ")
    assert sentence.endswith("): no half of …@….…'s …,…")
    assert orjson.loads(record.value or b"")["properties"] == {"owes": "9,000"}


def test_an_exceptions_text_is_bounded_and_on_one_line() -> None:
    assert len(text_of(ValueError("x\n" * 10**6), None, None)) == 200
    assert text_of(KeyError("caf\u00e9"), b"k", b'"caf\\u00e9"') == "'…'"


async def test_the_log_names_the_record_and_the_line_but_neither_contact_nor_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.plans.current, program = poison(bench.plans.current, secret="secret")
    program.events = lambda event: True
    await bench.restart()
    bench.publish(contact="ann@x.org")
    with caplog.at_level(logging.INFO):
        await through(bench)

    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert "partition 0 leaves out the record at one, offset 0" in line
    assert "raises ZeroDivisionError (streams/test_poison.py, line" in line
    assert "tidegate rejected replay --reason raised" in line
    assert "ann" not in line
    assert "secret" not in line


async def test_a_record_whose_reading_raises_is_left_out_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = inbox.parse_event

    def parse_or_raise(value: bytes, *, ticks: bool) -> Event:
        if b"deep" in value:
            raise RecursionError
        return parse(value, ticks=ticks)

    monkeypatch.setattr(inbox, "parse_event", parse_or_raise)
    send(bench, "c")
    send(bench, "d", properties={"deep": True})
    send(bench, "e")
    await through(bench)
    assert rejected(bench) == [("raised", 1)]
    assert entered(bench) == ["c", "e"]


async def test_memory_that_runs_out_is_no_fault_of_the_record(bench: Bench, program: Poisoned) -> None:
    """The worker ends, and nothing of it is committed."""

    def run_out(event: Event) -> bool:
        raise MemoryError

    program.events = run_out
    send(bench)
    with pytest.raises(MemoryError):
        await through(bench)
    await bench.worker.release(1.0)
    assert bench.broker.committed("state", 0) == []


async def test_a_checkpoint_under_way_is_waited_for_and_nothing_of_it_repeated(bench: Bench, program: Poisoned) -> None:
    send(bench, "c")
    await bench.apply()
    partition = bench.worker.partitions[0]
    running = asyncio.ensure_future(bench.worker.checkpoint(partition))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    send(bench, "d")
    send_poison(bench, "c")
    await bench.apply()
    assert partition.void
    await bench.worker.feed()
    assert partition.void or running.done()
    await running
    await through(bench)
    assert entered(bench) == ["c", "d"]
    assert rejected(bench) == [("raised", 2)]


async def test_a_checkpoint_that_was_asked_for_before_a_record_raised_commits_nothing(
    bench: Bench, program: Poisoned
) -> None:
    """Its positions would be past records of which nothing is left."""
    send(bench, "c")
    await bench.apply()
    send_poison(bench, "c")
    await bench.worker.feed()
    asked = asyncio.ensure_future(bench.worker.checkpoint(bench.worker.partitions[0]))
    bench.worker.turn()
    await asked
    await bench.restart()
    await through(bench)
    assert entered(bench) == ["c"]
    assert rejected(bench) == [("raised", 1)]


async def test_a_checkpoint_that_fails_after_a_record_raised_ends_the_worker(bench: Bench, program: Poisoned) -> None:
    """What became of it may not be known: what is committed has to be read again."""
    send(bench, "c")
    await bench.apply()
    bench.fault = lambda doing, partition: LogError("injected") if doing == "answer" else None
    running = asyncio.ensure_future(bench.worker.checkpoint(bench.worker.partitions[0]))
    await asyncio.sleep(0)
    send_poison(bench, "c")
    send(bench, "d")
    await bench.apply()
    with pytest.raises(LogError, match="injected"):
        await running
    bench.fault = lambda doing, partition: None
    await bench.worker.feed()
    assert bench.worker.partitions[0].void
    await bench.worker.release(1.0)
    await bench.restart()
    await through(bench)
    assert entered(bench) == ["c", "d"]


async def test_other_partitions_of_the_worker_lose_and_repeat_nothing(bench: Bench, program: Poisoned) -> None:
    bench.rates = dataclasses.replace(bench.rates, partitions=2)
    worker = bench.new_worker()
    worker.log.fetch_max = 3  # type: ignore[attr-defined]
    await worker.take_over({0, 1})
    mine, others = ([str(n) for n in range(80) if partition_of(b"%d" % n, 2) == which][:25] for which in (0, 1))
    for number, (contact, other) in enumerate(zip(mine, others, strict=True)):
        bench.clock.at_ms += 1
        properties = {"poison": number in (4, 9)}
        for partition, each, given in ((0, contact, properties), (1, other, {})):
            event = {"type": "track", "event": "A", "userId": each, "timestamp": START_MS, "properties": given}
            bench.broker.publish("one", partition, each.encode(), orjson.dumps(event))
    await worker.feed()
    while worker.turn():
        pass
    untouched = worker.partitions[1].contacts
    assert worker.partitions[0].void or worker.partitions[0].inbox.lag
    await through(bench, worker)

    assert worker.partitions[1].contacts is untouched
    assert [each.key.decode() for each in bench.broker.committed("transitions", 1) if each.key] == others
    expected = [contact for number, contact in enumerate(mine) if number not in (4, 9)]
    assert [each.key.decode() for each in bench.broker.committed("transitions", 0) if each.key] == expected
    assert len(bench.broker.committed("rejected", 0)) == 2


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_comes_between_all_but_the_poison_is_applied_once_and_in_order(seed: int) -> None:
    """Fetches, turns, checkpoints, restarts and crashes in any order: as if what raises had never been there."""
    told = []
    for raises in (True, False):
        bench = Bench(arrival=True)
        bench.rates = dataclasses.replace(
            bench.rates, partitions=2, chunk_events=random.Random(seed).choice([1, 3, 50])
        )
        bench.plans.current, program = poison(bench.plans.current)
        program.events = lambda event: bool(event.properties.get("poison"))
        poisons = _publish(bench, random.Random(seed), raises=raises)
        await _run(bench, random.Random(seed + 1))
        told.append([_told(bench, number) for number in (0, 1)])
        assert sum(len(bench.broker.committed("rejected", number)) for number in (0, 1)) == (poisons if raises else 0)
    assert told[0] == told[1]


def _publish(bench: Bench, rng: random.Random, *, raises: bool) -> int:
    """Events of which some raise, or are somebody else's instead; returns how many those are."""
    poisons = 0
    for number in range(80):
        bench.clock.at_ms += rng.choice([0, 1, 400, 3_000])
        is_poison = rng.random() < 0.1
        poisons += is_poison
        contact, topic = f"c{rng.randrange(8)}".encode(), rng.choice(["one", "two"])
        fields = {"messageId": str(number), "receivedAt": bench.clock.at_ms, "type": "track", "event": "A"}
        fields |= {"userId": contact.decode(), "properties": {"poison": is_poison and raises}}
        if is_poison and not raises:
            fields["event"] = "Nothing"
        bench.broker.publish(topic, partition_of(contact, 2), contact, orjson.dumps(fields))
    tick = orjson.dumps({"type": "tick", "receivedAt": bench.clock.at_ms + 60_000})
    for topic in ("one", "two"):
        for partition in (0, 1):
            bench.broker.publish(topic, partition, None, tick)
    return poisons


async def _run(bench: Bench, rng: random.Random) -> None:
    """One worker after the other, each doing this and that, some ending with an error; the last one gets through."""
    running: dict[int, asyncio.Task[None]] = {}
    worker = await _owner(bench)
    for _ in range(400):
        worker.log.fetch_max = rng.choice([1, 3, 100])  # type: ignore[attr-defined]
        partition = worker.partitions[rng.randrange(2)]
        running = {number: task for number, task in running.items() if not task.done()}
        drawn = rng.random()
        if drawn < 0.3:
            await worker.feed()
        elif drawn < 0.6:
            worker.turn()
        elif drawn < 0.8 and partition.overlay.events and partition.number not in running:
            running[partition.number] = asyncio.ensure_future(worker.checkpoint(partition))
        elif 0.8 <= drawn < 0.84:
            if drawn < 0.82:
                worker.failed = True
            await asyncio.gather(*running.values(), return_exceptions=True)
            await worker.release(1.0)
            worker = await _owner(bench)
        else:
            await asyncio.sleep(0)
    await asyncio.gather(*running.values())
    await through(bench, worker)


async def _owner(bench: Bench) -> Worker:
    """A new owner of both partitions, to whom nothing is too much."""
    worker = bench.new_worker()
    await worker.take_over({0, 1})
    for partition in worker.partitions.values():
        partition.poison._raised_ms = _NeverMany()  # type: ignore[assignment]
    return worker


class _NeverMany(list[float]):
    """Of many that raise, none is one too many."""

    def __len__(self) -> int:
        return 0


def _told(bench: Bench, number: int) -> list[tuple[Any, ...]]:
    """What the transitions say, those of a contact in their order."""
    found = [orjson.loads(each.value or b"") for each in bench.broker.committed("transitions", number)]
    return sorted(
        (
            (each["contact"], each["seq"], each["segment"], each["transition"], each["at"], each["cause"])
            for each in found
        ),
        key=lambda row: row[:1],
    )


# ---- too much of it ---------------------------------------------------------------------------------------------------


async def test_one_record_too_many_stops_the_partition_and_newer_definitions_let_it_go_on(
    bench: Bench, program: Poisoned, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(RECORDS_MAX + 1):
        send_poison(bench)
    send(bench, "after")
    await through(bench)

    assert stopped(bench)
    assert gauge(bench, "partitions_stopped") == "1.0"
    line = caplog.records[-1].getMessage()
    assert f"partition 0 is stopped at the record at one, offset {RECORDS_MAX}" in line
    assert "more than 10 did so within 10 minutes" in line
    assert "definitions of before" in line
    send(bench, "later")
    bench.clock.at_ms += 60_000
    await through(bench)
    assert entered(bench) == []
    assert len(rejected(bench)) < RECORDS_MAX + 1
    assert not bench.broker.claims[0].closed
    assert bench.worker.ready() is False

    bench.plans.current = plan_of(EVERYONE, 2)
    await through(bench)
    assert not stopped(bench)
    assert gauge(bench, "partitions_stopped") == "0.0"
    assert set(entered(bench)) == {"c", "after", "later"}
    assert [offset for _, offset in rejected(bench)] == sorted({offset for _, offset in rejected(bench)})


async def test_a_stopped_partition_goes_on_at_a_restart_with_code_that_takes_it(
    bench: Bench, program: Poisoned
) -> None:
    for number in range(RECORDS_MAX + 1):
        send_poison(bench, f"c{number}")
    await through(bench)
    assert stopped(bench)
    before = len(rejected(bench))
    program.events = lambda event: False
    await bench.worker.release(1.0)
    await bench.restart()
    await through(bench)
    assert len(entered(bench)) == RECORDS_MAX + 1 - before


async def test_records_that_raise_now_and_then_stop_nothing(bench: Bench, program: Poisoned) -> None:
    for _ in range(3 * RECORDS_MAX):
        send_poison(bench)
        bench.clock.at_ms += int(WINDOW_MS) // RECORDS_MAX + 1
        await through(bench)
    assert not stopped(bench)
    assert len(rejected(bench)) == 3 * RECORDS_MAX
    assert not bench.worker.partitions[0].poison.records or len(bench.worker.partitions[0].poison.records) == 1


async def take_up(bench: Bench, text: str = EVERYONE, revision: int = 2) -> Poisoned:
    """Has newer definitions in force, that raise as before."""
    bench.plans.current, program = poison(plan_of(text, revision))
    program.events = lambda event: bool(event.properties.get("poison"))
    await through(bench)
    assert bench.worker.partitions[0].plan.revision == revision
    return program


async def test_the_first_that_raises_right_after_newer_definitions_stops_the_partition(
    bench: Bench, program: Poisoned, caplog: pytest.LogCaptureFixture
) -> None:
    await take_up(bench)
    send(bench, "before")
    send_poison(bench)
    await through(bench)
    assert stopped(bench)
    assert "revision 2 of the definitions has only just been taken up" in caplog.records[-1].getMessage()
    assert rejected(bench) == []
    bench.plans.current = plan_of(EVERYONE, 3)
    await through(bench)
    assert rejected(bench) == []
    assert set(entered(bench)) == {"before", "c"}


async def test_definitions_are_new_for_so_many_records(bench: Bench, program: Poisoned) -> None:
    await take_up(bench)
    for number in range(NEW_RECORDS):
        send(bench, f"c{number % 7}")
    send_poison(bench)
    await through(bench)
    assert not stopped(bench)
    assert rejected(bench) == [("raised", NEW_RECORDS)]


async def test_definitions_are_new_for_so_long(bench: Bench, program: Poisoned) -> None:
    await take_up(bench)
    bench.clock.at_ms += 600_000
    send_poison(bench)
    await through(bench)
    assert not stopped(bench)
    assert rejected(bench) == [("raised", 0)]


async def test_reading_anew_keeps_to_definitions_of_which_nothing_is_committed_yet(
    bench: Bench, program: Poisoned
) -> None:
    """They were taken up here and now; state and meta record are still of those before."""
    send(bench, "c")
    await through(bench)
    bench.clock.at_ms += 60_000
    await through(bench)
    bench.clock.at_ms += 30_000
    await bench.apply()  # time goes on, and there is nothing to commit
    bench.plans.current = plan_of(EVERYONE, 2)
    bench.worker.ready()
    effective_ms = bench.worker.partitions[0].contacts.effective_ms
    await bench.apply()
    bench.worker.partitions[0].contacts.forget()
    await through(bench)
    assert bench.worker.partitions[0].contacts.effective_ms == effective_ms
    assert bench.transitions()[2:] == [("c", "all", "entered", "backfill")]


async def test_newer_definitions_wait_until_a_partition_is_read_anew(bench: Bench, program: Poisoned) -> None:
    """What was due has been played, and is void: it is played again, under whichever are in force by then."""
    bench.worker = bench.new_worker(chunk_events=1)
    await bench.worker.take_over({0})
    send(bench, "c")
    await through(bench)
    bench.clock.at_ms += 60_000
    send(bench, "d")
    send_poison(bench, "d")
    await bench.apply()
    assert bench.worker.partitions[0].void
    bench.plans.current = plan_of("segments: [{id: a-lately, when: {event: A, within: 10s}}]", 2)
    bench.worker.ready()
    await through(bench)
    assert [each[2:] for each in bench.transitions() if each[0] == "c"] == [("entered", "event"), ("left", "timer")]
    assert bench.worker.partitions[0].plan.revision == 2


# ---- contacts ---------------------------------------------------------------------------------------------------------


def play(bench: Bench) -> None:
    """Lets what is due of the segment come due."""
    bench.clock.at_ms += 10_000 + 2_000 + SLACK_MS


async def test_a_timer_that_raises_quarantines_its_contact_alone(
    bench: Bench, program: Poisoned, caplog: pytest.LogCaptureFixture
) -> None:
    for contact in ("ann", "ben"):
        send(bench, contact)
    await through(bench)
    record = bench.worker.committed[0].states[b"ann"]
    program.timers = {"ann"}
    play(bench)
    await through(bench)

    assert bench.transitions()[2:] == [("ben", "a-lately", "left", "timer")]
    assert gauge(bench, "contacts_quarantined") == "1.0"
    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert "is quarantined, as this version raises ZeroDivisionError" in line
    assert "on its timer" in line
    assert "ann" not in line
    send(bench, "ann")
    send(bench, "ben")
    await through(bench)
    assert rejected(bench) == [("quarantined", 2)]
    assert bench.worker.committed[0].states[b"ann"] == record
    assert bench.transitions()[3:] == [("ben", "a-lately", "entered", "event")]


async def test_a_restart_plays_what_was_quarantined(bench: Bench, program: Poisoned) -> None:
    send(bench)
    await through(bench)
    program.timers = {"c"}
    play(bench)
    await through(bench)
    program.timers = set()
    await bench.worker.release(1.0)
    await bench.restart()
    await through(bench)
    assert [each[2:] for each in bench.transitions()] == [("entered", "event"), ("left", "timer")]


async def test_newer_definitions_end_a_quarantine(bench: Bench, program: Poisoned) -> None:
    send(bench)
    await through(bench)
    program.timers = {"c"}
    play(bench)
    await through(bench)
    await take_up(bench)
    assert gauge(bench, "contacts_quarantined") == "0.0"
    assert ("c", "all", "entered", "backfill") in bench.transitions()
    send(bench)
    await through(bench)
    assert rejected(bench) == []


async def test_a_timer_that_raises_on_what_is_not_committed_yet_takes_nothing_of_others(
    bench: Bench, program: Poisoned
) -> None:
    """The step has changed what the next checkpoint would have written: that is void, and all else applied again."""
    send(bench, "ann")
    await through(bench)
    record = bench.worker.committed[0].states[b"ann"]
    program.timers = {"ann"}
    for contact in ("ann", "ben"):
        send(bench, contact)
    await bench.apply()
    play(bench)
    await through(bench)
    assert bench.worker.committed[0].states[b"ann"] == record
    assert [each for each in bench.transitions() if each[0] != "ben"] == [("ann", "a-lately", "entered", "event")]
    assert [each[2] for each in bench.transitions() if each[0] == "ben"] == ["entered", "left"]
    assert rejected(bench) == [("quarantined", 1)]


async def test_a_timer_that_raises_on_a_contact_of_whom_nothing_is_committed_leaves_nothing_of_it(
    bench: Bench, program: Poisoned
) -> None:
    program.timers = {"new"}
    send(bench, "new")
    await bench.apply()
    play(bench)
    await through(bench)
    assert bench.transitions() == []
    assert rejected(bench) == [("quarantined", 0)]
    assert bench.worker.committed[0].states == {}


async def test_a_change_over_that_raises_quarantines_its_contact_alone(bench: Bench, program: Poisoned) -> None:
    for contact in ("ann", "ben"):
        send(bench, contact)
    await through(bench)
    bench.plans.current, program = poison(plan_of(EVERYONE, 2))
    program.changes = {"ann"}
    await through(bench)
    assert {each[0] for each in bench.transitions()[2:]} == {"ben"}
    assert gauge(bench, "contacts_quarantined") == "1.0"
    send(bench, "ann")
    await through(bench)
    assert rejected(bench) == [("quarantined", 2)]


@pytest.mark.parametrize("damage", [b"", b"\x07", b"\x02\x00", b"body"])
async def test_a_state_record_that_cannot_be_decoded_quarantines_its_contact_and_stays(
    bench: Bench, damage: bytes
) -> None:
    for contact in ("ann", "ben"):
        send(bench, contact)
    await through(bench)
    written = bench.broker.written["state", 0]
    (at,) = [at for at, each in enumerate(written) if each.record is not None and each.record.key == b"ann"]
    record = written[at].record
    assert record is not None
    broken = (record.value or b"")[:13] + b"\xc1" if damage == b"body" else damage
    written[at] = dataclasses.replace(written[at], record=Outgoing(b"ann", broken))
    await bench.restart()
    send(bench, "ann")
    send(bench, "ben")
    play(bench)
    await through(bench)

    assert rejected(bench) == [("quarantined", 2)]
    assert [each[0] for each in bench.transitions()] == ["ann", "ben", "ben"]
    assert bench.worker.committed[0].states[b"ann"] == broken
    assert gauge(bench, "contacts_quarantined") == "1.0"


async def test_a_state_that_cannot_be_encoded_quarantines_its_contact_alone(bench: Bench, program: Poisoned) -> None:
    """Else the worker would end with each checkpoint, for ever."""
    program.encodes = {"ann"}
    for contact in ("ann", "ben"):
        send(bench, contact)
    await through(bench)
    assert entered(bench) == ["ben"]
    assert rejected(bench) == [("quarantined", 0)]


async def test_what_is_taken_and_rejected_is_counted_once_however_often_it_is_read(
    bench: Bench, program: Poisoned
) -> None:
    program.encodes = {"ann"}
    send(bench, "ben", type="nonsense")
    send(bench, "ann")
    await through(bench)
    send(bench, "ben", type="nonsense")
    send_poison(bench)
    await through(bench)

    reasons = [reason for reason, _ in rejected(bench)]
    assert sorted(reasons) == ["quarantined", "raised", "unknown_type", "unknown_type"]
    counted = bench.worker.metrics
    assert counted.events_taken.labels("one").value == 4
    assert {reason: counted.events_rejected.labels(reason).value for reason in set(reasons)} == {
        "quarantined": 1, "raised": 1, "unknown_type": 2,
    }  # fmt: skip


async def test_too_many_contacts_in_quarantine_stop_the_partition(bench: Bench, program: Poisoned) -> None:
    """It is the version that is wrong, and all events would end up in `rejected`."""
    contacts = [f"c{number}" for number in range(CONTACTS_MAX + 50)]
    for contact in contacts:
        send(bench, contact)
    await through(bench)
    bench.plans.current, program = poison(plan_of(EVERYONE, 2))
    program.changes = set(contacts)
    await through(bench)
    assert stopped(bench)
    send(bench)
    await through(bench)
    assert rejected(bench) == []
    bench.plans.current = plan_of(EVERYONE, 3)
    await through(bench)
    assert not stopped(bench)
    assert {each[0] for each in bench.transitions() if each[1] == "all"} == {*contacts, "c"}


async def test_a_meta_record_that_cannot_be_read_is_an_error_that_says_what_to_do(bench: Bench) -> None:
    """Where the partition stands can't be known: nothing may be made of that."""
    send(bench)
    await through(bench)
    written = bench.broker.written["state", 0]
    (good,) = [each for each in written if each.record is not None and each.record.key == META_KEY]
    written.append(dataclasses.replace(good, record=Outgoing(META_KEY, b'{"format":1}')))
    with pytest.raises(StateError, match=r"state, partition 0: expected a meta record.*restore the record.*PREFIX"):
        await bench.restart()
    written.append(good)
    await bench.restart()
    await through(bench)
    assert bench.transitions() == [("c", "a-lately", "entered", "event")]


def test_reasons_have_words_of_their_own_for_what_is_ours_to_mend() -> None:
    """Metrics and commands go by them."""
    assert (Reason.RAISED, Reason.QUARANTINED) == ("raised", "quarantined")
