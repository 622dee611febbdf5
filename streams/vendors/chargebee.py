"""Chargebee: customers, subscriptions, invoices and their payments, with either product catalogue.

Page: https://apidocs.chargebee.com/docs/api/events. Chargebee is told the URL of the connection (Settings, Webhooks), to protect
it by basic authentication with the connection's `user:password`, and to send API version 2.

* Proof: the login; nothing is signed, so that the URL has to be https and the password long.
* Contact: `user_id` (or `userId`) in the customer's `meta_data`, or the custom field `cf_user_id`; else the e-mail address of its
  record; else the customer (`chargebee:<id>`). These are linked. Whoever gives customers ids of their own says
  `user_id: $.content.customer.id`.
* Order: webhooks come in any order; traits are of the instant `resource_version` (ms) of the object that they are read from, be
  it that a payment's webhook brings the subscription along.
* Replays: the event's id, which a webhook that is sent again has as well; no age can be told.
* One thing, one event: `Invoice Paid` is a `payment_succeeded` that leaves the invoice paid (not `invoice_updated`), `Order
  Completed` one of an invoice without subscription, `Order Refunded` is `payment_refunded`. A trial that becomes paid
  (`subscription_activated`) is `Trial Ended` and `Subscription Started`; one that starts later starts with
  `subscription_started`. A cancellation that is to come is `Subscription Cancellation Scheduled`.
* `plan` is the plan's id, or the item price's. An active subscription with unpaid invoices is `past_due`; one that won't renew is
  `active` without `renews_at`. `mrr` is Chargebee's.
"""

from typing import Any, Final

import orjson

from schemas.rejected import Reason, Rejection
from streams.vendors.billing import subscription_traits
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import SECOND_MS, login_problem, prove_login, sign_login
from streams.vendors.values import (
    at,
    code_of,
    exact_number,
    json_object,
    major,
    mapping,
    milliseconds,
    objects,
    present,
    seconds,
    written,
)

_STATUSES: Final = {
    "in_trial": "trialing",
    "active": "active",
    "non_renewing": "active",
    "paused": "paused",
    "cancelled": "canceled",
    "transferred": "canceled",
}
_CUSTOMER_EVENTS: Final = {
    "customer_created": "Customer Created",
    "customer_changed": "Customer Updated",
    "customer_deleted": "Customer Deleted",
}
_SUBSCRIPTION_EVENTS: Final = {
    "subscription_trial_end_reminder": "Trial Ending",
    "subscription_trial_extended": "Trial Extended",
    "subscription_changed": "Subscription Updated",
    "subscription_renewed": "Subscription Renewed",
    "subscription_paused": "Subscription Paused",
    "subscription_resumed": "Subscription Resumed",
    "subscription_reactivated": "Subscription Reactivated",
    "subscription_deleted": "Subscription Deleted",
    "subscription_cancellation_scheduled": "Subscription Cancellation Scheduled",
    "subscription_scheduled_cancellation_removed": "Subscription Cancellation Removed",
}
_INVOICE_EVENTS: Final = {
    "invoice_generated": "Invoice Created",
    "invoice_updated": "Invoice Updated",
    "invoice_deleted": "Invoice Deleted",
    "payment_failed": "Payment Failed",
    "payment_refunded": "Order Refunded",
}
# the same events of what was entered with a date in the past
_BACKDATED: Final = "_with_backdating"


def read(request: Request) -> list[Notification]:
    """The one event of a body."""
    body = json_object(request.body)
    name = text_of(body.get("event_type"))
    if name is None:
        raise Rejection(Reason.MISSING_FIELD, "expected an event of Chargebee's with an `event_type`, got none")
    return [Notification(name, text_of(body.get("id")), seconds(body.get("occurred_at")), body)]


