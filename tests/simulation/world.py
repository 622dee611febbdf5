"""A world of several workers on one log in memory, run by a script (`script.py`), the same every time.

The workers are the very code that runs in production, with the drain of its transport; log, clocks, Faust's part and the
group are not. Each machine has its process (`machine.py`), each process its steps (`loop.py`), and after it all
`verdict.py` says what must hold.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Callable
from typing import Any

import memory_log
import orjson
from group import Group
from loop import Loop
from machine import START_MS, Machine
from memory_log import MemoryBroker
from plans import GRACE_MS, SLACK_MS, Plans
from script import (
    ACTIVE_MS,
    CONTACTS,
    MACHINES,
    PARTITIONS,
    POISON,
    SOURCES,
    STRIKES,
    TOPICS,
    Action,
    Disturb,
    Edit,
    Publish,
    Script,
    Tick,
)
from verdict import check

from schemas.topics import partition_of
from streams import checkpoint, contacts, inbox
from streams import partition as partition_module

# there are few contacts and few events here: so that bounds are come to, they are low, and the clock is looked at often
BOUNDS: tuple[tuple[Any, str, int], ...] = (
    (checkpoint, "_BETWEEN_LOOKS", 1),
    (partition_module, "_BETWEEN_LOOKS", 1),
    (contacts, "STATES_KEPT_MAX", 6),
    (inbox, "HELD_RECORDS_MAX", 4),
    (memory_log, "STATE_RECORDS_MAX", 7),
)
TRANSACTION_TIMEOUT_MS = 5_000
RESTART_S = 1.0
# what a look at the clock takes where the processor is slow: a turn and its piece of a checkpoint end after a few
LOOK_S = 0.002
# no window, and nothing that holds or delays one, is longer than this together
LAST_TIMER_S = 7.0
SETTLED_BY_S = 120.0


class BrokerClock:
    """True time, which the broker stamps records with; no two with the same."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last_ms = 0

    def now_ms(self) -> int:
        """Epoch ms."""
        return int(self._world.true_ms())

    def stamp_ms(self) -> int:
        """The same, for a record: with the wall clock those of one millisecond may change places (I6)."""
        self._last_ms = max(self.now_ms(), self._last_ms + 1)
        return self._last_ms


