"""Records to topics that are not ours, as the Kafka channel writes them: acknowledged by all replicas, each once.

The producer is idempotent, so what it sends a second time by itself is written once. It is made when the first record
comes: a dispatcher whose rules name no topic needs no rights for it. It is never handed a topic that isn't there: Kafka
may make one of that name, as it likes, and the client asks for it over and over.
"""

import asyncio
import contextlib

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTopicError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from actions.channels import NotTaken
from streams.broker import partitions_of
from streams.errors import BrokerError, TopicsError
from streams.security import access
from streams.settings import Settings

PUBLISH_S_MAX = 15.0
# about the record, whoever sends it: the producer goes on
_NEVER = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)


class TopicWriter:
    """Writes records; `stop` lets go of the connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._there: set[str] = set()
        self._opening = asyncio.Lock()

    async def publish(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Returns when all replicas have the record; see `actions.channels.Publish`."""
        try:
            async with asyncio.timeout(PUBLISH_S_MAX):
                await self._find(topic)
                producer = await self._open()
                await producer.send_and_wait(topic, value, key, headers=headers)
        except _NEVER as error:
            raise NotTaken(f"expected topic {topic!r} to take a record, got {type(error).__name__}: {error}") from None
        except TimeoutError:
            self._there.discard(topic)
            raise OSError(f"no answer within {PUBLISH_S_MAX:g} s") from None
        except KafkaError as error:
            self._there.discard(topic)
            if not error.retriable:
                await self.stop()  # an idempotent producer that has lost its place sends nothing any more
            raise OSError(f"{type(error).__name__}: {error}") from None

    async def stop(self) -> None:
        """Lets go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError):
                await producer.stop()

    async def _find(self, topic: str) -> None:
        if topic in self._there:
            return
        try:
            await partitions_of(self._settings, [topic])
        except TopicsError:
            raise OSError("no topic of that name: make it, with as many partitions as its readers want") from None
        except BrokerError as error:
            raise OSError(str(error)) from None
        self._there.add(topic)

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(**access(self._settings), acks="all", enable_idempotence=True)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
