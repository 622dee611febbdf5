"""Records to topics that are not ours, as the Kafka channel writes them: acknowledged by all replicas, each once.

The producer is idempotent, so what it sends a second time by itself is written once. It is made when the first record
comes: a dispatcher whose rules name no topic needs no rights for it.
"""

import asyncio
import contextlib

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTopicError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from actions.channels import NotTaken
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
        self._opening = asyncio.Lock()

    async def publish(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Returns when all replicas have the record; see `actions.channels.Publish`."""
        try:
            async with asyncio.timeout(PUBLISH_S_MAX):
                producer = await self._open()
                await producer.send_and_wait(topic, value, key, headers=headers)
        except _NEVER as error:
            raise NotTaken(f"expected topic {topic!r} to take a record, got {type(error).__name__}: {error}") from None
        except TimeoutError:
            raise OSError(f"no answer within {PUBLISH_S_MAX:g} s") from None
        except KafkaError as error:
            if not error.retriable:
                await self.stop()  # an idempotent producer that has lost its place sends nothing any more
            raise OSError(f"{type(error).__name__}: {error}") from None

    async def stop(self) -> None:
        """Lets go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError):
                await producer.stop()

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