class World:
    """One run; `trace` says what happened."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.arrival = script.kind == "arrival"
        self.loop = Loop(random.Random(f"steps {script.seed}"))
        self.delays = random.Random(f"delays {script.seed}")
        self.clock = BrokerClock(self)
        self.broker = MemoryBroker(self.clock, SOURCES, TRANSACTION_TIMEOUT_MS)
        self.group = Group(self, random.Random(f"group {script.seed}"))
        self.grace_ms, self.slack_ms, self.partitions = GRACE_MS, SLACK_MS, PARTITIONS
        self.revision = 1
        self.machines: list[Machine | None] = [None] * MACHINES
        self.wanted = [place < script.machines for place in range(MACHINES)]
        self.armed: list[Disturb] = []
        self.asleep: list[tuple[Machine, str]] = []
        # record time, topic, offset, partition, line: sorted, they are in the order of the merge
        self.published: list[tuple[int, int, int, int, bytes]] = []
        self.arrived_ms: dict[str, list[int]] = collections.defaultdict(list)
        self.erased: set[str] = set()
        # contacts whose records may be read in another order than they were stamped in
        self.late = set(CONTACTS) if script.kind == "apart" else set()
        self.bad: list[bytes] = []
        self.happened: collections.Counter[str] = collections.Counter()
        self.trace: list[str] = []
        self.look_s = 0.0
        # with the wall clock a look at the end of the log has to be fresh, with the other it says nothing
        self.idle_s = 0.5 if self.arrival else 0.2
        self._slow_until_s = 0.0
        self._starts = 0
        self._quiet = False

    def run(self) -> None:
        """All of the script, then no more disturbances until all is through; raises AssertionError for what is wrong."""
        before = [(module, name, getattr(module, name)) for module, name, _ in BOUNDS]
        for module, name, bound in BOUNDS:
            setattr(module, name, bound)
        try:
            self._run()
        finally:
            self.loop.bury()
            for module, name, bound in before:
                setattr(module, name, bound)

    def _run(self) -> None:
        for action in self.script.actions:
            self.later(action.at_ms / 1000, self._do, action)
        for place in range(MACHINES):
            self._start(place)
        end_s = ACTIVE_MS / 1000
        self.loop.go_until(lambda: self.loop.now_s >= end_s, SETTLED_BY_S, "the script to end")
        self._settle()
        self.loop.go_until(self._through, SETTLED_BY_S, "everything to be applied and committed")
        check(self)
        self.happened["timed out"] = self.broker.timed_out
        self.happened[self.script.kind] += 1

    # ---- what others ask ----------------------------------------------------------------------------------------------

    def true_ms(self) -> float:
        """The true time, epoch ms."""
        return START_MS + self.loop.now_s * 1000

    def later(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Has the world itself do something."""
        self.loop.later(seconds, function, arguments)

    def note(self, what: str) -> None:
        """Into the trace."""
        self.trace.append(f"{self.loop.now_s:9.4f} {what}")

    def latency_s(self) -> float:
        """How long a request, or an answer, is on its way this time."""
        most_s = 0.15 if self.loop.now_s < self._slow_until_s else 0.004
        return self.delays.random() * most_s

    def plans_of(self, machine: Machine) -> Plans:
        """What the machine has read of the definitions."""
        with self.loop.running():
            return Plans(self, machine)

    def strike(self, phase: str, what: str, machine: Machine) -> Disturb | None:
        """Does what the script has for this point of an operation; trouble with the answer itself is returned."""
        if not self.armed and not self.asleep:
            return None
        when = f"{phase} {what}"
        for sleeper, until in self.asleep:
            if until == when and sleeper is not machine:
                self.asleep.remove((sleeper, until))
                self.happened["goes on before another"] += 1
                sleeper.thaw()
                break
        for armed in self.armed:
            if armed.when == when:
                self.armed.remove(armed)
                self.happened[f"{armed.what} {when}"] += 1
                self.note(f"{armed.what} {when}, {machine.name}")
                if armed.what not in STRIKES:
                    return armed
                self._strike(armed, machine)
                return None
        return None

    # ---- the script ---------------------------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        if isinstance(action, Publish):
            self._publish(action)
        elif isinstance(action, Tick):
            self._tick(self.clock.now_ms() - 1)
        elif isinstance(action, Edit):
            self._edit()
        elif action.when and not action.when.endswith("steps"):
            self.armed.append(action)
        else:
            self._disturb(action)

    def _publish(self, action: Publish) -> None:
        now_ms, topic = self.clock.stamp_ms(), TOPICS[action.topic]
        key = action.contact.encode()
        number = partition_of(key, PARTITIONS)
        if action.value is not None:
            self._append(topic, number, key, action.value, now_ms)
            self.bad.append(action.value)
            return
        event = action.event | {"timestamp": now_ms - action.late_ms, "receivedAt": now_ms}
        line = orjson.dumps(event)
        if event.get("event") == POISON:
            self.bad.append(line)
            self._append(topic, number, key, line, now_ms)
            return
        offset = self._append(topic, number, key, line, now_ms, decided=not action.held_ms)
        if action.held_ms:
            self.later(action.held_ms / 1000, self._decide, topic, number, offset, action.commit)
            if not self.arrival:
                # what becomes readable later than it was stamped counts as late, and so does what stands behind it
                self.late.update(each for each in CONTACTS if partition_of(each.encode(), PARTITIONS) == number)
        if not action.held_ms or action.commit:
            self.arrived_ms[action.contact].append(now_ms)
            self.published.append((now_ms, action.topic, offset, number, line))
            if event["type"] == "delete":
                self.erased.add(action.contact)

    def _append(
        self, topic: str, number: int, key: bytes | None, line: bytes, time_ms: int, *, decided: bool = True
    ) -> int:
        records = self.broker.events[topic, number]
        records.append((time_ms, len(records), key, line))
        if not decided:
            self.broker.undecided[topic, number][len(records) - 1] = records[-1]
        return len(records) - 1

    def _decide(self, topic: str, number: int, offset: int, commit: bool) -> None:
        self.broker.decide(topic, number, offset, commit=commit)

    def _tick(self, at_ms: int) -> None:
        for topic in SOURCES:
            for number in range(PARTITIONS):
                self.broker.publish(topic, number, None, orjson.dumps({"type": "tick", "receivedAt": at_ms}))

    def _edit(self) -> None:
        self.revision += 1
        self.happened["edit"] += 1
        self.note(f"revision {self.revision} of the definitions")
        for machine in self.machines:
            if machine is not None and not machine.ended:
                machine.plans.told()

    def _disturb(self, action: Disturb) -> None:
        if action.what == "slow network":
            self._slow_until_s = self.loop.now_s + action.value
        elif action.what == "slow processor":
            self.look_s = LOOK_S
            self.later(action.value, self._fast)
        elif action.what == "join":
            self.wanted[action.who] = True
            self._start(action.who)
        elif (machine := self.machines[action.who]) is None or machine.ended:
            return
        elif action.what == "leave":
            self.wanted[action.who] = False
            machine.stop()
        elif action.what == "clock":
            machine.clock.step_ms = action.value
        else:
            steps = int(action.when.split()[0])
            machine.process.alarm(steps, self._strike, action, machine)
            return
        self.happened[action.what] += 1
        self.note(f"{action.what} {action.value:g}, machine {action.who}")

    def _fast(self) -> None:
        self.look_s = 0.0

    def _strike(self, action: Disturb, machine: Machine) -> None:
        if self._quiet or machine.ended:
            return
        self.happened[action.what] += 1
        self.note(f"{action.what} {action.value:g}, {machine.name}")
        if action.what == "kill":
            machine.kill()
        elif action.what == "freeze":
            machine.freeze(action.value)
            if action.until:
                self.asleep.append((machine, action.until))
        elif action.what == "stop":
            machine.stop(action.value)
        else:
            self.group.rebalance()
            machine.call(machine.learn, self.group.round)

    # ---- machines -----------------------------------------------------------------------------------------------------

    def _start(self, place: int) -> None:
        machine = self.machines[place]
        if self.wanted[place] and (machine is None or machine.ended):
            self._starts += 1
            self.machines[place] = machine = Machine(self, place, self._starts)
            self.note(f"{machine.name}")
        if machine is not None:
            self.later(RESTART_S, self._start_again, place, machine)

    def _start_again(self, place: int, machine: Machine) -> None:
        if self.machines[place] is not machine:
            return
        if machine.ended:
            self._start(place)
        else:
            self.later(RESTART_S, self._start_again, place, machine)

    # ---- the end ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """No more disturbances; everybody gets everything done."""
        self.note("no more disturbances")
        self._quiet = True
        self.armed.clear()
        self.asleep.clear()
        self._slow_until_s = self.look_s = 0.0
        self.wanted = [True, *self.wanted[1:]]
        self._start(0)
        for machine in self.machines:
            if machine is not None:
                machine.thaw()
        self._end_s = self.loop.now_s + LAST_TIMER_S + 0.01
        if self.arrival:
            self.later(LAST_TIMER_S, lambda: self._tick(self.clock.now_ms()))

    def _through(self) -> bool:
        if self.loop.now_s < self._end_s or any(self.broker.undecided.values()):
            return False
        positions = {}
        for machine in self.machines:
            if machine is None or machine.ended:
                continue
            if not machine.flow_active or machine.worker.busy or machine.worker.failed:
                return False
            for number, partition in machine.worker.partitions.items():
                now_ms = machine.clock.now_ms()
                if partition.overlay.events or partition.ready(now_ms) or partition.sizes.uncounted:
                    return False
                seen_ms = min(source.end_seen_ms for source in partition.inbox._sources)
                if not self.arrival and seen_ms < self.true_ms() - SLACK_MS - GRACE_MS:
                    return False
                positions |= {(topic, number): at for topic, at in partition.inbox.positions().items()}
        places = [(topic, number) for topic in SOURCES for number in range(PARTITIONS)]
        return positions == {place: len(self.broker.events[place]) for place in places}
