"""Sequences on a real broker: what is sent is what `simulate` says, each message once, whoever is killed on the way."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import worker_runs as runs
from worker_runs import Sources, Stage

from actions.simulated import Told, simulate_all
from schemas.instants import parse_instant
from schemas.topics import EVENTS_OWN
from segments import Limits
from streams import definitions
from streams.definition_files import Checked, check_files, open_files
from streams.revisions import InForce, revise

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]

EXAMPLES = runs.ROOT / "actions" / "examples"
UNTIL_MS = 1_777_593_600_000  # 2026-05-01
GRACE_MS = 2_000
COPIES = 25
NOBODY = "segments: [{id: nobody, when: {not: {everyone: true}}}]\n"


def events() -> Iterator[dict[str, Any]]:
    """Those of all examples, of several contacts each, in order of arrival."""
    lines = [orjson.loads(line) for path in EXAMPLES.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    for event in sorted(lines, key=lambda event: str(event["receivedAt"])):
        for copy in range(COPIES):
            yield event | {
                "userId": f"{event['userId']}-{copy}",
                "messageId": f"{event['userId']}-{event['messageId']}",
            }


def checked(directory: Path) -> Checked:
    """All examples."""
    return check_files(open_files([str(path) for path in sorted(EXAMPLES.glob("*.yaml"))]), InForce(), directory)


@pytest.fixture
def stage(broker: str, prefix: str, tmp_path: Path) -> Iterator[Stage]:
    """With all examples in force since long ago: else nothing that happened before this test would begin any."""
    nobody = tmp_path / "nobody.yaml"
    nobody.write_text(NOBODY)
    made = Stage(broker, prefix, tmp_path, nobody)

    async def apply() -> None:
        revised = revise(await definitions.read_in_force(made.settings), checked(tmp_path).bodies, (), 0)
        assert revised is not None
        await definitions.commit(made.settings, revised)

    asyncio.run(apply())
    yield made
    made.close()


def said(told: Told) -> tuple[Any, ...]:
    """What doesn't depend on when it was read."""
    if told.kind == "event":
        return told.body["messageId"], told.body["event" if told.body["type"] == "track" else "type"]
    return told.body.delivery if told.kind == "outcome" else told.body.id, told.kind


def committed(stage: Stage) -> collections.Counter[tuple[Any, ...]]:
    """The same of what a read-committed reader sees; repeats would count twice."""
    found: collections.Counter[tuple[Any, ...]] = collections.Counter()
    for topic, kind in (("deliveries", "delivery"), ("outcomes", "outcome"), (EVENTS_OWN.name, "event")):
        for record in runs.committed(stage.settings, topic):
            body = record.json()
            if kind != "event":
                found[body["id" if kind == "delivery" else "delivery"], kind] += 1
            elif body["type"] != "tick":
                found[body["messageId"], body["event" if body["type"] == "track" else "type"]] += 1
    return found


def test_each_message_of_a_sequence_is_sent_once_whoever_is_killed_on_the_way(
    stage: Stage, tmp_path: Path, wait_until: WaitUntil
) -> None:
    workers = [stage.worker(name) for name in ("one", "two")]
    for worker in workers:
        wait_until(worker.ready, 40, f"{worker.name} ready")
    published, sources, last_ms = list(events()), Sources(stage.settings), 0
    kills = {len(published) // 4: 0, len(published) // 2: 1, 3 * len(published) // 4: 0}
    for count, event in enumerate(published):
        if count in kills:
            sources.flush()
            workers[kills[count]].kill()
            workers[kills[count]].start()
        at_ms = parse_instant(event["receivedAt"], offset_required=True)
        assert at_ms is not None
        if at_ms > last_ms:
            sources.tick(at_ms - 1)
        last_ms = at_ms
        sources.send(event)
    sources.tick(UNTIL_MS + GRACE_MS)
    sources.flush()

    ready = checked(tmp_path)
    lines = [msgspec.json.encode(event) for event in published]
    expected = collections.Counter(
        said(one)
        for one in simulate_all(ready.definitions, ready.sequences, lines, UNTIL_MS, Limits(grace_ms=GRACE_MS))
        if isinstance(one, Told)
    )
    assert sum(expected.values()) > 60 * COPIES

    def enough() -> bool:
        stage.supervise()
        return stage.through() and sum(committed(stage).values()) >= sum(expected.values())

    wait_until(enough, 90, f"{sum(expected.values())} deliveries, outcomes and events of our own")
    found = committed(stage)
    assert found == expected, (list((expected - found).items())[:3], list((found - expected).items())[:3])
