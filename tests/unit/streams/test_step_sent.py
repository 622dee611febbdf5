"""The dispatcher's word on a sequence's message that was sent: `Sequence Step Sent`, before the outcome."""

from typing import Any

import msgspec
import orjson
import pytest

from actions.dispatch import outcome_of
from schemas.deliveries import Delivery, Outcome, TransitionOf
from schemas.events import parse_event
from streams.dispatcher import KafkaEnvirons
from streams.rulebook import RuleBook
from streams.settings import load_settings

AT = "2026-03-01T09:30:00.000Z"
SEQUENCE = {
    "id": "welcome",
    "on": {"segment": "new"},
    "steps": [
        {"wait": "1d"},
        {
            "send": {"channel": "email", "target": {"trait": "email"}, "template": {"subject": "Hi", "text": "Hello"}},
            "name": "hello",
        },
    ],
}


class Writer:
    """Takes records down in order."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def write(self, outcome: Outcome) -> None:
        self.written.append(outcome)

    async def write_event(self, key: bytes, value: bytes) -> None:
        self.written.append((key, parse_event(value)))


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def environs(writer: Writer) -> KafkaEnvirons:
    """With the sequence `welcome` in version 1 on the definitions topic."""
    book = RuleBook(load_settings({}))
    record = {"kind": "sequence", "id": "welcome", "version": 1, "body": SEQUENCE, "applied_at_ms": 0}
    book._take(b"sequence/welcome/1", orjson.dumps(record))
    return KafkaEnvirons(None, book, writer, None, writer.write_event)  # type: ignore[arg-type]


def outcome(status: Any = "sent", **changes: Any) -> Outcome:
    began = TransitionOf("t" * 32, "new", 1, "entered", 1, AT, "event")
    fields: dict[str, Any] = {"rule": "welcome", "kind": "sequence", "step": 1, **changes}
    delivery = Delivery(
        id="d" * 32, rule_version=fields.pop("rule_version", 1), channel="email", target="a@b.c", contact="c-1",
        revision=1, transition=began, traits={}, created_at=AT, **fields,
    )  # fmt: skip
    return outcome_of(delivery, status, 1, 1_772_357_400_000)


async def test_an_event_goes_before_the_outcome_of_a_message_that_was_sent(
    environs: KafkaEnvirons, writer: Writer
) -> None:
    """Whoever dies in between writes both again, and the event has the same messageId."""
    await environs.write(outcome())
    await environs.write(outcome())

    (key, event), first, (_, again), _ = writer.written
    assert (b"c-1", "c-1", "Sequence Step Sent", 1_772_357_400_000) == (
        key, event.contact, event.name, event.occurred_at_ms
    )  # fmt: skip
    assert {
        "sequence": "welcome", "version": 1, "entry": "t" * 32, "step": "hello", "channel": "email",
        "delivery_id": "d" * 32,
    } == event.properties  # fmt: skip
    assert event.message_id is not None and event.message_id == again.message_id
    assert "taken" not in event.context
    assert outcome() == first


@pytest.mark.parametrize(
    "written", [outcome("failed"), outcome("waiting"), outcome("skipped"), outcome(kind="rule", step=0)]
)
async def test_nothing_else_is_said_so(environs: KafkaEnvirons, writer: Writer, written: Outcome) -> None:
    await environs.write(written)

    assert [written] == writer.written


async def test_the_step_of_a_version_that_is_gone_has_its_number(environs: KafkaEnvirons, writer: Writer) -> None:
    await environs.write(outcome(rule_version=9))

    assert "1" == writer.written[0][1].properties["step"]


async def test_who_has_opted_out_is_unsubscribed_from_the_messages_group(
    environs: KafkaEnvirons, writer: Writer
) -> None:
    """By whatever the provider was told: the next message would be refused, too, and counted against the sender."""
    refused = msgspec.structs.replace(outcome("failed"), code="opted_out", group="promo", channel="sms")
    await environs.write(refused)
    await environs.write(refused)

    (key, event), first, (_, again), _ = writer.written
    assert (b"c-1", "c-1", "Unsubscribed", 1_772_357_400_000) == (
        key, event.contact, event.name, event.occurred_at_ms
    )  # fmt: skip
    assert {"group": "promo", "channel": "sms", "delivery_id": "d" * 32} == event.properties
    assert event.message_id is not None and event.message_id == again.message_id
    assert refused == first


async def test_who_has_opted_out_of_a_message_of_no_group_stays_in_all_groups(
    environs: KafkaEnvirons, writer: Writer
) -> None:
    refused = msgspec.structs.replace(outcome("failed"), code="opted_out", channel="sms")
    await environs.write(refused)

    assert [refused] == writer.written
