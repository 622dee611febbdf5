"""How a dispatcher lives with a broker that is frozen or away: it says so, and it ends in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dispatcher_runs import RULES, Dispatching, Setup, now_s
from receivers import Receipt

from actions import load_rules
from streams.definitions import commit, read_in_force
from streams.dispatcher import STOP_S_MAX
from streams.dispatching import FINISH_S_MAX
from streams.revisions import revise

pytestmark = pytest.mark.kafka

WaitFor = Callable[..., Awaitable[Any]]
TIMEOUT_S = 60
# a dispatcher that is less patient: what comes after the time for what is under way is as long as ever
FINISH_S = 2.0
STOP_S = FINISH_S + STOP_S_MAX - FINISH_S_MAX
SILENT_S, ANSWER_S, ASK_S = 4.0, 2.0, 1.0
HASTY = (
    f"import streams.dispatching, streams.pulse; streams.dispatching.FINISH_S_MAX = {FINISH_S}; d.STOP_S_MAX = {STOP_S}; "
    f"p = streams.pulse; p.SILENT_S_MAX, p.ANSWER_S_MAX, p.ASK_S = {SILENT_S}, {ANSWER_S}, {ASK_S}"
)


@pytest.fixture
def kafka(services_module: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A broker of this test's own, to freeze and to kill."""
    with services_module.Kafka(tmp_path / "kafka") as service:
        yield service


@pytest.fixture
async def setup(kafka: Any, own_redis: Any, prefix: str, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(kafka.address, own_redis.url, prefix, tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def dispatcher(setup: Setup, wait_for: WaitFor) -> AsyncIterator[Dispatching]:
    """One that is ready."""
    started = setup.dispatcher(changes=HASTY)
    await wait_for(lambda: started.ready() or not started.running, TIMEOUT_S, "the dispatcher to be ready")
    yield started
    if started.running:
        started.kill()


def test_the_whole_stop_is_below_what_supervisors_wait() -> None:
    assert STOP_S_MAX < 20


async def test_a_frozen_or_killed_broker_is_seen_in_readiness(
    kafka: Any, dispatcher: Dispatching, wait_for: WaitFor
) -> None:
    def silent() -> bool:
        status, said = dispatcher.get("/readyz")
        return status == 503 and said.startswith(f"kafka has not answered for {SILENT_S:g}")

    async def noticed(what: str) -> None:
        await wait_for(silent, SILENT_S + ANSWER_S + ASK_S, f"a {what} broker to be seen in /readyz")

    kafka.pause()
    await noticed("frozen")
    kafka.resume()
    await wait_for(dispatcher.ready, TIMEOUT_S, "the dispatcher to be ready again")
    await asyncio.to_thread(kafka.kill)
    await noticed("killed")
    await asyncio.to_thread(kafka.start)
    await wait_for(dispatcher.ready, TIMEOUT_S, "the dispatcher to be ready once more")


@pytest.mark.parametrize("frozen", ["the broker", "redis", "both"])
async def test_it_ends_in_bounded_time_with_deliveries_under_way_and_services_frozen(
    kafka: Any, own_redis: Any, setup: Setup, dispatcher: Dispatching, wait_for: WaitFor, frozen: str
) -> None:
    async def slowly(_: Receipt) -> tuple[int, dict[str, str]]:
        await asyncio.sleep(1)
        return 204, {}

    setup.webhooks.answer = slowly
    await setup.publish(setup.make(50))
    await wait_for(lambda: setup.webhooks.received, TIMEOUT_S, "an attempt under way")
    if frozen != "redis":
        kafka.pause()
    if frozen != "the broker":
        own_redis.pause()
    began_s = now_s()
    assert await asyncio.to_thread(dispatcher.stop) == 0
    assert now_s() - began_s < STOP_S + 0.5
    assert "deliveries are not through" in dispatcher.text()


async def test_it_ends_in_bounded_time_when_the_broker_freezes_at_its_start(
    kafka: Any, setup: Setup, dispatcher: Dispatching, wait_for: WaitFor
) -> None:
    """It has not connected to all that it needs by then."""
    dispatcher.kill()
    kafka.pause()
    dispatcher.start()
    await asyncio.sleep(2)  # it connects to a port that answers nothing: there is no condition to wait for
    began_s = now_s()
    await asyncio.to_thread(dispatcher.stop)
    assert now_s() - began_s < STOP_S + 0.5


async def test_a_secret_that_is_missing_is_said_at_the_start_and_when_a_rule_comes_that_names_it(
    setup: Setup, tmp_path: Path, wait_for: WaitFor
) -> None:
    bare = {name: value for name, value in setup.environment.items() if not name.startswith("TIDEGATE_SECRET_")}
    dispatcher = Dispatching("bare", bare, tmp_path / "bare.log")
    try:
        await wait_for(dispatcher.ready, TIMEOUT_S, "the dispatcher to be ready")
        said = "TIDEGATE_SECRET_DEMO: expected a secret of channel webhook, got none, for hook"
        assert dispatcher.text().count(said) == 1
        await apply(setup, RULES.replace("secret: DEMO", "secret: LATER"))
        await wait_for(
            lambda: "TIDEGATE_SECRET_LATER: expected" in dispatcher.text(), TIMEOUT_S, "the new rule's secret"
        )
        assert dispatcher.text().count("TIDEGATE_SECRET_DEMO") == 1
        assert dispatcher.ready()
    finally:
        dispatcher.kill()


async def apply(setup: Setup, text: str) -> None:
    """Puts rules in force."""
    bodies = {("rule", rule.id): rule.body for rule in load_rules(text)}
    revised = revise(await read_in_force(setup.settings), bodies, (), 1_772_000_001_000)  # type: ignore[arg-type]
    assert revised is not None
    await commit(setup.settings, revised)


async def test_a_broker_without_groups_yet_is_no_error(dispatcher: Dispatching) -> None:
    """The first group that a fresh broker hears of makes it set up where groups are kept, which takes a moment."""
    assert "ERROR" not in dispatcher.text()
