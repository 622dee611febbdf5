"""A world of several workers on one log in memory, in which one seed decides everything that happens.

Events (late ones, repeats, bad ones), how they are fetched, which worker gets its turn, when checkpoints run and where they
fail, crashes, rebalances, and owners that don't know yet that they have lost their partitions. The workers are the very
code that runs in production; only log and clock are not.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import itertools
import random
from typing import Any

import orjson
from memory_log import LogError, MemoryBroker, MemoryLog, VirtualClock

from actions import Rules
from schemas.topics import partition_of
from schemas.transitions import Transition
from segments import Limits, compile_program, load, simulate
from streams.metrics import Metrics
from streams.partition import Rates
from streams.plan import Plan
from streams.worker import Pace, Worker

PARTITIONS = 3
TOPICS = ("one", "two", "three")
CONTACTS = [f"contact-{number}" for number in range(9)]
GRACE_MS, SLACK_MS = 2_000, 500
START_MS = 1_767_225_600_000
DEFINITIONS = """
segments:
  - {id: any-a, when: {event: A}}
  - {id: three-a, when: {event: A, within: 20s, count: {gte: 3}}}
  - {id: no-b, when: {event: B, within: 7s, count: 0}}
  - {id: pro, when: {trait: plan, eq: pro}}
  - {id: held, when: {segment: three-a}, hold: {enter: 2s, leave: 3s}}
  - {id: last-a, when: {event: A, last_at: {older_than: 11s}}}
  - {id: cart, per: cart, hold: {leave: 1s}, when: {all: [{event: A, last_at: {older_than: 3s}}, {event: B, count: 0}]}}
  - {id: b-after-a, when: {sequence: [{event: A}, {absent: Subscribed, within: 4s}, {event: B}], completed: {within: 9s}}}
  - {id: keen, when: {score: keen, gte: 2}}
  - {id: steady, when: {held: {event: A, within: 6s}, for: 8s}}
  - {id: told, when: {all: [{subscribed: news}, {not: {listed: vip}}]}}
scores:
  - {id: keen, half_life: 5s, rules: [{event: A, points: 1.3}, {trait: plan, eq: pro, points: 1}]}
