"""Records into Kafka: whoever hands some over hears when all replicas have them, or that it has to come again.

Invariants:
  * `take` returns only when Kafka has acknowledged every record that it was given.
  * Records of one key go to one partition, in the order in which they were taken: a batch follows the one before it in its
    partition, and the producer is idempotent, so that what it repeats by itself is written once and in its place.
  * What is on its way, or is being read, has a bound in bytes: beyond it nothing more is taken in (`Crowded`).
  * Kafka being away ends nothing: it is said (`problem`), and looked for again until it is there.

What was given up on after `ACK_S_MAX` may still be written. Whoever sent it sends it again, with the same `messageId`.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import EVENTS_BILLING, EVENTS_EMAIL, EVENTS_PRODUCT, REJECTED, partition_of
from streams.broker import CONNECT_TIMEOUT_S, partitions_of, words_of
from streams.errors import StreamsError
from streams.gateway.record import Record, bytes_of
from streams.poison import place_of
from streams.security import access, forbidden
from streams.settings import SettingError, Settings

logger = logging.getLogger(__name__)

# from handing over to the answer "not now": SDKs give a request ten to fifteen seconds
ACK_S_MAX: Final = 10.0
# the first record of a batch waits so long for others: a produce request costs as much as forty events
GATHER_S: Final = 0.004
BATCH_BYTES: Final = 256 * 1024
RECONNECT_S: Final = 2.0
# the process ends within ten seconds, of which answers may take seven
STOP_S_MAX: Final = 1.0
KILL_S, KILL_ATTEMPTS, CLOSE_S_MAX = 0.05, 4, 0.3
# keys whose partitions are found before the loop gets its turn; and those that are remembered
TURN_KEY_BYTES: Final = 64 * 1024
CACHED_KEY_BYTES_MAX: Final = 64
# older than this, what is on its way says that Kafka is away
LATE_S: Final = 5.0


class Crowded(Exception):
    """As much is on its way as may be; whoever came comes again soon."""


class Unavailable(Exception):
    """Kafka has not acknowledged; the message says why. Whoever came comes again later."""


class Held:
    """Bytes of one request, counted with those of all others for as long as it is under way (`with`)."""

    def __init__(self, intake: "Intake") -> None:
        self._intake, self._bytes = intake, 0

    def add(self, count: int) -> None:
        """So many more; raises `Crowded`."""
        self._intake.reserve(count)
        self._bytes += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._intake.release(self._bytes)


# all that it writes to
TOPICS: Final = (EVENTS_PRODUCT, EVENTS_BILLING, EVENTS_EMAIL, REJECTED)
# topic without prefix, and partition
_Slot = tuple[str, int]


class _Batch:
    """Records of one partition on their way; `acknowledged` is done when Kafka has them, or never will."""

    __slots__ = ("acknowledged", "began_s", "builder", "bytes")

    def __init__(self, builder: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.builder = builder
        self.bytes = 0
        self.began_s = time.monotonic()
        self.acknowledged: asyncio.Future[None] = loop.create_future()

    def add(self, record: Record) -> bool:
        """Puts a record behind the others; False where it has no room, or was sent."""
        if self.builder.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
            return False
        self.bytes += bytes_of(record)
        return True

    def end(self, error: KafkaError | None) -> None:
        """Tells whoever waits."""
        if error is None:
            self.acknowledged.set_result(None)
        else:
            self.acknowledged.set_exception(error)
            self.acknowledged.exception()  # nobody may be waiting any more


class _Producer:
    """A started producer, and the lanes to its partitions."""

    def __init__(self, client: AIOKafkaProducer, partitions: int) -> None:
        self.client = client
        self.lanes: dict[_Slot, deque[_Batch]] = {}
        self.sending: set[asyncio.Task[None]] = set()
        self._partition = functools.lru_cache(maxsize=1 << 16)(functools.partial(partition_of, partitions=partitions))

    async def routed(self, records: Iterable[Record]) -> list[tuple[_Slot, Record]]:
        """Each record with where it goes; the loop gets its turn, as long keys take a tenth of a millisecond each."""
        routed, hashed_bytes = [], 0
        for record in records:
            routed.append((self._slot(record), record))
            hashed_bytes += len(record.key or b"")
            if hashed_bytes >= TURN_KEY_BYTES:
                hashed_bytes = 0
                await asyncio.sleep(0)
        return routed

    def _slot(self, record: Record) -> _Slot:
        if record.key is None:
            return record.topic, 0
        # the cache is for ids as they are: of the longest it would be 70 MB
        known = self._partition if len(record.key) <= CACHED_KEY_BYTES_MAX else self._partition.__wrapped__
        return record.topic, known(record.key)

    def is_late(self, slot: _Slot, now_s: float) -> bool:
        """Whether Kafka owes an answer for what went there before."""
        lane = self.lanes.get(slot)
        return bool(lane) and now_s - lane[0].began_s > LATE_S  # type: ignore[index]  # it is not None


class Intake:
    """Takes records in; `follow` keeps it connected, `close` lets go."""

    def __init__(
        self,
        settings: Settings,
        bytes_max: int,
        acknowledged: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`acknowledged` hears of each batch how long Kafka took."""
        self._settings, self._bytes_max, self._acknowledged = settings, bytes_max, acknowledged
        self._producer: _Producer | None = None
        self._absent: str | None = "Kafka has not been reached yet"
        self._on_way: dict[_Batch, None] = {}
        self._lost = asyncio.Event()
        self.bytes = 0

    @property
    def problem(self) -> str | None:
        """Why nothing can be taken in now, None when it can."""
        if self._absent is not None:
            return self._absent
        oldest = next(iter(self._on_way), None)
        waited_s = 0.0 if oldest is None else time.monotonic() - oldest.began_s
        return f"Kafka has not acknowledged for {waited_s:.0f} s" if waited_s > LATE_S else None

    def held(self) -> Held:
        """For the bytes of a request."""
        return Held(self)

    def reserve(self, count: int) -> None:
        """Counts so many bytes more; raises `Crowded`."""
        if self.bytes + count > self._bytes_max:
            raise Crowded
        self.bytes += count

    def release(self, count: int) -> None:
        """Counts so many bytes less."""
        self.bytes -= count

    async def take(self, records: Iterable[Record]) -> None:
        """Returns when Kafka has them all; raises `Crowded` (nothing was taken), `Unavailable` (what was, nobody knows)."""
        producer = self._producer
        if producer is None:
            raise Unavailable(self._absent or "Kafka is away")
        routed = await producer.routed(records)
        if producer is not self._producer:
            raise Unavailable("the connection to Kafka was lost")
        now_s = time.monotonic()
        if any(producer.is_late(slot, now_s) for slot in {slot for slot, _ in routed}):
            raise Unavailable(f"Kafka has not acknowledged what came before for more than {LATE_S:g} s")
        self.reserve(sum(bytes_of(record) for _, record in routed))
        batches = dict.fromkeys(self._add(producer, slot, record) for slot, record in routed)
        if batches:
            await _all_of([batch.acknowledged for batch in batches])

    async def follow(self) -> None:
        """Connects, and does so again whenever the connection is lost for good; until cancelled."""
        while True:
            try:
                producer = self._producer = await self._connect()
            except (StreamsError, SettingError) as error:
                self._say(str(error))
                await asyncio.sleep(RECONNECT_S)
                continue
            self._lost.clear()
            self._say(None)
            await self._lost.wait()
            await self._drop(producer)
            await asyncio.sleep(RECONNECT_S)

    async def close(self) -> None:
        """Waits for what is on its way, for a while, and lets go of the connection."""
        if self._on_way:
            await asyncio.wait([batch.acknowledged for batch in self._on_way], timeout=1.0)
        producer, self._producer = self._producer, None
        self._absent = "this process ends"
        if producer is not None:
            await self._drop(producer)

    def _add(self, producer: _Producer, slot: _Slot, record: Record) -> _Batch:
        """Puts a record behind those of its partition; the batch that it is in."""
        lane = producer.lanes.setdefault(slot, deque())
        if not lane or not lane[-1].add(record):
            batch = _Batch(producer.client.create_batch(), asyncio.get_running_loop())
            batch.add(record)
            lane.append(batch)
            self._on_way[batch] = None
            if len(lane) == 1:
                task = asyncio.create_task(self._send_all(producer, slot, lane))
                producer.sending.add(task)
                task.add_done_callback(producer.sending.discard)
        return lane[-1]

    async def _send_all(self, producer: _Producer, slot: _Slot, lane: deque[_Batch]) -> None:
        """Sends what is in a lane until it is empty; one batch is on its way while the next one gathers."""
        await asyncio.sleep(GATHER_S)
        while lane:
            batch = lane[0]
            # closed, as the first in line: what comes while the client makes room goes into another
            batch.builder.close()
            error: KafkaError | None = None
            try:
                sent = await producer.client.send_batch(batch.builder, self._settings.topic(slot[0]), partition=slot[1])
                await sent
            except KafkaError as raised:
                error = raised
            except Exception as raised:
                # a lane that nobody empties any more would hold up its partition for good
                logger.error("this version raises %s (%s)", type(raised).__name__, place_of(raised))
                error = KafkaError(f"aiokafka raised {type(raised).__name__}")
            lane.popleft()
            self._ended(batch, error)
            if error is not None:
                # what comes behind would overtake it; whoever sent it sends both again
                _end_all(lane, self._ended)

    def _ended(self, batch: _Batch, error: KafkaError | None) -> None:
        del self._on_way[batch]
        self.release(batch.bytes)
        if error is None:
            self._acknowledged(time.monotonic() - batch.began_s)
        elif not self._lost.is_set():
            # an idempotent producer that has lost its place sends nothing any more
            self._say(f"Kafka at {self._settings.broker} failed: {words_of(error)}{forbidden(error)}")
            self._producer = None
            self._lost.set()
        batch.end(error)

    async def _connect(self) -> _Producer:
        """Raises `StreamsError`, `SettingError`."""
        counts = await partitions_of(self._settings, [self._settings.topic(topic.name) for topic in TOPICS])
        if len(set(counts.values())) != 1:
            raise StreamsError(f"expected as many partitions in each topic, found {counts}: `tidegate topics create`")
        client = AIOKafkaProducer(
            **access(self._settings),
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=4 * BATCH_BYTES,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.start()
        except (KafkaError, TimeoutError) as error:
            await _stop(client)
            said = words_of(error) if isinstance(error, KafkaError) else "no answer"
            raise StreamsError(f"expected Kafka at {self._settings.broker} to take a producer, got {said}") from None
        return _Producer(client, next(iter(counts.values())))

    async def _drop(self, producer: _Producer) -> None:
        """Lets go of it; what was on its way is lost to us."""
        await _stop(producer.client)
        for task in list(producer.sending):
            task.cancel()
        await asyncio.gather(*producer.sending, return_exceptions=True)
        for lane in producer.lanes.values():
            _end_all(lane, self._ended)

    def _say(self, problem: str | None) -> None:
        if problem == self._absent:
            return
        self._absent = problem
        if problem is None:
            logger.info("Kafka at %s takes events", self._settings.broker)
        else:
            logger.error("events are answered with 503 until this is mended: %s", problem)


async def _all_of(acknowledged: list[asyncio.Future[None]]) -> None:
    _, late = await asyncio.wait(acknowledged, timeout=ACK_S_MAX)
    if late:
        raise Unavailable(f"Kafka has not acknowledged within {ACK_S_MAX:g} s")
    for future in acknowledged:
        if (error := future.exception()) is not None:
            raise Unavailable(f"Kafka did not take it: {type(error).__name__}")


def _end_all(lane: deque[_Batch], ended: Callable[[_Batch, KafkaError], None]) -> None:
    while lane:
        ended(lane.popleft(), KafkaError("the connection was given up"))


async def _stop(client: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await client.stop()
    except KafkaError:
        pass  # it was away, which is why
    except TimeoutError:
        await _kill(client)


async def _kill(client: AIOKafkaProducer) -> None:
    """Ends one that waits for Kafka: what it still has would be written some day, behind what was sent again since."""
    sender = client._sender.sender_task
    # cancelled, it waits for what is under way; cancelled again, not even for that
    for _ in range(KILL_ATTEMPTS):
        if sender is None or sender.done():
            break
        sender.cancel()
        await asyncio.wait([sender], timeout=KILL_S)
    client._message_accumulator.fail_all(KafkaError("the connection was given up"))
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(CLOSE_S_MAX):
            await client.client.close()
