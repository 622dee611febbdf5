"""What counts as stalled, for how long, and what is done about it; by a clock that the tests move."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from test_worker import Bench

from streams import guard as guarding
from streams.guard import Guard, LoopThread, StalledError
from streams.inbox import HELD_RECORDS_MAX
from streams.metric_table import PROBLEMS
from streams.settings import load_settings
from streams.watchdog import LIVE_MS, PAUSED_MS, WARN_MS, Watchdog, standing_of

SECOND = 1000.0
EXIT_MS = 120 * SECOND
POSITION = ("position", 3)


def looked(watchdog: Watchdog, seconds: int, *, start_s: int = 0, at: Any = 7, answers: bool = True) -> None:
    """A look a second at a partition that stands at `at`."""
    for second in range(start_s, start_s + seconds + 1):
        watchdog.look({POSITION: at}, second * SECOND, answers=answers)


def test_what_stands_still_is_told_first_and_fatal_at_the_set_time() -> None:
    watchdog = Watchdog(EXIT_MS)
    looked(watchdog, 29)
    assert (watchdog.told, watchdog.fatal) == ([], None)
    looked(watchdog, 1, start_s=30)
    (stall,) = watchdog.told
    assert (stall.problem, stall.partition, stall.stalled_ms) == ("position", 3, 31 * SECOND)
    assert watchdog.fatal is None
    looked(watchdog, 90, start_s=32)
    assert watchdog.fatal is not None
    assert watchdog.dead is not None


def test_what_moves_a_little_or_no_longer_has_to_is_no_stall() -> None:
    watchdog = Watchdog(EXIT_MS)
    for second in range(1000):
        watchdog.look({POSITION: second // 100}, second * SECOND, answers=True)
        assert watchdog.fatal is None
    looked(watchdog, 100, start_s=1000)
    watchdog.look({}, 1101 * SECOND, answers=True)
    assert watchdog.stalls == []


def test_a_broker_that_is_away_for_an_hour_ends_nothing_and_all_the_time_is_left_when_it_is_back() -> None:
    watchdog = Watchdog(EXIT_MS)
    looked(watchdog, 100)
    looked(watchdog, 3600, start_s=101, answers=False)
    assert watchdog.fatal is None
    looked(watchdog, 118, start_s=3702)
    assert watchdog.fatal is None
    looked(watchdog, 5, start_s=3821)
    assert watchdog.fatal is not None


@pytest.mark.parametrize("exit_ms", [5 * SECOND, 9 * SECOND, EXIT_MS])
def test_a_process_that_was_paused_has_not_stalled(exit_ms: float) -> None:
    """For however long; also where the time to the end is shorter than what is a pause otherwise."""
    for paused_ms in (0.4 * exit_ms, exit_ms + 1, exit_ms + PAUSED_MS):
        watchdog = Watchdog(exit_ms)
        looked(watchdog, 2)
        watchdog.look({POSITION: 7}, 2 * SECOND + paused_ms, answers=True)
        assert watchdog.fatal is None


def test_with_no_time_set_nothing_is_fatal_and_livez_says_it_all_the_same() -> None:
    watchdog = Watchdog(0)
    looked(watchdog, int(LIVE_MS / SECOND) + 1)
    assert watchdog.fatal is None
    assert watchdog.dead is not None
    assert Watchdog(4 * SECOND).warn_ms == 2 * SECOND < WARN_MS


async def test_what_ought_to_move_is_read_from_the_worker() -> None:
    bench = Bench()
    assert standing_of(bench.worker) == {("assignment", -1): None}
    await bench.worker.take_over({0})
    assert set(standing_of(bench.worker)) == {("reading", -1)}
    bench.publish()
    await bench.worker.feed()
    assert standing_of(bench.worker)["position", 0] == 0
    await bench.apply()
    bench.clock.at_ms += 5
    standing = standing_of(bench.worker)
    assert ("position", 0) not in standing
    since = standing["commit", 0]
    freezing = bench.worker.partitions[0].freeze()
    assert standing_of(bench.worker)["commit", 0] == since, "what is being committed isn't yet"
    assert freezing.encode(bench.clock, bench.clock.spent_ms())
    bench.worker.partitions[0].commit(freezing.frozen(), 2)
    assert set(standing_of(bench.worker)) == {("reading", -1)}


async def test_each_problem_that_the_metric_has_is_looked_for_and_has_words() -> None:
    """A label that nothing ever sets would look like health."""
    bench = Bench()
    found = set(standing_of(bench.worker))
    bench.worker.recovering = True
    found |= set(standing_of(bench.worker))
    bench.worker.recovering = False
    await bench.worker.take_over({0})
    bench.publish()
    await bench.worker.feed()
    found |= set(standing_of(bench.worker))
    await bench.apply()
    found |= set(standing_of(bench.worker))
    assert set(PROBLEMS) == {problem for problem, _ in found} == set(guarding.ADVICE)


async def test_a_partition_that_waits_for_ticks_has_not_stalled() -> None:
    bench = Bench(arrival=True)
    await bench.worker.take_over({0})
    bench.publish()
    await bench.worker.feed()
    assert bench.worker.partitions[0].inbox.lag == 1
    assert set(standing_of(bench.worker)) == {("reading", -1)}


@pytest.fixture
async def guard(monkeypatch: pytest.MonkeyPatch) -> tuple[Guard, Bench]:
    """A guard whose looks come at once, a second apart by the bench's clock; its thread doesn't run."""
    bench = Bench()
    made = Guard(bench.worker, load_settings({"TIDEGATE_STALL_EXIT": "60s"}))

    async def at_once(_: float) -> None:
        bench.clock.at_ms += 1000
        await asyncio.wait([asyncio.ensure_future(_turn()) for _ in range(3)])

    async def _turn() -> None:
        pass

    monkeypatch.setattr(guarding.asyncio, "sleep", at_once)
    monkeypatch.setattr(LoopThread, "start", lambda self: None)
    return made, bench


async def test_a_worker_without_a_share_of_the_group_is_warned_of_and_ended_with_what_to_look_at(
    guard: tuple[Guard, Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def well(_: Any) -> None:
        return None

    monkeypatch.setattr(guarding, "whats_away", well)
    with caplog.at_level(logging.WARNING), pytest.raises(StalledError, match=r"assignment.*TIDEGATE_SESSION"):
        await guard[0].follow()
    (warned,) = [record.message for record in caplog.records]
    assert "stalled for 30 s (assignment)" in warned
    assert 'tidegate_stalled_seconds{problem="assignment"} 60.0' in guard[1].worker.metrics.text().decode()


async def test_a_broker_that_is_away_is_said_once_and_ends_nothing(
    guard: tuple[Guard, Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watching, bench = guard
    asked: list[float] = []

    async def away(_: Any) -> str | None:
        asked.append(bench.clock.spent_ms())
        if len(asked) > 30:
            raise EOFError  # enough of it
        return "expected a Kafka broker, got no connection" if len(asked) < 30 else None

    monkeypatch.setattr(guarding, "whats_away", away)
    with caplog.at_level(logging.WARNING), pytest.raises(EOFError):
        await watching.follow()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "expected a Kafka broker, got no connection",
        "kafka answers again",
    ]
    assert asked[29] - asked[0] > 5 * 60 * SECOND, "asked every ten seconds, for minutes"


async def test_a_partition_without_a_leader_is_waited_for_as_well_though_the_broker_answers_for_others(
    guard: tuple[Guard, Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watching, bench = guard
    await bench.worker.take_over({0})
    bench.publish()
    await bench.worker.feed()  # and nobody takes a turn
    asked: list[float] = []

    async def leaderless(_: Any) -> str | None:
        asked.append(bench.clock.spent_ms())
        if len(asked) > 60:
            raise EOFError  # enough of it
        return "expected a leader for each partition" if len(asked) < 30 else None

    monkeypatch.setattr(guarding, "whats_away", leaderless)
    monkeypatch.setattr(type(bench.worker), "unanswered_ms", 0.0)
    with caplog.at_level(logging.WARNING), pytest.raises((EOFError, StalledError)) as ended:
        await watching.follow()
    assert [record.message.split(":")[0] for record in caplog.records][:2] == [
        "expected a leader for each partition",
        "kafka answers again",
    ]
    assert asked[28] - asked[0] > 4 * 60 * SECOND, "it was waited for much longer than the time to the end"
    assert ended.type is StalledError, "once there is a leader, what still stands is a stall"


def test_a_loop_that_hangs_is_said_with_where_it_stands_and_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(guarding, "os", SimpleNamespace(_exit=ended.append))
    monkeypatch.setattr(guarding.logging, "shutdown", lambda: None)
    thread = LoopThread(20.0)
    thread._watched = threading.get_ident()
    with caplog.at_level(logging.WARNING):
        thread._look(9.0)
        assert not caplog.records
        thread._look(11.0)
        thread._look(12.0)
    (record,) = caplog.records
    assert "test_a_loop_that_hangs" in record.getMessage()
    assert not ended
    thread._look(20.0)
    assert ended == [1]


HANGS = """
import asyncio, logging, time
from streams.guard import LoopThread

async def main():
    LoopThread(2.0).start()
    time.sleep(60)  # what never gives the loop its turn

logging.basicConfig()
asyncio.run(main())
"""


def test_a_process_whose_loop_hangs_is_ended_from_beside_it() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "the event loop has not had its turn" in done.stderr
    assert "in main" in done.stderr


async def test_a_topic_that_is_held_does_not_stand_in_for_an_answer_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stopped partition is held for as long as it is stopped: the broker could be away, and nobody would say so."""
    bench = Bench()
    await bench.worker.take_over({0})
    for _ in range(HELD_RECORDS_MAX + 1_000):
        bench.publish("one")
    for _ in range(3):
        await bench.worker.feed()

    async def silent(hold: Any) -> list[Any]:
        assert {("one", 0)} == hold
        return []

    monkeypatch.setattr(bench.worker.log, "fetch", silent)
    answered_ms = bench.worker.answered_ms
    bench.clock.at_ms += 60_000
    await bench.worker.feed()

    assert answered_ms == bench.worker.answered_ms
