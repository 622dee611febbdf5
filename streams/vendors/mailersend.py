"""MailerSend: its webhooks (https://developers.mailersend.com/api/v1/webhooks.html), payloads of both versions.

To be told: Email, Domains, Manage, Webhooks, Add: this connection's URL and the activities wanted. The secret is the webhook's
signing secret.

* Proof: HMAC-SHA256 in hex over the body. There is no time in it; replays are stopped by the activity's id. While a webhook is
  being set up MailerSend posts `webhook.test`, signed with a secret that everybody knows: that is believed, as it tells nothing.
* Contact: the recipient's address, as MailerSend tells no metadata.
* `opened_unique` and `clicked_unique` are told beside an `opened` or `clicked` of the same moment: they keep their names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from schemas.rejected import Rejection
from streams.vendors.contract import Meaning, Notification, Request, Unproved, Vendor, text_of
from streams.vendors.engagement import Bounce, Engagement, Kind, Why
from streams.vendors.signing import header, hex_digest, prove_one_of
from streams.vendors.values import at, iso, json_object, mapping

SIGNATURE: Final = "Signature"
TEST: Final = "webhook.test"
# it is small; of what is larger and not proved nothing is read
TEST_BYTES_MAX: Final = 10_000
_TEST_SECRET: Final = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"
_ACTIVITY: Final = "activity."
KINDS: Final[Mapping[str, Kind]] = {
    "sent": "sent",
    "delivered": "delivered",
    "soft_bounced": "bounced",
    "hard_bounced": "bounced",
    "deferred": "deferred",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "spam_complaint": "complained",
    "spam_complaints": "complained",
    "suppressed": "rejected",
}
_BOUNCES: Final[Mapping[str, Bounce]] = {"hard_bounced": "hard", "soft_bounced": "soft"}
_REASONS: Final[Mapping[str, Why]] = {
    "hard_bounced": "bounced",
    "soft_bounced": "bounced",
    "unsubscribed": "unsubscribed",
    "spam_complaint": "spam",
    "spam_complaints": "spam",
    "suppressed": "blocked",
}
# where the newer payloads say why
_WHY: Final = ("bounce_reason", "reject_reason", "suppression_reason", "unsubscribe_reason")


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The signature over the body; of a test, also the one that everybody could make."""
    given = [header(request, SIGNATURE)]
    try:
        prove_one_of(given, [hex_digest(secret, request.body) for secret in secrets], SIGNATURE)
    except Unproved:
        if not _is_test(request.body):
            raise
        prove_one_of(given, [hex_digest(_TEST_SECRET, request.body)], SIGNATURE)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`."""
    return {SIGNATURE: hex_digest(secret, body)}


def read(request: Request) -> list[Notification]:
    """The one activity of a body; none for a test."""
    body = json_object(request.body)
    name = text_of(body.get("type")) or "event"
    if name == TEST:
        return []
    data = mapping(body.get("data"))
    at_ms = iso(data.get("created_at"))
    return [Notification(name, text_of(data.get("id")), iso(body.get("created_at")) if at_ms is None else at_ms, body)]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body, activity = notification.body, notification.name.removeprefix(_ACTIVITY)
    data = mapping(body.get("data"))
    # version 1 has all of the message, version 2 what is asked for here
    mail, more, meta = mapping(data.get("email")), mapping(data.get("morph")), mapping(data.get("meta"))
    return Engagement(
        KINDS.get(activity) if notification.name.startswith(_ACTIVITY) else None,
        _recipient(data, mail),
        email_id=text_of(data.get("message_id")) or at(mail, "message", "id"),
        tags=data.get("tags") or mail.get("tags"),
        bounce_type=_BOUNCES.get(activity),
        reason=_REASONS.get(activity),
        description=more.get("readable_reason") or more.get("reason") or _first(meta, *_WHY),
        response=meta.get("bounce_code"),
        link_url=more.get("url") or meta.get("url"),
        user_agent=meta.get("user_agent"),
        template_id=data.get("template_id"),
    ).meaning(body)


def _recipient(data: dict[str, Any], mail: dict[str, Any]) -> Any:
    # mail that came in is told by who wrote it
    return at(mail, "recipient", "email") or text_of(data.get("recipient")) or at(data, "sender", "email")


def _first(body: dict[str, Any], *names: str) -> Any:
    return next((found for name in names if (found := body.get(name))), None)


def _is_test(body: bytes) -> bool:
    if len(body) > TEST_BYTES_MAX:
        return False
    try:
        return json_object(body).get("type") == TEST
    except Rejection:
        return False


def _sample(now_ms: int) -> bytes:
    told_at = format_instant(now_ms)
    data = {
        "id": f"sample-{now_ms}",
        "type": "opened",
        "recipient": "ada@example.com",
        "message_id": "sample",
        "tags": ["sample"],
        "meta": {},
    }
    return orjson.dumps({"type": "activity.opened", "created_at": told_at, "data": data})


VENDOR = Vendor("mailersend", "MailerSend", prove, read, mean, _sample, sign)
