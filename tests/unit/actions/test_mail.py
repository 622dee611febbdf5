"""The e-mail channel, against a mail server on loopback."""

import dataclasses
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from receivers import MailSink

from actions import Rule, Template
from actions.mail import MailSender, message_of, read_sender, read_server
from actions.mail_connections import MailServer
from actions.targets import is_address
from schemas.deliveries import Delivery

Make = Callable[..., Delivery]
NOW_MS = 1_772_357_400_500
SENDER = read_sender("Shop <hello@shop.example>")


def sender_to(port: int) -> MailSender:
    return MailSender(MailServer("127.0.0.1", port, False, None, None), "Shop <hello@shop.example>", lambda: NOW_MS)


def written(message: EmailMessage) -> EmailMessage:
    """The message as a receiver reads it."""
    read = message_from_bytes(message.as_bytes(), policy=default)
    assert isinstance(read, EmailMessage)
    return read


async def test_a_mail_arrives_with_an_id_made_of_the_deliverys(
    mails: MailSink, rules: dict[str, Rule], make_delivery: Make
) -> None:
    delivery = make_delivery(channel="email", target="ada@home.example")
    result = await sender_to(mails.port).send(delivery, rules["mail"])

    assert result.code is None
    (receipt,) = mails.received
    assert (receipt.id, receipt.to) == (f"<{delivery.id}@shop.example>", "ada@home.example")
    assert receipt.headers["subject"] == "Hi Ada"
    assert receipt.headers["from"] == "Shop <hello@shop.example>"
    assert receipt.headers["date"] == "Sun, 01 Mar 2026 09:30:00 +0000"
    assert receipt.body.splitlines() == ["Hello Ada,", "yours"]


def test_text_and_html_stand_side_by_side(rules: dict[str, Rule], make_delivery: Make) -> None:
    assert rules["mail"].template is not None
    message = written(message_of(make_delivery(channel="email", target="a@b.example", traits={"name": "Bö <i>"}),
                                 rules["mail"].template, SENDER, NOW_MS))  # fmt: skip
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None and html is not None

    assert message.get_content_type() == "multipart/alternative"
    assert text.get_content().startswith("Hello Bö <i>,")
    assert html.get_content().strip() == "<p>Bö &lt;i&gt;</p>"


@pytest.mark.parametrize(
    "name", ["Ada\nBcc: eve@evil.example", "Ada\r\n\r\nbody", "Ada\x0bBcc: e@x.example", "Ada\u2028x"]
)
def test_a_trait_adds_no_header(rules: dict[str, Rule], make_delivery: Make, name: str) -> None:
    delivery = make_delivery(channel="email", target="a@b.example", traits={"name": name})
    message = written(message_of(delivery, Template("Hi {{ traits.name }}", "text"), SENDER, NOW_MS))

    assert "bcc" not in {header.lower() for header in message}
    assert str(message["subject"]) == "Hi " + " ".join(name.split())


@pytest.mark.parametrize("hidden", ["=0D=0ABcc:_eve@evil.example", "=00=07", "=20hidden"])
def test_a_trait_that_looks_like_an_encoded_word_is_not_decoded(make_delivery: Make, hidden: str) -> None:
    """What it hides would be in the header: line breaks, and characters that servers refuse."""
    delivery = make_delivery(channel="email", target="a@b.example", traits={"name": f"=?utf-8?q?{hidden}?="})
    message = message_of(delivery, Template("Hi {{ traits.name }}", "text"), SENDER, NOW_MS)

    assert hidden in str(written(message)["subject"])
    assert str(written(message)["subject"]).isprintable()


def test_a_long_subject_is_cut_and_folded(rules: dict[str, Rule], make_delivery: Make) -> None:
    """No line of a message may be longer than 998 characters (RFC 5322)."""
    delivery = make_delivery(channel="email", target="a@b.example", traits={"name": "ö" * 5000})
    raw = message_of(delivery, Template("Hi {{ traits.name }}", "text"), SENDER, NOW_MS).as_bytes()

    assert max(map(len, raw.split(b"\r\n"))) < 998


async def test_a_missing_value_sends_nothing(mails: MailSink, rules: dict[str, Rule], make_delivery: Make) -> None:
    delivery = make_delivery(channel="email", target="a@b.example", traits={})
    result = await sender_to(mails.port).send(delivery, rules["mail"])

    assert (result.code, result.again, mails.received) == ("template", False, [])
    assert "rule 'mail', subject: a value is missing: 'name'" in str(result.reason)


