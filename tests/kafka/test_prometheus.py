"""Dashboard and rules asked of a real Prometheus that scrapes real processes: each query parses, and has data; alerts fire."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import worker_runs as runs
import yaml
from aiokafka import AIOKafkaProducer
from dispatcher_runs import AT, PARTITIONS, Dispatching, Setup
from gateway_runs import CONNECTIONS, GatewayRun
from worker_runs import Sources, Stage

from schemas.topics import EVENTS_EMAIL, MEMBERSHIPS, Topic, partition_of
from streams.metric_table import METRICS

pytestmark = pytest.mark.kafka
WaitFor = Callable[..., Awaitable[Any]]
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
OF_WORKERS = {metric.full_name for metric in METRICS}
BOUNCED = "c0@home.example"
PLAIN_AND_STRIPE = CONNECTIONS.replace("]\n", ", {id: shop, vendor: stripe, secret: STRIPE}]\n")
API_TOKEN = "a token that is long enough for anybody"


@pytest.fixture
def prometheus_of(tmp_path: Path) -> Callable[[str], Any]:
    """A function that makes a Prometheus which scrapes addresses by role; without the program the test is left out."""
    sys.path.insert(0, str(DEPLOY))
    from prometheus_server import Prometheus
    from tools import ServiceError, prometheus

    try:
        prometheus()
    except ServiceError as error:
        pytest.skip(str(error))
    return lambda **targets: Prometheus(tmp_path / "prometheus", {role: [at] for role, at in targets.items()})


def queries() -> list[tuple[str, str]]:
    """Title and expression of each query of the dashboard, with Grafana's variables filled in."""
    panels = json.loads((DEPLOY / "prometheus" / "dashboard.json").read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace("$job", "tidegate").replace("$__rate_interval", "20s"))
        for panel in panels
        for target in panel.get("targets", ())
    ]


def of_workers(expression: str) -> bool:
    """Whether it asks for metrics of workers alone."""
    names = re.findall(r"\btidegate_[a-z0-9_]+", expression)
    return {re.sub("_(bucket|sum|count)$", "", name) for name in names} <= OF_WORKERS


def without_data(prometheus: Any, wanted: Callable[[str], bool]) -> list[str]:
    """Queries of the dashboard of which data is wanted and that have none; raises for one that is no query."""
    return [f"{title}: {text}" for title, text in queries() if not prometheus.query(text) and wanted(text)]


def firing(prometheus: Any, state: str = "firing") -> set[str]:
    """Names of the alerts in a state."""
    return {sample["metric"]["alertname"] for sample in prometheus.query(f'ALERTS{{alertstate="{state}"}}')}


def test_every_panel_of_workers_has_data_and_every_rule_is_evaluated_while_events_flow(
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
        return not without_data(prometheus, of_workers)

    with prometheus_of(worker=worker.address()) as prometheus:
        try:
            wait_until(all_have_data, 60, "data in every panel")
        finally:
            print("without data:", without_data(prometheus, of_workers))
        (size,) = prometheus.query('tidegate:segment_members:sum{segment="lately"}')
        assert size["metric"]["job"] == "tidegate"
        assert firing(prometheus) == set()
        for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]:
            for rule in group["rules"]:
                prometheus.query(rule["expr"])


@pytest.fixture
def setup_redis(own_redis: Any) -> str:
    """One that may be stopped and emptied."""
    return str(own_redis.url)


async def publish(setup: Setup, topic: Topic, contact: str, value: bytes) -> None:
    """A record that no worker has written."""
    producer = AIOKafkaProducer(bootstrap_servers=setup.settings.broker)
    await producer.start()
    try:
        key = contact.encode()
        await producer.send_and_wait(setup.settings.topic(topic.name), value, key, partition_of(key, PARTITIONS))
    finally:
        await producer.stop()


@pytest.fixture
def api(setup: Setup, tmp_path: Path) -> Iterator[Dispatching]:
    """`tidegate api`, started."""
    environment = {**setup.environment, "TIDEGATE_SECRET_API": API_TOKEN}
    started = Dispatching("api", environment, tmp_path / "api.log", "api")
    yield started
    started.kill()


@pytest.fixture
def gateway(broker: str, setup: Setup, tmp_path: Path) -> Iterator[GatewayRun]:
    """`tidegate gateway`, started."""
    started = GatewayRun(broker, setup.settings.prefix, tmp_path, PLAIN_AND_STRIPE, secret_stripe="whsec_" + "x" * 32)
    started.start()
    yield started
    started.close()


async def test_every_other_panel_has_data_and_alerts_fire(
    setup: Setup,
    own_redis: Any,
    api: Dispatching,
    gateway: GatewayRun,
    prometheus_of: Callable[..., Any],
    wait_for: WaitFor,
) -> None:
    """One message is sent and one left out; a record that is none of a worker's comes, and Redis goes."""
    bounced = {"type": "track", "userId": "c-0", "event": "Email Bounced", "timestamp": AT}
    await publish(setup, EVENTS_EMAIL, "c-0", orjson.dumps({**bounced, "properties": {"email": BOUNCED}}))
    projector, dispatcher = setup.projector(), setup.dispatcher()
    await wait_for(lambda: projector.ready() and dispatcher.ready() and api.ready(), 40, "all three to be ready")
    assert api.get("/v1/sequences")[0] == 401
    await wait_for(gateway.ready, 40, "a gateway that takes events")
    gateway.post_once("/v1/track", {"userId": "c-0", "event": "A"})
    await setup.publish(setup.make(1) + setup.make(1, "email"))
    addresses = {"projector": projector.address(), "dispatcher": dispatcher.address(), "api": api.address()}
    addresses["gateway"] = str(gateway.address)
    with prometheus_of(**addresses) as prometheus:

        def missing() -> list[str]:
            return without_data(prometheus, lambda text: not of_workers(text))

        try:
            await wait_for(lambda: asyncio.to_thread(lambda: not missing()), 40, "data in every panel")
        finally:
            print("without data:", missing())
        assert firing(prometheus) == set()
        await publish(setup, MEMBERSHIPS, "c-0", b"none of ours")
        await wait_for(lambda: firing(prometheus) == {"TidegateProjectorUnreadable"}, 20, "an alert")
        own_redis.kill()
        away = {"TidegateProjectorRedisAway", "TidegateLedgerAway"}
        await wait_for(lambda: away <= firing(prometheus, "pending"), 20, "alerts that Redis is away")
        own_redis.start()
        await wait_for(lambda: not away & firing(prometheus, "pending"), 40, "that it is back")
    assert (projector.stop(), dispatcher.stop()) == (0, 0)
