"""Leaving a message group with one click: links, mail headers, pages, the event."""

from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from aiokafka.errors import KafkaConnectionError
from prometheus_client import CollectorRegistry
from receivers import MailSink

from actions import Rule, RuleErrors, Template, load_rules
from actions.mail import MailSender, message_of, read_sender
from actions.mail_connections import MailServer
from actions.templates import TemplateError
from actions.unsubscribe import Unsubscribe, UnsubscribeLinks
from schemas.deliveries import Delivery
from schemas.events import parse_event
from streams.dispatcher_web import WebServer
from streams.unsubscribing import UnsubscribePages, unsubscribed

Make = Callable[..., Delivery]
KEY = "a key of ours that nobody guesses"
LINKS = UnsubscribeLinks("https://shop.example/mail/", KEY)
NOW_MS = 1_772_357_400_500
SENDER = read_sender("Shop <hello@shop.example>")
TEMPLATE = Template("Hi", "Leave: {{ unsubscribe_url }}", '<a href="{{ unsubscribe_url }}">leave</a>')


def token_of(contact: str = "c-17", group: str = "promo", delivery: str = "d1") -> str:
    return LINKS.url(contact, group, delivery).rpartition("/")[2]


# ---- links


@pytest.mark.parametrize("contact", ["c-17", "ü/?#&=", "a\nb", "x" * 400])
def test_a_link_says_who_leaves_what_and_fits_a_url(contact: str) -> None:
    url = LINKS.url(contact, "promo", "d1")

    assert url.startswith("https://shop.example/mail/u/")
    assert set(url.rpartition("/")[2]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert LINKS.read(url.rpartition("/")[2]) == Unsubscribe(contact, "promo", "d1")


def test_the_same_message_has_the_same_link() -> None:
    assert token_of() == token_of()
    assert len({token_of(), token_of(contact="c-18"), token_of(group="news"), token_of(delivery="d2")}) == 4


@pytest.mark.parametrize("at", [0, 5, -1, -20])
def test_a_token_that_was_changed_is_none(at: int) -> None:
    token = token_of()
    changed = list(token)
    changed[at] = "A" if changed[at] != "A" else "B"

    # the last letter of a signature has bits that mean nothing: it still has to be the very same text
    assert LINKS.read("".join(changed)) is None


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "ü.ü", "A" * 100_000, token_of() + "=", token_of() + ".x"])
def test_what_is_no_token_is_none(token: str) -> None:
    assert LINKS.read(token) is None


def test_another_key_makes_no_token() -> None:
    assert UnsubscribeLinks("https://shop.example", KEY + "x").read(token_of()) is None


def test_links_signed_with_the_key_before_work_and_new_ones_have_the_new_key() -> None:
    links = UnsubscribeLinks("https://shop.example", KEY + "x", KEY)
    assert links.read(token_of()) == Unsubscribe("c-17", "promo", "d1")
    made = links.url("c-17", "promo", "d1").rpartition("/")[2]
    assert UnsubscribeLinks("https://shop.example", KEY + "x").read(made) is not None
    assert LINKS.read(made) is None
    assert UnsubscribeLinks("https://shop.example", KEY + "x", KEY + "y").read(token_of()) is None


# ---- the mail


