"""The gateway does what its OpenAPI document says, whatever is sent: asked by schemathesis, with a real Kafka."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_runs import KEY, GatewayRun

pytestmark = pytest.mark.kafka

CONNECTIONS = """
connections:
  - {id: website, vendor: tracking, secret: WEBSITE_KEY}
  - {id: survey, vendor: typeform, secret: SURVEY}
"""
EXAMPLES = 60
TIMEOUT_S = 120
# of the rest: a call without a key is an answer of 401 whatever else is wrong with it, and an event that is none is kept in
# `rejected` and answered with 200, as Segment does
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture
async def run(
    broker: str, prefix: str, tmp_path: Path, wait_for: Callable[..., Awaitable[Any]]
) -> AsyncIterator[GatewayRun]:
    """A gateway that takes events."""
    made = GatewayRun(broker, prefix, tmp_path, CONNECTIONS, secret_survey="a-secret-of-the-survey")
    made.make_topics()
    made.start()
    try:
        await wait_for(made.ready, TIMEOUT_S, "a gateway that takes events")
        yield made
    finally:
        made.close()


def test_whatever_is_sent_is_answered_as_the_document_says(run: GatewayRun, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{run.url}/openapi.json"]
    command += ["--auth", f"{KEY}:", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--workers", "1", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=tmp_path)

    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
    assert run.metric('tidegate_gateway_requests_total{path="/v1/track"') > EXAMPLES
    assert 0 == run.metric('tidegate_gateway_requests_total{path="/v1/track",status="500"')
    assert run.metric('tidegate_gateway_requests_total{path="/v1/webhooks/') > EXAMPLES
    assert run.process.running()
