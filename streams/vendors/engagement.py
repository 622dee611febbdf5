"""What mail services tell of a message: one table of what can happen to it, for all of them.

The kinds are those that django-anymail brings services' events to, and the reasons are its as well: whoever comes from there
finds what they know. A contact is the user id in the message's metadata, else the recipient's address; neither is linked to the
other, as the address is the one that was written to, which needn't be the contact's own (language page, section 9).

`Email Bounced` has a `bounce_type`: `hard` where the service says that the address will not work again, `soft` for everything
else, as no mail goes to an address any more that has bounced hard (`actions/suppression.py`).

`Unsubscribed` is for every message group (`subscribed:` of definitions) unless the service names one of its own; where that
isn't called as the group is here, the connection's `events:` can say `properties: {group: newsletter}`. `Subscribed` needs a
group: that somebody wants mail of every kind is nothing that a mail service knows.

No traits are set, so that there is no order to keep: what comes late counts at its own time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from schemas.rejected import Reason, Rejection
from streams.vendors.contract import Meaning, Names, Notification, Said, text_of, user_id_in
from streams.vendors.values import json_value, mapping, milliseconds, present, seconds

Kind = Literal[
    "queued",
    "sent",
    "rejected",
    "failed",
    "bounced",
    "deferred",
    "delivered",
    "autoresponded",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
    "subscribed",
]
Bounce = Literal["hard", "soft"]
# why a message wasn't sent, or wasn't taken
Why = Literal["invalid", "bounced", "timed_out", "blocked", "spam", "unsubscribed", "other"]

NAMES: Final[Mapping[Kind, str]] = {
    "queued": "Email Queued",
    "sent": "Email Sent",
    "rejected": "Email Rejected",
    "failed": "Email Failed",
    "bounced": "Email Bounced",
    "deferred": "Email Deferred",
    "delivered": "Email Delivered",
    "autoresponded": "Email Autoresponded",
    "opened": "Email Opened",
    "clicked": "Email Link Clicked",
    "complained": "Email Marked as Spam",
    "unsubscribed": "Unsubscribed",
    "subscribed": "Subscribed",
}

RECIPIENTS_MAX: Final = 1_000
# 5138-11-16 in seconds, 1973-03-03 in milliseconds
_SECONDS_MAX: Final = 100_000_000_000
# parts of messages, which events don't carry: a mail that came in may have attachments of many megabytes
_CONTENT: Final = "Attachments Content HtmlBody RawEmail TextBody attachments content html images raw raw_msg text"
_CONTENT_NAMES: Final = frozenset(_CONTENT.split())


@dataclass(frozen=True)
class Engagement:
    """What happened to one message at one recipient. All but `kind`, `bounce_type` and `reason` is as it came, whatever it is.

    `kind` None is what not every service has: it keeps the service's name. `user_id`: where it stands apart from `metadata`.
    `by_machine`: opened or clicked by a program that looks at mail before people do.
    """

    kind: Kind | None
    recipient: Any
    email_id: Any = None
    tags: Any = None
    metadata: Any = None
    user_id: Any = None
    bounce_type: Bounce | None = None
    reason: Why | None = None
    description: Any = None
    response: Any = None
    link_url: Any = None
    link_id: Any = None
    user_agent: Any = None
    campaign_id: Any = None
    campaign_name: Any = None
    template_id: Any = None
    group: Any = None
    by_machine: bool = False

    def meaning(self, body: dict[str, Any]) -> Meaning:
        """The canonical event, or `body` under the service's name where there is none."""
        if self.kind is None or (self.kind == "subscribed" and text_of(self.group) is None):
            return Meaning(self.names(), properties=without_content(body))
        return Meaning(self.names(), (self.said(self.kind),))

    def names(self) -> Names:
        """The contact's."""
        return Names(user_id_in(metadata_of(self.metadata)) or text_of(self.user_id), address(self.recipient))

    def said(self, kind: Kind) -> Said:
        """The event of that kind."""
        bounced = kind == "bounced"
        return Said(
            NAMES[kind],
            present(
                email=address(self.recipient),
                email_id=text_of(self.email_id),
                tags=texts(self.tags),
                metadata=metadata_of(self.metadata),
                bounce_type=self.bounce_type or ("soft" if bounced else None),
                reason=self.reason,
                description=_written(self.description),
                response=_written(self.response),
                link_url=_written(self.link_url),
                link_id=text_of(self.link_id),
                user_agent=_written(self.user_agent),
                campaign_id=text_of(self.campaign_id),
                campaign_name=text_of(self.campaign_name),
                template_id=text_of(self.template_id),
                group=text_of(self.group),
                by_machine=self.by_machine or None,
            ),
        )


def for_each(told: Notification, recipients: Sequence[str]) -> list[Notification]:
    """The notification for each recipient, once, whose address is `recipient` in the body; as it came where there is none.

    The first keeps the id; raises `Rejection` for more recipients than a message may have.
    """
    recipients = list(dict.fromkeys(recipients))
    if len(recipients) > RECIPIENTS_MAX:
        raise Rejection(Reason.TOO_LARGE, f"expected at most {RECIPIENTS_MAX} recipients, got {len(recipients)}")
    each_id = (told.id if not n or told.id is None else f"{told.id}:{n}" for n in range(len(recipients)))
    bodies = ({**told.body, "recipient": recipient} for recipient in recipients)
    return [replace(told, id=id, body=body) for id, body in zip(each_id, bodies, strict=True)] or [told]


def address(value: Any) -> str | None:
    """The address in `ada@example.com` or `Ada <ada@example.com>`; None for all else."""
    found = text_of(value) if isinstance(value, str) else None
    if found and found.endswith(">") and "<" in found:
        found = found[found.rindex("<") + 1 : -1].strip()
    return found if found and "@" in found else None


def addresses(value: Any) -> list[str]:
    """Those of a list of addresses, or of a header that names several."""
    listed = value.split(",") if isinstance(value, str) else value
    return [found for each in listed if (found := address(each))] if isinstance(listed, list) else []


def metadata_of(value: Any) -> dict[str, Any]:
    """Metadata that is an object, or JSON text of one; empty for all else."""
    if not isinstance(value, str):
        return mapping(value)
    try:
        return mapping(json_value(value.encode("utf-8", "replace")))
    except Rejection:
        return {}


def texts(value: Any) -> list[str]:
    """Labels: a list of them, or a single one."""
    listed = value if isinstance(value, list) else [value]
    return [found for each in listed if (found := text_of(each))]


def epoch(value: Any) -> int | None:
    """Epoch ms of an instant in seconds, or in milliseconds where it would be far in the future as seconds; None for none."""
    at_ms = milliseconds(value)
    return at_ms if at_ms is not None and at_ms > _SECONDS_MAX else seconds(value)


def id_of(first: Any, *others: Any) -> str | None:
    """An id of what has none, from the parts that make it one thing; None where the first is missing."""
    start = text_of(first)
    return ":".join([start, *(text_of(each) or "" for each in others)]) if start else None


def without_content(body: dict[str, Any]) -> dict[str, Any]:
    """A service's object without texts and attachments of messages."""
    return {
        name: without_content(value) if isinstance(value, dict) else value
        for name, value in body.items()
        if name not in _CONTENT_NAMES
    }


def _written(value: Any) -> str | None:
    # not `text_of`: what a server answered is kept with its blanks
    return value if isinstance(value, str) and value.strip() else text_of(value)
