"""The Slack channel: what its text says, and what Slack's answers mean."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from actions import load_rules
from actions.reach import Reach
from actions.slack import TEXT_CHARACTERS_MAX, SlackSender
from schemas.deliveries import Delivery
from tests.channel_stages import HttpStage

RULE = """
rules:
  - id: hot-lead
    on: {segment: hot-leads}
    channel: slack
    secret: SALES
    template: {text: "*{{ traits.name }}* of {{ traits.company }} <https://crm.example/{{ contact }}|looks hot>"}
"""
(rule,) = load_rules(RULE)


class Hook:
    """An incoming webhook that answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.status, self.text, self.headers = 200, "ok", {}
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Its handler."""
        self.bodies.append(await request.json())
        return web.Response(status=self.status, text=self.text, headers=self.headers)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    application = web.Application()
    application.router.add_post("/services/T/B/x", made.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/T/B/x"
    yield made
    await runner.cleanup()


@pytest.fixture
async def sender(hook: Hook) -> AsyncIterator[SlackSender]:
    made = SlackSender({"SALES": hook.url}, lambda: 0, Reach(private=True))
    yield made
    await made.close()


def delivery(**traits: Any) -> Delivery:
    import msgspec

    plain = HttpStage("slack").delivery()
    return msgspec.structs.replace(plain, traits={"name": "Ada", "company": "Shop"} | traits, target="SALES")


async def test_the_text_of_the_template_is_posted(hook: Hook, sender: SlackSender) -> None:
    result = await sender.send(delivery(), rule)

    assert result.code is None
    assert hook.bodies == [{"text": "*Ada* of Shop <https://crm.example/c-17|looks hot>"}]


async def test_a_value_links_nowhere_and_calls_nobody(hook: Hook, sender: SlackSender) -> None:
    """`<!channel>` in a trait would wake everybody; the template's own links stay links."""
    await sender.send(delivery(name="<!channel> & <https://evil.example|Ada>"), rule)

    (body,) = hook.bodies
    assert "*&lt;!channel&gt; &amp; &lt;https://evil.example|Ada&gt;*" in body["text"]
    assert "<https://crm.example/c-17|looks hot>" in body["text"]


@pytest.mark.parametrize(
    ("status", "text", "code", "again"),
    [
        (400, "invalid_payload", "refused", False),
        (400, "user_not_found", "refused", False),
        (403, "action_prohibited", "refused", False),
        (403, "invalid_token", "refused", False),
        (404, "no_service", "refused", False),
        (404, "channel_not_found", "refused", False),
        (410, "channel_is_archived", "refused", False),
        (429, "rate_limited", "retry", True),
        (500, "rollup_error", "retry", True),
        (503, "<html>we are down</html>", "retry", True),
        (302, "", "refused", False),
    ],
)
async def test_what_slack_answers(
    hook: Hook, sender: SlackSender, status: int, text: str, code: str, again: bool
) -> None:
    hook.status, hook.text = status, text
    result = await sender.send(delivery(), rule)

    assert (result.code, result.again) == (code, again)
    word = f": {text}" if text.replace("_", "").isalpha() else ""
    redirect = ", a redirect, which is not followed" if status == 302 else ""
    assert result.reason == f"expected ok, got {status}{redirect}{word}"


async def test_slack_says_when_to_come_again(hook: Hook, sender: SlackSender) -> None:
    hook.status, hook.headers = 429, {"Retry-After": "30"}

    assert (await sender.send(delivery(), rule)).retry_after_ms == 30_000


async def test_a_text_that_slack_would_cut_is_not_sent(hook: Hook, sender: SlackSender) -> None:
    result = await sender.send(delivery(name="x" * TEXT_CHARACTERS_MAX), rule)

    assert (result.code, result.again, hook.bodies) == ("template", False, [])
    assert f"expected 1 to {TEXT_CHARACTERS_MAX} characters of text" in str(result.reason)


def test_a_rule_has_no_target_but_its_secrets_name() -> None:
    """The URL is the secret: it stands in no definition and in no delivery."""
    assert (rule.target, rule.secret) == ("SALES", "SALES")
