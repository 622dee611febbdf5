"""Every topic, named once; and which partition of it a contact's records go to (architecture page, section 3)."""

from typing import Literal

import msgspec

DAY_MS = 86_400_000
PARTITIONS = 12

Cleanup = Literal["delete", "compact"]
TimestampType = Literal["CreateTime", "LogAppendTime"]


class Topic(msgspec.Struct, frozen=True):
    """A topic as it must be: `name` comes after the prefix; `partitions` None means as many as the prefix has."""

    name: str
    cleanup: Cleanup
    holds: str
    retention_ms: int | None = None
    timestamp_type: TimestampType = "CreateTime"
    partitions: int | None = None

    def configuration(self) -> dict[str, str]:
        """What the broker is told when the topic is made; `topics create` compares the same entries afterwards."""
        entries: dict[str, str] = {"cleanup.policy": self.cleanup, "message.timestamp.type": self.timestamp_type}
        if self.retention_ms is not None:
            entries["retention.ms"] = str(self.retention_ms)
        if self.cleanup == "compact":
            # the time by which what was kept of an erased contact is gone, and by twice that its tombstone: compaction leaves
            # the newest segment alone, so it must roll
            entries["max.compaction.lag.ms"] = entries["segment.ms"] = str(7 * DAY_MS)
        return entries


def _source(name: str, holds: str) -> Topic:
    return Topic(name, "delete", holds, 400 * DAY_MS, "LogAppendTime")


EVENTS_PRODUCT = _source("events.product", "what contacts do in the product")
EVENTS_BILLING = _source("events.billing", "orders, trials, subscriptions, invoices, payments")
EVENTS_EMAIL = _source("events.email", "e-mail engagement and consent")
EVENTS_OWN = _source("events.own", "events that Tidegate itself causes")
TRANSITIONS = Topic("transitions", "delete", "each transition, in order per contact", 400 * DAY_MS)
MEMBERSHIPS = Topic("memberships", "compact", "who is in which segment, since when")
CONTACTS = Topic("contacts", "compact", "traits and consent of each contact as of the last change")
STATE = Topic("state", "compact", "the worker's own: one state record a contact, one meta record a partition")
LINKS = Topic("links", "delete", "messages between partitions about linked ids", 7 * DAY_MS)
DEFINITIONS = Topic(
    "definitions",
    "compact",
    "versions of segments, scores, rules, policies and sequences, and the revisions in force",
    partitions=1,
)
DELIVERIES = Topic("deliveries", "delete", "what to send", 30 * DAY_MS)
OUTCOMES = Topic("outcomes", "delete", "what became of each delivery", 30 * DAY_MS)
ERASURES = Topic("erasures", "delete", "receipts for contacts that were erased, without their ids", 400 * DAY_MS)
REJECTED = Topic("rejected", "delete", "what could not be taken, as it came, with the reason", 30 * DAY_MS)

# in the order of the merge: ties of record time go to the earlier one (I6)
SOURCES = (EVENTS_PRODUCT, EVENTS_BILLING, EVENTS_EMAIL, EVENTS_OWN)
TOPICS = (
    *SOURCES,
    TRANSITIONS,
    MEMBERSHIPS,
    CONTACTS,
    STATE,
    LINKS,
    DEFINITIONS,
    DELIVERIES,
    OUTCOMES,
    ERASURES,
    REJECTED,
)

_BILLING = ("Order ", "Trial ", "Subscription ", "Invoice ", "Payment ")
_EMAIL = ("Email ",)
_CONSENT = ("Subscribed", "Unsubscribed")


def source_of(event_name: str | None) -> Topic:
    """The source topic that `tidegate publish` gives events of this name to; it changes nothing of their meaning."""
    if event_name is None:
        return EVENTS_PRODUCT
    if event_name.startswith(_EMAIL) or event_name in _CONSENT:
        return EVENTS_EMAIL
    return EVENTS_BILLING if event_name.startswith(_BILLING) else EVENTS_PRODUCT


def is_ours(topic: str, prefix: str) -> bool:
    """Whether the topic of that full name is one of ours, or could become one: its name begins with our prefix."""
    return topic.startswith(prefix) if prefix else topic in {each.name for each in TOPICS}


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of `key`, as the Java client and aiokafka have it: murmur2, sign bit off, modulo `partitions`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """Kafka's murmur2 of `key`, unsigned 32 bits (org.apache.kafka.common.utils.Utils.murmur2)."""
    length, m = len(key), 0x5BD1E995
    h = (0x9747B28C ^ length) & 0xFFFFFFFF
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    if length > whole:
        h ^= int.from_bytes(key[whole:], "little")
        h = h * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return h ^ (h >> 15)
