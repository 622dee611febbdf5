"""Recurly's webhooks: XML by login, which says it all, and signed JSON, which says who an account is and no more."""

import copy
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection, Path
from streams.vendors.recurly import SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request, vectors
from tests.unit.vendors.proofs import URL, check_every_byte, doubt, in_segment

VECTOR = vectors("recurly")
SIGNED_MS = 1_663_103_925_004
PUBLISHED = {
    name.removesuffix(".xml"): xml.encode() for name, xml in document("billing/recurly_xml.json")["cases"].items()
}
LOGIN = "recurly:a-long-password"
# as published (https://docs.recurly.com/recurly-subscriptions/docs/subscription-notifications and its neighbours)
JSON = {
    "account": {"id": "r3oplsj3zo7a", "object_type": "account", "event_type": "created", "account_code": "verena"},
    "subscription": {
        "id": "ra8foq26o2dt",
        "object_type": "subscription",
        "event_type": "created",
        "uuid": "63ab531e1d",
    },
    "payment": {"id": "rafhdbbf41mc", "object_type": "payment", "event_type": "failed", "uuid": "63b068f7d409"},
    "invoice": {"id": "radnhqhipxkw", "object_type": "charge_invoice", "event_type": "paid", "invoice_number": 1000},
}


def _xml(value: Any) -> bytes:
    """The XML of an object with one key, the root's name."""

    def element(name: str, inner: Any) -> str:
        kept = "".join(each for each in name if each.isalnum() or each == "_") or "x"
        if isinstance(inner, dict):
            return f"<{kept}>{''.join(element(str(key), each) for key, each in inner.items())}</{kept}>"
        if isinstance(inner, list):
            return f'<{kept} type="array">{"".join(element("item", each) for each in inner)}</{kept}>'
        if inner is None:
            return f'<{kept} nil="true"/>'
        kind = ' type="integer"' if isinstance(inner, int) else ""
        return f"<{kept}{kind}>{escape(str(inner))}</{kept}>"

    name, inner = next(iter(value.items())) if isinstance(value, dict) and value else ("odd", value)
    return element(str(name), inner).encode("utf-8", "surrogatepass")


def _read(raw: bytes) -> dict[str, Any]:
    (notification,) = VENDOR.read(request(raw))
    return {notification.name: notification.body}


test_no_xml_does_more_than_be_refused = hostile.reading(
    VENDOR, [_read(each) for each in PUBLISHED.values()], encode=_xml
)
test_no_json_does_more_than_be_refused = hostile.reading(VENDOR, list(JSON.values()))
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(PUBLISHED.values())), st.integers(0, 4000), st.integers(0, 4000), st.binary(max_size=20))
@example(b'<?xml version="1.0" encoding="utf-7"?><a/>', 0, 0, b"")
@example(b'<?xml version="1.0" encoding="no-such"?><a/>', 0, 0, b"")
@example(b"<a>" * 100_000 + b"</a>" * 100_000, 0, 0, b"")
def test_no_mutilated_xml_does_more_than_be_refused(raw: bytes, start: int, end: int, between: bytes) -> None:
    """A part cut out, and something else in its place."""
    try:
        made = events(VENDOR, request(raw[:start] + between + raw[end:] if start <= end and end else raw))
    except Rejection as rejection:
        assert rejection.sentence
        return
    for each in made:
        parsed(each)


def _told(raw: Any) -> list[str]:
    return [each["event"] for each in events(VENDOR, request(raw)) if each["type"] == "track"]


def _traits(raw: Any) -> dict[str, Any]:
    return dict(next((each["traits"] for each in events(VENDOR, request(raw)) if "traits" in each), {}))


def _properties(raw: Any) -> dict[str, Any]:
    return dict(next(each["properties"] for each in events(VENDOR, request(raw)) if each["type"] == "track"))


def _subscribed(name: str, **changed: Any) -> bytes:
    """A notification of a monthly subscription whose period began in September 2026."""
    subscription = {
        "plan": {"plan_code": "gold", "name": "Gold"},
        "uuid": "4110792b",
        "state": "active",
        "activated_at": "2026-08-01T00:00:00Z",
        "current_period_started_at": "2026-09-01T00:00:00Z",
        "current_period_ends_at": "2026-10-01T00:00:00Z",
        "trial_ends_at": None,
    }
    account = {"account_code": "u-7", "email": "ada@example.com"}
    return _xml({name: {"account": account, "subscription": {**subscription, **changed}}})


def test_the_vector_is_believed_and_no_byte_of_it_may_change() -> None:
    """Nor may its time."""
    check_every_byte(VENDOR, VECTOR["body"].encode(), _headers(VECTOR), VECTOR["secret"], SIGNED_MS)


