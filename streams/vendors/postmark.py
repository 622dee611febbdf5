"""Postmark: its webhooks (https://postmarkapp.com/developer/webhooks/webhooks-overview).

To be told: in a message stream, Webhooks, Add webhook: this connection's URL with the login before the host
(`https://user:password@...`), and delivery, bounce, spam complaint, open, link click and subscription change.

* Proof: the login, as Postmark signs nothing. Without a time in it a request can be sent again by whoever has the login;
  the id of what it tells then is the same.
* Contact: the metadata's `user_id` or `userId`, else the recipient's address.
* A hard bounce comes twice where both are told: as `Bounce`, and as `SubscriptionChange` because Postmark stops sending there.
  Both are `Email Bounced`; tell only one of them to count bounces.
* Bounces are named by their type: `Transient` and `DnsError` are put off, not bounced. Of those that bounced, `HardBounce` is
  hard. What Postmark didn't even try (`Blocked`, `ManuallyDeactivated` ...) is `Email Rejected`.
* The group of `Unsubscribed` and `Subscribed` is the message stream.
* The example that Postmark's page sends (its message id is all zeros) is told to nobody.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from streams.vendors.contract import Meaning, Notification, Request, Vendor, text_of
from streams.vendors.engagement import Engagement, Kind, Why, id_of
from streams.vendors.signing import login_problem, prove_login, sign_login
from streams.vendors.values import iso, json_object

KINDS: Final[Mapping[str, Kind]] = {
    "Bounce": "bounced",
    "Click": "clicked",
    "Delivery": "delivered",
    "Open": "opened",
    "SpamComplaint": "complained",
    "SubscriptionChange": "unsubscribed",
}
# the type of a bounce, and why sending stopped: what it is then, and the reason
_TYPES: Final[Mapping[str, tuple[Kind | None, Why | None]]] = {
    "HardBounce": ("bounced", "bounced"),
    "SoftBounce": ("bounced", "bounced"),
    "VirusNotification": ("bounced", "other"),
    "Transient": ("deferred", None),
    "DnsError": ("deferred", None),
    "OpenRelayTest": ("deferred", None),
    "Unsubscribe": ("unsubscribed", "unsubscribed"),
    "ManualSuppression": ("unsubscribed", "unsubscribed"),
    "Subscribe": (None, None),  # says a mail: that is no consent
    "AutoResponder": ("autoresponded", None),
    "AddressChange": ("autoresponded", None),
    "ChallengeVerification": ("autoresponded", None),
    "SpamNotification": ("complained", "spam"),
    "SpamComplaint": ("complained", "spam"),
    "BadEmailAddress": ("rejected", "invalid"),
    "ManuallyDeactivated": ("rejected", "blocked"),
    "Unconfirmed": ("rejected", None),
    "Blocked": ("rejected", "blocked"),
    "DMARCPolicy": ("rejected", "blocked"),
    "SMTPApiError": ("failed", None),
    "TemplateRenderingFailed": ("failed", None),
    "InboundError": (None, None),
    "Unknown": (None, None),
}
_TIMES: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")
_EXAMPLE: Final = "00000000-0000-0000-0000-000000000000"


def read(request: Request) -> list[Notification]:
    """The one notification of a body; none for Postmark's example."""
    body = json_object(request.body)
    if body.get("MessageID") == _EXAMPLE:
        return []
    name = text_of(body.get("RecordType")) or ("Inbound" if "FromFull" in body else "event")
    written = next((found for key in _TIMES if (found := body.get(key))), None)
    # only bounces and complaints have an id of their own
    made = id_of(body.get("MessageID"), name, body.get("Recipient"), written, body.get("OriginalLink"))
    return [Notification(name, text_of(body.get("ID")) or made, iso(written), body)]


def mean(notification: Notification) -> Meaning:
    """What happened to the message; mail that came in is told by who wrote it."""
    body = notification.body
    kind, reason = _kind(notification.name, body)
    type = text_of(body.get("Type")) or text_of(body.get("SuppressionReason"))
    inbound = notification.name == "Inbound"
    return Engagement(
        kind,
        body.get("From") if inbound else text_of(body.get("Email")) or body.get("Recipient"),
        email_id=body.get("MessageID"),
        tags=body.get("Tag"),
        metadata=body.get("Metadata"),
        bounce_type="hard" if kind == "bounced" and type == "HardBounce" else None,
        reason=reason,
        description=body.get("Description"),
        response=body.get("Details"),
        link_url=body.get("OriginalLink"),
        user_agent=body.get("UserAgent"),
        group=body.get("MessageStream") if kind in ("unsubscribed", "subscribed") else None,
    ).meaning(body)


def _kind(name: str, body: dict[str, Any]) -> tuple[Kind | None, Why | None]:
    kind = KINDS.get(name)
    if kind == "unsubscribed":
        if body.get("SuppressSending") is False:
            return "subscribed", None
        return _TYPES.get(text_of(body.get("SuppressionReason")) or "", (kind, None))
    if kind in ("bounced", "complained"):
        return _TYPES.get(text_of(body.get("Type")) or "", (kind, None))
    return kind, None


def _sample(now_ms: int) -> bytes:
    opened = {
        "RecordType": "Open",
        "FirstOpen": True,
        "MessageID": f"sample-{now_ms}",
        "Recipient": "ada@example.com",
        "ReceivedAt": format_instant(now_ms),
        "Tag": "sample",
    }
    return orjson.dumps(opened)


VENDOR = Vendor("postmark", "Postmark", prove_login, read, mean, _sample, sign_login, secret_problem=login_problem)
