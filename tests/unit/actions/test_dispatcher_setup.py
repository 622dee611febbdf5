"""What the dispatcher refuses to start with, and which offsets it commits."""

import socket

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry
from receivers import DEMO_SECRET

from actions import load_rules, load_sequences
from actions.sequences import Send
from streams.dispatcher_setup import Secrets, SetUpCheck, check_mail, connect, read_links, read_secrets
from streams.dispatcher_web import WebServer
from streams.errors import StreamsError
from streams.offsets import Offsets
from streams.settings import SettingError, load_settings

RULE = "rules: [{{id: {id}, on: {{segment: cart}}, channel: webhook, target: 'http://127.0.0.1:1/', secret: {secret}}}]"
KEY = "a key of ours that nobody guesses"
NAMED = (("one", "SHOP"), ("two", "CRM"), ("three", "CRM"))
ONE, OTHER = TopicPartition("deliveries", 1), TopicPartition("deliveries", 2)


def test_secrets_are_read_by_the_names_that_rules_give_them() -> None:
    given = {"SHOP": DEMO_SECRET, "SALES": "https://hooks.slack.example/services/T/B/x", "TWILIO": "AC0123:token"}
    given |= {"CDP": "a-write-key"}
    own = {"UNSUBSCRIBE": KEY, "INAPP": KEY[::-1]}
    found = read_secrets({f"TIDEGATE_SECRET_{name}": secret for name, secret in (given | own).items()} | {"HOME": "/"})

    # a rule that could name our own keys could have them sent somewhere
    assert found == Secrets(given, KEY, KEY[::-1])
    assert not any(secret in repr(found) for secret in (given | own).values())


def test_a_secret_that_no_rule_names_is_somebody_else_s_and_keeps_nobody_from_starting() -> None:
    assert read_secrets({"TIDEGATE_SECRET_FORM": "hunter2"}).by_name == {"FORM": "hunter2"}


def test_a_missing_secret_is_said_once_of_each_rule_that_names_it(caplog: pytest.LogCaptureFixture) -> None:
    check = SetUpCheck({"SHOP": DEMO_SECRET})
    one, two, three = (load_rules(RULE.format(id=id, secret=secret)) for id, secret in NAMED)
    check([*one, *two])
    check([*one, *two])
    assert [record.getMessage() for record in caplog.records] == [
        "TIDEGATE_SECRET_CRM: expected a secret of channel webhook, got none, for two: nothing is sent for that, "
        "each delivery waits (no_secret) and is given up after its last attempt: set it, start again"
    ]
    check([*one, *two, *three])
    assert (
        "TIDEGATE_SECRET_CRM: expected a secret of channel webhook, got none, for three"
        in caplog.records[-1].getMessage()
    )
    assert len(caplog.records) == 2


@pytest.mark.parametrize("name", ["UNSUBSCRIBE", "INAPP"])
def test_a_key_of_our_own_that_could_be_guessed_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"^TIDEGATE_SECRET_{name}: expected at least 32 characters, got 7$"):
        read_secrets({f"TIDEGATE_SECRET_{name}": "hunter2"})


def test_a_secret_of_another_channel_is_said_with_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    """A Slack URL must not be sent to whoever sends SMS; of what it is nothing is said."""
    url = "https://hooks.slack.example/services/T/B/x"
    rule = (
        "rules: [{id: sms, on: {segment: cart}, channel: sms, target: '+4930901820', from: SHOP, secret: SALES,"
        " template: {text: hello}}]"
    )
    SetUpCheck({"SALES": url})(load_rules(rule))

    assert "TIDEGATE_SECRET_SALES: expected the account's sid, `:` and its token, got something else" in caplog.text
    assert url not in caplog.text


def test_what_messages_need_of_the_settings_is_said_before_one_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    mail = "{channel: email, target: {trait: email}, template: {subject: Hi, text: hello}"
    (sequence,) = load_sequences(
        f"sequences: [{{id: welcome, on: {{segment: new}}, steps: [{{name: first, send: {mail}, group: news}}}}]}}]"
    )
    messages = [step.message for step in sequence.steps if isinstance(step, Send)]
    SetUpCheck({}, mail_from="a@b.example", links=True)(messages)
    assert not caplog.records

    SetUpCheck({})(messages)

    said = [record.getMessage().partition(": nothing is sent")[0] for record in caplog.records]
    assert said == [
        "TIDEGATE_MAIL_FROM: expected the sender of e-mails, got none, for welcome/first",
        "TIDEGATE_PUBLIC_URL and TIDEGATE_SECRET_UNSUBSCRIBE: expected both for links to leave a group, got none, "
        "for welcome/first",
    ]


@pytest.mark.parametrize(
    ("public_url", "secret", "expected"),
    [
        ("https://shop.example", None, "TIDEGATE_PUBLIC_URL: expected TIDEGATE_SECRET_UNSUBSCRIBE with it, got none"),
        ("", KEY, "TIDEGATE_SECRET_UNSUBSCRIBE: expected TIDEGATE_PUBLIC_URL with it, got none"),
        ("shop.example", KEY, "TIDEGATE_PUBLIC_URL: expected a URL that begins with https:// or http://"),
        ("https://me:word@shop.example", KEY, "TIDEGATE_PUBLIC_URL: expected a URL with no user or password in it"),
        ("https://shop.example/?a", KEY, "TIDEGATE_PUBLIC_URL: expected a URL that a path can follow"),
    ],
)
def test_half_of_what_links_need_is_refused(public_url: str, secret: str | None, expected: str) -> None:
    with pytest.raises(SettingError) as raised:
        read_links(load_settings({"TIDEGATE_PUBLIC_URL": public_url}), Secrets({}, secret))
    assert str(raised.value).startswith(expected)
    assert KEY not in str(raised.value)


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


def test_the_key_before_of_links_is_nothing_without_the_one_of_now() -> None:
    secrets = read_secrets({"TIDEGATE_SECRET_UNSUBSCRIBE_BEFORE": KEY})
    with pytest.raises(SettingError, match="expected TIDEGATE_SECRET_UNSUBSCRIBE with it, got none") as raised:
        read_links(load_settings({}), secrets)
    assert KEY not in str(raised.value)
    both = read_secrets({"TIDEGATE_SECRET_UNSUBSCRIBE_BEFORE": KEY, "TIDEGATE_SECRET_UNSUBSCRIBE": KEY + "x"})
    assert read_links(load_settings({"TIDEGATE_PUBLIC_URL": "https://shop.example"}), both) is not None
    with pytest.raises(SettingError, match="UNSUBSCRIBE_BEFORE: expected at least 32 characters, got 5"):
        read_secrets({"TIDEGATE_SECRET_UNSUBSCRIBE_BEFORE": "short"})
