"""What a vendor's notifications mean, as events."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection, Override, Path, address_of
from streams.vendors.contract import Meaning, Notification, Request, Said, Vendor, text_of
from streams.vendors.signing import fingerprint
from streams.vendors.values import mapping

ID_CHARACTERS_MAX: Final = 200


def events_of(
    vendor: Vendor, connection: Connection, request: Request, notification: Notification
) -> list[dict[str, Any]]:
    """The events that a notification stands for, in order: traits and links first, then what happened.

    Empty where the connection ignores it; those that are ours already are handed on as they came. Each has a `messageId` that a
    repeat of the notification has as well. Raises `Rejection` where it can't be mapped, or has no contact.
    """
    override = connection.override(notification.name)
    if override is not None and override.ignored:
        return []
    meaning = vendor.mean(notification)
    if meaning.whole:
        return [_handed_on(vendor, connection, event) for event in meaning.whole]
    names = connection.names_of(notification, meaning.names)
    if not names:
        wanted = ", ".join(connection.contact)
        raise Rejection(
            Reason.NO_CONTACT,
            f"expected one of {wanted} in {vendor.title}'s {notification.name!r}, got none; `user_id:` of connection "
            f"{connection.id!r} can say where it stands, `events:` that it is to be ignored",
        )
    return list(_Assembled(vendor, connection, request, notification, names, meaning, override).events())


def _handed_on(vendor: Vendor, connection: Connection, event: dict[str, Any]) -> dict[str, Any]:
    """An event as it came, with where it came from; when it arrived is not for the sender to say."""
    context = {**mapping(event.get("context")), "source": connection.id}
    kept = {name: value for name, value in event.items() if name != "receivedAt"}
    id = text_of(event.get("messageId")) or f"{vendor.name}:{fingerprint(orjson.dumps(event))}"
    return {**kept, "messageId": id, "context": context}


class _Assembled:
    """One notification."""

    def __init__(
        self,
        vendor: Vendor,
        connection: Connection,
        request: Request,
        notification: Notification,
        names: list[str],
        meaning: Meaning,
        override: Override | None,
    ) -> None:
        self._vendor, self._connection, self._notification = vendor, connection, notification
        self._contact, *self._others = names
        self._meaning = meaning
        self._override = override or Override()
        self._at_ms = request.received_at_ms if notification.at_ms is None else notification.at_ms
        # an object may be told for two reasons: under two names, or to two connections, as by two workflows of HubSpot's
        told = [connection.id, notification.name, notification.body]
        id = notification.id or fingerprint(orjson.dumps(told))
        self._id = f"{vendor.name}:{id if len(id) <= ID_CHARACTERS_MAX else fingerprint(id.encode())}"

    def events(self) -> Iterator[dict[str, Any]]:
        """Traits, links, what happened."""
        meaning, override = self._meaning, self._override
        claimed = meaning.claimed and self._contact != address_of(meaning.names)
        traits = {**({} if claimed else meaning.traits), **self._values(override.traits)}
        if traits:
            at_ms = self._at_ms if meaning.traits_at_ms is None else meaning.traits_at_ms
            yield {**self._event("identify", at_ms, f"{self._id}:traits"), "traits": traits}
        if meaning.links:
            yield from map(self._link, self._others)
        said = self._said()
        for n, each in enumerate(said):
            at_ms = self._at_ms if each.at_ms is None else each.at_ms
            event = self._event("track", at_ms, f"{self._id}:{n}" if len(said) > 1 else self._id)
            yield {**event, "event": each.name, "properties": each.properties | self._values(override.properties)}

    def _said(self) -> tuple[Said, ...]:
        meaning, override = self._meaning, self._override
        if override.event is not None:
            own = meaning.said[0].properties if meaning.said else meaning.properties
            return (Said(override.event, own),)
        if meaning.said or meaning.quiet:
            return meaning.said
        return (Said(f"{self._vendor.title} {self._notification.name}", meaning.properties),)

    def _link(self, other: str) -> dict[str, Any]:
        # one of the same two names is the same message, however often they are met
        id = hashlib.sha256(f"{self._contact}\n{other}".encode()).hexdigest()[:32]
        return {**self._event("identify", self._at_ms, f"link:{id}"), "anonymousId": other}

    def _event(self, type: str, at_ms: int, message_id: str) -> dict[str, Any]:
        return {
            "type": type,
            "userId": self._contact,
            "timestamp": format_instant(at_ms),
            "messageId": message_id,
            "context": {"source": self._connection.id, "library": {"name": self._vendor.name}},
        }

    def _values(self, wanted: Any) -> dict[str, Any]:
        """Literals, and what JSONPaths lead to; a path that leads nowhere leaves its name out."""
        found = {
            name: each.first(self._notification.body) if isinstance(each, Path) else each
            for name, each in wanted.items()
        }
        return {name: each for name, each in found.items() if each is not None or not isinstance(wanted[name], Path)}
