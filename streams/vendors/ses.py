"""Amazon SES over SNS (https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html).

To be told: a configuration set's event destination (or an identity's feedback notifications) that publishes to an SNS topic, and
a subscription of this connection's URL to that topic by HTTPS, raw message delivery off. The secret is the topic's ARN.

* Proof: RSA over SNS's canonical fields, with SHA-1 (signature version 1) or SHA-256 (2). The certificate is got from
  https://sns.<region>.amazonaws.com (.cn in China) of the topic's region alone, and must be valid at the time. Everybody may have
  a topic that SNS signs for, so that the topic must be the connection's own. A message is believed for 12 hours after it was
  published (SNS tries again for up to one, unless told otherwise); replays are stopped by `MessageId`.
* `SubscriptionConfirmation` is agreed to where it is proved, under the same pinning; `UnsubscribeConfirmation` is ignored, as
  calling what it offers would subscribe again.
* Contact: `user_id` or `userId` in a header `X-Metadata` (JSON, as django-anymail sends it) or among the message's tags, else
  the address. One event for each recipient: SES doesn't say which of several has opened or clicked.
* A change of topics is `Unsubscribed` or `Subscribed` for each that changed, with the topic as its group; leaving all of them is
  one `Unsubscribed` without a group.
* Times are SNS's, moments after the event's own. A bounce is hard where it is `Permanent`.
* What SES says of itself (a validated topic, a subscription that succeeded) is told to nobody.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.contract import Meaning, Notification, Request, Unsignable, Vendor, text_of
from streams.vendors.engagement import Engagement, Kind, Why, addresses, for_each
from streams.vendors.sns import NOTIFICATION, confirms, prove, topic_problem
from streams.vendors.values import at, iso, json_object, mapping

KINDS: Final[Mapping[str, Kind]] = {
    "Bounce": "bounced",
    "Click": "clicked",
    "Complaint": "complained",
    "Delivery": "delivered",
    "DeliveryDelay": "deferred",
    "Open": "opened",
    "Reject": "rejected",
    "Rendering Failure": "failed",
    "Send": "sent",
}
_REASONS: Final[Mapping[str, Why]] = {"Bounce": "bounced", "Complaint": "spam", "Reject": "blocked"}
# the state of a topic; without a word that is known nobody has agreed to anything
_TOPICS: Final[Mapping[str, Kind]] = {"OptIn": "subscribed", "OptOut": "unsubscribed"}
# where an event lists the recipients it is about
_LISTS: Final = ("bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients")
# what SES says of its own
_VALIDATED: Final = "Successfully validated SNS topic for Amazon SES event publishing."
_SUBSCRIBED: Final = "AmazonSnsSubscriptionSucceeded"


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """SNS's header, which proves nothing."""
    return {"x-amz-sns-message-type": NOTIFICATION}


def seal(body: bytes, secret: str, now_ms: int) -> bytes:
    """Raises `Unsignable`."""
    raise Unsignable("only Amazon has the private key: publish a message to the topic, or send mail to SES's simulator")


def read(request: Request) -> list[Notification]:
    """What SES has published, for each recipient it is about; none for what SNS and SES say of their own."""
    body = json_object(request.body)
    message = body.get("Message")
    if body.get("Type") != NOTIFICATION or message == _VALIDATED:
        return []
    if not isinstance(message, str):
        raise Rejection(Reason.MISSING_FIELD, "expected text in Message, got none")
    event = json_object(message.encode("utf-8", "replace"))
    name = text_of(event.get("eventType")) or text_of(event.get("notificationType")) or "event"
    if name == _SUBSCRIBED:
        return []
    told = Notification(name, text_of(body.get("MessageId")), iso(body.get("Timestamp")), event)
    return for_each(told, _recipients(name, event))


