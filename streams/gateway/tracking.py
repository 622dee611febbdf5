"""Segment's HTTP tracking API: what its calls say, as events or as what they can't be.

Pure: bytes and the instant in, records out. A call that is no JSON or too large is refused as a whole, and whoever sent it is
told (`Refused`, 400). An event that a worker would reject goes to `rejected` from here, with the worker's own reasons and the
bytes as they came: the call it came in is answered with 200, as Segment does it.

`timestamp` is corrected by how far the sender's clock is off, as Segment does it: what the sender said stays in
`originalTimestamp`. Fields that nobody here knows are kept; a write key is not.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from schemas.events import event_of, fields_of
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, format_instant, parse_instant
from schemas.rejected import Reason, Rejection
from schemas.topics import source_of
from streams.gateway.record import Record, rejected_record

# as published; the SDKs cut their batches by them
EVENT_BYTES_MAX: Final = 32 * 1024
BATCH_BYTES_MAX: Final = 500 * 1024
BATCH_EVENTS_MAX: Final = 2500
# events read before the loop gets its turn, and their bytes: 32 KB of nested arrays take as long as 250 events
TURN_EVENTS: Final = 250
TURN_BYTES: Final = 32 * 1024
# of all that one call may become: what stands beside the events is in each of their records
RECORDS_BYTES_MAX: Final = 4 * 1024 * 1024

# our own `list`, `delete` and `tick` are not among them: a browser's write key is no secret, and must not erase anybody
TYPES: Final = ("identify", "track", "page", "screen", "group", "alias")
# analytics.js calls them by their first letter
CALLS: Final[Mapping[str, str]] = {name: name for name in TYPES} | {name[0]: name for name in TYPES}
BATCHES: Final = ("batch", "import", "b")
_MISSING: Final = (None, "")

_KEY: Final = re.compile(rb'("writeKey"\s*:\s*)"(?:[^"\\]|\\.)*+"', re.DOTALL)


class Refused(Exception):
    """A call of which nothing is taken: `code` for whoever counts them, the message for whoever sent it."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Arrival:
    """What all events of a call share. `source`: the connection; `received_at_ms`: epoch ms; `address`: of whoever sent it.

    `new_id` makes a `messageId`. `imported`: the call is `/v1/import`, for what happened in the past, at the times that it says.
    """

    source: str
    received_at_ms: int
    address: str | None
    new_id: Callable[[], str]
    imported: bool = False


class Batch(msgspec.Struct):
    """The body of a batch; its events are looked at one by one."""

    batch: list[msgspec.Raw]
    writeKey: msgspec.Raw = msgspec.Raw(b"null")
    sentAt: msgspec.Raw = msgspec.Raw(b"null")
    context: msgspec.Raw = msgspec.Raw(b"null")
    integrations: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Call:
    """A call as it was read: `events` as they came, each with its `type` in it or of `type`, and what stands beside them.

    `key`: the write key in the body, None where there is none. `left_over`: the bytes of all events beyond the limit.
    """

    events: Sequence[bytes]
    key: str | None
    sent_at_ms: int | None = None
    type: str | None = None
    context: Mapping[str, Any] | None = None
    integrations: Mapping[str, Any] | None = None
    left_over: bytes | None = None


def read_call(name: str, body: bytes) -> Call:
    """The call of that name in `CALLS` or `BATCHES`; raises `Refused`."""
    return _read_batch(body) if name in BATCHES else _read_single(CALLS[name], body)


def records_of(call: Call, arrival: Arrival) -> Iterator[list[Record]]:
    """What becomes of each event, in order, some at a time; raises `Refused` where it becomes more than may be."""
    made_bytes, turn, turn_bytes = 0, [], 0
    for raw in call.events:
        record = record_of(raw, call, arrival)
        turn.append(record)
        turn_bytes += max(len(raw), len(record.value))
        if len(turn) == TURN_EVENTS or turn_bytes >= TURN_BYTES:
            made_bytes += turn_bytes
            if made_bytes > RECORDS_BYTES_MAX:
                sentence = (
                    f"expected at most {RECORDS_BYTES_MAX} bytes with what stands beside the events in each, got more"
                )
                raise Refused("too_large", sentence)
            yield turn
            turn, turn_bytes = [], 0
    if turn:
        yield turn
    if call.left_over is not None:
        sentence = f"expected at most {BATCH_EVENTS_MAX} events in a batch, got more: these are the rest"
        yield [_rejected(Rejection(Reason.TOO_LARGE, sentence), call.left_over, None, arrival)]


def record_of(raw: bytes, call: Call, arrival: Arrival) -> Record:
    """The event in `raw` as it goes to its topic, or to `rejected`."""
    contact = None
    try:
        if len(raw) > EVENT_BYTES_MAX:
            raise Rejection(Reason.TOO_LARGE, f"expected at most {EVENT_BYTES_MAX} bytes an event, got {len(raw)}")
        fields = fields_of(raw)
        contact = _contact(fields)
        return _record(fields, call, arrival)
    except Rejection as rejection:
        return _rejected(rejection, raw, contact, arrival)