def _headers(vector: dict[str, Any]) -> dict[str, str]:
    return {SIGNATURE: vector["headers"]["recurly-signature"]}


def test_a_request_is_believed_for_five_minutes() -> None:
    """In milliseconds; what was signed wrongly is wrong before it is old."""
    body, headers, secret = VECTOR["body"].encode(), _headers(VECTOR), VECTOR["secret"]

    assert doubt(VENDOR, body, headers, [secret], SIGNED_MS + 300_000) is None
    assert doubt(VENDOR, body, headers, [secret], SIGNED_MS + 300_001) == "old"
    assert doubt(VENDOR, body, headers, [secret], SIGNED_MS - 300_001) == "old"
    assert doubt(VENDOR, body, headers, ["another-secret"], SIGNED_MS + 300_001) == "wrong_signature"


def test_any_of_several_signatures_counts() -> None:
    """For a day after a rotation there are two."""
    signed_at, signature = VENDOR.sign(b"{}", "a-secret", URL, NOW_MS)[SIGNATURE].split(",")

    assert doubt(VENDOR, b"{}", {SIGNATURE: f"{signed_at},{'0' * 64},{signature}"}, ["a-secret"]) is None
    assert doubt(VENDOR, b"{}", {SIGNATURE: signed_at}, ["a-secret"]) == "wrong_signature"


def test_a_connection_with_a_login_proves_by_it() -> None:
    """XML is never signed; a connection that has a key alone believes none."""
    raw = PUBLISHED["new_subscription_notification"]
    headers = VENDOR.sign(raw, LOGIN, URL, NOW_MS)

    check_every_byte(VENDOR, raw, headers, LOGIN, NOW_MS, signed=False)
    assert doubt(VENDOR, raw, headers, ["a-secret-key"]) == "no_signature"
    signed = VENDOR.sign(b"{}", "a-secret-key", URL, NOW_MS)
    assert doubt(VENDOR, b"{}", signed, [LOGIN, "a-secret-key"]) is None
    assert doubt(VENDOR, raw, headers, [LOGIN, "a-secret-key"]) is None
    assert doubt(VENDOR, b"{}", signed, [LOGIN]) == "no_login"


def test_a_secret_is_a_key_or_a_login() -> None:
    """It says what is expected, and never what it is."""
    assert VENDOR.secret_problem(LOGIN) is None
    assert VENDOR.secret_problem("354fab5bd35f5a0d") is None
    for secret in ("short", "recurly:short", ":a-long-password"):
        assert secret not in (VENDOR.secret_problem(secret) or secret)


@pytest.mark.parametrize("secret", [LOGIN, "a-secret-key"])
def test_a_sample_is_believed_and_read(secret: str) -> None:
    """As `tidegate connections test` sends it, with either kind of secret."""
    body = VENDOR.sample(NOW_MS)

    assert doubt(VENDOR, body, VENDOR.sign(body, secret, URL, NOW_MS), [secret]) is None
    assert _told(body) == ["Customer Created"]


BECOMES = {
    "billing_info_update_failed_notification": "Billing Info Update Failed",
    "billing_info_updated_notification": "Billing Info Updated",
    "canceled_account_notification": "Customer Closed",
    "canceled_subscription_notification": "Subscription Cancellation Scheduled",
    "charge_invoice_notification": "Invoice Created",
    "credit_invoice_notification": "Recurly new_credit_invoice_notification",
    "credit_payment_notification": "Recurly new_credit_payment_notification",
    "expired_subscription_notification": "Subscription Canceled",
    "failed_payment_notification": "Payment Failed",
    "new_account_notification": "Customer Created",
    "new_dunning_event_notification": "Recurly new_dunning_event_notification",
    "new_dunning_event_notification_deprecated": "Recurly new_dunning_event_notification",
    "new_subscription_notification": "Subscription Started",
    "paused_subscription_renewal_notification": "Recurly paused_subscription_renewal_notification",
    "processing_payment_notification": "Recurly processing_payment_notification",
    "reactivated_account_notification": "Subscription Reactivated",
    "renewed_subscription_notification": "Subscription Renewed",
    "scheduled_payment_notification": "Recurly scheduled_payment_notification",
    "scheduled_subscription_pause_notification": "Recurly scheduled_subscription_pause_notification",
    "subscription_pause_canceled_notification": "Recurly subscription_pause_canceled_notification",
    "subscription_pause_modified_notification": "Recurly subscription_pause_modified_notification",
    "subscription_paused_notification": "Subscription Paused",
    "subscription_resumed_notification": "Subscription Resumed",
    "successful_payment_notification": "Recurly successful_payment_notification",
    "successful_refund_notification": "Order Refunded",
    "transaction_status_updated_notification": "Recurly transaction_status_updated_notification",
    "updated_account_notification": "Customer Updated",
    "updated_subscription_notification": "Subscription Updated",
    "void_payment_notification": "Payment Voided",
}


