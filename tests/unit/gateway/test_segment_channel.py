"""What the channel `segment` sends, taken by a gateway of our own: one Tidegate may tell another of its segments."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actions import load_rules
from actions.channels import Result
from actions.own_events import is_ours
from actions.reach import Reach
from actions.tracking import TrackingSender
from schemas.deliveries import Delivery
from schemas.events import Event, parse_event
from schemas.topics import EVENTS_PRODUCT
from streams.gateway.intake import Crowded
from tests.channel_stages import AT, HttpStage

KEY = "website-key"
(RULE,) = load_rules(
    """
rules:
  - id: to-the-other
    on: {segment: abandoned-cart}
    channel: segment
    target: https://other.example
    secret: OTHER
    traits: [email, address]
    identify: true
"""
)


def delivery(gateway: Any, contact: str = "c-17") -> Delivery:
    plain = HttpStage("segment").delivery(contact=contact)
    traits = {"email": "ada@shop.example", "address": {"city": "Köln"}}
    transition = msgspec.structs.replace(plain.transition, segment=RULE.segment)
    return msgspec.structs.replace(
        plain, target=f"http://127.0.0.1:{gateway.port}", traits=traits, transition=transition
    )


async def send(gateway: Any, key: str = KEY, contact: str = "c-17") -> Result:
    sender = TrackingSender({"OTHER": key}, lambda: 0, Reach(private=True))
    try:
        return await sender.send(delivery(gateway, contact), RULE)
    finally:
        await sender.close()


def events_of(gateway: Any) -> list[Event]:
    """What the gateway wrote, as its worker reads it."""
    return [parse_event(record.value) for record in gateway.kafka.records]


async def test_a_transition_is_an_event_and_a_trait_of_the_contact(gateway: Any) -> None:
    result = await send(gateway)
    identify, track = events_of(gateway)

    assert result == Result()
    assert gateway.kafka.rejected == []
    assert [(record.topic, record.key) for record in gateway.kafka.records] == [(EVENTS_PRODUCT.name, b"c-17")] * 2
    assert (identify.type, identify.contact) == ("identify", "c-17")
    assert identify.traits == {"abandoned_cart": True, "email": "ada@shop.example", "address": {"city": "Köln"}}
    assert (track.type, track.name, track.contact, track.message_id) == ("track", "Segment Entered", "c-17", "d" * 32)
    assert track.properties["audience_key"] == "abandoned_cart"
    assert {event["timestamp"] for event in gateway.kafka.events} == {AT}
    assert not is_ours(track) and not is_ours(identify)


@pytest.mark.parametrize("contact", ["Zoë 🎈", "a@b.example", "\u0301", "c/17?x=1&y", " "])
async def test_a_contact_of_any_name_is_the_same_there(gateway: Any, contact: str) -> None:
    await send(gateway, contact=contact)

    assert [event.contact for event in events_of(gateway)] == [contact] * 2
    assert [record.key.decode() for record in gateway.kafka.records] == [contact] * 2


async def test_an_attempt_that_is_made_again_is_told_by_its_ids(gateway: Any) -> None:
    await send(gateway)
    await send(gateway)
    ids = [event.message_id for event in events_of(gateway)]

    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


async def test_what_the_gateway_does_not_take_is_for_later(gateway: Any, away: Exception) -> None:
    """A write key that isn't known, a Kafka that is slow or away: each passes."""
    unknown = await send(gateway, key="another-key")
    gateway.kafka.fails = Crowded()
    crowded = await send(gateway)
    gateway.kafka.fails = away
    gone = await send(gateway)

    assert [(each.code, each.again) for each in (unknown, crowded, gone)] == [
        ("not_set_up", True), ("retry", True), ("retry", True)
    ]  # fmt: skip
    assert [each.retry_after_ms for each in (crowded, gone)] == [1000, 5000]
    assert "another-key" not in str(unknown.reason)
    assert gateway.kafka.records == []
