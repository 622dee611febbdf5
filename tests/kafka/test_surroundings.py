"""A broker and topics that are not, or no longer, what a worker needs: each refused with its cause and its cure."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
import worker_runs as runs
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from worker_runs import Sources, Stage, WorkerProcess

pytestmark = pytest.mark.kafka
WaitUntil = Callable[[Callable[[], Any], float, str], Any]

SEGMENTS = "segments: [{id: lately, when: {event: A, within: 1h}}]\n"
# of the broker that these tests have for themselves: less than what settings are unless they are set
BOUNDS = {"transaction.max.timeout.ms": "20000", "group.max.session.timeout.ms": "20000"}
WITHIN = {"transaction_timeout": "10s", "session": "6s"}
START_MS = 1_772_323_200_000  # 2026-03-01
# looks often, and does not wait long for a revision that does not come
HASTY = (
    "import streams.surroundings, streams.plans; from streams.cli import main; "
    "streams.surroundings.LOOK_EVERY_S = streams.plans.REVISION_TIMEOUT_S = 2.0; main()"
)
# `faust -A streams.app worker`, for those who know it
FAUST = "import sys; sys.argv[1:1] = ['-A', 'streams.app']; from faust.cli.faust import cli; cli()"


@pytest.fixture(scope="module")
def tight(services_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a broker with `BOUNDS`."""
    with services_module.Kafka(tmp_path_factory.mktemp("tight"), BOUNDS) as kafka:
        yield kafka.address


@pytest.fixture(scope="module")
def admin(tight: str) -> AdminClient:
    """Of that broker."""
    return AdminClient({"bootstrap.servers": tight})


