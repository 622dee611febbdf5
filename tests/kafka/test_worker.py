"""The worker on a real broker: whatever happens to workers and broker, what a read-committed reader sees is what
`simulate` says, with nothing to deduplicate."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import journey
import orjson
import pytest
import worker_runs as runs
from worker_runs import Sources, Stage

from schemas.topics import partition_of

pytestmark = pytest.mark.kafka

UNTIL_MS = 1_767_225_600_000  # 2026-01-01
GRACE_MS = 2_000
SEGMENTS = runs.ROOT / "deploy" / "segments" / "journey.yaml"
WaitUntil = Callable[[Callable[[], Any], float, str], Any]


def real_events(households: int) -> list[dict[str, Any]]:
    """Events of so many households, with `receivedAt` as publishing would write it."""
    found = journey.events(UNTIL_MS, households=households)
    return [event | {"receivedAt": event["timestamp"]} for event in found]


def lines_of(events: list[dict[str, Any]]) -> Iterator[bytes]:
    """Events as `simulate` reads them; the last line moves time for everybody as the last tick does."""
    yield from (orjson.dumps(event) for event in events)


def publish(stage: Stage, events: list[dict[str, Any]], per_s: float, between: dict[int, Callable[[], Any]]) -> None:
    """Publishes at a steady pace; `between` is called at those counts of events."""
    sources = Sources(stage.settings)
    started_s, last_ms = time.monotonic(), 0
    for count, event in enumerate(events):
        if count in between:
            between[count]()
        sources.send(event)
        at_ms = journey.instant_ms(event["receivedAt"])
        if not count % 500:
            sources.tick(at_ms - 1)  # the next event may be of this very instant
        last_ms = at_ms
        if not count % 50:
            time.sleep(max(0.0, started_s + count / per_s - time.monotonic()))
    sources.tick(last_ms)
    sources.flush()


def assert_as_simulated(stage: Stage, events: list[dict[str, Any]], wait_until: WaitUntil, timeout_s: float) -> None:
    """Waits until all is through, then compares everything that is committed with `simulate`."""
    expected = runs.expected(stage.definitions, lines_of(events))
    count = sum(map(len, expected.values()))

    def enough() -> bool:
        stage.supervise()
        return stage.through() and sum(map(len, runs.transitions(stage.settings).values())) >= count

    wait_until(enough, timeout_s, f"{count} transitions and all events taken")
    found = runs.transitions(stage.settings)
    differing = sorted(
        contact for contact in expected.keys() | found.keys() if expected.get(contact) != found.get(contact)
    )
    assert not differing, (len(differing), expected.get(differing[0]), found.get(differing[0]))
    assert runs.members(stage.settings) == runs.members_of(expected)
    assert not runs.committed(stage.settings, "rejected")


def test_one_worker_says_what_simulate_says_and_stops_cleanly(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage, events = make_stage(), real_events(60)
    publish(stage, events, 1e9, {})
    stage.worker("a")
    assert_as_simulated(stage, events, wait_until, 60)
    assert stage.workers["a"].stop() == 0, stage.logs()


def test_workers_killed_restarted_and_joining_late_lose_and_repeat_nothing(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage, events = make_stage(), real_events(300)
    assert len(events) >= 20_000
    for name in ("a", "b"):
        stage.worker(name)
    wait_until(lambda: all(each.ready() for each in stage.workers.values()), 60, "two workers that own partitions")
    quarter = len(events) // 4
    publish(
        stage,
        events,
        2_500,
        {
            quarter: lambda: stage.workers["a"].kill(),
            quarter + 2_000: lambda: stage.worker("a"),
            2 * quarter: lambda: stage.worker("c"),
            3 * quarter: lambda: stage.workers["b"].kill(),
            3 * quarter + 500: lambda: stage.worker("b"),
        },
    )
    assert_as_simulated(stage, events, wait_until, 90)
    assert [worker.stop() for worker in stage.workers.values()] == [0, 0, 0], stage.logs()
    # a restart mends much: nobody may have needed one but those that were killed
    assert not [name for name, worker in stage.workers.items() if "the worker ends" in worker.text()]


def test_a_worker_frozen_through_a_rebalance_writes_nothing_when_it_wakes(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage, events = make_stage(), real_events(150)
    for name in ("a", "b"):
        stage.worker(name)
    wait_until(lambda: all(each.ready() for each in stage.workers.values()), 60, "two workers that own partitions")
    third = len(events) // 3
    rate = len(events) / 16
    publish(
        stage,
        events,
        rate,
        {
            third: lambda: stage.workers["a"].send(signal.SIGSTOP),
            # longer than the session: b has everything by then
            3 * third - 1: lambda: stage.workers["a"].send(signal.SIGCONT),
        },
    )
    assert_as_simulated(stage, events, wait_until, 90)


def test_a_broker_away_for_ten_seconds_loses_and_repeats_nothing(
    make_stage: Callable[..., Stage], services_module: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        stage, events = make_stage(on=kafka.address), real_events(100)
        for name in ("a", "b"):
            stage.worker(name)
        wait_until(lambda: all(each.ready() for each in stage.workers.values()), 60, "two workers that own partitions")

        def away() -> None:
            kafka.kill()
            until_s = time.monotonic() + 10
            while time.monotonic() < until_s:
                stage.supervise()
                time.sleep(0.5)
            kafka.start()

        publish(stage, events, 1_500, {len(events) // 2: away})
        assert_as_simulated(stage, events, wait_until, 120)
        stage.close()


def test_what_cannot_be_taken_is_rejected_and_the_rest_of_the_batch_is_unharmed(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage = make_stage()
    good = [event for event in real_events(20) if event["event"] == "Order Completed"][:200]
    contact = good[0]["userId"]
    elsewhere = (partition_of(contact.encode(), stage.settings.partitions) + 1) % stage.settings.partitions
    other = "somebody-else"
    here = partition_of(other.encode(), stage.settings.partitions)
    bad: list[tuple[str, bytes | None, bytes, int]] = [
        ("not_json", contact.encode(), b"{nope", -1),
        ("not_json", contact.encode(), b'{"type":"track","event":"x","userId":"a","properties":{"n":NaN}}', -1),
        ("not_json", contact.encode(), b'{"type":"track","event":"\\ud800","userId":"a"}', -1),
        ("not_an_object", contact.encode(), b"[1]", -1),
        ("no_contact", contact.encode(), b'{"type":"track","event":"x"}', -1),
        ("unknown_type", contact.encode(), b'{"type":"zork","userId":"a"}', -1),
        ("unreadable_time", contact.encode(), b'{"type":"track","event":"x","userId":"a","timestamp":"soon"}', -1),
        ("too_large", contact.encode(), b'{"type":"track","event":"' + b"x" * 300_000 + b'","userId":"a"}', -1),
        ("too_deep", contact.encode(), b'{"type":"track","event":"x","userId":"a","context":' + b"[" * 99 + b"]" * 99 + b"}", -1),
        ("no_key", None, orjson.dumps(good[0] | {"messageId": "n1"}), here),
        ("wrong_key", other.encode(), orjson.dumps(good[0] | {"messageId": "n2"}), here),
        ("wrong_key", contact.encode(), orjson.dumps(good[0] | {"messageId": "n4", "userId": other}), -1),
        ("wrong_partition", contact.encode(), orjson.dumps(good[0] | {"messageId": "n3"}), elsewhere),
    ]  # fmt: skip
    sources = Sources(stage.settings)
    for event in good[:100]:
        sources.send(event)
    for _, key, value, partition in bad:
        sources.send_bytes("events.billing", key, value, partition)
    for event in good[100:]:
        sources.send(event)
    sources.tick(UNTIL_MS)
    sources.flush()
    worker = stage.worker("a")
    wait_until(stage.through, 60, "all events taken")
    rejected = runs.committed(stage.settings, "rejected")
    assert sorted(each.headers["reason"].decode() for each in rejected) == sorted(reason for reason, *_ in bad)
    assert {(each.key, each.value) for each in rejected} == {(key, value) for _, key, value, _ in bad}
    for each in rejected:
        assert each.headers["topic"] == b"events.billing"
        assert int(each.headers["partition"]) == each.partition
        assert each.headers["offset"].isdigit()
    (sentence,) = [each.headers["sentence"] for each in rejected if each.headers["reason"] == b"wrong_partition"]
    assert b"murmur2_random" in sentence
    assert worker.metric("tidegate_events_duplicate_total") == 0
    # somebody's last event at the tick's instant, so that `simulate` plays time up to there
    last = {"type": "identify", "userId": "nobody", "timestamp": UNTIL_MS, "receivedAt": UNTIL_MS}
    expected = runs.expected(stage.definitions, lines_of([*good, last]))
    del expected["nobody"]
    wait_until(lambda: runs.transitions(stage.settings) == expected, 20, "the transitions of the good events")
