"""Paddle's webhooks: several events of one thing, of which one counts; amounts that are text; five seconds."""

import copy
import hashlib
import hmac
import itertools
from typing import Any

import pytest

from schemas.instants import format_instant
from schemas.rejected import Rejection
from streams.vendors.paddle import SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request
from tests.unit.vendors.proofs import URL, check_every_byte, doubt, in_segment

PUBLISHED = {each["topic"]: each["body"] for each in document("billing/paddlebilling_captured.json")["cases"]}
SECRET = "pdl_ntfset_of_tests"
CUSTOMER = "paddle:ctm_01j7br89shp7xpaenx22h8qetw"

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, list(PUBLISHED.values()), examples=250)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def _event(type: str, data: dict[str, Any], at_ms: int = NOW_MS) -> dict[str, Any]:
    return {"event_id": f"evt_{type}_{at_ms}", "event_type": type, "occurred_at": format_instant(at_ms), "data": data}


def _subscription(**changed: Any) -> dict[str, Any]:
    """The captured one: ten seats at 30.00 and an add-on at 100.00, monthly."""
    made = copy.deepcopy(PUBLISHED["subscription.activated"]["data"])
    return {**made, "custom_data": {"user_id": "u-7"}, **changed}


def _items(trial_ends_at: str | None = None, **cycle: Any) -> list[dict[str, Any]]:
    (item, _) = copy.deepcopy(PUBLISHED["subscription.activated"]["data"]["items"])
    item["price"]["billing_cycle"] = {**item["price"]["billing_cycle"], **cycle}
    item["trial_dates"] = trial_ends_at and {"starts_at": "2026-01-01T00:00:00Z", "ends_at": trial_ends_at}
    return [item]


def _told(body: Any) -> list[str]:
    return [each["event"] for each in events(VENDOR, request(body)) if each["type"] == "track"]


def _properties(body: Any) -> dict[str, Any]:
    return dict(next(each["properties"] for each in events(VENDOR, request(body)) if each["type"] == "track"))


def _traits(body: Any) -> dict[str, Any]:
    return dict(next((each["traits"] for each in events(VENDOR, request(body)) if "traits" in each), {}))


def test_a_signature_is_of_every_byte_and_of_its_time() -> None:
    """One changed anywhere, and it is not believed."""
    body = VENDOR.sample(NOW_MS)

    check_every_byte(VENDOR, body, VENDOR.sign(body, SECRET, URL, NOW_MS), SECRET, NOW_MS)


def test_the_signature_is_the_documented_one() -> None:
    """Written out: HMAC-SHA256 in hexadecimal digits, of the time, a colon and the body."""
    digits = hmac.new(b"secret-of-paddle", b"1790000000:{}", hashlib.sha256).hexdigest()

    assert doubt(VENDOR, b"{}", {SIGNATURE: f"ts=1790000000;h1={digits}"}, ["secret-of-paddle"]) is None


def test_a_request_is_believed_for_five_seconds() -> None:
    """Either way; what was signed wrongly is wrong before it is old."""
    headers = VENDOR.sign(b"{}", SECRET, URL, NOW_MS)

    assert doubt(VENDOR, b"{}", headers, [SECRET], NOW_MS + 5_000) is None
    assert doubt(VENDOR, b"{}", headers, [SECRET], NOW_MS + 5_001) == "old"
    assert doubt(VENDOR, b"{}", headers, [SECRET], NOW_MS - 5_001) == "old"
    assert doubt(VENDOR, b"{}", headers, ["pdl_another"], NOW_MS + 5_001) == "wrong_signature"


def test_any_of_several_signatures_counts() -> None:
    """While a key is rotated there are two."""
    ts, h1 = VENDOR.sign(b"{}", SECRET, URL, NOW_MS)[SIGNATURE].split(";")

    assert doubt(VENDOR, b"{}", {SIGNATURE: f"{ts};h1={'0' * 64};{h1}"}, [SECRET]) is None
    assert doubt(VENDOR, b"{}", {SIGNATURE: f"{ts};h2={h1[3:]}"}, [SECRET]) == "wrong_signature"
    assert doubt(VENDOR, b"{}", {SIGNATURE: h1}, [SECRET]) == "wrong_signature"


def test_a_sample_is_believed_and_read() -> None:
    """As `tidegate connections test` sends it."""
    body = VENDOR.sample(NOW_MS)

    assert doubt(VENDOR, body, VENDOR.sign(body, SECRET, URL, NOW_MS), [SECRET]) is None
    assert _told(body) == ["Subscription Started"]


