"""What the demo's acts stand on: broker, Redis, receivers, and Tidegate's own processes with their settings.

Everything runs in one directory, on free ports of the loopback address, and ends when the stage does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from children import Child
from services import Kafka, Redis
from tools import ServiceError, free_ports, tail

DEPLOY = Path(__file__).resolve().parent
PYTHON = sys.executable
TIDEGATE = str(Path(sys.executable).parent / "tidegate")
READY_S = 60.0


class StageError(RuntimeError):
    """A part that doesn't do its work; the sentence names it, and the log to read."""


class Stage:
    """Broker, Redis and receivers, for as many prefixes as there are acts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kafka = Kafka(directory / "kafka")
        self.redis = Redis(directory / "redis")
        self.children: list[Child] = []
        self.urls: dict[str, str] = {}
        self._receivers: Child | None = None

    def __enter__(self) -> Stage:
        try:
            self.kafka.start()
            self.redis.start()
            self._receivers = self._start("receivers", [PYTHON, str(DEPLOY / "receivers.py")], dict(os.environ))
            self.wait("the receivers' addresses", 20, lambda: bool(self._lines_of_receivers()))
            self.urls = self._lines_of_receivers()[0]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self.children):
            if child.running:
                child.stop()
        self.redis.stop()
        self.kafka.stop()

    def settings(self, prefix: str, clock: str) -> dict[str, str]:
        """The environment of the processes of one prefix."""
        own = {
            "TIDEGATE_BROKER": self.kafka.address,
            "TIDEGATE_REDIS": self.redis.url,
            "TIDEGATE_PREFIX": prefix,
            "TIDEGATE_CLOCK": clock,
            "TIDEGATE_SESSION": "6s",
            "TIDEGATE_DATA_DIR": str(self.directory / prefix / "data"),
            "TIDEGATE_SMTP": self.urls["smtp"],
            "TIDEGATE_MAIL_FROM": "Your shop <shop@shop.example>",
            "TIDEGATE_TEMPLATES": str(DEPLOY / "templates"),
            "TIDEGATE_SECRET_DEMO": _demo_secret(),
            "TIDEGATE_TARGETS": "127.0.0.1",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        return kept | own

    def process(self, name: str, settings: Mapping[str, str], *arguments: str) -> Child:
        """Starts `tidegate …` and returns at once; `ready` waits for it. Started again it has the port that it had."""
        if name not in self.urls:
            self.urls[name] = f"http://127.0.0.1:{free_ports(1)[0]}"
        port = self.urls[name].rpartition(":")[2]
        return self._start(name, [TIDEGATE, *arguments], {**settings, "TIDEGATE_WEB_PORT": port})

    def ready(self, child: Child) -> None:
        """Returns once `/readyz` of a process says so; raises `StageError` with the end of its log."""
        self.wait(f"{child.name} to be ready", READY_S, lambda: self._is_ready(child), child)

    def wait(self, what: str, timeout_s: float, condition: Callable[[], bool], child: Child | None = None) -> None:
        """Returns when the condition holds; raises `StageError` naming what was missing, or that the child ended."""
        until_s = time.monotonic() + timeout_s
        while not condition():
            if child is not None and not child.running:
                raise StageError(f"{child.name} ended with status {child.returncode}:\n{tail(child.output())}")
            if time.monotonic() > until_s:
                log = f":\n{tail(child.output())}" if child is not None else ""
                raise StageError(f"expected {what} within {timeout_s:.0f} s, but it didn't come{log}")
            time.sleep(0.1)

    def scrape(self, name: str, metric: str) -> float:
        """Sum of a metric's samples in a process's `/metrics`; 0 where it can't be read."""
        try:
            with urllib.request.urlopen(f"{self.urls[name]}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except (OSError, urllib.error.URLError):
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((metric + " ", metric + "{")))

    def receipts(self) -> list[dict[str, Any]]:
        """The messages that the receivers have got so far."""
        return [line for line in self._lines_of_receivers() if "channel" in line]

    def _lines_of_receivers(self) -> list[dict[str, Any]]:
        assert self._receivers is not None
        whole = self._receivers.output().splitlines(keepends=True)
        return [json.loads(line) for line in whole if line.startswith("{") and line.endswith("\n")]

    def _start(self, name: str, argv: list[str], env: Mapping[str, str]) -> Child:
        child = Child(name, argv, self.directory / f"{name}.log", env=env, cwd=DEPLOY.parent)
        self.children.append(child)
        return child

    def _is_ready(self, child: Child) -> bool:
        try:
            with urllib.request.urlopen(f"{self.urls[child.name]}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def tidegate(settings: Mapping[str, str], *arguments: str) -> str:
    """Runs `tidegate …` to its end and returns its standard output; raises `StageError` with what it said."""
    done = subprocess.run([TIDEGATE, *arguments], env=dict(settings), capture_output=True, text=True, cwd=DEPLOY.parent)
    if done.returncode:
        raise StageError(f"tidegate {' '.join(arguments)} ended with status {done.returncode}:\n{tail(done.stderr)}")
    return done.stdout


def _demo_secret() -> str:
    from receivers import DEMO_SECRET

    return DEMO_SECRET


__all__ = ["DEPLOY", "ServiceError", "Stage", "StageError", "tidegate"]
