"""SparkPost, now Bird: its event webhooks (https://developers.sparkpost.com/api/webhooks/).

To be told: Configuration, Webhooks, Create: this connection's URL, basic authentication, and the message, engagement,
generation and unsubscribe events.

* Proof: the login, as SparkPost signs nothing. Without a time in it a request can be sent again by whoever has the login;
  replays are stopped by `event_id`.
* Contact: the metadata's `user_id` or `userId` (`rcpt_meta`), else the recipient's address, with capitals as it was given.
* The classes 60, 80, 90 and 100 of a bounce are answers of machines and of people, not bounces. A bounce is hard in the classes
  10 (no such recipient) and 30 (no recipient), as SparkPost has it.
* `initial_open` is told beside an `open` of the same moment: only `open` is `Email Opened`, the other keeps its name.
* `email_id` is the transmission's, which SparkPost answers with when mail is handed in; `campaign_id` is a tag as well, as
  SparkPost has no others. Mail that came in (relay events) is told by who wrote it.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from streams.vendors.contract import BATCH_BYTES_MAX, Meaning, Notification, Request, Vendor, text_of
from streams.vendors.engagement import Engagement, Kind, Why, epoch
from streams.vendors.signing import SECOND_MS, login_problem, prove_login, sign_login
from streams.vendors.values import at, iso, json_objects

KINDS: Final[Mapping[str, Kind]] = {
    "injection": "queued",
    "delivery": "delivered",
    "bounce": "bounced",
    "out_of_band": "bounced",
    "delay": "deferred",
    "policy_rejection": "rejected",
    "generation_rejection": "rejected",
    "generation_failure": "failed",
    "spam_complaint": "complained",
    "open": "opened",
    "amp_open": "opened",
    "click": "clicked",
    "amp_click": "clicked",
    "list_unsubscribe": "unsubscribed",
    "link_unsubscribe": "unsubscribed",
}
# https://support.sparkpost.com/docs/deliverability/bounce-classification-codes
_CLASSES: Final[Mapping[str, Why]] = {
    "10": "invalid",
    "20": "bounced",
    "21": "bounced",
    "22": "bounced",
    "23": "bounced",
    "24": "timed_out",
    "25": "blocked",
    "30": "bounced",
    "40": "bounced",
    "50": "blocked",
    "51": "spam",
    "52": "spam",
    "54": "blocked",
    "70": "bounced",
    "90": "unsubscribed",
}
_HARD: Final = ("10", "30")
# classes of what is no bounce
_ANSWERS: Final[Mapping[str, Kind | None]] = {
    "60": "autoresponded",
    "80": None,  # "subscribe", says a mail: that is no consent
    "90": "unsubscribed",
    "100": "autoresponded",
}
_BATCH: Final = "msys"


def read(request: Request) -> list[Notification]:
    """One notification for each of the batch; none for those that are empty, with which SparkPost tries the URL."""
    events = (_event(each) for each in json_objects(request.body))
    return [_read(*each) for each in events if each is not None]


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    body, kind = notification.body, KINDS.get(notification.name)
    bounce_class = text_of(body.get("bounce_class"))
    if kind == "bounced" and bounce_class:
        kind = _ANSWERS.get(bounce_class, kind)
    inbound = notification.name.startswith("relay_")
    return Engagement(
        kind,
        body.get("msg_from") if inbound else body.get("raw_rcpt_to") or body.get("rcpt_to"),
        email_id=body.get("transmission_id"),
        tags=body.get("campaign_id"),
        metadata=body.get("rcpt_meta"),
        bounce_type="hard" if kind == "bounced" and bounce_class in _HARD else None,
        reason=_CLASSES.get(bounce_class, "other") if bounce_class else None,
        description=body.get("reason"),
        response=body.get("raw_reason"),
        link_url=body.get("target_link_url"),
        link_id=body.get("target_link_name"),
        user_agent=body.get("user_agent"),
        campaign_id=body.get("campaign_id"),
        template_id=body.get("template_id"),
    ).meaning(body)


def _event(wrapped: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The class of an event, and the event; None for an empty one."""
    found = wrapped.get(_BATCH)
    name = next(iter(found), None) if isinstance(found, dict) else None
    if name is None:
        return None
    event = at(found, name)
    return name, event if isinstance(event, dict) else {}


def _read(name: str, event: dict[str, Any]) -> Notification:
    told_at = event.get("timestamp")
    at_ms = epoch(told_at)
    return Notification(
        text_of(event.get("type")) or name,
        text_of(event.get("event_id")),
        iso(told_at) if at_ms is None else at_ms,
        event,
    )


def _sample(now_ms: int) -> bytes:
    event = {
        "type": "open",
        "event_id": f"sample-{now_ms}",
        "timestamp": str(now_ms // SECOND_MS),
        "rcpt_to": "ada@example.com",
        "transmission_id": "sample",
    }
    return orjson.dumps([{_BATCH: {"track_event": event}}])


VENDOR = Vendor(
    "sparkpost",
    "SparkPost",
    prove_login,
    read,
    mean,
    _sample,
    sign_login,
    secret_problem=login_problem,
    body_bytes_max=BATCH_BYTES_MAX,
)