def _rejected(rejection: Rejection, raw: bytes, contact: str | None, arrival: Arrival) -> Record:
    # as it came, but for what opens the door: others read that topic
    shown = _KEY.sub(rb'\1"***"', raw)
    return rejected_record(rejection, shown, contact, arrival.source, arrival.received_at_ms)


def _read_single(type: str, body: bytes) -> Call:
    _check_size(body, EVENT_BYTES_MAX)
    try:
        fields = fields_of(body)
    except Rejection as rejection:
        raise Refused("invalid_request", rejection.sentence) from None
    return Call([body], _text(fields.get("writeKey")), type=type)


def _read_batch(body: bytes) -> Call:
    _check_size(body, BATCH_BYTES_MAX)
    try:
        read = msgspec.json.decode(body, type=Batch)
    except RecursionError:
        raise Refused("invalid_request", "expected a batch of at most 64 levels of nesting, got more") from None
    except msgspec.DecodeError as error:
        sentence = f'expected a JSON object with an array in "batch": {error}'
        raise Refused("invalid_request", sentence) from None
    beside = _beside(read)
    return Call(
        [bytes(each) for each in read.batch[:BATCH_EVENTS_MAX]],
        _text(beside["writeKey"]),
        _instant(beside["sentAt"]),
        context=_object(beside, "context"),
        integrations=_object(beside, "integrations"),
        left_over=b"[%b]" % b",".join(read.batch[BATCH_EVENTS_MAX:]) if len(read.batch) > BATCH_EVENTS_MAX else None,
    )


def _beside(read: Batch) -> dict[str, Any]:
    """What stands beside the events, with the bounds of an event."""
    parts = (b'"%b":%b' % (name.encode(), getattr(read, name)) for name in Batch.__struct_fields__[1:])
    beside = b"{%b}" % b",".join(parts)
    if len(beside) > EVENT_BYTES_MAX:
        raise Refused("too_large", f"expected at most {EVENT_BYTES_MAX} bytes beside the events, got {len(beside)}")
    try:
        return fields_of(beside)
    except Rejection as rejection:
        raise Refused("invalid_request", f"beside the events: {rejection.sentence}") from None


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        raise Refused("too_large", f"expected at most {most} bytes, got {len(body)}")


def _record(fields: dict[str, Any], call: Call, arrival: Arrival) -> Record:
    fields.pop("writeKey", None)
    if call.type is not None:
        fields["type"] = call.type
    elif fields.get("type") not in TYPES:
        found = "another" if fields.get("type") else "none"
        raise Rejection(Reason.UNKNOWN_TYPE, f"expected one of {', '.join(TYPES)} in `type`, got {found}")
    if not arrival.imported:
        _correct_time(fields, call, arrival.received_at_ms)
    fields["receivedAt"] = format_instant(arrival.received_at_ms)
    if not isinstance(fields.get("messageId"), str) or not fields["messageId"]:
        fields["messageId"] = arrival.new_id()
    fields["context"] = _context(fields, call, arrival)
    own = fields.get("integrations") or {}
    if call.integrations and isinstance(own, dict):
        fields["integrations"] = {**call.integrations, **own}
    value = orjson.dumps(fields)
    event = event_of(fields)
    return Record(source_of(event.name).name, event.contact.encode(), value)


def _correct_time(fields: dict[str, Any], call: Call, received_at_ms: int) -> None:
    """`timestamp = receivedAt - (sentAt - originalTimestamp)`; what can't be read is left for `event_of` to say so."""
    original = fields.get("timestamp")
    if original in _MISSING:
        original = fields.get("originalTimestamp")
    if original in _MISSING:
        return
    fields["originalTimestamp"] = fields["timestamp"] = original
    sent_at_ms = _instant(fields.get("sentAt"))
    if sent_at_ms is None:
        sent_at_ms = call.sent_at_ms
    at_ms = _instant(original)
    if sent_at_ms is None or at_ms is None:
        return
    corrected_ms = received_at_ms - (sent_at_ms - at_ms)
    if INSTANT_MS_MIN <= corrected_ms <= INSTANT_MS_MAX:
        fields["timestamp"] = format_instant(corrected_ms)


def _context(fields: dict[str, Any], call: Call, arrival: Arrival) -> dict[str, Any]:
    own = fields.get("context") or {}
    if not isinstance(own, dict):
        raise Rejection(Reason.WRONG_TYPE, "expected an object in `context`, got something else")
    merged = {**(call.context or {}), **own, "source": arrival.source}
    if arrival.imported:
        merged.setdefault("import", True)
    if merged.get("direct") is True and not merged.get("ip") and arrival.address is not None:
        merged["ip"] = arrival.address
    return merged


def _contact(fields: dict[str, Any]) -> str | None:
    found = fields.get("userId") or fields.get("anonymousId")
    return found if isinstance(found, str) and len(found) <= 1024 else None


def _object(beside: dict[str, Any], name: str) -> dict[str, Any] | None:
    found = beside[name]
    if found is None or found == "":
        return None
    if not isinstance(found, dict):
        raise Refused("invalid_request", f'expected an object in "{name}" beside the events, got something else')
    return found


def _instant(value: Any) -> int | None:
    """Epoch ms of what a sender wrote, None where there is none that can be read."""
    if isinstance(value, str):
        return parse_instant(value, offset_required=True)
    if isinstance(value, float):
        return math.floor(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
