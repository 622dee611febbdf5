"""Stripe: customers, subscriptions, invoices and one-off payments, of any API version side by side.

Page: https://docs.stripe.com/webhooks. Stripe is told the URL of the connection (Developers, Webhooks) and shows the signing
secret (`whsec_…`), which is the connection's. Events worth choosing: `customer.created`, `customer.updated`,
`customer.subscription.*`, `invoice.*`, `checkout.session.*`, `charge.refunded`.

* Proof: `Stripe-Signature`, the HMAC-SHA256 of `t.body` in each `v1`; several while a secret is rolled. `v0` counts for nothing.
* Contact: `user_id` (or `userId`) in the object's metadata, or in the subscription's where it is an invoice; else the e-mail
  address of the customer's record or its copy on an invoice; else the customer (`stripe:cus_…`). These are linked. What somebody
  typed at a checkout or into a card's form names a contact only where metadata name nobody and, but for a checkout, there is no
  customer.
  `client_reference_id` may be a cart's and is not used: `user_id: $.data.object.client_reference_id` says that it is a person's.
  Objects of nobody (products, prices, payouts, disputes) have no contact: `events: {product.*: ignore}`.
* Order: the event's `created`, in seconds: of two in one second the one that arrives later counts.
* Replays: 300 s, and the event's id.
* One thing, one event: `Invoice Paid` is `invoice.paid` (not `invoice.payment_succeeded`), `Order Completed` a paid checkout in
  payment mode (not `payment_intent.succeeded` nor `charge.succeeded`, which invoices have as well: whoever has no Checkout says
  `payment_intent.succeeded: {event: Order Completed}`), `Order Refunded` is `charge.refunded` with what was given back now (not
  `refund.*`), `Payment Failed` is an invoice's, or a payment intent's that says it has no invoice (the newest versions don't).
  `order_id` is the payment intent, so that a refund has that of its order. A trial that becomes a paid subscription is
  `Trial Ended` and `Subscription Started`; a subscription that waits for its first payment starts with that, and one whose new
  period begins where the last one ended is `Subscription Renewed`.
* `plan` is the price's `lookup_key`, else its nickname, else its id. A subscription whose collection is paused is `paused`; one
  that is to be cancelled at the end of its period has no `renews_at`. `mrr` is of the items' prices; where one has tiers, it is
  cleared.
"""

import decimal
from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.rejected import Reason, Rejection
from streams.vendors.billing import monthly, recurring, subscription_traits
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import SECOND_MS, DatedHmac
from streams.vendors.values import (
    at,
    code_of,
    exact_number,
    json_object,
    major,
    mapping,
    objects,
    present,
    seconds,
    written,
)

SIGNATURE: Final = "Stripe-Signature"
_SCHEME: Final = DatedHmac(SIGNATURE, ",", "t", "v1", b".")
# Stripe's own (https://docs.stripe.com/currencies): ISK and UGX are sent as hundredths though they have none, MGA isn't
_WITHOUT: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
_WITH_THREE: Final = "BHD JOD KWD OMR TND"
EXPONENTS: Final = dict.fromkeys(_WITHOUT.split(), 0) | dict.fromkeys(_WITH_THREE.split(), 3)