def test_every_published_notification_becomes_what_it_is() -> None:
    """But for one that has nothing in it at all."""
    with pytest.raises(Rejection, match="unknown_notification"):
        _told(PUBLISHED["unknown_notification"])
    named = {name: raw for name, raw in PUBLISHED.items() if name != "unknown_notification"}
    assert {name: "+".join(_told(raw)) for name, raw in named.items()} == BECOMES
    for raw in named.values():
        for event in events(VENDOR, request(raw)):
            parsed(event)


def test_a_subscription_in_xml_is_told_with_its_account() -> None:
    """At the instant that its object says."""
    traits, link, told = events(VENDOR, request(PUBLISHED["renewed_subscription_notification"]))

    expected = {
        "subscription_status": "active",
        "mrr": None,
        "trial_ends_at": None,
        "renews_at": "2010-10-22T20:42:05.000Z",
        "plan": "bootstrap",
    }
    assert traits["traits"] == expected
    assert {each["timestamp"] for each in (traits, link, told)} == {"2010-09-22T20:42:05.000Z"}
    assert (told["userId"], link["anonymousId"]) == ("verena@example.com", "recurly:1")
    assert {"plan_name": "Bootstrap", "quantity": 1, "amount": 99}.items() <= told["properties"].items()


def test_an_invoice_in_xml_is_told_in_major_units() -> None:
    """It has the currency that a payment lacks."""
    properties = _properties(PUBLISHED["charge_invoice_notification"])
    failed = _properties(PUBLISHED["failed_payment_notification"])

    assert {"total": 1000, "currency": "USD", "invoice_number": "2405", "tax": 0}.items() <= properties.items()
    assert properties["subscription_id"] == "40b8f5e99df03b8684b99d4993b6e089"
    assert {"total": 10, "reason": "Declined by the gateway", "invoice_number": "2059"}.items() <= failed.items()


def test_an_invoice_is_paid_once() -> None:
    """One of no subscription is an order; an old site's is paid when it is closed, unless it was given up."""

    def paid(name: str, **invoice: Any) -> bytes:
        return _xml(
            {name: {"account": {"account_code": "1"}, "invoice": {"uuid": "i1", "total_in_cents": 1999, **invoice}}}
        )

    of_one = paid("paid_charge_invoice_notification", subscription_ids=["s1"], currency="JPY")
    assert _told(of_one) == ["Invoice Paid"]
    assert _properties(of_one) == {"invoice_id": "i1", "subscription_id": "s1", "total": 1999, "currency": "JPY"}
    assert _told(paid("paid_charge_invoice_notification", subscription_ids=[])) == ["Order Completed"]
    assert _properties(paid("paid_charge_invoice_notification"))["order_id"] == "i1"
    assert _told(paid("closed_invoice_notification", subscription_id="s1", state="collected")) == ["Invoice Paid"]
    assert _told(paid("closed_invoice_notification", state="failed")) == ["Recurly closed_invoice_notification"]


def test_a_trial_is_told_without_a_clock() -> None:
    """As long as its period is the trial's; the renewal at its end is the start of what is paid."""
    end = "2026-10-01T00:00:00Z"

    assert _told(_subscribed("new_subscription_notification")) == ["Subscription Started"]
    assert _told(_subscribed("new_subscription_notification", trial_ends_at=end)) == ["Trial Started"]
    for state in ("future", "failed"):
        not_yet = _subscribed("new_subscription_notification", state=state)
        assert (_told(not_yet), _traits(not_yet)) == (["Recurly new_subscription_notification"], {})
    long_paid = _subscribed("renewed_subscription_notification", trial_ends_at="2026-08-01T00:00:00Z")
    assert _told(long_paid) == ["Subscription Renewed"]
    assert _told(_subscribed("renewed_subscription_notification", trial_ends_at="2026-09-01T00:00:00Z")) == [
        "Trial Ended",
        "Subscription Started",
    ]
    assert _told(_subscribed("expired_subscription_notification", trial_ends_at=end, state="expired")) == [
        "Trial Ended",
        "Subscription Canceled",
    ]


