"""Contacts and members, from events through a worker and a projector to what the commands say."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from dispatcher_runs import Dispatching
from worker_runs import Stage

from actions.read_model import Keys
from schemas.instants import format_instant
from schemas.topics import TRANSITIONS, partition_of
from streams import cli
from streams.broker import admin
from streams.settings import SETTINGS

pytestmark = pytest.mark.kafka

TIMEOUT_S = 60
KNOWN = ("known", None, True, "10:00", 1)
Call = Callable[..., tuple[int, str, str]]
SEGMENTS = """
segments:
  - {id: known, when: {everyone: true}}
  - {id: active, when: {event: Product Added, within: 1h}}
  - {id: cart, per: cart_id, when: {all: [{event: Product Added}, {event: Order Completed, count: 0}]}}
"""


class Running:
    """A worker and a projector, and the commands as a person calls them."""

    def __init__(self, stage: Stage, redis_url: str, call: Call, wait_until: Callable[..., Any]) -> None:
        self.stage, self._call, self._wait_until, self._files = stage, call, wait_until, 0
        stage.worker("worker")
        environment = stage.environment | {"TIDEGATE_REDIS": redis_url}
        self.projector = Dispatching("projector", environment, stage.directory / "projector.log", "projector")

    def publish(self, until: str, *events: dict[str, Any]) -> None:
        """Returns when a worker has taken them, and played time up to `until`."""
        self._files += 1
        path = self.stage.directory / f"{self._files}.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        status, _, said = self._call("publish", str(path), "--until", f"2026-03-01T{until}:00Z")
        assert status == 0, said
        self._wait_until(self.stage.through, TIMEOUT_S, "all events taken")

    def contact(self, *arguments: str) -> dict[str, Any]:
        status, out, said = self._call("contact", *arguments, "--json")
        assert status == 0, said
        found: dict[str, Any] = json.loads(out)
        return found

    def settled(self, id: str, expected: list[tuple[str, str | None, bool, str, int]]) -> dict[str, Any]:
        """The contact as soon as Redis has these memberships."""

        def memberships() -> list[Any]:
            status, out, _ = self._call("contact", id, "--json")
            names = ("segment", "key", "member", "since", "seq")
            return (
                [tuple(each[name] for name in names) for each in json.loads(out)["memberships"]] if not status else []
            )

        whole = [(*each[:3], f"2026-03-01T{each[3]}:00.000Z", each[4]) for each in expected]
        self._wait_until(lambda: memberships() == whole, TIMEOUT_S, f"{id} in {whole}")
        return self.contact(id)

    def at(self, id: str, hour: str) -> list[tuple[str, str | None, str]]:
        """Segment, key and since when, as of an hour of the day."""
        found = self.contact(id, "--at", f"2026-03-01T{hour}:00Z")
        assert found["at"] == f"2026-03-01T{hour}:00.000Z"
        return [(each["segment"], each["key"], each["since"][11:16]) for each in found["memberships"]]


@pytest.fixture
def tidegate(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line: its status, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def running(
    make_stage: Callable[..., Stage],
    redis_url: str,
    tmp_path: Path,
    tidegate: Call,
    wait_until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Running]:
    segments = tmp_path / "segments.yaml"
    segments.write_text(SEGMENTS)
    stage = make_stage(segments)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    for name, value in (stage.environment | {"TIDEGATE_REDIS": redis_url}).items():
        monkeypatch.setenv(name, value)
    made = Running(stage, redis_url, tidegate, wait_until)
    yield made
    made.projector.kill()


def event(name: str, contact: str, clock: str, **properties: Any) -> dict[str, Any]:
    at = f"2026-03-01T{clock}:00Z"
    return {"type": "track", "userId": contact, "event": name, "timestamp": at, "properties": properties}


def identify(contact: str, clock: str, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": contact, "timestamp": f"2026-03-01T{clock}:00Z", "traits": traits}


def test_a_contact_is_told_as_it_is_and_its_segments_as_they_were_at_any_instant(
    running: Running, tidegate: Call
) -> None:
    """What `simulate` says of these events, looked up."""
    running.publish(
        "12:00",
        identify("ada", "09:00", name="Ada \x1b[31m", plan="pro"),
        event("Product Added", "ada", "10:00", cart_id="c/1"),
        event("Product Added", "ada", "10:30", cart_id="c/2"),
        event("Order Completed", "ada", "10:45", cart_id="c/1"),
        event("Product Added", "é/ü", "10:00", cart_id="c/3"),
    )
    found = running.settled(
        "ada",
        [
            ("active", None, False, "11:30", 2),
            ("cart", "c/1", False, "10:45", 2),
            ("cart", "c/2", True, "10:30", 1),
            ("known", None, True, "09:00", 1),
        ],
    )
    assert found["traits"] == {"name": "Ada \x1b[31m", "plan": "pro"}
    assert running.at("ada", "08:59") == []
    assert running.at("ada", "10:00") == [("active", None, "10:00"), ("cart", "c/1", "10:00"), ("known", None, "09:00")]
    assert running.at("ada", "10:40") == [
        ("active", None, "10:00"), ("cart", "c/1", "10:00"), ("cart", "c/2", "10:30"), ("known", None, "09:00"),
    ]  # fmt: skip
    assert running.at("ada", "11:30") == [("cart", "c/2", "10:30"), ("known", None, "09:00")]

    running.settled("é/ü", [("active", None, False, "11:00", 2), ("cart", "c/3", True, "10:00", 1), KNOWN])
    status, out, _ = tidegate("members", "cart", "--json")
    listed = json.loads(out)
    assert (status, listed["size"]) == (0, 2)
    assert [(each["contact"], each["key"]) for each in listed["members"]] == [("ada", "c/2"), ("é/ü", "c/3")]
    assert tidegate("members", "active") == (
        0,
        "",
        "nobody is in 'active' (`tidegate segments list` has the segments)\n",
    )
    status, out, said = tidegate("members", "known", "--limit", "1")
    assert (status, out.split()[:6]) == (0, ["contact", "key", "since", "seq", "version", "ada"])
    assert said == "1 of 2 are shown (--limit)\n"

    status, out, _ = tidegate("contact", "ada")
    assert status == 0 and "\x1b" not in out, "traits are of strangers: they steer no terminal"
    assert ["cart", "c/1", "no", "2026-03-01T10:45:00.000Z", "2", "1"] in [line.split() for line in out.splitlines()]
    assert tidegate("contact", "bob")[0] == 2


def test_of_an_erased_contact_nothing_is_told_and_of_one_that_came_back_nothing_of_before(
    running: Running, tidegate: Call, wait_until: Callable[..., Any]
) -> None:
    running.publish("10:30", event("Product Added", "ada", "10:00", cart_id="1"), identify("bob", "10:00"))
    running.settled("ada", [("active", None, True, "10:00", 1), ("cart", "1", True, "10:00", 1), KNOWN])
    running.publish("11:00", {"type": "delete", "userId": "ada", "timestamp": "2026-03-01T10:40:00Z"})
    wait_until(lambda: tidegate("contact", "ada")[0] == 2, TIMEOUT_S, "nobody of that name in Redis")
    assert [tidegate("contact", "ada", "--at", f"2026-03-01T{at}:00Z")[0] for at in ("10:20", "10:50")] == [2, 2]
    assert json.loads(tidegate("members", "known", "--json")[1])["members"][0]["contact"] == "bob"

    running.publish("12:00", identify("ada", "11:30", name="Ada"))
    running.settled("ada", [("known", None, True, "11:30", 1)])
    assert running.at("ada", "11:00") == []
    assert running.at("ada", "11:45") == [("known", None, "11:30")]
    status, out, said = tidegate("contact", "ada", "--at", "2026-03-01T10:20:00Z")
    assert (status, out) == (2, "")
    assert (
        "expected an instant from 2026-03-01T10:40:00.000Z on, got 2026-03-01T10:20:00.000Z: the contact was erased"
        in said
    )


def test_what_retention_has_removed_is_said_with_the_instant_from_which_on_it_can_be_told(
    running: Running, tidegate: Call
) -> None:
    """Who has been in a segment since before the log begins is told to be in it all the same."""
    running.publish("10:30", event("Product Added", "ada", "10:00", cart_id="1"))
    expected = [("active", None, True, "10:00", 1), ("cart", "1", True, "10:00", 1), KNOWN]
    running.settled("ada", expected)
    before = format_instant(time.time_ns() // 1_000_000)  # the records' own times
    stage = running.stage
    partition = TopicPartition(stage.settings.topic(TRANSITIONS.name), partition_of(b"ada", stage.settings.partitions))

    async def remove(up_to: int) -> None:
        async with admin(stage.settings) as client:
            await client.delete_records({partition: RecordsToDelete(before_offset=up_to)})

    asyncio.run(remove(-1))
    status, _, said = tidegate("contact", "ada", "--at", before)
    assert (status, "retention has removed all" in said) == (2, True)

    running.publish("12:00")
    running.settled("ada", [("active", None, False, "11:00", 2), *expected[1:]])
    status, out, said = tidegate("contact", "ada", "--at", before)
    assert (status, out, "retention has removed earlier transitions" in said) == (2, "", True)
    now = format_instant(time.time_ns() // 1_000_000)
    found = running.contact("ada", "--at", now)
    assert [(each["segment"], each["since"][11:16]) for each in found["memberships"]] == [
        ("cart", "10:00"),
        ("known", "10:00"),
    ]


def test_what_an_earlier_version_left_in_redis_is_no_answer_until_a_projector_has_read_it_anew(
    running: Running, tidegate: Call, redis_url: str, prefix: str, wait_until: Callable[..., Any]
) -> None:
    """That version knew memberships and listed no members: it would look as if nobody were in anything."""
    running.publish("10:30", event("Product Added", "ada", "10:00", cart_id="1"))
    expected = [("active", None, True, "10:00", 1), ("cart", "1", True, "10:00", 1), KNOWN]
    running.settled("ada", expected)
    assert running.projector.stop() == 0
    keys, client = Keys(prefix), redis.Redis.from_url(redis_url)
    client.rename(keys.positions, f"{keys.stem}positions")
    client.delete(keys.sizes, *client.scan_iter(f"{keys.stem}members:*", count=10_000))
    refused = [tidegate(*arguments) for arguments in (["members", "known"], ["contact", "ada"])]
    assert [(status, out, "no projector of this version" in said) for status, out, said in refused] == [
        (1, "", True)
    ] * 2

    running.projector.start()
    wait_until(lambda: tidegate("members", "known")[0] == 0, TIMEOUT_S, "an answer")
    assert "ada" in tidegate("members", "known")[1]
    running.settled("ada", expected)
