"""What the dispatcher refuses to start with, and which offsets it commits."""

import socket

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry
from receivers import DEMO_SECRET

from actions import load_rules
from streams.dispatcher_setup import SecretCheck, check_mail, connect, read_secrets
from streams.dispatcher_web import WebServer
from streams.errors import StreamsError
from streams.offsets import Offsets
from streams.settings import SettingError, load_settings

RULE = "rules: [{{id: {id}, on: {{segment: cart}}, channel: webhook, target: 'http://127.0.0.1:1/', secret: {secret}}}]"
NAMED = (("one", "SHOP"), ("two", "CRM"), ("three", "CRM"))
ONE, OTHER = TopicPartition("deliveries", 1), TopicPartition("deliveries", 2)


def test_secrets_are_read_by_the_names_that_rules_give_them() -> None:
    assert read_secrets({"TIDEGATE_SECRET_SHOP": DEMO_SECRET, "HOME": "/"}) == {"SHOP": DEMO_SECRET}


def test_a_bad_secret_is_named_and_never_said() -> None:
    with pytest.raises(SettingError, match=r"^TIDEGATE_SECRET_SHOP: expected `whsec_`") as raised:
        read_secrets({"TIDEGATE_SECRET_SHOP": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_a_missing_secret_is_said_once_of_each_rule_that_names_it(caplog: pytest.LogCaptureFixture) -> None:
    check = SecretCheck({"SHOP": DEMO_SECRET})
    one, two, three = (load_rules(RULE.format(id=id, secret=secret)) for id, secret in NAMED)
    check([*one, *two])
    check([*one, *two])
    assert [record.getMessage() for record in caplog.records] == [
        "TIDEGATE_SECRET_CRM: expected the signing secret of rule two, got none: nothing is sent for that, each "
        "delivery waits (no_secret) and is given up after its last attempt: set it, start again"
    ]
    check([*one, *two, *three])
    assert "TIDEGATE_SECRET_CRM: expected the signing secret of rule three" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDEGATE_SMTP", "http://me:hunter2@mail.example"),
        ("TIDEGATE_SMTP", "smtp://me:hunter2@mail.example:port"),
        ("TIDEGATE_REDIS", "http://me:hunter2@redis.example"),
    ],
)
def test_a_bad_url_is_named_and_its_password_never_said(variable: str, value: str) -> None:
    settings = load_settings({variable: value})
    with pytest.raises(SettingError, match=f"^{variable}: expected") as raised:
        check_mail(settings)
        connect(settings)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_bad_sender_is_said() -> None:
    with pytest.raises(SettingError, match=r"^TIDEGATE_MAIL_FROM: expected an address such as .*, got 'nobody'$"):
        check_mail(load_settings({"TIDEGATE_MAIL_FROM": "nobody"}))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no such host", "a" * 70])
async def test_an_address_that_is_not_this_machines_is_answered_with_the_setting_of_the_host(host: str) -> None:
    with pytest.raises(StreamsError, match=r"^expected to listen on .*, got .*: set TIDEGATE_WEB_HOST to"):
        await _listen(host, 0)


async def test_a_port_that_is_taken_is_answered_with_the_setting_of_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(StreamsError, match="set TIDEGATE_WEB_PORT"):
        await _listen("127.0.0.1", other.getsockname()[1])


async def _listen(host: str, port: int) -> None:
    web = WebServer(CollectorRegistry(), lambda: None, lambda: None)
    try:
        await web.start(host, port)
    finally:
        await web.stop()


def test_nothing_is_committed_beyond_a_record_that_is_under_way() -> None:
    offsets = Offsets()
    for offset in (5, 6, 9):
        offsets.begin(ONE, offset)
    offsets.done(ONE, 6)
    offsets.done(ONE, 9)

    assert offsets.committable() == {ONE: 5}
    offsets.done(ONE, 5)
    assert offsets.committable() == {ONE: 10}


def test_an_offset_is_committed_once() -> None:
    offsets = Offsets()
    offsets.begin(ONE, 5)
    offsets.done(ONE, 5)
    offsets.committed(offsets.committable())

    assert offsets.committable() == {}


def test_a_partition_that_was_given_up_is_committed_no_more() -> None:
    """What was under way of it may end at any time later; the next owner's commits must not be set back."""
    offsets = Offsets()
    offsets.begin(ONE, 5)
    offsets.begin(OTHER, 7)
    offsets.forget([ONE])
    offsets.done(ONE, 5)

    assert offsets.committable() == {OTHER: 7}
    assert offsets.count([ONE, OTHER]) == 1
    offsets.begin(ONE, 3)
    offsets.done(ONE, 3)
    assert offsets.committable() == {ONE: 4, OTHER: 7}


def test_a_new_assignment_leaves_nothing_of_the_old_one() -> None:
    """A commit that names a partition of somebody else's fails as a whole."""
    offsets = Offsets()
    offsets.begin(ONE, 5)
    offsets.begin(OTHER, 7)
    offsets.clear()

    assert (offsets.committable(), offsets.count([ONE, OTHER])) == ({}, 0)
