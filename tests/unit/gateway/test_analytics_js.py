"""What analytics.js sends from a page of another origin, as it was recorded of the real one: asked for first, then taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.events import parse_event

RECORDED = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "webhooks" / "segment" / "analytics_js.json").read_text()
)
PAGE = {"Origin": "https://shop.example"}
TYPES = ["page", "identify", "track", "group", "alias", "screen"]


def allows(asked: str, allowed: str) -> bool:
    """As browsers decide it: `*` stands for every header but for Authorization."""
    names = {name.strip().lower() for name in allowed.split(",")}
    return all(name in names or ("*" in names and name != "authorization") for name in asked.split(","))


@pytest.mark.parametrize("strategy", ["standard", "batching"])
async def test_every_call_of_analytics_js_is_allowed_and_becomes_its_event(gateway: Any, strategy: str) -> None:
    for call in RECORDED[strategy]:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        async with gateway.client.options(call["path"], headers=PAGE | asked) as answer:
            assert (204, PAGE["Origin"]) == (answer.status, answer.headers["Access-Control-Allow-Origin"])
            assert allows("authorization,content-type", answer.headers["Access-Control-Allow-Headers"])
        status, answer, headers = await gateway.post(
            call["path"], call["body"].encode(), key=None, headers=PAGE | call["headers"]
        )
        assert (200, {"success": True}, "*") == (status, answer, headers["Access-Control-Allow-Origin"])

    sent = [
        event
        for call in RECORDED[strategy]
        for body in (json.loads(call["body"]),)
        for event in body.get("batch", [body])
    ]
    assert TYPES == [event["type"] for event in gateway.kafka.events]
    assert [event["messageId"] for event in sent] == [event["messageId"] for event in gateway.kafka.events]
    assert not any("writeKey" in event for event in gateway.kafka.events)
    read = [parse_event(record.value) for record in gateway.kafka.records]
    assert ["Page Viewed", None, "Product Viewed", None, None, "Screen Viewed"] == [event.name for event in read]
    assert {"plan": "pro"} == read[1].traits
    assert [] == gateway.kafka.rejected


async def test_a_body_of_send_beacon_has_its_key_in_it_and_no_header_that_is_asked_for(gateway: Any) -> None:
    for call in RECORDED["standard"]:
        beacon = PAGE | {"Content-Type": "text/plain;charset=UTF-8"}
        assert 200 == (await gateway.post(call["path"], call["body"].encode(), key=None, headers=beacon))[0]
    assert TYPES == [event["type"] for event in gateway.kafka.events]


async def test_the_instant_of_a_call_is_as_long_before_its_arrival_as_it_was_before_its_sending(gateway: Any) -> None:
    (call,) = [call for call in RECORDED["standard"] if call["path"] == "/v1/t"]
    await gateway.post(call["path"], call["body"].encode(), key=None, headers=PAGE | call["headers"])
    sent, (event,) = orjson.loads(call["body"]), gateway.kafka.events

    assert sent["timestamp"] == event["originalTimestamp"]
    before_ms = [
        parse_event(orjson.dumps({**sent, "timestamp": sent[name]})).occurred_at_ms for name in ("sentAt", "timestamp")
    ]
    read = parse_event(gateway.kafka.records[0].value)
    assert before_ms[0] - before_ms[1] == read.received_at_ms - read.occurred_at_ms  # type: ignore[operator]
