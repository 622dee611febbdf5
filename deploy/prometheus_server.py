"""Prometheus, the real one, with our rules, on a free loopback port in a directory of its own; for tests.

    with Prometheus(directory, {"worker": ["127.0.0.1:6066"]}) as prometheus:
        ...  # prometheus.query("tidegate_partitions_owned")

Standard library only.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services import Service
from tools import HOST, ROOT, prometheus

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"


class Prometheus(Service):
    """Scrapes `targets` (addresses by role) each second, and evaluates the rules as often."""

    name = "prometheus"
    ports_count = 1

    def __init__(self, directory: Path, targets: Mapping[str, Sequence[str]]) -> None:
        super().__init__(directory)
        self._targets = targets

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression has now; ValueError with Prometheus' words where it is none."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{asked}", timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{expression}: {error.read().decode()}") from None
        samples: list[dict[str, Any]] = found["data"]["result"]
        return samples

    def _format(self) -> None:
        shutil.copy(RULES, self.directory / "rules.yml")
        static = [{"targets": list(listed), "labels": {"role": role}} for role, listed in self._targets.items()]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        scraped = [{"job_name": "tidegate", "static_configs": static}]
        configuration = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": scraped}
        (self.directory / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML

    def _argv(self) -> list[str]:
        place = [f"--web.listen-address={self.address}", f"--storage.tsdb.path={self.data}"]
        return [prometheus(), "--config.file=prometheus.yml", *place, "--log.level=warn"]

    def _answers(self) -> bool:
        """It is ready, and it is the one that keeps its data in our directory."""
        with urllib.request.urlopen(f"http://{HOST}:{self.ports[0]}/-/ready", timeout=2):
            pass
        with urllib.request.urlopen(f"http://{HOST}:{self.ports[0]}/api/v1/status/flags", timeout=2) as answer:
            return bool(json.load(answer)["data"]["storage.tsdb.path"] == str(self.data))
