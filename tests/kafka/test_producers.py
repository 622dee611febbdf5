"""The producers of `deploy/examples`, in four languages: each as it stands there, on a real broker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from languages import EXAMPLES, GO_SETTINGS, Language, go, is_set_up, node
from tools import java, kafka_libs

from schemas.events import CONTACT_BYTES_MAX, parse_event
from schemas.topics import EVENTS_BILLING, PARTITIONS, partition_of
from streams import topics
from streams.cli.terminal import run
from streams.settings import load_settings

pytestmark = pytest.mark.kafka
PRODUCERS = ["publisher.py", "Publisher.java", "publisher.mjs", "publisher.go"]
LANGUAGES: dict[str, Language] = {".java": "Java", ".mjs": "Node", ".go": "Go"}
LINES_MAX = 15
# what is there for the language's sake: comments, imports, and lines of nothing but brackets
UNCOUNTED = re.compile(r'\s*(//.*|#.*|""".*|(import|from|package)\b.*|"[\w./-]+"|[\s(){};]*)')

ODD = [
    *(" ", "0", ".", "null", '"', "\\", "a b", " c-1 ", "<b>&amp;</b>", "\x01", "\x7f", "\u00a0", "\u200b", "a\ufeff"),
    *("\U0001f30a", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u05e9\u05dc\u05d5\u05dd"),
    *("\uffff", "\U0010ffff", "Z\u0351\u036b\u0343\u036aa\u0344\u0357", "\u1112\u1161\u11ab", "\u304b\u3099", "ß", "ſ"),
    *("x" * 1024, "\u00eb" * 512, "\U0001f30a" * 256, *("é" * length for length in range(2, 20))),
]
NAMES = ["anna", "zoë", "søren", "łukasz", "иван", "محمد", "美咲", "ნინო", "\U0001f600", "o'neil"]


def _ids() -> list[str]:
    """A thousand ids: short and long, in many scripts; names with accents both composed and with combining characters."""
    named = [f"{name}-{number}@shop.example" for number in range(60) for name in NAMES]
    forms = [unicodedata.normalize(form, each) for each in [*named, *ODD] for form in ("NFC", "NFD")]
    plain = [f"c-{number}" for number in range(1000)]
    fit = (each for each in [*ODD, *forms, *plain] if len(each.encode()) <= CONTACT_BYTES_MAX)
    return list(dict.fromkeys(fit))[:1000]


IDS = _ids()


def _command(example: str) -> list[str]:
    """What the README has people type."""
    file = str(EXAMPLES / example)
    match Path(example).suffix:
        case ".java":
            return [java(), "-cp", f"{kafka_libs()}/*", file]
        case ".mjs":
            return [node(), file]
        case ".go":
            return [go(), "-C", str(EXAMPLES), "run", example]
    return [sys.executable, file]


def _stored(broker: str, topic: str) -> list[tuple[int, bytes, bytes]]:
    """Partition, key and value of as many records as there are ids."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: list[tuple[int, bytes, bytes]] = []
    try:
        while len(found) < len(IDS):
            record = consumer.poll(20)
            assert record is not None, f"expected {len(IDS)} records within 20 s each, got {len(found)}"
            partition, key, value = record.partition(), record.key(), record.value()
            assert partition is not None and isinstance(key, bytes) and isinstance(value, bytes)
            found.append((partition, key, value))
    finally:
        consumer.close()
    return found


def test_the_ids_are_a_thousand_and_need_more_than_ascii() -> None:
    assert len(set(IDS)) == 1000
    assert sum(not each.isascii() for each in IDS) > 500
    assert any(each != unicodedata.normalize("NFC", each) for each in IDS)
    assert {partition_of(each.encode(), PARTITIONS) for each in IDS} == set(range(PARTITIONS))


@pytest.mark.parametrize("example", PRODUCERS)
def test_a_producer_is_fifteen_lines(example: str) -> None:
    """Without imports, comments and closing brackets; and none is too long to read."""
    lines = (EXAMPLES / example).read_text("utf-8").splitlines()
    counted = [line for line in lines if not UNCOUNTED.fullmatch(line)]
    assert len(counted) <= LINES_MAX, "\n".join(counted)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("example", PRODUCERS)
def test_a_producer_writes_each_contact_s_event_to_the_partition_that_the_contact_is_owned_in(
    example: str, broker: str, prefix: str
) -> None:
    """The same partition for the same id in each language: the one that `partition_of` says."""
    language = LANGUAGES.get(Path(example).suffix)
    if language is not None and not is_set_up(language):
        pytest.skip(f"{language}, or its client, is not here: run deploy/setup, which says what it lacks")
    settings = load_settings({"TIDEGATE_BROKER": broker, "TIDEGATE_PREFIX": prefix})
    run(topics.create(settings))

    orders = "".join(f"{contact}\torder-{number}\t{number}.25\n" for number, contact in enumerate(IDS))
    environment = {**os.environ, **GO_SETTINGS, "TIDEGATE_BROKER": broker, "TIDEGATE_PREFIX": prefix}
    done = subprocess.run(_command(example), input=orders.encode(), env=environment, capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr.decode()

    records = _stored(broker, settings.topic(EVENTS_BILLING.name))
    assert {key.decode(): partition for partition, key, _ in records} == {
        contact: partition_of(contact.encode(), PARTITIONS) for contact in IDS
    }
    for _, key, value in records:
        event = parse_event(value)
        number = IDS.index(key.decode())
        assert (event.contact, event.message_id) == (key.decode(), f"order-{number}")
        assert (event.name, event.properties) == (
            "Order Completed",
            {"order_id": f"order-{number}", "total": number + 0.25},
        )
