"""What every channel does, whatever it sends through: one suite over all of them."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from actions import Template
from actions.channels import ATTEMPT_MS_MAX, Resources
from actions.mail import read_server
from actions.reach import Reach
from actions.registry import SPECS, open_senders
from schemas.deliveries import CHANNELS
from tests.channel_stages import HERE, KEY, LINKS, HttpStage, InAppStage, KafkaStage, MailStage, Mode, Stage

WaitFor = Callable[..., Awaitable[object]]
STAGES = ("webhook", "slack", "sms", "email", "inapp", "kafka", "segment")
WITH_TEMPLATES = tuple(name for name, spec in SPECS.items() if spec.parts)
HTTP = ("webhook", "slack", "sms", "segment")


@pytest.fixture
async def stage(request: pytest.FixtureRequest, prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """The channel that the test names."""
    name = request.param
    made: Stage
    if name in HTTP:
        made = HttpStage(name)
    elif name == "inapp":
        made = InAppStage(request.getfixturevalue("redis_url"), prefix)
    else:
        made = MailStage() if name == "email" else KafkaStage()
    await made.start(monkeypatch)
    yield made
    await made.sender.close()
    await made.stop()


def of(*channels: str) -> pytest.MarkDecorator:
    """The test runs for each of `channels`."""
    return pytest.mark.parametrize("stage", channels, indirect=True)


each = of(*STAGES)


async def arrived(stage: Stage) -> list[str | None]:
    if isinstance(stage, InAppStage):
        await stage.look()
    return stage.arrived


def test_every_channel_that_a_rule_may_name_is_in_the_registry_and_on_this_stage() -> None:
    assert tuple(SPECS) == CHANNELS
    assert sorted(STAGES) == sorted(CHANNELS)


async def test_every_channel_of_the_registry_can_be_opened(redis_url: str) -> None:
    """The modules are named by text alone, as only a dispatcher loads them."""
    import redis.asyncio as redis

    async def publish(*_: Any) -> None: ...

    client = redis.Redis.from_url(redis_url)
    server = read_server("smtp://127.0.0.1:25")
    senders = open_senders(
        Resources({}, lambda: 0, HERE, server, "", "https://sms.example", client, "t.", publish, LINKS)
    )
    for sender in senders.values():
        await sender.close()
    await client.aclose()

    assert tuple(senders) == CHANNELS


@each
async def test_what_is_taken_is_sent(stage: Stage) -> None:
    result = await stage.sender.send(stage.delivery(), stage.rule)

    assert (result.code, result.reason, result.again) == (None, None, False)
    assert len(await arrived(stage)) == 1


@each
async def test_each_attempt_has_the_deliverys_id(stage: Stage) -> None:
    """By which the receiver tells repeats; where a channel has no such thing, it is said to have none."""
    for _ in range(2):
        await stage.sender.send(stage.delivery(id="e" * 32), stage.rule)

    # the in-app channel tells repeats itself
    expected = ["e" * 32] * (1 if stage.channel == "inapp" else 2) if stage.tells_repeats else [None, None]
    assert await arrived(stage) == expected


@of(*(name for name in STAGES if name != "inapp"))
async def test_what_is_refused_for_good_is_not_tried_again(stage: Stage) -> None:
    await stage.be("refuses")
    result = await stage.sender.send(stage.delivery(), stage.rule)

    assert (result.code, result.again) == ("refused", False)
    assert str(result.reason).startswith("expected ")


@of(*HTTP)
async def test_who_is_busy_says_when_to_come_again(stage: Stage) -> None:
    await stage.be("busy")
    result = await stage.sender.send(stage.delivery(), stage.rule)

    assert (result.code, result.again, result.retry_after_ms) == ("retry", True, 7000)


@each
@pytest.mark.parametrize("mode", ["silent", "gone"])
async def test_no_answer_is_for_later_and_takes_a_bounded_time(stage: Stage, mode: Mode) -> None:
    await stage.be(mode)
    async with asyncio.timeout(ATTEMPT_MS_MAX / 1000 / 4):
        result = await stage.sender.send(stage.delivery(), stage.rule)

    assert (result.code, result.again, stage.arrived) == ("retry", True, [])
    assert str(result.reason).startswith("expected ")


@of(*WITH_TEMPLATES)
async def test_a_template_with_a_hole_is_not_sent(stage: Stage) -> None:
    result = await stage.sender.send(stage.delivery(name=None), stage.rule)

    assert (result.code, result.again, await arrived(stage)) == ("template", False, [])
    assert "a value is missing" in str(result.reason)


@each
@pytest.mark.parametrize("name", ["Ada\r\nBcc: eve@evil.example", "\x00\x1f\u2028", "=?utf-8?q?x?=", "&To=+1555"])
async def test_no_value_of_a_trait_breaks_a_message(stage: Stage, name: str) -> None:
    """A line break, control characters, what looks like an encoding or a form: each is sent as a value."""
    result = await stage.sender.send(stage.delivery(name=name), stage.rule)

    assert result.code is None
    assert len(await arrived(stage)) == 1


@of(*WITH_TEMPLATES)
async def test_half_of_a_character_pair_in_a_template_ends_no_dispatcher(stage: Stage) -> None:
    """No JSON can bring one, but a template can write it; what a sender raises is a bug, and ends the process."""
    half = '{{ "\\ud800" }}'
    rule = dataclasses.replace(stage.rule, template=Template(half, f"Hi {half}", half))
    result = await stage.sender.send(stage.delivery(), rule)

    assert result.code is None
    assert len(await arrived(stage)) == 1


@of(*WITH_TEMPLATES)
async def test_a_link_to_leave_waits_for_what_makes_links(stage: Stage) -> None:
    """No message goes out that should have one and has none; it may be put right."""
    assert stage.rule.template is not None
    template = dataclasses.replace(stage.rule.template, text="{{ unsubscribe_url }}")
    rule = dataclasses.replace(stage.rule, template=template, group="promo")
    delivery = msgspec.structs.replace(stage.delivery(), group="promo")
    stage.sender._links = None  # type: ignore[attr-defined]
    result = await stage.sender.send(delivery, rule)

    assert (result.code, result.again, await arrived(stage)) == ("not_set_up", True, [])
    assert "TIDEGATE_PUBLIC_URL" in str(result.reason)


@each
async def test_the_lane_is_the_receivers_and_not_the_contacts(stage: Stage) -> None:
    """Or every contact would have a queue of its own, and a slow receiver as many attempts as contacts."""
    lanes = {stage.sender.lane(stage.delivery(contact=contact)) for contact in ("c-1", "c-2")}

    assert len(lanes) == 1
    assert lanes.pop().startswith(stage.channel)


@each
async def test_nothing_of_a_secret_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Not in what becomes of an attempt, nor in a lane, nor in the log: not even where the receiver says it back."""
    caplog.set_level(logging.DEBUG)
    said = [stage.sender.lane(stage.delivery()), repr(LINKS)]
    for mode in stage.modes:
        await stage.be(mode)
        result = await stage.sender.send(stage.delivery(), stage.rule)
        said.append(repr(result))
    # a signature is no secret; what it is made with is
    assert not [secret for secret in stage.secrets if secret in " ".join(said)]
    assert not [secret for secret in stage.secrets if secret in caplog.text]


