"""Ten disturbances of workers and broker under load: `deploy/torture` does a hundred, of any seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture_run import Torture
from torture_script import Disturbance, draw

from streams.transport import RELEASE_TIMEOUT_S

pytestmark = pytest.mark.kafka

SEED = 1044


def test_nothing_is_lost_repeated_or_early_whatever_happens_to_workers_and_broker(tmp_path: Path) -> None:
    script = draw(SEED, 10, pause_s=1.2, away_s=5.0)
    summary = Torture(tmp_path, script, seed=SEED, workers=2, say=print).run()
    assert summary.tally.transitions > 3_000
    assert {"event", "timer", "manual", "erasure"} == set(summary.tally.by_cause)
    assert summary.tally.aside < summary.tally.contacts // 4
    assert summary.stop_s_max < 15


def test_a_rolling_restart_of_two_workers_under_load_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Nobody ends but by SIGTERM, each within seconds and in good order."""
    script = [Disturbance("rolling restart", pause_s=2.0)]
    summary = Torture(tmp_path, script, seed=1, workers=2, say=print).run()
    assert summary.ended == {"by SIGTERM, status 0": 4}
    assert summary.stop_s_max < RELEASE_TIMEOUT_S
    assert summary.tally.transitions > 3_000
