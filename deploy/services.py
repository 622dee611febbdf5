"""Apache Kafka and Redis, the real ones, on free loopback ports in a directory of their own.

    with Kafka(directory / "kafka") as kafka, Redis(directory / "redis") as redis:
        ...  # kafka.address is "127.0.0.1:21034", redis.url is "redis://127.0.0.1:21035/0"

`python deploy/services.py up --dir DIR` starts both for a developer and prints the settings that point to them.

Invariants:
  * A service counts as started once it has answered a request with what only our own process can know (a Kafka
    cluster id made for this start, Redis's process id). Whoever else took the port meanwhile is never mistaken for it.
  * No server outlives the process that started it, however that one ends (`children.py`).

Standard library only, and nothing of ours: demo, tests and developers all stand on it.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Self, TextIO

from children import Child
from tools import HOST, ROOT, RUN, ServiceError, free_ports, java, kafka_libs, redis_server, tail

__all__ = ["Child", "Kafka", "Redis", "Service", "ServiceError", "free_ports"]

START_TIMEOUT_S = 60.0
PORT_TRIES = 5
BROKER_PROPERTIES = ROOT / "deploy" / "kafka" / "server.properties"


class Service(ABC):
    """A server in a directory of its own: started, stopped, killed and restarted on the same ports and data."""

    name: str
    ports_count: int

    def __init__(self, directory: Path) -> None:
        """Starts nothing yet. What an earlier service left in the directory (ports, data) is taken up by `start`."""
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / f"{self.name}.log"
        self.ports: tuple[int, ...] = ()
        self._child: Child | None = None
        self._lock: TextIO | None = None

    @property
    def address(self) -> str:
        """Host and port, as clients take it. Stays the same over restarts."""
        assert self.ports, f"{self.name} has not been started"
        return f"{HOST}:{self.ports[0]}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._child is not None, f"{self.name} has not been started"
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the server's process runs."""
        return self._child is not None and self._child.running

    def start(self) -> Self:
        """Starts the server and returns once it answers; raises ServiceError with the end of its log if it doesn't."""
        assert not self.running, f"{self.name} runs already"
        self._hold_directory()
        try:
            return self._start()
        except BaseException:
            self._leave_directory()
            raise

    def _start(self) -> Self:
        kept = self.ports or self._kept_ports()
        for _ in range(1 if kept else PORT_TRIES):
            self.ports = kept or free_ports(self.ports_count)
            if self._starts():
                (self.directory / "ports.json").write_text(json.dumps(self.ports))
                return self
            if not kept:
                shutil.rmtree(self.data, ignore_errors=True)  # what was formatted names the lost port
        taken, self.ports = self.ports, kept
        raise ServiceError(
            f"{self.name}: expected free ports on {HOST}, but {taken} are taken - "
            f"stop what listens there (an earlier run in {self.directory}?) or use another directory"
        )

    def stop(self) -> None:
        """Ends the server in good order (SIGTERM); nothing if it doesn't run."""
        if self._child is not None:
            self._child.stop()
            self._leave_directory()

    def kill(self) -> None:
        """Ends the server with kill -9; nothing if it doesn't run."""
        if self._child is not None:
            self._child.kill()
            self._leave_directory()

    def pause(self) -> None:
        """Freezes the server (SIGSTOP): its port accepts connections, nobody answers. `resume` wakes it."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Wakes the server that `pause` froze."""
        self._send(signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> Self:
        """Stops the server if it runs and starts it on the same ports: with its data, or with none."""
        self.stop()
        if empty:
            shutil.rmtree(self.data, ignore_errors=True)
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.resume()  # a frozen process takes no SIGTERM
        self.stop()

    def _hold_directory(self) -> None:
        """Takes the directory for this process: another one's Kafka would answer with its cluster id, too."""
        self._leave_directory()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = (self.directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._leave_directory()
            raise ServiceError(
                f"{self.name}: expected {self.directory} to be free, but another process runs {self.name} in it - "
                "stop that one, or use another directory"
            ) from None
        except OSError as error:
            raise ServiceError(
                f"{self.name}: expected to write to the directory {self.directory}, got {error.strerror} - use another"
            ) from None

    def _leave_directory(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send(number)

    def _kept_ports(self) -> tuple[int, ...]:
        try:
            return tuple(json.loads((self.directory / "ports.json").read_text()))
        except FileNotFoundError:
            return ()

    def _starts(self) -> bool:
        """True once the server answers, False if its port was taken; raises ServiceError for anything else."""
        self.data.mkdir(exist_ok=True)
        self._format()
        self._child = Child(self.name, self._argv(), self.log, cwd=self.directory)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._child.running:
            try:
                if self._answers():
                    return True
            except (OSError, ValueError, struct.error):
                pass  # not listening yet, or whoever listens there speaks something else
            time.sleep(0.05)
        running, output = self._child.running, self._child.output()
        self._child.kill()
        if not running and "Address already in use" in output:
            return False
        came = f"no answer in {START_TIMEOUT_S:.0f} s" if running else f"exit status {self._child.returncode}"
        raise ServiceError(
            f"{self.name}: expected an answer on {self.address}, got {came} - see {self.log}, "
            f"which ends:\n{tail(output)}"
        )

    @abstractmethod
    def _format(self) -> None:
        """Makes what the server needs in its directory before it starts."""

    @abstractmethod
    def _argv(self) -> list[str]:
        """The command that runs the server in the foreground, in its directory."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether our own process answers a real request; OSError, ValueError or struct.error mean not yet."""


class Kafka(Service):
    """Apache Kafka, one node in KRaft mode, replication factor 1, no automatic topics."""

    name = "kafka"
    ports_count = 2  # clients, controller

    def __init__(self, directory: Path, properties: Mapping[str, str] | None = None) -> None:
        """`properties` stand in place of those of `deploy/kafka/server.properties`, or beside them."""
        super().__init__(directory)
        self._own = dict(properties or {})

    def _properties(self) -> dict[str, str]:
        """What is written below the usual properties, where the last one counts."""
        return self._own

    def _format(self) -> None:
        client_port, controller_port = self.ports[:2]
        usual = BROKER_PROPERTIES.read_text().format(
            host=HOST, client_port=client_port, controller_port=controller_port
        )
        own = "".join(f"{name}={value}\n" for name, value in self._properties().items())
        (self.directory / "server.properties").write_text(usual + own)
        meta = self.data / "meta.properties"
        if not meta.exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # An id that begins with "-" would be read as an option.
            cluster = cluster.replace("-", "A")
            options = ["--standalone", "-t", cluster, "-c", "server.properties", *self._format_options()]
            argv = self._java("kafka.tools.StorageTool", "format", *options)
            formatted = subprocess.run(
                argv, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if formatted.returncode:
                raise ServiceError(
                    f"kafka: expected to format {self.data}, got:\n{tail(formatted.stdout + formatted.stderr)}"
                )
        match = re.search(r"^cluster\.id=(.+)$", meta.read_text(), re.MULTILINE)
        assert match, f"no cluster.id in {meta}"
        self._cluster = match[1]

    def _format_options(self) -> list[str]:
        """More for the command that formats the data directory."""
        return []

    def _argv(self) -> list[str]:
        return self._java("kafka.Kafka", "server.properties")

    def _java(self, *arguments: str) -> list[str]:
        # One core's worth of compiler and collector: on a small machine the broker must not take what the workers need.
        tuning = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-Djava.net.preferIPv4Stack=true"]
        logging = f"-Dlog4j2.configurationFile={ROOT / 'deploy' / 'kafka' / 'log4j2.properties'}"
        return [java(), *tuning, logging, "-cp", f"{kafka_libs()}/*", *arguments]

    def _answers(self) -> bool:
        """The broker is registered and lets clients in when it lists itself, under the cluster id of this directory."""
        header = struct.pack(">hhih", 3, 5, 1, -1)  # Metadata, version 5, correlation id 1, no client id
        body = struct.pack(">i?", 0, False)  # no topics, and make none
        with socket.create_connection((HOST, self.ports[0]), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(header + body)) + header + body)
            reply = connection.makefile("rb")
            (size,) = struct.unpack(">i", reply.read(4))
            return _registered_in(reply.read(min(size, 65536))) == self._cluster


class Redis(Service):
    """Redis with every write on disk before it is acknowledged, as the ledger of deliveries needs it."""

    name = "redis"
    ports_count = 1

    @property
    def url(self) -> str:
        """Address of database 0, as `TIDEGATE_REDIS` takes it."""
        return f"redis://{self.address}/0"

    def _format(self) -> None:
        pass  # an empty directory is all it needs

    def _argv(self) -> list[str]:
        place = ["--bind", HOST, "--port", str(self.ports[0]), "--dir", "data"]
        return [
            redis_server(),
            *place,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--daemonize",
            "no",
        ]

    def _answers(self) -> bool:
        assert self._child is not None
        with socket.create_connection((HOST, self.ports[0]), timeout=2) as connection:
            connection.sendall(b"INFO\r\n")
            reply = connection.makefile("rb")
            info = reply.read(int(reply.readline(64)[1:])).decode()
        return f"process_id:{self._child.pid}\r\n" in info and "\r\nloading:0\r\n" in info


def _registered_in(reply: bytes) -> str | None:
    """The cluster id in a Metadata reply (version 5) that lists at least one broker; None while it lists none."""
    brokers, at = struct.unpack_from(">i", reply, 8)[0], 12
    for _ in range(brokers):
        (host_size,) = struct.unpack_from(">h", reply, at + 4)
        at += 6 + host_size + 4
        (rack_size,) = struct.unpack_from(">h", reply, at)
        at += 2 + max(rack_size, 0)
    (size,) = struct.unpack_from(">h", reply, at)
    return reply[at + 2 : at + 2 + size].decode() if brokers else None


def up(directory: Path) -> None:
    """Starts both in the directory, prints their settings as shell, and stays until a signal or until one ends."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with Kafka(directory / "kafka") as kafka, Redis(directory / "redis") as redis:
        print(f"export TIDEGATE_BROKER={kafka.address} TIDEGATE_REDIS={redis.url}", flush=True)
        print(f"Kafka and Redis are up, in {directory.resolve()}; Ctrl-C ends them, their data stays", file=sys.stderr)
        while kafka.running and redis.running:
            time.sleep(0.5)
        ended = redis if kafka.running else kafka
        raise ServiceError(f"{ended.name}: expected it to run until it is stopped, but it ended - see {ended.log}")


def main() -> None:
    """The command line; exits 1 with the reason on standard error when something can't be started."""
    parser = argparse.ArgumentParser(description="Apache Kafka and Redis for development and tests, on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("jars", help="fetch Kafka's jars, once")
    up_parser = commands.add_parser("up", help="start both and stay until Ctrl-C")
    up_parser.add_argument(
        "--dir", type=Path, default=RUN / "services", help="where data and logs go (default: .run/services)"
    )
    arguments = parser.parse_args()
    try:
        if arguments.command == "jars":
            print(kafka_libs())
        else:
            up(arguments.dir)
    except ServiceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
