"""Events as publishers are told of them: Structs that the JSON Schema is made from.

`events.py` reads events, and is what counts; a test holds the two together.
"""

from typing import Annotated, Any, Literal

import msgspec

Instant = Annotated[str | int, msgspec.Meta(description="ISO 8601 with offset, or epoch milliseconds")]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _Common(msgspec.Struct, kw_only=True, rename="camel"):
    user_id: Annotated[str | None, msgspec.Meta(description="the contact; else `anonymousId` stands in")] = None
    anonymous_id: str | None = None
    message_id: Annotated[str | None, msgspec.Meta(description="unique per event; makes a repeat harmless")] = None
    timestamp: Annotated[Instant | None, msgspec.Meta(description="when it happened; missing: when it arrived")] = None
    received_at: Annotated[Instant | None, msgspec.Meta(description="when it arrived; missing: the record's time")] = (
        None
    )
    context: dict[str, Any] | None = None


class TrackEvent(_Common, kw_only=True):
    """Something a contact did, or that was done to it."""

    type: Literal["track"]
    event: NonEmpty
    properties: dict[str, Any] | None = None


class PageEvent(_Common, kw_only=True):
    """A page or screen seen: counts as the event `Page Viewed` or `Screen Viewed`."""

    type: Literal["page", "screen"]
    name: str | None = None
    properties: dict[str, Any] | None = None


class IdentifyEvent(_Common, kw_only=True):
    """Traits of a contact: merged, last write by event time wins; null and empty text clear."""

    type: Literal["identify"]
    traits: dict[str, Any] | None = None


class GroupEvent(_Common, kw_only=True):
    """The group a contact belongs to: sets the trait `group.id`, and `group.<trait>`."""

    type: Literal["group"]
    group_id: NonEmpty
    traits: dict[str, Any] | None = None


class AliasEvent(_Common, kw_only=True):
    """Two names that are one contact: `previousId`, and all that it belongs to, becomes part of `userId`."""

    type: Literal["alias"]
    previous_id: NonEmpty


class ListEvent(_Common, kw_only=True):
    """A static list that the contact was put on, or taken off: the last by event time wins."""

    type: Literal["list"]
    list: NonEmpty
    action: Literal["added", "removed"]


class DeleteEvent(_Common, kw_only=True):
    """The end of a contact: it leaves every segment, and nothing about it remains in any state."""

    type: Literal["delete"]


EVENT_STRUCTS = (TrackEvent, PageEvent, IdentifyEvent, GroupEvent, AliasEvent, ListEvent, DeleteEvent)
