"""Recurly: accounts, subscriptions, invoices and payments, as XML or as JSON.

Page: https://docs.recurly.com/recurly-subscriptions/docs/webhooks. Recurly is told the URL of the connection (Integrations,
Webhooks) and one of the two formats:

* **XML has what happened and to whom.** It is never signed: the connection's secret is `user:password`, which is given to Recurly
  as HTTP authentication.
* **JSON has ids alone**, and only accounts' notifications name the account; the others would have to be asked for at Recurly's,
  which nobody does here, so that they have no contact and are rejected with that reason. It is signed: the connection's secret is
  the endpoint's secret key.

* Proof: with a secret `user:password` the login; with another, `recurly-signature`, the HMAC-SHA256 of `time.body` (time in ms),
  of which there are two for a day after a rotation.
* Contact: the e-mail address of the account; else the account's code (`recurly:<code>`). These are linked. Whoever takes its own
  ids as codes says `user_id: [$.account.account_code, $.account_code]`.
* Order: JSON's `event_time`. XML says no instant of its own: what the object says of it is taken (`canceled_at`, `updated_at`,
  `date` …), and where that says nothing, the arrival, so that an update that is sent again late is taken as new.
* Replays: a signature counts for 5 min. A repeat is known by JSON's `id`, by the header `recurly-notification-id`, or where that
  is missing, by the bytes: the same words twice in a day are one.
* One thing, one event: `Invoice Paid` is a paid charge invoice of a subscription (or a closed one of sites before 2018), `Order
  Completed` one of none (not `successful_payment`), `Payment Failed` is `failed_payment`, `Order Refunded` `successful_refund`. A
  cancelled subscription of Recurly's goes on to the end of its period: that is `Subscription Cancellation Scheduled`, and when it
  expires, `Subscription Canceled`. The renewal after a trial is `Trial Ended` and `Subscription Started`.
* `plan` is the plan's code. `mrr` is 0 while nothing is paid, and none while something is, as the length of a period isn't told;
  `currency` is left alone.
"""

from collections.abc import Sequence
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError

import orjson
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.billing import subscription_traits
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of
from streams.vendors.signing import (
    header,
    hex_digest,
    login_problem,
    number_in,
    prove_age,
    prove_login,
    prove_one_of,
    sign_login,
)
from streams.vendors.values import LEVELS_MAX, at, code_of, iso, json_object, major, mapping, present, written

SIGNATURE: Final = "Recurly-Signature"
# not signed, but what comes with it is proved by a login
_ID_HEADER: Final = "recurly-notification-id"
_XML: Final = "_notification"

# by the names of either format; those that need a look at the object are in `_happened`
_EVENTS: Final = {
    "new_account_notification": "Customer Created",
    "account.created": "Customer Created",
    "updated_account_notification": "Customer Updated",
    "account.updated": "Customer Updated",
    "canceled_account_notification": "Customer Closed",
    "account.closed": "Customer Closed",
    "billing_info_updated_notification": "Billing Info Updated",
    "billing_info_update_failed_notification": "Billing Info Update Failed",
    "updated_subscription_notification": "Subscription Updated",
    "subscription.updated": "Subscription Updated",
    "canceled_subscription_notification": "Subscription Cancellation Scheduled",
    "subscription.canceled": "Subscription Cancellation Scheduled",
    "reactivated_account_notification": "Subscription Reactivated",
    "subscription.reactivated": "Subscription Reactivated",
    "subscription_paused_notification": "Subscription Paused",
    "subscription.paused": "Subscription Paused",
    "subscription_resumed_notification": "Subscription Resumed",
    "subscription.resumed": "Subscription Resumed",
    "new_charge_invoice_notification": "Invoice Created",
    "charge_invoice.created": "Invoice Created",
    "past_due_charge_invoice_notification": "Invoice Overdue",
    "charge_invoice.past_due": "Invoice Overdue",
    "failed_payment_notification": "Payment Failed",
    "payment.failed": "Payment Failed",
    "successful_refund_notification": "Order Refunded",
    "void_payment_notification": "Payment Voided",
}
_STARTED: Final = ("new_subscription_notification", "subscription.created")
_RENEWED: Final = ("renewed_subscription_notification", "subscription.renewed")
_ENDED: Final = ("expired_subscription_notification", "subscription.expired")
_PAID: Final = ("paid_charge_invoice_notification", "charge_invoice.paid")
_CLOSED: Final = "closed_invoice_notification"
_ACCOUNT_RECORDS: Final = ("new_account_notification", "updated_account_notification")