@pytest.fixture
def stages(tight: str, prefix: str, tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """A function that makes a stage of this name on that broker."""
    made: list[Stage] = []
    segments = tmp_path / "segments.yaml"
    segments.write_text(SEGMENTS)

    def make(name: str) -> Stage:
        made.append(Stage(tight, f"{prefix}{name}.", tmp_path, segments, **WITHIN))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


def said_by(stage: Stage, *arguments: str, status: int, **changes: str) -> str:
    """What a command says on standard error; it must end with `status`."""
    changed = {f"TIDEGATE_{name.upper()}": value for name, value in changes.items()}
    done = subprocess.run(
        [sys.executable, "-c", "from streams.cli import main; main()", *arguments],
        cwd=runs.ROOT, env=stage.environment | changed | {"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done.stderr


def publish(stage: Stage, second: int, contacts: int = 8) -> None:
    """An event of each contact, and ticks."""
    sources = Sources(stage.settings)
    at = f"2026-03-01T00:00:{second:02d}Z"
    for number in range(contacts):
        sources.send_bytes(
            "events.product", f"c-{number}".encode(),
            orjson.dumps({"type": "track", "event": "A", "userId": f"c-{number}", "timestamp": at, "receivedAt": at}),
        )  # fmt: skip
    sources.tick(START_MS + 1000 * second)
    sources.flush()


def done(futures: dict[Any, Any]) -> None:
    """Waits for what an admin client was asked."""
    for future in futures.values():
        future.result(20)


def delete(admin: AdminClient, wait_until: WaitUntil, *topics: str) -> None:
    """Deletes topics; they are gone when it returns."""
    done(admin.delete_topics(list(topics), operation_timeout=20))
    wait_until(lambda: not set(topics) & set(admin.list_topics(timeout=10).topics), 20, f"{topics} gone")


def alter(admin: AdminClient, topic: str, entry: str) -> None:
    """What `kafka-configs.sh --alter --topic TOPIC --add-config ENTRY` does."""
    name, _, value = entry.partition("=")
    change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))


def ended(worker: WorkerProcess, within_s: float, *said: str) -> None:
    """The worker has ended by itself, and its last start said each of `said`, in sentences."""
    assert worker.wait(within_s) == 1
    for each in said:
        assert each in worker.text()
    assert "Traceback" not in worker.text()


def test_a_topic_altered_to_what_a_worker_cannot_trust_is_refused_with_the_command_that_mends_it(
    stages: Callable[[str], Stage], admin: AdminClient
) -> None:
    """The very commands are run: what is named as the cure has to be one."""
    stage = stages("altered")
    for topic, entry in (
        ("state", "cleanup.policy=delete"),
        ("events.product", "message.timestamp.type=CreateTime"),
        ("memberships", "max.message.bytes=65536"),
        ("transitions", "min.insync.replicas=2"),
    ):
        alter(admin, stage.settings.topic(topic), entry)

    said = said_by(stage, "topics", "check", status=1)
    ended(stage.worker("altered"), 20, *said.splitlines())

    commands = re.findall(r"--alter --topic (\S+) --add-config (\S+)`", said)
    assert {topic.removeprefix(stage.settings.prefix) for topic, _ in commands} == {
        "state", "events.product", "memberships", "transitions"
    }  # fmt: skip
    for topic, entry in commands:
        alter(admin, topic, entry)
    assert said_by(stage, "topics", "check", status=0) == ""


def test_a_broker_that_allows_less_than_the_settings_ask_for_is_said_before_anything_is_begun(
    stages: Callable[[str], Stage], redis_url: str
) -> None:
    stage = stages("bounds")
    said = said_by(stage, "worker", status=1, transaction_timeout="30s", session="25s")

    assert "transaction.max.timeout.ms of at least 30000" in said
    assert "group.max.session.timeout.ms of at least 25000" in said
    cures = dict(re.findall(r"set TIDEGATE_(\w+)=(\w+)", said))
    assert said_by(stage, "topics", "check", status=0, **{name.lower(): value for name, value in cures.items()}) == ""
    assert "set TIDEGATE_SESSION within" in said_by(stage, "dispatcher", status=1, session="25s", redis=redis_url)
    other = stage.directory / "other.yaml"
    other.write_text(SEGMENTS.replace("lately", "soon"))
    applied = said_by(stage, "segments", "apply", str(other), status=1, transaction_timeout="30s")
    assert "set TIDEGATE_TRANSACTION_TIMEOUT to no more than the brokers' transaction.max.timeout.ms" in applied


def test_a_cluster_that_cannot_keep_transactions_is_said(
    services_module: ModuleType, prefix: str, tmp_path: Path
) -> None:
    """Kafka's own defaults want three brokers, and a client of fewer waits for ever."""
    with services_module.Kafka(tmp_path / "kafka", {"transaction.state.log.replication.factor": "3"}) as kafka:
        environment = runs.environment_of(kafka.address, prefix)
        runs.run_command(environment, "topics", "create")
        worker = WorkerProcess("lone", environment, tmp_path).start()
        assert worker.wait(20) == 1

    said = worker.text()
    assert "expected at least 3 of them, as transaction.state.log.replication.factor is 3, found 1" in said
    assert "start the others, or set transaction.state.log.replication.factor=1" in said


@pytest.mark.parametrize("program", ["tidegate", "faust"])
def test_a_group_with_consumers_of_another_kind_ends_the_worker_with_a_sentence(
    stages: Callable[[str], Stage], program: str, wait_until: WaitUntil
) -> None:
    """Kafka's client says nothing of it: the worker was up and never ready."""
    stage = stages(program)
    settings = stage.settings
    other = Consumer({"bootstrap.servers": settings.broker, "group.id": settings.group, "session.timeout.ms": 6000})
    try:
        other.subscribe([settings.topic("events.product")])
        wait_until(lambda: (other.poll(0.05), other.assignment())[1], 20, "the other consumer in the group")
        worker = stage.workers[program] = WorkerProcess(program, stage.environment, stage.directory)
        if program == "faust":
            worker.main = FAUST
        worker.start()
        wait_until(lambda: (other.poll(0.05), not worker.running())[1], 20, "the worker to end")
    finally:
        other.close()

    ended(worker, 1, f"expected to join the group {settings.group}, could not", "set TIDEGATE_PREFIX to one of")


def test_what_goes_or_changes_while_a_worker_runs_is_said(
    stages: Callable[[str], Stage], admin: AdminClient, wait_until: WaitUntil
) -> None:
    """A topic that has gone ends the worker, whichever it is; what is altered is said, and refused at the next start."""
    names = ("events.email", "state", "transitions", "definitions", "altered")
    running = {name: stages(name.replace(".", "-")) for name in names}
    for name, stage in running.items():
        stage.workers[name] = WorkerProcess(name, stage.environment, stage.directory, main=HASTY).start()
    workers = {name: stage.workers[name] for name, stage in running.items()}
    for name, stage in running.items():
        wait_until(workers[name].ready, 40, f"{name} ready")
        publish(stage, 1)
    for stage in running.values():
        wait_until(stage.through, 20, "all events taken")
    assert workers["definitions"].stop() == 0
    delete(admin, wait_until, *(running[name].settings.topic(name) for name in names if name != "altered"))
    alter(admin, running["altered"].settings.topic("contacts"), "cleanup.policy=delete")
    publish(running["transitions"], 2, contacts=16)
    said_by(running["definitions"], "topics", "create", status=0)
    workers["definitions"].start()

    for name in ("events.email", "state", "transitions"):
        topic = running[name].settings.topic(name)
        ended(workers[name], 60, f"{topic}: expected this topic, found none: make it with `tidegate topics create`")
    ended(
        workers["definitions"],
        60,
        "expected revision 1, which state was written under",
        "Restore it, set TIDEGATE_PREFIX",
    )
    sentence = "what no worker will start with any more"
    wait_until(lambda: sentence in workers["altered"].text(), 60, f"{sentence!r} in the log")
    assert "--add-config cleanup.policy=compact`" in workers["altered"].text()
    assert workers["altered"].ready()
    assert workers["altered"].stop() == 0


@pytest.mark.parametrize("name", ["deliveries", "definitions"])
def test_a_dispatcher_ends_when_a_topic_of_its_own_has_gone(
    stages: Callable[[str], Stage], admin: AdminClient, wait_until: WaitUntil, redis_url: str, name: str
) -> None:
    """Kafka's client looks for it two thousand times a second, for ever."""
    stage = stages(name)
    stage.environment["TIDEGATE_REDIS"] = redis_url
    main = f"import sys; sys.argv[1] = 'dispatcher'; {HASTY}"
    dispatcher = WorkerProcess(name, stage.environment, stage.directory, main=main).start()
    wait_until(
        lambda: "dispatching partitions [0, 1, 2, 3]" in dispatcher.text(), 20, "a dispatcher with its partitions"
    )

    delete(admin, wait_until, stage.settings.topic(name))

    ended(dispatcher, 20, f"expected the topics {stage.settings.topic(name)}", "`tidegate topics create`")


def test_events_lost_before_they_were_applied_are_refused_until_that_is_accepted(
    stages: Callable[[str], Stage], admin: AdminClient, wait_until: WaitUntil
) -> None:
    """By retention, and with a source made anew; a state topic made anew is not begun again."""
    stage = stages("gap")
    settings = stage.settings
    worker = stage.worker("gap")
    wait_until(worker.ready, 20, "a worker that is ready")
    publish(stage, 1)
    wait_until(stage.through, 20, "all events taken")
    assert worker.stop() == 0

    publish(stage, 2)
    product = [TopicPartition(settings.topic("events.product"), number) for number in range(settings.partitions)]
    done(
        admin.delete_records(
            [TopicPartition(each.topic, each.partition, end(settings.broker, each)) for each in product]
        )
    )
    delete(admin, wait_until, settings.topic("events.email"))
    runs.run_command(stage.environment, "topics", "create")
    ended(stage.worker("gap"), 20, "records that were not applied yet", "`tidegate topics gaps --accept`")
    said_by(stage, "topics", "gaps", status=1)
    assert "start the workers" in said_by(stage, "topics", "gaps", "--accept", status=0)
    said_by(stage, "topics", "gaps", status=0)

    stage.worker("gap")
    wait_until(worker.ready, 20, "a worker that is ready behind the gap")
    publish(stage, 3, contacts=16)
    wait_until(stage.through, 20, "what came after the gap taken")
    assert worker.stop() == 0
    told = runs.transitions(settings)
    assert sorted(told) == sorted(f"c-{number}" for number in range(16))  # nobody of the gap alone, each once
    assert all(len(rows) == 1 for rows in told.values())

    delete(admin, wait_until, settings.topic("state"))
    runs.run_command(stage.environment, "topics", "create")
    ended(stage.worker("gap"), 20, "expected the state of partitions 0, 1, 2, 3", "--delete --group")


def end(broker: str, partition: TopicPartition) -> int:
    """Where a partition ends."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "tests"})
    try:
        return int(consumer.get_watermark_offsets(partition, 10)[1])
    finally:
        consumer.close()


def test_faust_s_own_command_refuses_in_sentences_too(stages: Callable[[str], Stage]) -> None:
    """For those who know it: `faust -A streams.app worker`."""
    stage = stages("faust")
    for changes, said in (
        ({"TIDEGATE_PREFIX": "nobody."}, "nobody.state"),
        ({"TIDEGATE_GRACE": "soon"}, "TIDEGATE_GRACE: expected a duration"),
        ({"TIDEGATE_BROKER": "127.0.0.1:1"}, "set TIDEGATE_BROKER to where it is"),
    ):
        worker = WorkerProcess("faust", stage.environment | changes, stage.directory, main=FAUST).start()
        ended(worker, 20, said)