BECOMES = {
    "address.created": "Paddle address.created",
    "adjustment.created": "Paddle adjustment.created",  # it waits to be approved
    "adjustment.updated": "Order Refunded",
    "customer.created": "Customer Created",
    "subscription.activated": "Subscription Started",
    "subscription.created": "Paddle subscription.created",
    "subscription.past_due": "Subscription Past Due",
    "subscription.updated": "Paddle subscription.updated",  # `subscription.past_due` says it
    "transaction.billed": "Paddle transaction.billed",
    "transaction.completed": "Invoice Paid",
    "transaction.paid": "Paddle transaction.paid",
    "transaction.past_due": "Paddle transaction.past_due",
    "transaction.payment_failed": "Payment Failed",
    "transaction.ready": "Paddle transaction.ready",
    "transaction.updated": "Paddle transaction.updated",
}


def test_every_captured_event_becomes_what_it_is() -> None:
    """A checkout that was only opened has no customer."""
    with pytest.raises(Rejection, match="user_id, email, vendor_id"):
        _told(PUBLISHED["transaction.created"])
    named = {topic: body for topic, body in PUBLISHED.items() if topic != "transaction.created"}
    assert {topic: "+".join(_told(body)) for topic, body in named.items()} == BECOMES
    for body in named.values():
        for event in events(VENDOR, request(body)):
            parsed(event)


def test_a_first_purchase_is_one_start_and_one_payment() -> None:
    """Of the seven events that Paddle sends of it."""
    of_it = [body for topic, body in PUBLISHED.items() if topic not in ("transaction.created", "subscription.past_due")]
    told = [name for body in of_it for name in _told(body)]

    assert told.count("Subscription Started") == told.count("Invoice Paid") == 1


def test_a_subscription_has_its_traits() -> None:
    """`mrr` is of both items."""
    traits, told = events(VENDOR, request(PUBLISHED["subscription.activated"]))

    assert traits["traits"] == {
        "subscription_status": "active",
        "trial_ends_at": None,
        "renews_at": "2024-10-09T16:01:29.378Z",
        "plan": "AeroEdit Pro",
        "currency": "USD",
        "mrr": 400,
    }
    assert (traits["userId"], traits["timestamp"]) == (CUSTOMER, "2024-09-09T16:01:31.193Z")
    assert told["messageId"] == "paddle:evt_01j7br9m1s4bh0db0sb8n9wfdp"
    assert told["properties"]["price_id"] == "pri_01gsz8x8sawmvhz1pv30nge1ke"


def test_a_transaction_is_told_in_major_units() -> None:
    """They come as text in minor ones."""
    paid = _properties(PUBLISHED["transaction.completed"])
    failed = _properties(PUBLISHED["transaction.payment_failed"])

    expected = {"invoice_id": "inv_01j7br9jq8k57phrbkyehe9kwj", "total": 652.15, "tax": 53.15, "currency": "USD"}
    assert expected.items() <= paid.items()
    assert {"total": 435.49, "reason": "authentication_failed"}.items() <= failed.items()
    yen = {"totals": {"total": "1999", "currency_code": "JPY"}}
    assert _properties(_event("transaction.completed", {"customer_id": "ctm_1", "details": yen}))["total"] == 1999


def test_a_purchase_without_a_subscription_is_an_order() -> None:
    """A card's number that was changed is none; a refund is its order's."""
    bought = {"id": "txn_1", "customer_id": "ctm_1", "subscription_id": None, "origin": "web"}
    changed = {**bought, "subscription_id": "sub_1", "origin": "subscription_payment_method_change"}
    refund = {"transaction_id": "txn_1", "customer_id": "ctm_1", "action": "refund", "status": "approved"}

    assert _told(_event("transaction.completed", bought)) == ["Order Completed"]
    assert _told(_event("transaction.completed", changed)) == ["Paddle transaction.completed"]
    assert _told(_event("adjustment.created", refund)) == ["Order Refunded"]
    assert _properties(_event("adjustment.created", refund)) == {"order_id": "txn_1"}
    assert _told(_event("adjustment.created", {**refund, "action": "chargeback"})) == ["Paddle adjustment.created"]
    assert _told(_event("adjustment.updated", {**refund, "status": "rejected"})) == ["Paddle adjustment.updated"]


def test_a_trial_starts_and_ends_once() -> None:
    """When it becomes paid, or when it is cancelled before it is."""
    items = _items("2026-02-01T00:00:00Z")

    assert _told(_event("subscription.created", _subscription(status="trialing", items=items))) == [
        "Paddle subscription.created"
    ]
    assert _told(_event("subscription.trialing", _subscription(status="trialing", items=items))) == ["Trial Started"]
    assert _told(_event("subscription.activated", _subscription(items=items))) == [
        "Trial Ended",
        "Subscription Started",
    ]
    early = _subscription(status="canceled", items=items, canceled_at="2026-01-15T00:00:00Z")
    late = _subscription(status="canceled", items=items, canceled_at="2026-05-15T00:00:00Z")
    assert _told(_event("subscription.canceled", early)) == ["Trial Ended", "Subscription Canceled"]
    assert _told(_event("subscription.canceled", late)) == ["Subscription Canceled"]
    assert _told(_event("subscription.updated", late)) == ["Paddle subscription.updated"]
    for name in ("paused", "resumed"):
        assert _told(_event(f"subscription.{name}", _subscription())) == [f"Subscription {name.capitalize()}"]


