"""Fixtures that any test may ask for: real services, free ports, names of one's own, and waiting for a condition."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
# The services are scripts for people as well as a module for tests, so they live outside the packages.
sys.path.insert(0, str(ROOT / "deploy"))

# How many random examples: few and always the same in CI (fewer where the core's tests run a second time, in pure
# Python), many and ever others with `--hypothesis-profile long`.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=80, suppress_health_check=_SLOW)
settings.register_profile("short", settings.get_profile("ci"), max_examples=40)
settings.register_profile("long", deadline=None, max_examples=5000, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile("ci")

T = TypeVar("T")
POLL_S = 0.02


@pytest.fixture(scope="session")
def services_module() -> ModuleType:
    """`deploy/services.py`: `Kafka` and `Redis` for tests that kill, pause or empty one of their own."""
    import services

    return services


@pytest.fixture(scope="session")
def broker(services_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real broker that all tests share: `TIDEGATE_TEST_BROKER`, else this run's own. Never kill it."""
    given = os.environ.get("TIDEGATE_TEST_BROKER")
    if given:
        yield given
        return
    with services_module.Kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka.address


@pytest.fixture(scope="session")
def redis_url(services_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Redis that all tests share: `TIDEGATE_TEST_REDIS`, else this run's own. Never empty it."""
    given = os.environ.get("TIDEGATE_TEST_REDIS")
    if given:
        yield given
        return
    with services_module.Redis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def own_redis(services_module: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A Redis of the test's own, to stop, to freeze and to empty."""
    with services_module.Redis(tmp_path / "redis") as service:
        yield service


@pytest.fixture
def free_port(services_module: ModuleType) -> Callable[[], int]:
    """A function that returns a loopback port nothing listens on, another one at each call."""
    given: set[int] = set()

    def port() -> int:
        while True:
            (found,) = services_module.free_ports(1)
            if found not in given:
                given.add(found)
                return int(found)

    return port


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A topic and key prefix of this test's own, such as `t-3f9c2a1b77.`: no test sees another's records."""
    name = f"{request.node.nodeid} {os.getpid()}"
    return f"t-{hashlib.sha256(name.encode()).hexdigest()[:10]}."


@pytest.fixture
def wait_for() -> Callable[..., Awaitable[object]]:
    """`await wait_for(condition, timeout_s, what)`; `wait_until` is the same without `await`."""
    return _wait_for


@pytest.fixture
def wait_until() -> Callable[..., object]:
    """`wait_until(condition, timeout_s, what)` returns the condition's first true answer, for tests without a loop."""
    return _wait_until


async def _wait_for(condition: Callable[[], T | Awaitable[T]], timeout_s: float, what: str) -> T:
    """The first true answer of `condition` (a function, plain or async); fails with `what` after the time-out."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(_missing(what, timeout_s, answer))
        await asyncio.sleep(POLL_S)


def _wait_until(condition: Callable[[], T], timeout_s: float, what: str) -> T:
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(_missing(what, timeout_s, answer))
        time.sleep(POLL_S)
    return answer


def _missing(what: str, timeout_s: float, answer: object) -> str:
    return f"expected {what} within {timeout_s:g} s, the last answer was {answer!r}"
