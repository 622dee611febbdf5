"""Helpers beside the tests can be imported by name; workers of a test end with it; repeats after kills are summed up."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from dispatcher_runs import Setup
from worker_runs import SEGMENTS, Stage

_REPEATS: list[tuple[str, int, int]] = []


@pytest.fixture
def note_repeats() -> Callable[[str, int, int], None]:
    """Told a channel, how many messages it got, and how many of them twice, after a kill; said when the tests are over."""
    return lambda channel, messages, twice: _REPEATS.append((channel, messages, twice))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What `note_repeats` was told, by channel."""
    for name in sorted({name for name, _, _ in _REPEATS}):
        told = [each for each in _REPEATS if each[0] == name]
        messages, twice = (sum(each[n] for each in told) for n in (1, 2))
        terminalreporter.write_line(f"{name}: {messages} messages through {len(told)} kills, {twice} of them twice")


@pytest.fixture
def setup_redis(redis_url: str) -> str:
    """The Redis of `setup`; a file of tests that stops or empties it has one of its own in its place."""
    return redis_url


@pytest.fixture
async def setup(broker: str, setup_redis: str, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    """Topics, rules and receivers for dispatchers."""
    made = Setup(broker, setup_redis, prefix, tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def make_stage(broker: str, prefix: str, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """A function that makes a `Stage`."""
    stages: list[Stage] = []

    def make(segments: Path = SEGMENTS, *, on: str = broker, **changes: str) -> Stage:
        stages.append(Stage(on, prefix, tmp_path, segments, **changes))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()
