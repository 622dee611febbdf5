"""Mailgun: its webhooks (https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks).

To be told: Sending, Webhooks, this connection's URL for every event. The secret is the HTTP webhook signing key.

* Proof: HMAC-SHA256 in hex over timestamp and token, which stand in the body with it; an account's own signature beside a
  subaccount's is as good. It doesn't cover what is told: who has seen one request could tell anything with it. Hence `once`:
  a token is believed once, for nine hours, as Mailgun tries for eight and doesn't say whether it signs anew.
* The id is the event's, which is unique for a day, and its instant: a domain's webhook and the account's tell an event each with
  a token of its own. Contact: the variable `user_id` or `userId`, else the recipient's address.
* `failed` is put off where it is temporary, else bounced; hard only where the reason is a bounce (`bounce`, or
  `suppress-bounce` for an address that bounced before), not where Mailgun or the other side refuses for reasons of its own.
* `rejected` names no recipient: it is told of each that the message was to.
* Openings and clicks for which Mailgun names a bot (`client-info.bot`) have `by_machine`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.rejected import Reason, Rejection
from streams.vendors.contract import Meaning, Notification, Request, Unproved, Vendor, text_of
from streams.vendors.engagement import Engagement, Kind, Why, addresses, for_each
from streams.vendors.signing import SECOND_MS, hex_digest, number_in, prove_age, prove_one_of
from streams.vendors.values import at, json_object, seconds

AGE_MS_MAX: Final = 9 * 3600 * SECOND_MS
KINDS: Final[Mapping[str, Kind]] = {
    "accepted": "queued",
    "rejected": "rejected",
    "delivered": "delivered",
    "failed": "bounced",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "complained": "complained",
}
_REASONS: Final[Mapping[str, Why]] = {
    "bounce": "bounced",
    "suppress-bounce": "bounced",
    "suppress-complaint": "spam",
    "suppress-unsubscribe": "unsubscribed",
}
_SIGNATURE_CHARACTERS_MAX: Final = 200


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The signature over timestamp and token, then the age."""
    signature = _signature(request)
    timestamp, token = (_part(signature, key) for key in ("timestamp", "token"))
    given = [_part(signature, "signature")]
    if signature.get("parent-signature"):
        given.append(_part(signature, "parent-signature"))
    signed_at = number_in(timestamp, "timestamp")
    signed = (timestamp + token).encode()
    prove_one_of(given, [hex_digest(secret, signed) for secret in secrets], "the signature")
    prove_age(signed_at * SECOND_MS, now_ms, AGE_MS_MAX)


def seal(body: bytes, secret: str, now_ms: int) -> bytes:
    """`body` with the signature that proves it."""
    timestamp, token = str(now_ms // SECOND_MS), f"{now_ms:050x}"
    signature = {"timestamp": timestamp, "token": token, "signature": hex_digest(secret, (timestamp + token).encode())}
    return orjson.dumps({**orjson.loads(body), "signature": signature})


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """No headers: the proof stands in the body."""
    return {}


def once(request: Request) -> str | None:
    """The token, which a request that was proved has."""
    return _part(_signature(request), "token")


def read(request: Request) -> list[Notification]:
    """The one event of a body, for each recipient of a message that was rejected."""
    body = json_object(request.body)
    event = body.get("event-data")
    if not isinstance(event, dict):
        raise Rejection(Reason.MISSING_FIELD, "expected an object in event-data, got none")
    at_ms, id = seconds(event.get("timestamp")), text_of(event.get("id"))
    token = text_of(at(body, "signature", "token"))
    told = Notification(
        text_of(event.get("event")) or "event", token if id is None or at_ms is None else f"{id}:{at_ms}", at_ms, event
    )
    if text_of(event.get("recipient")):
        return [told]
    return for_each(told, addresses(at(event, "message", "headers", "to")))


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body = notification.body
    kind, reason = _kind(notification.name, body)
    status = body.get("delivery-status")
    return Engagement(
        kind,
        body.get("recipient"),
        email_id=_message_id(at(body, "message", "headers", "message-id")),
        tags=body.get("tags"),
        metadata=body.get("user-variables"),
        bounce_type="hard" if kind == "bounced" and reason == "bounced" else None,
        reason=reason,
        description=at(status, "description") or at(body, "reject", "reason"),
        response=at(status, "message"),
        link_url=body.get("url") if kind == "clicked" else None,
        user_agent=at(body, "client-info", "user-agent"),
        campaign_id=at(body, "campaigns", 0, "id"),
        campaign_name=at(body, "campaigns", 0, "name"),
        template_id=at(body, "template", "name"),
        group=at(body, "mailing-list", "address") if kind == "unsubscribed" else None,
        by_machine=bool(text_of(at(body, "client-info", "bot"))),
    ).meaning(body)


def _kind(name: str, body: dict[str, Any]) -> tuple[Kind | None, Why | None]:
    kind = KINDS.get(name)
    if kind == "bounced" and body.get("severity") == "temporary":
        kind = "deferred"
    said = text_of(body.get("reason"))
    if said is None:
        return kind, "other" if kind == "rejected" else None
    return kind, _REASONS.get(said, "other")


def _message_id(written: Any) -> str | None:
    # with the brackets that it was sent with
    found = text_of(written)
    return f"<{found}>" if found and not found.startswith("<") else found


def _signature(request: Request) -> dict[str, Any]:
    try:
        found = json_object(request.body).get("signature")
    except Rejection:
        found = None
    if not isinstance(found, dict):
        raise Unproved("no_signature", "expected an object `signature` in a JSON body, got none")
    return found


def _part(signature: dict[str, Any], key: str) -> str:
    found = text_of(signature.get(key))
    if found is None or not found.isascii() or len(found) > _SIGNATURE_CHARACTERS_MAX:
        raise Unproved("no_signature", f"expected {key} of the signature as text, got none")
    return found


def _sample(now_ms: int) -> bytes:
    event = {
        "event": "opened",
        "id": f"sample-{now_ms}",
        "timestamp": now_ms / SECOND_MS,
        "recipient": "ada@example.com",
        "tags": ["sample"],
        "user-variables": {},
        "message": {"headers": {"message-id": "sample@example.com"}},
    }
    return orjson.dumps({"signature": {}, "event-data": event})


VENDOR = Vendor("mailgun", "Mailgun", prove, read, mean, _sample, sign, seal=seal, once=once, once_ms=2 * AGE_MS_MAX)