def mean(notification: Notification) -> Meaning:
    """What happened, and the traits of the subscription that came with it."""
    content = mapping(notification.body.get("content"))
    name = notification.name.removesuffix(_BACKDATED)
    if name in _CUSTOMER_EVENTS:
        return _customer(name, content)
    subscription = mapping(content.get("subscription"))
    properties = _subscription(subscription)
    told = _happened(name, content)
    if name in _INVOICE_EVENTS or name == "payment_succeeded":
        properties = _payment(name, content)
    said = tuple(Said(each, properties) for each in told)
    traits = _traits(subscription)
    return Meaning(_names(content), said, content, traits, _version(subscription), links=True)


def _happened(name: str, content: dict[str, Any]) -> list[str]:
    subscription, invoice = mapping(content.get("subscription")), mapping(content.get("invoice"))
    if name in ("subscription_created", "subscription_started"):
        begun = {
            "in_trial": ["Trial Started"],
            "active": ["Subscription Started"],
            "non_renewing": ["Subscription Started"],
        }
        return begun.get(text_of(subscription.get("status")) or "", [])
    if name == "subscription_activated":
        return ["Trial Ended", "Subscription Started"] if subscription.get("trial_end") else ["Subscription Started"]
    if name in ("subscription_cancelled", "subscription_canceled"):
        in_trial = subscription.get("trial_end") and not subscription.get("activated_at")
        return ["Trial Ended", "Subscription Canceled"] if in_trial else ["Subscription Canceled"]
    if name == "payment_succeeded":
        if invoice.get("status") != "paid":
            return []
        return ["Invoice Paid"] if text_of(invoice.get("subscription_id")) or subscription else ["Order Completed"]
    told = _SUBSCRIPTION_EVENTS.get(name) or _INVOICE_EVENTS.get(name)
    return [told] if told else []


def _names(content: dict[str, Any]) -> Names:
    """Of whom an event is: the customer's record is nearly always there, else its id on one of the others."""
    customer = mapping(content.get("customer"))
    things = [
        mapping(content.get(key)) for key in ("subscription", "invoice", "transaction", "credit_note", "payment_source")
    ]
    owned = next((found for each in things if (found := text_of(each.get("customer_id")))), None)
    user_ids = (user_id_in(each.get("meta_data")) or text_of(each.get("cf_user_id")) for each in (customer, things[0]))
    return Names(
        user_id=next((each for each in user_ids if each), None),
        email=text_of(customer.get("email")),
        vendor_id=text_of(customer.get("id")) or owned,
    )


def _customer(name: str, content: dict[str, Any]) -> Meaning:
    customer, names = mapping(content.get("customer")), _names(content)
    parts = (text_of(customer.get(key)) for key in ("first_name", "last_name"))
    full_name = " ".join(part for part in parts if part)
    properties = present(
        customer_id=names.vendor_id, email=names.email, name=full_name, company=text_of(customer.get("company"))
    )
    traits = {} if name == "customer_deleted" else present(email=names.email, name=full_name)
    return Meaning(names, (Said(_CUSTOMER_EVENTS[name], properties),), content, traits, _version(customer), links=True)


def _version(thing: dict[str, Any]) -> int | None:
    """When an object was changed to what it is now, which orders all that is told of it."""
    return milliseconds(thing.get("resource_version")) or seconds(thing.get("updated_at"))


def _traits(subscription: dict[str, Any]) -> dict[str, Any]:
    currency = code_of(subscription.get("currency_code"))
    return subscription_traits(
        _status(subscription),
        plan=_plan(subscription),
        currency=currency,
        mrr=major(subscription.get("mrr"), currency),
        trial_ends_at_ms=seconds(subscription.get("trial_end")),
        renews_at_ms=_renews_at_ms(subscription),
    )


def _renews_at_ms(subscription: dict[str, Any]) -> int | None:
    """None of one that is to be cancelled: that instant stands in `cancelled_at` before it has come."""
    if subscription.get("status") not in ("in_trial", "active") or subscription.get("cancelled_at"):
        return None
    return seconds(subscription.get("next_billing_at")) or seconds(subscription.get("current_term_end"))


