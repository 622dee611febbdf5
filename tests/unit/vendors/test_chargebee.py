"""Chargebee's webhooks: whoever has the login sends them, in any order, each with the version of what it tells."""

import copy
import itertools
from typing import Any

import pytest

from schemas.rejected import Rejection
from streams.vendors.chargebee import VENDOR
from streams.vendors.connection import Connection, Path
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request
from tests.unit.vendors.proofs import URL, check_every_byte, doubt, in_segment

LOGIN = "chargebee:a-long-password"
SAMPLE = document("billing/chargebee_sample.json")["cases"][0]
PUBLISHED = {each["event_type"]: each for each in document("billing/chargebee_events.json")["cases"]}
PAYLOADS = [SAMPLE, *PUBLISHED.values()]

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, PAYLOADS, examples=250)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, ["Authorization"], secret=LOGIN)


def _event(type: str, **content: Any) -> dict[str, Any]:
    return {"id": f"ev_{type}", "occurred_at": 1_790_000_000, "event_type": type, "content": content}


def _subscription(**changed: Any) -> dict[str, Any]:
    """Monthly and active; the second product catalogue's."""
    item = {"item_price_id": "pro-EUR-Monthly", "item_type": "plan", "quantity": 2, "unit_price": 950, "amount": 1900}
    made = {"id": "s1", "customer_id": "c1", "status": "active", "currency_code": "EUR", "mrr": 1900, "activated_at": 1}
    return {
        **made,
        "subscription_items": [item],
        "next_billing_at": 1_792_000_000,
        "resource_version": NOW_MS,
        **changed,
    }


def _told(body: Any) -> list[str]:
    return [each["event"] for each in events(VENDOR, request(body)) if each["type"] == "track"]


def _traits(body: Any) -> dict[str, Any]:
    return dict(next((each["traits"] for each in events(VENDOR, request(body)) if "traits" in each), {}))


def _properties(body: Any) -> dict[str, Any]:
    return dict(next(each["properties"] for each in events(VENDOR, request(body)) if each["type"] == "track"))


def test_the_login_is_the_whole_proof() -> None:
    """Whatever body comes with it; one character changed, and it isn't."""
    headers = VENDOR.sign(b"{}", LOGIN, URL, NOW_MS)

    check_every_byte(VENDOR, b"{}", headers, LOGIN, NOW_MS, signed=False)
    assert doubt(VENDOR, b"{}", {"Authorization": "Bearer " + LOGIN}, [LOGIN]) == "wrong_login"


def test_a_login_without_a_password_worth_the_name_is_no_secret() -> None:
    """It says what is expected, and never what it is."""
    assert VENDOR.secret_problem(LOGIN) is None
    for secret in ("chargebee", "chargebee:short", ":a-long-password"):
        assert secret not in (VENDOR.secret_problem(secret) or secret)


def test_a_sample_is_believed_and_read() -> None:
    """As `tidegate connections test` sends it."""
    body = VENDOR.sample(NOW_MS)

    assert doubt(VENDOR, body, VENDOR.sign(body, LOGIN, URL, NOW_MS), [LOGIN]) is None
    assert _told(body) == ["Subscription Started"]


BECOMES = {
    "subscription_created": "Chargebee subscription_created",  # the published one starts two weeks later
    "subscription_trial_end_reminder": "Trial Ending",
    "subscription_activated": "Trial Ended+Subscription Started",
    "subscription_renewed": "Subscription Renewed",
    "subscription_paused": "Subscription Paused",
    "subscription_cancellation_scheduled": "Subscription Cancellation Scheduled",
    "subscription_cancelled": "Subscription Canceled",
    "payment_succeeded": "Invoice Paid",
    "payment_failed": "Payment Failed",
    "payment_refunded": "Order Refunded",
    "customer_changed": "Customer Updated",
}


def test_every_published_event_becomes_what_it_is() -> None:
    """And can be read."""
    assert {type: "+".join(_told(body)) for type, body in PUBLISHED.items()} == BECOMES
    assert _told(SAMPLE) == ["Subscription Started"]
    for body in PAYLOADS:
        for event in events(VENDOR, request(body)):
            parsed(event)


