"""Resend: Svix's signatures, and events that don't say which recipient they are about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from streams.vendors.resend import ID, SIGNATURE, TIMESTAMP, VENDOR
from streams.vendors.signing import AGE_MS_MAX
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request, vectors
from tests.unit.vendors.proofs import check_every_byte, doubt

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("resend"), headers={ID: "msg_1"})
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [ID, TIMESTAMP, SIGNATURE], secret=SECRET)


def _vector() -> tuple[bytes, dict[str, str], str, int]:
    vector = vectors("standard-webhooks")
    # the same under Svix's names
    headers = {name.replace("webhook-", "svix-"): value for name, value in vector["headers"].items()}
    return vector["body"].encode(), headers, vector["secret"], int(headers[TIMESTAMP]) * 1000


def test_the_specs_own_vector_is_believed_and_with_any_byte_changed_it_is_not() -> None:
    body, headers, secret, at_ms = _vector()
    check_every_byte(VENDOR, body, headers, secret, at_ms)


def test_a_signature_is_believed_for_five_minutes_both_ways() -> None:
    body, headers, secret, at_ms = _vector()
    for off_ms in (AGE_MS_MAX, -AGE_MS_MAX):
        assert doubt(VENDOR, body, headers, [secret], at_ms + off_ms) is None
        assert doubt(VENDOR, body, headers, [secret], at_ms + off_ms + (1 if off_ms > 0 else -1)) == "old"


def test_of_several_signatures_one_is_enough_and_other_versions_are_none() -> None:
    body, headers, secret, at_ms = _vector()
    good = headers[SIGNATURE]
    assert doubt(VENDOR, body, {**headers, SIGNATURE: f"v1,AAAA v2,x {good}"}, [secret], at_ms) is None
    assert doubt(VENDOR, body, {**headers, SIGNATURE: good.replace("v1", "v2")}, [secret], at_ms) == "wrong_signature"


def test_it_signs_as_the_library_does() -> None:
    body = VENDOR.sample(NOW_MS)
    headers = VENDOR.sign(body, SECRET, "", NOW_MS)
    at = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    assert headers[SIGNATURE] == Webhook(SECRET).sign(headers[ID], at, body.decode())


def test_what_is_no_secret_of_resends_is_refused_before_it_is_used() -> None:
    assert VENDOR.secret_problem(SECRET) is None
    for wrong in ("whsec_", "whsec_!!!", "whsec_YQ==", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "re_abc"):
        assert VENDOR.secret_problem(wrong) is not None


@pytest.mark.parametrize("case", cases("resend"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    headers = {ID: case["expected"].get("event_id", "msg_1")}
    check(VENDOR, request(case["payload"], headers), case["expected"])


def test_a_contact_is_the_user_id_of_metadata_or_of_tags_before_the_address() -> None:
    sent = payload("resend", "test_sent_event")
    assert named(VENDOR, request(sent)) == [("123456", "Email Sent")]
    delivered = payload("resend", "test_delivered_event")
    for tags in ({"user_id": "u-1"}, [{"name": "user_id", "value": "u-1"}]):
        body = {**delivered, "data": {**delivered["data"], "tags": tags}}
        assert named(VENDOR, request(body)) == [("u-1", "Email Delivered")]


def _bounced(**bounce: str) -> dict[str, Any]:
    data = {"email_id": "e", "to": ["ada@example.com"], "bounce": bounce}
    return {"type": "email.bounced", "created_at": "2026-01-01T00:00:00Z", "data": data}


def test_hard_bounces_and_complaints_alone_suppress_the_address() -> None:
    for name in ("test_hard_bounced_event", "test_suppressed_event", "test_complained_event"):
        assert len(suppressed(VENDOR, request(payload("resend", name)))) == 1
    assert suppressed(VENDOR, request(_bounced(type="Permanent", subType="General", message="No.")))
    assert not suppressed(VENDOR, request(_bounced(type="Transient", subType="General", message="No.")))
    full = "The recipient's email provider sent a bounce message because the recipient's inbox was full."
    assert not suppressed(VENDOR, request(_bounced(message=full)))
    assert not suppressed(VENDOR, request(payload("resend", "test_delivery_delayed_event")))


def test_a_bounce_at_one_of_several_recipients_keeps_its_name_as_nobody_knows_whose_it_is() -> None:
    body = _bounced(type="Permanent")
    body["data"]["to"] = ["ada@example.com", "bob@example.com"]
    assert named(VENDOR, request(body)) == [("ada@example.com", "Resend email.bounced")]
    assert not suppressed(VENDOR, request(body))


def test_a_contact_of_an_audience_that_was_changed_keeps_resends_name() -> None:
    body = {"type": "contact.updated", "data": {"email": "ada@example.com", "unsubscribed": True}}
    (made,) = events(VENDOR, request(body))
    assert (made["userId"], made["event"]) == ("ada@example.com", "Resend contact.updated")
    assert made["properties"]["data"]["unsubscribed"] is True
