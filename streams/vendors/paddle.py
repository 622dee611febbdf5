"""Paddle Billing: customers, subscriptions, transactions and refunds. (Paddle Classic is another product with other webhooks.)

Page: https://developer.paddle.com/webhooks/overview. Paddle is told the URL of the connection (Developer tools, Notifications)
and shows the destination's secret key (`pdl_ntfset_…`), which is the connection's. Events worth choosing: `customer.*`,
`subscription.*`, `transaction.completed`, `transaction.payment_failed`, `adjustment.*`.

* Proof: `Paddle-Signature`, the HMAC-SHA256 of `ts:body` in each `h1`; several while a key is rotated.
* Contact: `user_id` (or `userId`) in `custom_data`, which a checkout copies into its transaction and subscription; else the
  e-mail address of the customer's record; else the customer (`paddle:ctm_…`). These are linked. What a page hands to Paddle.js as
  `customData` its visitor can change: whoever minds creates transactions on a server, or says `contact: [vendor_id]`.
* Order: `occurred_at`.
* Replays: 5 s, as Paddle's own libraries have it (each try is signed anew), so that the machine's clock has to be right; and
  `event_id`, which repeats have as well.
* One thing, one event: of a new subscription, `Subscription Started` is `subscription.activated` in its first billing period (a
  resumed one and one whose payment was recovered are activated as well) and `Trial Started` `subscription.trialing` (not
  `subscription.created`); `Invoice Paid` is `transaction.completed` of a subscription, `Order Completed` one of none (not
  `transaction.paid`); `Order Refunded` a refund once it is approved. `subscription.updated` comes with every change of status and
  is `Subscription Updated` only of an active one or a trial. A trial that becomes paid is `Trial Ended` and `Subscription
  Started`.
* `plan` is the product's name, else the price's, else the product's id, of the first item. What is to be cancelled or paused has
  no `renews_at`. `mrr`: of the items' prices, without discounts and taxes.
"""

import decimal
from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.instants import DAY_MS, format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.billing import monthly, recurring, subscription_traits
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import SECOND_MS, DatedHmac
from streams.vendors.values import (
    at,
    code_of,
    exact_number,
    iso,
    json_object,
    major,
    mapping,
    objects,
    present,
    written,
)

SIGNATURE: Final = "Paddle-Signature"
_SCHEME: Final = DatedHmac(SIGNATURE, ";", "ts", "h1", b":")
AGE_MS_MAX: Final = 5 * SECOND_MS

