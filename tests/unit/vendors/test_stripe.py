"""Stripe's webhooks: three API versions side by side, one event for one thing, money as Stripe counts it."""

import copy
import json
from typing import Any

import pytest
import stripe as theirs

from streams.vendors.connection import Connection
from streams.vendors.stripe import SIGNATURE, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request, vectors
from tests.unit.vendors.proofs import URL, check_every_byte, doubt, in_segment

VECTOR = vectors("stripe")
CAPTURED = [case["body"] for case in document("billing/stripe_captured.json")["cases"]]
OLDER = document("billing/stripe_events.json")["cases"]
NEWEST = document("billing/stripe_objects_current.json")["resources"]
PAYLOADS = [*CAPTURED, *OLDER]
SECRET = "whsec_of_tests"
CUSTOMER = "stripe:cus_NSPHp4fOlXGw8P"

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, PAYLOADS, examples=250)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def _event(
    type: str, thing: Any, created: int = 1_790_000_000, before: Any = None, id: str | None = None
) -> dict[str, Any]:
    data = {"object": thing} if before is None else {"object": thing, "previous_attributes": before}
    return {"id": id or f"evt_{type}_{created}", "object": "event", "type": type, "created": created, "data": data}


def _subscription(**changed: Any) -> dict[str, Any]:
    """One of 2022, active, ten seats at 7.00 a month."""
    (body,) = (each for each in CAPTURED if each["type"] == "customer.subscription.created")
    made = {**copy.deepcopy(body["data"]["object"]), "status": "active", "trial_start": None, "trial_end": None}
    return {**made, "metadata": {"user_id": "u-7"}, **changed}


def _told(body: Any, connection: Connection | None = None) -> list[str]:
    return [each["event"] for each in events(VENDOR, request(body), connection) if each["type"] == "track"]


def _properties(body: Any) -> dict[str, Any]:
    (found,) = [each["properties"] for each in events(VENDOR, request(body)) if each["type"] == "track"]
    return dict(found)


def _traits(body: Any) -> dict[str, Any]:
    return dict(next((each["traits"] for each in events(VENDOR, request(body)) if "traits" in each), {}))


def test_the_vector_is_believed_and_no_byte_of_it_may_change() -> None:
    """Nor may its time."""
    check_every_byte(VENDOR, VECTOR["body"].encode(), VECTOR["headers"], VECTOR["secret"], 1_700_000_000_000)


def test_a_request_is_believed_for_five_minutes() -> None:
    """Either way; what was signed wrongly is wrong before it is old."""
    body, headers = VECTOR["body"].encode(), VECTOR["headers"]
    signed_ms = 1_700_000_000_000

    assert doubt(VENDOR, body, headers, [VECTOR["secret"]], signed_ms + 300_000) is None
    assert doubt(VENDOR, body, headers, [VECTOR["secret"]], signed_ms + 300_001) == "old"
    assert doubt(VENDOR, body, headers, [VECTOR["secret"]], signed_ms - 300_001) == "old"
    assert doubt(VENDOR, body, headers, ["whsec_another"], signed_ms + 300_001) == "wrong_signature"


def test_any_of_several_signatures_counts_but_none_of_the_old_scheme() -> None:
    """`v1` comes twice while a secret is rolled; `v0` is signed with something that everybody may know."""
    now, wrong = VENDOR.sign(b"{}", SECRET, URL, NOW_MS)[SIGNATURE], "0" * 64
    t, v1 = now.split(",")

    assert doubt(VENDOR, b"{}", {SIGNATURE: f"{t},v1={wrong},{v1}"}, [SECRET]) is None
    assert doubt(VENDOR, b"{}", {SIGNATURE: f"{t},v0={v1[3:]}"}, [SECRET]) == "wrong_signature"
    assert doubt(VENDOR, b"{}", {SIGNATURE: v1}, [SECRET]) == "wrong_signature"


