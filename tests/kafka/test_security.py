"""TLS and logins to the broker: everything works over them, and what is set wrongly is said in a sentence."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import worker_runs as runs
from acls import binding, grant
from secure_kafka import PASSWORD, SCRAM_PASSWORD, USER, SecureKafka, issue, make_authority
from worker_runs import Stage, WorkerProcess

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]
Given = dict[str, str]

SEGMENTS = """
segments:
  - {id: buyers, when: {event: Order Completed}}
  - {id: lately, when: {event: Viewed, within: 1h}}
"""
WITHIN_S = 15.0
LOGIN = {"broker_user": USER, "broker_password": PASSWORD}


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """A broker with all its listeners, and a directory with certificates, good and bad."""

    kafka: SecureKafka
    directory: Path

    @property
    def ca(self) -> Given:
        """The authority that issued the broker's certificate."""
        return {"broker_ca": str(self.kafka.authority)}

    def client(self, certificate: str, key: str) -> Given:
        """A client's certificate."""
        given = {"broker_certificate": f"{certificate}.pem", "broker_key": f"{key}.key"}
        return {name: str(self.directory / file) for name, file in given.items()}


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """Started once for all tests here."""
    directory = tmp_path_factory.mktemp("secure")
    with SecureKafka(directory) as kafka:
        make_authority(directory, "stranger")
        issue(directory, "authority", "client", "DNS:client")
        issue(directory, "stranger", "foreign", "DNS:client")
        (directory / "nothing.pem").write_text("nothing\n")
        locked = ["openssl", "pkey", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"]
        subprocess.run(locked, cwd=directory, check=True)
        yield Surroundings(kafka, directory)


def allow(surroundings: Surroundings, prefix: str) -> None:
    """Gives the user what deploy/README.md says that it needs, and nothing else."""
    needed = {
        "topic": ("Create", "Read", "Write", "DescribeConfigs"),
        "group": ("Read",),
        "transactional_id": ("Write",),
    }
    wanted = (
        binding(f"User:{USER}", operation, kind, prefix, "prefixed")
        for kind, operations in needed.items()
        for operation in operations
    )
    grant(surroundings.kafka.address, wanted)


def command(environment: Given, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `tidegate` command, however it ends."""
    return subprocess.run(
        [sys.executable, "-c", "from streams.cli import main; main()", *arguments],
        cwd=runs.ROOT, env=environment | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def environment(address: str, prefix: str, security: str, given: Given) -> Given:
    """Settings for `address` as environment variables."""
    return runs.environment_of(address, prefix, broker_security=security, **given)


def let_in(surroundings: Surroundings, listener: str, prefix: str, security: str, **given: str) -> bool:
    """Whether a command gets as far as finding no topics."""
    address = surroundings.kafka.listener(listener)
    done = command(environment(address, prefix, security, given), "topics", "check")
    return "expected this topic, found none" in done.stderr


def test_everything_works_over_tls_with_a_login(
    surroundings: Surroundings, prefix: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Topics, definitions, publishing, a worker, and reading: all through the one listener that wants both."""
    segments, events = tmp_path / "segments.yaml", tmp_path / "events.jsonl"
    segments.write_text(SEGMENTS)
    named = [("Viewed", "c-1", 0), ("Order Completed", "c-2", 1), ("Viewed", "c-1", 2)]
    lines = [
        orjson.dumps({"type": "track", "event": name, "userId": contact, "timestamp": f"2026-03-01T00:00:0{second}Z"})
        for name, contact, second in named
    ]
    events.write_bytes(b"\n".join(lines))
    given = {"broker_security": "SASL_SSL", **surroundings.ca, **LOGIN}
    allow(surroundings, prefix)
    stage = Stage(surroundings.kafka.listener("SASL_SSL"), prefix, tmp_path, segments, **given)
    plain = runs.settings_of(surroundings.kafka.address, prefix)
    try:
        worker = stage.worker("one")
        wait_until(worker.ready, 30, "a worker that is ready")
        until = "2026-03-01T02:00:00Z"
        runs.run_command(stage.environment, "publish", str(events), "--until", until)
        wait_until(lambda: runs.taken(plain) == runs.ends(plain), 30, "all events taken")
        tailed = command(stage.environment, "tail", "transitions", "--from-beginning", "--until-idle", "1s")
        assert tailed.returncode == 0, tailed.stderr
        found = sorted(
            (row["at"], row["contact"], row["transition"]) for row in map(json.loads, tailed.stdout.split("\n")[:-1])
        )
        assert found == [
            ("2026-03-01T00:00:00.000Z", "c-1", "entered"),
            ("2026-03-01T00:00:01.000Z", "c-2", "entered"),
            ("2026-03-01T01:00:02.000Z", "c-1", "left"),
        ]
        assert worker.stop() == 0
        assert PASSWORD not in worker.text()
        assert "Traceback" not in worker.text()
    finally:
        stage.close()


def test_each_kind_of_listener_lets_in_who_may(surroundings: Surroundings, prefix: str) -> None:
    client = surroundings.client("client", "client")
    scram = {"broker_user": USER, "broker_password": SCRAM_PASSWORD, "broker_mechanism": "SCRAM-SHA-256"}

    assert let_in(surroundings, "SSL", prefix, "SSL", **surroundings.ca)
    assert let_in(surroundings, "MUTUAL", prefix, "SSL", **surroundings.ca, **client)
    assert let_in(surroundings, "SASL_PLAINTEXT", prefix, "SASL_PLAINTEXT", **LOGIN)
    assert let_in(surroundings, "SASL_SSL", prefix, "SASL_SSL", **surroundings.ca, **scram)


@pytest.mark.parametrize(
    ("listener", "security", "given", "cause", "cure"),
    [
        ("SSL", "SSL", "", "not trusted: unable to get local issuer", "set TIDEGATE_BROKER_CA"),
        ("SSL", "SSL", "stranger", "not trusted: unable to get local issuer", "set TIDEGATE_BROKER_CA"),
        ("SSL", "SSL", "missing", "No such file", "TIDEGATE_BROKER_CA: expected a file that can be read"),
        ("SSL", "SSL", "nothing", "no certificate", "TIDEGATE_BROKER_CA: expected a PEM file"),
        ("SSL by name", "SSL", "ca", "Hostname mismatch", "set TIDEGATE_BROKER to a name that the certificate has"),
        ("SSL", "PLAINTEXT", "", "it hung up on PLAINTEXT", "set TIDEGATE_BROKER_SECURITY to SSL or SASL_PLAINTEXT or SASL_SSL"),
        ("SSL", "SASL_SSL", "ca login", "it asks for no login", "set TIDEGATE_BROKER_SECURITY to SSL"),
        ("plain", "SSL", "ca", "it speaks no TLS", "TIDEGATE_BROKER_SECURITY to PLAINTEXT"),
        ("plain", "SASL_SSL", "ca login", "it speaks no TLS", "TIDEGATE_BROKER_SECURITY to SASL_PLAINTEXT"),
        ("plain", "SASL_PLAINTEXT", "login", "it asks for no login", "set TIDEGATE_BROKER_SECURITY to PLAINTEXT"),
        ("SASL_PLAINTEXT", "PLAINTEXT", "", "it hung up on PLAINTEXT", "SASL_PLAINTEXT"),
        ("SASL_SSL", "SSL", "ca", "it hung up on SSL", "set TIDEGATE_BROKER_SECURITY to SASL_SSL"),
        ("SASL_SSL", "SASL_PLAINTEXT", "login", "it hung up on SASL_PLAINTEXT", "set TIDEGATE_BROKER_SECURITY to SASL_SSL"),
        ("SASL_SSL", "SASL_SSL", "ca wrong", "user 'tidegate' was refused by PLAIN", "correct TIDEGATE_BROKER_USER and"),
        ("SASL_SSL", "SASL_SSL", "ca wrong scram", "was refused by SCRAM-SHA-256", "correct TIDEGATE_BROKER_USER and"),
        ("SASL_SSL", "SASL_SSL", "ca login scram-512", "it doesn't take SCRAM-SHA-512", "set TIDEGATE_BROKER_MECHANISM"),
        ("MUTUAL", "SSL", "ca", "it refused TLS", "set TIDEGATE_BROKER_CERTIFICATE and TIDEGATE_BROKER_KEY"),
        ("MUTUAL", "SSL", "ca foreign", "it refused TLS", "set TIDEGATE_BROKER_CERTIFICATE to one issued by"),
        ("MUTUAL", "SSL", "ca crossed", "key values mismatch", "TIDEGATE_BROKER_CERTIFICATE: expected a PEM file"),
        ("MUTUAL", "SSL", "ca locked", "got one with a password", "TIDEGATE_BROKER_KEY: expected a key that isn't encrypted"),
    ],
)  # fmt: skip
def test_what_is_set_wrongly_is_said_with_its_cause_and_its_cure(
    surroundings: Surroundings, prefix: str, listener: str, security: str, given: str, cause: str, cure: str
) -> None:
    """Soon, in a line, without a traceback, and without the password."""
    wrong = "hunter2"
    files = {
        name: {"broker_ca": str(surroundings.directory / f"{name}.pem")} for name in ("stranger", "missing", "nothing")
    }
    meant: dict[str, Given] = {
        "ca": surroundings.ca, "login": LOGIN, "wrong": {"broker_user": USER, "broker_password": wrong}, **files,
        "scram": {"broker_mechanism": "SCRAM-SHA-256"}, "scram-512": {"broker_mechanism": "SCRAM-SHA-512"},
        "foreign": surroundings.client("foreign", "foreign"), "crossed": surroundings.client("client", "foreign"),
        "locked": surroundings.client("client", "locked"),
    }  # fmt: skip
    kafka = surroundings.kafka
    address = kafka.address if listener == "plain" else kafka.listener(listener.split()[0])
    if listener.endswith("by name"):
        address = address.replace("127.0.0.1", "localhost")
    settings = {key: value for name in given.split() for key, value in meant[name].items()}
    started_s = time.monotonic()

    done = command(environment(address, prefix, security, settings), "topics", "check")

    assert time.monotonic() - started_s < WITHIN_S
    assert done.returncode in (1, 2), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert cause in done.stderr
    assert cure in done.stderr
    assert wrong not in done.stderr
    assert PASSWORD not in done.stderr


def test_a_user_without_acls_is_told_where_they_are_listed(surroundings: Surroundings, prefix: str) -> None:
    """Kafka hides topics from who may not see them: they look as if they were missing."""
    given = environment(surroundings.kafka.listener("SASL_SSL"), prefix, "SASL_SSL", surroundings.ca | LOGIN)

    assert (
        "let TIDEGATE_BROKER_USER see it (deploy/README.md lists the ACLs)" in command(given, "topics", "check").stderr
    )
    assert "give TIDEGATE_BROKER_USER the ACLs that deploy/README.md lists" in command(given, "topics", "create").stderr


def test_a_worker_and_a_dispatcher_say_the_same_and_end(
    surroundings: Surroundings, prefix: str, tmp_path: Path
) -> None:
    """What runs for months is set up once, by somebody who reads its log."""
    wrong = {"broker_user": USER, "broker_password": "hunter2"} | surroundings.ca
    given = environment(surroundings.kafka.listener("SASL_SSL"), prefix, "SASL_SSL", wrong)

    worker = WorkerProcess("lone", given, tmp_path).start()
    dispatcher = command(given, "dispatcher")

    assert worker.wait(WITHIN_S) == 1
    for said in (worker.text(), dispatcher.stderr):
        assert "user 'tidegate' was refused by PLAIN" in said
        assert "Traceback" not in said
        assert "hunter2" not in said
