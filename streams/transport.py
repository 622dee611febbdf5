"""Faust's transport, with the drain replaced: the consumer thread only reads, the worker (`worker.py`) does the rest.

What Faust keeps: the consumer and its thread, group membership and assignment, streams and agents, life-cycle. What it
doesn't do here: hand over one event at a time, acknowledge, commit. One Faust event is leave to take turns; the agent that
gets it applies whatever is ready, some milliseconds at a time, and gives the loop its turn in between.

Invariants:
  * Offsets are committed by checkpoints alone; whatever Faust's streams acknowledge is forgotten (I3).
  * A turn is taken only if no partition was taken away since leave was given.
  * The first error of reading, applying or committing ends the app (I5).

Insides of Faust that are overridden or relied on are held by `tests/unit/test_insides.py`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.instance import Instance
from streams.kafka_log import FETCH_WAIT_MS, ask_for_missing, refuse_refused
from streams.worker import Worker

# LeaveGroup fails, or never ends, while the coordinator is away; stock Faust then never stops either
LEAVE_TIMEOUT_S = 10.0
GROUP_LOOK_S = 1.0
# for the last checkpoints, when partitions are taken away or the worker stops; below any rebalance time-out
RELEASE_TIMEOUT_S = 10.0


class Leave:
    """Value of a Faust event: leave to take turns while there is something to do, as long as `number` is the consumer's."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class LeaveSchema(Schema):  # type: ignore[misc]  # faust has no types
    """Events are made, not read: nothing to decode."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        """No key."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """The leave."""
        return message.value


class ReaderThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread: an aiokafka consumer in a loop of its own."""

    async def on_start(self) -> None:
        """Starts the consumer, and hears from then on what its group tells it."""
        await super().on_start()
        self.consumer.instance.watch(self._consumer._coordinator)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust sets it for its own exactly_once only
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # Faust: 1500; that a topic was read to its end has to be fresh
        return consumer

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs `function(consumer, …)` on the thread's loop, to its end even if the caller is cancelled."""

        async def run() -> Any:
            result = function(self._ensure_consumer(), *arguments)
            return await result if asyncio.iscoroutine(result) else result

        return await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self.thread_loop)))

    async def on_thread_stop(self) -> None:
        """Stops the consumer, in bounded time."""
        try:
            await asyncio.wait_for(super().on_thread_stop(), LEAVE_TIMEOUT_S)
        except Exception as error:
            self.log.warning("leaving the group: %r", error)


class WorkerConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, as host of the worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance = Instance(self.app.settings)
        self._number = 0
        self._taken = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def worker(self) -> Worker:
        """What is hosted."""
        worker: Worker = self.app.worker
        return worker

    def _new_consumer_thread(self) -> Any:
        return ReaderThread(self, loop=self.loop, beacon=self.beacon)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs `function(consumer, …)` in the consumer's thread."""
        return await self._thread.call(function, *arguments)

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch_group(self) -> None:
        """Ends the app where the group refuses this worker for good: Kafka's client says so to `getmany` alone.

        And has the client look for topics that it takes for missing.
        """
        while not self.should_stop:
            await self.sleep(GROUP_LOOK_S)
            self.instance.refuse_taken()
            if (consumer := self._thread._consumer) is not None:
                refuse_refused(consumer, self.app.settings)
                self._thread.thread_loop.call_soon_threadsafe(ask_for_missing, consumer)

    # ---- reading, turns, checkpoints: for as long as Faust's fetcher runs ---------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        """Stands in for Faust's own drain; called by its Fetcher service, ended by cancelling."""
        worker = self.worker
        jobs = (self._feed(), self._turns(), worker.commit_when_due(), worker.count_sizes(), self.app.plans.follow())
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            # in a rebalance Faust takes it for the fetcher's crash and asks a supervisor, which there is none, to start it again
            if not (self.app.rebalancing and fetcher.should_stop):
                raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(self) -> None:
        while True:
            if not self.flow_active:
                await self.can_resume_flow.wait()
            await self.worker.feed()

    async def _turns(self) -> None:
        worker = self.worker
        while True:
            await worker.wake.wait()
            worker.wake.clear()
            if self.flow_active and worker.ready():
                await self._offer_turns()

    async def _offer_turns(self) -> None:
        """Sends leave to take turns the way of all Faust events; returns when they are taken."""
        topic, partition = self.app.turns_topic, next(iter(self.worker.partitions))
        message = ConsumerMessage(
            topic, partition, 0, 0.0, 0, None, None, Leave(self._number), None, 0, 0, TP(topic, partition),
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        self._taken.clear()
        await self.callback(message)
        await self._taken.wait()
        if self._failure is not None:
            raise self._failure

    def take(self, leave: Leave) -> bool:
        """Takes one turn, unless partitions have been taken away since leave was given; returns whether to take another.

        Called by the agent, which gives the loop its turn in between.
        """
        if leave.number != self._number or not self.flow_active:
            return False
        try:
            more = self.worker.turn() and self.worker.ready()
        except Exception as error:
            # not raised into the agent: Faust would count the event as done and go on
            self._failure, more = error, False
        if not more:
            self._taken.set()
        return more

    # ---- life-cycle ---------------------------------------------------------------------------------------------------

    def stop_flow(self) -> None:
        """Nothing more is read or applied; a turn that is on its way becomes void."""
        super().stop_flow()
        self._number += 1
        self._taken.set()

    async def wait_empty(self) -> None:
        """Partitions are taken away or the worker stops, flow has stopped: the last checkpoints."""
        await self.worker.release(RELEASE_TIMEOUT_S)

    async def on_stop(self) -> None:
        """The same, when the app stops without a rebalance."""
        await self.wait_empty()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: offsets are committed by checkpoints."""
        self._acked.clear()
        self._acked_index.clear()
        return False

    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust would look for acknowledgements. `/livez` and the metrics tell what is stuck."""


class WorkerTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = WorkerConsumer

    async def _create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: topics are made by `tidegate topics create` alone, and checked before the app starts (I1)."""


def numbers_of(partitions: Iterable[Any]) -> set[int]:
    """Partition numbers of topic partitions."""
    return {partition.partition for partition in partitions}
