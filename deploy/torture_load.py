"""The load of a torture run: events at a steady pace, in a thread, and what of all that was sent is to come of it.

Contacts live for a minute or so and have an event every few seconds; some events are late, some come again, some delete their
contact. With the wall clock all of a contact's events are in one topic: between topics there is no order to be held to.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import threading
import time
import zlib
from typing import Any

import orjson
from worker_runs import Sources

from schemas.topics import EVENTS_BILLING, EVENTS_EMAIL, EVENTS_PRODUCT, partition_of
from streams.settings import Settings

TOPICS = (EVENTS_PRODUCT.name, EVENTS_BILLING.name, EVENTS_EMAIL.name)
CONTACTS = 1_500
LIFE_MS = 60_000
LATE_MS_MAX = 1_000
TICK_EVERY_S = 0.25
# with so many not acknowledged the broker is away, and publishers wait
UNACKNOWLEDGED_MAX = 1_000


@dataclasses.dataclass(frozen=True)
class Sent:
    """A record as it was sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Load:
    """Publishes from `start` to `stop`; `sent` is in order per partition, `bad` the values that are to be rejected, and why."""

    def __init__(self, settings: Settings, seed: int, per_s: float) -> None:
        self.sent: list[Sent] = []
        self.bad: dict[bytes, str] = {}
        self._settings = settings
        self._arrival = settings.clock == "arrival"
        self._sources = Sources(settings)
        self._random = random.Random(f"load {seed}")
        self._per_s = per_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._recent: collections.deque[Sent] = collections.deque(maxlen=2_000)
        self._count = 0
        self._thread = threading.Thread(target=self._publish, name="load", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and returns once the broker has all of it; nothing if it has ended."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self.flush()

    def flush(self) -> None:
        """Returns once the broker has all that was sent."""
        self._sources.flush()

    def tick(self, at_ms: int) -> None:
        """Says that nothing of this instant or before will follow: where arrival time goes by what arrives."""
        if self._arrival:
            self._sources.tick(at_ms)

    def send(self, record: Sent) -> None:
        """A record as it is, kept in `sent`; from any thread."""
        with self._lock:
            self.sent.append(record)
            self._sources.send_bytes(record.topic, record.key, record.value, record.partition)

    def send_bad(self, reason: str, record: Sent) -> None:
        """A record that is to go to `rejected` for this reason; no other may have its value."""
        self.bad[record.value] = reason
        self.send(record)

    def record_of(self, contact: str, event: dict[str, Any], topic: str = TOPICS[0]) -> Sent:
        """The record of an event, which is given its contact, a `messageId` and, by the arrival clock, `receivedAt`."""
        with self._lock:
            self._count += 1
            named = {"userId": contact, "messageId": f"m{self._count}"} | event
        received = {"receivedAt": now_ms()} if self._arrival else {}
        value, key = orjson.dumps({"timestamp": now_ms()} | named | received), contact.encode()
        return Sent(topic, partition_of(key, self._settings.partitions), key, value)

    def _publish(self) -> None:
        started_s, done, ticked_s = time.monotonic(), 0, 0.0
        while not self._ended.wait(0.02):
            if self._sources.waiting() > UNACKNOWLEDGED_MAX:
                started_s, done = time.monotonic(), 0
                continue
            while done < (time.monotonic() - started_s) * self._per_s:
                self.send(self._next())
                done += 1
            if time.monotonic() - ticked_s > TICK_EVERY_S:
                ticked_s = time.monotonic()
                self.tick(now_ms() - 1)  # events of this very instant may follow

    def _next(self) -> Sent:
        rng = self._random
        if self._recent and rng.random() < 0.03:
            return rng.choice(self._recent)
        number = rng.randrange(CONTACTS)
        contact = f"c{number}-{(now_ms() + number * LIFE_MS // CONTACTS) // LIFE_MS}"
        late_ms = rng.randrange(LATE_MS_MAX) if rng.random() < 0.1 else 0
        topic = rng.choice(TOPICS) if self._arrival else TOPICS[zlib.crc32(contact.encode()) % len(TOPICS)]
        record = self.record_of(contact, {"timestamp": now_ms() - late_ms} | _content(rng), topic)
        self._recent.append(record)
        return record


def _content(rng: random.Random) -> dict[str, Any]:
    drawn = rng.random()
    if drawn < 0.1:
        return {"type": "identify", "traits": {"plan": rng.choice(["pro", "free", None])}}
    if drawn < 0.105:
        return {"type": "delete"}
    if drawn < 0.13:
        return {"type": "list", "list": "vip", "action": rng.choice(["added", "removed"])}
    if drawn < 0.16:
        name = rng.choice(["Subscribed", "Unsubscribed"])
        return {"type": "track", "event": name, "properties": {"group": "news"}}
    properties = {"cart": rng.choice([None, "c1", 3]), "amount": rng.randrange(40)}
    return {"type": "track", "event": rng.choice("AAB"), "properties": properties}


def now_ms() -> int:
    """Epoch ms."""
    return time.time_ns() // 1_000_000
