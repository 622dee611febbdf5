"""Helpers of the worker's tests on a real broker: settings, worker processes, committed records, and what is expected."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from schemas.topics import SOURCES, partition_of, source_of
from schemas.transitions import Transition
from segments import Definitions, load, simulate
from streams.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
SEGMENTS = ROOT / "deploy" / "segments" / "journey.yaml"
FIELDS = ("segment", "contact", "transition", "seq", "at", "cause")


def settings_of(broker: str, prefix: str, **changes: str) -> Settings:
    """Settings for a test: few partitions, short session, any port."""
    return load_settings(environment_of(broker, prefix, **changes))


def environment_of(broker: str, prefix: str, **changes: str) -> dict[str, str]:
    """The same as environment variables; `changes` by variable without `TIDEGATE_`, lower case."""
    chosen = {
        "broker": broker,
        "prefix": prefix,
        "partitions": "4",
        "clock": "arrival",
        "session": "6s",
        "web_port": "0",
    } | changes
    return {f"TIDEGATE_{name.upper()}": value for name, value in chosen.items()}


@dataclasses.dataclass
class WorkerProcess:
    """A `tidegate worker` of its own process, its log in a file."""

    name: str
    environment: dict[str, str]
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    main: str = "from streams.cli import main; main()"

    @property
    def log(self) -> Path:
        """All that it wrote, over all its starts."""
        return self.directory / f"{self.name}.log"

    def start(self, arguments: Sequence[str] = ("tidegate", "worker")) -> WorkerProcess:
        """Starts it, or starts it again; `arguments` where it is another command than `tidegate worker`."""
        program, *options = arguments
        main = "from faust.cli.faust import cli; cli()" if program == "faust" else self.main
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        data = {"TIDEGATE_DATA_DIR": str(self.directory / self.name)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", main, *options],
                cwd=ROOT,
                env=clean | data | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and waits for its end."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """Exit status, once it has ended; a worker that doesn't end is killed and fails the test."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"expected {self.name} to end within {timeout_s:g} s; its log:\n{self.text()}"
            ) from None

    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def text(self) -> str:
        """Its log."""
        return self.log.read_text() if self.log.exists() else ""

    def address(self) -> str | None:
        """Of its web server, as it said in its log when it was last started."""
        found = [line.split("http://")[1].strip() for line in self.text().splitlines() if "http://127" in line]
        return found[-1] if found else None

    def ready(self) -> bool:
        """Whether it owns partitions and has recovered."""
        address = self.address()
        if address is None:
            return False
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as answer:
                return bool(json.load(answer)["ok"])
        except OSError:
            return False

    def metric(self, name: str) -> float:
        """A metric without labels; 0 where there is no answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return next((float(line.split()[1]) for line in lines if line.startswith(name + " ")), 0.0)


class Sources:
    """A publisher as applications have it: librdkafka with Java's partitioner."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(
            {
                "bootstrap.servers": settings.broker,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "enable.idempotence": True,
            }
        )
        self.failed: list[str] = []

    def send(self, event: dict[str, Any]) -> None:
        """An event to its topic."""
        self.send_bytes(source_of(event.get("event")).name, event["userId"].encode(), orjson.dumps(event))

    def send_bytes(self, topic: str, key: bytes | None, value: bytes, partition: int = -1) -> None:
        """A record as it is."""
        self._producer.produce(
            self._settings.topic(topic), value, key, partition=partition, on_delivery=self._delivered
        )
        self._producer.poll(0)

    def tick(self, at_ms: int) -> None:
        """A tick to every partition of every source topic: nothing of this instant or before will follow."""
        value = orjson.dumps({"type": "tick", "receivedAt": at_ms})
        for topic in SOURCES:
            for number in range(self._settings.partitions):
                self.send_bytes(topic.name, None, value, number)

    def flush(self) -> None:
        """Waits until all is acknowledged."""
        left = self._producer.flush(60)
        assert not left and not self.failed, (left, self.failed[:3])

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.failed.append(str(error))


