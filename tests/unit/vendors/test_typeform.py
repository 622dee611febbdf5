"""Typeform's webhook: who filled in, what was answered."""

import copy
from typing import Any

import pytest

from schemas.instants import parse_instant
from streams.vendors.connection import Connection
from streams.vendors.contract import Unproved
from streams.vendors.typeform import SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request, vectors

VECTOR = vectors("typeform")
SECRET = VECTOR["secret"]
PAYLOAD = document("forms/typeform.json")["cases"][0]

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [PAYLOAD])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def _filled_in(hidden: Any = None, answers: Any = None) -> dict[str, Any]:
    body: dict[str, Any] = copy.deepcopy(PAYLOAD)
    body["form_response"]["hidden"] = hidden
    if answers is not None:
        body["form_response"]["answers"] = answers
    return body


def _proved(body: bytes, signature: str, *secrets: str) -> bool:
    try:
        VENDOR.prove(request(body, {SIGNATURE: signature}), secrets or (SECRET,), NOW_MS)
    except Unproved:
        return False
    return True


def test_the_signature_is_of_every_byte_of_the_body_and_of_the_secret() -> None:
    """One changed anywhere, and it is not believed."""
    body, signature = VECTOR["body"].encode(), VECTOR["headers"][SIGNATURE]

    assert _proved(body, signature)
    assert _proved(body, signature, "another", SECRET)
    assert not _proved(body, signature, "another")
    for at in range(len(body)):
        assert not _proved(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], signature)
    for at in range(len(signature)):
        assert not _proved(body, signature[:at] + "~" + signature[at + 1 :])
    with pytest.raises(Unproved) as raised:
        VENDOR.prove(request(body), (SECRET,), NOW_MS)
    assert raised.value.doubt == "no_signature"


def test_the_published_payload_becomes_a_submission() -> None:
    """Answers go by the names that the author gave the fields, though each answer has the field's id alone."""
    (event,) = events(VENDOR, request(PAYLOAD))

    properties = event["properties"]
    assert (event["event"], event["userId"]) == ("Form Submitted", "abc123456")
    assert event["messageId"] == "typeform:LtWXD3crgy"
    assert parsed(event).occurred_at_ms == parse_instant("2018-01-18T18:17:02Z", offset_required=True)
    assert (properties["form_id"], properties["form_name"]) == ("lT4Z3j", "Webhooks example")
    assert properties["answers"] == {
        "readable_ref_long_text": "It's cold right now! I live in an older medium-sized city with a university. "
        "Geographically, the area is hilly.",
        "readable_ref_email": "laura@example.com",
        "readable_ref_short_text": "Laura",
        "readable_ref_date": "2005-10-15",
        "readable_ref_picture_choice": ["London", "Sydney"],
        "readable_ref_number1": 5,
        "readable_ref_legal": True,
        "readable_ref_multiple_choice": "London",
        "readable_ref_yes_no": False,
        "readable_ref_opinion_scale": 2,
        "readable_ref_rating": 3,
        "readable_ref_number2": 4,
        "readable_ref_calendly": "https://calendly.com/scheduled_events/EVENT_TYPE/invitees/INVITEE",
    }
    assert properties["hidden"] == {"user_id": "abc123456"}
    assert (properties["score"], properties["landed_at"]) == (9, "2018-01-18T18:07:02.000Z")


@pytest.mark.parametrize(
    "answer, value",
    [
        ({"type": "choice", "choice": {"other": "Rome"}}, "Rome"),
        ({"type": "choices", "choices": {"labels": ["London"], "other": "Rome"}}, ["London", "Rome"]),
        ({"type": "choices", "choices": {"other": "Rome"}}, ["Rome"]),
        ({"type": "payment", "payment": {"amount": "19.99", "last4": "1234"}}, "19.99"),
        ({"type": "file_url", "file_url": "https://files.example/1"}, "https://files.example/1"),
        ({"type": "phone_number", "phone_number": "+31201234567"}, "+31201234567"),
    ],
)
def test_an_answer_is_its_value(answer: dict[str, Any], value: Any) -> None:
    """Without what it is wrapped in, and with what was written into "other"; a field without a name goes by its id."""
    (event,) = events(VENDOR, request(_filled_in({"user_id": "u"}, [{**answer, "field": {"id": "unnamed"}}])))

    assert event["properties"]["answers"] == {"unnamed": value}


def test_an_address_names_the_contact_and_is_its_trait_where_no_id_is_hidden() -> None:
    """In small letters; no other name is linked to it."""
    traits, submitted = events(VENDOR, request(_filled_in({"email": "other@example.com"})))

    assert (traits["type"], traits["userId"], traits["traits"]) == (
        "identify",
        "laura@example.com",
        {"email": "laura@example.com"},
    )
    assert "anonymousId" not in traits
    assert submitted["userId"] == "laura@example.com"
    assert traits["messageId"] != submitted["messageId"]


def test_a_form_changes_no_address_of_a_contact_that_its_link_names() -> None:
    """The link is the filler's to write: mail for somebody else would go to an address of his choice."""
    assert [event["type"] for event in events(VENDOR, request(PAYLOAD))] == ["track"]


def test_the_connection_says_in_which_order_names_count() -> None:
    """Where forms are filled in by people who are known by their addresses."""
    connection = Connection("here", "typeform", ("S",), contact=("email", "user_id"))

    assert events(VENDOR, request(PAYLOAD), connection)[-1]["userId"] == "laura@example.com"


def test_a_partial_response_keeps_its_name() -> None:
    """It is not a submission."""
    (event,) = events(VENDOR, request({**PAYLOAD, "event_type": "form_response_partial"}))

    assert event["event"] == "Typeform form_response_partial"
    assert event["properties"]["answers"]["readable_ref_short_text"] == "Laura"


def test_a_sample_is_proved_and_read() -> None:
    """What `tidegate connections test` sends."""
    body = VENDOR.seal(VENDOR.sample(NOW_MS), SECRET, NOW_MS)
    asked = request(body, VENDOR.sign(body, SECRET, "https://gateway.example/", NOW_MS))

    VENDOR.prove(asked, [SECRET], NOW_MS)
    assert [event.get("event") for event in events(VENDOR, asked)] == [None, "Form Submitted"]
