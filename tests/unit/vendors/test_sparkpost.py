"""SparkPost: a login, and batches of wrapped events."""

from typing import Any

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.sparkpost import KINDS, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request
from tests.unit.vendors.proofs import check_every_byte

LOGIN = "sparkpost:a-long-password"
# batches that have no event to compare, and the one that is told beside another
_APART = ("test_ping_event", "test_amp_events", "test_initial_open_event_as_opened")
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("sparkpost"))
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [], secret=LOGIN)


def _told(**fields: Any) -> list[Any]:
    return [{"msys": {"message_event": {"rcpt_to": "ada@example.com", "timestamp": "1790000000", **fields}}}]


def test_the_login_is_believed_and_no_other_is() -> None:
    body = VENDOR.sample(NOW_MS)
    check_every_byte(VENDOR, body, VENDOR.sign(body, LOGIN, "", NOW_MS), LOGIN, NOW_MS, signed=False)


@pytest.mark.parametrize("case", [case for case in cases("sparkpost") if case.id not in _APART])
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_an_empty_batch_that_tries_a_url_tells_nothing() -> None:
    assert VENDOR.read(request(payload("sparkpost", "test_ping_event"))) == []


def test_a_first_opening_is_told_beside_an_opening_and_keeps_its_name() -> None:
    body = payload("sparkpost", "test_initial_open_event_as_opened")
    assert named(VENDOR, request(body)) == [("recipient@example.com", "SparkPost initial_open")]


def test_events_that_name_nobody_are_rejected() -> None:
    body = payload("sparkpost", "test_amp_events")
    assert [told.name for told in VENDOR.read(request(body))] == ["amp_open", "amp_initial_open", "amp_click"]
    with pytest.raises(Rejection) as caught:
        events(VENDOR, request(body))
    assert caught.value.reason == Reason.NO_CONTACT


def test_an_instant_may_be_text_in_seconds_or_iso_8601() -> None:
    (made,) = events(VENDOR, request(payload("sparkpost", "test_generation_failure_event")))
    assert made["timestamp"] == "2018-10-11T23:24:45.000Z"
    assert made["properties"]["template_id"] == "test-template"


def test_a_contact_is_the_metadatas_user_id_before_the_address() -> None:
    assert named(VENDOR, request(_told(type="delivery", rcpt_meta={"user_id": 7}))) == [("7", "Email Delivered")]


@pytest.mark.parametrize("type", KINDS)
def test_of_all_events_complaints_and_hard_classes_of_bounces_alone_suppress_the_address(type: str) -> None:
    for bounce_class in (
        "1",
        "10",
        "20",
        "21",
        "22",
        "25",
        "30",
        "40",
        "50",
        "51",
        "60",
        "70",
        "80",
        "90",
        "100",
        None,
    ):
        found = suppressed(VENDOR, request(_told(type=type, bounce_class=bounce_class)))
        hard = type in ("bounce", "out_of_band") and bounce_class in ("10", "30")
        assert bool(found) == (hard or type == "spam_complaint"), bounce_class


def test_mail_that_came_in_is_told_by_who_wrote_it() -> None:
    relayed = {"msg_from": "ada@example.com", "rcpt_to": "us@example.net", "content": {"text": "x"}}
    (made,) = events(VENDOR, request([{"msys": {"relay_message": relayed}}]))
    assert (made["userId"], made["event"]) == ("ada@example.com", "SparkPost relay_message")
    assert "content" not in made["properties"]