def mean(notification: Notification) -> Meaning:
    """What happened to the message."""
    name, body = notification.name, notification.body
    mail, event = mapping(body.get("mail")), _event(name, body)
    headers = _headers(mail)
    bounce_type, recipient = text_of(event.get("bounceType")), body.get("recipient")
    engagement = Engagement(
        KINDS.get(name),
        recipient,
        email_id=mail.get("messageId"),
        tags=headers.get("x-tag"),
        metadata=next(iter(headers.get("x-metadata", ())), None),
        user_id=_user_id(mail),
        bounce_type="hard" if bounce_type == "Permanent" else None,
        reason=_REASONS.get(name),
        description=_description(event),
        response=event.get("smtpResponse") or at(_of(recipient, event), "diagnosticCode"),
        link_url=event.get("link"),
        user_agent=event.get("userAgent"),
        template_id=event.get("templateName"),
    )
    return _subscription(engagement, body) if name == "Subscription" else engagement.meaning(body)


def _subscription(told: Engagement, body: dict[str, Any]) -> Meaning:
    """Left everything, or each topic whose state has changed."""
    before, after = (at(body, "subscription", key) for key in ("oldTopicPreferences", "newTopicPreferences"))
    if at(after, "unsubscribeAll") is True:
        return replace(told, kind="unsubscribed").meaning(body)
    before = {} if at(before, "unsubscribeAll") is True else _topics(before)
    after = _topics(after)
    changed = {topic: status for topic, status in after.items() if before.get(topic) != status}
    said = tuple(
        replace(told, group=topic).said(_TOPICS[status]) for topic, status in changed.items() if status in _TOPICS
    )
    return Meaning(told.names(), said) if said else told.meaning(body)


def _topics(preferences: Any) -> dict[str, str]:
    listed = at(preferences, "topicSubscriptionStatus")
    pairs = [mapping(each) for each in listed] if isinstance(listed, list) else []
    named = {text_of(each.get("topicName")): text_of(each.get("subscriptionStatus")) for each in pairs}
    return {topic: status for topic, status in named.items() if topic and status}


def _event(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """The object that is about this kind of event."""
    if name == "Rendering Failure":
        return mapping(body.get("failure"))
    return mapping(body.get(name[:1].lower() + name[1:]))


def _recipients(name: str, body: dict[str, Any]) -> list[str]:
    event = _event(name, body)
    listed = next((found for key in _LISTS if isinstance(found := event.get(key), list)), None)
    if listed is None:
        return addresses(at(body, "mail", "destination"))
    return addresses([at(each, "emailAddress") if isinstance(each, dict) else each for each in listed])


def _of(recipient: Any, event: dict[str, Any]) -> Any:
    """What is said of one of several recipients."""
    listed = [each for key in _LISTS if isinstance(found := event.get(key), list) for each in found]
    return next((each for each in listed if recipient and recipient in addresses([at(each, "emailAddress")])), None)


def _description(event: dict[str, Any]) -> str | None:
    type, subtype = text_of(event.get("bounceType")), text_of(event.get("bounceSubType"))
    if type and subtype:
        return f"{type}: {subtype}"
    keys = ("complaintFeedbackType", "reason", "errorMessage", "delayType")
    return next((found for key in keys if (found := text_of(event.get(key)))), None)


def _headers(mail: dict[str, Any]) -> dict[str, list[Any]]:
    listed = mail.get("headers")
    found: dict[str, list[Any]] = {}
    for each in listed if isinstance(listed, list) else ():
        if name := text_of(at(each, "name")):
            found.setdefault(name.lower(), []).append(at(each, "value"))
    return found


def _user_id(mail: dict[str, Any]) -> str | None:
    tags = mapping(mail.get("tags"))
    return text_of(at(tags, "user_id", 0)) or text_of(at(tags, "userId", 0))


def _sample(now_ms: int) -> bytes:
    mail = {"messageId": "sample", "destination": ["ada@example.com"]}
    message = {"eventType": "Open", "mail": mail, "open": {"timestamp": format_instant(now_ms)}}
    envelope = {
        "Type": NOTIFICATION,
        "MessageId": f"sample-{now_ms}",
        "Message": orjson.dumps(message).decode(),
        "Timestamp": format_instant(now_ms),
        "SignatureVersion": "2",
    }
    return orjson.dumps(envelope)


VENDOR = Vendor(
    "ses",
    "Amazon SES",
    prove,
    read,
    mean,
    _sample,
    sign,
    seal=seal,
    secret_problem=topic_problem,
    confirms=confirms,
    content_type="text/plain; charset=UTF-8",
)
