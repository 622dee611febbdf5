"""The workers of a torture run, and the supervisor that starts again what has ended, as systemd would."""

from __future__ import annotations

import collections
import dataclasses
import signal
import time
from collections.abc import Callable

from children import Child
from tools import tail
from worker_runs import Stage, WorkerProcess

# a worker gives up 25 s after SIGTERM; the rest is the machine's
STOP_S_MAX = 30.0
# how a worker is told that its wall clock was put an hour forwards, or right again
FORWARDS, RIGHT = signal.Signals(signal.SIGRTMIN), signal.Signals(signal.SIGRTMAX)
STEPPED = f"""
import functools, signal
from streams import app, clock
from streams.cli import main

off_ms = 0.0

def step(number, _frame):
    global off_ms
    off_ms = 3_600_000.0 if number == {FORWARDS:d} else 0.0

signal.signal({FORWARDS:d}, step)
signal.signal({RIGHT:d}, step)
app.SteadyClock = functools.partial(clock.SteadyClock, lambda: clock.wall_ms() + off_ms)
main()
"""


class TortureError(RuntimeError):
    """Something didn't happen in time; the message says what."""


@dataclasses.dataclass
class Place:
    """Where a worker runs: whether the supervisor starts it again, and from when on; when it was sent SIGTERM; and so on."""

    worker: WorkerProcess
    wanted: bool = True
    back_s: float = 0.0
    told_s: float | None = None
    frozen: bool = False
    killed: bool = False

    @property
    def child(self) -> Child:
        """Its process."""
        assert self.worker.child is not None, f"{self.worker.name} has not been started"
        return self.worker.child


class Workers:
    """All of a stage's. `ended` counts how they ended, `stops_s` are the times that SIGTERM took."""

    def __init__(self, stage: Stage, say: Callable[[str], None], main: str = STEPPED) -> None:
        """`main` is what they run, `say` hears of those that end by themselves."""
        self.places: list[Place] = []
        self.ended: collections.Counter[str] = collections.Counter()
        self.stops_s: list[float] = []
        self._stage = stage
        self._say = say
        self._main = main

    def wanted(self) -> list[Place]:
        """Those that are to run."""
        return [place for place in self.places if place.wanted]

    def running(self) -> list[Place]:
        """Those awake that have said where their web server is: from then on they take a signal as they should."""
        awake = [each for each in self.places if each.worker.running() and not each.told_s and not each.frozen]
        return [each for each in awake if each.worker.address()]

    def alive(self) -> bool:
        """Whether any runs at all."""
        return any(place.worker.running() for place in self.places)

    def join(self) -> Place:
        """One more."""
        place = next((place for place in self.places if not place.wanted), None)
        if place is None:
            name = f"worker-{len(self.places) + 1}"
            worker = WorkerProcess(name, self._stage.environment, self._stage.directory, main=self._main)
            place = Place(worker)
            self.places.append(place)
        place.wanted = True
        self.supervise()
        return place

    def kill(self, place: Place, seconds: float) -> None:
        """kill -9; it comes back after `seconds`."""
        place.killed = True
        place.back_s = time.monotonic() + seconds
        place.child.kill()

    def terminate(self, place: Place, seconds: float) -> None:
        """SIGTERM; it comes back after `seconds`, once it has ended."""
        place.told_s = time.monotonic()
        place.back_s = place.told_s + seconds
        place.child.send(signal.SIGTERM)

    def freeze(self, place: Place) -> Callable[[], None]:
        """SIGSTOP; returns what wakes it."""
        child, place.frozen = place.child, True
        child.send(signal.SIGSTOP)

        def wake() -> None:
            child.send(signal.SIGCONT)
            if place.worker.child is child:
                place.frozen = False

        return wake

    def step_clock(self, place: Place) -> Callable[[], None]:
        """Puts its wall clock an hour forwards; returns what puts it right."""
        child = place.child
        child.send(FORWARDS)
        return lambda: child.send(RIGHT)

    def end(self) -> None:
        """SIGTERM to all; nobody comes back."""
        for place in self.places:
            place.wanted = False
            if place.worker.running():
                self.terminate(place, 0.0)

    def supervise(self) -> None:
        """Starts again what is to run and doesn't; raises TortureError where SIGTERM has not ended a worker in time."""
        now_s = time.monotonic()
        for place in self.places:
            if place.worker.running():
                if place.told_s and now_s - place.told_s > STOP_S_MAX:
                    raise TortureError(f"{place.worker.name} runs on {STOP_S_MAX:g} s after SIGTERM")
                continue
            self._note_end(place)
            if place.wanted and now_s >= place.back_s:
                place.worker.start()

    def _note_end(self, place: Place) -> None:
        child = place.worker.child
        if child is None:
            return
        if place.told_s:
            self.ended[f"by SIGTERM, status {child.returncode}"] += 1
            self.stops_s.append(time.monotonic() - place.told_s)
        elif not place.killed:
            said = [line for line in child.output().splitlines() if "the worker ends" in line]
            why = said[-1].split("start it again: ", 1)[-1] if said else tail(child.output(), 3)
            self.ended[f"by itself, status {child.returncode}: {why}"] += 1
            self._say(f"               {place.worker.name} has ended by itself: {why}")
        place.told_s, place.killed, place.frozen, place.worker.child = None, False, False, None

    def whole(self) -> bool:
        """Whether all that are wanted are ready, and together own all partitions."""
        wanted, partitions = self.wanted(), self._stage.settings.partitions
        staying = [place.worker for place in wanted if not place.told_s]
        ready = [worker for worker in staying if worker.running() and worker.ready()]
        owned = sum(worker.metric("tidegate_partitions_owned") for worker in ready)
        return len(ready) == min(len(wanted), partitions) and owned == partitions

    def through(self) -> bool:
        """Whether they are whole and have nothing left to take in, or to play."""
        left = ("tidegate_lag_records", "tidegate_timer_overdue_seconds")
        return self.whole() and not any(place.worker.metric(name) for place in self.wanted() for name in left)

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {each.worker.name}\n{tail(each.worker.text())}" for each in self.places)