@of(*HTTP)
async def test_a_secret_that_is_missing_or_another_channels_is_for_later(stage: HttpStage) -> None:
    """It may be put right; and what is meant for one service is never shown to another."""
    name = str(stage.rule.secret)
    for secrets in ({}, {name: "https://hooks.example/x" if stage.channel != "slack" else "AC1:token"}):
        sender = stage.make(secrets, "http://127.0.0.1:9", HERE)
        result = await sender.send(stage.delivery(), stage.rule)
        await sender.close()

        assert (result.code, result.again) == ("no_secret", True)
        assert f"TIDEGATE_SECRET_{name}" in str(result.reason)
    assert stage.arrived == []


@of(*HTTP)
async def test_our_own_network_is_not_called_unless_it_is_allowed(stage: HttpStage) -> None:
    url = stage.url
    secrets = {"HOOK": "whsec_" + "QUJD" * 10, "SALES": url + "/x", "TWILIO": "AC1:token", "CDP": "a-write-key"}
    sender = stage.make(secrets, url, Reach())
    result = await sender.send(stage.delivery(), stage.rule)
    await sender.close()

    assert (result.code, result.again, stage.arrived) == ("refused", False, [])
    assert "TIDEGATE_TARGETS_PRIVATE=allow" in str(result.reason)


@each
async def test_a_closed_sender_has_no_connection(stage: Stage, wait_for: WaitFor) -> None:
    await stage.sender.send(stage.delivery(), stage.rule)
    await stage.sender.close()

    await wait_for(lambda: stage.open_connections == 0, 5, "the connections to be closed")


def test_the_key_of_the_links_is_long_enough_to_be_one() -> None:
    """Or the tests above would look for a secret that no dispatcher takes."""
    from actions.credentials import key_problem

    assert key_problem(KEY) is None
