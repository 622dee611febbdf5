"""The SMS channel: the request as Twilio documents it, and what its answers mean."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from actions import Rule, load_rules
from actions.reach import Reach
from actions.sms import BODY_CHARACTERS_MAX, SmsSender
from schemas.deliveries import Delivery
from tests.channel_stages import HttpStage

RULE = """
rules:
  - id: code
    on: {{segment: s}}
    channel: sms
    target: {{trait: phone}}
    from: "{sender}"
    secret: TWILIO
    template: {{text: "Your order {{{{ traits.order }}}} is on its way"}}
"""
SERVICE = "MG" + "0" * 32


class Api:
    """A stand-in for the provider's API: `status` and `body` of its answer; what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.status, self.headers = 201, {}
        self.body: Any = {"sid": "SM" + "1" * 32, "status": "queued", "error_code": None}
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Its handler."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((request.path, form, dict(request.headers)))
        if isinstance(self.body, str):
            return web.Response(status=self.status, text=self.body, headers=self.headers)
        return web.json_response(self.body, status=self.status, headers=self.headers)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def sender(api: Api) -> AsyncIterator[SmsSender]:
    made = SmsSender(api.url, {"TWILIO": "AC0123:s3cret"}, lambda: 0, Reach(private=True))
    yield made
    await made.close()


def rule(sender: str = "+15005550006") -> Rule:
    (made,) = load_rules(RULE.format(sender=sender))
    return made


def delivery(order: str = "17") -> Delivery:
    plain = HttpStage("sms").delivery()
    return msgspec.structs.replace(plain, traits={"order": order}, target="+4930901820")


async def test_the_request_is_twilios(api: Api, sender: SmsSender) -> None:
    result = await sender.send(delivery(), rule())

    assert result.code is None
    ((path, form, headers),) = api.requests
    assert path == "/2010-04-01/Accounts/AC0123/Messages.json"
    assert form == {"To": "+4930901820", "From": "+15005550006", "Body": "Your order 17 is on its way"}
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"AC0123:s3cret").decode()
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_a_messaging_service_sends_in_place_of_a_number(api: Api, sender: SmsSender) -> None:
    await sender.send(delivery(), rule(SERVICE))

    ((_, form, _),) = api.requests
    assert form["MessagingServiceSid"] == SERVICE
    assert "From" not in form


async def test_a_value_adds_no_field_to_the_form(api: Api, sender: SmsSender) -> None:
    await sender.send(delivery("17&To=+15550001111&Body=x"), rule())

    ((_, form, _),) = api.requests
    assert form["To"] == "+4930901820"
    assert form["Body"] == "Your order 17&To=+15550001111&Body=x is on its way"


@pytest.mark.parametrize(
    ("status", "error", "code", "again"),
    [
        (400, 21211, "refused", False),  # no valid number
        (400, 21610, "opted_out", False),  # the receiver has unsubscribed from this sender
        (400, 21614, "refused", False),  # no mobile number
        (400, 21606, "refused", False),  # a sender that can't send this
        (429, 20429, "retry", True),
        (400, 20429, "retry", True),
        (400, 21611, "retry", True),  # the sender's queue is full
        (429, None, "retry", True),
        (401, 20003, "not_set_up", True),
        (401, None, "not_set_up", True),
        (403, 20005, "not_set_up", True),  # the account is not active
        (500, 20500, "retry", True),
        (503, None, "retry", True),
        (302, None, "refused", False),
    ],
)
async def test_what_the_answer_means(
    api: Api, sender: SmsSender, status: int, error: int | None, code: str, again: bool
) -> None:
    api.status, api.body = status, "down" if error is None else {"code": error, "message": "words", "status": status}
    result = await sender.send(delivery(), rule())

    assert (result.code, result.again) == (code, again)
    said = "" if error is None else f": error {error} words"
    redirect = ", a redirect, which is not followed" if status == 302 else ""
    assert result.reason == f"expected 201 with a `sid`, got {status}{redirect}{said}"


async def test_a_provider_says_when_to_come_again(api: Api, sender: SmsSender) -> None:
    api.status, api.body, api.headers = 429, {"code": 20429, "message": "Too Many Requests"}, {"Retry-After": "3"}

    assert (await sender.send(delivery(), rule())).retry_after_ms == 3000


async def test_a_yes_that_is_none_is_not_tried_again(api: Api, sender: SmsSender) -> None:
    """Nobody knows whether the message was taken: again could be over and over."""
    api.status, api.body = 200, "<html>Welcome to the hotel's network</html>"
    result = await sender.send(delivery(), rule())

    assert (result.code, result.again) == ("refused", False)


async def test_a_long_answer_is_read_to_its_end_and_an_endless_one_is_not(api: Api, sender: SmsSender) -> None:
    """The API says the text back, each letter as six characters."""
    api.body = {"body": "x" * 20_000, "sid": "SM1"}
    assert (await sender.send(delivery(), rule())).code is None

    api.body = {"body": "x" * 10_000_000, "sid": "SM1"}
    assert (await sender.send(delivery(), rule())).code == "refused"


async def test_a_text_that_is_too_long_is_not_sent(api: Api, sender: SmsSender) -> None:
    result = await sender.send(delivery("x" * BODY_CHARACTERS_MAX), rule())

    assert (result.code, result.again, api.requests) == ("template", False, [])
    assert "expected 1 to 1600 characters of text" in str(result.reason)
