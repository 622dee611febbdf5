"""What others do to a prefix's topics in a torture run: hold readers back, write what nobody can read, spoil state."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer
from torture_check import FOREIGN, SPOILT, Hold
from torture_load import TOPICS, Load, Sent, now_ms

from schemas.topics import STATE, partition_of
from streams.settings import Settings

TRANSACTION_S_MAX = 60


class Strangers:
    """All of a run's. `holds` are the transactions that have ended, `spoilt` the contacts whose state can't be read."""

    def __init__(self, settings: Settings, load: Load, say: Callable[[str], None]) -> None:
        """`say` hears of transactions that failed."""
        self.holds: list[Hold] = []
        self.spoilt: list[str] = []
        self._settings = settings
        self._load = load
        self._say = say
        self._number = itertools.count(1)
        self._threads: list[threading.Thread] = []

    def done(self) -> bool:
        """Whether nothing of theirs is under way."""
        return not any(thread.is_alive() for thread in self._threads)

    def open_transaction(self, seconds: float, topic: str, *, commit: bool) -> Sent:
        """Writes a record in a transaction that is ended after `seconds`; returns it."""
        contact = f"{FOREIGN}{next(self._number)}"
        record = self._load.record_of(contact, {"type": "track", "event": "A"}, topic)
        self._beside(lambda: self._hold(contact, record, seconds, commit))
        return record

    def _hold(self, name: str, record: Sent, seconds: float, commit: bool) -> None:
        from_ms, topic = now_ms(), self._settings.topic(record.topic)
        producer = self._producer(self._settings.prefix + name)
        try:
            _insist(lambda: producer.init_transactions(5))
            producer.begin_transaction()
            producer.produce(topic, record.value, record.key, partition=record.partition)
            producer.flush(TRANSACTION_S_MAX)
            time.sleep(seconds)
            _insist(lambda: producer.commit_transaction(5) if commit else producer.abort_transaction(5))
        except KafkaException as error:
            # the broker ends it then, and the log has what became of it
            self._say(f"               the transaction of {name} has failed: {error}")
        self.holds.append(Hold(record.topic, record.partition, from_ms, now_ms()))

    def poison(self) -> None:
        """Records that are to be rejected: unreadable bytes, on another partition than their key's, without a key."""
        number, settings = next(self._number), self._settings
        event, again = (self._load.record_of(f"stray-{number}", {"type": "track", "event": "A"}) for _ in range(2))
        elsewhere = (event.partition + 1) % settings.partitions
        self._load.send_bad("not_json", dataclasses.replace(event, value=b"{nope %d" % number))
        self._load.send_bad("not_json", dataclasses.replace(event, topic=TOPICS[1], value=b"\xff\x00%d" % number))
        self._load.send_bad("wrong_partition", dataclasses.replace(event, partition=elsewhere))
        self._load.send_bad("no_key", dataclasses.replace(again, key=None))

    def spoil_state(self) -> str:
        """Writes a state record that can't be decoded, of a contact of its own; returns whose."""
        contact = f"{SPOILT}{next(self._number)}"
        self.spoilt.append(contact)
        settings, key = self._settings, contact.encode()
        producer, number = self._producer(), partition_of(key, settings.partitions)
        producer.produce(settings.topic(STATE.name), b"\x02spoilt", key, partition=number)
        self._beside(lambda: producer.flush(TRANSACTION_S_MAX))
        return contact

    def touch_spoilt(self) -> None:
        """An event for each contact whose state was spoilt: to be rejected, once a new owner has found it."""
        for contact in self.spoilt:
            self._load.send_bad("quarantined", self._load.record_of(contact, {"type": "track", "event": "A"}))

    def _producer(self, transactional_id: str | None = None) -> Producer:
        chosen: dict[str, str | int] = {"bootstrap.servers": self._settings.broker, "log_level": 0}
        if transactional_id is not None:
            chosen |= {"transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_S_MAX * 1000}
        return Producer(chosen)

    def _beside(self, action: Callable[[], object]) -> None:
        self._threads.append(threading.Thread(target=action, daemon=True))
        self._threads[-1].start()


def _insist(action: Callable[[], object]) -> None:
    """Again and again for as long as that may help: the broker may be away."""
    until_s = time.monotonic() + 2 * TRANSACTION_S_MAX
    while True:
        try:
            action()
            return
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > until_s:
                raise