@pytest.mark.parametrize("change", ["", "body", "secret", "signature", "time"])
def test_stripes_own_library_believes_what_we_believe(change: str) -> None:
    """Ours is written out because theirs takes 170 ms and 22 MiB to import."""
    body = '{"id":"evt_1","object":"event","name":"Grüße"}'
    signed_at = NOW_MS // 1000
    headers = VENDOR.sign(body.encode(), SECRET, URL, NOW_MS)
    if change == "body":
        body += " "
    if change == "signature":
        headers = {SIGNATURE: headers[SIGNATURE][:-1] + ("0" if headers[SIGNATURE][-1] != "0" else "1")}
    if change == "time":
        headers = {SIGNATURE: headers[SIGNATURE].replace(str(signed_at), str(signed_at + 1))}
    secret = SECRET + "x" if change == "secret" else SECRET
    try:
        believed = theirs.WebhookSignature.verify_header(body, headers[SIGNATURE], secret)
    except theirs.SignatureVerificationError:
        believed = False

    assert (doubt(VENDOR, body.encode(), headers, [secret]) is None) == believed == (change == "")


def test_a_sample_is_believed_and_read() -> None:
    """As `tidegate connections test` sends it."""
    body = VENDOR.sample(NOW_MS)

    assert doubt(VENDOR, body, VENDOR.sign(body, SECRET, URL, NOW_MS), [SECRET]) is None
    assert _told(body) == ["Subscription Started"]


NOBODYS = (
    "price.",
    "product.",
    "setup_intent.",
    "payment_link.",
    "charge.",
    "payment_intent.",
    "payment_method.detached",
)
BECOMES = {
    "customer.created": "Customer Created",
    "customer.updated": "Customer Updated",
    "customer.deleted": "Customer Deleted",
    "customer.subscription.created": ("Subscription Started", "Trial Started"),
    "customer.subscription.deleted": "Subscription Canceled",
    "customer.subscription.trial_will_end": "Trial Ending",
    "customer.subscription.updated": "Subscription Updated",
    "invoice.created": "Invoice Created",
    "invoice.finalized": "Invoice Finalized",
    "invoice.paid": "Invoice Paid",
    "invoice.payment_action_required": "Payment Action Required",
    "invoice.payment_failed": "Payment Failed",
    "invoice.payment_succeeded": "Stripe invoice.payment_succeeded",
    "invoice.upcoming": "Invoice Upcoming",
    "invoice.updated": "Stripe invoice.updated",
    "checkout.session.completed": ("Order Completed", "Stripe checkout.session.completed"),
    "payment_method.attached": "Stripe payment_method.attached",
}


@pytest.mark.parametrize("body", PAYLOADS, ids=lambda body: f"{body.get('api_version')}-{body['type']}")
def test_every_published_event_becomes_what_it_is(body: dict[str, Any]) -> None:
    """Those of nobody are named by a connection, as anybody's metadata can."""
    if body["type"].startswith(NOBODYS) or body["data"]["object"].get("mode") == "setup":
        connection = Connection("here", "stripe", ("S",), contact=("user_id", "vendor_id"))
        body = copy.deepcopy(body)
        body["data"]["object"]["metadata"] = {"user_id": "u-7"}
        named = {"charge.refunded": "Order Refunded", "payment_intent.payment_failed": "Payment Failed"}
        assert _told(body, connection) == [named.get(body["type"], f"Stripe {body['type']}")]
        return
    (told,) = _told(body)
    assert told in BECOMES[body["type"]]
    for event in events(VENDOR, request(body)):
        parsed(event)


