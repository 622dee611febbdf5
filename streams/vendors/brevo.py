"""Brevo, once Sendinblue: its transactional and marketing webhooks (https://developers.brevo.com/docs/transactional-webhooks).

To be told: Transactional, Settings, Webhook, and Contacts, Settings, Webhooks (marketing has its own): this connection's URL
with basic authentication, and the events wanted.

* Proof: the login, as Brevo signs nothing. Without a time in it a request can be sent again by whoever has the login; the id of
  what it tells then is the same.
* There is no id of an event: message (or campaign), what happened, address, instant and link make one. So a first opening, which
  Brevo tells as `unique_opened` and as `opened`, is one event where both have the same instant.
* Contact: `user_id` or `userId` in the header `X-Mailin-custom` (JSON) that the message was sent with, else the address.
* Openings by mail programs that fetch pictures before people look (`proxy_open`) have `by_machine`. Contacts that were
  changed, deleted or put on a list keep Brevo's names. Who unsubscribes gets no campaign of any list any more, so that
  `Unsubscribed` has no group.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.rejected import Rejection
from streams.vendors.contract import Meaning, Notification, Request, Vendor, text_of
from streams.vendors.engagement import Bounce, Engagement, Kind, Why, addresses, epoch, for_each, id_of
from streams.vendors.signing import SECOND_MS, login_problem, prove_login, sign_login
from streams.vendors.values import json_objects, json_value

KINDS: Final[Mapping[str, Kind]] = {
    "request": "queued",
    "delivered": "delivered",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "invalid_email": "bounced",
    "blocked": "rejected",
    "spam": "complained",
    "complaint": "complained",
    "error": "failed",
    "deferred": "deferred",
    "opened": "opened",
    "unique_opened": "opened",
    "proxy_open": "opened",
    "unique_proxy_open": "opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "unsubscribed": "unsubscribed",
}
_BOUNCES: Final[Mapping[str, Bounce]] = {"hard_bounce": "hard", "invalid_email": "hard", "soft_bounce": "soft"}
_REASONS: Final[Mapping[str, Why]] = {
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "invalid_email": "invalid",
    "blocked": "blocked",
    "spam": "spam",
    "complaint": "spam",
    "unsubscribe": "unsubscribed",
    "unsubscribed": "unsubscribed",
}
# the event's instant; `date` and `ts` are in the account's zone
_TIMES: Final = ("ts_epoch", "s_epoch", "ts_event")


def read(request: Request) -> list[Notification]:
    """One notification for each event, of which a body has one or, batched, a list; one for each of several contacts."""
    return [told for each in json_objects(request.body) for told in _read(each)]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    name, body = notification.name, notification.body
    return Engagement(
        KINDS.get(name),
        body.get("recipient") or body.get("email"),
        email_id=body.get("message-id"),
        tags=_tags(body),
        metadata=body.get("X-Mailin-custom"),
        bounce_type=_BOUNCES.get(name),
        reason=_REASONS.get(name),
        response=body.get("reason"),
        link_url=body.get("link") or body.get("URL"),
        user_agent=body.get("user_agent"),
        campaign_id=body.get("camp_id"),
        campaign_name=body.get("campaign name"),
        template_id=body.get("template_id"),
        by_machine="proxy_open" in name,
    ).meaning(body)


def _read(event: dict[str, Any]) -> list[Notification]:
    name = text_of(event.get("event")) or "event"
    at_ms = next((found for key in _TIMES if (found := epoch(event.get(key))) is not None), None)
    # the same of a first opening that is told twice
    what, link = KINDS.get(name, name), event.get("link") or event.get("URL")
    message = text_of(event.get("message-id")) or text_of(event.get("camp_id"))
    times = [event.get(key) for key in _TIMES]
    id = id_of(message, what, event.get("email"), *times, link) if at_ms is not None else None
    several = event.get("email")
    return for_each(Notification(name, id, at_ms, event), addresses(several) if isinstance(several, list) else [])


def _tags(body: dict[str, Any]) -> Any:
    """A list, text, or JSON text of a list."""
    tags = body.get("tags") or body.get("tag")
    if isinstance(tags, str) and tags.startswith("["):
        try:
            return json_value(tags.encode("utf-8", "replace"))
        except Rejection:
            return tags
    return tags


def _sample(now_ms: int) -> bytes:
    event = {
        "event": "opened",
        "email": "ada@example.com",
        "message-id": "<sample@example.com>",
        "ts_epoch": now_ms,
        "ts_event": now_ms // SECOND_MS,
        "tags": ["sample"],
    }
    return orjson.dumps(event)


VENDOR = Vendor("brevo", "Brevo", prove_login, read, mean, _sample, sign_login, secret_problem=login_problem)
