"""What a vendor's request becomes, once it is proved: records for the source topics, and for `rejected`.

Pure. Nothing that a vendor tells is dropped but what the connection says is to be ignored, which is counted: what can't be
read or mapped goes to `rejected` as it came, with the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from schemas.events import parse_event
from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from schemas.topics import source_of
from streams.connections import Connected
from streams.gateway.record import Record, rejected_record
from streams.vendors.assembling import events_of
from streams.vendors.contract import Notification, Request, Vendor

# notifications mapped before the loop gets its turn
TURN_NOTIFICATIONS: Final = 25
# of all that one request may become: of each of many recipients a whole message may be told
BYTES_MAX: Final = 16 * 1024 * 1024
# a record of Kafka's has 1 MiB, with its headers
RAW_BYTES_MAX: Final = 1_000_000


@dataclass
class Notified:
    """Records of some notifications, and how many of these were taken, rejected and ignored."""

    records: list[Record] = field(default_factory=list)
    taken: int = 0
    rejected: int = 0
    ignored: int = 0

    def add(self, more: "Notified") -> None:
        """Those that come next."""
        self.records += more.records
        self.taken += more.taken
        self.rejected += more.rejected
        self.ignored += more.ignored


def notified(connected: Connected, request: Request) -> Iterator[Notified]:
    """What becomes of each notification in a request, in order, `TURN_NOTIFICATIONS` at a time; nothing for a test ping.

    Raises `Rejection` where the request as a whole is one for `rejected` (`refused`): what was told before is not to be kept.
    """
    vendor = connected.vendor
    assert vendor is not None, "who has a write key is no vendor"
    notifications = vendor.read(request)
    size = 0
    for start in range(0, len(notifications), TURN_NOTIFICATIONS):
        done = Notified()
        for notification in notifications[start : start + TURN_NOTIFICATIONS]:
            whole = request.body if len(notifications) == 1 else None
            _add(done, connected, vendor, request, notification, whole)
        size += sum(len(record.value) for record in done.records)
        if size > BYTES_MAX:
            raise Rejection(Reason.TOO_LARGE, f"expected a request that becomes at most {BYTES_MAX} bytes, got more")
        yield done


def refused(connected: Connected, request: Request, rejection: Rejection) -> Notified:
    """A request of which nothing can be taken."""
    return Notified([_rejected(connected, request, rejection, request.body)], rejected=1)


def _add(
    done: Notified,
    connected: Connected,
    vendor: Vendor,
    request: Request,
    notification: Notification,
    whole: bytes | None,
) -> None:
    """All events of a notification, or none: then it is rejected, as it came where the body held no other."""
    try:
        events = events_of(vendor, connected.connection, request, notification)
        records = [_record(event, request.received_at_ms) for event in events]
    except Rejection as rejection:
        # numbers may be longer than they were written
        raw = min(orjson.dumps(notification.body), request.body, key=len) if whole is None else whole
        done.records.append(_rejected(connected, request, rejection, raw))
        done.rejected += 1
        return
    done.records += records
    done.taken += bool(records)
    done.ignored += not records


def _record(event: dict[str, Any], received_at_ms: int) -> Record:
    """The event as it goes to its topic; raises `Rejection` where a worker would."""
    value = orjson.dumps({**event, "receivedAt": format_instant(received_at_ms)})
    read = parse_event(value)
    return Record(source_of(read.name).name, read.contact.encode(), value)


def _rejected(connected: Connected, request: Request, rejection: Rejection, raw: bytes) -> Record:
    """What is longer than a record of Kafka's may be is cut, and says so."""
    if len(raw) > RAW_BYTES_MAX:
        cut = f"{rejection.sentence[:500]} (here are the first {RAW_BYTES_MAX} bytes of {len(raw)})"
        rejection, raw = Rejection(rejection.reason, cut), raw[:RAW_BYTES_MAX]
    return rejected_record(rejection, raw, None, connected.connection.id, request.received_at_ms)