# of an XML notification: where its object says when it happened
_INSTANTS: Final = {
    "new_subscription_notification": ("subscription", "activated_at"),
    "canceled_subscription_notification": ("subscription", "canceled_at"),
    "expired_subscription_notification": ("subscription", "expires_at"),
    "renewed_subscription_notification": ("subscription", "current_period_started_at"),
    "paused_subscription_renewal_notification": ("subscription", "current_period_started_at"),
    "subscription_paused_notification": ("subscription", "paused_at"),
    "subscription_resumed_notification": ("subscription", "current_period_started_at"),
}


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """A signature with the secrets that are keys, a login with those that are logins; raises `Unproved`."""
    keys = [secret for secret in secrets if ":" not in secret]
    logins = [secret for secret in secrets if ":" in secret]
    if not keys or (logins and SIGNATURE.lower() not in request.headers):
        return prove_login(request, logins, now_ms)
    signed_at, *came = (part.strip() for part in header(request, SIGNATURE).split(","))
    at_ms = number_in(signed_at, f"the time in {SIGNATURE}")
    prove_one_of(came, [_signature(request.body, key, signed_at) for key in keys], SIGNATURE)
    return prove_age(at_ms, now_ms)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`: of the kind that the secret is."""
    if ":" in secret:
        return sign_login(body, secret, url, now_ms)
    return {SIGNATURE: f"{now_ms},{_signature(body, secret, str(now_ms))}"}


def _signature(body: bytes, secret: str, signed_at: str) -> str:
    return hex_digest(secret, signed_at.encode() + b"." + body)


def _secret_problem(secret: str) -> str | None:
    if ":" in secret:
        return login_problem(secret)
    return (
        None
        if len(secret) >= 8
        else "expected the endpoint's secret key, or `user:password`, got less than 8 characters"
    )


def read(request: Request) -> list[Notification]:
    """The one notification of a body, in either format."""
    if request.body.lstrip().startswith(b"<"):
        return [_read_xml(request)]
    body = json_object(request.body)
    thing, what = text_of(body.get("object_type")), text_of(body.get("event_type"))
    if thing is None or what is None:
        raise Rejection(Reason.MISSING_FIELD, "expected `object_type` and `event_type` of Recurly's, got not both")
    return [Notification(f"{thing}.{what}", text_of(body.get("id")), iso(body.get("event_time")), body)]


def _read_xml(request: Request) -> Notification:
    try:
        root: Element = fromstring(request.body, forbid_dtd=True)
    except DefusedXmlException:
        raise Rejection(Reason.NOT_SUPPORTED, "expected XML without a DTD and entities, got some") from None
    except (ParseError, ValueError, LookupError) as error:
        raise Rejection(Reason.NOT_JSON, f"expected XML: {error}") from None
    body = _value(root, 1)
    if not isinstance(body, dict):
        body = {}
    at_ms = iso(at(body, *_INSTANTS.get(root.tag, ())))
    for place in (("transaction", "date"), ("invoice", "updated_at"), ("credit_payment", "updated_at")):
        at_ms = iso(at(body, *place)) if at_ms is None else at_ms
    return Notification(root.tag, text_of(request.headers.get(_ID_HEADER)), at_ms, body)


def _value(element: Element, level: int) -> Any:
    """An element as JSON: children by their names, arrays, numbers and booleans as they are marked; empty ones are None."""
    if level > LEVELS_MAX:
        raise Rejection(Reason.TOO_DEEP, f"expected at most {LEVELS_MAX} levels of elements, got more")
    kind = element.get("type")
    if kind == "array":
        return [_value(child, level + 1) for child in element]
    if len(element):
        return {child.tag: _value(child, level + 1) for child in element}
    text = (element.text or "").strip()
    if kind == "integer" and text.removeprefix("-").isdecimal() and len(text) <= 18:
        return int(text)
    if kind == "boolean":
        return text == "true" if text else None
    return text or None


def mean(notification: Notification) -> Meaning:
    """What happened to the account's subscription, invoice or payment."""
    name, body = notification.name, notification.body
    subscription = mapping(body.get("subscription"))
    properties = {**_subscription(subscription), **_paid(body)} or _ids(body)
    said = tuple(Said(each, properties) for each in _happened(name, body, subscription))
    traits = _traits(name, subscription)
    account = mapping(body.get("account"))
    if name in _ACCOUNT_RECORDS:
        traits = present(email=text_of(account.get("email")), name=_full_name(account))
        said = (Said(_EVENTS[name], {**properties, **traits}),)
    return Meaning(Names(None, text_of(account.get("email")), _code(body)), said, body, traits, links=True)


def _happened(name: str, body: dict[str, Any], subscription: dict[str, Any]) -> list[str]:
    if name in _STARTED:
        if subscription.get("state") in ("future", "failed"):
            return []
        return ["Trial Started"] if _in_trial(subscription) else ["Subscription Started"]
    if name in _RENEWED:
        trial_end, began = (iso(subscription.get(key)) for key in ("trial_ends_at", "current_period_started_at"))
        was_trial = trial_end is not None and trial_end == began
        return ["Trial Ended", "Subscription Started"] if was_trial else ["Subscription Renewed"]
    if name in _ENDED:
        return ["Trial Ended", "Subscription Canceled"] if _in_trial(subscription) else ["Subscription Canceled"]
    invoice = mapping(body.get("invoice"))
    if name in _PAID or (name == _CLOSED and invoice.get("state") == "collected"):
        return (
            ["Invoice Paid"] if name.startswith("charge_invoice") or _subscription_id(invoice) else ["Order Completed"]
        )
    told = _EVENTS.get(name)
    return [told] if told else []


def _in_trial(subscription: dict[str, Any]) -> bool:
    """Whether the period that it is in is its trial, which can be said without a clock."""
    trial_end, period_end = (iso(subscription.get(key)) for key in ("trial_ends_at", "current_period_ends_at"))
    return trial_end is not None and period_end is not None and period_end <= trial_end


def _traits(name: str, subscription: dict[str, Any]) -> dict[str, Any]:
    state = text_of(subscription.get("state")) or ""
    running = "trialing" if _in_trial(subscription) else "active"
    # one that `failed` was never paid for: it never was one
    statuses = {"active": running, "canceled": running, "paused": "paused", "expired": "canceled"}
    return subscription_traits(
        "canceled" if name in _ENDED and subscription else statuses.get(state),
        plan=text_of(at(subscription, "plan", "plan_code")),
        currency=None,
        mrr=None,
        trial_ends_at_ms=iso(subscription.get("trial_ends_at")),
        renews_at_ms=iso(subscription.get("current_period_ends_at")) if state == "active" else None,
    )


def _subscription(subscription: dict[str, Any]) -> dict[str, Any]:
    state = subscription.get("state")
    return present(
        subscription_id=text_of(subscription.get("uuid")),
        plan=text_of(at(subscription, "plan", "plan_code")),
        plan_name=text_of(at(subscription, "plan", "name")),
        quantity=subscription.get("quantity"),
        status=state,
        amount=major(subscription.get("total_amount_in_cents"), None),
        trial_ends_at=written(iso(subscription.get("trial_ends_at"))),
        renews_at=written(iso(subscription.get("current_period_ends_at"))) if state == "active" else None,
        ends_at=written(iso(subscription.get("expires_at"))) if state in ("canceled", "expired") else None,
        resumes_at=written(iso(subscription.get("resume_at"))),
    )


def _paid(body: dict[str, Any]) -> dict[str, Any]:
    """Of an invoice, and of the transaction that was to pay it or to give it back."""
    invoice, transaction = mapping(body.get("invoice")), mapping(body.get("transaction"))
    currency = code_of(invoice.get("currency")) or code_of(transaction.get("currency"))
    number = text_of(invoice.get("invoice_number")) or text_of(transaction.get("invoice_number"))
    invoice_id = text_of(invoice.get("uuid")) or text_of(transaction.get("invoice_id"))
    subscription_id = _subscription_id(invoice) or text_of(transaction.get("subscription_id"))
    minor = invoice.get("total_in_cents") if invoice else transaction.get("amount_in_cents")
    return present(
        invoice_id=invoice_id,
        invoice_number=number,
        order_id=invoice_id if subscription_id is None or transaction.get("action") == "credit" else None,
        subscription_id=subscription_id,
        total=major(minor, currency),
        tax=major(invoice.get("tax_in_cents"), currency),
        amount_due=major(invoice.get("balance_in_cents"), currency),
        currency=currency,
        transaction_id=text_of(transaction.get("id")),
        payment_method=transaction.get("payment_method"),
        reason=transaction.get("failure_type"),
        message=transaction.get("message"),
        dunning_count=invoice.get("dunning_events_count"),
        due_at=written(iso(invoice.get("due_on"))),
    )


def _subscription_id(invoice: dict[str, Any]) -> str | None:
    return text_of(at(invoice, "subscription_ids", 0)) or text_of(invoice.get("subscription_id"))


def _ids(body: dict[str, Any]) -> dict[str, Any]:
    """All that JSON says of an object, and XML of an account."""
    named = {"subscription": "subscription_id", "payment": "transaction_id"}.get(text_of(body.get("object_type")) or "")
    ids = {"customer_id": _code(body), "invoice_number": text_of(body.get("invoice_number"))}
    return present(**ids, **({named: text_of(body.get("uuid"))} if named else {}))


def _code(body: dict[str, Any]) -> str | None:
    """The account's code in XML, or in JSON."""
    return text_of(at(body, "account", "account_code")) or text_of(body.get("account_code"))


def _full_name(account: dict[str, Any]) -> str:
    parts = (text_of(account.get(key)) for key in ("first_name", "last_name"))
    return " ".join(part for part in parts if part)


def _sample(now_ms: int) -> bytes:
    account = {"id": f"sample{now_ms}", "object_type": "account", "event_type": "created", "account_code": "sample"}
    return orjson.dumps({**account, "site_id": "sample", "event_time": format_instant(now_ms)})


VENDOR = Vendor("recurly", "Recurly", prove, read, mean, _sample, sign, secret_problem=_secret_problem)
