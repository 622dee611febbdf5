"""SendGrid: signed arrays of events, and what each becomes."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streams.vendors.contract import Unsignable
from streams.vendors.sendgrid import AGE_MS_MAX, KINDS, SIGNATURE, TIMESTAMP, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request, vectors
from tests.unit.vendors.proofs import check_every_byte, doubt

OFFICIAL = document("email/sendgrid_official.json")["cases"]


def _key() -> str:
    key = ec.derive_private_key(20260101, ec.SECP256R1())
    der, none = serialization.Encoding.DER, serialization.NoEncryption()
    return base64.b64encode(key.private_bytes(der, serialization.PrivateFormat.PKCS8, none)).decode()


PRIVATE = _key()
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [*bodies("sendgrid"), *OFFICIAL])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE, TIMESTAMP], secret=PRIVATE)


def _told(**fields: Any) -> list[tuple[str, str]]:
    return named(VENDOR, request([{"email": "ada@example.com", "timestamp": 1_790_000_000, **fields}]))


def test_twilios_own_vector_is_believed_and_with_any_byte_changed_it_is_not() -> None:
    vector = vectors("sendgrid")
    at_ms = int(vector["headers"][TIMESTAMP]) * 1000
    check_every_byte(VENDOR, vector["body"].encode(), vector["headers"], vector["public_key"], at_ms)


def test_a_signature_is_believed_for_a_day_and_not_a_millisecond_longer() -> None:
    vector = vectors("sendgrid")
    body, headers, key = vector["body"].encode(), vector["headers"], vector["public_key"]
    at_ms = int(headers[TIMESTAMP]) * 1000
    assert doubt(VENDOR, body, headers, [key], at_ms + AGE_MS_MAX) is None
    assert doubt(VENDOR, body, headers, [key], at_ms + AGE_MS_MAX + 1) == "old"


def test_a_key_may_be_pem_and_what_is_no_key_of_p_256_is_refused_before_it_is_used() -> None:
    key = vectors("sendgrid")["public_key"]
    pem = f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n"
    other = ec.derive_private_key(7, ec.SECP384R1()).public_key()
    der = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert VENDOR.secret_problem(key) is None
    assert VENDOR.secret_problem(pem) is None
    for wrong in ("", "not base64!", base64.b64encode(b"no key").decode(), base64.b64encode(der).decode()):
        assert (VENDOR.secret_problem(wrong) or "").startswith("expected the verification key")


def test_a_sample_is_signed_with_a_private_key_and_with_a_public_one_whoever_asks_is_told_who_can() -> None:
    body = VENDOR.sample(NOW_MS)
    assert doubt(VENDOR, body, VENDOR.sign(body, PRIVATE, "", NOW_MS), [PRIVATE]) is None
    with pytest.raises(Unsignable, match="only SendGrid has the private key"):
        VENDOR.sign(body, vectors("sendgrid")["public_key"], "", NOW_MS)


@pytest.mark.parametrize("case", cases("sendgrid"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    # the id of a message that wasn't sent by anymail is SendGrid's own, as opens and clicks have no other
    ours = {"message_id"} if "anymail_id" not in case["payload"][0] else set()
    check(VENDOR, request(case["payload"]), case["expected"], besides=ours)


def test_all_events_of_one_message_have_one_email_id() -> None:
    of_one = [payload("sendgrid", name) for name in ("test_processed_event", "test_delivered_event", "test_open_event")]
    plain = [{key: value for key, value in each[0].items() if key != "anymail_id"} for each in of_one]
    ids = {each["properties"]["email_id"] for each in events(VENDOR, request(plain))}
    assert ids == {"wrfRRvF7Q0GgwUo2CvDmEA.filter0425p1mdw1.13037.57168B4A1D.0"}


@pytest.mark.parametrize("body", OFFICIAL)
def test_every_event_of_sendgrids_page_has_a_canonical_name(body: Any) -> None:
    made = events(VENDOR, request(body))
    assert len(made) == len(body)
    for each, event in zip(made, body, strict=True):
        assert not each["event"].startswith("SendGrid"), event
        assert parsed(each).contact == (event.get("userid") or event["email"])


def test_an_instant_in_milliseconds_is_read_as_one() -> None:
    (body,) = [each for each in OFFICIAL if each[0].get("timestamp") == 1_591_726_752_372]
    assert events(VENDOR, request(body))[0]["timestamp"] == "2020-06-09T18:19:12.372Z"


def test_a_hard_bounce_and_a_complaint_suppress_the_address_and_nothing_else_does() -> None:
    (hard,) = suppressed(VENDOR, request(payload("sendgrid", "test_bounce_event")))
    assert (hard.address, hard.why) == ("noreply@example.com", "a bounce")
    (spam,) = suppressed(VENDOR, request([{"email": "a@example.com", "event": "spamreport"}]))
    assert (spam.address, spam.why) == ("a@example.com", "a complaint")
    for passing in ({"type": "blocked"}, {"status": "4.2.2"}):
        assert not suppressed(VENDOR, request([{"email": "a@example.com", "event": "bounce", **passing}]))
    for event in set(KINDS) - {"bounce", "spamreport"}:
        assert not suppressed(VENDOR, request([{"email": "a@example.com", "event": event}]))


def test_who_is_named_by_a_custom_argument_is_that_contact_and_is_linked_to_nobody() -> None:
    assert _told(event="open", user_id="u-1") == [("u-1", "Email Opened")]
    assert _told(event="open", userId=17) == [("17", "Email Opened")]


def test_campaign_template_and_group_are_properties() -> None:
    (body,) = [each for each in OFFICIAL if "singlesend_id" in each[0]]
    properties = events(VENDOR, request(body))[0]["properties"]
    assert properties["campaign_id"] == "sendgrid_singlesend_id"
    assert properties["campaign_name"] == "Example Single Send"
    assert properties["template_id"] == "sendgrid_template_id"
    (body,) = [each for each in OFFICIAL if each[0]["event"] == "group_resubscribe" and len(each) == 1]
    assert events(VENDOR, request(body))[0]["properties"]["group"] == "10"
    assert events(VENDOR, request(body))[0]["event"] == "Subscribed"


def test_an_opening_by_a_machine_says_so() -> None:
    opened = {"email": "a@example.com", "event": "open", "sg_machine_open": True}
    assert events(VENDOR, request([opened]))[0]["properties"]["by_machine"] is True


def test_an_event_that_nobody_mapped_keeps_its_name_and_fields() -> None:
    (made,) = events(VENDOR, request([{"email": "ada@example.com", "event": "invented", "n": 1}]))
    assert made["event"] == "SendGrid invented"
    assert made["properties"]["n"] == 1


def test_a_repeat_has_the_message_id_of_the_first() -> None:
    body = payload("sendgrid", "test_open_event")
    assert events(VENDOR, request(body))[0]["messageId"] == "sendgrid:" + body[0]["sg_event_id"]