async def test_a_mail_of_a_group_has_both_headers_as_they_are_sent(
    mails: MailSink, rules: dict[str, Rule], make_delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8058: a link in one piece, on one line; what is folded or encoded, no mailbox provider follows."""
    raws = []
    take = MailSink.handle_DATA

    async def look(self: MailSink, server: Any, session: Any, envelope: Any) -> str:
        raws.append(envelope.content)
        return await take(self, server, session, envelope)

    monkeypatch.setattr(MailSink, "handle_DATA", look)
    server = MailServer("127.0.0.1", mails.port, False, None, None)
    sender = MailSender(server, "Shop <hello@shop.example>", lambda: NOW_MS, LINKS)
    contact = "c" * 300
    delivery = make_delivery(channel="email", target="a@b.example", group="promo", contact=contact)
    result = await sender.send(delivery, rules["mail"])

    assert result.code is None
    head = raws[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert f"List-Unsubscribe: <{LINKS.url(contact, 'promo', delivery.id)}>".encode() in head
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in head


def test_a_template_may_show_the_link(make_delivery: Make) -> None:
    delivery = make_delivery(channel="email", target="a@b.example", group="promo")
    message = message_from_bytes(message_of(delivery, TEMPLATE, SENDER, NOW_MS, LINKS).as_bytes(), policy=default)
    link = LINKS.url("c-17", "promo", delivery.id)
    parts = [part.get_content() for part in message.walk() if not part.is_multipart()]

    assert link in parts[0]
    assert f'href="{link}"' in parts[1]


def test_a_mail_of_no_group_has_no_such_header(make_delivery: Make) -> None:
    delivery = make_delivery(channel="email", target="a@b.example")
    message = message_of(delivery, Template("Hi", "text"), SENDER, NOW_MS, LINKS)

    assert not [header for header in message if header.lower().startswith("list-")]


async def test_a_mail_of_a_group_is_not_sent_where_there_are_no_links(
    mails: MailSink, rules: dict[str, Rule], make_delivery: Make
) -> None:
    """It may be put right; a mail that can't be left must not go out."""
    sender = MailSender(MailServer("127.0.0.1", mails.port, False, None, None), "hello@shop.example", lambda: NOW_MS)
    delivery = make_delivery(channel="email", target="a@b.example", group="promo")
    result = await sender.send(delivery, rules["mail"])

    assert (result.code, result.again, mails.received) == ("not_set_up", True, [])
    assert "TIDEGATE_SECRET_UNSUBSCRIBE" in str(result.reason)


def test_a_link_that_fits_no_header_is_not_sent_in_pieces(make_delivery: Make) -> None:
    delivery = make_delivery(channel="email", target="a@b.example", group="promo", contact="c" * 5000)

    with pytest.raises(TemplateError, match="expected an unsubscribe link of at most 960 characters"):
        message_of(delivery, Template("Hi", "text"), SENDER, NOW_MS, LINKS)


def test_a_template_with_the_link_needs_a_group() -> None:
    """Told when the rule is checked, not when the first message fails."""
    rule = (
        "rules: [{id: a, on: {segment: s}, channel: email, target: a@b.example, %s"
        "template: {subject: x, text: '{{ unsubscribe_url }}'}}]"
    )
    (found,) = load_rules(rule % "group: promo, ")
    with pytest.raises(RuleErrors, match="expected `group` beside a template that has `unsubscribe_url`"):
        load_rules(rule % "")

    assert found.group == "promo"


# ---- the pages


class Pages:
    """The pages on a port; `events` are what was written, `fails` is raised in place of that."""

    def __init__(self) -> None:
        self.events: list[tuple[bytes, bytes]] = []
        self.fails: Exception | None = None
        self.url = ""

    async def write(self, key: bytes, value: bytes) -> None:
        """Writes an event."""
        if self.fails is not None:
            raise self.fails
        self.events.append((key, value))


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    made = Pages()
    routes = UnsubscribePages(LINKS, made.write, lambda: NOW_MS).routes()
    server = WebServer(CollectorRegistry(), lambda: None, lambda: None, routes)
    await server.start("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.port}/u/"
    yield made
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as made:
        yield made


async def test_one_click_writes_the_event(pages: Pages, session: ClientSession) -> None:
    async with session.post(pages.url + token_of(), data={"List-Unsubscribe": "One-Click"}) as answer:
        assert answer.status == 200

    ((key, value),) = pages.events
    assert key == b"c-17"
    event = msgspec.json.decode(value)
    assert (event["event"], event["userId"]) == ("Unsubscribed", "c-17")
    assert event["properties"] == {"group": "promo", "email_id": "d1"}
    assert event["timestamp"] == "2026-03-01T09:30:00.500Z"
    # what the core takes for a word about consent
    assert parse_event(value).message_id == event["messageId"]


def test_a_link_used_again_later_is_another_event() -> None:
    """Else whoever subscribes anew, and then leaves by an old mail, is told that it worked and stays subscribed."""
    found = LINKS.read(token_of())
    assert found is not None
    ids = [parse_event(unsubscribed(token_of(), found, NOW_MS + ms)).message_id for ms in (0, 1_000, 3_600_000)]

    assert ids[0] == ids[1] != ids[2]


async def test_a_link_used_twice_at_once_is_one_event(pages: Pages, session: ClientSession) -> None:
    for _ in range(2):
        await (await session.post(pages.url + token_of())).release()
    await (await session.post(pages.url + token_of(delivery="d2"))).release()
    ids = [msgspec.json.decode(value)["messageId"] for _, value in pages.events]

    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whoever_only_looks_stays_subscribed(pages: Pages, session: ClientSession, method: str) -> None:
    """Mail scanners follow every link before a person sees it."""
    async with session.request(method, pages.url + token_of(group="<b>promo")) as answer:
        text = await answer.text()
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]

    assert pages.events == []
    if method == "GET":
        assert '<form method="post">' in text
        assert "&lt;b&gt;promo" in text and "<b>promo" not in text.replace("<b>&lt;", "")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_of_nobodys_changes_nothing(pages: Pages, session: ClientSession, method: str) -> None:
    async with session.request(method, pages.url + token_of()[:-2]) as answer:
        assert answer.status == 404

    assert pages.events == []


async def test_nothing_is_promised_before_kafka_has_it(
    pages: Pages, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that is answered 5xx comes again; one that is answered 200 never does."""
    for fails in (KafkaConnectionError("away"), TimeoutError()):
        pages.fails = fails
        async with session.post(pages.url + token_of()) as answer:
            assert answer.status == 503


def test_the_event_is_the_same_bytes_at_the_same_time() -> None:
    found = LINKS.read(token_of())
    assert found is not None

    assert unsubscribed(token_of(), found, NOW_MS) == unsubscribed(token_of(), found, NOW_MS)
