"""An event loop for several processes at once, in virtual time, in which a generator of random numbers decides who goes next.

Invariants:
  * Each process has a queue of its own, first come, first served, as asyncio has it; which process takes its next step is
    drawn. What belongs to a process is told by the context that its tasks run in, so whatever it starts is its own.
  * Time moves only when nobody has a step to take, to the next instant that somebody waits for. `time()` is that time, so
    all time-outs of asyncio follow it.
  * A frozen process keeps its steps until it is thawed; a dead one takes none any more and says nothing to anybody.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

# at one instant: nobody has that much to do
STEPS_MAX = 50_000
_mine: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class StuckError(AssertionError):
    """Nobody has anything to do or to wait for, or it never ends."""


class Process:
    """Whose steps they are; `steps` counts them."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.frozen = False
        self.dead = False
        self.steps = 0
        self.alarms: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = []
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(_mine.set, self)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs a coroutine as a task of this process."""
        return self.loop.create_task(coroutine, context=self.context.copy())

    def alarm(self, steps: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Has the world do something before the process takes the step after so many more."""
        self.alarms.append((self.steps + steps, function, arguments))

    def ring(self) -> None:
        """A step is about to be taken."""
        due = [each for each in self.alarms if each[0] < self.steps]
        self.alarms = [each for each in self.alarms if each[0] >= self.steps]
        for _, function, arguments in due:
            function(*arguments)

    def kill(self) -> None:
        """It takes no step any more, from this instant on."""
        self.dead = True
        self.ready.clear()
        if self in self.loop.processes:
            self.loop.processes.remove(self)


class Loop(asyncio.AbstractEventLoop):
    """What asyncio asks of a loop, as far as anything here uses it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_s = 0.0
        self.errors: list[str] = []
        self.steps = 0
        self.processes: list[Process] = []
        self._waiting: list[tuple[float, int, asyncio.TimerHandle | None, Any, Any]] = []
        self._numbers = itertools.count()
        self._all: list[Process] = []

    def process(self, name: str) -> Process:
        """A new one."""
        made = Process(self, name)
        self.processes.append(made)
        self._all.append(made)
        return made

    # ---- going on -----------------------------------------------------------------------------------------------------

    def go_until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Steps until nobody has one to take and it is `done`; raises StuckError if that isn't so by `limit_s`."""
        draw, since = self.rng.random, 0
        with self.running():
            while True:
                self._wake()
                able = [process for process in self.processes if process.ready and not process.frozen]
                if able:
                    self._step(able[int(draw() * len(able))] if len(able) > 1 else able[0])
                    since += 1
                    if since < STEPS_MAX:
                        continue
                if self.errors:
                    raise StuckError(self.errors[0])
                if able or self.now_s > limit_s:
                    raise StuckError(f"expected {what} by {limit_s:.0f} s, it is {self.now_s:.1f} s")
                if done():
                    return
                since = 0
                self._pass_time()

    @contextmanager
    def running(self) -> Iterator[None]:
        """For the time being, this is the loop that runs."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def _step(self, process: Process) -> None:
        process.steps += 1
        self.steps += 1
        if process.alarms:
            process.ring()
            if process.frozen or not process.ready:
                return
        handle = process.ready.popleft()
        if not handle._cancelled:  # type: ignore[attr-defined]
            handle._run()

    def _wake(self) -> None:
        waiting, now_s = self._waiting, self.now_s
        while waiting and waiting[0][0] <= now_s:
            _, _, handle, function, arguments = heapq.heappop(waiting)
            if handle is None:
                function(*arguments)
            elif not handle._cancelled:  # type: ignore[attr-defined]
                self._put(handle)

    def _pass_time(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][2] is not None and waiting[0][2]._cancelled:  # type: ignore[attr-defined]
            heapq.heappop(waiting)
        if not waiting:
            raise StuckError("expected somebody to have something to wait for, got nobody")
        self.now_s = max(self.now_s, waiting[0][0])

    def _put(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_mine)  # type: ignore[attr-defined]
        assert process is not None, "expected a process's own doing"
        if not process.dead:
            process.ready.append(handle)

    def later(self, seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Has the world around the processes do something, before any of them goes on at that time."""
        heapq.heappush(self._waiting, (self.now_s + seconds, next(self._numbers), None, function, arguments))

    def bury(self) -> None:
        """Closes what is left of all tasks: after the run, so that nothing is done or said when they are collected."""
        with self.running():
            for process in self._all:
                process.kill()
            for process in self._all:
                for task in process.tasks:
                    if not task.done():
                        task._log_destroy_pending = False  # type: ignore[attr-defined]
                        process.context.copy().run(_close, task.get_coro())

    # ---- what asyncio asks --------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self.now_s

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """Behind what its process has to do already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        """In so many virtual seconds."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        """At that virtual time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._waiting, (when, next(self._numbers), handle, None, None))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """One of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        """One that belongs to the process whose step this is."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "", context=context)
        process = (context or contextvars.copy_context()).get(_mine)
        assert process is not None, "expected a process's own task"
        process.tasks.append(task)  # kept to the end: a task that is collected does things then
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keeps what a callback raised: it would be lost otherwise."""
        if "handle" in context:
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, as far as anybody asks."""
        return True

    def is_closed(self) -> bool:
        """Never."""
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: it is left out when its time comes."""


def _close(coroutine: Any) -> None:
    for _ in range(20):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it awaits something on its way out: once more
        except BaseException:
            return
        return
