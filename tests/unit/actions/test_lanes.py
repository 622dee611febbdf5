"""Lanes: how many have their turn, how long the others wait, and who makes room."""

import asyncio

import pytest

from actions import lanes
from actions.lanes import LANE_ATTEMPTS_MAX, LANE_TURNS_MAX, Crowded, Lane

TIMEOUT_S = 5.0


async def _enter(lane: Lane, inside: list[int], attempting: list[int], go: asyncio.Event, number: int = 0) -> None:
    async with lane.turn() as turn:
        inside.append(number)
        await turn.attempt()
        with turn.sending():
            attempting.append(number)
            await go.wait()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_of_a_receiver_that_nobody_knows_only_as_many_have_their_turn_as_may_attempt() -> None:
    lane, inside, attempting, go = Lane(), list[int](), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(_enter(lane, inside, attempting, go, n)) for n in range(100)]
    await _settle()

    assert len(inside) == len(attempting) == LANE_ATTEMPTS_MAX
    go.set()
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*tasks)
    assert attempting == list(range(100))
    assert lane.count == 0


async def test_of_a_quick_receiver_the_next_are_ready_before_it_is_free_for_them() -> None:
    lane, go = Lane(), asyncio.Event()
    go.set()
    await _enter(lane, [], [], go)
    go.clear()
    inside, attempting = list[int](), list[int]()
    tasks = [asyncio.create_task(_enter(lane, inside, attempting, go)) for _ in range(100)]
    await _settle()

    assert len(attempting) == LANE_ATTEMPTS_MAX
    assert len(inside) == LANE_TURNS_MAX
    go.set()
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*tasks)
    assert lane.count == 0


async def test_who_is_next_at_a_receiver_that_was_quick_and_is_no_more_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "LANE_WAIT_S_MAX", 0.05)
    lane, go = Lane(), asyncio.Event()
    go.set()
    await _enter(lane, [], [], go)
    go.clear()
    tasks = [asyncio.create_task(_enter(lane, [], [], go)) for _ in range(20)]
    async with asyncio.timeout(TIMEOUT_S):
        done, waiting = await asyncio.wait(tasks, timeout=0.5)

    assert len(waiting) == lane.count == LANE_ATTEMPTS_MAX
    assert all(isinstance(task.exception(), Crowded) for task in done)
    go.set()
    await asyncio.gather(*waiting)


async def test_a_cancelled_one_leaves_its_place_to_another() -> None:
    lane, inside, go = Lane(), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(_enter(lane, inside, [], go, n)) for n in range(20)]
    await _settle()
    for task in tasks[:12]:  # the eight that have their turn, and four that wait
        task.cancel()
    await asyncio.gather(*tasks[:12], return_exceptions=True)
    await _settle()

    assert inside == [*range(8), *range(12, 20)]
    go.set()
    await asyncio.gather(*tasks[12:])
    assert lane.count == 0


async def test_a_lane_is_full_when_an_attempt_has_lasted_for_long_and_there_is_no_place_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "LANE_STUCK_S", -1.0)
    lane, go = Lane(), asyncio.Event()
    tasks = [asyncio.create_task(_enter(lane, [], [], go)) for _ in range(LANE_ATTEMPTS_MAX - 1)]
    await _settle()
    assert not lane.full
    tasks.append(asyncio.create_task(_enter(lane, [], [], go)))
    await _settle()
    assert lane.full
    monkeypatch.setattr(lanes, "LANE_STUCK_S", 2.0)
    assert not lane.full  # none has lasted for as long as that
    go.set()
    await asyncio.gather(*tasks)


async def test_those_that_make_room_come_back_no_faster_than_attempts_are_made() -> None:
    lane = Lane()
    lane.attempts._average_s = 2.0
    later_s = [lane.later_s(5.0) for _ in range(400)]
    assert later_s[0] == pytest.approx(5.0 + 2.0 / LANE_ATTEMPTS_MAX, abs=0.1)
    assert later_s[-1] - later_s[0] == pytest.approx(399 * 2.0 / LANE_ATTEMPTS_MAX, abs=0.1)


async def test_a_redis_that_is_away_makes_no_receiver_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had its turn waited for it; taken for the receiver's time, all that came after was put off for minutes."""
    monkeypatch.setattr(lanes, "LANE_STUCK_S", 0.0)
    lane, back = Lane(), asyncio.Event()

    async def take_and_send() -> None:
        async with lane.turn() as turn:
            await turn.attempt()
            await back.wait()
            with turn.sending():
                pass

    tasks = [asyncio.create_task(take_and_send()) for _ in range(20)]
    await asyncio.sleep(0.2)  # for so long it is away
    assert not lane.full
    back.set()
    await asyncio.gather(*tasks)
    assert lane.attempts.usual_s < 0.1
    assert lane.later_s(5.0) < 5.1
