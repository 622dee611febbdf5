"""Events at a steady rate, and when the transitions that they and time cause can be read: what latency benches measure.

An event's time is when it was handed to the producer, a transition's `at` is the time of its event, so the difference to
the clock when a reader of committed records has it is the way through everything. Both ends are in this process.
"""

import asyncio
import random
import time
from array import array
from typing import Any

import msgspec

from schemas.instants import format_instant, parse_instant
from schemas.topics import EVENTS_PRODUCT, TRANSITIONS, partition_of
from streams import broker
from streams.bench_stand import NAMES, event_bytes
from streams.settings import Settings

TURN_S = 0.005
# at 5,000 events a second each has one every ten seconds; the second of a name brings it into its first segment
CONTACTS = 50_000
LEAST = 2
FETCH_MS = 100


def now_ms() -> float:
    """The time of day, epoch ms."""
    return time.time_ns() / 1e6


class Flow:
    """Publishes until it is cancelled; `rate` (events a second) may be changed meanwhile."""

    def __init__(self, settings: Settings, rate: int) -> None:
        self._settings = settings
        self.rate = rate
        self.sent = 0

    async def run(self) -> None:
        """Sends what is due every few milliseconds; what a slow broker leaves over is sent as soon as it can be."""
        rng, topic = random.Random(42), self._settings.topic(EVENTS_PRODUCT.name)
        keys = [f"contact-{number:06d}" for number in range(CONTACTS)]
        where = [partition_of(key.encode(), self._settings.partitions) for key in keys]
        async with broker.producer(self._settings, linger_ms=0) as producer:
            last_s, owed = time.perf_counter(), 0.0
            while True:
                await asyncio.sleep(TURN_S)
                now_s = time.perf_counter()
                owed, last_s = owed + (now_s - last_s) * self.rate, now_s
                for _ in range(int(owed)):
                    number = int(CONTACTS * rng.random() ** 1.5)
                    event = event_bytes(self.sent, keys[number], rng.randrange(NAMES), format_instant(int(now_ms())))
                    await producer.send(topic, event, key=keys[number].encode(), partition=where[number])
                    self.sent += 1
                owed %= 1


class Reading:
    """What a reader of committed transitions has got, by cause."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # by cause, epoch ms: when a transition could be read, and its `at`; arrays, as looking through a million objects for
        # garbage would itself be seen as latency
        self._seen: dict[str, tuple[array[float], array[float]]] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Reads until it is cancelled."""
        async with broker.reader(self._settings, [self._settings.topic(TRANSITIONS.name)], "latest") as consumer:
            self.ready.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=FETCH_MS)).values():
                    readable_ms = now_ms()
                    for record in records:
                        self._note(readable_ms, record.value)

    def _note(self, readable_ms: float, value: Any) -> None:
        told = _decode(value)
        at_ms = parse_instant(told.at, offset_required=True)
        assert at_ms is not None
        read, at = self._seen.setdefault(told.cause, (array("d"), array("d")))
        read.append(readable_ms)
        at.append(at_ms)

    def count(self, cause: str) -> int:
        """How many of this cause could be read so far."""
        return len(self._seen[cause][0]) if cause in self._seen else 0

    def latest_ms(self, cause: str) -> float:
        """When the last one of this cause could be read; there has to be one."""
        return self._seen[cause][0][-1]

    def latencies_ms(self, cause: str, from_ms: float, until_ms: float = float("inf"), due_ms: int = 0) -> list[float]:
        """From `at` and `due_ms` more to being readable, for what of this cause was readable in [from_ms, until_ms)."""
        seen = zip(*self._seen.get(cause, ((), ())), strict=True)
        return [read - at - due_ms for read, at in seen if from_ms <= read < until_ms]


class _Told(msgspec.Struct):
    at: str
    cause: str


_decode = msgspec.json.Decoder(_Told).decode


async def read_transitions(settings: Settings, readable_ms: dict[str, float], ready: asyncio.Event) -> None:
    """Notes when the first transition of each contact was readable, epoch ms, until cancelled; `ready` once it reads."""
    async with broker.reader(settings, [settings.topic(TRANSITIONS.name)], "latest") as consumer:
        ready.set()
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                at_ms = now_ms()
                for record in records:
                    readable_ms.setdefault((record.key or b"").decode(), at_ms)
