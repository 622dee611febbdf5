"""The examples for subscribers do what they say, each in a process of its own; of publishers: `test_producers.py`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import children
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import PARTITIONS, partition_of

pytestmark = pytest.mark.kafka
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "deploy" / "examples"
LINES_MAX = 25


@pytest.fixture
def environment(broker: str, prefix: str) -> dict[str, str]:
    """What an example needs to find the broker and this test's own transitions."""
    admin = AdminClient({"bootstrap.servers": broker})
    for made in admin.create_topics([NewTopic(prefix + "transitions", PARTITIONS, 1)]).values():
        made.result(20)
    return {**os.environ, "TIDEGATE_BROKER": broker, "TIDEGATE_PREFIX": prefix}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*subscriber.py")), ids=lambda path: path.name)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([sys.executable, str(EXAMPLES / "subscriber.py"), "vip"], id="aiokafka"),
        pytest.param(
            [sys.executable, "-m", "faust", "-A", "faust_subscriber", "worker", "-l", "info", "--without-web"],
            id="faust",
        ),
    ],
)
def test_a_subscriber_sees_committed_transitions_alone_and_in_order(
    argv: list[str],
    environment: dict[str, str],
    broker: str,
    prefix: str,
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    _write(broker, prefix, ["t-1", "t-2"], commit=True)
    _write(broker, prefix, ["t-3"], commit=False)
    _write(broker, prefix, ["t-4"], commit=True)
    child = children.Child(
        "subscriber", argv, tmp_path / "log", env={**environment, "PYTHONPATH": str(EXAMPLES)}, cwd=tmp_path
    )
    try:
        wait_until(lambda: "t-4" in _ids(child) or not child.running, 60, "the last transition to be printed")
        assert _ids(child) == ["t-1", "t-2", "t-4"], child.output()
    finally:
        child.stop()


def _write(broker: str, prefix: str, ids: list[str], *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": broker, "transactional.id": prefix + "writer"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number, name in enumerate(ids, 1):
        transition = {"id": name, "segment": "vip", "contact": "c-17", "seq": number}
        transition |= {"transition": "entered" if number % 2 else "left", "at": "2026-03-01T09:30:00.000Z"}
        partition = partition_of(b"c-17", PARTITIONS)
        producer.produce(prefix + "transitions", json.dumps(transition).encode(), b"c-17", partition=partition)
    producer.flush(20)
    if commit:
        producer.commit_transaction(20)
    else:
        producer.abort_transaction(20)


def _ids(child: children.Child) -> list[str]:
    return [line.split()[-1] for line in child.output().splitlines() if " c-17 " in line]
