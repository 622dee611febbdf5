"""Alert rules, their tests, the dashboard and what operations read of them agree with each other and with the metrics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from actions.metrics import DispatcherMetrics
from streams.api_metrics import ApiMetrics
from streams.cli import COMMANDS
from streams.gateway.metrics import GatewayMetrics
from streams.metric_table import METRICS
from streams.projector_metrics import ProjectorMetrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
TESTS = ("rules_test.yml", "rules_week_test.yml")
ANNOTATIONS = {"summary", "means", "do", "runbook"}
NAME = re.compile(r"\btidegate_[a-z0-9_]+")
# Grafana's dashboard model, as far as an import depends on it
GRID = {"x": {"maximum": 23}, "y": {}, "w": {"minimum": 1, "maximum": 24}, "h": {"minimum": 1}}
TARGET = {"type": "object", "required": ["refId", "expr", "datasource"], "properties": {"expr": {"minLength": 1}}}
PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {
        "id": {"type": "integer"},
        "type": {"enum": ["row", "stat", "timeseries"]},
        "gridPos": {
            "required": list(GRID),
            "properties": {name: {"type": "integer", "minimum": 0} | more for name, more in GRID.items()},
            "additionalProperties": False,
        },
        "targets": {"type": "array", "minItems": 1, "items": TARGET},
        "fieldConfig": {"required": ["defaults", "overrides"]},
    },
    "if": {"properties": {"type": {"not": {"const": "row"}}}},
    "then": {"required": ["targets", "fieldConfig", "options", "datasource"]},
}
DASHBOARD = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40},
        "schemaVersion": {"type": "integer", "minimum": 30},
        "panels": {"type": "array", "items": PANEL, "minItems": 1},
        "templating": {"required": ["list"]},
        "id": {"type": "null"},
    },
}


def rules() -> list[dict[str, Any]]:
    """All rules."""
    return [
        rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    """Those that alert."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    """Grafana's."""
    found: dict[str, Any] = json.loads((PROMETHEUS / "dashboard.json").read_text())
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], str(rule["expr"])
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def known_names() -> set[str]:
    """Every series of our metrics as queries name it."""
    kinds = {metric.full_name: metric.kind for metric in METRICS}
    for metrics in (DispatcherMetrics(), ProjectorMetrics(), ApiMetrics(), GatewayMetrics()):
        for family in metrics.registry.collect():
            kinds[family.name + ("_total" if family.type == "counter" else "")] = family.type  # type: ignore[assignment]
    ends = ("_bucket", "_sum", "_count")
    return {name + end for name, kind in kinds.items() for end in (ends if kind == "histogram" else ("",))}


def test_every_metric_in_rules_and_dashboard_is_one_that_we_have() -> None:
    known = known_names()
    unknown = [(place, name) for place, text in expressions() for name in NAME.findall(text) if name not in known]
    assert unknown == []


def test_every_metric_that_a_runbook_or_a_metric_s_own_words_name_is_one_that_we_have() -> None:
    told = [(rule["alert"], str(rule["annotations"])) for rule in alerts()]
    told += [(metric.full_name, f"{metric.help} {metric.do}") for metric in METRICS]
    for metrics in (DispatcherMetrics(), ProjectorMetrics(), ApiMetrics(), GatewayMetrics()):
        told += [(family.name, family.documentation) for family in metrics.registry.collect()]
    known = {name.removesuffix(end) for name in known_names() for end in ("", "_bucket")}
    assert [(place, name) for place, text in told for name in NAME.findall(text) if name not in known] == []


def test_every_metric_of_dispatchers_projectors_apis_and_gateways_is_in_a_panel() -> None:
    asked = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()))
    for metrics in (DispatcherMetrics(), ProjectorMetrics(), ApiMetrics(), GatewayMetrics()):
        assert [family.name for family in metrics.registry.collect() if family.name not in asked] == []


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for _, text in expressions() for name in re.findall(r"\btidegate:[a-z0-9_:]+", text)}
    assert asked <= recorded


def test_every_alert_says_what_it_means_and_what_to_do_and_where_that_stands() -> None:
    for rule in alerts():
        assert set(rule["annotations"]) == ANNOTATIONS, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"


def test_the_readme_has_the_alerts_and_metrics_that_the_code_has() -> None:
    """`.venv/bin/python deploy/alerts.py` writes them."""
    sys.path.insert(0, str(DEPLOY))
    import alerts as written_by

    readme = (DEPLOY / "README.md").read_text("utf-8")
    assert readme == written_by.written(readme), "run `.venv/bin/python deploy/alerts.py`"
    headings = re.findall(r"^### (Tidegate\w+)$", readme, re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]


def test_commands_that_alerts_name_exist() -> None:
    told = " ".join(str(rule["annotations"]) for rule in alerts())
    named = set(re.findall(r"`tidegate ([a-z]+)", told))
    assert named
    assert named <= set(COMMANDS)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires, quiet = set(), set()
    for name in TESTS:
        for test in yaml.safe_load((PROMETHEUS / name).read_text())["tests"]:
            for asked in test["promql_expr_test"]:
                named = re.findall(r'alertname="(\w+)"', str(asked["exp_samples"]))
                fires.update(named)
                quiet.update([test["name"]] if not named else [])
    names = {rule["alert"] for rule in alerts()}
    assert names <= fires
    assert names <= quiet


def promtool() -> str:
    """Path of promtool; without it the test is left out (the set-up brings it on Debian and Ubuntu)."""
    sys.path.insert(0, str(DEPLOY))
    from tools import ServiceError, prometheus

    try:
        return prometheus("promtool")
    except ServiceError as error:
        pytest.skip(str(error))


def test_promtool_finds_the_rules_and_the_example_sound_and_their_tests_pass() -> None:
    checks = (("check", "rules", "rules.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", *TESTS))
    for arguments in checks:
        done = subprocess.run(
            [promtool(), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    found = dashboard()
    jsonschema.validate(found, DASHBOARD)
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    taken: dict[tuple[int, int], str] = {}
    for panel in found["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for place in [(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])]:
            assert taken.setdefault(place, panel["title"]) == panel["title"], (place, panel["title"], taken[place])
