"""The ACLs that deploy/README.md lists process by process are enough for each, and keep it from the rest."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import worker_runs as runs
from acls import KINDS, binding, grant
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AclBinding
from gateway_runs import GatewayRun
from secure_kafka import SecureKafka
from tools import ROOT
from worker_runs import WorkerProcess, run_command

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]

PREFIX = "tidegate."
PASSWORD = "open-sesame"
PROCESSES = ("tidegate-worker", "tidegate-dispatcher", "tidegate-projector", "tidegate-api", "tidegate-gateway")
USERS = ("admin", *PROCESSES, "tidegate-operator", "shop", "crm")
TOKEN = "t" * 32
DEFINITIONS = """
segments: [{id: buyers, when: {event: Order Completed}}]
rules:
  - {id: greet, on: {segment: buyers, transition: entered}, channel: webhook, target: "http://127.0.0.1:9/", secret: SHOP}
sequences: [{id: thanks, on: {segment: buyers}, steps: [{wait: 1d}]}]
"""
EVENT = {"type": "track", "event": "Order Completed", "userId": "ada", "messageId": "order-1"}


def documented() -> list[AclBinding]:
    """What the commands of the README would make, with whatever may stand for `kafka-acls.sh` before them."""
    text = (ROOT / "deploy" / "README.md").read_text("utf-8")
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    for kind in KINDS:
        parser.add_argument(f"--{kind.replace('_', '-')}", action="append", default=[])
    bindings = []
    for line in text.splitlines():
        if not line.startswith("acls --"):
            continue
        given = parser.parse_args(shlex.split(line, comments=True)[1:])
        bindings += [
            binding(given.allow_principal, operation, kind, name, given.resource_pattern_type)
            for kind in KINDS
            for name in getattr(given, kind)
            for operation in given.operation
        ]
    assert len(bindings) > 20
    return bindings


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A broker on which everybody logs in, and may do what the README says."""
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in USERS)
    properties = {"listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{module} required {users};"}
    with SecureKafka(tmp_path_factory.mktemp("acls"), properties) as service:
        grant(service.address, documented())
        yield service