@pytest.mark.parametrize(
    ("now", "status", "renews", "mrr"),
    [
        ({}, "active", True, 400),
        ({"status": "trialing"}, "trialing", True, 0),
        ({"status": "past_due"}, "past_due", True, 400),
        ({"status": "paused", "next_billed_at": None}, "paused", False, 0),
        ({"status": "canceled", "next_billed_at": None}, "canceled", False, 0),
        ({"scheduled_change": {"action": "cancel", "effective_at": "2026-12-01T00:00:00Z"}}, "active", False, 400),
        ({"scheduled_change": {"action": "resume"}}, "active", True, 400),
        ({"items": _items(interval="year")}, "active", True, 25),
        ({"items": _items(frequency=3)}, "active", True, 100),
        ({"items": _items(interval="fortnight")}, "active", True, None),
    ],
)
def test_traits_say_how_a_subscription_stands(now: dict[str, Any], status: str, renews: bool, mrr: int | None) -> None:
    """What doesn't renew has no instant at which it does; what can't be counted is cleared."""
    traits = _traits(_event("subscription.updated", _subscription(**now)))

    assert (traits["subscription_status"], traits["renews_at"] is not None, traits.get("mrr")) == (status, renews, mrr)


def test_only_the_first_activation_is_a_start() -> None:
    """One that is resumed, or whose payment was recovered, is activated again (developer.paddle.com/webhooks/scenarios)."""
    later = {"starts_at": "2024-11-09T16:01:29.378686Z", "ends_at": "2024-12-09T16:01:29.378686Z"}
    resumed = _subscription(current_billing_period=later, items=_items("2024-09-01T00:00:00Z"))

    assert _told(_event("subscription.activated", resumed)) == ["Paddle subscription.activated"]
    assert _told(_event("subscription.activated", _subscription(first_billed_at=None))) == ["Subscription Started"]
    for status in ("paused", "past_due", "canceled"):
        assert _told(_event("subscription.updated", _subscription(status=status))) == ["Paddle subscription.updated"]
    for status in ("active", "trialing"):
        assert _told(_event("subscription.updated", _subscription(status=status))) == ["Subscription Updated"]


def test_a_customer_and_a_subscription_are_one_contact() -> None:
    """The subscription has what the checkout was given, the customer's record the address."""
    data = {"id": "ctm_01j7br89shp7xpaenx22h8qetw", "email": "Sam@Example.com", "name": "Sam", "custom_data": None}
    bodies = [_event("subscription.activated", _subscription()), _event("customer.created", data, NOW_MS + 1)]
    made = [each for body in bodies for each in events(VENDOR, request(body))]

    assert _traits(bodies[1]) == {"email": "Sam@Example.com", "name": "Sam"}
    assert {each.get("anonymousId") for each in made} == {None, CUSTOMER}
    assert in_segment({"trait": "subscription_status", "eq": "active"}, made) == {"u-7"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_older_subscription_never_overwrites_a_newer_one(order: tuple[int, ...]) -> None:
    """In whatever order they arrive."""
    bodies = [
        _event("subscription.trialing", _subscription(status="trialing")),
        _event("subscription.activated", _subscription(), NOW_MS + 1),
        _event("subscription.canceled", _subscription(status="canceled"), NOW_MS + 2),
    ]
    made = [each for at in order for each in events(VENDOR, request(bodies[at]))]

    assert in_segment({"trait": "subscription_status", "eq": "canceled"}, made) == {"u-7"}
    assert in_segment({"trait": "renews_at", "exists": True}, made) == set()


def test_what_cannot_be_told_is_refused_with_the_reason_or_told_as_it_is() -> None:
    """An unknown event has its entity."""
    with pytest.raises(Rejection, match="event_type"):
        VENDOR.read(request({"event_id": "evt_1"}))
    assert _properties(_event("of.tomorrow", {"customer_id": "ctm_1", "a": 1})) == {"customer_id": "ctm_1", "a": 1}
    odd = {"customer_id": "ctm_1", "items": [None], "status": 3, "custom_data": []}
    assert _traits(_event("subscription.updated", odd)) == {}
    assert _properties(_event("transaction.completed", {"customer_id": "ctm_1", "details": None, "payments": {}})) == {}
