"""Events as they come in: the shape of the Twilio Segment spec, and what makes one unreadable (language page, section 1).

`parse_event` is the only way from bytes to an `Event`. It is on the path of every event, so it looks fields up by hand;
`event_structs.py` says the same as JSON Schema, for publishers, and a test holds the two together.
"""

import json
import math
from typing import Any, Final

import orjson

from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, parse_instant
from schemas.rejected import Reason, Rejection

EVENT_BYTES_MAX: Final = 256 * 1024
# An event is level 1. JSON writers of several languages give up between 100 and 1000; no SDK nests deeper than 10.
EVENT_DEPTH_MAX: Final = 64
CONTACT_BYTES_MAX: Final = 1024

NAMED = {"page": "Page Viewed", "screen": "Screen Viewed"}
# consent to message groups, as the Segment spec's e-mail events say it
CONSENT = {"Subscribed": True, "Unsubscribed": False}
_ACTIONS = {"added": True, "removed": False}
_MISSING = (None, "")


class Event:
    """One event, read and checked.

    `type`: one of `track identify page screen group alias list delete tick`. `contact`: whom it is about. `name`: what
    sections 6-8 call it (None but for `track`, `page`, `screen`). `traits`: to be merged into the contact, None where
    there are none. `occurred_at_ms`, `received_at_ms`: epoch ms, None where the event doesn't say. `message_id`: None
    where there is none that can make it a duplicate. `links`: the name that an `alias`, or an `identify` with both ids,
    links to `contact`. `listed`: list and whether `added`, of a `list` event. `size`: bytes it was read from, 0 where it
    wasn't.
    """

    __slots__ = (
        "contact",
        "context",
        "links",
        "listed",
        "message_id",
        "name",
        "occurred_at_ms",
        "properties",
        "received_at_ms",
        "size",
        "traits",
        "type",
    )

    def __init__(
        self,
        type: str,
        contact: str,
        name: str | None = None,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        traits: dict[str, Any] | None = None,
        occurred_at_ms: int | None = None,
        received_at_ms: int | None = None,
        message_id: str | None = None,
    ) -> None:
        self.type = type
        self.contact = contact
        self.name = name
        self.properties = properties if properties is not None else {}
        self.context = context if context is not None else {}
        self.traits = traits
        self.occurred_at_ms = occurred_at_ms
        self.received_at_ms = received_at_ms
        self.message_id = message_id
        self.links: str | None = None
        self.listed: tuple[str, bool] | None = None
        self.size = 0


def parse_event(raw: bytes, *, ticks: bool = False) -> Event:
    """The event in `raw` (JSON, UTF-8, at most 256 KiB); raises `Rejection` with the reason when it is none.

    With `ticks`, a `tick` (arrival time without a contact; `TIDEGATE_CLOCK=arrival` only) is let through.
    """
    event = event_of(fields_of(raw), ticks=ticks)
    event.size = len(raw)
    return event