@pytest.fixture
def redis(services_module: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A Redis of this test's own, as the prefix is nobody's own."""
    with services_module.Redis(tmp_path / "redis") as service:
        yield service


def environment(kafka: SecureKafka, user: str) -> dict[str, str]:
    """Settings of a process that logs in as this user."""
    return runs.environment_of(
        kafka.listener("SASL_PLAINTEXT"), PREFIX, clock="wall", grace="100ms", slack="100ms",
        broker_security="SASL_PLAINTEXT", broker_user=user, broker_password=PASSWORD,
    )  # fmt: skip


def client(kafka: SecureKafka, user: str) -> dict[str, Any]:
    """The same for librdkafka."""
    return {
        "bootstrap.servers": kafka.listener("SASL_PLAINTEXT"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORD,
        "log_level": 0,
    }


def publish(kafka: SecureKafka, user: str, topic: str) -> KafkaError | None:
    """Publishes the event as this user; the error, if any."""
    errors: list[KafkaError | None] = []
    options = {"partitioner": "murmur2_random", "enable.idempotence": True}
    producer = Producer(client(kafka, user) | options)
    value = json.dumps(EVENT).encode()
    producer.produce(PREFIX + topic, value, b"ada", on_delivery=lambda error, _: errors.append(error))
    assert not producer.flush(30)
    return errors[0]


def reported(api: WorkerProcess) -> bool:
    """Whether it can read all that a report is made of."""
    url = f"http://{api.address()}/v1/sequences/thanks/report"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def first_transition(kafka: SecureKafka, wait_until: WaitUntil) -> dict[str, Any]:
    """As a subscriber reads it, with a group of its own."""
    options = {"group.id": "crm.segments", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    consumer = Consumer(client(kafka, "crm") | options)
    consumer.subscribe([f"{PREFIX}transitions"])

    def polled() -> dict[str, Any] | None:
        message = consumer.poll(0.5)
        if message is None:
            return None
        if message.error():
            raise KafkaException(message.error())
        found: dict[str, Any] = json.loads(message.value())
        return found

    try:
        found: dict[str, Any] = wait_until(polled, 60, "a transition for the subscriber")
        return found
    finally:
        consumer.close()


def test_each_process_can_do_its_work_with_the_acls_that_are_listed_for_it(
    kafka: SecureKafka, redis: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    plain = runs.settings_of(kafka.address, PREFIX)
    operator = environment(kafka, "tidegate-operator")
    (tmp_path / "definitions.yaml").write_text(DEFINITIONS)
    run_command(operator, "topics", "create")
    run_command(operator, "topics", "check")
    run_command(operator, "segments", "apply", str(tmp_path / "definitions.yaml"))
    worker = WorkerProcess("worker", environment(kafka, "tidegate-worker"), tmp_path).start()
    sends = {"TIDEGATE_SECRET_SHOP": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "TIDEGATE_REDIS": redis.url}
    dispatcher = WorkerProcess("dispatcher", environment(kafka, "tidegate-dispatcher") | sends, tmp_path)
    dispatcher.start(("tidegate", "dispatcher"))
    projector = WorkerProcess("projector", environment(kafka, "tidegate-projector") | sends, tmp_path)
    projector.start(("tidegate", "projector"))
    api = WorkerProcess("api", environment(kafka, "tidegate-api") | {"TIDEGATE_SECRET_API": TOKEN}, tmp_path)
    api.start(("tidegate", "api"))
    gateway = GatewayRun(kafka.address, PREFIX, tmp_path)
    gateway.process.environment = gateway.environment | environment(kafka, "tidegate-gateway")
    gateway.start()
    try:
        wait_until(lambda: worker.ready() or not worker.running(), 60, "the worker to be ready")
        assert publish(kafka, "shop", "events.billing") is None
        assert first_transition(kafka, wait_until)["contact"] == "ada"
        wait_until(lambda: runs.committed(plain, "outcomes"), 60, "an outcome of the delivery")
        for command in (
            ["status"],
            ["rejected", "list"],
            ["deliveries", "list"],
            ["segments", "list"],
            ["topics", "gaps"],
        ):
            run_command(operator, *command)
        wait_until(lambda: "the read model is whole" in projector.text(), 60, "the projector to have read everything")
        gathering = "gathering the fields of events: [1-9]"
        wait_until(lambda: re.search(gathering, projector.text()), 60, "the projector to gather the fields of events")
        wait_until(lambda: reported(api), 60, "a report of the API")
        wait_until(gateway.ready, 60, "a gateway that takes events")
        assert {"success": True} == gateway.post_once("/v1/track", {"userId": "ada", "event": "Order Completed"})
        assert {"success": True} == gateway.post_once("/v1/track", {"userId": "ada"})
        said = gateway.process.text() + worker.text() + dispatcher.text() + projector.text() + api.text()
        assert "doesn't allow" not in said
        assert "Authorization" not in said
        assert worker.stop() == 0, worker.text()
        assert dispatcher.stop() == 0, dispatcher.text()
        assert projector.stop() == 0, projector.text()
        assert api.stop() == 0, api.text()
        assert gateway.process.stop() == 0, gateway.process.text()
    finally:
        for process in (worker, dispatcher, projector, api, gateway.process):
            if process.running():
                process.kill()


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("tidegate-worker", "events.billing"),
        ("tidegate-dispatcher", "state"),
        ("shop", "state"),
        ("crm", "events.billing"),
    ],
)
def test_nobody_writes_where_somebody_else_does(kafka: SecureKafka, user: str, topic: str) -> None:
    error = publish(kafka, user, topic)

    assert error is not None
    assert error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._UNKNOWN_TOPIC)
