"""The definitions in force, followed for as long as a process lives, whether Kafka is there or not."""

import asyncio
import logging
from typing import Final

from aiokafka import AIOKafkaConsumer

from schemas.topics import DEFINITIONS
from streams.broker import reader, to_the_end
from streams.errors import BrokerError, StreamsError
from streams.revisions import InForce, Revisions
from streams.settings import Settings

logger = logging.getLogger(__name__)

ASK_S: Final = 1.0
ANSWER_S_MAX: Final = 5.0
RETRY_S: Final = 2.0


class DefinitionsInForce:
    """`in_force` as of `ASK_S` ago while `problem` is None; else as they were last `known`. `follow` in a task."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.in_force = InForce()
        self.problem: str | None = "the definitions have not been read yet"
        self.known = False
        self._said = False

    async def follow(self) -> None:
        """Reads, for ever; what keeps it from reading is said once, and tried again."""
        while True:
            try:
                async with reader(self._settings, [self._settings.topic(DEFINITIONS.name)]) as client:
                    await self._read(client)
            except StreamsError as error:
                self._say(error)
            await asyncio.sleep(RETRY_S)

    async def _read(self, client: AIOKafkaConsumer) -> None:
        revisions = Revisions()
        while True:
            # a consumer that nothing comes to can't tell silence from absence: it is asked
            try:
                async with asyncio.timeout(ANSWER_S_MAX):
                    ends = await client.end_offsets(list(client.assignment()))
            except TimeoutError:
                raise BrokerError(f"Kafka at {self._settings.broker} has not answered for {ANSWER_S_MAX:g} s") from None
            async for record in to_the_end(client, ends):
                revisions.add(record.key, record.value)
            self.in_force, self.problem, self.known = revisions.in_force, None, True
            if self._said:
                logger.warning("the definitions can be read again")
                self._said = False
            await asyncio.sleep(ASK_S)

    def _say(self, error: StreamsError) -> None:
        self.problem = " ".join(error.lines)
        if not self._said:
            logger.error("the definitions can't be read, trying again: %s", self.problem)
            self._said = True
