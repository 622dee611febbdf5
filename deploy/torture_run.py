"""A torture run: workers on a broker of their own, a load, and disturbances one after the other.

What must hold afterwards is `torture_check.py`'s to say.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services import Kafka
from tools import ROOT
from torture_check import Tally, check
from torture_load import TOPICS, Load, now_ms
from torture_script import Disturbance
from torture_strangers import Strangers
from torture_workers import STEPPED, STOP_S_MAX, TortureError, Workers
from worker_runs import Stage

SEGMENTS = ROOT / "deploy" / "segments" / "torture.yaml"
PARTITIONS = 6
SPARE_WORKERS = 2
READY_S, THROUGH_S = 60.0, 180.0
# the load goes on for so long after the last disturbance
AFTER_S = 2.0
POLL_S = 0.1


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run came to: how often what was done, how workers ended, the longest that SIGTERM took; all was equal."""

    done: collections.Counter[str]
    ended: collections.Counter[str]
    stop_s_max: float
    tally: Tally
    seconds: float


class Torture:
    """One run, in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        script: Sequence[Disturbance],
        *,
        seed: int,
        workers: int = 3,
        per_s: float = 500.0,
        clock: str = "wall",
        say: Callable[[str], None] = lambda line: None,
        main: str = STEPPED,
    ) -> None:
        """Starts nothing yet; `say` hears a line of each disturbance, `main` is what workers run."""
        self._directory = directory
        self._script = script
        self._seed = seed
        self._count = workers
        self._per_s = per_s
        self._clock = clock
        self._say = say
        self._main = main
        self._kafka = Kafka(directory / "kafka")
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._started_s = time.monotonic()

    def run(self) -> Summary:
        """All of it; raises `Unequal`, `TortureError`, and what the services raise."""
        with self._kafka as kafka:
            self._stage = Stage(
                kafka.address, "torture.", self._directory, SEGMENTS,
                partitions=str(PARTITIONS), clock=self._clock, grace="5s", session="4s",
            )  # fmt: skip
            self._load = Load(self._stage.settings, self._seed, self._per_s)
            self._strangers = Strangers(self._stage.settings, self._load, self._say)
            self._workers = Workers(self._stage, self._say, self._main)
            try:
                return self._run()
            finally:
                for place in self._workers.places:
                    if place.worker.running():
                        place.worker.kill()

    def _run(self) -> Summary:
        for _ in range(self._count):
            self._workers.join()
        self._wait("workers that own all partitions", READY_S, self._workers.whole)
        self._send_to_all()  # state that others write where no worker has written yet would be refused
        self._load.tick(now_ms())
        self._wait("the first events to be taken", READY_S, self._workers.through)
        self._load.start()
        done: collections.Counter[str] = collections.Counter()
        for number, each in enumerate(self._script, 1):
            self._pass(each.pause_s)
            self._tell(number, self._do(each))
            done[each.what] += 1
        until_ms = self._end_load()
        self._settle(until_ms)
        tally = check(self._stage.settings, self._stage.checked, self._load, self._strangers.holds, until_ms)
        workers, seconds = self._workers, time.monotonic() - self._started_s
        return Summary(done, workers.ended, max(workers.stops_s), tally, seconds)

    def _tell(self, number: int, words: str) -> None:
        self._say(f"{number:>4}/{len(self._script)} {time.monotonic() - self._started_s:7.1f} s  {words}")

    # ---- disturbances -----------------------------------------------------------------------------------------------

    def _do(self, each: Disturbance) -> str:
        """Does it, and says what in words."""
        match each.what:
            case "broker stops" | "broker dies" | "broker away":
                return self._break_broker(each)
            case "open transaction":
                topic = TOPICS[each.who % len(TOPICS)]
                record = self._strangers.open_transaction(each.seconds, topic, commit=each.yes)
                how = "committed" if each.yes else "aborted"
                return f"a foreign transaction on {topic}, partition {record.partition}, {how} after {each.seconds:g} s"
            case "poison":
                self._strangers.poison()
                return "unreadable bytes, a wrong partition, no key"
            case "spoil state":
                return f"a state record that can't be decoded, of {self._strangers.spoil_state()}"
            case "rolling restart":
                self._restart_one_by_one()
                return "all workers were restarted, one after the other"
            case "kill all":
                self._wait("a worker to disturb", READY_S, lambda: bool(self._workers.running()))
                for place in self._workers.running():
                    self._workers.kill(place, each.seconds)
                return f"kill -9 of all workers, back after {each.seconds:g} s"
            case _:
                return self._do_to_one(each)

    def _restart_one_by_one(self) -> None:
        for place in self._workers.running():
            if place in self._workers.running():
                self._workers.terminate(place, 0.0)
            self._wait("workers that own all partitions", READY_S, self._workers.whole)

    def _break_broker(self, each: Disturbance) -> str:
        self._mend_broker()
        kill = each.what == "broker dies" or (each.what == "broker away" and each.yes)
        if kill:
            self._kafka.kill()
        else:
            self._kafka.stop()
        self._after(each.seconds, self._mend_broker)
        return f"{'kill -9' if kill else 'SIGTERM'} of the broker, back after {each.seconds:g} s"

    def _mend_broker(self) -> None:
        if not self._kafka.running:
            self._kafka.start()

    def _do_to_one(self, each: Disturbance) -> str:
        workers, for_s = self._workers, f"for {each.seconds:g} s"
        if each.what == "join or leave" and each.yes and len(workers.wanted()) < self._count + SPARE_WORKERS:
            return f"{workers.join().worker.name} joins"
        self._wait("a worker to disturb", READY_S, lambda: bool(workers.running()))
        running = workers.running()
        place = running[each.who % len(running)]
        name = place.worker.name
        match each.what:
            case "join or leave":
                place.wanted = len(workers.wanted()) == 1
                workers.terminate(place, 0.0)
                return f"{name} leaves"
            case "step clock":
                self._after(each.seconds, workers.step_clock(place))
                return f"the wall clock of {name} is an hour ahead {for_s}"
            case "freeze":
                self._after(each.seconds, workers.freeze(place))
                return f"{name} is frozen {for_s}"
            case "kill":
                workers.kill(place, each.seconds)
                return f"kill -9 of {name}, back after {each.seconds:g} s"
            case "terminate":
                workers.terminate(place, each.seconds)
                return f"SIGTERM of {name}, back after {each.seconds:g} s"
        raise AssertionError(each.what)

    # ---- the end ------------------------------------------------------------------------------------------------------

    def _end_load(self) -> int:
        """Ends disturbances and load; returns up to when transitions are compared (epoch ms)."""
        self._pass(AFTER_S)
        while self._later:
            self._pass(POLL_S)
        self._wait("strangers to be done", THROUGH_S, self._strangers.done)
        self._load.stop()
        if self._strangers.spoilt:
            # a new owner finds what was spoilt, where the last one didn't
            for place in self._workers.running():
                self._workers.kill(place, 0.0)
            self._wait("workers that own all partitions", READY_S, self._workers.whole)
            self._strangers.touch_spoilt()
        self._send_to_all()  # positions pass what a transaction has left behind the last event, too
        until_ms = now_ms()
        self._load.tick(until_ms + self._stage.settings.grace_ms)
        self._load.flush()
        return until_ms

    def _send_to_all(self) -> None:
        """An event to each partition of each source."""
        for topic in TOPICS:
            left, number = set(range(PARTITIONS)), 0
            while left:
                number += 1
                record = self._load.record_of(f"{topic}-{number}", {"type": "track", "event": "A"}, topic)
                if record.partition in left:
                    left.remove(record.partition)
                    self._load.send(record)
        self._load.flush()

    def _settle(self, until_ms: int) -> None:
        """All is taken, all that was due until then played; then everybody ends in good order."""
        settings, workers = self._stage.settings, self._workers
        wait_ms = settings.grace_ms + settings.slack_ms + 500 if settings.clock == "wall" else 0
        self._wait("time to pass", THROUGH_S, lambda: now_ms() > until_ms + wait_ms)
        self._wait("all events to be taken", THROUGH_S, workers.through)
        workers.end()
        self._wait("all workers to end", STOP_S_MAX + 5, lambda: not workers.alive())
        workers.supervise()

    # ---- time -----------------------------------------------------------------------------------------------------------

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._number), action))

    def _pass(self, seconds: float) -> None:
        """Lets time pass: what is due later is done, workers are supervised."""
        until_s = time.monotonic() + seconds
        while True:
            while self._later and self._later[0][0] <= time.monotonic():
                heapq.heappop(self._later)[2]()
            self._workers.supervise()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(POLL_S, left_s))

    def _wait(self, what: str, timeout_s: float, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            self._pass(POLL_S)
            if time.monotonic() > until_s:
                raise TortureError(
                    f"expected {what} within {timeout_s:g} s, but it didn't come:\n{self._workers.logs()}"
                )