def test_a_subscription_brings_traits_and_links_of_its_customer() -> None:
    """Traits are of the instant at which the object was changed; what happened, of the event's."""
    traits, link, told = events(VENDOR, request(PUBLISHED["subscription_renewed"]))

    assert traits["traits"] == {
        "subscription_status": "active",
        "trial_ends_at": None,
        "renews_at": "2020-11-07T21:32:15.000Z",
        "plan": "pro-monthly",
        "currency": "USD",
        "mrr": 25,
    }
    assert (traits["timestamp"], told["timestamp"]) == ("2020-10-07T20:32:17.750Z", "2020-10-07T20:32:17.000Z")
    assert (link["userId"], link["anonymousId"]) == ("ada@example.com", "chargebee:169yKyRvVEpMaX5Y")
    assert told["messageId"] == "chargebee:ev_16BgPKSClXogU2Eif"
    assert told["properties"]["subscription_id"] == "16CHTSRvVVFWPYD5"


def test_a_payment_is_told_with_its_invoice() -> None:
    """In major units."""
    properties = _properties(PUBLISHED["payment_failed"])

    expected = {
        "invoice_id": "6",
        "total": 10.95,
        "amount_due": 2.24,
        "currency": "USD",
        "reason": "Insufficient funds",
    }
    assert expected.items() <= properties.items()
    refunded = _properties(PUBLISHED["payment_refunded"])
    assert {"order_id": "1", "total": 0.02, "reason": "other"}.items() <= refunded.items()


def test_the_second_product_catalogue_has_its_plan_among_the_items() -> None:
    """Wherever it stands among them."""
    addon = {"item_price_id": "seats-EUR-Monthly", "item_type": "addon", "quantity": 5}
    subscription = _subscription()
    subscription["subscription_items"].insert(0, addon)

    assert _traits(_event("subscription_changed", subscription=subscription))["plan"] == "pro-EUR-Monthly"


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"status": "in_trial"}, ["Trial Started"]),
        ({"status": "active"}, ["Subscription Started"]),
        ({"status": "non_renewing"}, ["Subscription Started"]),
        ({"status": "future"}, ["Chargebee subscription_created"]),
        ({"status": None}, ["Chargebee subscription_created"]),
    ],
)
def test_a_new_subscription_starts_as_what_it_is(now: dict[str, Any], told: list[str]) -> None:
    """One of the future starts when it does; one that is backdated has started."""
    assert _told(_event("subscription_created", subscription=_subscription(**now))) == told
    if told[0] != "Chargebee subscription_created":
        assert _told(_event("subscription_started", subscription=_subscription(**now))) == told
        assert _told(_event("subscription_created_with_backdating", subscription=_subscription(**now))) == told


def test_a_trial_ends_when_it_becomes_paid_or_is_cancelled() -> None:
    """Of one that was paid before, only the subscription is cancelled."""
    trial = {"trial_end": 1_790_000_000}
    unpaid = _subscription(status="cancelled", **trial)
    del unpaid["activated_at"]

    assert _told(_event("subscription_activated", subscription=_subscription(**trial))) == [
        "Trial Ended",
        "Subscription Started",
    ]
    assert _told(_event("subscription_activated", subscription=_subscription(trial_end=None))) == [
        "Subscription Started"
    ]
    assert _told(_event("subscription_cancelled", subscription=unpaid)) == ["Trial Ended", "Subscription Canceled"]
    paid = _subscription(status="cancelled", **trial)
    assert _told(_event("subscription_cancelled", subscription=paid)) == ["Subscription Canceled"]


@pytest.mark.parametrize(
    ("now", "status", "renews", "mrr"),
    [
        ({}, "active", True, 19),
        ({"status": "in_trial"}, "trialing", True, 0),
        ({"status": "in_trial", "cancelled_at": 1_791_000_000}, "trialing", False, 0),
        ({"status": "non_renewing", "cancelled_at": 1_791_000_000}, "active", False, 19),
        ({"due_invoices_count": 2}, "past_due", True, 19),
        ({"due_invoices_count": "many"}, "active", True, 19),
        ({"status": "paused"}, "paused", False, 0),
        ({"status": "cancelled"}, "canceled", False, 0),
        ({"deleted": True}, "canceled", False, 0),
    ],
)
def test_traits_say_how_a_subscription_stands(now: dict[str, Any], status: str, renews: bool, mrr: int) -> None:
    """What doesn't renew has no instant at which it does."""
    traits = _traits(_event("subscription_changed", subscription=_subscription(**now)))

    assert (traits["subscription_status"], traits["renews_at"] is not None, traits["mrr"]) == (status, renews, mrr)


