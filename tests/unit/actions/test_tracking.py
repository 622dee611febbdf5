"""The channel `segment`: the calls as Segment's audiences make them, and what an endpoint's answers mean."""

import base64
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from actions import Rule, load_rules
from actions.credentials import write_key_problem
from actions.own_events import is_ours
from actions.preview import preview
from actions.reach import Reach
from actions.tracking import TrackingSender
from actions.tracking_calls import calls_of
from schemas.deliveries import Delivery
from schemas.events import parse_event
from schemas.transitions import CauseEvent
from tests.channel_stages import AT, HttpStage

RULE = """
rules:
  - id: to-the-cdp
    on: {segment: abandoned-cart.v2}
    channel: segment
    target: https://cdp.example
    secret: CDP
    traits: [email]
"""
KEY = "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345"
(plain_rule,) = load_rules(RULE)
identifying = dataclasses.replace(plain_rule, identify=True)


class Endpoint:
    """An endpoint of Segment's HTTP tracking API; `status` and `body` of its answer; what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.status, self.headers, self.body = 200, dict[str, str](), '{"success": true}'
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Its handler."""
        self.requests.append((request.path, dict(request.headers), await request.json()))
        return web.Response(status=self.status, text=self.body, headers=self.headers)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def sender() -> AsyncIterator[TrackingSender]:
    made = TrackingSender({"CDP": KEY}, lambda: 0, Reach(private=True))
    yield made
    await made.close()


def delivery(target: str = "https://cdp.example", rule: Rule = plain_rule, **of_transition: Any) -> Delivery:
    plain = HttpStage("segment").delivery()
    transition = msgspec.structs.replace(plain.transition, **({"segment": rule.segment} | of_transition))
    return msgspec.structs.replace(
        plain, rule=rule.id, target=target, transition=transition, traits={"email": "ada@shop.example"}
    )


def events_of(calls: list[dict[str, Any]]) -> list[Any]:
    """The calls as a Tidegate that gets them reads them."""
    return [parse_event(msgspec.json.encode(call)) for call in calls]


async def test_a_transition_is_a_track_call_as_segments_audiences_make_it(
    endpoint: Endpoint, sender: TrackingSender
) -> None:
    result = await sender.send(delivery(endpoint.url), plain_rule)

    assert (result.code, result.reason) == (None, None)
    ((path, headers, body),) = endpoint.requests
    assert path == "/v1/batch"
    assert headers["Authorization"] == "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "batch": [
            {
                "type": "track",
                "messageId": "d" * 32,
                "userId": "c-17",
                "timestamp": AT,
                "event": "Segment Entered",
                "properties": {
                    "abandoned_cart_v2": True,
                    "audience_key": "abandoned_cart_v2",
                    "segment": "abandoned-cart.v2",
                },
                "context": {
                    "library": {"name": "tidegate-segment"},
                    "personas": {
                        "computation_class": "audience",
                        "computation_key": "abandoned_cart_v2",
                        "computation_id": "abandoned-cart.v2",
                    },
                    "traits": {"email": "ada@shop.example"},
                    "tidegate": {
                        "rule": "to-the-cdp",
                        "transition": {
                            "id": "t",
                            "segment": "abandoned-cart.v2",
                            "segment_version": 1,
                            "transition": "entered",
                            "seq": 1,
                            "at": AT,
                            "cause": "timer",
                        },
                    },
                },
            }
        ]
    }


def test_who_leaves_is_said_to_have_exited() -> None:
    (track,) = calls_of(delivery(transition="left", seq=2), plain_rule)

    assert (track["event"], track["properties"]["abandoned_cart_v2"]) == ("Segment Exited", False)


def test_a_rule_may_name_the_event_as_its_receiver_knows_it() -> None:
    """What is built on Segment's own audiences listens to their names."""
    rule = dataclasses.replace(plain_rule, event="Audience Entered")

    assert [call["event"] for call in calls_of(delivery(), rule)] == ["Audience Entered"]


@pytest.mark.parametrize(("direction", "inside"), [("entered", True), ("left", False)])
def test_identify_says_the_membership_as_a_trait_before_the_event_that_may_ask_for_it(
    direction: str, inside: bool
) -> None:
    identify, track = calls_of(delivery(transition=direction), identifying)

    assert (identify["type"], track["type"]) == ("identify", "track")
    assert identify["traits"] == {"email": "ada@shop.example", "abandoned_cart_v2": inside}
    assert (identify["userId"], identify["timestamp"]) == (track["userId"], track["timestamp"]) == ("c-17", AT)
    assert identify["context"]["personas"] == track["context"]["personas"]
    assert identify["messageId"] != track["messageId"] == "d" * 32


