"""Contacts that are to be forgotten: a `delete` for each, and what the workers say of it.

The receipts are waited for: until a worker has taken a `delete`, and committed what follows of it, nobody is erased.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from schemas.erasures import Receipt, contact_hash
from schemas.events import CONTACT_BYTES_MAX
from schemas.topics import ERASURES, EVENTS_PRODUCT, REJECTED, partition_of
from streams.broker import partitions_of, producer, reader
from streams.errors import InputError
from streams.settings import Settings

# deletes that are under way at once
PIECE = 500
POLL_MS = 250
_HASH_BYTES = 8

# erased; nothing was known of it; a worker would not take it; Kafka has it and no worker has said anything yet
What = Literal["erased", "unknown", "rejected", "waiting"]


class Answer(NamedTuple):
    """What became of a contact: `hash` is what stands for it in the receipt, `at` when that was, `why` of `rejected`."""

    contact: str
    what: What
    hash: str
    at: str | None = None
    why: str | None = None


def contacts_of(named: Iterable[str], file: str | None) -> list[str]:
    """Those that are `named`, and those of a file with an id in each line (`-` is standard input), each once.

    Raises `InputError` for what no contact can be called, with its line.
    """
    found = [("", contact) for contact in named]
    if file is not None:
        try:
            text = Path("/dev/stdin" if file == "-" else file).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: expected a file of ids, one in each line, in UTF-8: {error}") from None
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        found += [(f"{file}:{number}: ", line) for number, line in enumerate(lines, 1) if line]
    errors = []
    for place, contact in found:
        size = len(contact.encode("utf-8", "surrogateescape"))
        if not 0 < size <= CONTACT_BYTES_MAX:
            errors.append(f"{place}expected an id of 1 to {CONTACT_BYTES_MAX} bytes, got {size}")
        elif any("\ud800" <= character <= "\udfff" for character in contact):
            errors.append(f"{place}expected an id in UTF-8, got {contact!r}")
    if errors:
        raise InputError(*errors)
    return list(dict.fromkeys(contact for _, contact in found))


async def erase(
    settings: Settings,
    contacts: Sequence[str],
    *,
    wait_s: float,
    advance: Callable[[int], None] = lambda answered: None,
) -> list[Answer]:
    """Publishes a `delete` of each of `contacts`, and waits until workers have answered, for `wait_s` without any answer.

    In their order; those that had no answer by then are `waiting`, and of what comes after them nothing is published.
    `advance` hears how many have been answered. Raises `StreamsError`.
    """
    topics = [settings.topic(topic.name) for topic in (EVENTS_PRODUCT, ERASURES, REJECTED)]
    partitions = (await partitions_of(settings, topics))[topics[0]]
    answers: dict[str, Answer] = {}
    async with reader(settings, topics[1:], "latest") as consumer, producer(settings) as client:
        for start in range(0, len(contacts), PIECE):
            asked = _Asked(settings, contacts[start : start + PIECE])
            await asked.send(client, topics[0], partitions)
            await asked.wait(consumer, wait_s, advance, len(answers))
            answers |= asked.answers
            if asked.left:
                break
    return [answers[contact] for contact in contacts if contact in answers]


class _Asked:
    """Some contacts that are to be erased, and what has been answered."""

    def __init__(self, settings: Settings, contacts: Sequence[str]) -> None:
        self._receipts = settings.topic(ERASURES.name)
        self._hashes = {contact_hash(contact): contact for contact in contacts}
        self._values = {contact: _delete(contact) for contact in contacts}
        self._waiting = {contact: Answer(contact, "waiting", hash) for hash, contact in self._hashes.items()}
        self._answered: dict[str, Answer] = {}

    @property
    def left(self) -> int:
        """How many have no answer yet."""
        return len(self._values) - len(self._answered)

    @property
    def answers(self) -> dict[str, Answer]:
        """By contact."""
        return self._waiting | self._answered

    async def send(self, client: AIOKafkaProducer, topic: str, partitions: int) -> None:
        """Returns when Kafka has all of them."""
        sent = []
        for contact, value in self._values.items():
            key = contact.encode()
            sent.append(await client.send(topic, value, key, partition_of(key, partitions)))
        await asyncio.gather(*sent)

    async def wait(
        self, consumer: AIOKafkaConsumer, wait_s: float, advance: Callable[[int], None], before: int
    ) -> None:
        """Until all are answered, or nothing came for `wait_s`; `before`: how many were answered before these."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + wait_s
        while self.left and clock() < until_s:
            left = self.left
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    self._take(record)
            if self.left < left:
                until_s = clock() + wait_s
                advance(before + len(self._answered))

    def _take(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        if record.topic == self._receipts and (contact := self._hashes.get(key)) is not None:
            receipt = msgspec.json.decode(record.value, type=Receipt)
            # somebody else's `delete` may have come first: by ours nothing is known any more
            what: What = "erased" if receipt.known else "unknown"
            self._answered.setdefault(contact, Answer(contact, what, key, receipt.at))
        elif record.topic != self._receipts and record.value == self._values.get(key):
            headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
            why = f"{headers.get('reason')}: {headers.get('sentence')}"
            self._answered[key] = Answer(key, "rejected", contact_hash(key), None, why)


def _delete(contact: str) -> bytes:
    # its own `messageId` tells it from another's; nothing in it says more of the contact than its key does
    message_id = f"delete-{secrets.token_hex(_HASH_BYTES)}"
    return orjson.dumps({"type": "delete", "userId": contact, "messageId": message_id})
