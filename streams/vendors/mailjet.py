"""Mailjet: its event API (https://dev.mailjet.com/email/guides/webhooks/).

To be told: Account settings, Event notifications: this connection's URL with the login before the host
(`https://user:password@...`), for each event; with or without grouping.

* Proof: the login, as Mailjet signs nothing. Without a time in it a request can be sent again by whoever has the login; the id
  of what it tells, made of message, event, second, address and link, then is the same.
* Contact: `user_id` or `userId` in `Payload` (JSON that the message was sent with), else the recipient's address.
* `sent` is `Email Delivered`: Mailjet tells it once the other side has taken the mail. A bounce for greylisting is put off; it
  is hard only where Mailjet says `hard_bounce`. `email_id` is text, as Mailjet's ids are beyond what JSON numbers hold.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from streams.vendors.contract import Meaning, Notification, Request, Vendor, text_of
from streams.vendors.engagement import Engagement, Kind, Why, id_of
from streams.vendors.signing import SECOND_MS, login_problem, prove_login, sign_login
from streams.vendors.values import json_objects, seconds

KINDS: Final[Mapping[str, Kind]] = {
    "sent": "delivered",
    "open": "opened",
    "click": "clicked",
    "bounce": "bounced",
    "blocked": "rejected",
    "spam": "complained",
    "unsub": "unsubscribed",
}
# Mailjet's errors
_REASONS: Final[Mapping[str, Why]] = {
    "user unknown": "bounced",
    "mailbox inactive": "bounced",
    "quota exceeded": "bounced",
    "invalid domain": "bounced",
    "no mail host": "bounced",
    "relay/access denied": "bounced",
    "typofix": "invalid",
    "blacklisted": "blocked",
    "sender blocked": "blocked",
    "content blocked": "blocked",
    "policy issue": "blocked",
    "preblocked": "blocked",
    "spam reporter": "spam",
}


def read(request: Request) -> list[Notification]:
    """One notification for each event, of which a body has a list or a single one."""
    return [_read(each) for each in json_objects(request.body)]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body, kind = notification.body, KINDS.get(notification.name)
    error, is_hard = text_of(body.get("error")), body.get("hard_bounce") is True
    if error == "greylisted" and not is_hard:
        kind = "deferred"
    campaign_id = body.get("mj_campaign_id")
    return Engagement(
        kind,
        body.get("email"),
        email_id=_message_id(body),
        tags=body.get("customcampaign"),
        metadata=body.get("Payload"),
        bounce_type="hard" if kind == "bounced" and is_hard else None,
        reason=_REASONS.get(error, "other") if error else None,
        description=error or body.get("comment"),
        response=body.get("smtp_reply"),
        link_url=body.get("url"),
        user_agent=body.get("agent"),
        # 0 is none
        campaign_id=campaign_id if campaign_id != 0 else None,
        campaign_name=body.get("customcampaign"),
        group=_group(body) if kind == "unsubscribed" else None,
    ).meaning(body)


def _read(event: dict[str, Any]) -> Notification:
    name = text_of(event.get("event")) or "event"
    id = id_of(_message_id(event), name, event.get("time"), event.get("email"), event.get("url"))
    return Notification(name, id, seconds(event.get("time")), event)


def _message_id(event: dict[str, Any]) -> str | None:
    return text_of(event.get("MessageID")) or text_of(event.get("mj_message_id"))


def _group(event: dict[str, Any]) -> str | None:
    found = text_of(event.get("mj_list_id"))
    return None if found == "0" else found


def _sample(now_ms: int) -> bytes:
    event = {"event": "open", "time": now_ms // SECOND_MS, "MessageID": now_ms, "email": "ada@example.com"}
    return orjson.dumps([event])


VENDOR = Vendor("mailjet", "Mailjet", prove_login, read, mean, _sample, sign_login, secret_problem=login_problem)
