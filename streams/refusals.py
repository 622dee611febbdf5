"""Records that can't be taken: what is looked at before a contact's step, and how the `rejected` topic holds them."""

from schemas.events import Event
from schemas.rejected import Reason, Rejection, rejection_headers
from schemas.topics import partition_of
from streams.inbox import Taken
from streams.log import Outgoing
from streams.plan import fitting


def check_key(key: bytes, event: Event, number: int, partitions: int) -> None:
    """Looks at the key of a contact seen for the first time in partition `number`; raises Rejection."""
    if event.contact.encode() != key:
        raise wrong_key(key, event)
    expected = partition_of(key, partitions)
    if expected != number:
        raise Rejection(
            Reason.WRONG_PARTITION,
            f"expected partition {expected} for this key (murmur2, as the Java client has it), got {number}: "
            "set `partitioner=murmur2_random` where the producer is librdkafka",
        )


def wrong_key(key: bytes, event: Event) -> Rejection:
    """For an event under a key that isn't its contact's."""
    shown = key[:80].decode("utf-8", "replace")
    return Rejection(Reason.WRONG_KEY, f"expected the contact {event.contact!r} as the record's key, got {shown!r}")


def quarantined() -> Rejection:
    """For an event of a contact that is quarantined."""
    return Rejection(
        Reason.QUARANTINED,
        "expected the contact's state to be sound, but this version raises on it: nothing of the contact is touched; "
        "`tidegate rejected replay --reason quarantined` once that is mended",
    )


def rejected(taken: Taken, rejection: Rejection, number: int, now_ms: int) -> Outgoing:
    """The record of `rejected` for a record of partition `number` that wasn't taken."""
    _, offset, key, value = taken.record
    headers = rejection_headers(rejection.reason, rejection.sentence, taken.topic, number, offset, now_ms)
    return fitting(key, value if value is not None else b"", headers)