_STATUSES: Final = {
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "past_due",
    "paused": "paused",
    "canceled": "canceled",
}
_CUSTOMER_EVENTS: Final = {
    "customer.created": "Customer Created",
    "customer.updated": "Customer Updated",
    "customer.deleted": "Customer Deleted",
}
_SUBSCRIPTION_EVENTS: Final = {
    "customer.subscription.trial_will_end": "Trial Ending",
    "customer.subscription.paused": "Subscription Paused",
    "customer.subscription.resumed": "Subscription Resumed",
}
_INVOICE_EVENTS: Final = {
    "invoice.created": "Invoice Created",
    "invoice.finalized": "Invoice Finalized",
    "invoice.upcoming": "Invoice Upcoming",
    "invoice.sent": "Invoice Sent",
    "invoice.paid": "Invoice Paid",
    "invoice.overdue": "Invoice Overdue",
    "invoice.voided": "Invoice Voided",
    "invoice.marked_uncollectible": "Invoice Marked Uncollectible",
    "invoice.payment_failed": "Payment Failed",
    "invoice.payment_action_required": "Payment Action Required",
}
_SUBSCRIPTION: Final = "customer.subscription."
# what Workbench sends to try a destination
_PING: Final = "v2.core.event_destination.ping"


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """`t=` and one or more `v1=`; raises `Unproved`."""
    _SCHEME.prove(request, secrets, now_ms)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`."""
    return _SCHEME.sign(body, secret, now_ms)


def read(request: Request) -> list[Notification]:
    """The one event of a body; none of a ping."""
    body = json_object(request.body)
    name = text_of(body.get("type"))
    if name == _PING:
        return []
    if name is None:
        raise Rejection(Reason.MISSING_FIELD, "expected an event of Stripe's with a `type`, got none")
    return [Notification(name, text_of(body.get("id")), seconds(body.get("created")), body)]


def mean(notification: Notification) -> Meaning:
    """What the event's object is now; an event of another kind is told with its object."""
    name = notification.name
    thing = mapping(at(notification.body, "data", "object"))
    before = mapping(at(notification.body, "data", "previous_attributes"))
    if name in _CUSTOMER_EVENTS:
        return _customer(name, thing)
    if name.startswith(_SUBSCRIPTION):
        return _subscription(name, thing, before)
    if name in _INVOICE_EVENTS:
        return Meaning(_names(thing), (Said(_INVOICE_EVENTS[name], _invoice(thing)),), links=True)
    if name.startswith("checkout.session."):
        return _checkout(name, thing)
    names = _names(thing)
    if name == "charge.refunded":
        return Meaning(names, (Said("Order Refunded", _refund(thing, before)),), links=True)
    if name == "payment_intent.payment_failed" and "invoice" in thing and thing["invoice"] is None:
        return Meaning(names, (Said("Payment Failed", _failure(thing)),), links=True)
    return Meaning(names, properties=thing, links=True)


def _names(thing: dict[str, Any]) -> Names:
    """Of whom an object is that isn't a customer's record."""
    details = mapping(at(thing, "parent", "subscription_details")) or mapping(thing.get("subscription_details"))
    customer = mapping(thing.get("customer"))
    user_id = (
        user_id_in(thing.get("metadata")) or user_id_in(details.get("metadata")) or user_id_in(customer.get("metadata"))
    )
    customer_id = _id(thing.get("customer")) or _id(thing.get("customer_account"))
    email = text_of(thing.get("customer_email")) or text_of(customer.get("email"))
    if not (email or user_id or customer_id):
        email = text_of(thing.get("receipt_email")) or text_of(at(thing, "billing_details", "email"))
    return Names(user_id, email, customer_id)


def _customer(name: str, customer: dict[str, Any]) -> Meaning:
    email = text_of(customer.get("email"))
    names = Names(user_id_in(customer.get("metadata")), email, text_of(customer.get("id")))
    properties = present(
        customer_id=names.vendor_id, email=email, name=customer.get("name"), currency=code_of(customer.get("currency"))
    )
    traits = {} if name == "customer.deleted" else present(email=email, name=text_of(customer.get("name")))
    return Meaning(names, (Said(_CUSTOMER_EVENTS[name], properties),), traits=traits, links=True)


def _subscription(name: str, subscription: dict[str, Any], before: dict[str, Any]) -> Meaning:
    items, has_more = objects(at(subscription, "items", "data")), at(subscription, "items", "has_more") is True
    status = _status(subscription)
    price = _price(items[0]) if items else mapping(subscription.get("plan"))
    currency = code_of(subscription.get("currency")) or code_of(price.get("currency"))
    ends = bool(subscription.get("cancel_at_period_end")) or subscription.get("cancel_at") is not None
    period_ends = [seconds(each.get("current_period_end")) for each in (subscription, *items)]
    renews_at_ms = min((each for each in period_ends if each is not None), default=None)
    traits = subscription_traits(
        status,
        plan=_plan(price),
        currency=currency,
        # of many items an event has the first ones alone
        mrr=recurring(map(_monthly, items), currency, EXPONENTS) if items and not has_more else None,
        trial_ends_at_ms=seconds(subscription.get("trial_end")),
        renews_at_ms=None if ends else renews_at_ms,
    )
    properties = present(
        subscription_id=text_of(subscription.get("id")),
        plan=_plan(price),
        product_id=_id(price.get("product")),
        quantity=subscription.get("quantity") or at(items, 0, "quantity"),
        currency=currency,
        status=subscription.get("status"),
        mrr=traits.get("mrr"),
        trial_ends_at=written(seconds(subscription.get("trial_end"))),
        renews_at=traits.get("renews_at"),
        ends_at=written(seconds(subscription.get("cancel_at")) or renews_at_ms) if ends else None,
        reason=at(subscription, "cancellation_details", "reason"),
        feedback=at(subscription, "cancellation_details", "feedback"),
    )
    said = tuple(Said(each, properties) for each in _happened(name, subscription, before, status))
    return Meaning(_names(subscription), said, properties=subscription, traits=traits, links=True)


def _status(subscription: dict[str, Any]) -> str | None:
    """Ours; None of one that waits for its first payment, or never got it."""
    status = _STATUSES.get(text_of(subscription.get("status")) or "")
    paused = status in ("active", "past_due") and isinstance(subscription.get("pause_collection"), dict)
    return "paused" if paused else status


def _happened(name: str, subscription: dict[str, Any], before: dict[str, Any], status: str | None) -> list[str]:
    """What an event of a subscription stands for."""
    if name in _SUBSCRIPTION_EVENTS:
        return [_SUBSCRIPTION_EVENTS[name]]
    begun = {"trialing": ["Trial Started"], "active": ["Subscription Started"], "past_due": ["Subscription Started"]}
    if name == _SUBSCRIPTION + "created":
        return begun.get(status or "", [])
    if name == _SUBSCRIPTION + "deleted":
        trial_end, ended = seconds(subscription.get("trial_end")), seconds(subscription.get("ended_at"))
        in_trial = trial_end is not None and ended is not None and ended <= trial_end
        return ["Trial Ended", "Subscription Canceled"] if in_trial else ["Subscription Canceled"]
    if name != _SUBSCRIPTION + "updated":
        return []
    was = text_of(before.get("status"))
    if was == "trialing":
        return ["Trial Ended", *begun.get(status or "", [])]
    if was == "incomplete":
        return begun.get(status or "", [])
    if "pause_collection" in before:
        return ["Subscription Paused" if subscription.get("pause_collection") else "Subscription Resumed"]
    return ["Subscription Renewed" if _is_renewed(subscription, before) else "Subscription Updated"]


def _is_renewed(subscription: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether the period that it is in begins where the one before ended."""
    began = (each.get("current_period_start") for each in (subscription, mapping(at(subscription, "items", "data", 0))))
    ended = (each.get("current_period_end") for each in (before, mapping(at(before, "items", "data", 0))))
    return bool({seconds(each) for each in began} & {seconds(each) for each in ended} - {None})


def _price(item: dict[str, Any]) -> dict[str, Any]:
    return mapping(item.get("price")) or mapping(item.get("plan"))


def _plan(price: dict[str, Any]) -> str | None:
    return text_of(price.get("lookup_key")) or text_of(price.get("nickname")) or text_of(price.get("id"))


def _monthly(item: dict[str, Any]) -> decimal.Decimal | None:
    """Minor units a month; what is metered isn't known before."""
    price = _price(item)
    rhythm = mapping(price.get("recurring")) or price
    if rhythm.get("usage_type") == "metered":
        return decimal.Decimal(0)
    amounts = (price.get(key) for key in ("unit_amount_decimal", "unit_amount", "amount_decimal", "amount"))
    unit = next((exact for each in amounts if (exact := exact_number(each)) is not None), None)
    quantity = exact_number(item.get("quantity", 1))
    each = None if unit is None or quantity is None else unit * quantity
    return monthly(each, rhythm.get("interval"), exact_number(rhythm.get("interval_count")))


def _invoice(invoice: dict[str, Any]) -> dict[str, Any]:
    currency = invoice.get("currency")
    lines = objects(at(invoice, "lines", "data"))
    return present(
        invoice_id=text_of(invoice.get("id")),
        invoice_number=text_of(invoice.get("number")),
        subscription_id=_id(invoice.get("subscription"))
        or _id(at(invoice, "parent", "subscription_details", "subscription"))
        or next((found for line in lines if (found := _id(line.get("subscription")))), None),
        plan=next((found for line in lines if (found := _plan_of_line(line))), None),
        total=_money(invoice.get("total"), currency),
        currency=code_of(currency),
        amount_due=_money(invoice.get("amount_due"), currency),
        amount_paid=_money(invoice.get("amount_paid"), currency),
        tax=_money(invoice.get("tax"), currency),
        billing_reason=invoice.get("billing_reason"),
        attempt_count=invoice.get("attempt_count"),
        next_attempt_at=written(seconds(invoice.get("next_payment_attempt"))),
        due_at=written(seconds(invoice.get("due_date"))),
        hosted_invoice_url=invoice.get("hosted_invoice_url"),
    )


def _plan_of_line(line: dict[str, Any]) -> str | None:
    # the newest versions have the price's id alone
    return _plan(_price(line)) or _id(at(line, "pricing", "price_details", "price"))


def _checkout(name: str, session: dict[str, Any]) -> Meaning:
    names = _names(session)
    if names.email is None and names.user_id is None:
        names = Names(None, text_of(at(session, "customer_details", "email")), names.vendor_id)
    paid = name.endswith(".async_payment_succeeded") or (
        name.endswith(".completed") and session.get("payment_status") in ("paid", "no_payment_required")
    )
    if session.get("mode") != "payment" or not paid:
        return Meaning(names, properties=session, links=True)
    currency = session.get("currency")
    properties = present(
        order_id=_id(session.get("payment_intent")) or text_of(session.get("id")),
        checkout_id=text_of(session.get("id")),
        invoice_id=_id(session.get("invoice")),
        total=_money(session.get("amount_total"), currency),
        subtotal=_money(session.get("amount_subtotal"), currency),
        discount=_money(at(session, "total_details", "amount_discount"), currency),
        tax=_money(at(session, "total_details", "amount_tax"), currency),
        shipping=_money(at(session, "total_details", "amount_shipping"), currency),
        currency=code_of(currency),
    )
    return Meaning(names, (Said("Order Completed", properties),), links=True)


def _refund(charge: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    currency = charge.get("currency")
    so_far, earlier = exact_number(charge.get("amount_refunded")), exact_number(before.get("amount_refunded", 0))
    now = None if so_far is None else so_far - (earlier or 0)
    return present(
        order_id=_id(charge.get("payment_intent")) or text_of(charge.get("id")),
        charge_id=text_of(charge.get("id")),
        invoice_id=_id(charge.get("invoice")),
        total=_money(None if now is None else str(now), currency),
        currency=code_of(currency),
        refunded_in_full=charge.get("refunded"),
        reason=at(charge, "refunds", "data", 0, "reason"),
    )


def _failure(intent: dict[str, Any]) -> dict[str, Any]:
    return present(
        order_id=text_of(intent.get("id")),
        total=_money(intent.get("amount"), intent.get("currency")),
        currency=code_of(intent.get("currency")),
        reason=at(intent, "last_payment_error", "decline_code") or at(intent, "last_payment_error", "code"),
        message=at(intent, "last_payment_error", "message"),
    )


def _money(minor: Any, currency: Any) -> float | int | None:
    return major(minor, currency, EXPONENTS)


def _id(value: Any) -> str | None:
    """The id of what is named by it, or is there as a whole."""
    return text_of(value.get("id")) if isinstance(value, dict) else text_of(value)


def _sample(now_ms: int) -> bytes:
    now = now_ms // SECOND_MS
    price = {
        "id": "price_sample",
        "nickname": "sample",
        "unit_amount": 1900,
        "recurring": {"interval": "month", "interval_count": 1},
    }
    subscription = {
        "id": "sub_sample",
        "object": "subscription",
        "customer": "cus_sample",
        "currency": "eur",
        "status": "active",
        "current_period_end": now + 30 * 86_400,
        "items": {"data": [{"price": price, "quantity": 1}]},
        "metadata": {"user_id": "sample"},
    }
    event = {"id": f"evt_sample_{now_ms}", "object": "event", "type": _SUBSCRIPTION + "created", "created": now}
    return orjson.dumps({**event, "data": {"object": subscription}})


VENDOR = Vendor("stripe", "Stripe", prove, read, mean, _sample, sign)
