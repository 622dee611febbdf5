"""Ten disturbances of workers and broker under load: `deploy/torture` does a hundred, of any seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture_run import Torture
from torture_script import draw

pytestmark = pytest.mark.kafka

SEED = 321


def test_nothing_is_lost_repeated_or_early_whatever_happens_to_workers_and_broker(tmp_path: Path) -> None:
    script = draw(SEED, 10, pause_s=1.2, away_s=5.0)
    summary = Torture(tmp_path, script, seed=SEED, workers=2, say=print).run()
    assert summary.tally.transitions > 3_000
    assert {"event", "timer", "manual", "erasure"} == set(summary.tally.by_cause)
    assert summary.tally.aside < summary.tally.contacts // 4
    assert summary.stop_s_max < 15
