"""SendGrid: its signed event webhook (https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event).

To be told: Settings, Mail Settings, Event Webhooks: this connection's URL, all delivery and engagement events, and Signature
Verification enabled. The secret is the verification key that SendGrid shows then (a public key, in base64).

* Proof: ECDSA (P-256, SHA-256) over the timestamp and the raw body, which ends with CRLF. A request is believed for 24 hours,
  as SendGrid tries for so long and doesn't say whether it signs anew. Replays are stopped by `sg_event_id`, which within a
  worker's dedup horizon is the same event; SendGrid may give a repeat another one, which can't be told then.
* Contact: the custom argument `user_id` or `userId` (custom arguments stand beside the event's own fields), else the address.
* `email_id` is SendGrid's `sg_message_id`, which all events of a message have; `smtp-id` is missing in opens and clicks.
  Messages of django-anymail have its own id there, as it tells it.
* The group of `Unsubscribed` and `Subscribed` is the unsubscribe group's id; a global unsubscribe has none.
* Bounces of the type `blocked` are soft, as are those with a 4.x.x status: the address may work tomorrow.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streams.vendors.contract import (
    BATCH_BYTES_MAX,
    Meaning,
    Notification,
    Request,
    Unproved,
    Unsignable,
    Vendor,
    text_of,
)
from streams.vendors.engagement import Bounce, Engagement, Kind, Why, epoch
from streams.vendors.signing import SECOND_MS, header, number_in, prove_age
from streams.vendors.values import at, json_objects

SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
AGE_MS_MAX: Final = 24 * 3600 * SECOND_MS
KINDS: Final[Mapping[str, Kind]] = {
    "processed": "queued",
    "dropped": "rejected",
    "delivered": "delivered",
    "deferred": "deferred",
    "bounce": "bounced",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "subscribed",
}
# SendGrid's words for why it dropped a message
_DROPPED: Final[Mapping[str, Why]] = {
    "invalid": "invalid",
    "bounced address": "bounced",
    "unsubscribed address": "unsubscribed",
    "group unsubscribe": "unsubscribed",
    "spam reporting address": "spam",
    "spam content": "blocked",
}
# fields of SendGrid's own; all others are custom arguments
_OWN_TEXT: Final = """
    email timestamp event category smtp-id sg_event_id sg_message_id reason status response attempt type tls cert_err ip
    useragent url url_offset asm_group_id pool newsletter post_type sg_user_id sg_content_type sg_template_id sg_template_name
    sg_machine_open template_id template_hash template_version_id marketing_campaign_id marketing_campaign_name
    marketing_campaign_version marketing_campaign_split_id singlesend_id singlesend_name mc_stats mc_auto_id mc_auto_name
    mc_auto_step_id mc_pod_id phase_id send_at recv_msgid bounce_classification anymail_id"""
_OWN: Final = frozenset(_OWN_TEXT.split())

Key = ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The signature over timestamp and body by one of the keys, then the age."""
    given, timestamp = header(request, SIGNATURE), header(request, TIMESTAMP)
    signed_at = number_in(timestamp, TIMESTAMP)
    signed = timestamp.encode() + request.body
    if not any(_has_signed(secret, given, signed) for secret in secrets):
        raise Unproved("wrong_signature", f"expected {SIGNATURE} of this body by this connection's key, got another")
    prove_age(signed_at * SECOND_MS, now_ms, AGE_MS_MAX)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The headers that prove `body`, where `secret` is a private key, as only a test's is."""
    key = _key(secret)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Unsignable("only SendGrid has the private key: let it send a test from Settings, Mail Settings")
    timestamp = str(now_ms // SECOND_MS)
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}


def secret_problem(secret: str) -> str | None:
    """What the key should have been; None when it is all right."""
    if _key(secret) is not None:
        return None
    return (
        "expected the verification key that SendGrid shows (a P-256 public key in base64, or PEM), got something else"
    )


def read(request: Request) -> list[Notification]:
    """One notification for each of the array."""
    return [
        Notification(
            (text_of(each.get("event")) or "event").lower(),
            text_of(each.get("sg_event_id")),
            epoch(each.get("timestamp")),
            each,
        )
        for each in json_objects(request.body)
    ]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body, kind = notification.body, KINDS.get(notification.name)
    said = body.get("reason")
    return Engagement(
        kind,
        body.get("email"),
        email_id=text_of(body.get("anymail_id")) or text_of(body.get("sg_message_id")) or body.get("smtp-id"),
        tags=body.get("category"),
        metadata={name: value for name, value in body.items() if name not in _OWN},
        bounce_type=_bounce_type(body) if kind == "bounced" else None,
        reason=_reason(kind, said),
        description=said if kind == "rejected" else None,
        response=body.get("response") or (said if kind == "bounced" else None),
        link_url=body.get("url") if kind == "clicked" else None,
        user_agent=body.get("useragent"),
        campaign_id=_first(body, "singlesend_id", "marketing_campaign_id") or at(body, "newsletter", "newsletter_id"),
        campaign_name=_first(body, "singlesend_name", "marketing_campaign_name"),
        template_id=_first(body, "sg_template_id", "template_id"),
        group=body.get("asm_group_id") if kind in ("unsubscribed", "subscribed") else None,
        by_machine=body.get("sg_machine_open") is True,
    ).meaning(body)


def _bounce_type(body: dict[str, Any]) -> Bounce:
    passing = body.get("type") == "blocked" or (text_of(body.get("status")) or "").startswith("4")
    return "soft" if passing else "hard"


def _reason(kind: Kind | None, said: Any) -> Why | None:
    if kind == "rejected":
        return _DROPPED.get((text_of(said) or "").lower(), "other")
    return "bounced" if kind == "bounced" else None


def _first(body: dict[str, Any], *names: str) -> Any:
    return next((found for name in names if (found := body.get(name))), None)


def _has_signed(secret: str, given: str, signed: bytes) -> bool:
    key = _key(secret)
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    if public is None:
        return False
    try:
        public.verify(base64.b64decode(given, validate=True), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=256)
def _key(secret: str) -> Key | None:
    """The key that is written there; None where it is none of P-256."""
    written = secret.strip()
    try:
        if written.startswith("-----BEGIN"):
            key = _loaded(written.encode(), serialization.load_pem_public_key, serialization.load_pem_private_key)
        else:
            raw = base64.b64decode(written, validate=True)
            key = _loaded(raw, serialization.load_der_public_key, serialization.load_der_private_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    is_one = isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey)
    return key if is_one and isinstance(key.curve, ec.SECP256R1) else None


def _loaded(raw: bytes, public: Any, private: Any) -> Any:
    try:
        return public(raw)
    except ValueError:
        return private(raw, None)


def _sample(now_ms: int) -> bytes:
    event = {
        "email": "ada@example.com",
        "timestamp": now_ms // SECOND_MS,
        "event": "open",
        "category": ["sample"],
        "sg_event_id": f"sample-{now_ms}",
        "sg_message_id": "sample",
    }
    return orjson.dumps([event]) + b"\r\n"


VENDOR = Vendor(
    "sendgrid",
    "SendGrid",
    prove,
    read,
    mean,
    _sample,
    sign,
    secret_problem=secret_problem,
    body_bytes_max=BATCH_BYTES_MAX,
)
