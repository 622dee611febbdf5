"""Mandrill, Mailchimp Transactional: its webhooks (https://mailchimp.com/developer/transactional/docs/webhooks/).

To be told: Settings, Webhooks, Add: this connection's URL, message events and, where wanted, sync events. The secret is the
webhook's key.

* Proof: HMAC-SHA1 in base64 over the URL exactly as it was entered there and the form's fields sorted by name. There is no time
  in it; a replay has the same ids and is the same event. Before there are events Mandrill posts an empty list, signed with a key
  that everybody knows: that is believed, as it tells nothing.
* An event has no id of its own: message, event, second and link make one. Contact: the metadata's `user_id` or `userId`, else
  the recipient's address; of mail that came in, who wrote it.
* Sync events (`allowlist`, `denylist`; of old `whitelist`, `blacklist`) keep Mandrill's names. The example that its page sends
  (its ids begin with `example`) is told to nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import orjson

from schemas.rejected import Reason, Rejection
from streams.vendors.contract import BATCH_BYTES_MAX, Meaning, Notification, Request, Unproved, Vendor, text_of
from streams.vendors.engagement import Bounce, Engagement, Kind, Why, id_of
from streams.vendors.signing import SECOND_MS, base64_digest, header, prove_one_of
from streams.vendors.values import at, json_objects, mapping, seconds

SIGNATURE: Final = "X-Mandrill-Signature"
EVENTS: Final = "mandrill_events"
KINDS: Final[Mapping[str, Kind]] = {
    "send": "sent",
    "deferral": "deferred",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "delivered": "delivered",
    "open": "opened",
    "click": "clicked",
    "spam": "complained",
    "unsub": "unsubscribed",
    "reject": "rejected",
}
_BOUNCES: Final[Mapping[str, Bounce]] = {"hard_bounce": "hard", "soft_bounce": "soft"}
_REASONS: Final[Mapping[str, Why]] = {"hard_bounce": "bounced", "soft_bounce": "bounced", "spam": "spam"}
# why Mandrill didn't send, as `msg.reject.reason` has it
_REJECTED: Final[Mapping[str, Why]] = {
    "hard-bounce": "bounced",
    "soft-bounce": "bounced",
    "spam": "spam",
    "unsub": "unsubscribed",
    "invalid": "invalid",
    "custom": "blocked",
    "rule": "blocked",
}
_NOTHING: Final = {EVENTS: "[]"}
_NOTHING_KEY: Final = "test-webhook"
_EXAMPLE: Final = "exampleaaaaaaa"
_FIELDS_MAX: Final = 100


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The signature over URL and fields."""
    given = header(request, SIGNATURE)
    try:
        fields = _fields(request.body)
    except ValueError:
        raise Unproved("no_signature", "expected a form, got something else") from None
    keys = [*secrets, _NOTHING_KEY] if fields == _NOTHING else secrets
    prove_one_of([given], [_signature(fields, key, request.url) for key in keys], SIGNATURE)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body` at that URL."""
    return {SIGNATURE: _signature(_fields(body), secret, url)}


def read(request: Request) -> list[Notification]:
    """One notification for each of the form's list; none for Mandrill's example."""
    try:
        events = _fields(request.body).get(EVENTS)
    except ValueError:
        raise Rejection(Reason.NOT_JSON, "expected a form, got something else") from None
    if events is None:
        raise Rejection(Reason.MISSING_FIELD, f"expected a form with {EVENTS}, got none")
    return [_read(each) for each in json_objects(events.encode()) if not _is_example(each)]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    name, body = notification.name, notification.body
    message = mapping(body.get("msg"))
    rejected = mapping(message.get("reject"))
    kind = KINDS.get(name)
    reason = _REASONS.get(name)
    if kind == "rejected":
        reason = _REJECTED.get(text_of(rejected.get("reason")) or "", "other")
    return Engagement(
        kind,
        message.get("from_email") if name == "inbound" else _recipient(body),
        email_id=body.get("_id"),
        tags=message.get("tags"),
        metadata=message.get("metadata"),
        bounce_type=_BOUNCES.get(name),
        reason=reason,
        description=message.get("bounce_description") or rejected.get("reason"),
        response=message.get("diag"),
        link_url=body.get("url"),
        user_agent=body.get("user_agent"),
        template_id=message.get("template"),
    ).meaning(body)


def _read(event: dict[str, Any]) -> Notification:
    name = text_of(event.get("event")) or text_of(event.get("type")) or "event"
    id = id_of(event.get("_id"), name, event.get("ts"), event.get("url"))
    return Notification(name, id, seconds(event.get("ts")), event)


def _recipient(event: dict[str, Any]) -> Any:
    return at(event, "msg", "email") or at(event, "reject", "email") or at(event, "entry", "email")


def _is_example(event: dict[str, Any]) -> bool:
    return (text_of(at(event, "msg", "_id")) or "").startswith(_EXAMPLE)


def _fields(body: bytes) -> dict[str, str]:
    """Raises `ValueError` for what is no form in UTF-8."""
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    return dict(pairs)


def _signature(fields: dict[str, str], secret: str, url: str) -> str:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    return base64_digest(secret, signed.encode("utf-8", "replace"), "sha1")


def _sample(now_ms: int) -> bytes:
    message = {"_id": "sample", "email": "ada@example.com", "subject": "A sample", "tags": ["sample"]}
    event = {"event": "open", "_id": "sample", "ts": now_ms // SECOND_MS, "msg": message}
    return urlencode({EVENTS: orjson.dumps([event])}).encode()


VENDOR = Vendor(
    "mandrill",
    "Mandrill",
    prove,
    read,
    mean,
    _sample,
    sign,
    content_type="application/x-www-form-urlencoded",
    body_bytes_max=BATCH_BYTES_MAX,
)
