"""Workers on a real broker, for tests and the torture run: settings, processes, a publisher, and a prefix of one's own."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from children import Child
from confluent_kafka import Producer
from told import Committed, Told, committed, ends, expected, members, members_of, taken, transitions
from tools import ROOT

from schemas.topics import SOURCES, source_of
from streams.definition_files import check_files, open_files
from streams.revisions import InForce
from streams.settings import Settings, load_settings

__all__ = [
    "ROOT",
    "SEGMENTS",
    "Committed",
    "Sources",
    "Stage",
    "Told",
    "WorkerProcess",
    "committed",
    "ends",
    "environment_of",
    "expected",
    "members",
    "members_of",
    "run_command",
    "settings_of",
    "taken",
    "transitions",
]

SEGMENTS = ROOT / "deploy" / "segments" / "journey.yaml"
MAIN = "from streams.cli import main; main()"


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
    """A `tidegate worker` of its own process, its log in a file; gone when the process that started it is."""

    name: str
    environment: dict[str, str]
    directory: Path
    child: Child | None = None
    main: str = MAIN

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
        argv = [sys.executable, "-c", main, *options]
        self.child = Child(self.name, argv, self.log, env=clean | data | self.environment, cwd=ROOT)
        return self

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing if it has ended."""
        assert self.child is not None
        self.child.send(number)

    def kill(self) -> None:
        """kill -9, and waits for its end."""
        assert self.child is not None
        self.child.kill()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """Exit status, once it has ended; a worker that doesn't end is killed and fails the test."""
        assert self.child is not None
        until_s = time.monotonic() + timeout_s
        while (status := self.child.returncode) is None:
            if time.monotonic() > until_s:
                self.child.kill()
                raise AssertionError(f"expected {self.name} to end within {timeout_s:g} s; its log:\n{self.text()}")
            time.sleep(0.02)
        return status

    def running(self) -> bool:
        """Whether it runs."""
        return self.child is not None and self.child.running

    def text(self) -> str:
        """Its log."""
        return self.log.read_text() if self.log.exists() else ""

    def address(self) -> str | None:
        """Of its web server, as it said in its log when it was last started."""
        said = "" if self.child is None else self.child.output()
        return next((line.split("http://")[1].strip() for line in said.splitlines() if "http://127" in line), None)

    def ready(self) -> bool:
        """Whether it has its share of the partitions, and their state."""
        return bool(self.readiness().get("ok"))

    def readiness(self) -> dict[str, Any]:
        """What `/readyz` says; empty where it has no answer or says no."""
        address = self.address()
        if address is None:
            return {}
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as answer:
                said: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return said

    def metric(self, name: str) -> float:
        """A metric, summed over its labels; 0 where there is no answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + " ", name + "{")))


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
                "log_level": 0,  # what can't be delivered is in `failed`
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

    def waiting(self) -> int:
        """How many records are not acknowledged yet."""
        self._producer.poll(0)  # it counts those, too, of whose fate it couldn't tell
        return len(self._producer)

    def flush(self) -> None:
        """Waits until all is acknowledged."""
        left = self._producer.flush(60)
        assert not left and not self.failed, (left, self.failed[:3])

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.failed.append(str(error))


def run_command(environment: dict[str, str], *arguments: str) -> None:
    """A `tidegate` command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
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
        self.checked = check_files(open_files([str(segments)]), InForce(), directory)
        self.definitions = self.checked.definitions
        if self.definitions.segments:
            run_command(self.environment, "segments", "apply", str(segments))

    def worker(self, name: str, main: str = MAIN) -> WorkerProcess:
        """Starts a worker, or starts it again; `main` is what the first start of this name said."""
        if name not in self.workers:
            self.workers[name] = WorkerProcess(name, self.environment, self.directory, main=main)
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
