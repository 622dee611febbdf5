"""Mandrill: a signed form with a list of events in it."""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from streams.vendors.mandrill import SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, URL, events, request
from tests.unit.vendors.proofs import check_every_byte, doubt

KEY = "mandrill-webhook-key"


def _form(listed: Any) -> bytes:
    return urlencode({"mandrill_events": json.dumps(listed).encode("utf-8", "surrogatepass")}).encode()


def _told(**fields: Any) -> bytes:
    return _form([{"_id": "m", "ts": 1_790_000_000, "msg": {"_id": "m", "email": "ada@example.com"}, **fields}])


test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("mandrill"), encode=_form)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def test_the_signature_is_over_the_url_and_the_sorted_fields() -> None:
    body = urlencode({"b": "2 ü", "a": "1", "empty": ""}).encode()
    signed = f"{URL}a1b2 üempty".encode()
    documented = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha1).digest()).decode()
    assert VENDOR.sign(body, KEY, URL, NOW_MS) == {SIGNATURE: documented}


def test_a_signed_form_is_believed_and_with_any_byte_changed_it_is_not() -> None:
    body = _told(event="open")
    check_every_byte(VENDOR, body, VENDOR.sign(body, KEY, URL, NOW_MS), KEY, NOW_MS)


def test_a_form_for_another_url_is_not_believed() -> None:
    body = _told(event="open")
    assert doubt(VENDOR, body, VENDOR.sign(body, KEY, URL + "/", NOW_MS), [KEY]) == "wrong_signature"


def test_the_empty_list_that_tries_a_url_is_believed_under_the_key_that_everybody_knows_and_nothing_else_is() -> None:
    nothing, something = _form([]), _told(event="open")
    assert doubt(VENDOR, nothing, VENDOR.sign(nothing, "test-webhook", URL, NOW_MS), [KEY]) is None
    assert VENDOR.read(request(nothing)) == []
    assert doubt(VENDOR, something, VENDOR.sign(something, "test-webhook", URL, NOW_MS), [KEY]) == "wrong_signature"


@pytest.mark.parametrize("case", cases("mandrill"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(_form(case["payload"])), case["expected"])


def test_a_list_of_addresses_that_was_changed_keeps_mandrills_name() -> None:
    body = _form(payload("mandrill", "test_sync_event"))
    assert named(VENDOR, request(body)) == [("recipient@example.com", "Mandrill blacklist")]


def test_hard_bounces_and_complaints_alone_suppress_the_address() -> None:
    for event in ("hard_bounce", "spam"):
        (found,) = suppressed(VENDOR, request(_told(event=event)))
        assert found.address == "ada@example.com"
    for event in ("soft_bounce", "deferral", "reject", "unsub", "delivered", "open", "click", "send"):
        assert not suppressed(VENDOR, request(_told(event=event)))


def test_two_clicks_of_one_message_are_two_events_and_a_repeat_is_the_same() -> None:
    ids = [
        events(VENDOR, request(_told(event="click", **clicked)))[0]["messageId"]
        for clicked in ({"url": "https://a"}, {"url": "https://a"}, {"url": "https://b"}, {"url": "https://a", "ts": 1})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_mandrills_example_is_told_to_nobody() -> None:
    example = "exampleaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert VENDOR.read(request(_told(event="open", _id=example, msg={"_id": example, "email": "a@example.com"}))) == []


def test_mail_that_came_in_is_told_by_who_wrote_it_without_what_was_written() -> None:
    message = {"email": "us@example.net", "from_email": "ada@example.com", "subject": "Hi", "raw_msg": "x", "text": "x"}
    (made,) = events(VENDOR, request(_form([{"event": "inbound", "ts": 1, "msg": message}])))
    assert (made["userId"], made["event"]) == ("ada@example.com", "Mandrill inbound")
    assert set(made["properties"]["msg"]) == {"email", "from_email", "subject"}