"""
FIELDS = ("segment", "key", "transition", "seq", "at", "cause")
Told = dict[str, list[tuple[Any, ...]]]


@dataclasses.dataclass
class Plans:
    """Always the same plan."""

    current: Plan

    async def of(self, revision: int) -> Plan:
        """It."""
        assert self.current.revision >= revision
        return self.current


class World:
    """One run; `trace` says what happened, newest last."""

    def __init__(self, seed: int, *, arrival: bool) -> None:
        self.rng = random.Random(seed)
        self.arrival = arrival
        self.clock = VirtualClock(START_MS)
        self.broker = MemoryBroker(self.clock, TOPICS)
        self.definitions = load(DEFINITIONS, "world")
        program = compile_program(self.definitions, limits=Limits(grace_ms=GRACE_MS))
        self.plans = Plans(Plan(program, Rules(), 0))
        self.workers: list[Worker] = []
        self.checkpoints: set[asyncio.Task[None]] = set()
        self.published: list[tuple[int, int, int, bytes]] = []
        self.bad = 0
        self.fault_percent = 0.0
        self.happened: collections.Counter[str] = collections.Counter()
        self.trace: list[str] = []
        self._numbers = itertools.count()

    async def run(self, steps: int) -> None:
        """So many steps, then no more faults until all is through; checks after each, and everything at the end."""
        self.fault_percent = self.rng.choice([0.0, 0.5, 3.0])
        self._start_worker()
        await self._rebalance()
        for _ in range(steps):
            await self._step()
            self._check_alternation()
        await self._settle()
        self._check_all()

    # ---- what happens -------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        actions = {
            self._publish: 30,
            self._pass_time: 12,
            self._feed: 25,
            self._turn: 30,
            self._checkpoint: 14,
            self._tick: 3 if self.arrival else 0,
            self._yield: 10,
            self._rebalance: 1,
            self._crash: 1,
            self._join: 0.6,
            self._usurp: 0.6,
        }
        action = self.rng.choices(list(actions), list(actions.values()))[0]
        self.trace.append(action.__name__.strip("_"))
        self.happened[self.trace[-1]] += 1
        result = action()
        if result is not None:
            await result

    def _publish(self) -> None:
        for _ in range(self.rng.randrange(1, 5)):
            # records of one millisecond in different topics may change places with the wall clock (I6)
            self.clock.at_ms += self.rng.choice([0, 0, 1, 3, 400] if self.arrival else [1, 1, 1, 3, 400])
            topic, contact = self.rng.randrange(len(TOPICS)), self.rng.choice(CONTACTS)
            if self.rng.random() < 0.03:
                self.broker.publish(TOPICS[topic], self.rng.randrange(PARTITIONS), contact.encode(), b"{nope")
                self.bad += 1
                continue
            self._publish_event(topic, contact)

    def _publish_event(self, topic: int, contact: str) -> None:
        now_ms = self.clock.now_ms()
        if self.published and self.rng.random() < 0.05:
            event = orjson.loads(self.rng.choice(self.published)[3])  # a repeat, under the same messageId
            contact = event["userId"]
        else:
            late_ms = self.rng.choice([0, 0, 0, 1, 500, 2_500, 9_000])
            event = {"messageId": f"m{next(self._numbers)}", "userId": contact, "timestamp": now_ms - late_ms}
            event |= self._content()
        event["receivedAt"] = now_ms
        line, key = orjson.dumps(event), contact.encode()
        self.broker.publish(TOPICS[topic], partition_of(key, PARTITIONS), key, line)
        self.published.append((now_ms, topic, len(self.published), line))

    def _content(self) -> dict[str, Any]:
        """What happened, to whoever it was."""
        drawn = self.rng.random()
        if drawn < 0.2:
            return {"type": "identify", "traits": {"plan": self.rng.choice(["pro", "free", None])}}
        if drawn < 0.23:
            return {"type": "delete"}
        if drawn < 0.28:
            return {"type": "list", "list": "vip", "action": self.rng.choice(["added", "removed"])}
        if drawn < 0.34:
            return {"type": "track", "event": self.rng.choice(["Subscribed", "Unsubscribed"])}
        cart = self.rng.choice([None, "c1", "c2", 3])
        return {"type": "track", "event": self.rng.choice("AAB"), "properties": {"cart": cart}}

    def _pass_time(self) -> None:
        self.clock.at_ms += self.rng.choice([1, 20, 100, 240, 1_000, 5_000])

    def _tick(self, at_ms: int | None = None) -> None:
        at_ms = self.clock.now_ms() - 1 if at_ms is None else at_ms
        for topic in TOPICS:
            for number in range(PARTITIONS):
                self.broker.publish(topic, number, None, orjson.dumps({"type": "tick", "receivedAt": at_ms}))

    async def _yield(self) -> None:
        for _ in range(self.rng.randrange(1, 12)):
            await asyncio.sleep(0)

    async def _feed(self) -> None:
        if self.workers:
            worker = self.rng.choice(self.workers)
            worker.log.fetch_max = self.rng.choice([1, 3, 100])  # type: ignore[attr-defined]
            await self._or_crash(worker, worker.feed())

    def _turn(self) -> None:
        if self.workers:
            self.rng.choice(self.workers).turn()

    async def _checkpoint(self) -> None:
        """Starts one; it goes on whenever the world yields."""
        if not self.workers:
            return
        worker = self.rng.choice(self.workers)
        running = getattr(worker, "running", {})
        for number, partition in worker.partitions.items():
            if partition.overlay.events and number not in running and self.rng.random() < 0.5:
                task = asyncio.ensure_future(self._or_crash(worker, worker.checkpoint(partition)))
                running[number] = task
                task.add_done_callback(lambda _, number=number, running=running: running.pop(number))
                self.checkpoints.add(task)
                task.add_done_callback(self.checkpoints.discard)
        worker.running = running  # type: ignore[attr-defined]

    async def _crash(self) -> None:
        """kill -9: nothing is said to anyone, what is open stays open."""
        if self.workers:
            self._drop(self.rng.choice(self.workers))
        await self._rebalance()

    async def _join(self) -> None:
        if len(self.workers) < 3:
            self._start_worker()
            await self._rebalance()

    async def _usurp(self) -> None:
        """A worker is taken for dead and replaced while it goes on (SIGSTOP, a partitioned network)."""
        if not self.workers:
            return
        victim = self.rng.choice(self.workers)
        numbers = set(victim.partitions)
        newcomer = self._worker()
        if numbers and await self._or_crash(newcomer, newcomer.take_over(numbers)):
            self.workers.append(newcomer)
            victim.turn()
            for partition in list(victim.partitions.values()):
                if partition.overlay.events and not victim.failed:
                    self.happened["usurped"] += 1
                    assert not await self._or_crash(victim, victim.checkpoint(partition)), "expected to be fenced"
            self._drop(victim)

    async def _rebalance(self) -> None:
        """All release, then all take over, as an eager group does it."""
        if not self.workers:
            self._start_worker()
        for worker in list(self.workers):
            await self._quiet(worker)
            await worker.release(1.0)
            if worker.failed:
                self._drop(worker)
        if not self.workers:
            self._start_worker()
        shares: dict[int, set[int]] = collections.defaultdict(set)
        for number in range(PARTITIONS):
            shares[self.rng.randrange(len(self.workers))].add(number)
        for index, worker in enumerate(list(self.workers)):
            await self._or_crash(worker, worker.take_over(shares[index]))

    # ---- helpers ------------------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self.workers.append(self._worker())

    def _worker(self) -> Worker:
        rates = Rates(self.arrival, GRACE_MS, SLACK_MS, PARTITIONS, chunk_events=self.rng.choice([1, 3, 50]))
        log = MemoryLog(self.broker, self._fault)
        return Worker(log, self.plans, self.clock, TOPICS, rates, Pace(), Metrics())

    def _fault(self, what: str, partition: int) -> Exception | None:
        if self.rng.random() * 100 >= self.fault_percent:
            return None
        self.happened[f"fault: {what}"] += 1
        self.trace.append(f"fault: {what} {partition}")
        return LogError(f"injected: {what}")

    async def _or_crash(self, worker: Worker, doing: Any) -> bool:
        """Whether it went well; an error of the log ends the worker, as in production."""
        try:
            await doing
        except LogError:
            self._drop(worker)
            return False
        return True

    def _drop(self, worker: Worker) -> None:
        worker.failed = True
        worker.partitions.clear()
        if worker in self.workers:
            self.workers.remove(worker)

    async def _quiet(self, worker: Worker) -> None:
        """Waits for the worker's running checkpoints: on release Faust's flow has stopped, and release waits for them."""
        while running := list(getattr(worker, "running", {}).values()):
            await asyncio.wait(running)

    # ---- the end ------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """No more faults; everybody gets everything done."""
        self.fault_percent = 0.0
        if self.checkpoints:
            await asyncio.wait(self.checkpoints)
        self.clock.at_ms += 10_000
        self._tick_at_end()
        await self._rebalance()
        for _ in range(2_000):
            for worker in self.workers:
                await worker.feed()
                while worker.turn():
                    pass
                for partition in worker.partitions.values():
                    if partition.overlay.events:
                        await worker.checkpoint(partition)
            if self._through():
                return
        raise AssertionError(f"expected everything to be applied, got {self._positions()}")

    def _tick_at_end(self) -> None:
        if self.arrival:
            self._tick(self.clock.now_ms())

    def _positions(self) -> dict[tuple[str, int], int]:
        return {
            (topic, number): position
            for worker in self.workers
            for number, partition in worker.partitions.items()
            for topic, position in partition.inbox.positions().items()
        }

    def _through(self) -> bool:
        ends = {
            (topic, number): len(self.broker.events[topic, number]) for topic in TOPICS for number in range(PARTITIONS)
        }
        quiet = all(
            not partition.overlay.events and not partition.ready(self.clock.now_ms())
            for worker in self.workers
            for partition in worker.partitions.values()
        )
        return quiet and self._positions() == ends

    # ---- what must hold -----------------------------------------------------------------------------------------------

    def told(self) -> Told:
        """What readers of committed transitions see, by contact, nothing deduplicated."""
        told: Told = collections.defaultdict(list)
        for number in range(PARTITIONS):
            for record in self.broker.committed("transitions", number):
                fields = orjson.loads(record.value or b"")
                told[fields["contact"]].append(tuple(fields.get(field) for field in FIELDS))
        return told

    def expected(self) -> Told:
        """What `simulate` says of the events in the order of the merge."""
        ordered = [line for _, _, _, line in sorted(self.published)]
        end_ms = self.clock.now_ms() - (0 if self.arrival else SLACK_MS) - GRACE_MS
        told: Told = collections.defaultdict(list)
        for each in simulate(self.definitions, ordered, until_ms=end_ms, grace_ms=GRACE_MS):
            assert isinstance(each, Transition), each
            shown = each.simulated()
            told[each.contact].append(tuple(shown.get(field) for field in FIELDS))
        return told

    def _check_alternation(self) -> None:
        for contact, rows in self.told().items():
            seqs: dict[tuple[str, str | None], int] = {}
            for segment, key, transition, seq, _, cause in rows:
                last = seqs.get((segment, key), 0)
                anew = seq == 1 and not last % 2 and self._was_deleted(contact)
                assert anew or seq == last + 1, (contact, segment, key, seq, self.trace[-30:])
                assert transition == ("entered" if seq % 2 else "left")
                assert cause != "erasure" or transition == "left"
                seqs[segment, key] = seq

    def _was_deleted(self, contact: str) -> bool:
        return any(b'"delete"' in line and contact.encode() in line for _, _, _, line in self.published)

    def _check_memberships(self) -> None:
        """The compacted topic says of each membership what the last transition said, and nothing of who was erased."""
        inside = {}
        for contact, rows in self.told().items():
            for segment, key, transition, *_ in rows:
                inside[contact, segment, key] = transition == "entered"
        found = {}
        for number in range(PARTITIONS):
            for record in self.broker.committed("memberships", number):
                named = tuple(orjson.loads(record.key or b""))
                contact, segment, key = named if len(named) == 3 else (*named, None)
                found[contact, segment, key] = record.value is not None and orjson.loads(record.value)["member"]
        assert {named for named, member in inside.items() if member} == {
            named for named, member in found.items() if member
        }

    def _check_all(self) -> None:
        told, expected = self.told(), self.expected()
        for contact in expected.keys() | told.keys():
            differing = [pair for pair in itertools.zip_longest(told[contact], expected[contact]) if pair[0] != pair[1]]
            assert not differing, (contact, differing[:3], self.trace[-40:])
        self._check_memberships()
        rejected = sum(len(self.broker.committed("rejected", number)) for number in range(PARTITIONS))
        assert rejected == self.bad
