"""The commands against a real broker, one after the other as a person would call them."""

import asyncio
import getpass
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.rejected import Reason, rejection_headers
from schemas.topics import SOURCES, TOPICS, partition_of
from streams import cli
from streams import definitions as kafka_definitions
from streams.broker import admin, producer, stored
from streams.cli.terminal import run as run_loop
from streams.clock import SystemClock
from streams.definitions import DefinitionsReader, read_in_force
from streams.errors import DefinitionsRefused
from streams.revisions import Revised, revise
from streams.settings import SETTINGS, Settings, load_settings

pytestmark = pytest.mark.kafka

PARTITIONS = 3
SEGMENTS = """
segments:
  - {id: big, name: Big, when: {event: Order Completed, count: {gte: 2}}}
  - {id: known, when: {everyone: true}}
rules:
  - {id: hook, on: {segment: big}, channel: webhook, target: 'http://127.0.0.1:1/', secret: HOOK}
"""


@pytest.fixture
def settings(broker: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the commands in this test; its directory is the current one."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    environment = {"TIDEGATE_BROKER": broker, "TIDEGATE_PREFIX": prefix, "TIDEGATE_PARTITIONS": str(PARTITIONS)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return load_settings(environment)


@pytest.fixture
def topics(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Settings:
    """The same, with all topics made."""
    assert cli.run(["topics", "create"]) == 0
    capsys.readouterr()
    return settings


@pytest.fixture
def tidegate(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line: its status, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


Call = Callable[..., tuple[int, str, str]]


def _topics(settings: Settings) -> list[str]:
    async def ours() -> list[str]:
        async with admin(settings) as client:
            return [name for name in await client.list_topics() if name.startswith(settings.prefix)]

    return run_loop(ours())


# ---- topics ----------------------------------------------------------------------------------------------------------


def test_topics_are_made_once_and_compared_afterwards(settings: Settings, tidegate: Call) -> None:
    """The second time nothing is made, and nothing differs."""
    status, out, err = tidegate("topics", "create", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["made"] == [settings.topic(topic.name) for topic in TOPICS]

    status, out, err = tidegate("topics", "create", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"made": [], "there": [settings.topic(t.name) for t in TOPICS], "differences": []}
    assert tidegate("topics", "check") == (0, "", "")


def test_a_topic_that_is_missing_keeps_a_worker_from_starting(
    topics: Settings, tidegate: Call, wait_until: Callable[..., object]
) -> None:
    """And `topics create` makes that one alone."""
    gone = topics.topic("state")

    async def delete() -> None:
        async with admin(topics) as client:
            await client.delete_topics([gone])

    run_loop(delete())
    wait_until(lambda: gone not in _topics(topics), 10, f"{gone} to be gone")
    status, _, err = tidegate("topics", "check")
    assert status == 1
    assert err.startswith(f"{gone}: expected this topic, found none: make it with `tidegate topics create`, or set")
    assert err.count("\n") == 1
    status, out, _ = tidegate("worker")
    assert status == 1

    status, out, _ = tidegate("topics", "create", "--json")
    assert (status, json.loads(out)["made"]) == (0, [gone])


def test_another_partition_count_is_said_and_nothing_is_changed(
    topics: Settings, tidegate: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contacts would change partitions."""
    monkeypatch.setenv("TIDEGATE_PARTITIONS", "4")

    status, _, err = tidegate("topics", "create")
    assert status == 1
    assert "expected 4 partitions, found 3: set TIDEGATE_PARTITIONS=3" in err
    monkeypatch.setenv("TIDEGATE_PARTITIONS", "3")
    assert tidegate("topics", "check")[0] == 0


def test_a_broker_that_refuses_is_quoted(settings: Settings, tidegate: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One broker can't hold three replicas."""
    monkeypatch.setenv("TIDEGATE_REPLICATION", "3")

    status, out, err = tidegate("topics", "create")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "only 1 broker(s) are registered. (TIDEGATE_REPLICATION is how many replicas are asked for)" in err


@pytest.mark.parametrize("command", [("segments", "list"), ("tail",), ("rejected", "list"), ("publish", "-")])
def test_without_topics_a_command_says_how_to_make_them_and_makes_none(
    command: tuple[str, ...], settings: Settings, tidegate: Call
) -> None:
    """A broker that makes topics when asked about them would make wrong ones."""
    status, _, err = tidegate(*command)
    assert status == 1
    assert "make them with `tidegate topics create`" in err

    assert _topics(settings) == []


def test_a_port_where_no_kafka_listens_is_told_from_one_where_nothing_does(
    settings: Settings, tidegate: Call, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis accepts the connection and answers nothing that a broker would."""
    monkeypatch.setenv("TIDEGATE_BROKER", redis_url.split("/")[2])

    status, _, err = tidegate("topics", "check")
    assert (status, err.count("\n")) == (1, 1)
    assert "a connection, but no answer as a broker gives it): see that this is Kafka's own port" in err


# ---- definitions -----------------------------------------------------------------------------------------------------


def test_definitions_are_applied_listed_shown_changed_and_removed(
    topics: Settings, tidegate: Call, tmp_path: Path
) -> None:
    """A life of a file."""
    file = tmp_path / "s.yaml"
    file.write_text(SEGMENTS)
    status, out, err = tidegate("segments", "apply", "s.yaml", "--json")
    assert (status, err) == (0, "revision 1 is in force\n")
    assert [(row["id"], row["version"], row["is"]) for row in json.loads(out)] == [
        ("big", 1, "new"),
        ("known", 1, "new"),
        ("hook", 1, "new"),
    ]
    assert tidegate("segments", "apply", "s.yaml")[2] == "revision 1 is in force, as before: nothing differs\n"

    file.write_text(SEGMENTS.replace("gte: 2", "gte: 3").replace("name: Big", "name: Bigger"))
    status, out, _ = tidegate("segments", "apply", "s.yaml", "--json")
    assert [(row["id"], row["version"], row["is"]) for row in json.loads(out)] == [
        ("big", 2, "changed"),
        ("known", 1, "unchanged"),
        ("hook", 1, "unchanged"),
    ]
    status, out, _ = tidegate("segments", "list", "--json")
    assert {row["id"]: (row["kind"], row["version"], row["name"]) for row in json.loads(out)} == {
        "big": ("segment", 2, "Bigger"),
        "known": ("segment", 1, None),
        "hook": ("rule", 1, None),
    }

    (tmp_path / "shown.yaml").write_text(tidegate("segments", "show", "big")[1])
    assert "nothing differs" in tidegate("segments", "apply", "shown.yaml")[2]

    status, _, err = tidegate("segments", "remove", "big")
    assert status == 2
    assert "rule 'hook': expected a segment in force, got 'big'" in err
    assert tidegate("segments", "remove", "big", "hook")[0] == 0
    assert [row["id"] for row in json.loads(tidegate("segments", "list", "--json")[1])] == ["known"]
    assert [row["revision"] for row in json.loads(tidegate("segments", "history", "--json")[1])] == [1, 2, 3]


def test_who_changed_a_definition_when_why_and_how_is_told(
    topics: Settings, tidegate: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are gone as well; the author is an option, a setting or the machine's user, in that order."""
    file = tmp_path / "s.yaml"
    file.write_text(SEGMENTS)
    assert tidegate("segments", "apply", "s.yaml")[0] == 0
    monkeypatch.setenv("TIDEGATE_AUTHOR", "ada")
    file.write_text(SEGMENTS.replace("count: {gte: 2}", "count: {gte: 3}, within: 7d"))
    assert tidegate("segments", "apply", "s.yaml", "--note", "a third one") == (0, ANY, "revision 2 is in force\n")
    removed = tidegate("segments", "remove", "big", "hook", "--author", "bob", "--json")
    assert [(row["id"], row["version"], row["is"]) for row in json.loads(removed[1])] == [
        ("big", 2, "removed"),
        ("hook", 1, "removed"),
    ]

    rows = json.loads(tidegate("segments", "history", "--json")[1])
    assert [(row["author"], row["note"], row["definitions"]) for row in rows] == [
        (getpass.getuser(), None, 3),
        ("ada", "a third one", 3),
        ("bob", None, 1),
    ]
    rows = json.loads(tidegate("segments", "history", "big", "--json")[1])
    assert [(row["revision"], row["version"], row["is"], row["author"]) for row in rows] == [
        (1, 1, "new", getpass.getuser()),
        (2, 2, "changed", "ada"),
        (3, 2, "removed", "bob"),
    ]
    assert rows[0]["hash"] != rows[1]["hash"]
    assert tidegate("segments", "diff", "big") == (
        0,
        '~ $.when.count.gte: 2 -> 3\n+ $.when.within: "7d"\n',
        "segment big, version 1 to 2: 2 differences\n",
    )
    assert json.loads(tidegate("segments", "diff", "big", "2", "1", "--json")[1])["differences"] == [
        {"path": "$.when.count.gte", "old": 3, "new": 2},
        {"path": "$.when.within", "old": "7d"},
    ]
    assert tidegate("segments", "diff", "known")[2].endswith("has no version before 1: there is nothing to compare\n")
    assert "gte: 2" in tidegate("segments", "show", "big", "--version", "1")[1]
    assert tidegate("segments", "show", "big")[0] == 2
    assert tidegate("segments", "apply", "s.yaml", "--note", "x" * 2001)[2] == (
        "expected a note of at most 2000 characters, got 2001\n"
    )


def test_a_definition_that_no_record_can_hold_is_refused_with_its_name(
    topics: Settings, tidegate: Call, tmp_path: Path
) -> None:
    """And one that this topic alone doesn't take; nothing of either is applied."""
    ids = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(40_000)]
    (tmp_path / "large.json").write_text(json.dumps({"segments": [{"id": "big", "when": {"trait": "a", "in": ids}}]}))
    (tmp_path / "less.json").write_text(
        json.dumps({"segments": [{"id": "big", "when": {"trait": "a", "in": ids[:2000]}}]})
    )

    status, out, err = tidegate("segments", "apply", "large.json")
    assert (status, out) == (2, "")
    assert err.startswith(
        "segment 'big': expected no more than fits a record of Kafka's, 921,600 bytes once compressed"
    )
    _alter(topics, "definitions", "max.message.bytes", "20000")
    status, _, err = tidegate("segments", "apply", "less.json")
    assert (status, err.count("\n")) == (2, 1)
    assert "`tidegate topics check` says which of its settings to raise" in err
    assert tidegate("topics", "check")[0] == 1
    assert json.loads(tidegate("segments", "list", "--json")[1]) == []
    _alter(topics, "definitions", "max.message.bytes", "1048588")
    assert tidegate("segments", "apply", "less.json")[0] == 0


def _alter(settings: Settings, topic: str, entry: str, value: str) -> None:
    change = ConfigEntry(entry, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, settings.topic(topic), incremental_configs=[change])
    client = AdminClient({"bootstrap.servers": settings.broker})
    for future in client.incremental_alter_configs([resource]).values():
        future.result(timeout=10)


def test_nothing_of_a_file_with_an_error_is_applied(topics: Settings, tidegate: Call, tmp_path: Path) -> None:
    """And the topic stays empty."""
    (tmp_path / "s.yaml").write_text(SEGMENTS.replace("gte: 2", "gte: two"))

    status, out, err = tidegate("segments", "apply", "s.yaml")
    assert (status, out) == (2, "")
    assert "segment 'big': expected a number, got 'two' - at $.when.count.gte\n" in err
    assert tidegate("tail", "definitions", "--from-beginning", "--until-idle", "500ms") == (0, "", "")


def test_an_apply_says_that_events_count_from_now_on_where_some_were_taken(
    topics: Settings, tidegate: Call, tmp_path: Path
) -> None:
    """Only for what is new or changed."""
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    assert "from now on" not in tidegate("segments", "apply", "s.yaml")[2]
    _write(topics, "state", [(b"c-1", b"state", [])])

    assert "from now on" not in tidegate("segments", "apply", "s.yaml")[2]
    (tmp_path / "s.yaml").write_text(SEGMENTS.replace("gte: 2", "gte: 3"))
    assert "conditions on events of big count from now on" in tidegate("segments", "apply", "s.yaml")[2]


def _revised(settings: Settings, body: dict[str, Any]) -> Revised:
    revised = revise(run_loop(read_in_force(settings)), {("segment", body["id"]): body}, (), 1)
    assert revised is not None
    return revised


def test_an_apply_that_was_checked_against_an_older_revision_is_refused(topics: Settings) -> None:
    """Two people, one topic."""
    mine = _revised(topics, {"id": "a", "when": {"everyone": True}})
    theirs = _revised(topics, {"id": "b", "when": {"everyone": True}})
    run_loop(kafka_definitions.commit(topics, theirs))

    with pytest.raises(DefinitionsRefused, match="checked against revision 0, but revision 1 is in force by now"):
        run_loop(kafka_definitions.commit(topics, mine))
    assert list(run_loop(read_in_force(topics)).records) == [("segment", "b")]


def test_of_two_applies_at_the_same_moment_one_is_fenced(topics: Settings) -> None:
    """The second begins after the first has checked and before it writes; nothing of the first is ever seen."""
    mine = _revised(topics, {"id": "a", "when": {"everyone": True}})
    theirs = _revised(topics, {"id": "b", "when": {"everyone": True}})

    async def race() -> None:
        checked = kafka_definitions.read_in_force

        async def overtaken(settings: Settings) -> Any:
            found = await checked(settings)
            kafka_definitions.read_in_force = checked
            await kafka_definitions.commit(settings, theirs)
            return found

        kafka_definitions.read_in_force = overtaken
        await kafka_definitions.commit(topics, mine)

    with pytest.raises(DefinitionsRefused, match="another apply began while this one was being written"):
        run_loop(race())
    assert list(run_loop(read_in_force(topics)).records) == [("segment", "b")]


def test_an_apply_that_died_halfway_is_not_seen_and_is_in_nobody_s_way(topics: Settings, tidegate: Call) -> None:
    """Its transaction stays open until the next apply ends it."""
    revised = _revised(topics, {"id": "a", "when": {"everyone": True}})

    async def die() -> None:
        client = AIOKafkaProducer(bootstrap_servers=topics.servers, transactional_id=topics.topic("definitions"))
        await client.start()
        await client.begin_transaction()
        for key, value in kafka_definitions.messages(revised):
            await (await client.send(topics.topic("definitions"), value, key, partition=0))
        await client.client.close()
        client._sender._sender_task.cancel()
        client._closed = True

    run_loop(die())
    assert run_loop(read_in_force(topics)).number == 0
    run_loop(kafka_definitions.commit(topics, revised))
    assert run_loop(read_in_force(topics)).number == 1


def test_a_record_among_the_definitions_that_is_none_is_said_with_its_place(topics: Settings, tidegate: Call) -> None:
    """To whoever lists or applies; a worker says the same."""
    _write(topics, "definitions", [(b"segment/big/1", b"garbage", [])])

    status, out, err = tidegate("segments", "list")
    assert (status, out) == (1, "")
    assert err.startswith(f"{topics.topic('definitions')}, offset 0: record b'segment/big/1': expected a definition")
    assert "TIDEGATE_PREFIX" in err


def test_a_reader_hears_of_a_newer_revision(topics: Settings) -> None:
    """As a worker follows the topic."""

    async def follow() -> list[int]:
        reader = DefinitionsReader(topics)
        await reader.start()
        numbers = [reader.in_force.number]
        waiting = asyncio.create_task(reader.changed(after=0))
        for name in ("a", "b"):
            body = {"id": name, "when": {"everyone": True}}
            revised = revise(reader.in_force, {("segment", name): body}, (), 1)
            assert revised is not None
            await kafka_definitions.commit(topics, revised)
            numbers.append((await asyncio.wait_for(waiting, 10)).number)
            waiting = asyncio.create_task(reader.changed(after=numbers[-1]))
        waiting.cancel()
        await reader.stop()
        return numbers

    assert run_loop(follow()) == [0, 1, 2]


# ---- publish, tail, rejected -----------------------------------------------------------------------------------------


def _write(settings: Settings, topic: str, records: list[tuple[bytes | None, bytes | None, Any]]) -> None:
    async def write() -> None:
        async with producer(settings) as client:
            for key, value, headers in records:
                await client.send_and_wait(settings.topic(topic), value, key, headers=headers)

    run_loop(write())


def _tail(tidegate: Call, *topics: str) -> list[dict[str, Any]]:
    status, out, err = tidegate("tail", *topics, "--from-beginning", "--until-idle", "700ms", "--envelope")
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def _event(contact: str, name: str, at_ms: int, **more: Any) -> str:
    return json.dumps({"type": "track", "userId": contact, "event": name, "timestamp": at_ms, **more})


SOURCE_NAMES = [topic.name for topic in SOURCES]


def test_published_events_are_where_a_worker_looks_for_them(topics: Settings, tidegate: Call, tmp_path: Path) -> None:
    """Topic of the name, key and partition of the contact, in the order of the file."""
    names = ["Order Completed", "Email Opened", "Feature Used"]
    lines = [_event(f"c-{n % 7}", names[n % 3], 1_000 + n, n=n) for n in range(300)]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))

    status, out, _ = tidegate("publish", "e.jsonl", "--json")
    assert (status, json.loads(out)) == (0, {"events": 300, "ticks": 0, "unroutable": 0, "wrong": 0})
    records = _tail(tidegate, *SOURCE_NAMES)
    assert len(records) == 300
    expected = {"Order Completed": "events.billing", "Email Opened": "events.email", "Feature Used": "events.product"}
    for record in records:
        event = record["value"]
        assert record["topic"] == expected[event["event"]]
        assert record["key"] == event["userId"]
        assert record["partition"] == partition_of(record["key"].encode(), PARTITIONS)
        assert event["receivedAt"] == event["timestamp"]
    for topic in expected.values():
        for partition in range(PARTITIONS):
            order = [r["value"]["n"] for r in records if (r["topic"], r["partition"]) == (topic, partition)]
            assert order == sorted(order)


def test_every_partition_of_every_source_topic_gets_a_tick_at_the_end(
    topics: Settings, tidegate: Call, tmp_path: Path
) -> None:
    """With the last arrival; with --until at that and the grace. It is the last record there."""
    (tmp_path / "e.jsonl").write_text(_event("c-1", "Order Completed", 5_000) + "\n")
    for until, expected in (((), "1970-01-01T00:00:05.000Z"), (("--until", "1970-01-02"), "1970-01-02T00:00:02.000Z")):
        assert tidegate("publish", "e.jsonl", "--ticks", *until)[0] == 0
        last = {(record["topic"], record["partition"]): record for record in _tail(tidegate, *SOURCE_NAMES)}

        assert set(last) == {(name, partition) for name in SOURCE_NAMES for partition in range(PARTITIONS)}
        assert {json.dumps(record["value"]) for record in last.values()} == {
            json.dumps({"type": "tick", "receivedAt": expected})
        }
        assert {record["key"] for record in last.values()} == {None}


def test_until_before_the_last_event_ends_at_the_last_event(
    topics: Settings, tidegate: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrival time doesn't go back; with the clock that ticks move, they need not be asked for."""
    monkeypatch.setenv("TIDEGATE_CLOCK", "arrival")
    (tmp_path / "e.jsonl").write_text(_event("c-1", "x", 86_400_000) + "\n")

    assert tidegate("publish", "e.jsonl", "--until", "1970-01-01T00:00:01Z")[0] == 0
    ticks = [record["value"]["receivedAt"] for record in _tail(tidegate, *SOURCE_NAMES) if record["key"] is None]
    assert set(ticks) == {"1970-01-02T00:00:00.000Z"}


def test_lines_that_cannot_be_published_are_said_and_the_others_are(
    topics: Settings, tidegate: Call, tmp_path: Path
) -> None:
    """With file and line, and status 1 at the end: nothing is dropped in silence."""
    lines = ["no json", _event("c-1", "x", 1), "", '{"type":"track","event":"x"}', '{"type":"odd","userId":"c-2"}']
    (tmp_path / "e.jsonl").write_text("\n".join(lines))

    status, _, err = tidegate("publish", "e.jsonl")
    assert status == 1
    assert [line.split(" expected", 1)[0] for line in err.splitlines()] == [
        "e.jsonl:1: not published:",
        "e.jsonl:4: not published:",
        "e.jsonl:5: published for the worker to reject:",
        "2 events and 0 ticks published, 2 lines not published",
    ]
    assert sorted(record["key"] for record in _tail(tidegate, *SOURCE_NAMES)) == ["c-1", "c-2"]


def test_lines_out_of_order_are_counted(topics: Settings, tidegate: Call, tmp_path: Path) -> None:
    """A replay of them would not be what `simulate` gives."""
    (tmp_path / "e.jsonl").write_text("\n".join(_event("c", "x", at_ms) for at_ms in (5, 9, 7, 8, 9)))

    assert (
        "note: 2 lines have an earlier `receivedAt` than a line before them, line 3 first"
        in tidegate("publish", "e.jsonl")[2]
    )


@pytest.fixture
def typed(topics: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tidegate publish -` with a pipe to write into, which hears Ctrl-C also where these tests run in the background."""
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{hears}; from streams.cli import main; main()", "publish", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}, cwd=tmp_path)
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None and process.stderr is not None
    process.stdin.close()
    process.stderr.close()


def test_what_is_piped_in_is_published_as_it_comes(
    typed: subprocess.Popen[bytes], topics: Settings, tidegate: Call, wait_until: Callable[..., object]
) -> None:
    """Not only when the pipe is closed."""
    assert typed.stdin is not None
    for n in (1, 2):
        typed.stdin.write(_event(f"c-{n}", "x", n).encode() + b"\n")
        typed.stdin.flush()
        wait_until(lambda n=n: len(_tail(tidegate, "events.product")) == n, 15, f"{n} events while the pipe is open")
    typed.stdin.close()
    assert typed.wait(10) == 0


def test_ctrl_c_ends_a_command_cleanly(typed: subprocess.Popen[bytes], topics: Settings, wait_until: Any) -> None:
    """While it waits for a pipe: status 130, and no traceback."""
    assert typed.stdin is not None
    typed.stdin.write(b"no json\n")
    typed.stdin.flush()
    assert typed.stderr is not None
    assert b"not published" in typed.stderr.readline()

    typed.send_signal(signal.SIGINT)
    assert typed.wait(10) == 130
    assert b"Traceback" not in typed.stderr.read()


def test_tail_prints_values_and_an_envelope_where_a_value_is_no_object(topics: Settings, tidegate: Call) -> None:
    """One topic: the values alone, ready for jq."""
    _write(topics, "transitions", [(b"c-1", b'{"segment":"big"}', []), (b"c-1", b"[1]", []), (b"c-1", None, [])])
    _write(topics, "transitions", [(b"\xff", b"\xff\xfe", [("h", b"\x80")])])

    status, out, _ = tidegate("tail", "--from-beginning", "--until-idle", "500ms")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert sorted(json.dumps(line.get("value", line)) for line in lines) == [
        "[1]",
        "null",
        '{"base64": "//4="}',
        '{"segment": "big"}',
    ]
    (odd,) = [line for line in lines if line.get("headers")]
    assert (odd["key"], odd["headers"]) == ({"base64": "/w=="}, {"h": {"base64": "gA=="}})


def test_tail_shows_nothing_of_a_transaction_that_was_aborted(topics: Settings, tidegate: Call) -> None:
    """Committed records only."""

    async def write() -> None:
        async with producer(topics, transactional_id=topics.topic("test")) as client:
            async with client.transaction():
                await client.send_and_wait(topics.topic("transitions"), b'{"n":1}', b"c-1")
            await client.begin_transaction()
            await client.send_and_wait(topics.topic("transitions"), b'{"n":2}', b"c-1")
            await client.abort_transaction()

    run_loop(write())
    assert [record["value"] for record in _tail(tidegate, "transitions")] == [{"n": 1}]


def test_rejected_records_are_counted_and_shown(topics: Settings, tidegate: Call) -> None:
    """By reason and topic; with their bytes as they came."""
    assert tidegate("rejected", "list") == (0, "", "nothing was rejected in the last 30 days\n")
    headers = [
        rejection_headers(Reason.NOT_JSON, f"expected JSON, got {n}", topics.topic("events.product"), 1, n, 1_000 + n)
        for n in range(3)
    ]
    _write(topics, "rejected", [(b"c-1", b"\xff%d" % n, each) for n, each in enumerate(headers)])
    own = rejection_headers(Reason.NO_KEY, "expected a key", topics.topic("events.email"), 2, 9, 5)
    _write(topics, "rejected", [(None, b"{}", own)])

    rows = json.loads(tidegate("rejected", "list", "--json")[1])
    assert [(row["reason"], row["topic"], row["count"], row["sentence"]) for row in rows] == [
        ("not_json", topics.topic("events.product"), 3, "expected JSON, got 2"),
        ("no_key", topics.topic("events.email"), 1, "expected a key"),
    ]
    shown = [
        json.loads(line)
        for line in tidegate("rejected", "show", "--reason", "not_json", "--limit", "2")[1].splitlines()
    ]
    assert [(line["offset"], line["key"], line["value"]) for line in shown] == [
        (1, "c-1", {"base64": "/zE="}),
        (2, "c-1", {"base64": "/zI="}),
    ]


def test_the_latest_that_were_rejected_are_shown_whatever_partition_they_are_in(
    topics: Settings, tidegate: Call
) -> None:
    """The order in which partitions are fetched says nothing of time."""
    for at_ms, contact in ((5, b"c-1"), (2, b"c-2"), (4, b"c-3"), (1, b"c-4"), (3, b"c-5")):
        headers = rejection_headers(Reason.NOT_JSON, "expected JSON", "events.product", 0, at_ms, at_ms)
        _write(topics, "rejected", [(contact, b"x", headers)])

    lines = tidegate("rejected", "show", "--limit", "3")[1].splitlines()
    assert [json.loads(line)["offset"] for line in lines] == [3, 4, 5]


def test_a_rejected_value_that_was_cut_says_how_long_it_was(topics: Settings, tidegate: Call) -> None:
    """So that nobody takes the piece for the whole; of one kept whole nothing is said."""
    headers = rejection_headers(Reason.TOO_LARGE, "expected less", "events.product", 0, 1, 1)
    _write(topics, "rejected", [(b"c", b"long", [*headers, ("cut_from_bytes", b"5000000")]), (b"c", b"short", headers)])

    long, short = map(json.loads, tidegate("rejected", "show")[1].splitlines())
    assert (long["value"], long["cut_from_bytes"]) == ("long", 5_000_000)
    assert "cut_from_bytes" not in short


def _reject(settings: Settings, contact: bytes | None, value: bytes, reason: Reason, *more: tuple[str, bytes]) -> None:
    offset = len(value)
    headers = rejection_headers(reason, "expected otherwise", "events.email", 0, offset, 1_000 + offset)
    _write(settings, "rejected", [(contact, value, [*headers, *more])])


def _emailed(settings: Settings) -> list[tuple[bytes | None, bytes | None, int]]:
    """Key, value and partition of all in the topic that they came by, by value."""

    async def read() -> list[tuple[bytes | None, bytes | None, int]]:
        found = stored(settings, [settings.topic("events.email")])
        return sorted([(each.key, each.value, each.partition) async for each in found], key=lambda each: each[1])

    return run_loop(read())


def test_what_is_replayed_goes_out_as_it_came_once_and_to_the_partition_of_its_key(
    topics: Settings, tidegate: Call
) -> None:
    """Byte for byte: with its `messageId` where it has one, and with none where it has none."""
    _reject(topics, b"c-1", b'{"messageId": "m-1"}', Reason.RAISED)
    _reject(topics, b"c-2", b'{ "type":"track" }', Reason.RAISED)
    _reject(topics, b"c-2", b"{nope", Reason.NOT_JSON)
    replay = ("rejected", "replay", "--reason", "raised", "--json")

    status, out, err = tidegate(*replay, "--dry-run")
    assert (status, json.loads(out)["replayed"], _emailed(topics)) == (0, 2, [])
    assert err == "2 records would be replayed, 0 left\n"
    status, out, err = tidegate(*replay)
    assert (status, json.loads(out)["replayed"], err) == (0, 2, "2 records replayed, 0 left\n")
    once = [
        (b"c-2", b'{ "type":"track" }', partition_of(b"c-2", PARTITIONS)),
        (b"c-1", b'{"messageId": "m-1"}', partition_of(b"c-1", PARTITIONS)),
    ]
    assert _emailed(topics) == once
    assert json.loads(tidegate(*replay)[1]) == {"replayed": 0, "before": 2, "left": {}}
    assert _emailed(topics) == once
    assert json.loads(tidegate(*replay, "--again", "--contact", "c-1")[1])["replayed"] == 1
    assert [value for _, value, _ in _emailed(topics)].count(b'{"messageId": "m-1"}') == 2


def test_what_is_rejected_after_it_was_replayed_is_replayed_anew(topics: Settings, tidegate: Call) -> None:
    """The mark is for what was rejected before it; and marks are counted, not listed as rejected."""
    _reject(topics, b"c-1", b"{}", Reason.RAISED)
    assert tidegate("rejected", "replay")[0] == 0
    (row,) = json.loads(tidegate("rejected", "list", "--json")[1])
    assert (row["reason"], row["count"], row["replayed"]) == ("raised", 1, 1)
    assert json.loads(tidegate("status", "--json")[1])["rejected"] == {"raised": 1}
    _reject(topics, b"c-1", b"{}", Reason.RAISED)

    assert json.loads(tidegate("rejected", "replay", "--json")[1]) == {"replayed": 1, "before": 1, "left": {}}
    assert [json.loads(line)["reason"] for line in tidegate("rejected", "show")[1].splitlines()] == ["raised"] * 2


def test_what_cannot_be_replayed_is_counted_with_the_reason_and_the_rest_goes_out(
    topics: Settings, tidegate: Call
) -> None:
    """A piece is not what was published, and without a key it is nobody's."""
    _reject(topics, b"c-1", b"piece", Reason.TOO_LARGE, ("cut_from_bytes", b"5000000"))
    _reject(topics, None, b"{}", Reason.NO_KEY)
    delivery = rejection_headers(Reason.FAILED, "expected a delivery", topics.topic("deliveries"), 0, 7, 7)
    _write(topics, "rejected", [(b"c-1", b"delivery", delivery)])
    _reject(topics, b"c-1", b"whole", Reason.QUARANTINED)

    status, out, err = tidegate("rejected", "replay", "--json")
    assert (status, json.loads(out)["replayed"]) == (1, 1)
    assert [value for _, value, _ in _emailed(topics)] == [b"whole"]
    first, *others = err.splitlines()
    assert first == "1 records replayed, 3 left"
    assert sorted(others) == [
        "left: 1 from no topic of events",
        "left: 1 too long to have been kept whole: the whole is where it came from",
        "left: 1 without a key: no contact to publish it for",
    ]


def test_rejected_records_are_asked_for_by_contact_and_age(topics: Settings, tidegate: Call) -> None:
    """Of a morning's worth of them, those that somebody complains about."""
    _reject(topics, b"c-1", b"long ago", Reason.RAISED)
    now_ms = SystemClock().now_ms()
    recent = rejection_headers(Reason.RAISED, "expected otherwise", "events.email", 0, 77, now_ms)
    _write(topics, "rejected", [(b"c-1", b"new", recent), (b"c-2", b"other", recent)])

    lines = tidegate("rejected", "show", "--contact", "c-1", "--since", "1h")[1].splitlines()
    assert [json.loads(line)["value"] for line in lines] == ["new"]
    assert json.loads(tidegate("rejected", "list", "--since", "1h", "--json")[1])[0]["count"] == 2
    assert json.loads(tidegate("rejected", "replay", "--since", "1h", "--json")[1])["replayed"] == 2
    assert tidegate("rejected", "list", "--contact", "nobody")[2] == "nothing was rejected of these\n"


def test_what_is_stored_is_read_to_its_end_while_more_is_being_written(topics: Settings) -> None:
    """Reading until nothing comes would never end while something is amiss, which is when it is looked at."""

    async def read() -> list[bytes | None]:
        name, found = topics.topic("rejected"), []
        async with producer(topics) as client:
            await client.send_and_wait(name, b"before", b"k", 0)
            async for record in stored(topics, [name]):
                found.append(record.value)
                await client.send_and_wait(name, b"after", b"k", 0)
        return found

    async def in_time() -> list[bytes | None]:
        async with asyncio.timeout(30):
            return await read()

    found = asyncio.run(in_time())
    assert found[0] == b"before"
    assert found.count(b"after") <= 10