@pytest.mark.parametrize(
    ("now", "status", "renews", "mrr"),
    [
        ({}, "active", True, None),
        ({"trial_ends_at": "2026-10-01T00:00:00Z"}, "trialing", True, 0),
        ({"trial_ends_at": "2026-09-01T00:00:00Z"}, "active", True, None),
        ({"state": "canceled"}, "active", False, None),
        ({"state": "canceled", "trial_ends_at": "2026-10-01T00:00:00Z"}, "trialing", False, 0),
        ({"state": "paused"}, "paused", False, 0),
        ({"state": "expired"}, "canceled", False, 0),
    ],
)
def test_traits_say_how_a_subscription_stands(now: dict[str, Any], status: str, renews: bool, mrr: int | None) -> None:
    """A cancelled one of Recurly's goes on until it expires."""
    traits = _traits(_subscribed("updated_subscription_notification", **now))

    assert (traits["subscription_status"], traits["renews_at"] is not None, traits.get("mrr")) == (status, renews, mrr)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_an_older_subscription_never_overwrites_a_newer_one(order: tuple[int, ...]) -> None:
    """Where the object says when it became so."""
    bodies = [
        _subscribed("new_subscription_notification"),
        _subscribed("canceled_subscription_notification", state="canceled", canceled_at="2026-09-10T00:00:00Z"),
        _subscribed("expired_subscription_notification", state="expired", expires_at="2026-10-01T00:00:00Z"),
    ]
    made = [each for at in order for each in events(VENDOR, request(bodies[at], received_at_ms=1_800_000_000_000))]

    assert in_segment({"trait": "subscription_status", "eq": "canceled"}, made) == {"ada@example.com"}
    assert in_segment({"trait": "renews_at", "exists": True}, made) == set()


def test_an_account_in_json_is_told_by_its_code() -> None:
    """At `event_time`, with an id that a repeat has as well."""
    (event,) = events(VENDOR, request(VECTOR["body"].encode()))

    assert (event["event"], event["userId"]) == ("Customer Created", "recurly:adfas23zzz14123")
    assert (event["timestamp"], event["messageId"]) == ("2022-09-13T21:18:40.000Z", "recurly:rjxwmwedwqug")
    coded = Connection("here", "recurly", ("S",), user_ids=(Path("$.account.account_code"), Path("$.account_code")))
    both = (JSON["account"], PUBLISHED["new_account_notification"])
    assert [events(VENDOR, request(raw), coded)[0]["userId"] for raw in both] == ["verena", "1"]


@pytest.mark.parametrize("kind", ["subscription", "payment", "invoice"])
def test_what_json_tells_of_nobody_is_refused_with_the_reason(kind: str) -> None:
    """It has the object's id alone."""
    with pytest.raises(Rejection) as raised:
        events(VENDOR, request(JSON[kind]))
    assert raised.value.reason == Reason.NO_CONTACT
    named = _properties({**JSON[kind], "account_code": "1"})
    assert set(named.values()) == {"1", str(JSON[kind].get("uuid") or JSON[kind]["invoice_number"])}


def test_a_repeat_of_xml_is_known_by_its_header_or_its_bytes() -> None:
    """Recurly names no id in it."""
    raw = PUBLISHED["failed_payment_notification"]

    def id(raw: bytes, headers: dict[str, str] | None = None) -> str:
        return str(events(VENDOR, request(raw, headers))[-1]["messageId"])

    assert id(raw) == id(copy.copy(raw))
    assert id(raw) != id(raw.replace(b"1000", b"2000"))
    assert id(raw, {"Recurly-Notification-Id": "n-1"}) == "recurly:n-1"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', Reason.NOT_SUPPORTED),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', Reason.NOT_SUPPORTED),
        (b"<a><b></a>", Reason.NOT_JSON),
        (b"<", Reason.NOT_JSON),
        (b"<a>" * 80 + b"</a>" * 80, Reason.TOO_DEEP),
        (b'{"id":"1","object_type":"account"}', Reason.MISSING_FIELD),
        (b"[]", Reason.NOT_AN_OBJECT),
    ],
)
def test_what_is_no_notification_is_refused_with_the_reason(raw: bytes, reason: Reason) -> None:
    """No entity is expanded, and no file is opened."""
    with pytest.raises(Rejection) as raised:
        VENDOR.read(request(raw))
    assert raised.value.reason == reason


def test_what_an_element_is_marked_as_is_what_it_becomes() -> None:
    """A number, a boolean, an array; an empty one is nothing."""
    (notification,) = VENDOR.read(
        request(
            b'<a_notification><n type="integer">7</n><m type="integer">-7</m><x type="integer">?</x><t type="boolean">true</t>'
            b'<f type="boolean">false</f><l type="array"><i>1</i></l><e/><nil nil="true">kept</nil></a_notification>'
        )
    )

    assert notification.body == {"n": 7, "m": -7, "x": "?", "t": True, "f": False, "l": ["1"], "e": None, "nil": "kept"}


def test_a_time_that_no_clock_shows_is_the_arrival() -> None:
    """And the rest is told."""
    raw = _subscribed("canceled_subscription_notification", canceled_at="soon")

    assert events(VENDOR, request(raw))[-1]["timestamp"] == format_instant(NOW_MS)