def _status(subscription: dict[str, Any]) -> str | None:
    """Ours; None of one that starts in the future."""
    status = (
        "canceled" if subscription.get("deleted") is True else _STATUSES.get(text_of(subscription.get("status")) or "")
    )
    due = exact_number(subscription.get("due_invoices_count")) or 0
    return "past_due" if status == "active" and due > 0 else status


def _plan(subscription: dict[str, Any]) -> str | None:
    items = objects(subscription.get("subscription_items"))
    plans = [each for each in items if each.get("item_type") == "plan"]
    return text_of(subscription.get("plan_id")) or text_of(at(plans or items, 0, "item_price_id"))


def _subscription(subscription: dict[str, Any]) -> dict[str, Any]:
    currency = code_of(subscription.get("currency_code"))
    return present(
        subscription_id=text_of(subscription.get("id")),
        plan=_plan(subscription),
        quantity=subscription.get("plan_quantity") or at(subscription, "subscription_items", 0, "quantity"),
        currency=currency,
        status=subscription.get("status"),
        mrr=major(subscription.get("mrr"), currency),
        trial_ends_at=written(seconds(subscription.get("trial_end"))),
        renews_at=written(_renews_at_ms(subscription)),
        ends_at=written(seconds(subscription.get("cancelled_at"))),
        reason=subscription.get("cancel_reason_code") or subscription.get("cancel_reason"),
    )


def _payment(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Of an invoice, and of the payment or refund of it that was tried."""
    invoice, transaction = mapping(content.get("invoice")), mapping(content.get("transaction"))
    subscription = mapping(content.get("subscription"))
    currency = code_of(invoice.get("currency_code")) or code_of(transaction.get("currency_code"))
    invoice_id = text_of(invoice.get("id"))
    subscription_id = text_of(invoice.get("subscription_id")) or text_of(transaction.get("subscription_id"))
    total = transaction.get("amount") if name == "payment_refunded" else invoice.get("total", transaction.get("amount"))
    lines = objects(invoice.get("line_items"))
    plans = (text_of(each.get("entity_id")) for each in lines if each.get("entity_type") in ("plan", "plan_item_price"))
    return present(
        invoice_id=invoice_id,
        order_id=invoice_id if subscription_id is None or name == "payment_refunded" else None,
        subscription_id=subscription_id,
        plan=_plan(subscription) or next((each for each in plans if each), None),
        total=major(total, currency),
        currency=currency,
        amount_due=major(invoice.get("amount_due"), currency),
        amount_paid=major(invoice.get("amount_paid"), currency),
        status=invoice.get("status"),
        due_at=written(seconds(invoice.get("due_date"))),
        transaction_id=text_of(transaction.get("id")),
        payment_method=transaction.get("payment_method"),
        reason=transaction.get("error_text") or at(content, "credit_note", "reason_code"),
        next_attempt_at=written(seconds(invoice.get("next_retry_at"))),
    )


def _sample(now_ms: int) -> bytes:
    now = now_ms // SECOND_MS
    customer = {"id": "sample", "email": "ada@example.com", "object": "customer", "resource_version": now_ms}
    subscription = {
        "id": "sample",
        "customer_id": "sample",
        "plan_id": "sample-monthly",
        "status": "active",
        "next_billing_at": now + 30 * 86_400,
        "currency_code": "EUR",
        "mrr": 1900,
        "resource_version": now_ms,
        "object": "subscription",
    }
    event = {"id": f"ev_sample_{now_ms}", "occurred_at": now, "object": "event", "api_version": "v2"}
    content = {"subscription": subscription, "customer": customer}
    return orjson.dumps({**event, "event_type": "subscription_created", "content": content})


VENDOR = Vendor("chargebee", "Chargebee", prove_login, read, mean, _sample, sign_login, secret_problem=login_problem)
