"""How a worker starts, refuses to start, takes definitions up while it runs, follows the wall clock, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import worker_runs as runs
from confluent_kafka.admin import AdminClient, NewTopic
from worker_runs import Sources, Stage, WorkerProcess

from streams.app import STOP_TIMEOUT_S
from streams.transport import RELEASE_TIMEOUT_S

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]

LATELY = """
segments:
  - {id: lately, when: {event: A, within: 3s}}
  - {id: pro, when: {trait: plan, eq: pro}}
"""

# what a broker that is just going away does to a client that has not heard of the topics yet
UNHEARD = """
import aiokafka.client as client
original, unheard = client.AIOKafkaClient._metadata_update, []
async def lost_once(self, cluster, topics):
    if not unheard and any(topic.endswith("events.product") for topic in topics):
        unheard.append(topics)
        return False
    return await original(self, cluster, topics)
client.AIOKafkaClient._metadata_update = lost_once
from streams.cli import main; main()
assert unheard
"""

# a worker that waits less for a broker that is away
HASTY_STOP_S = 5.0
HASTY = f"""
import streams.app, streams.guard, streams.transport
streams.app.STOP_TIMEOUT_S, streams.guard.UNANSWERED_MS, streams.transport.LEAVE_TIMEOUT_S = {HASTY_STOP_S}, 3_000.0, 2.0
from streams.cli import main; main()
"""


def lone_worker(broker: str, prefix: str, directory: Path, **changes: str) -> WorkerProcess:
    """A worker without a stage: nothing is prepared for it."""
    return WorkerProcess("lone", runs.environment_of(broker, prefix, **changes), directory).start()


def write(path: Path, text: str) -> Path:
    """A file of definitions."""
    path.write_text(text)
    return path


def test_a_worker_without_topics_says_which_are_missing_and_what_to_do(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    worker = lone_worker(broker, prefix, tmp_path)
    assert worker.wait() == 1
    said = worker.text()
    assert f"{prefix}events.product" in said
    assert "tidegate topics create" in said
    assert "Traceback" not in said


def test_a_worker_refuses_another_partition_count_cleanup_and_timestamp_type(
    make_stage: Callable[..., Stage], broker: str, prefix: str, tmp_path: Path
) -> None:
    stage = make_stage()
    admin = AdminClient({"bootstrap.servers": broker})
    wrong = ["events.billing", "memberships"]
    for done in admin.delete_topics([prefix + name for name in wrong], operation_timeout=20).values():
        done.result(20)
    _gone(admin, [prefix + name for name in wrong])
    for done in admin.create_topics([NewTopic(prefix + name, 3, 1) for name in wrong]).values():
        done.result(20)
    worker = WorkerProcess("lone", stage.environment, tmp_path).start()
    assert worker.wait() == 1
    said = worker.text()
    assert "expected 4 partitions, found 3" in said
    assert "cleanup.policy=compact, found delete" in said
    assert "message.timestamp.type=LogAppendTime, found CreateTime" in said


def test_topics_that_kafka_could_not_tell_of_at_the_start_are_asked_for_again(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    worker = WorkerProcess("lone", make_stage().environment, tmp_path, main=UNHEARD).start()
    wait_until(lambda: worker.ready() and "took over 4 partitions" in worker.text(), 30, "a worker that owns them")
    assert "took over 0 partitions" in worker.text()
    assert worker.stop() == 0


def _gone(admin: AdminClient, names: list[str]) -> None:
    deadline_s = time.monotonic() + 20
    while set(names) & set(admin.list_topics(timeout=10).topics):
        assert time.monotonic() < deadline_s, f"expected {names} to be deleted within 20 s"
        time.sleep(0.1)


def test_a_worker_without_a_broker_says_where_it_looked(
    free_port: Callable[[], int], prefix: str, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    worker = lone_worker(address, prefix, tmp_path)
    assert worker.wait() == 1
    assert address in worker.text()
    assert "Traceback" not in worker.text()


def test_a_worker_whose_web_port_is_taken_says_so(make_stage: Callable[..., Stage], tmp_path: Path) -> None:
    stage = make_stage()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = WorkerProcess("lone", stage.environment | {"TIDEGATE_WEB_PORT": str(port)}, tmp_path).start()
        assert worker.wait() == 1
    assert f"127.0.0.1:{port}, but it is taken" in worker.text()
    assert "Traceback" not in worker.text()


def test_fausts_own_command_runs_the_same_worker(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall")
    sources = Sources(stage.settings)
    sources.send({"type": "identify", "userId": "c", "traits": {"plan": "pro"}})
    sources.flush()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    log = tmp_path / "faust.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "info"],
            cwd=runs.ROOT,
            env=clean | stage.environment | {"TIDEGATE_DATA_DIR": str(tmp_path / "data")},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: runs.transitions(stage.settings), 40, f"a transition\n{log.read_text()}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert list(runs.transitions(stage.settings)) == ["c"]


def test_with_the_wall_clock_time_alone_makes_them_leave_within_a_second_or_so(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", grace="500ms")
    worker = stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions")
    sources = Sources(stage.settings)
    sent_ms = time.time_ns() // 1_000_000
    for number in range(20):
        sources.send({"type": "track", "event": "A", "userId": f"c{number}", "timestamp": sent_ms})
    sources.flush()
    told = wait_until(lambda: _when(runs.transitions(stage.settings), 2, 20), 20, "twenty that came and went")
    assert all([row[2] for row in rows] == ["entered", "left"] for rows in told.values())
    assert all(rows[1][5] == "timer" for rows in told.values())
    # window 3 s, grace 0.5 s, slack 0.5 s; the rest is the machine's
    assert 4_000 <= time.time_ns() // 1_000_000 - sent_ms < 9_000


def _when(told: runs.Told, rows: int, contacts: int) -> runs.Told | None:
    """What was told, once so many contacts have so many rows each."""
    return told if len(told) == contacts and all(len(each) == rows for each in told.values()) else None


def test_definitions_applied_changed_and_removed_while_it_runs_reach_every_contact(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall")
    worker = stage.worker("a")
    sources = Sources(stage.settings)
    for number in range(100):
        sources.send({"type": "identify", "userId": f"c{number}", "traits": {"plan": "free"}})
    sources.flush()
    wait_until(stage.through, 60, "all events taken")
    assert runs.transitions(stage.settings) == {}
    everyone = write(tmp_path / "all.yaml", "segments: [{id: all, when: {everyone: true}}]")
    runs.run_command(stage.environment, "segments", "apply", str(everyone))
    told = wait_until(lambda: _when(runs.transitions(stage.settings), 1, 100), 20, "everyone in the new segment")
    assert all((row[2], row[5]) == ("entered", "backfill") for (row,) in told.values())
    runs.run_command(stage.environment, "segments", "remove", "all")
    told = wait_until(
        lambda: _when(runs.transitions(stage.settings), 2, 100), 20, "everyone out of the removed segment"
    )
    assert all((row[2], row[5]) == ("left", "edit") for _, row in told.values())
    assert runs.members(stage.settings) == set()
    assert worker.stop() == 0


def test_a_file_published_without_any_setting_is_taken_whole_by_a_worker_without_any(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The ticks of the other clock would be rejected."""
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall")
    del stage.environment["TIDEGATE_CLOCK"]
    now_ms = time.time_ns() // 1_000_000
    events = [
        {"type": "identify", "userId": f"c{number}", "traits": {"plan": "pro"}, "timestamp": now_ms}
        for number in range(20)
    ]
    lines = write(tmp_path / "e.jsonl", "\n".join(orjson.dumps(event).decode() for event in events))
    stage.worker("a")
    runs.run_command(stage.environment, "publish", str(lines))
    wait_until(
        lambda: stage.through() and len(runs.transitions(stage.settings)) == 20, 60, "all of them in the segment"
    )
    assert runs.committed(stage.settings, "rejected") == []