@pytest.mark.parametrize(
    ("reply", "code", "again"),
    [
        ("250 kept", None, False),
        ("421 closing", "retry", True),
        ("451 try later", "retry", True),
        ("452 too much", "retry", True),
        ("550 no such user", "refused", False),
        ("554 spam", "refused", False),
    ],
)
async def test_what_the_reply_means(
    mails: MailSink, rules: dict[str, Rule], make_delivery: Make, reply: str, code: str | None, again: bool
) -> None:
    mails.answer = lambda receipt: reply
    result = await sender_to(mails.port).send(make_delivery(channel="email", target="a@b.example"), rules["mail"])

    assert (result.code, result.again) == (code, again)
    assert code is None or reply[:3] in str(result.reason)


async def test_a_recipient_that_is_refused_is_final_and_one_put_off_is_not(
    mails: MailSink, rules: dict[str, Rule], make_delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greylisting answers 450 to the first attempt."""

    async def refuse(sink: Any, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        return "550 unknown" if address.startswith("gone") else "450 greylisted"

    monkeypatch.setattr(MailSink, "handle_RCPT", refuse, raising=False)
    gone = await sender_to(mails.port).send(make_delivery(channel="email", target="gone@b.example"), rules["mail"])
    grey = await sender_to(mails.port).send(make_delivery(channel="email", target="grey@b.example"), rules["mail"])

    assert (gone.code, gone.again) == ("refused", False)
    assert (grey.code, grey.again) == ("retry", True)


async def test_no_mail_server_is_for_later(
    rules: dict[str, Rule], make_delivery: Make, free_port: Callable[[], int]
) -> None:
    delivery = make_delivery(channel="email", target="a@b.example")
    result = await sender_to(free_port()).send(delivery, rules["mail"])

    assert (result.code, result.again) == ("retry", True)


async def test_a_sender_that_is_not_set_is_for_later(rules: dict[str, Rule], make_delivery: Make) -> None:
    sender = MailSender(MailServer("127.0.0.1", 9, False, None, None), "", lambda: NOW_MS)
    result = await sender.send(make_delivery(channel="email", target="a@b.example"), rules["mail"])

    assert (result.code, result.again) == ("not_set_up", True)
    assert "TIDEGATE_MAIL_FROM" in str(result.reason)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, False, None, None)),
        ("smtp://me:p%40ss@mail.example:587", ("mail.example", 587, False, "me", "p@ss")),
        ("smtps://mail.example", ("mail.example", 465, True, None, None)),
        ("http://mail.example", None),
        ("smtp://", None),
        ("smtp://me:secret@mail.example:port", None),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, expected: tuple[Any, ...] | None) -> None:
    """Neither an error nor `repr` ever says the password."""
    if expected is None:
        with pytest.raises(ValueError) as raised:
            read_server(url)
        assert "secret" not in str(raised.value)
        return
    server = read_server(url)

    assert dataclasses.astuple(server) == expected
    assert "p@ss" not in repr(server)


@pytest.mark.parametrize("text", ["nobody", "Shop <hello>", "a@b.example, c@d.example", "Shop\n <a@b.example>", ""])
def test_a_sender_is_one_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"an address such as"):
        read_sender(text)


@pytest.mark.parametrize("letter", ["\r", "\n", "\0", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_no_character_of_a_trait_ends_a_header(make_delivery: Make, letter: str) -> None:
    """Looked at as bytes on the wire: every line of the head is a header of ours, or goes on with one."""
    name = f"Ada{letter}Bcc: eve@evil.example{letter}{letter}body"
    delivery = make_delivery(channel="email", target="a@b.example", traits={"name": name})
    raw = message_of(delivery, Template("Hi {{ traits.name }}", "text"), SENDER, NOW_MS).as_bytes()
    head, _, body = raw.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]

    assert sorted(names) == sorted({*names})
    assert b"bcc" not in names
    assert body.strip() == b"text"
    assert not [at for at in head.replace(b"\r\n", b"") if at < 0x20 or at == 0x7F]


@pytest.mark.parametrize(
    "address",
    ["a@b.example\r\nBcc: x@y.example", "a@b.example, x@y.example", "<a@b.example>", "a@b.example\0", "a b@c.example"],
)
def test_an_address_is_one_address(address: str) -> None:
    assert not is_address(address)
