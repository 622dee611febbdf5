"""What a worker says and does when the broker stands still, and when it stood still itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_runs as runs
from worker_runs import Sources, Stage

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]
STALL_EXIT_S = 6
# a member of the workers' group that joins, and then does not answer any more when the group is to be shared out anew
MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

class Assignor(RoundRobinPartitionAssignor):
    name = "faust"

async def main(broker, group, topic):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, group_id=group, session_timeout_ms=60_000, heartbeat_interval_ms=1_000,
        partition_assignment_strategy=[Assignor],
    )
    await consumer.start()
    while not consumer.assignment():
        await asyncio.sleep(0.05)
    print("joined", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_broker_that_stands_still_is_said_and_waited_for_however_short_the_time_to_the_end_is(
    make_stage: Callable[..., Stage], services_module: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with services_module.Kafka(tmp_path / "kafka") as kafka:
        stage = make_stage(on=kafka.address, clock="wall", session="30s", stall_exit=f"{STALL_EXIT_S}s")
        worker = stage.worker("a")
        wait_until(worker.ready, 40, "a worker that owns partitions")
        kafka.pause()
        paused_s = time.monotonic()
        wait_until(lambda: "this worker goes on when it is back" in worker.text(), 30, "a word that the broker is away")
        wait_until(lambda: time.monotonic() - paused_s > 2 * STALL_EXIT_S, 60, "twice the time to the end")
        assert worker.running(), worker.text()
        assert worker.metric("tidegate_broker_unanswered_seconds") > STALL_EXIT_S
        kafka.resume()
        wait_until(lambda: "kafka answers again" in worker.text(), 60, "a word that the broker is back")
        wait_until(worker.ready, 60, f"a worker that is ready again\n{worker.text()}")
        sources = Sources(stage.settings)
        sources.send({"type": "track", "event": "A", "userId": "c"})
        sources.flush()
        wait_until(stage.through, 60, "the event taken")


def test_a_worker_that_is_kept_waiting_while_the_broker_answers_ends_with_a_sentence(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage = make_stage(clock="wall", stall_exit=f"{STALL_EXIT_S}s")
    settings = stage.settings
    arguments = [settings.broker, settings.group, settings.topic("events.product")]
    with subprocess.Popen([sys.executable, "-c", MEMBER, *arguments], stdout=subprocess.PIPE, text=True) as member:
        try:
            assert member.stdout is not None
            assert member.stdout.readline() == "joined\n"
            member.send_signal(signal.SIGSTOP)
            worker = stage.worker("a")
            wait_until(lambda: "stalled for 3 s (assignment)" in worker.text(), 40, "a warning first")
            assert not worker.ready()
            assert worker.wait(60) == 1
        finally:
            member.kill()
    said = worker.text()
    assert (
        f"stalled for {STALL_EXIT_S} s (assignment): the group {settings.group} has given this worker no share" in said
    )
    assert "Traceback" not in said


def test_a_worker_that_was_paused_itself_does_not_end_for_that(
    make_stage: Callable[..., Stage], wait_until: WaitUntil
) -> None:
    stage = make_stage(clock="wall", session="30s", stall_exit=f"{STALL_EXIT_S}s")
    worker = stage.worker("a")
    wait_until(worker.ready, 40, "a worker that owns partitions")
    worker.send(signal.SIGSTOP)
    woken_s = time.monotonic() + STALL_EXIT_S + 1
    wait_until(lambda: time.monotonic() > woken_s, 30, "a little more than the time to the end")
    worker.send(signal.SIGCONT)
    wait_until(worker.ready, 30, f"a worker that goes on\n{worker.text()}")
    asleep_s = time.monotonic() + 3
    wait_until(lambda: not worker.running() or time.monotonic() > asleep_s, 10, "three seconds of running")
    assert worker.running(), worker.text()
    runs.run_command(stage.environment, "status")
