"""Mailgun: a signature in the body that doesn't cover the event."""

from typing import Any

import orjson
import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.mailgun import AGE_MS_MAX, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request
from tests.unit.vendors.proofs import doubt

KEY = "mailgun-signing-key"
# the key that the payloads of anymail's tests were signed with
PUBLISHED = "TEST_WEBHOOK_SIGNING_KEY"
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("mailgun"))
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, ["Signature"])


def _sealed(body: dict[str, Any], key: str = KEY) -> bytes:
    return VENDOR.seal(orjson.dumps(body), key, NOW_MS)


def test_a_sealed_body_is_believed_and_with_a_part_of_its_signature_changed_it_is_not() -> None:
    body = orjson.loads(_sealed({"event-data": {}}))
    assert doubt(VENDOR, orjson.dumps(body), {}, ["another", KEY]) is None
    assert doubt(VENDOR, orjson.dumps(body), {}, ["another"]) == "wrong_signature"
    for name, value in body["signature"].items():
        for at in range(len(value)):
            spoiled = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
            changed = orjson.dumps({**body, "signature": {**body["signature"], name: spoiled}})
            assert doubt(VENDOR, changed, {}, [KEY]) == "wrong_signature", (name, at)
        without = {key: each for key, each in body["signature"].items() if key != name}
        assert doubt(VENDOR, orjson.dumps({"signature": without}), {}, [KEY]) == "no_signature"


def test_it_is_believed_for_nine_hours_and_not_a_second_longer() -> None:
    body, signed_at_ms = _sealed({"event-data": {}}), NOW_MS // 1000 * 1000
    assert doubt(VENDOR, body, {}, [KEY], signed_at_ms + AGE_MS_MAX) is None
    assert doubt(VENDOR, body, {}, [KEY], signed_at_ms + AGE_MS_MAX + 1000) == "old"


def test_an_accounts_own_signature_beside_a_subaccounts_is_as_good() -> None:
    body = orjson.loads(_sealed({"event-data": {}}))
    signature = {**body["signature"], "parent-signature": body["signature"]["signature"], "signature": "0" * 64}
    assert doubt(VENDOR, orjson.dumps({"signature": signature}), {}, [KEY]) is None
    for empty in ("", None):
        signature = {**body["signature"], "parent-signature": empty}
        assert doubt(VENDOR, orjson.dumps({"signature": signature}), {}, [KEY]) is None


def test_another_event_under_a_known_signature_has_the_token_that_must_not_come_twice() -> None:
    first = orjson.loads(_sealed({"event-data": {"event": "opened", "recipient": "ada@example.com"}}))
    forged = {**first, "event-data": {"event": "complained", "recipient": "bob@example.com"}}
    # why the token has to be kept
    assert doubt(VENDOR, orjson.dumps(forged), {}, [KEY]) is None
    tokens = [VENDOR.once(request(each)) for each in (first, forged)]
    assert tokens[0] == tokens[1] == first["signature"]["token"]
    assert VENDOR.once_ms >= AGE_MS_MAX


def test_an_event_is_the_same_under_another_token() -> None:
    """As a webhook of the account has it beside that of the domain, and maybe a repeat."""
    event = {"event": "opened", "id": "e1", "timestamp": 1_790_000_000.153, "recipient": "ada@example.com"}

    def ids(event: dict[str, Any], now_ms: int) -> list[str]:
        sealed = VENDOR.seal(orjson.dumps({"event-data": event}), KEY, now_ms)
        return [each["messageId"] for each in events(VENDOR, request(sealed))]

    assert ids(event, NOW_MS) == ids(event, NOW_MS + 1000)
    assert len({*ids(event, NOW_MS), *ids({**event, "timestamp": 1_790_086_400.153}, NOW_MS)}) == 2


@pytest.mark.parametrize("case", cases("mailgun"))
def test_an_event_becomes_what_anymail_makes_of_it(case: Any) -> None:
    # its id is the token, which is the signature's and not the event's
    check(VENDOR, request(case["payload"]), case["expected"], besides=["event_id"])


def test_an_event_without_an_address_is_rejected() -> None:
    with pytest.raises(Rejection) as caught:
        events(VENDOR, request(payload("mailgun", "test_delivery_status_is_none_event")))
    assert caught.value.reason == Reason.NO_CONTACT


def test_a_contact_is_the_variable_user_id_before_the_address() -> None:
    assert named(VENDOR, request(payload("mailgun", "test_opened_event"))) == [("123456", "Email Opened")]


@pytest.mark.parametrize("event", ["opened", "clicked"])
def test_what_a_bot_has_opened_or_clicked_says_so(event: str) -> None:
    told = {"event": event, "recipient": "ada@example.com"}
    by_bot, by_nobody = ({**told, "client-info": {"bot": bot}} for bot in ("apple", ""))
    assert events(VENDOR, request({"event-data": by_bot}))[0]["properties"]["by_machine"] is True
    assert "by_machine" not in events(VENDOR, request({"event-data": by_nobody}))[0]["properties"]


def test_a_message_that_was_rejected_is_told_of_each_it_was_to() -> None:
    body = orjson.loads(orjson.dumps(payload("mailgun", "test_rejected_event")))
    body["event-data"]["message"]["headers"]["to"] = '"Doe, Jane" <jane@example.org>, bob@example.org'
    made = events(VENDOR, request(body))
    assert [each["userId"] for each in made] == ["jane@example.org", "bob@example.org"]
    assert len({each["messageId"] for each in made}) == 2


def test_hard_bounces_and_complaints_alone_suppress_the_address() -> None:
    (hard,) = suppressed(VENDOR, request(payload("mailgun", "test_failed_permanent_event")))
    assert (hard.address, hard.why) == ("invalid@example.com", "a bounce")
    (spam,) = suppressed(VENDOR, request(payload("mailgun", "test_complained_event")))
    assert spam.why == "a complaint"
    for name in ("test_failed_temporary_event", "test_failed_greylisted_event", "test_unsubscribed_event"):
        assert not suppressed(VENDOR, request(payload("mailgun", name)))
    for reason in ("generic", "espblock", "suppress-unsubscribe", "old"):
        event = {"event": "failed", "severity": "permanent", "reason": reason, "recipient": "a@example.com"}
        assert not suppressed(VENDOR, request({"event-data": event}))


def test_a_body_without_an_event_is_rejected() -> None:
    with pytest.raises(Rejection, match="expected an object in event-data, got none"):
        VENDOR.read(request({"signature": {}}))