def test_a_trial_of_2022_has_its_traits() -> None:
    """The period's end stands on the subscription there."""
    (body,) = (each for each in CAPTURED if each["type"] == "customer.subscription.created")
    identify, told = events(VENDOR, request(body))

    expected = {
        "subscription_status": "trialing",
        "trial_ends_at": "2023-04-02T09:06:59.000Z",
        "renews_at": "2023-04-02T09:06:59.000Z",
        "plan": "price_1M3wjkE0b6fckueSKPgfRMSG",
        "currency": "USD",
        "mrr": 0,
    }
    assert identify["traits"] == expected
    assert (identify["userId"], identify["timestamp"]) == ("stripe:cus_NSPOMxl5eL01qM", "2023-03-03T09:07:00.000Z")
    assert (told["event"], told["messageId"]) == ("Trial Started", "stripe:evt_1MhUZtE0b6fckueSDaOf1oJ8")
    assert told["properties"]["quantity"] == 10


def test_a_subscription_of_2020_has_its_traits() -> None:
    """`plan` is an object on the item and beside it."""
    (body,) = (each for each in OLDER if each["type"] == "customer.subscription.created")

    assert _traits(body) == {
        "subscription_status": "active",
        "trial_ends_at": None,
        "renews_at": "2022-04-26T18:41:50.000Z",
        "plan": "price_000000000000000000000000",
        "currency": "USD",
        "mrr": 15,
    }


def test_a_subscription_of_the_newest_version_renews_when_its_items_do() -> None:
    """There the period stands on the items alone; the earliest of them counts."""
    newest = {**copy.deepcopy(NEWEST["subscription"]), "pause_collection": None, "cancel_at": None, "trial_end": None}
    newest["cancel_at_period_end"] = False
    first = newest["items"]["data"][0]
    newest["items"]["data"] = [
        {**first, "current_period_end": 1_800_000_000},
        {**first, "current_period_end": 1_799_000_000},
    ]
    assert "current_period_end" not in newest

    assert _traits(_event("customer.subscription.updated", newest)) == {
        "subscription_status": "active",
        "trial_ends_at": None,
        "renews_at": "2027-01-03T18:13:20.000Z",
        "plan": "price_1PgafmB7WZ01zgkW6dKueIc5",
        "currency": "USD",
        "mrr": 40,
    }


def test_an_invoice_of_the_newest_version_names_its_subscription() -> None:
    """It has neither `subscription` nor `paid`, and the price's id alone."""
    invoice = copy.deepcopy(NEWEST["invoice"])
    invoice["parent"]["subscription_details"] = {"subscription": "sub_1", "metadata": {"user_id": "u-7"}}
    invoice["lines"]["data"][0]["pricing"] = {"type": "price_details", "price_details": {"price": "price_1"}}
    made = events(VENDOR, request(_event("invoice.paid", invoice)))

    properties = made[-1]["properties"]
    assert made[-1]["userId"] == "u-7"
    assert made[-1]["event"] == "Invoice Paid"
    assert (properties["subscription_id"], properties["plan"], properties["total"]) == ("sub_1", "price_1", 10)


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("customer.updated", "Customer Updated"),
        ("customer.subscription.updated", "Subscription Updated"),
        ("invoice.paid", "Invoice Paid"),
        ("charge.refunded", "Order Refunded"),
        ("charge.succeeded", "Stripe charge.succeeded"),
        ("refund.created", "Stripe refund.created"),
        ("payment_intent.succeeded", "Stripe payment_intent.succeeded"),
        ("payment_intent.payment_failed", "Stripe payment_intent.payment_failed"),
        ("checkout.session.completed", "Order Completed"),
        ("price.updated", "Stripe price.updated"),
    ],
)
def test_an_object_of_the_newest_version_becomes_what_it_is(type: str, told: str) -> None:
    """With somebody's id in its metadata, as most of the published ones are nobody's."""
    kind = {"customer.subscription": "subscription"}.get(type.rpartition(".")[0], type.rpartition(".")[0])
    thing = {**copy.deepcopy(NEWEST[kind]), "metadata": {"user_id": "u-7"}}
    if kind == "checkout.session":
        thing["payment_status"] = "paid"
    made = events(VENDOR, request(_event(type, thing)))

    assert [each["event"] for each in made if each["type"] == "track"] == [told]
    for event in made:
        assert parsed(event).contact == "u-7"


