"""What the gateway writes."""

from typing import Final, NamedTuple

from schemas.rejected import Rejection, rejection_headers
from schemas.topics import REJECTED
from streams.log import Headers

# what aiokafka and Python need besides the bytes of a record, and of one of its headers
RECORD_BYTES: Final = 200
HEADER_BYTES: Final = 100


class Record(NamedTuple):
    """A record to be written: topic without prefix. One without a key goes to partition 0."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = []  # noqa: RUF012  # nobody writes to it


def bytes_of(record: Record) -> int:
    """What a record takes of memory, about."""
    headers = sum(HEADER_BYTES + len(value) for _, value in record.headers)
    return RECORD_BYTES + len(record.key or b"") + len(record.value) + headers


def rejected_record(
    rejection: Rejection, raw: bytes, contact: str | None, connection_id: str, received_at_ms: int
) -> Record:
    """What can't be taken, for `rejected`: it never stood in a topic, so the gateway and the connection stand for one."""
    headers = rejection_headers(
        rejection.reason, rejection.sentence, f"gateway:{connection_id}", -1, -1, received_at_ms
    )
    return Record(REJECTED.name, None if contact is None else contact.encode(), raw, headers)