def test_an_invoice_is_paid_once() -> None:
    """By the payment that leaves it paid; what is told beside it keeps another name."""
    invoice = {
        "id": "i1",
        "customer_id": "c1",
        "subscription_id": "s1",
        "total": 1900,
        "currency_code": "EUR",
        "status": "paid",
    }

    assert _told(_event("payment_succeeded", invoice=invoice)) == ["Invoice Paid"]
    assert _told(_event("payment_succeeded", invoice={**invoice, "status": "payment_due"})) == [
        "Chargebee payment_succeeded"
    ]
    assert _told(_event("invoice_updated", invoice=invoice)) == ["Invoice Updated"]
    assert _told(_event("invoice_generated", invoice=invoice)) == ["Invoice Created"]
    del invoice["subscription_id"]
    assert _told(_event("payment_succeeded", invoice=invoice)) == ["Order Completed"]
    assert _properties(_event("payment_succeeded", invoice=invoice))["order_id"] == "i1"


def test_whose_it_is_stands_with_the_customer_or_where_the_connection_says() -> None:
    """The company's own id first."""
    customer = {"id": "c1", "email": " Ada@Example.com ", "meta_data": {"userId": "u-7"}}
    body = _event("customer_created", customer=customer)
    theirs = Connection("here", "chargebee", ("S",), user_ids=(Path("$.content.customer.id"),))

    assert [each.get("anonymousId") for each in events(VENDOR, request(body))] == [
        None,
        "ada@example.com",
        "chargebee:c1",
        None,
    ]
    assert {each["userId"] for each in events(VENDOR, request(body))} == {"u-7"}
    assert {each["userId"] for each in events(VENDOR, request(body), theirs)} == {"c1"}
    custom = _event("customer_created", customer={"id": "c1", "cf_user_id": 7})
    assert {each["userId"] for each in events(VENDOR, request(custom))} == {"7"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_older_version_never_overwrites_a_newer_one(order: tuple[int, ...]) -> None:
    """Though all of them are told in one second, and a payment brings an old subscription along."""
    invoice = {"id": "i1", "subscription_id": "s1", "status": "paid"}
    bodies = [
        _event("subscription_created", subscription=_subscription(status="in_trial", resource_version=NOW_MS)),
        _event("payment_succeeded", subscription=_subscription(resource_version=NOW_MS + 1), invoice=invoice),
        _event("subscription_cancelled", subscription=_subscription(status="cancelled", resource_version=NOW_MS + 2)),
    ]
    made = [each for at in order for each in events(VENDOR, request(bodies[at]))]

    assert in_segment({"trait": "subscription_status", "eq": "canceled"}, made) == {"chargebee:c1"}
    assert in_segment({"trait": "mrr", "gt": 0}, made) == set()


def test_a_repeat_has_the_ids_of_the_first() -> None:
    """Chargebee sends again for two days."""
    body = PUBLISHED["subscription_activated"]
    first, again = (events(VENDOR, request(body, received_at_ms=at_ms)) for at_ms in (NOW_MS, NOW_MS + 86_400_000))

    assert first == again


def test_what_cannot_be_told_is_refused_with_the_reason_or_told_as_it_is() -> None:
    """An unknown event has all that came with it."""
    with pytest.raises(Rejection, match="event_type"):
        VENDOR.read(request({"id": "ev_1"}))
    with pytest.raises(Rejection, match="user_id, email, vendor_id"):
        events(VENDOR, request(_event("coupon_created", coupon={"id": "SAVE"})))
    odd = _event("of_tomorrow", customer={"id": "c1"}, thing={"a": 1})
    assert _properties(odd) == {"customer": {"id": "c1"}, "thing": {"a": 1}}
    emptied = copy.deepcopy(PUBLISHED["payment_failed"])
    emptied["content"] = {"customer": {"id": "c1"}, "invoice": None, "transaction": [], "subscription": "s1"}
    assert _properties(emptied) == {}
