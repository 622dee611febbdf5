"""Brevo: a login, transactional and marketing webhooks."""

from typing import Any

import pytest

from streams.vendors.brevo import KINDS, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request
from tests.unit.vendors.proofs import check_every_byte

LOGIN = "brevo:a-long-password"
# a campaign's, as https://developers.brevo.com/docs/marketing-webhooks has it
MARKETING = {
    "id": 31,
    "camp_id": 8,
    "email": "example@domain.com",
    "campaign name": "My First Campaign",
    "date_sent": "2020-10-09 00:00:00",
    "date_event": "2020-10-09 00:00:00",
    "event": "click",
    "URL": "https://example.com/offer",
    "tag": "",
    "ts_sent": 1604933619,
    "ts_event": 1604933737,
    "ts": 1604937337,
}
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [*bodies("brevo"), MARKETING])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [], secret=LOGIN)


def test_the_login_is_believed_and_no_other_is() -> None:
    body = VENDOR.sample(NOW_MS)
    check_every_byte(VENDOR, body, VENDOR.sign(body, LOGIN, "", NOW_MS), LOGIN, NOW_MS, signed=False)


@pytest.mark.parametrize("case", cases("brevo"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_a_first_opening_that_is_told_twice_is_one_event_and_a_second_another() -> None:
    opened = payload("brevo", "test_opened_event")
    first = payload("brevo", "test_unique_opened_event")
    later = {**opened, "ts_epoch": opened["ts_epoch"] + 1}
    ids = [events(VENDOR, request(each))[0]["messageId"] for each in (opened, first, later)]
    assert ids[0] == ids[1] != ids[2]


def test_an_opening_by_a_machine_says_so() -> None:
    for name in ("test_proxy_open_event", "test_unique_proxy_open_event"):
        assert events(VENDOR, request(payload("brevo", name)))[0]["properties"]["by_machine"] is True
    (opened,) = events(VENDOR, request(payload("brevo", "test_opened_event")))
    assert "by_machine" not in opened["properties"]


def test_a_campaigns_event_has_its_campaign_and_its_instant_in_utc() -> None:
    (made,) = events(VENDOR, request(MARKETING))
    assert (made["event"], made["timestamp"]) == ("Email Link Clicked", "2020-11-09T14:55:37.000Z")
    properties = made["properties"]
    assert (properties["campaign_id"], properties["campaign_name"]) == ("8", "My First Campaign")
    assert properties["link_url"] == "https://example.com/offer"


def test_each_of_several_contacts_has_an_event_of_its_own() -> None:
    body = {"event": "contact_deleted", "email": ["ada@example.com", "bob@example.com"], "ts": 1604937337}
    assert named(VENDOR, request(body)) == [
        ("ada@example.com", "Brevo contact_deleted"),
        ("bob@example.com", "Brevo contact_deleted"),
    ]


def test_a_contact_is_the_custom_headers_user_id_before_the_address() -> None:
    body = {**payload("brevo", "test_opened_event"), "X-Mailin-custom": '{"userId": "u-1"}'}
    assert named(VENDOR, request(body)) == [("u-1", "Email Opened")]


@pytest.mark.parametrize("event", KINDS)
def test_hard_bounces_and_complaints_alone_suppress_the_address(event: str) -> None:
    body = {"event": event, "email": "ada@example.com", "message-id": "<m@example.com>", "ts_event": 1604933737}
    hard = event in ("hard_bounce", "invalid_email", "spam", "complaint")
    assert bool(suppressed(VENDOR, request(body))) == hard
