"""A process with a worker in it, and what Faust does around it: the drain of `transport.py` runs as it is.

Of Faust the order of things is played: a round of the group takes leave back, cancels a take-over and has the worker let
go; an assignment has it take over; an error or a stop ends the drain, has it let go, and leaves the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

from memory_log import LogError, MemoryLog
from script import SOURCES

from streams.clock import SteadyClock
from streams.log import FencedError, Fetch, OvertakenError
from streams.metrics import Metrics
from streams.partition import Rates
from streams.transport import Leave, WorkerConsumer
from streams.worker import Pace, Worker

if TYPE_CHECKING:
    from world import World

RELEASE_TIMEOUT_S = 2.0
# Faust's app ends the process if it has not stopped by then
STOP_TIMEOUT_S = 6.0
START_MS = 1_767_225_600_000


class MachineClock(SteadyClock):
    """The worker's own clock over a machine's clocks; each look at the monotonic one takes the time that it takes."""

    def __init__(self, world: World) -> None:
        self.step_ms = 0.0
        self._world = world
        super().__init__(lambda: world.true_ms() + self.step_ms, world.true_ms)

    def spent_ms(self) -> float:
        """Milliseconds, of which looking takes some where the processor is slow."""
        if self._world.look_s:
            self._world.loop.now_s += self._world.look_s
        return self._world.true_ms() - START_MS


class MachineLog(MemoryLog):
    """The log as this machine sees it: how much a fetch brings varies, where it may, of which topics, too."""

    world: World
    machine: Machine

    async def fetch(self, hold: Set[tuple[str, int]]) -> Sequence[Fetch]:
        """Some of it: with the arrival clock it makes no difference which part comes first."""
        rng = self.world.delays
        self.fetch_max = rng.choice((1, 3, 100))
        if self.world.script.kind in ("arrival", "apart") and rng.random() < 0.5:
            hold = hold | {each for each in self._positions if rng.random() < 0.5}
        fetches = await super().fetch(hold)
        for fetch in fetches:
            if fetch.records:
                self.machine.clock.saw(fetch.records[-1][0])
        return fetches

    def _seek(self, positions: dict[tuple[str, int], int]) -> int:
        if any(number not in self.machine.assigned for _, number in positions):
            raise OvertakenError("could not seek: the group has been assigned anew")
        return super()._seek(positions)


class MachineNetwork:
    """Requests and answers take time, in which anything may happen; those about one partition stay in order."""

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self._free_s: dict[int, float] = {}

    def request(self, what: str, partition: int, effect: Callable[[], Any]) -> asyncio.Future[Any]:
        """On its way."""
        loop = self._world.loop
        future = loop.create_future()
        at_s = max(loop.now_s + self._world.latency_s(), self._free_s.get(partition, 0.0))
        self._free_s[partition] = at_s
        self._world.later(at_s - loop.now_s, self._arrive, what, partition, effect, future)
        return future

    def _arrive(self, what: str, partition: int, effect: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        trouble = self._world.strike("before", what, self._machine)
        if trouble is not None and trouble.what == "hangs":
            self._free_s[partition] = self._world.loop.now_s + trouble.value
            self._world.later(trouble.value, self._serve, what, effect, future)
        elif trouble is not None and trouble.what == "fails":
            self._answer(future, None, LogError(f"{what} fails"))
        else:
            self._serve(what, effect, future, unanswered=trouble is not None)

    def _serve(
        self, what: str, effect: Callable[[], Any], future: asyncio.Future[Any], *, unanswered: bool = False
    ) -> None:
        answer, error = None, None
        try:
            answer = effect()
        except LogError as raised:
            error = raised
            self._world.happened["fenced"] += isinstance(raised, FencedError)
        trouble = self._world.strike("after", what, self._machine)
        if unanswered or (trouble is not None and trouble.what != "hangs"):
            error = error or LogError(f"{what} goes unanswered")
        delay_s = self._world.latency_s() + (trouble.value if trouble is not None else 0.0)
        if what == "fetch" and answer is not None and not any(fetch.records for fetch in answer[1]):
            delay_s += self._world.idle_s if answer[1] else 0.5
        self._world.later(delay_s, self._answer, future, answer, error)

    def _answer(self, future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)


class Machine:
    """One start of one process; it ends once."""

    consumer_stopped_errors = ()
    _drain_messages = WorkerConsumer._drain_messages
    _feed = WorkerConsumer._feed
    _turns = WorkerConsumer._turns
    _offer_turns = WorkerConsumer._offer_turns
    take = WorkerConsumer.take

    def __init__(self, world: World, place: int, number: int) -> None:
        self.world = world
        self.place = place
        self.name = f"machine {place}, start {number}"
        self.process = world.loop.process(self.name)
        self.assigned: Set[int] = frozenset()
        self.ended = False
        self.stopping = False
        self.clock = MachineClock(world)
        self.plans = world.plans_of(self)
        rng = world.delays
        log = MachineLog(world.broker, network=MachineNetwork(world, self), clock=self.clock)
        log.world, log.machine = world, self
        rates = Rates(
            world.arrival, world.grace_ms, world.slack_ms, world.partitions,
            chunk_events=rng.choice((1, 3, 50)), checkpoint_events=rng.choice((1, 2, 10_000)),
        )  # fmt: skip
        with world.loop.running():
            self.worker = self.process.context.run(
                Worker, log, self.plans, self.clock, SOURCES, rates, Pace(events=rates.checkpoint_events), Metrics()
            )
            # what WorkerConsumer has of Faust's Consumer
            self._taken, self.can_resume_flow = asyncio.Event(), asyncio.Event()
            self._signal, self._leaves = asyncio.Event(), asyncio.Queue[Leave]()
        self.app = types.SimpleNamespace(
            plans=self.plans, worker=self.worker, turns_topic="turns", should_stop=False, rebalancing=False
        )
        self.app.consumer_generation_id = 0
        self.flow_active = False
        self._number = 0
        self._failure: BaseException | None = None
        self._round = self._round_done = 0
        self._job: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None
        self._silent_since_s: float | None = None
        self._release_s = RELEASE_TIMEOUT_S
        self.plans.on_newer = self.worker.wake.set
        self.process.start(self._guarded(self._agent))
        self.process.start(self._guarded(self._membership))

    # ---- what others do to it -----------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Has the process do it when it is its turn."""
        self.world.loop.call_soon(function, *arguments, context=self.process.context)

    def silent_s(self) -> float:
        """For how long nothing has been heard of it."""
        return 0.0 if self._silent_since_s is None else self.world.loop.now_s - self._silent_since_s

    def kill(self) -> None:
        """At once, with nothing said to anyone: the group finds out, what is open stays open."""
        self._silent_since_s = self.world.loop.now_s
        self.ended = True
        self.process.kill()
        self.world.group.suspect(self)

    def freeze(self, seconds: float) -> None:
        """It stands still and then goes on as if nothing had been."""
        self.process.frozen = True
        self._silent_since_s = self.world.loop.now_s
        self.world.group.suspect(self)
        self.world.later(seconds, self.thaw)

    def thaw(self) -> None:
        """It goes on; if others have its partitions by now, its next heartbeat tells it so."""
        if self.process.frozen and not self.process.dead:
            self.world.note(f"{self.name} goes on")
            self.process.frozen = False
            self._silent_since_s = None
            if self not in self.world.group.members:
                self.world.group.tell(self)

    def stop(self, release_s: float = RELEASE_TIMEOUT_S) -> None:
        """SIGTERM."""
        self._release_s = release_s
        self.call(self._begin_stop)

    def learn(self, round: int) -> None:
        """There is a new round of the group."""
        self._round = max(self._round, round)
        self._signal.set()

    def assign(self, numbers: frozenset[int], round: int) -> None:
        """These partitions are its own for this round."""
        if self.stopping or self._round != round:
            return
        self.assigned = numbers
        self.app.consumer_generation_id = round
        self.process.start(self._guarded(self._recover, numbers, round))

    # ---- what Faust does ----------------------------------------------------------------------------------------------

    async def callback(self, message: Any) -> None:
        """A Faust event, on its way to the agent."""
        self._leaves.put_nowait(message.value)

    async def _agent(self) -> None:
        while True:
            leave = await self._leaves.get()
            while self.take(leave):  # type: ignore[arg-type]  # noqa: ASYNC110  # there is more to do
                await asyncio.sleep(0)

    async def _membership(self) -> None:
        self.world.group.join(self)
        while True:
            await self._signal.wait()
            self._signal.clear()
            while self._round_done != self._round:
                self._round_done = self._round
                await self._let_go(RELEASE_TIMEOUT_S)
                self.world.group.ready(self, self._round_done)

    async def _let_go(self, timeout_s: float) -> None:
        """As `App._on_partitions_revoked` has it: the take-over is cancelled, leave taken back, the last checkpoints made."""
        if self._job is not None:
            self._job.cancel()
        self.flow_active = False
        self.can_resume_flow.clear()
        self._number += 1
        self._taken.set()
        while not self._leaves.empty():
            self._leaves.get_nowait()
        self.assigned = frozenset()
        await self.worker.release(timeout_s)

    async def _recover(self, numbers: Set[int], round: int) -> None:
        """As `TakeOver` has it: after what is left of the one before."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])
        if self.app.consumer_generation_id != round or self.stopping or self.assigned is not numbers:
            return
        self._job = asyncio.ensure_future(self._take_over(numbers, round))
        with contextlib.suppress(asyncio.CancelledError, OvertakenError):
            await self._job

    async def _take_over(self, numbers: Set[int], round: int) -> None:
        self.world.note(f"{self.name} takes over {sorted(numbers)}")
        await self.worker.take_over(numbers)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.app.consumer_generation_id != round:
            return
        self.flow_active = True
        self.can_resume_flow.set()
        if self._drain is None:
            self._drain = asyncio.ensure_future(self._guarded(self._drain_messages, None))  # type: ignore[arg-type]

    async def _guarded(self, job: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """An error of the log ends the process, as in production; any other is a bug."""
        try:
            await job(*arguments)
        except LogError as error:
            self.world.note(f"{self.name} ends: {error}")
            self._begin_stop()
        except Exception as error:
            self.world.loop.errors.append(f"{self.name}: {error!r}")

    def _begin_stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            self.app.should_stop = True
            self.process.start(self._stop())
            self.world.later(STOP_TIMEOUT_S, self._give_up)

    async def _stop(self) -> None:
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.wait([self._drain])
        await self._let_go(self._release_s)
        self.world.note(f"{self.name} has stopped")
        self.world.group.leave(self)
        self.ended = True
        self.process.kill()

    def _give_up(self) -> None:
        if not self.ended:
            self.kill()
