"""Each question is read once for all who ask it, kept for a while, bounded, and ended when nobody waits."""

import asyncio

import pytest

from streams import api_answers
from streams.api_answers import READ_AT_ONCE, Answer, Answers, Crowded, Ending


class Topics:
    """What is read: `let` answers of what is being read; `read` has all questions that were begun, `ended` the cancelled."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.ended: list[str] = []
        self._let = asyncio.Event()

    def let(self) -> None:
        self._let.set()

    async def answer(self, question: str) -> bytes:
        self.read.append(question)
        try:
            await self._let.wait()
        except asyncio.CancelledError:
            self.ended.append(question)
            raise
        if question == "broken":
            raise ValueError(question)
        return f"{question} {len(self.read)}".encode()


async def settled() -> None:
    """Lets every task come to what it waits for."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_the_same_gets_the_same_answer_read_once() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, 8)
    asking = [asyncio.create_task(answers.of("a")) for _ in range(3)]
    await settled()
    topics.let()

    first, *others = await asyncio.gather(*asking)
    assert [first, first] == others
    assert ["a"] == topics.read
    assert first is await answers.of("a")
    assert 0 < answers.fresh_s(first) <= 60
    assert 0 == answers.under_way


async def test_an_answer_that_is_not_kept_any_more_is_read_again() -> None:
    topics = Topics()
    topics.let()
    answers = Answers(topics.answer, 0, 8)

    assert [b"a 1", b"a 2"] == [(await answers.of("a")).body for _ in range(2)]
    assert 0 == answers.fresh_s(Answer(b"", asyncio.get_running_loop().time()))


async def test_no_more_answers_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_answers, "KEPT_MAX", 2)
    topics = Topics()
    topics.let()
    answers = Answers(topics.answer, 60, 8)
    for question in ("a", "b", "c", "b", "c", "a"):
        await answers.of(question)

    assert ["a", "b", "c", "a"] == topics.read


async def test_so_many_are_read_at_once_and_so_many_wait_and_one_more_is_refused() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, READ_AT_ONCE + 1)
    asking = [asyncio.create_task(answers.of(question)) for question in "abcd"[: READ_AT_ONCE + 1]]
    await settled()

    assert ["a", "b"] == topics.read
    with pytest.raises(Crowded):
        await answers.of("z")
    topics.let()
    await asyncio.gather(*asking)
    assert ["a", "b", "c"] == topics.read
    assert b"z 4" == (await answers.of("z")).body


async def test_a_reading_ends_when_the_last_who_waits_is_gone_and_not_before() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, 1)
    one, two = (asyncio.create_task(answers.of("a")) for _ in range(2))
    await settled()
    one.cancel()
    await settled()
    assert [] == topics.ended

    two.cancel()
    await settled()
    assert ["a"] == topics.ended
    assert 0 == answers.under_way

    again = asyncio.create_task(answers.of("a"))
    await settled()
    topics.let()
    assert b"a 2" == (await again).body


async def test_one_that_waits_for_its_turn_is_given_up_as_well() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, 8)
    asking = [asyncio.create_task(answers.of(question)) for question in "abc"]
    await settled()
    asking[2].cancel()
    await settled()
    topics.let()
    await asyncio.gather(*asking[:2])

    assert ["a", "b"] == topics.read


async def test_what_reading_raises_is_raised_to_all_and_not_kept() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, 8)
    asking = [asyncio.create_task(answers.of("broken")) for _ in range(2)]
    await settled()
    topics.let()

    assert [ValueError, ValueError] == [type(each) for each in await asyncio.gather(*asking, return_exceptions=True)]
    with pytest.raises(ValueError, match="broken"):
        await answers.of("broken")
    assert ["broken", "broken"] == topics.read


async def test_at_the_end_who_waits_is_told_so() -> None:
    topics = Topics()
    answers = Answers(topics.answer, 60, 8)
    asking = asyncio.create_task(answers.of("a"))
    await settled()
    await answers.close()

    with pytest.raises(Ending):
        await asking
    with pytest.raises(Ending):
        await answers.of("a")
    assert ["a"] == topics.ended
