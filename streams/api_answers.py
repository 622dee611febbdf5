"""Answers that take long to read: each question is read once for all who ask it, and its answer is kept for a while.

Invariants:
  * A question is read at most once at a time; whoever asks it meanwhile waits for the same answer.
  * What is read or waits to be read is bounded, and so are the answers that are kept.
  * A reading that nobody waits for any more ends at once.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

# a reading takes a core, and as much of the broker as it can get
READ_AT_ONCE: Final = 2
KEPT_MAX: Final = 100

Q = TypeVar("Q", bound=Hashable)


class Crowded(Exception):
    """As many questions are read or waited for as may be; whoever asked asks again later."""


class Ending(Exception):
    """This process ends; whoever asked asks another one, or again."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """`body`, read at `read_s` by the loop's clock."""

    body: bytes
    read_s: float


@dataclasses.dataclass(eq=False)
class _Reading:
    task: asyncio.Task[Answer]
    asking: int = 0


class Answers(Generic[Q]):
    """To questions of which `read` makes an answer; they are kept for `keep_s`, and `waiting_max` are under way at most."""

    def __init__(self, read: Callable[[Q], Awaitable[bytes]], keep_s: float, waiting_max: int) -> None:
        self._read, self._keep_s, self._waiting_max = read, keep_s, waiting_max
        self._at_once = asyncio.Semaphore(READ_AT_ONCE)
        self._readings: dict[Q, _Reading] = {}
        self._kept: dict[Q, Answer] = {}
        self._ending = False

    @property
    def under_way(self) -> int:
        """How many questions are read, or wait to be."""
        return len(self._readings)

    def fresh_s(self, answer: Answer) -> float:
        """For how long the answer will still be given, 0 for no longer."""
        return max(0.0, answer.read_s + self._keep_s - asyncio.get_running_loop().time())

    async def of(self, question: Q) -> Answer:
        """The answer that is kept, or is being read, or a new one. Raises `Crowded`, `Ending` and what reading raises."""
        if self._ending:
            raise Ending
        kept = self._kept.get(question)
        if kept is not None and self.fresh_s(kept):
            return kept
        reading = self._readings.get(question) or self._begin(question)
        reading.asking += 1
        try:
            return await asyncio.shield(reading.task)
        except asyncio.CancelledError:
            if reading.task.cancelled() and self._ending:
                raise Ending from None
            raise
        finally:
            reading.asking -= 1
            if not reading.asking and not reading.task.done():
                self._give_up(question, reading)

    async def close(self) -> None:
        """Ends all readings; who waits for them gets `Ending`."""
        self._ending = True
        tasks = [reading.task for reading in self._readings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, question: Q) -> _Reading:
        if len(self._readings) >= self._waiting_max:
            raise Crowded
        reading = self._readings[question] = _Reading(asyncio.create_task(self._make(question)))
        reading.task.add_done_callback(lambda _: self._forget(question, reading))
        return reading

    async def _make(self, question: Q) -> Answer:
        async with self._at_once:
            body = await self._read(question)
        answer = Answer(body, asyncio.get_running_loop().time())
        self._keep(question, answer)
        return answer

    def _keep(self, question: Q, answer: Answer) -> None:
        stale = [other for other, kept in self._kept.items() if not self.fresh_s(kept)]
        for other in (question, *stale):
            self._kept.pop(other, None)
        if self.fresh_s(answer):
            if len(self._kept) >= KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[question] = answer

    def _give_up(self, question: Q, reading: _Reading) -> None:
        reading.task.cancel()
        self._forget(question, reading)

    def _forget(self, question: Q, reading: _Reading) -> None:
        # whoever asked it again while the last reading was ending has another one by now
        if self._readings.get(question) is reading:
            del self._readings[question]
