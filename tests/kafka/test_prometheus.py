"""Dashboard and rules asked of a real Prometheus that scrapes a real worker: each query parses, and has data where it should."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
import yaml
from worker_runs import Sources, Stage

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]
DEPLOY = runs.ROOT / "deploy"
# nobody has an address, and half are held out
LATELY = """
segments: [{id: lately, when: {event: A, within: 1s}}]
sequences:
  - id: hello
    on: {segment: lately}
    again: every_time
    steps:
      - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Hello}}
      - split:
          paths:
            - {name: on, percent: 50, steps: [{wait: 1s}]}
            - {name: held-out, percent: 50, holdout: true}
"""
# of a dispatcher, which does not run here, in whole or in part
WITHOUT_DATA = {"Outcomes", "Waiting", "Left out, by code"}


@pytest.fixture
def prometheus_of(tmp_path: Path) -> Callable[[str], Any]:
    """A function that makes a Prometheus which scrapes a worker at an address; without the program the test is left out."""
    sys.path.insert(0, str(DEPLOY))
    from prometheus_server import Prometheus
    from tools import ServiceError, prometheus

    try:
        prometheus()
    except ServiceError as error:
        pytest.skip(str(error))
    return lambda address: Prometheus(tmp_path / "prometheus", {"worker": [address]})


def queries() -> list[tuple[str, str]]:
    """Title and expression of each query of the dashboard, with Grafana's variables filled in."""
    panels = json.loads((DEPLOY / "prometheus" / "dashboard.json").read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace("$job", "tidegate").replace("$__rate_interval", "20s"))
        for panel in panels
        for target in panel.get("targets", ())
    ]


def without_data(prometheus: Any) -> list[str]:
    """Queries of the dashboard that should have data and have none; raises for one that is no query."""
    return [f"{title}: {text}" for title, text in queries() if not prometheus.query(text) and title not in WITHOUT_DATA]


def test_every_panel_has_data_and_every_rule_is_evaluated_while_events_flow(
    make_stage: Callable[..., Stage], prometheus_of: Callable[[str], Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    segments = tmp_path / "s.yaml"
    segments.write_text(LATELY)
    stage = make_stage(segments, clock="wall", grace="200ms")
    worker = stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions")
    sources = Sources(stage.settings)
    sent = 0

    def all_have_data() -> bool:
        nonlocal sent
        sent += 1
        sources.send(
            {"type": "track", "event": "A", "userId": f"c{sent % 50}", "timestamp": time.time_ns() // 1_000_000}
        )
        sources.flush()
        return not without_data(prometheus)

    with prometheus_of(worker.address() or "") as prometheus:
        try:
            wait_until(all_have_data, 60, "data in every panel")
        finally:
            print("without data:", without_data(prometheus))
        (size,) = prometheus.query('tidegate:segment_members:sum{segment="lately"}')
        assert size["metric"]["job"] == "tidegate"
        assert prometheus.query('ALERTS{alertstate="firing"}') == []
        for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]:
            for rule in group["rules"]:
                prometheus.query(rule["expr"])