_STATUSES: Final = {
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "paused": "paused",
    "canceled": "canceled",
}
_CUSTOMER_EVENTS: Final = {
    "customer.created": "Customer Created",
    "customer.imported": "Customer Created",
    "customer.updated": "Customer Updated",
}
_SUBSCRIPTION_EVENTS: Final = {
    "subscription.trialing": "Trial Started",
    "subscription.past_due": "Subscription Past Due",
    "subscription.paused": "Subscription Paused",
    "subscription.resumed": "Subscription Resumed",
}
# a transaction that takes a card's number and no money
_NO_PURCHASE: Final = "subscription_payment_method_change"


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """`ts=` and one or more `h1=`; raises `Unproved`."""
    _SCHEME.prove(request, secrets, now_ms, AGE_MS_MAX)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`."""
    return _SCHEME.sign(body, secret, now_ms)


def read(request: Request) -> list[Notification]:
    """The one event of a body."""
    body = json_object(request.body)
    name = text_of(body.get("event_type"))
    if name is None:
        raise Rejection(Reason.MISSING_FIELD, "expected an event of Paddle's with an `event_type`, got none")
    return [Notification(name, text_of(body.get("event_id")), iso(body.get("occurred_at")), body)]


def mean(notification: Notification) -> Meaning:
    """What the event's entity is now; an event of another kind is told with its entity."""
    name, data = notification.name, mapping(notification.body.get("data"))
    if name in _CUSTOMER_EVENTS:
        return _customer(name, data)
    if name.startswith("subscription."):
        return _subscription(name, data)
    told: Said | None = None
    if name == "transaction.completed" and data.get("origin") != _NO_PURCHASE:
        told = Said("Invoice Paid" if text_of(data.get("subscription_id")) else "Order Completed", _transaction(data))
    elif name == "transaction.payment_failed":
        told = Said("Payment Failed", _transaction(data))
    elif name.startswith("adjustment.") and data.get("action") == "refund" and data.get("status") == "approved":
        told = Said("Order Refunded", _refund(data))
    return Meaning(_names(data), (told,) if told else (), data, links=True)


def _names(data: dict[str, Any]) -> Names:
    """Of whom an entity is that isn't a customer's record; that is there as a whole in few."""
    customer = mapping(data.get("customer"))
    return Names(
        user_id=user_id_in(data.get("custom_data")) or user_id_in(customer.get("custom_data")),
        email=text_of(customer.get("email")),
        vendor_id=text_of(data.get("customer_id")) or text_of(customer.get("id")),
    )


def _customer(name: str, customer: dict[str, Any]) -> Meaning:
    email, full_name = text_of(customer.get("email")), text_of(customer.get("name"))
    names = Names(user_id_in(customer.get("custom_data")), email, text_of(customer.get("id")))
    properties = present(
        customer_id=names.vendor_id, email=email, name=full_name, marketing_consent=customer.get("marketing_consent")
    )
    said = (Said(_CUSTOMER_EVENTS[name], properties),)
    return Meaning(names, said, traits=present(email=email, name=full_name), links=True)


def _subscription(name: str, subscription: dict[str, Any]) -> Meaning:
    items = objects(subscription.get("items"))
    currency = code_of(subscription.get("currency_code"))
    trial_ends = (iso(at(each, "trial_dates", "ends_at")) for each in items)
    trial_ends_at_ms = max((each for each in trial_ends if each is not None), default=None)
    change = mapping(subscription.get("scheduled_change"))
    ends = change.get("action") in ("cancel", "pause")
    traits = subscription_traits(
        _STATUSES.get(text_of(subscription.get("status")) or ""),
        plan=_plan(items),
        currency=currency,
        mrr=recurring(map(_monthly, items), currency) if items else None,
        trial_ends_at_ms=trial_ends_at_ms,
        renews_at_ms=None if ends else iso(subscription.get("next_billed_at")),
    )
    properties = present(
        subscription_id=text_of(subscription.get("id")),
        plan=_plan(items),
        product_id=text_of(at(items, 0, "product", "id")) or text_of(at(items, 0, "price", "product_id")),
        price_id=text_of(at(items, 0, "price", "id")),
        quantity=at(items, 0, "quantity"),
        currency=currency,
        status=subscription.get("status"),
        mrr=traits.get("mrr"),
        trial_ends_at=written(trial_ends_at_ms),
        renews_at=traits.get("renews_at"),
        ends_at=written(iso(change.get("effective_at"))) if ends else None,
        order_id=text_of(subscription.get("transaction_id")),
    )
    said = tuple(Said(each, properties) for each in _happened(name, subscription, trial_ends_at_ms))
    return Meaning(_names(subscription), said, subscription, traits, links=True)


def _happened(name: str, subscription: dict[str, Any], trial_ends_at_ms: int | None) -> list[str]:
    """What an event of a subscription stands for."""
    if name in _SUBSCRIPTION_EVENTS:
        return [_SUBSCRIPTION_EVENTS[name]]
    if name == "subscription.activated":
        if not _is_first(subscription):
            return []
        return ["Subscription Started"] if trial_ends_at_ms is None else ["Trial Ended", "Subscription Started"]
    if name == "subscription.canceled":
        ended_ms = iso(subscription.get("canceled_at"))
        in_trial = trial_ends_at_ms is not None and ended_ms is not None and ended_ms <= trial_ends_at_ms
        return ["Trial Ended", "Subscription Canceled"] if in_trial else ["Subscription Canceled"]
    if name == "subscription.updated" and subscription.get("status") in ("active", "trialing"):
        return ["Subscription Updated"]
    return []


def _is_first(subscription: dict[str, Any]) -> bool:
    """Whether a subscription is in the period that it was billed for first; no period is shorter than a day."""
    first_ms = iso(subscription.get("first_billed_at"))
    period_ms = iso(at(subscription, "current_billing_period", "starts_at"))
    return first_ms is None or period_ms is None or period_ms - first_ms < DAY_MS


def _plan(items: list[dict[str, Any]]) -> str | None:
    paths = (("product", "name"), ("price", "name"), ("product", "id"), ("price", "product_id"))
    return next((found for path in paths if (found := text_of(at(items, 0, *path)))), None)


def _monthly(item: dict[str, Any]) -> decimal.Decimal | None:
    """Minor units a month; nothing for what is paid once."""
    if item.get("recurring") is False:
        return decimal.Decimal(0)
    unit, quantity = exact_number(at(item, "price", "unit_price", "amount")), exact_number(item.get("quantity", 1))
    each = None if unit is None or quantity is None else unit * quantity
    cycle = mapping(at(item, "price", "billing_cycle"))
    return monthly(each, cycle.get("interval"), exact_number(cycle.get("frequency")))


def _transaction(transaction: dict[str, Any]) -> dict[str, Any]:
    totals = mapping(at(transaction, "details", "totals"))
    currency = code_of(totals.get("currency_code")) or code_of(transaction.get("currency_code"))
    lines = objects(at(transaction, "details", "line_items"))
    attempts = objects(transaction.get("payments"))
    return present(
        order_id=text_of(transaction.get("id")),
        invoice_id=text_of(transaction.get("invoice_id")),
        invoice_number=text_of(transaction.get("invoice_number")),
        subscription_id=text_of(transaction.get("subscription_id")),
        plan=text_of(at(lines, 0, "product", "name")),
        total=major(totals.get("total"), currency),
        subtotal=major(totals.get("subtotal"), currency),
        tax=major(totals.get("tax"), currency),
        discount=major(totals.get("discount"), currency),
        currency=currency,
        origin=transaction.get("origin"),
        # the latest try comes first
        reason=at(attempts, 0, "error_code"),
    )


def _refund(adjustment: dict[str, Any]) -> dict[str, Any]:
    totals = mapping(adjustment.get("totals"))
    currency = code_of(totals.get("currency_code")) or code_of(adjustment.get("currency_code"))
    return present(
        order_id=text_of(adjustment.get("transaction_id")),
        refund_id=text_of(adjustment.get("id")),
        subscription_id=text_of(adjustment.get("subscription_id")),
        total=major(totals.get("total"), currency),
        tax=major(totals.get("tax"), currency),
        currency=currency,
        reason=adjustment.get("reason"),
    )


def _sample(now_ms: int) -> bytes:
    cycle = {"interval": "month", "frequency": 1}
    price = {"id": "pri_sample", "name": "Sample", "unit_price": {"amount": "1900"}, "billing_cycle": cycle}
    subscription = {
        "id": "sub_sample",
        "status": "active",
        "customer_id": "ctm_sample",
        "custom_data": {"user_id": "sample"},
        "currency_code": "EUR",
        "items": [{"price": price, "quantity": 1, "recurring": True}],
        "next_billed_at": format_instant(now_ms + 30 * 86_400_000),
    }
    event = {
        "event_id": f"evt_sample_{now_ms}",
        "event_type": "subscription.activated",
        "occurred_at": format_instant(now_ms),
    }
    return orjson.dumps({**event, "data": subscription})


VENDOR = Vendor("paddle", "Paddle", prove, read, mean, _sample, sign)
