"""The webhook channel, against a receiver that checks signatures."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from receivers import DEMO_SECRET, WebhookReceiver

from actions import Rule
from actions.credentials import signing_problem
from actions.reach import Reach
from actions.webhook import WebhookSender
from schemas.deliveries import Delivery

Make = Callable[..., Delivery]
Serve = Callable[[Callable[[web.Request], Any]], Any]
HERE = Reach(private=True)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    made = WebhookSender({"DEMO": DEMO_SECRET}, now_ms, HERE)
    yield made
    await made.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves one handler at any path; returns the URL."""
    runners = []

    async def start(handler: Callable[[web.Request], Any]) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_a_receiver_can_verify_what_it_gets(
    sender: WebhookSender, webhooks: WebhookReceiver, rules: dict[str, Rule], make_delivery: Make
) -> None:
    """The receiver answers 401 where the Standard Webhooks signature doesn't hold."""
    delivery = make_delivery(target=webhooks.url, traits={"plan": "pro"})
    result = await sender.send(delivery, rules["hook"])

    assert result.code is None
    (receipt,) = webhooks.received
    assert receipt.id == delivery.id
    assert receipt.headers["content-type"] == "application/json"
    assert receipt.body == {
        "type": "segment.entered",
        "timestamp": "2026-03-01T09:30:00.000Z",
        "data": {
            "contact": "c-17",
            "rule": "hook",
            "transition": {
                "id": "t",
                "segment": "cart",
                "segment_version": 1,
                "transition": "entered",
                "seq": 1,
                "at": "2026-03-01T09:30:00.000Z",
                "cause": "timer",
            },
            "traits": {"plan": "pro"},
        },
    }


async def test_another_secret_is_refused(
    webhooks: WebhookReceiver, rules: dict[str, Rule], make_delivery: Make
) -> None:
    """Or the test before this one would prove nothing."""
    sender = WebhookSender({"DEMO": "whsec_" + "QUJD" * 10}, now_ms, HERE)
    result = await sender.send(make_delivery(target=webhooks.url), rules["hook"])
    await sender.close()

    assert (result.code, result.again, webhooks.received) == ("refused", False, [])
    assert "expected 2xx, got 401" in str(result.reason)


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        (200, None, False), (202, None, False), (302, "refused", False), (400, "refused", False), (404, "refused", False),
        (408, "retry", True), (410, "refused", False), (425, "retry", True), (429, "retry", True), (500, "retry", True),
        (503, "retry", True),
    ],
)  # fmt: skip
async def test_what_the_status_means(
    sender: WebhookSender,
    webhooks: WebhookReceiver,
    rules: dict[str, Rule],
    make_delivery: Make,
    status: int,
    code: str | None,
    again: bool,
) -> None:
    webhooks.answer = lambda receipt: (status, {})
    result = await sender.send(make_delivery(target=webhooks.url), rules["hook"])

    assert (result.code, result.again) == (code, again)


async def test_a_redirect_is_not_followed(
    sender: WebhookSender, webhooks: WebhookReceiver, serve: Serve, rules: dict[str, Rule], make_delivery: Make
) -> None:
    """It could lead into our own network, and the signature is for the receiver that the rule names."""
    called = []

    async def elsewhere(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    target = await serve(elsewhere)
    webhooks.answer = lambda receipt: (307, {"Location": target})
    result = await sender.send(make_delivery(target=webhooks.url), rules["hook"])

    assert (result.code, called) == ("refused", [])


@pytest.mark.parametrize(
    ("header", "expected_ms"),
    [("7", 7000), ("0", 0), ("soon", None), ("-5", None), ("9" * 100, None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
async def test_retry_after_is_read_in_seconds_and_as_a_date(
    sender: WebhookSender,
    webhooks: WebhookReceiver,
    rules: dict[str, Rule],
    make_delivery: Make,
    header: str,
    expected_ms: int | None,
) -> None:
    webhooks.answer = lambda receipt: (429, {"Retry-After": header})
    result = await sender.send(make_delivery(target=webhooks.url), rules["hook"])

    assert result.retry_after_ms == expected_ms


async def test_nobody_listening_is_for_later(
    sender: WebhookSender, rules: dict[str, Rule], make_delivery: Make, free_port: Callable[[], int]
) -> None:
    result = await sender.send(make_delivery(target=f"http://127.0.0.1:{free_port()}/"), rules["hook"])

    assert (result.code, result.again) == ("retry", True)
    assert "expected an answer, got" in str(result.reason)


async def test_a_receiver_that_says_nothing_is_for_later(
    sender: WebhookSender,
    serve: Serve,
    rules: dict[str, Rule],
    make_delivery: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    monkeypatch.setattr("actions.posting.RESPONSE_S_MAX", 0.2)
    result = await sender.send(make_delivery(target=await serve(silent)), rules["hook"])
    release.set()

    assert (result.code, result.again) == ("retry", True)
    assert result.reason == "expected an answer within 0.2 s, got none"


async def test_of_an_endless_answer_only_the_start_is_read(
    sender: WebhookSender, serve: Serve, rules: dict[str, Rule], make_delivery: Make
) -> None:
    """And what is quoted of it is short, and one line."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"no\n" * 1000)
        except ConnectionError:
            return response

    async with asyncio.timeout(5):
        result = await sender.send(make_delivery(target=await serve(endless)), rules["hook"])

    assert result.code == "refused"
    assert len(str(result.reason)) <= 300
    assert "\n" not in str(result.reason)


async def test_a_secret_that_is_not_in_the_environment_is_for_later(
    rules: dict[str, Rule], make_delivery: Make
) -> None:
    """It may be put right without anyone having to retry by hand; the sentence names the variable."""
    result = await WebhookSender({}, now_ms, HERE).send(make_delivery(), rules["hook"])

    assert (result.code, result.again) == ("no_secret", True)
    assert "TIDEGATE_SECRET_DEMO" in str(result.reason)


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        (DEMO_SECRET, None),
        ("hunter2", "got something else"),
        ("whsec_", "got 0 bytes"),
        ("whsec_QUJD", "got 3 bytes"),
        ("whsec_" + "QUJD" * 100, "got 300 bytes"),
    ],
)
def test_a_secret_is_checked_without_being_said(secret: str, problem: str | None) -> None:
    found = signing_problem(secret)

    assert (found is None) == (problem is None)
    if found is not None and problem is not None:
        assert problem in found
        assert secret.removeprefix("whsec_") not in found or secret == "whsec_"
