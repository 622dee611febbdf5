"""Whether Kafka answers: it is asked now and then, as a consumer to whom nothing comes can't tell silence from absence."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

ASK_S = 1.0
ANSWER_S_MAX = 5.0
SILENT_S_MAX = 10.0


class Pulse:
    """Asks Kafka through a started `consumer` where the partitions of `topic` end; `follow` in a task."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._answered_s = asyncio.get_running_loop().time()
        self._said = False

    @property
    def problem(self) -> str | None:
        """That Kafka has not answered for `SILENT_S_MAX`, None when it has."""
        silent_s = asyncio.get_running_loop().time() - self._answered_s
        return None if silent_s < SILENT_S_MAX else f"kafka has not answered for {silent_s:.0f} s"

    async def follow(self) -> None:
        """Asks, for ever."""
        while True:
            if await self._answers():
                self._answered_s = asyncio.get_running_loop().time()
            self._say()
            await asyncio.sleep(ASK_S)

    async def _answers(self) -> bool:
        partitions = self._consumer.partitions_for_topic(self._topic) or {0}
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await self._consumer.end_offsets([TopicPartition(self._topic, n) for n in partitions])
        except (TimeoutError, KafkaError):
            return False
        return True

    def _say(self) -> None:
        problem = self.problem
        if problem is not None and not self._said:
            logger.error("%s, nothing is read until it does (TIDEGATE_BROKER says where it is)", problem)
        elif problem is None and self._said:
            logger.warning("kafka answers again")
        self._said = problem is not None
