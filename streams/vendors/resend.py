"""Resend: its webhooks (https://resend.com/docs/webhooks/event-types).

To be told: Webhooks, Add Webhook: this connection's URL and all `email.*` events. The secret is the signing secret, `whsec_...`.

* Proof: Svix's scheme, which is Standard Webhooks with other names of headers: HMAC-SHA256 in base64 over `id.timestamp.body`,
  the key being the base64 after `whsec_`. Five minutes both ways, as each try is signed anew; the id `svix-id` is the same in
  each. Done here and not by the `standardwebhooks` library, which asks the machine's clock and wants text; tests compare them.
* Contact: `user_id` or `userId` in a header `X-Metadata` (JSON, as django-anymail sends it) or among the tags, else the address.
* Resend tells an event for each recipient but not which one it is about: the first `to` counts. Where there are several, a
  bounce or complaint keeps its own name, as it might stop mail to the wrong address.
* A bounce is hard where its type is `Permanent`, or where an older payload without types says so in its message.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from schemas.rejected import Rejection
from streams.vendors.contract import Meaning, Notification, Request, Vendor, text_of
from streams.vendors.engagement import Bounce, Engagement, Kind, Why, addresses, metadata_of
from streams.vendors.signing import SECOND_MS, header, number_in, prove_age, prove_one_of
from streams.vendors.values import at, iso, json_object, json_value, mapping

ID: Final = "svix-id"
TIMESTAMP: Final = "svix-timestamp"
SIGNATURE: Final = "svix-signature"
KINDS: Final[Mapping[str, Kind]] = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.delivery_delayed": "deferred",
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.failed": "failed",
    "email.suppressed": "rejected",
}
_PREFIX: Final = "whsec_"


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """One of the `v1` signatures over id, timestamp and body, then the age."""
    id, timestamp, given = (header(request, name) for name in (ID, TIMESTAMP, SIGNATURE))
    signed_at = number_in(timestamp, TIMESTAMP)
    signed = b".".join((id.encode("utf-8", "replace"), timestamp.encode(), request.body))
    expected = [_signature(secret, signed) for secret in secrets if _key(secret)]
    prove_one_of(given.split(" "), expected, SIGNATURE)
    prove_age(signed_at * SECOND_MS, now_ms)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The headers that prove `body`."""
    id, timestamp = f"msg_sample_{now_ms}", str(now_ms // SECOND_MS)
    signed = b".".join((id.encode(), timestamp.encode(), body))
    return {ID: id, TIMESTAMP: timestamp, SIGNATURE: _signature(secret, signed)}


def secret_problem(secret: str) -> str | None:
    """What the secret should have been; None when it is all right."""
    if secret.startswith(_PREFIX) and len(_key(secret)) >= 16:
        return None
    return "expected Resend's signing secret, `whsec_` and base64, got something else"


def read(request: Request) -> list[Notification]:
    """The one event of a body."""
    body = json_object(request.body)
    return [
        Notification(
            text_of(body.get("type")) or "event", text_of(request.headers.get(ID)), iso(body.get("created_at")), body
        )
    ]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body = notification.body
    data = mapping(body.get("data"))
    headers = _headers(data)
    labels = metadata_of(headers.get("x-metadata")) or _labels(data)
    to = addresses(data.get("to"))
    kind = KINDS.get(notification.name)
    reason = _reason(kind, data)
    several = len(to) + len(addresses(data.get("cc"))) + len(addresses(data.get("bcc"))) > 1
    return Engagement(
        None if several and kind in ("bounced", "complained") else kind,
        data.get("from") if notification.name == "email.received" else data.get("email") or next(iter(to), None),
        email_id=data.get("email_id"),
        tags=_list_of(headers.get("x-tags")),
        metadata=labels,
        bounce_type=_bounce_type(data, reason) if kind == "bounced" else None,
        reason=reason,
        description=at(data, "bounce", "message") or at(data, "failed", "reason") or at(data, "suppressed", "message"),
        link_url=at(data, "click", "link"),
        user_agent=at(data, "click", "userAgent"),
        campaign_id=data.get("broadcast_id"),
        template_id=data.get("template_id"),
    ).meaning(body)


def _reason(kind: Kind | None, data: dict[str, Any]) -> Why | None:
    if kind == "rejected":
        return "blocked"
    if kind != "bounced":
        return None
    message = text_of(at(data, "bounce", "message")) or ""
    if "suppressed sending" in message or at(data, "bounce", "subType") == "Suppressed":
        return "blocked"
    return "bounced" if "bounce message" in message or at(data, "bounce", "type") == "Permanent" else "other"


def _bounce_type(data: dict[str, Any], reason: Why | None) -> Bounce:
    type = text_of(at(data, "bounce", "type"))
    if type is not None:
        return "hard" if type == "Permanent" else "soft"
    message = text_of(at(data, "bounce", "message")) or ""
    return "hard" if reason == "blocked" or "hard bounce" in message else "soft"


def _headers(data: dict[str, Any]) -> dict[str, Any]:
    listed = data.get("headers")
    pairs = [mapping(each) for each in listed] if isinstance(listed, list) else []
    return {name.lower(): each.get("value") for each in pairs if (name := text_of(each.get("name")))}


def _labels(data: dict[str, Any]) -> dict[str, Any]:
    """Resend's tags, each a name and a value."""
    tags = data.get("tags")
    if not isinstance(tags, list):
        return mapping(tags)
    return {name: at(each, "value") for each in tags if (name := text_of(at(each, "name")))}


def _list_of(written: Any) -> Any:
    try:
        return json_value(written.encode()) if isinstance(written, str) else None
    except (Rejection, UnicodeEncodeError):
        return None


def _signature(secret: str, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    """The key; empty where the secret has none."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX) + "==")
    except (binascii.Error, ValueError):
        return b""


def _sample(now_ms: int) -> bytes:
    data = {"email_id": "sample", "to": ["ada@example.com"], "subject": "A sample"}
    return orjson.dumps({"type": "email.opened", "created_at": format_instant(now_ms), "data": data})


VENDOR = Vendor("resend", "Resend", prove, read, mean, _sample, sign, secret_problem=secret_problem)
