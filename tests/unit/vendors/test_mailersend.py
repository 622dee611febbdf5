"""MailerSend: signed bodies, in payloads of both versions."""

from typing import Any

import orjson
import pytest

from streams.vendors.mailersend import KINDS, SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request
from tests.unit.vendors.proofs import check_every_byte, doubt

SECRET = "mailersend-signing-secret"
# as MailerSend publishes it
PUBLIC = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"
NEWER = {
    "type": "activity.hard_bounced",
    "created_at": "2026-02-27T21:48:13.593000Z",
    "data": {
        "id": "63fd251d5c00f8e52001fce6",
        "type": "hard_bounced",
        "recipient": "invalid@example.com",
        "message_id": "63fd25194d5edba3da09e044",
        "tags": ["tag1"],
        "meta": {"bounce_code": 550, "bounce_reason": "Host or domain name not found"},
    },
}
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [*bodies("mailersend"), NEWER])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def test_a_signed_body_is_believed_and_with_any_byte_changed_it_is_not() -> None:
    body = VENDOR.sample(NOW_MS)
    check_every_byte(VENDOR, body, VENDOR.sign(body, SECRET, "", NOW_MS), SECRET, NOW_MS)


def test_a_test_is_believed_under_the_secret_that_everybody_knows_and_nothing_else_is() -> None:
    test, forged = orjson.dumps({"type": "webhook.test"}), orjson.dumps(NEWER)
    assert doubt(VENDOR, test, VENDOR.sign(test, PUBLIC, "", NOW_MS), [SECRET]) is None
    assert VENDOR.read(request(test)) == []
    assert doubt(VENDOR, forged, VENDOR.sign(forged, PUBLIC, "", NOW_MS), [SECRET]) == "wrong_signature"
    assert doubt(VENDOR, b"no JSON", VENDOR.sign(b"no JSON", PUBLIC, "", NOW_MS), [SECRET]) == "wrong_signature"
    # nor is anything large read before it is proved
    large = orjson.dumps({"type": "webhook.test", "data": [[]] * 10_000})
    assert doubt(VENDOR, large, VENDOR.sign(large, PUBLIC, "", NOW_MS), [SECRET]) == "wrong_signature"


@pytest.mark.parametrize("case", cases("mailersend"))
def test_an_activity_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_a_newer_payload_becomes_the_same() -> None:
    expected = {
        "event_type": "bounced",
        "timestamp": "datetime(2026, 2, 27, 21, 48, 13, 593000, tzinfo=timezone.utc)",
        "message_id": "63fd25194d5edba3da09e044",
        "event_id": "63fd251d5c00f8e52001fce6",
        "recipient": "invalid@example.com",
        "reject_reason": "bounced",
        "description": "Host or domain name not found",
        "mta_response": "550",
        "tags": ["tag1"],
    }
    check(VENDOR, request(NEWER), expected)


def _told(activity: str) -> Any:
    data = {"id": "a", "recipient": "ada@example.com", "message_id": "m"}
    return request({"type": f"activity.{activity}", "created_at": "2026-01-01T00:00:00Z", "data": data})


@pytest.mark.parametrize("activity", KINDS)
def test_hard_bounces_and_complaints_alone_suppress_the_address(activity: str) -> None:
    hard = activity in ("hard_bounced", "spam_complaint", "spam_complaints")
    assert bool(suppressed(VENDOR, _told(activity))) == hard


def test_what_is_told_beside_an_opening_and_a_click_keeps_its_name() -> None:
    for activity in ("opened_unique", "clicked_unique", "survey_opened"):
        assert named(VENDOR, _told(activity)) == [("ada@example.com", f"MailerSend activity.{activity}")]


def test_mail_that_came_in_is_told_by_who_wrote_it_without_what_was_written() -> None:
    data = {"id": "i", "sender": {"email": "ada@example.com"}, "subject": "Hi", "raw": "x", "html": "x"}
    (made,) = events(VENDOR, request({"type": "inbound.message", "data": data}))
    assert (made["userId"], made["event"]) == ("ada@example.com", "MailerSend inbound.message")
    assert set(made["properties"]["data"]) == {"id", "sender", "subject"}