def test_a_record_links_its_names_once() -> None:
    """However often it is told: the same two names are the same message."""
    bodies = [each for each in CAPTURED if each["type"] in ("customer.created", "customer.updated")]
    links = [each for body in bodies for each in events(VENDOR, request(body)) if "anonymousId" in each]

    assert [(each["userId"], each["anonymousId"]) for each in links] == [("hook@me.com", CUSTOMER)] * 2
    assert len({each["messageId"] for each in links}) == 1


def test_events_before_and_after_the_link_are_one_contacts() -> None:
    """A subscription names the customer alone; whoever it is, is learned from the customer's record."""
    customer = {"id": "cus_9", "email": "Ada@Example.com", "metadata": {"userId": 7}}
    bodies = [
        _event("customer.subscription.created", _subscription(customer="cus_9", metadata={})),
        _event("customer.created", customer, 1_790_000_001),
    ]
    made = [each for body in bodies for each in events(VENDOR, request(body))]

    assert in_segment({"trait": "subscription_status", "eq": "active"}, made) == {"7"}


def test_an_address_typed_at_a_checkout_names_nobody_who_is_named_by_metadata() -> None:
    """Or somebody who buys would have another's address linked to himself."""
    session = {"mode": "subscription", "customer": "cus_9", "customer_details": {"email": "victim@example.com"}}
    named = events(VENDOR, request(_event("checkout.session.completed", {**session, "metadata": {"user_id": "u-7"}})))
    ours = events(
        VENDOR,
        request(
            _event(
                "checkout.session.completed", {**session, "metadata": {"user_id": "u-7"}, "customer_email": "u7@x.org"}
            )
        ),
    )
    guest = events(VENDOR, request(_event("checkout.session.completed", session)))

    assert [(each["userId"], each.get("anonymousId")) for each in named] == [("u-7", "stripe:cus_9"), ("u-7", None)]
    assert [each.get("anonymousId") for each in ours] == ["u7@x.org", "stripe:cus_9", None]
    assert [each.get("userId") for each in guest] == ["victim@example.com"] * 2


def test_an_address_in_a_cards_form_names_only_who_has_no_other_name() -> None:
    """It may be an accountant's."""
    charge = {"id": "ch_1", "billing_details": {"email": "accountant@example.com"}}
    for named, contact in (
        ({}, "accountant@example.com"),
        ({"receipt_email": "ada@example.com"}, "ada@example.com"),
        ({"customer": "cus_9"}, "stripe:cus_9"),
        ({"customer": {"id": "cus_9", "email": "ada@example.com"}}, "ada@example.com"),
        ({"metadata": {"user_id": "u-7"}}, "u-7"),
    ):
        made = events(VENDOR, request(_event("charge.succeeded", {**charge, **named})))
        assert {each["userId"] for each in made} == {contact}
        assert "accountant@example.com" not in [each.get("anonymousId") for each in made]


UPDATES = [
    ({}, {"current_period_end": 1}, ["Subscription Updated"]),
    ({"current_period_start": 5}, {"current_period_end": 5, "current_period_start": 1}, ["Subscription Renewed"]),
    ({"current_period_start": 9}, {"current_period_end": 5, "current_period_start": 1}, ["Subscription Updated"]),
    (
        {"current_period_start": None, "items": {"data": [{"current_period_start": 5}]}},
        {"items": {"data": [{"current_period_end": 5}]}},
        ["Subscription Renewed"],
    ),
    ({}, {"status": "trialing"}, ["Trial Ended", "Subscription Started"]),
    ({"status": "paused"}, {"status": "trialing"}, ["Trial Ended"]),
    ({}, {"status": "incomplete"}, ["Subscription Started"]),
    ({"status": "trialing"}, {"status": "incomplete"}, ["Trial Started"]),
    ({"status": "incomplete_expired"}, {"status": "incomplete"}, ["Stripe customer.subscription.updated"]),
    ({"pause_collection": {"behavior": "void"}}, {"pause_collection": None}, ["Subscription Paused"]),
    ({}, {"pause_collection": {"behavior": "void"}}, ["Subscription Resumed"]),
    ({"status": "past_due"}, {"status": "active"}, ["Subscription Updated"]),
    ({"cancel_at_period_end": True}, {"cancel_at_period_end": False}, ["Subscription Updated"]),
]