def fields_of(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`, decoded, with the bounds of an event; raises `Rejection`."""
    if not raw:
        raise Rejection(Reason.NOT_JSON, "expected a JSON object, got a record without a value")
    if len(raw) > EVENT_BYTES_MAX:
        raise Rejection(Reason.TOO_LARGE, f"expected at most {EVENT_BYTES_MAX} bytes, got {len(raw)}")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _unreadable(raw, error) from None
    if type(fields) is not dict:
        raise Rejection(Reason.NOT_AN_OBJECT, f"expected a JSON object, got {_kind(fields)}")
    if _is_odd(fields, 1):
        if _depth(fields) > EVENT_DEPTH_MAX:
            raise Rejection(Reason.TOO_DEEP, f"expected at most {EVENT_DEPTH_MAX} levels of nesting, got more")
        _check_tiny(raw)
    return fields


def _is_odd(value: Any, level: int) -> bool:
    """Whether there is more nesting than may be, or a number that reads as 0.0: it may be one that no double holds."""
    if level > EVENT_DEPTH_MAX:
        return True
    items = value.values() if type(value) is dict else value
    for item in items:
        kind = type(item)
        if kind is float:
            if item == 0.0:
                return True
        elif (kind is dict or kind is list) and _is_odd(item, level + 1):
            return True
    return False


def _check_tiny(raw: bytes) -> None:
    """Raises where a number reads as zero and isn't: no double holds it."""

    def read(text: str) -> float:
        value = float(text)
        if value == 0 and text.lower().partition("e")[0].strip("-0."):
            raise Rejection(Reason.NOT_JSON, f"expected numbers that a double can hold, got {_short(text)}")
        return value

    try:
        json.loads(raw, parse_float=read)
    except RecursionError:  # below a key that stands twice, of which the second counts
        raise Rejection(Reason.TOO_DEEP, f"expected at most {EVENT_DEPTH_MAX} levels of nesting, got more") from None


def event_of(fields: dict[str, Any], *, ticks: bool = False) -> Event:
    """The event of a decoded JSON object; raises `Rejection`."""
    get = fields.get
    kind = get("type")
    if kind == "track":
        event = _plain_track(fields)
        if event is not None:
            return event
    received_at_ms = _instant(fields, "receivedAt")
    if kind == "tick" and ticks:
        if received_at_ms is None:
            raise Rejection(Reason.MISSING_FIELD, "expected `receivedAt` in a tick, got none")
        return Event("tick", "", received_at_ms=received_at_ms)
    if kind == "tick":
        raise Rejection(Reason.TICK, "expected no tick: ticks move time only with TIDEGATE_CLOCK=arrival")
    if kind == "delete":
        return _delete(fields, received_at_ms)
    context = _object(fields, "context")
    traits = context.get("traits")
    if traits in _MISSING:
        traits = None
    elif type(traits) is not dict:
        raise Rejection(Reason.WRONG_TYPE, f"expected an object in `context.traits`, got {_kind(traits)}")
    name = links = listed = None
    properties: dict[str, Any] = {}
    if kind == "track":
        name = _text(fields, "event", "a track event")
        properties = _object(fields, "properties")
    elif kind == "page" or kind == "screen":
        name = NAMED[kind]
        properties = _object(fields, "properties")
        title = get("name")
        if title not in _MISSING:
            if type(title) is not str:
                raise Rejection(Reason.WRONG_TYPE, f"expected text in `name`, got {_kind(title)}")
            if properties.get("name") in _MISSING:
                properties["name"] = title
    elif kind == "identify":
        links = _name(fields, "anonymousId")
        own = _object(fields, "traits")
        traits = {**traits, **own} if traits else own
    elif kind == "group":
        group = _text(fields, "groupId", "a group event")
        own = {f"group.{key}": value for key, value in _object(fields, "traits").items()}
        traits = {**(traits or {}), **own, "group.id": group}
    elif kind == "alias":
        links = _name(fields, "previousId")
        if links is None:
            raise Rejection(Reason.MISSING_FIELD, "expected `previousId` in an alias event, got none")
    elif kind == "list":
        listed = (_text(fields, "list", "a list event"), _action(fields))
    else:
        expected = "one of track, identify, page, screen, group, alias, list, delete"
        found = "none" if kind in _MISSING else _short(kind)
        raise Rejection(Reason.UNKNOWN_TYPE, f"expected {expected} in `type`, got {found}")
    contact = _contact(fields)
    occurred_at_ms = _instant(fields, "timestamp")
    message_id = _message_id(fields)
    event = Event(kind, contact, name, properties, context, traits or None, occurred_at_ms, received_at_ms, message_id)
    event.links = links if links != contact else None
    event.listed = listed
    return event


def _delete(fields: dict[str, Any], received_at_ms: int | None) -> Event:
    """A `delete` uses neither traits nor context, so they are not looked at."""
    contact = _contact(fields)
    occurred_at_ms = _instant(fields, "timestamp")
    return Event("delete", contact, None, None, None, None, occurred_at_ms, received_at_ms, _message_id(fields))


def _plain_track(fields: dict[str, Any]) -> Event | None:
    """The event of a track as nearly all are, at half the cost; None for one that has to be looked at field by field."""
    get = fields.get
    name, contact, properties, context = get("event"), get("userId"), get("properties"), get("context")
    if (
        type(name) is not str
        or not name
        or type(contact) is not str
        or not 0 < len(contact) <= CONTACT_BYTES_MAX // 4
        or type(properties) is not dict
        or (context is not None and (type(context) is not dict or "traits" in context))
    ):
        return None
    occurred_at_ms, received_at_ms = get("timestamp"), get("receivedAt")
    if occurred_at_ms is not None:
        occurred_at_ms = _instant(fields, "timestamp")
    if received_at_ms is not None:
        received_at_ms = _instant(fields, "receivedAt")
    message_id = _message_id(fields)
    return Event("track", contact, name, properties, context, None, occurred_at_ms, received_at_ms, message_id)


def _message_id(fields: dict[str, Any]) -> str | None:
    found = fields.get("messageId")
    return found if type(found) is str and found else None


def _contact(fields: dict[str, Any]) -> str:
    found = _name(fields, "userId")
    if found is None:
        found = _name(fields, "anonymousId")
    if found is None:
        raise Rejection(Reason.NO_CONTACT, "expected a non-empty `userId` or `anonymousId`, got neither")
    return found


def _name(fields: dict[str, Any], field: str) -> str | None:
    """The name of a contact in a field, None where it is missing."""
    found = fields.get(field)
    if found in _MISSING:
        return None
    if type(found) is not str:
        raise Rejection(Reason.WRONG_TYPE, f"expected text in `{field}`, got {_kind(found)}")
    if len(found) * 4 > CONTACT_BYTES_MAX and len(found.encode()) > CONTACT_BYTES_MAX:
        raise Rejection(Reason.TOO_LARGE, f"expected at most {CONTACT_BYTES_MAX} bytes in `{field}`, got more")
    return found


def _action(fields: dict[str, Any]) -> bool:
    found = fields.get("action")
    if type(found) is not str or found not in _ACTIONS:
        shown = "none" if found in _MISSING else _short(found)
        raise Rejection(Reason.MISSING_FIELD, f"expected `added` or `removed` in `action` of a list event, got {shown}")
    return _ACTIONS[found]


def _text(fields: dict[str, Any], field: str, what: str) -> str:
    found = fields.get(field)
    if found in _MISSING:
        raise Rejection(Reason.MISSING_FIELD, f"expected `{field}` in {what}, got none")
    if type(found) is not str:
        raise Rejection(Reason.WRONG_TYPE, f"expected text in `{field}`, got {_kind(found)}")
    return found


def _object(fields: dict[str, Any], field: str) -> dict[str, Any]:
    found = fields.get(field)
    if type(found) is dict:
        return found
    if found in _MISSING:
        return {}
    raise Rejection(Reason.WRONG_TYPE, f"expected an object in `{field}`, got {_kind(found)}")


def _instant(fields: dict[str, Any], field: str) -> int | None:
    found = fields.get(field)
    if found in _MISSING:
        return None
    at_ms: int | None = None
    if type(found) is str:
        at_ms = parse_instant(found, offset_required=True)
    elif type(found) is int:
        at_ms = found
    elif type(found) is float:
        at_ms = math.floor(found)
    else:
        raise Rejection(Reason.WRONG_TYPE, f"expected ISO 8601 text or epoch ms in `{field}`, got {_kind(found)}")
    if at_ms is None or not INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX:
        expected = "ISO 8601 with offset (2026-03-01T09:30:00.000Z) or epoch ms"
        raise Rejection(Reason.UNREADABLE_TIME, f"expected {expected} in `{field}`, got {_short(found)}")
    return at_ms


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> Rejection:
    """orjson gives up at 1024 levels before it says what is wrong beyond them."""
    if "depth" in str(error) or "recursion" in str(error).lower():
        return Rejection(Reason.TOO_DEEP, f"expected at most {EVENT_DEPTH_MAX} levels of nesting, got more")
    start = raw[:40].decode("utf-8", "replace")
    return Rejection(Reason.NOT_JSON, f"expected JSON in UTF-8, got {start!r}: {error.msg} at byte {error.pos}")


def _depth(value: object) -> int:
    """Levels of nesting; without recursion, as the value may have a thousand."""
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, level = todo.pop()
        if type(item) is dict:
            todo.extend((child, level + 1) for child in item.values())
        elif type(item) is list:
            todo.extend((child, level + 1) for child in item)
        else:
            continue
        deepest = max(deepest, level)
    return deepest


_KINDS = {dict: "an object", list: "an array", str: "text", bool: "a boolean", int: "a number", float: "a number"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
