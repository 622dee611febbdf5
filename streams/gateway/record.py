"""What the gateway writes."""

from typing import NamedTuple

from streams.log import Headers


class Record(NamedTuple):
    """A record to be written: topic without prefix. One without a key goes to partition 0."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = []  # noqa: RUF012  # nobody writes to it
