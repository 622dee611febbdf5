"""Mailjet: a login, and lists of events or single ones."""

from typing import Any

import pytest

from streams.vendors.mailjet import KINDS, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, parsed, request
from tests.unit.vendors.proofs import check_every_byte

LOGIN = "mailjet:a-long-password"
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("mailjet"))
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [], secret=LOGIN)


def test_the_login_is_believed_and_no_other_is() -> None:
    body = VENDOR.sample(NOW_MS)
    check_every_byte(VENDOR, body, VENDOR.sign(body, LOGIN, "", NOW_MS), LOGIN, NOW_MS, signed=False)


@pytest.mark.parametrize("case", cases("mailjet"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_an_id_beyond_what_json_numbers_hold_keeps_every_digit() -> None:
    body = [{"event": "open", "time": 1_790_000_000, "MessageID": 2**53 + 1, "email": "ada@example.com"}]
    (made,) = events(VENDOR, request(body))
    assert parsed(made).properties["email_id"] == "9007199254740993"


def test_a_contact_is_the_payloads_user_id_before_the_address() -> None:
    body = {**payload("mailjet", "test_non_grouped_event"), "Payload": '{"user_id": 17}'}
    assert named(VENDOR, request([body, {**body, "Payload": "not JSON"}])) == [
        ("17", "Email Delivered"),
        ("recipient@example.com", "Email Delivered"),
    ]


def test_hard_bounces_and_complaints_alone_suppress_the_address() -> None:
    for event in KINDS:
        body = [{"event": event, "email": "ada@example.com", "MessageID": 1}]
        assert bool(suppressed(VENDOR, request(body))) == (event == "spam"), event
    (found,) = suppressed(VENDOR, request(payload("mailjet", "test_bounce_event")))
    assert (found.address, found.why) == ("invalid@invalid", "a bounce")
    hard = {"event": "bounce", "email": "ada@example.com", "hard_bounce": True, "error": "user unknown"}
    assert suppressed(VENDOR, request(hard))
    assert not suppressed(VENDOR, request({**hard, "hard_bounce": False}))
    assert not suppressed(VENDOR, request(payload("mailjet", "test_bounced_greylist_event")))


def test_campaigns_and_lists_are_properties_where_there_are_any() -> None:
    (sent,) = events(VENDOR, request(payload("mailjet", "test_sent_event")))
    assert (sent["properties"]["campaign_id"], sent["properties"]["campaign_name"]) == ("1234567890", "tag1")
    (blocked,) = events(VENDOR, request(payload("mailjet", "test_blocked_event")))
    assert "campaign_id" not in blocked["properties"]
    (left,) = events(VENDOR, request(payload("mailjet", "test_unsub_event")))
    assert "group" not in left["properties"]
    (left,) = events(VENDOR, request([{"event": "unsub", "email": "ada@example.com", "mj_list_id": 7}]))
    assert left["properties"]["group"] == "7"
