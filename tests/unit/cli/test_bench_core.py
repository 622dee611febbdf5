"""`tidegate bench core`: what it says was measured, and of what."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from segments import load_data
from streams import bench_builds, bench_core
from streams.bench_loads import generated, grown, journey
from streams.errors import StreamsError


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, Any]]:
    """A measurement of next to nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {"SIZES": (10, 30), "ROUNDS": 1, "DUE_CONTACTS": 5, "STATE_CONTACTS": 3}.items():
            monkeypatch.setattr(bench_core, name, value)
        yield bench_core.measure(1_000, full=False)


def test_every_load_is_measured_under_every_number_of_segments(figures: dict[str, Any]) -> None:
    """And each of them makes transitions, or nothing of interest was measured."""
    for load in figures["loads"].values():
        assert load["events"] == 1_000
        assert min(load["transitions"]) > 100
        assert load["transitions"][0] == load["transitions"][1], "segments that nothing touches change nothing"
        assert all(size["us"] > 0 and size["state_bytes"] > 50 for size in load["sizes"].values())
    assert {"generated", "Complete Journey"} == set(figures["loads"])
    assert min(figures["due_us"], figures["compile_us"], figures["state_bytes"]["median"]) > 0


def test_the_table_has_a_row_for_each_figure_and_a_column_for_each_build(figures: dict[str, Any]) -> None:
    lines = bench_builds.table({"pure": figures, "compiled": figures})

    assert ["pure", "Python", "compiled"] == lines[0].split()
    assert 2 == lines[3].count(f"{figures['loads']['generated']['sizes']['10']['us']:.2f}")
    assert f"{figures['state_bytes']['median']:,} bytes" in lines[-1]
    assert len(bench_builds.table({"pure": figures})) == len(lines)


def test_builds_that_answer_differently_are_not_compared(figures: dict[str, Any]) -> None:
    """A build that skips work is fast."""
    other = json.loads(json.dumps(figures))
    other["loads"]["generated"]["transitions"][0] += 1

    bench_builds._check_alike({"pure": figures, "compiled": json.loads(json.dumps(figures))})
    with pytest.raises(StreamsError, match="the same transitions"):
        bench_builds._check_alike({"pure": figures, "compiled": other})


def test_the_loads_are_the_same_at_each_run_and_their_definitions_are_sound() -> None:
    for load in (generated(500), journey(500)):
        assert load is not None
        assert len(load.lines) == 500
        assert 10 == len(load_data({"segments": load.busy}).segments)
        assert 1_000 == len(load_data({"segments": grown(load.busy, 1_000)}).segments)
        assert len(load_data(load.whole).segments) > 10
    assert generated(500).lines == generated(500).lines