@pytest.mark.parametrize(("now", "before", "told"), UPDATES, ids=lambda each: str(each))
def test_an_update_is_told_as_what_changed(now: dict[str, Any], before: dict[str, Any], told: list[str]) -> None:
    """Each of several as an event of its own, with ids that a repeat has as well."""
    body = _event("customer.subscription.updated", _subscription(**now), before=before)
    ids = [each["messageId"] for each in events(VENDOR, request(body))]

    assert _told(body) == told
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("now", "status", "renews", "mrr"),
    [
        ({}, "active", True, 70),
        ({"status": "past_due"}, "past_due", True, 70),
        ({"status": "unpaid"}, "past_due", True, 70),
        ({"status": "trialing"}, "trialing", True, 0),
        ({"status": "paused"}, "paused", False, 0),
        ({"pause_collection": {"behavior": "void"}}, "paused", False, 0),
        ({"status": "canceled"}, "canceled", False, 0),
        ({"cancel_at_period_end": True}, "active", False, 70),
        ({"cancel_at": 1_900_000_000}, "active", False, 70),
    ],
)
def test_traits_say_how_a_subscription_stands(now: dict[str, Any], status: str, renews: bool, mrr: int) -> None:
    """What doesn't renew has no instant at which it does."""
    traits = _traits(_event("customer.subscription.updated", _subscription(**now)))

    assert (traits["subscription_status"], traits["renews_at"] is not None, traits["mrr"]) == (status, renews, mrr)
    assert traits["plan"] == "price_1M3wjkE0b6fckueSKPgfRMSG"


def test_a_subscription_that_never_began_sets_nothing() -> None:
    """It waits for its first payment, or has given up waiting."""
    for status in ("incomplete", "incomplete_expired", "of_tomorrow", None, 3):
        body = _event("customer.subscription.created", _subscription(status=status))

        assert _traits(body) == {}
        assert _told(body) == ["Stripe customer.subscription.created"]


def test_a_trial_that_is_cancelled_has_ended() -> None:
    """One that was cancelled after it hasn't ended with that."""
    ended = _subscription(status="canceled", trial_end=1_790_000_000, ended_at=1_789_000_000)
    later = _subscription(status="canceled", trial_end=1_788_000_000, ended_at=1_789_000_000)

    assert _told(_event("customer.subscription.deleted", ended)) == ["Trial Ended", "Subscription Canceled"]
    assert _told(_event("customer.subscription.deleted", later)) == ["Subscription Canceled"]
    assert _traits(_event("customer.subscription.deleted", ended))["trial_ends_at"] is None


@pytest.mark.parametrize(
    ("price", "quantity", "mrr"),
    [
        ({"unit_amount": 12_000, "recurring": {"interval": "year", "interval_count": 1}}, 1, 10),
        ({"unit_amount": 1_000, "recurring": {"interval": "year", "interval_count": 1}}, 1, 0.83),
        ({"unit_amount": 3_000, "recurring": {"interval": "month", "interval_count": 3}}, 2, 20),
        ({"unit_amount": 300, "recurring": {"interval": "week", "interval_count": 1}}, 1, 13),
        ({"unit_amount": 100, "recurring": {"interval": "day", "interval_count": 1}}, 1, 30.42),
        ({"unit_amount_decimal": "0.5", "recurring": {"interval": "month", "interval_count": 1}}, 1000, 5),
        ({"unit_amount": 9, "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered"}}, 1, 0),
        (
            {"unit_amount": None, "billing_scheme": "tiered", "recurring": {"interval": "month", "interval_count": 1}},
            1,
            None,
        ),
        ({"unit_amount": 10**90, "recurring": {"interval": "month", "interval_count": 1}}, 10**90, 1e178),
        ({"unit_amount": 9, "recurring": {"interval": "month", "interval_count": 0}}, 1, None),
    ],
)
def test_what_is_paid_is_counted_by_the_month(price: dict[str, Any], quantity: int, mrr: float | None) -> None:
    """To the cent; where it can't be said, what it was before is cleared."""
    item = {"price": {"id": "price_1", **price}, "quantity": quantity}
    body = _event("customer.subscription.updated", _subscription(items={"data": [item]}))

    assert _traits(json.dumps(body).encode())["mrr"] == mrr