def test_a_membership_of_one_key_is_no_trait_of_the_contact() -> None:
    """One that left for one product may be in for another."""
    (track,) = calls_of(delivery(key="shoes"), identifying)

    assert (track["type"], track["properties"]["key"]) == ("track", "shoes")


def test_what_a_sequence_sends_is_said_to_be_its() -> None:
    (track,) = calls_of(msgspec.structs.replace(delivery(), kind="sequence", rule="welcome"), plain_rule)

    assert track["context"]["tidegate"]["sequence"] == "welcome"


async def test_each_attempt_is_the_same_to_the_byte(endpoint: Endpoint, sender: TrackingSender) -> None:
    """Nothing in it is of the attempt, so a receiver may tell repeats as it likes."""
    for _ in range(2):
        await sender.send(delivery(endpoint.url), identifying)
    first, second = (body for _, _, body in endpoint.requests)

    assert first == second
    assert len({call["messageId"] for call in first["batch"]}) == 2


def test_another_tidegate_takes_the_calls_as_those_of_anybody_else() -> None:
    """Those of its own it passes over for contacts that it doesn't know."""
    event = CauseEvent("Product Added", "m-1", {"price": 5})
    identify, track = events_of(calls_of(delivery(event=event, cause="event"), identifying))

    assert (track.name, track.contact, track.message_id) == ("Segment Entered", "c-17", "d" * 32)
    assert track.context["tidegate"]["transition"]["event"]["properties"] == {"price": 5}
    assert identify.traits == {"email": "ada@shop.example", "abandoned_cart_v2": True}
    assert not is_ours(track) and not is_ours(identify)


@pytest.mark.parametrize("target", ["{}/", "{}", "{}/cdp/"])
async def test_the_path_comes_after_the_target(endpoint: Endpoint, sender: TrackingSender, target: str) -> None:
    await sender.send(delivery(target.format(endpoint.url)), plain_rule)

    assert endpoint.requests[0][0] == ("/cdp" if "cdp" in target else "") + "/v1/batch"


@pytest.mark.parametrize(
    ("status", "body", "code", "again"),
    [
        (200, '{"success": true}', None, False),
        (200, "OK", None, False),
        (202, "", None, False),
        (400, '{"success":false,"message":"too large"}', "refused", False),
        (401, "Failed to read writeKey from header", "not_set_up", True),
        (404, "Source is disabled", "refused", False),
        (413, "", "refused", False),
        (429, "", "retry", True),
        (500, "", "retry", True),
        (302, "", "refused", False),
    ],
)
async def test_what_an_endpoint_answers(
    endpoint: Endpoint, sender: TrackingSender, status: int, body: str, code: str | None, again: bool
) -> None:
    endpoint.status, endpoint.body = status, body
    result = await sender.send(delivery(endpoint.url), plain_rule)

    assert (result.code, result.again) == (code, again)
    if code is not None:
        redirect = ", a redirect, which is not followed" if status == 302 else ""
        assert result.reason == f"expected 2xx, got {status}{redirect}" + (f": {body}" if body else "")


@pytest.mark.parametrize(
    ("key", "right"),
    [
        (KEY, True),
        ("2Uzn8vOc1RVYVTVbqPDKFLBqqj9", True),
        ("8f1c2f3e-0a0b-4c4d-9e9f-0123456789ab", True),
        ("phc_0123456789", True),
        ("hunter2", False),
        ("AC0123:token", False),
        ("https://hooks.slack.example/x", False),
        ("whsec_" + "QUJD" * 10, False),
        (KEY + "\n", False),
        ("x" * 257, False),
        ("", False),
    ],
)
def test_a_write_key_is_checked_without_being_said(key: str, right: bool) -> None:
    """Another service's secret must not be shown to this one."""
    problem = write_key_problem(key)

    assert (problem is None) == right
    assert right or not key or key not in str(problem)


def test_a_preview_shows_the_calls() -> None:
    shown = preview("to-the-cdp", identifying, "c-17", {"email": "ada@shop.example"}, AT)
    calls = msgspec.json.decode(shown.parts["body"])["batch"]

    assert [call["type"] for call in calls] == ["identify", "track"]
    assert calls[0]["traits"] == {"email": "ada@shop.example", "abandoned_cart_v2": True}
