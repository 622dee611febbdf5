"""Helpers beside the tests can be imported by name; workers of a test end with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from worker_runs import SEGMENTS, Stage


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
