"""What could not be taken, and why: reason codes, and the headers of a record of the `rejected` topic.

The value of such a record is the original bytes, untouched; key and partition are the original's as well. Where it came
from and why it was refused stand in the headers, so that nothing has to be decoded to sort a morning's worth of them.
One with the reason `replayed` is the mark of another, behind it in its partition, with the same coordinates: that one was
published again; the header `was` has its reason.

What a gateway couldn't take never stood in a topic: there `topic` is `GATEWAY` and the connection's id, and partition and
offset are -1.
"""

import enum
from typing import Final

GATEWAY: Final = "gateway:"


class Reason(enum.StrEnum):
    """Why a record was not taken: a bounded set, used as metric label and header."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NO_CONTACT = "no_contact"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNREADABLE_TIME = "unreadable_time"
    NOT_SUPPORTED = "not_supported"
    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    WRONG_PARTITION = "wrong_partition"
    TICK = "tick"
    FAILED = "failed"
    RAISED = "raised"
    QUARANTINED = "quarantined"
    # no rejection but the mark of one that was published again: `tidegate rejected replay`
    REPLAYED = "replayed"


class Rejection(Exception):
    """A record that can't be taken: `reason` (a code) and `sentence` (for people: expected, found, what to do)."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence


def rejection_headers(
    reason: Reason, sentence: str, topic: str, partition: int, offset: int, at_ms: int
) -> list[tuple[str, bytes]]:
    """Headers of a `rejected` record: coordinates of the original, reason code, sentence, and when it was refused."""
    fields = {
        "reason": str(reason),
        "sentence": sentence[:1000],
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "rejected_at_ms": str(at_ms),
    }
    return [(name, value.encode("utf-8", "replace")) for name, value in fields.items()]
