"""Turns at a receiver."""

import asyncio
from collections.abc import Callable

import pytest

from actions import lanes
from actions.lanes import LANE_ATTEMPTS_MAX, Crowded, Lane


async def take_turns(lane: Lane, count: int, until: asyncio.Event) -> tuple[list[asyncio.Task[None]], list[int]]:
    """So many that want a turn and keep it until told; and who has had one so far."""
    had: list[int] = []

    async def one(n: int) -> None:
        async with lane.turn():
            had.append(n)
            await until.wait()

    tasks = [asyncio.create_task(one(n)) for n in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks, had


async def test_a_few_have_their_turn_at_a_time_and_the_others_in_order_after_them() -> None:
    lane, until = Lane(), asyncio.Event()
    tasks, had = await take_turns(lane, LANE_ATTEMPTS_MAX + 3, until)

    assert had == list(range(LANE_ATTEMPTS_MAX))
    until.set()
    await asyncio.gather(*tasks)
    assert had == list(range(LANE_ATTEMPTS_MAX + 3))
    assert lane.count == 0


async def test_whoever_has_waited_for_too_long_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANE_WAIT_S_MAX", 0.05)
    lane, until = Lane(), asyncio.Event()
    tasks, _ = await take_turns(lane, LANE_ATTEMPTS_MAX + 2, until)
    results = await asyncio.gather(*tasks[LANE_ATTEMPTS_MAX:], return_exceptions=True)

    assert [type(result) for result in results] == [Crowded, Crowded]
    assert lane.count == LANE_ATTEMPTS_MAX
    until.set()
    await asyncio.gather(*tasks[:LANE_ATTEMPTS_MAX])
    async with lane.turn():
        assert lane.count == 1


async def test_a_lane_is_full_when_a_newcomer_would_wait_for_too_long(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., object]
) -> None:
    """Judged by how long the attempts under way have taken so far: a receiver that hangs is noticed at once."""
    lane, until = Lane(), asyncio.Event()
    tasks, _ = await take_turns(lane, LANE_ATTEMPTS_MAX + 40, until)
    assert not lane.full

    began_s = asyncio.get_running_loop().time()
    monkeypatch.setattr(lanes, "_now_s", lambda: began_s + 10)
    assert lane.full
    until.set()
    await asyncio.gather(*tasks)
    assert not lane.full
