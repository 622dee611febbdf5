"""Makes the sections "Alerts" and "Metrics" of deploy/README.md from the rules and from the metrics' declarations.

`.venv/bin/python deploy/alerts.py` writes them; a test sees that they are as it would write them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from actions.metrics import DispatcherMetrics
from streams.api_metrics import ApiMetrics
from streams.gateway.metrics import GatewayMetrics
from streams.instruments import markdown_table
from streams.metric_table import METRICS
from streams.projector_metrics import ProjectorMetrics

DEPLOY = Path(__file__).resolve().parent
README = DEPLOY / "README.md"
RULES = DEPLOY / "prometheus" / "rules.yml"
END = "<!-- the end of what deploy/alerts.py writes -->"
_ALERTS = """## Alerts

`prometheus/rules.yml` has them, `prometheus/prometheus.yml` shows how to use it, `prometheus/dashboard.json` is a dashboard for
Grafana to import. Page: somebody gets up for it. Ticket: somebody looks at it in working hours. Start with `tidegate status`.
"""
_METRICS = """## Metrics

What a worker's `/metrics` has (`tidegate metrics` prints it), besides the `process_…` ones. Labels are bounded; no metric has a
contact in it. What is counted while it is applied (duplicates, late events, limits, transitions, deliveries, timers) is counted
again where a partition goes back to what is committed, as it does where a record raises; what is taken and rejected is counted
when it is committed, once.
"""
_DISPATCHER = """A dispatcher's, besides the `process_…` ones:
"""
_PROJECTOR = """A projector's, besides the `process_…` ones:
"""
_API = """An API's, besides the `process_…` ones:
"""
_GATEWAY = """A gateway's, besides the `process_…` ones:
"""


def alerts() -> Iterator[dict[str, Any]]:
    """Each alert rule, in the order of the file."""
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


def sections() -> str:
    """Both, as they stand in the README."""
    entries = []
    for rule in alerts():
        told = rule["annotations"]
        entries.append(
            f"### {rule['alert']}\n\n{told['means'].strip()} ({rule['labels']['severity']})\n\n**Do**: {told['do'].strip()}\n"
        )
    table = markdown_table(METRICS)
    others = [_DISPATCHER, _table(DispatcherMetrics().registry), _PROJECTOR, _table(ProjectorMetrics().registry)]
    others += [_API, _table(ApiMetrics().registry), _GATEWAY, _table(GatewayMetrics().registry)]
    return "\n".join([_ALERTS, *entries, _METRICS, table, *others, END]) + "\n"


def _table(registry: CollectorRegistry) -> str:
    lines = ["| metric | kind | what it says, and when it moves |", "|---|---|---|"]
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def written(readme: str) -> str:
    """The README with the sections as they are now."""
    start = readme.find("## Alerts\n")
    if start < 0:
        return f"{readme.rstrip()}\n\n{sections()}"
    end = readme.index(END, start) + len(END) + 1
    return readme[:start] + sections() + readme[end:]


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
    print(f"{README} is written", file=sys.stderr)
