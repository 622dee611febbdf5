"""Postmark: a login, and one record a request."""

from typing import Any

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.postmark import _TYPES, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request
from tests.unit.vendors.proofs import check_every_byte

LOGIN = "postmark:a-long-password"
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("postmark"))
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [], secret=LOGIN)


def test_the_login_is_believed_and_no_other_is() -> None:
    body = VENDOR.sample(NOW_MS)
    check_every_byte(VENDOR, body, VENDOR.sign(body, LOGIN, "", NOW_MS), LOGIN, NOW_MS, signed=False)
    assert VENDOR.secret_problem(LOGIN) is None
    assert VENDOR.secret_problem("no-colon-in-it") is not None


@pytest.mark.parametrize("case", cases("postmark"))
def test_a_record_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_a_record_without_an_address_is_rejected_with_what_to_do() -> None:
    with pytest.raises(Rejection, match="got none; `user_id:` of connection") as caught:
        events(VENDOR, request(payload("postmark", "test_bounce_unsubscribe_variant")))
    assert caught.value.reason == Reason.NO_CONTACT


def test_a_contact_is_the_metadatas_user_id_before_the_address() -> None:
    assert named(VENDOR, request(payload("postmark", "test_delivered_event"))) == [("12345", "Email Delivered")]
    assert named(VENDOR, request(payload("postmark", "test_open_event"))) == [("recipient@example.com", "Email Opened")]


@pytest.mark.parametrize("type", _TYPES)
def test_of_all_types_of_bounces_hard_ones_and_complaints_alone_suppress_the_address(type: str) -> None:
    body = {"RecordType": "Bounce", "ID": 1, "MessageID": "m", "Email": "ada@example.com", "Type": type}
    assert bool(suppressed(VENDOR, request(body))) == (type in ("HardBounce", "SpamNotification", "SpamComplaint"))


def test_a_stopped_address_is_suppressed_only_for_a_hard_bounce_or_a_complaint() -> None:
    stopped = payload("postmark", "test_subscription_change_bounce")
    assert [each.why for each in suppressed(VENDOR, request(stopped))] == ["a bounce"]
    complained = {**stopped, "SuppressionReason": "SpamComplaint"}
    assert [each.why for each in suppressed(VENDOR, request(complained))] == ["a complaint"]
    assert suppressed(VENDOR, request(payload("postmark", "test_unsubscribe"))) == []


def test_who_leaves_a_stream_leaves_that_group() -> None:
    (left,) = events(VENDOR, request(payload("postmark", "test_unsubscribe")))
    (back,) = events(VENDOR, request(payload("postmark", "test_resubscribe")))
    assert (left["event"], left["properties"]["group"]) == ("Unsubscribed", "outbound")
    assert (back["event"], back["properties"]["group"]) == ("Subscribed", "outbound")


def test_two_clicks_of_one_message_are_two_events_and_a_repeat_is_the_same() -> None:
    body = payload("postmark", "test_click_event")
    ids = [
        events(VENDOR, request(each))[0]["messageId"]
        for each in (body, body, {**body, "OriginalLink": "https://example.com/other"})
    ]
    assert ids[0] == ids[1] != ids[2]


def test_postmarks_example_is_told_to_nobody() -> None:
    body = {**payload("postmark", "test_open_event"), "MessageID": "00000000-0000-0000-0000-000000000000"}
    assert VENDOR.read(request(body)) == []


def test_mail_that_came_in_is_told_by_who_wrote_it_without_what_was_written() -> None:
    body = {
        "FromFull": {"Email": "ada@example.com"},
        "From": "Ada <Ada@example.com>",
        "To": "us@example.net",
        "Subject": "Hello",
        "TextBody": "secret",
        "Attachments": [{"Content": "c2VjcmV0"}],
    }
    (made,) = events(VENDOR, request(body))
    assert (made["userId"], made["event"]) == ("ada@example.com", "Postmark Inbound")
    assert made["properties"]["Subject"] == "Hello"
    assert "TextBody" not in made["properties"]
    assert "Attachments" not in made["properties"]