def test_what_is_paid_for_more_items_than_an_event_has_is_not_guessed() -> None:
    """Of many, Stripe puts the first ones into it."""
    item = {"price": {"id": "price_1", "unit_amount": 900, "recurring": {"interval": "month", "interval_count": 1}}}
    body = _event("customer.subscription.updated", _subscription(items={"data": [item], "has_more": True}))

    assert _traits(json.dumps(body).encode())["mrr"] is None


def test_the_0_of_a_trial_doesnt_outlast_it() -> None:
    """Where what is paid then has tiers, so that nobody knows how much it is."""
    tiered = {"price": {"id": "price_1", "billing_scheme": "tiered", "recurring": {"interval": "month"}}, "quantity": 1}
    made = [
        event
        for at, status in enumerate(("trialing", "active"))
        for event in events(
            VENDOR,
            request(
                _event(
                    "customer.subscription.updated",
                    _subscription(items={"data": [tiered]}, status=status),
                    id=f"evt_{status}",
                    created=NOW_MS // 1000 + at,
                )
            ),
        )
    ]

    assert in_segment({"trait": "mrr", "eq": 0}, made[: len(made) // 2]) != set()
    assert in_segment({"trait": "mrr", "eq": 0}, made) == set()


@pytest.mark.parametrize(
    ("currency", "total"),
    [
        ("eur", 19.99),
        ("jpy", 1999),
        ("ISK", 19.99),
        ("ugx", 19.99),
        ("mga", 1999),
        ("kwd", 1.999),
        ("huf", 19.99),
        (None, 19.99),
    ],
)
def test_money_is_in_major_units_as_stripe_counts_minor_ones(currency: str | None, total: float) -> None:
    """Which isn't as ISO 4217 does: ISK and UGX come as hundredths that they don't have."""
    properties = _properties(
        _event("invoice.paid", {"id": "in_1", "customer": "cus_9", "total": 1999, "currency": currency})
    )

    assert properties["total"] == total
    assert properties.get("currency") == (currency and currency.upper())


def test_a_checkout_is_an_order_once_it_is_paid() -> None:
    """At once, or when a bank's transfer has come; a subscription's is none."""
    session = {"id": "cs_1", "mode": "payment", "customer": "cus_9", "amount_total": 2500, "currency": "eur"}
    unpaid = {**session, "payment_status": "unpaid", "payment_intent": "pi_1"}
    paid = {**session, "payment_status": "paid", "payment_intent": {"id": "pi_1"}}

    assert _told(_event("checkout.session.completed", unpaid)) == ["Stripe checkout.session.completed"]
    assert _told(_event("checkout.session.expired", unpaid)) == ["Stripe checkout.session.expired"]
    assert _told(_event("checkout.session.async_payment_failed", unpaid)) == [
        "Stripe checkout.session.async_payment_failed"
    ]
    for body in (
        _event("checkout.session.async_payment_succeeded", unpaid),
        _event("checkout.session.completed", paid),
    ):
        assert _told(body) == ["Order Completed"]
        assert _properties(body) == {"order_id": "pi_1", "checkout_id": "cs_1", "total": 25, "currency": "EUR"}
    subscribed = _event("checkout.session.completed", {**paid, "mode": "subscription"})
    assert _told(subscribed) == ["Stripe checkout.session.completed"]


def test_a_refund_is_of_what_was_given_back_now_and_of_its_order() -> None:
    """The charge has what was given back in all."""
    charge = {"id": "ch_1", "customer": "cus_9", "payment_intent": "pi_1", "currency": "eur", "amount_refunded": 700}
    body = _event("charge.refunded", {**charge, "refunded": False}, before={"amount_refunded": 500})

    assert _properties(body) == {
        "order_id": "pi_1",
        "charge_id": "ch_1",
        "total": 2,
        "currency": "EUR",
        "refunded_in_full": False,
    }


def test_a_payment_intent_fails_for_itself_only_where_it_says_that_it_has_no_invoice() -> None:
    """An invoice's failure is told by the invoice."""
    intent = {
        "id": "pi_1",
        "customer": "cus_9",
        "amount": 100,
        "currency": "eur",
        "last_payment_error": {"code": "card_declined"},
    }

    assert _told(_event("payment_intent.payment_failed", {**intent, "invoice": None})) == ["Payment Failed"]
    assert _told(_event("payment_intent.payment_failed", {**intent, "invoice": "in_1"})) == [
        "Stripe payment_intent.payment_failed"
    ]
    assert _told(_event("payment_intent.payment_failed", intent)) == ["Stripe payment_intent.payment_failed"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_an_older_subscription_never_overwrites_a_newer_one(order: tuple[int, ...]) -> None:
    """In whatever order they arrive, the traits are those of the one that Stripe made last."""
    bodies = [
        _event("customer.subscription.created", _subscription(status="trialing"), 1_790_000_000),
        _event("customer.subscription.updated", _subscription(), 1_790_000_060),
        _event(
            "customer.subscription.deleted", _subscription(status="canceled", ended_at=1_790_000_120), 1_790_000_120
        ),
    ]
    made = [each for at in order for each in events(VENDOR, request(bodies[at]))]

    assert in_segment({"trait": "subscription_status", "eq": "canceled"}, made) == {"u-7"}
    assert in_segment({"trait": "mrr", "gt": 0}, made) == set()
    assert in_segment({"trait": "renews_at", "exists": True}, made) == set()


def test_a_repeat_has_the_ids_of_the_first() -> None:
    """So that it changes nothing."""
    body = _event("customer.subscription.created", _subscription())
    first, again = (events(VENDOR, request(body, received_at_ms=at_ms)) for at_ms in (NOW_MS, NOW_MS + 3_600_000))

    assert first == again


def test_a_ping_is_nothing() -> None:
    """As published (https://docs.stripe.com/api/v2/core/events/ping)."""
    ping = {"id": "evt_test_1", "object": "v2.core.event", "created": "2024-10-22T16:26:54.063Z", "data": None}

    assert VENDOR.read(request({**ping, "type": "v2.core.event_destination.ping"})) == []


@pytest.mark.parametrize("body", [b'{"object":"event"}', b'{"type":null}', b'{"type":{"a":1}}'])
def test_an_event_without_a_type_is_refused_with_the_reason(body: bytes) -> None:
    """It can't be told what happened."""
    with pytest.raises(hostile.Rejection, match="`type`"):
        VENDOR.read(request(body))


def test_what_is_missing_or_of_a_wrong_type_is_left_out() -> None:
    """And the rest is told."""
    odd = {
        "id": None,
        "customer": "cus_9",
        "items": None,
        "status": "active",
        "currency": 3,
        "current_period_end": "soon",
    }
    body = _event("customer.subscription.created", odd)

    assert _traits(body) == {"subscription_status": "active", "mrr": None, "trial_ends_at": None, "renews_at": None}
    assert (
        _properties(_event("invoice.paid", {"customer": "cus_9", "total": "lots", "lines": [], "currency": ""})) == {}
    )
    assert _told(_event("of.tomorrow", {"customer": "cus_9"})) == ["Stripe of.tomorrow"]
