"""The API does what its OpenAPI document says, whatever is asked: by schemathesis, with a real Kafka and Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dispatcher_runs import Dispatching
from worker_runs import Sources, Stage

pytestmark = pytest.mark.kafka

TOKEN = "t" * 32
SEGMENTS = """
segments:
  - {id: vip, name: Bought, when: {event: Order Completed}}
  - {id: quiet, when: {event: Order Completed, count: 0}}
"""
EXAMPLES = 40
TIMEOUT_S = 120
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,ignored_auth,negative_data_rejection"
)


@pytest.fixture
def api(
    make_stage: Callable[..., Stage], redis_url: str, tmp_path: Path, wait_until: Callable[..., Any]
) -> Iterator[Dispatching]:
    """One that answers, of contacts that a worker and a projector have taken."""
    segments = tmp_path / "segments.yaml"
    segments.write_text(SEGMENTS)
    stage = make_stage(segments, clock="wall", grace="200ms")
    stage.worker("worker")
    sources = Sources(stage.settings)
    for contact in ("ada", "bob", "eve"):
        order = {"type": "track", "event": "Order Completed", "userId": contact}
        sources.send({**order, "timestamp": time.time_ns() // 1_000_000})
    sources.flush()
    environment = stage.environment | {"TIDEGATE_REDIS": redis_url, "TIDEGATE_SECRET_API": TOKEN}
    made = [Dispatching(what, environment, tmp_path / f"{what}.log", what) for what in ("projector", "api")]
    try:
        wait_until(made[1].ready, TIMEOUT_S, "an API that has read the definitions")
        wait_until(lambda: _size(made[1]) == 3, TIMEOUT_S, "three members")
        yield made[1]
        assert 0 == made[1].stop()
    finally:
        for process in made:
            process.kill()


def text_of(api: Dispatching, path: str) -> str:
    """What is answered, whatever the status."""
    request = urllib.request.Request(f"http://{api.address()}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read(), "utf-8")
    except urllib.error.HTTPError as error:
        return str(error.read(), "utf-8")


def _size(api: Dispatching) -> int | None:
    size: int | None = json.loads(text_of(api, "/v1/segments/vip/size")).get("size")
    return size


def answered(api: Dispatching, start: str) -> float:
    """How many requests were, of those whose labels begin so."""
    lines = text_of(api, "/metrics").splitlines()
    wanted = f"tidegate_api_requests_total{{{start}"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted))


def paths(api: Dispatching) -> set[str]:
    """All that the document has."""
    return set(json.loads(text_of(api, "/openapi.json"))["paths"])


def test_whatever_is_asked_is_answered_as_the_document_says(api: Dispatching, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"http://{api.address()}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--checks", CHECKS]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES)]
    command += ["--generation-deterministic", "--workers", "1", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S * 3, check=False, cwd=tmp_path)

    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
    for path in ("contacts/{id}", "contacts/{id}/memberships", "segments/{id}/members"):
        assert answered(api, f'path="/v1/{path}",status="200"') > 0
    assert answered(api, 'path="/v1/') > EXAMPLES
    assert 0 == sum(answered(api, f'path="{path}",status="500"') for path in paths(api))