def test_rules_make_deliveries_in_the_same_transaction_as_their_transition(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    rules = """
rules:
  - id: greet
    on: {segment: pro, transition: entered}
    channel: webhook
    target: http://127.0.0.1:9/x
    secret: SHOP
    max_age: 10s
"""
    # a late event's transition is as of the contact's clock, a grace ago: with this one, older than the rule's max_age
    stage = make_stage(write(tmp_path / "s.yaml", LATELY + rules), clock="wall", grace="20s")
    stage.worker("a")
    sources = Sources(stage.settings)
    now_ms = time.time_ns() // 1_000_000
    sources.send({"type": "identify", "userId": "new", "traits": {"plan": "pro"}, "timestamp": now_ms})
    sources.send({"type": "identify", "userId": "old", "traits": {"plan": "pro"}, "timestamp": now_ms - 90_000_000})
    sources.flush()
    wait_until(stage.through, 60, "all events taken")
    (delivery,) = [each.json() for each in runs.committed(stage.settings, "deliveries")]
    assert (delivery["contact"], delivery["rule"]) == ("new", "greet")
    (outcome,) = [each.json() for each in runs.committed(stage.settings, "outcomes")]
    assert (outcome["contact"], outcome["status"]) == ("old", "skipped")
    (contact,) = [each for each in runs.committed(stage.settings, "contacts") if each.key == b"new"]
    assert orjson.loads(contact.value or b"")["traits"] == {"plan": "pro"}


def test_sigterm_commits_what_was_applied_leaves_the_group_and_ends_within_seconds(
    make_stage: Callable[..., Stage], broker: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """A session of 30 s: who is gone from the group at once has left, and was not given up."""
    patience = {"checkpoint_idle": "60s", "checkpoint_load": "60s", "session": "30s"}
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", **patience)
    worker = stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions")
    sources = Sources(stage.settings)
    for number in range(500):
        sources.send({"type": "identify", "userId": f"c{number}", "traits": {"plan": "pro"}})
    sources.flush()
    wait_until(lambda: worker.metric("tidegate_evaluation_seconds_count") == 500, 30, "all events applied")
    assert runs.transitions(stage.settings) == {}
    started_s = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started_s < RELEASE_TIMEOUT_S
    admin = AdminClient({"bootstrap.servers": broker})
    described = admin.describe_consumer_groups([stage.settings.group])
    assert described[stage.settings.group].result(20).members == []
    assert len(runs.transitions(stage.settings)) == 500
    assert runs.taken(stage.settings) == runs.ends(stage.settings)


def test_a_worker_with_a_name_that_comes_back_within_its_session_moves_no_partitions(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """By kill -9 and by SIGTERM, the group's leader and the other; all goes on, and nobody is fenced."""
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", session="30s")
    for name in ("a", "b"):
        named = stage.environment | {"TIDEGATE_INSTANCE": name}
        stage.workers[name] = WorkerProcess(name, named, tmp_path).start()
    workers = stage.workers
    owned, rebalances = "tidegate_partitions_owned", "tidegate_rebalances_total"

    def ready() -> bool:
        return all(each.ready() and each.metric(owned) == 2 for each in workers.values())

    wait_until(ready, 60, "two workers with two partitions each")
    sources = Sources(stage.settings)
    for number, name in enumerate(("a", "b", "a", "b")):
        worker, other = workers[name], workers["b" if name == "a" else "a"]
        before = other.metric(rebalances)
        if number < 2:
            worker.kill()
        else:
            assert worker.stop() == 0
        for contact in range(20):
            sources.send({"type": "identify", "userId": f"c{number}-{contact}", "traits": {"plan": "pro"}})
        sources.flush()
        worker.start()
        wait_until(ready, 60, "both with two partitions again")
        wait_until(stage.through, 30, "what was published meanwhile taken")
        assert other.metric(rebalances) == before
    assert sorted(map(len, runs.transitions(stage.settings).values())) == [1] * 80


def test_a_worker_for_which_no_partition_is_left_is_ready_and_takes_over_when_one_is(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Else a rollout with more workers than partitions would never be done."""
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", partitions="1")
    workers = [stage.worker("a"), stage.worker("b")]

    def spare_last() -> bool:
        said = [each.readiness() for each in workers]
        if said[0].get("spare"):
            workers.reverse()
        shares = sorted((each.get("ok"), each.get("partitions"), each.get("spare")) for each in said if each)
        return shares == [(True, [], True), (True, [0], False)]

    wait_until(spare_last, 60, "two ready workers, one of them with nothing")
    owner, spare = workers
    assert owner.stop() == 0
    wait_until(lambda: spare.readiness().get("partitions") == [0], 60, "the spare one to have the partition")


def test_of_two_workers_under_one_name_the_older_one_ends_with_a_sentence_that_names_the_setting(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Without an event, too; the newer one has it all, as one that was started again would have."""
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", session="30s", instance="one")
    older = stage.worker("a")
    wait_until(older.ready, 60, "a worker with all partitions")
    newer = stage.worker("b")
    assert older.wait(60) == 1
    assert "expected no other worker under TIDEGATE_INSTANCE=one" in older.text()
    assert "Traceback" not in older.text()
    wait_until(newer.ready, 30, "the newer one to have them all")
    assert newer.metric("tidegate_partitions_owned") == 4
    del stage.workers["a"]
    sources = Sources(stage.settings)
    sources.send({"type": "identify", "userId": "c", "traits": {"plan": "pro"}})
    sources.flush()
    wait_until(lambda: stage.through() and len(runs.transitions(stage.settings)) == 1, 30, "the event taken")
    assert newer.metric("tidegate_rebalances_total") == 1


def test_sigterm_in_the_midst_of_a_rebalance_ends_a_worker_as_ever(
    make_stage: Callable[..., Stage], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """One of the group doesn't answer while a third worker joins: until its session is over, the rebalance lasts."""
    stage = make_stage(write(tmp_path / "s.yaml", LATELY), clock="wall", session="30s")
    worker, other = stage.worker("a", main=HASTY), stage.worker("b")
    wait_until(lambda: worker.ready() and other.ready(), 60, "two workers with their shares")
    released = worker.text().count("released")
    other.send(signal.SIGSTOP)
    stage.worker("c")
    wait_until(lambda: worker.text().count("released") > released, 30, "a rebalance")
    assert worker.stop() == 0, worker.text()
    assert "Traceback" not in worker.text()
    assert "NoneType" not in worker.text()


def test_sigterm_ends_a_worker_in_bounded_time_with_the_broker_away(
    make_stage: Callable[..., Stage], services_module: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        stage = make_stage(on=kafka.address, clock="wall")
        worker = stage.worker("a", main=HASTY)
        wait_until(worker.ready, 40, "a worker that owns partitions")
        sources = Sources(stage.settings)
        sources.send({"type": "track", "event": "A", "userId": "c"})
        sources.flush()
        kafka.kill()
        wait_until(lambda: not worker.ready(), 30, "a worker that says that it isn't ready without a broker")
        worker.send(signal.SIGTERM)
        assert worker.wait(HASTY_STOP_S + 5) in (0, 1)
    assert STOP_TIMEOUT_S < 30, "what supervisors give a worker"