@dataclasses.dataclass(frozen=True)
class Committed:
    """A record that a read-committed reader sees."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def json(self) -> Any:
        """The value decoded."""
        assert self.value is not None
        return orjson.loads(self.value)


def committed(settings: Settings, topic: str) -> list[Committed]:
    """All committed records of a topic (name without prefix) as of now, per partition in order."""
    name = settings.topic(topic)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.broker,
            "group.id": "tests",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        left = set(consumer.list_topics(name, 10).topics[name].partitions)
        consumer.assign([TopicPartition(name, number, 0) for number in left])
        return list(_until_ends(consumer, left))
    finally:
        consumer.close()


def _until_ends(consumer: Consumer, left: set[int]) -> Iterator[Committed]:
    deadline_s = time.monotonic() + 30
    while left:
        assert time.monotonic() < deadline_s, f"expected the ends of partitions {left} within 30 s"
        for message in consumer.consume(1_000, 0.1):
            if message.error() is None:
                headers = dict(message.headers() or [])
                yield Committed(message.partition(), message.offset(), message.key(), message.value(), headers)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise AssertionError(message.error())


Told = dict[str, list[tuple[Any, ...]]]


def expected(definitions: Definitions, lines: Iterable[bytes]) -> Told:
    """What `simulate` says of these lines, by contact."""
    told: Told = collections.defaultdict(list)
    for each in simulate(definitions, lines):
        assert isinstance(each, Transition), each
        shown = each.simulated()
        told[each.contact].append(_row(shown))
    return {contact: _settled(rows) for contact, rows in told.items()}


def transitions(settings: Settings) -> Told:
    """What the `transitions` topic says, by contact, nothing deduplicated."""
    told: Told = collections.defaultdict(list)
    for record in committed(settings, "transitions"):
        fields = record.json()
        assert record.key == fields["contact"].encode()
        assert record.partition == partition_of(record.key, settings.partitions)
        told[fields["contact"]].append(_row(fields))
    return {contact: _settled(rows) for contact, rows in told.items()}


def _row(fields: dict[str, Any]) -> tuple[Any, ...]:
    """What is compared; a segment with `per` is named together with the value."""
    segment, *others = (fields[field] for field in FIELDS)
    return (_named(segment, fields.get("key")), *others)


def _named(segment: str, key: str | None) -> str:
    return segment if key is None else f"{segment} {key}"


def _settled(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """In the order of their coming; of one instant and cause, by segment: between segments a step has no order."""
    settled: list[tuple[Any, ...]] = []
    group: list[tuple[Any, ...]] = []
    for row in rows:
        if group and (row[4], row[5]) != (group[0][4], group[0][5]):
            settled += sorted(group, key=lambda each: (each[0], each[3]))
            group = []
        group.append(row)
    return settled + sorted(group, key=lambda each: (each[0], each[3]))


def members(settings: Settings) -> set[tuple[str, str, int]]:
    """Who is in which segment by the `memberships` topic, with the `seq` of the last transition."""
    last: dict[bytes, Any] = {}
    for record in committed(settings, "memberships"):
        assert record.key is not None
        last[record.key] = record.json()
    named = ((each["contact"], _named(each["segment"], each.get("key")), each) for each in last.values())
    return {(contact, segment, each["seq"]) for contact, segment, each in named if each["member"]}


def members_of(told: Told) -> set[tuple[str, str, int]]:
    """The same, by transitions."""
    last = {(row[1], row[0]): row for rows in told.values() for row in rows}
    return {(contact, segment, row[3]) for (contact, segment), row in last.items() if row[2] == "entered"}


def taken(settings: Settings) -> dict[str, int]:
    """Source positions of all partitions, from their meta records, summed by topic."""
    last: dict[int, Any] = {}
    for record in committed(settings, "state"):
        if record.key == b"\xffmeta":
            last[record.partition] = record.json()
    total: collections.Counter[str] = collections.Counter()
    for meta in last.values():
        for topic, mark in meta["topics"].items():
            total[topic] += mark["position"]
    return dict(total)


def ends(settings: Settings) -> dict[str, int]:
    """Ends of the source topics, summed over partitions."""
    consumer = Consumer({"bootstrap.servers": settings.broker, "group.id": "tests"})
    try:
        return {
            topic.name: sum(
                consumer.get_watermark_offsets(TopicPartition(settings.topic(topic.name), number), 10)[1]
                for number in range(settings.partitions)
            )
            for topic in SOURCES
        }
    finally:
        consumer.close()


def run_command(environment: dict[str, str], *arguments: str) -> None:
    """A `tidegate` command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", "from streams.cli import main; main()", *arguments],
        cwd=ROOT,
        env=environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Stage:
    """A prefix of its own with topics and definitions, and worker processes that end with the test."""

    def __init__(self, broker: str, prefix: str, directory: Path, segments: Path = SEGMENTS, **changes: str) -> None:
        self.environment = environment_of(broker, prefix, **changes)
        self.settings: Settings = settings_of(broker, prefix, **changes)
        self.directory = directory
        self.workers: dict[str, WorkerProcess] = {}
        self.positions: tuple[dict[str, int], dict[str, int]] = ({}, {})
        run_command(self.environment, "topics", "create")
        self.definitions = load(segments.read_text(), str(segments))
        if self.definitions.segments:
            run_command(self.environment, "segments", "apply", str(segments))

    def worker(self, name: str) -> WorkerProcess:
        """Starts a worker, or starts it again."""
        if name not in self.workers:
            self.workers[name] = WorkerProcess(name, self.environment, self.directory)
        return self.workers[name].start()

    def supervise(self) -> None:
        """Starts again what has ended by itself, as a supervisor would."""
        for worker in self.workers.values():
            if not worker.running():
                worker.start()

    def through(self) -> bool:
        """Whether all that was published is in committed positions; fails when a worker has ended instead."""
        for worker in self.workers.values():
            assert worker.running(), f"expected {worker.name} to run, it ended:\n{worker.text()[-3000:]}"
        self.positions = taken(self.settings), ends(self.settings)
        return self.positions[0] == self.positions[1]

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {each.name}\n{each.text()[-3000:]}" for each in self.workers.values())

    def close(self) -> None:
        """Kills what is running; prints logs and positions, which pytest shows when the test fails."""
        print(self.logs(), "\ntaken and published:", self.positions)
        for worker in self.workers.values():
            if worker.running():
                worker.kill()
