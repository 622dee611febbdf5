"""The topics that services send to and receive from, as an AsyncAPI 3.0 document: for readers and for generators of code.

It is written from the side of such a service, which sends events and receives the rest. `python -m schemas.jsonschema`
writes it to `schemas/json/asyncapi.json`, `tidegate schemas asyncapi` prints it. It stands by itself: the JSON Schemas
that are beside it are in it as well.
"""

from typing import Any, Final

from schemas.jsonschema import Schema, schemas
from schemas.topics import (
    CONTACTS,
    DELIVERIES,
    ERASURES,
    EVENTS_BILLING,
    EVENTS_EMAIL,
    EVENTS_OWN,
    EVENTS_PRODUCT,
    MEMBERSHIPS,
    OUTCOMES,
    PARTITIONS,
    REJECTED,
    TRANSITIONS,
    Topic,
)
from schemas.transitions import Transition, ce_headers

# raised when a service that goes by an older document has to change
VERSION: Final = "1.0.0"
_BINDING: Final = "0.5.0"
_ABOUT: Final = """\
Written from the side of a service: it sends events, and receives what Tidegate makes of them.

**A record's partition is the murmur2 hash of its contact**, as Kafka's Java client has it: (murmur2(contact in UTF-8) &
0x7fffffff) % partitions. Clients on librdkafka need `partitioner=murmur2_random`. An event on another partition than its
contact's is rejected as `wrong_partition`.

Send with `acks=all`, and with a `messageId` that stays the same when the event is sent again. Receive with
`isolation.level=read_committed`: what failed transactions left behind is not shown then.
"""
_CONTACT: Final = (
    "the contact, in UTF-8: `userId`, or `anonymousId` where there is none; its murmur2 hash gives the partition"
)
_MEMBERSHIP_KEY: Final = (
    "JSON `[contact, segment]`, or `[contact, segment, key]` in a segment with `per`; the partition is the contact's"
)
_SENT: Final = (EVENTS_PRODUCT, EVENTS_BILLING, EVENTS_EMAIL)
# of a compacted topic: what its records say, and a record without a value, which ends what its key said
_RECEIVED: Final[tuple[tuple[Topic, tuple[str, ...]], ...]] = (
    (EVENTS_OWN, ("event",)),
    (TRANSITIONS, ("transition",)),
    (MEMBERSHIPS, ("membership", "membershipGone")),
    (CONTACTS, ("contact", "contactGone")),
    (DELIVERIES, ("delivery",)),
    (OUTCOMES, ("outcome",)),
    (ERASURES, ("erasure",)),
    (REJECTED, ("rejected",)),
)
# two transitions that have nothing in common
_TOLD: Final = (("", 1, "", 1, 0), ("a", 2, "a", 2, 1))


def asyncapi() -> Schema:
    """The document."""
    channels = [*((topic, ("event",), "send") for topic in _SENT), *((*each, "receive") for each in _RECEIVED)]
    components, names = _schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Tidegate", "version": VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {topic.name: _channel(topic, messages) for topic, messages, _ in channels},
        "operations": {_operation_id(action, topic): _operation(action, topic) for topic, _, action in channels},
        "components": {
            "schemas": components,
            "messages": _messages(names),
            "parameters": {"prefix": {"default": "tidegate.", "description": "TIDEGATE_PREFIX"}},
        },
    }


def documents() -> dict[str, Schema]:
    """All that is in `schemas/json/`, by name: the JSON Schemas, and this document."""
    return {**schemas(), "asyncapi": asyncapi()}


def _server() -> Schema:
    broker = {"default": "127.0.0.1:9092", "description": "TIDEGATE_BROKER, a host and port"}
    return {"host": "{broker}", "protocol": "kafka", "variables": {"broker": broker}}


def _channel(topic: Topic, messages: tuple[str, ...]) -> Schema:
    holds = topic.holds[0].upper() + topic.holds[1:]
    return {
        "address": "{prefix}" + topic.name,
        "description": f"{holds}. {PARTITIONS} partitions, unless TIDEGATE_PARTITIONS says otherwise.",
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "partitions": PARTITIONS,
                "topicConfiguration": _configuration(topic),
                "bindingVersion": _BINDING,
            }
        },
    }


def _configuration(topic: Topic) -> dict[str, Any]:
    entries = {name: int(value) if value.isdigit() else value for name, value in topic.configuration().items()}
    return {**entries, "cleanup.policy": [topic.cleanup]}


def _operation_id(action: str, topic: Topic) -> str:
    return action + "".join(word.capitalize() for word in topic.name.split("."))


def _operation(action: str, topic: Topic) -> Schema:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": topic.holds}


def _messages(names: dict[str, str]) -> dict[str, Schema]:
    """Every message by name; `names` are the components' by the JSON Schemas' names."""

    def message(summary: str, payload: Schema, key: str = _CONTACT, **more: Any) -> Schema:
        binding = {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}
        return {"summary": summary, **more, "payload": payload, "bindings": {"kafka": binding}}

    def of(name: str) -> Schema:
        return {"$ref": f"#/components/schemas/{names[name]}"}

    gone = {"type": "null"}
    found = {
        "event": message("an event, as Twilio Segment's spec has them", of("event"), examples=[_example()]),
        "transition": message("a contact entered or left a segment", of("transition"), headers=_cloud_events_headers()),
        "membership": message("whether a contact is in a segment now", of("membership"), _MEMBERSHIP_KEY),
        "membershipGone": message("nothing is kept of the membership any more", gone, _MEMBERSHIP_KEY),
        "contact": message("traits and consent of a contact", of("contact")),
        "contactGone": message("nothing is kept of the contact any more", gone),
        "delivery": message("a message to send", of("delivery")),
        "outcome": message("what became of a delivery, or of an attempt at it", of("outcome")),
        "erasure": message(
            "a contact was erased", of("erasure"), "SHA-256 of the contact, in hex; the partition is the contact's"
        ),
        "rejected": message(
            "what could not be taken, and why",
            {"description": "the bytes as they came"},
            "the key as it came, if any; so is the partition",
            headers=of("rejected-headers"),
            contentType="application/octet-stream",
        ),
    }
    return {name: {"name": name, **each} for name, each in found.items()}


def _example() -> Schema:
    event = {"type": "track", "event": "Order Completed", "userId": "c-17", "messageId": "order-4711"}
    event |= {"timestamp": "2026-03-01T09:30:00Z"}
    return {"name": "order", "payload": {**event, "properties": {"order_id": "order-4711", "total": 129.9}}}


def _cloud_events_headers() -> Schema:
    """CloudEvents 1.0 attributes in Kafka's binary mode: of some the value is always the same."""
    entered, left = (ce_headers(Transition(*each, "event").record(each[-1], 1)) for each in _TOLD)
    properties: dict[str, Schema] = {name: {"type": "string"} for name, _ in entered}
    properties |= {name: {"const": value.decode()} for name, value in entered if (name, value) in left}
    properties["ce_type"] = {"enum": [dict(each)["ce_type"].decode() for each in (entered, left)]}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _schemas() -> tuple[dict[str, Schema], dict[str, str]]:
    """The JSON Schemas as components, those within them among them; and under which name each of them is."""
    made = schemas()
    names = {
        name: "RejectedHeaders" if name == "rejected-headers" else made[name]["title"]
        for name in (
            "event",
            "transition",
            "membership",
            "contact",
            "delivery",
            "outcome",
            "erasure",
            "rejected-headers",
        )
    }
    components: dict[str, Schema] = {}
    for name, component in names.items():
        schema = {key: value for key, value in made[name].items() if key != "$schema"}
        for each, definition in [*schema.pop("$defs", {}).items(), (component, schema)]:
            moved = _moved(definition)
            assert components.setdefault(each, moved) == moved, f"two schemas are named {each}"
    return components, names


def _moved(schema: Any) -> Any:
    """A schema whose references lead to components."""
    if isinstance(schema, dict):
        return {key: _reference(value) if key == "$ref" else _moved(value) for key, value in schema.items()}
    return [_moved(each) for each in schema] if isinstance(schema, list) else schema


def _reference(to: str) -> str:
    return to.replace("#/$defs/", "#/components/schemas/", 1)
