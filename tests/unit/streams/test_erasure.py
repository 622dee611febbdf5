"""Erasure, consent and links as the worker takes them, on a log in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from test_worker import Bench, plan_of

from actions import Rules
from schemas.erasures import contact_hash
from segments import Limits, compile_program, load_data
from segments.read import read_text
from streams.plan import Plan

TEXT = """
segments:
  - {id: pro, when: {trait: plan, eq: pro}}
  - {id: cart, per: cart, when: {event: A}}
"""


@pytest.fixture
async def bench() -> Bench:
    made = Bench(text=TEXT)
    await made.worker.take_over({0})
    return made


def compacted(bench: Bench, topic: str) -> dict[bytes | None, bytes | None]:
    """The last value of each key."""
    return {record.key: record.value for record in bench.broker.committed(topic, 0)}


async def test_an_erased_contact_leaves_tombstones_everywhere_and_is_new_afterwards(bench: Bench) -> None:
    """Whoever asks to be forgotten may not be found again in what the next owner of the partition reads."""
    bench.publish(type="identify", traits={"plan": "pro"})
    bench.publish(properties={"cart": "c1"})
    await bench.commit()
    bench.publish(type="delete")
    await bench.commit()

    assert bench.transitions()[2:] == [("c", "pro", "left", "erasure"), ("c", "cart", "left", "erasure")]
    assert compacted(bench, "state")[b"c"] is None
    assert compacted(bench, "contacts") == {b"c": None}
    assert compacted(bench, "memberships") == {b'["c","pro"]': None, b'["c","cart","c1"]': None}

    await bench.restart()
    bench.publish(properties={"cart": "c1"})
    await bench.commit()

    (last,) = bench.broker.committed("transitions", 0)[-1:]
    assert 1 == orjson.loads(last.value or b"")["seq"]


async def test_erased_and_back_within_one_checkpoint_is_as_new(bench: Bench) -> None:
    """The committed record of before must not come back through the door of the overlay."""
    bench.publish(type="identify", traits={"plan": "pro"})
    await bench.commit()
    bench.publish(type="delete")
    await bench.apply()
    bench.publish(properties={"cart": "c1"})
    await bench.commit()

    assert [each[1:] for each in bench.transitions()] == [
        ("pro", "entered", "event"),
        ("pro", "left", "erasure"),
        ("cart", "entered", "event"),
    ]
    contact = compacted(bench, "contacts")[b"c"]
    assert contact is not None
    assert orjson.loads(contact)["traits"] == {}
    assert compacted(bench, "memberships")[b'["c","pro"]'] is None


async def test_erased_while_a_checkpoint_runs_stays_erased(bench: Bench) -> None:
    """Between the freezing of an overlay and its commit, the committed record is an older one."""
    bench.publish(type="identify", traits={"plan": "pro"})
    await bench.apply()
    running = asyncio.ensure_future(bench.worker.checkpoint(bench.worker.partitions[0]))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    bench.publish(type="delete")
    bench.publish(properties={"cart": "c1"})
    await bench.apply()
    await running
    bench.publish(type="delete")
    await bench.commit()

    assert [each[1:] for each in bench.transitions()] == [
        ("pro", "entered", "event"),
        ("pro", "left", "erasure"),
        ("cart", "entered", "event"),
        ("cart", "left", "erasure"),
    ]
    assert compacted(bench, "state")[b"c"] is None


async def test_a_condition_in_place_that_nobody_asks_any_more_leaves_nothing_that_an_erasure_would_miss(
    bench: Bench,
) -> None:
    """Each edit of one makes another segment of it: a contact would carry all that it was ever in."""
    in_, out = "~0000000000000001", "~0000000000000002"
    lifted = [{"id": in_, "when": {"event": "A"}}, {"id": out, "when": {"trait": "plan", "eq": "pro"}}]
    before = load_data(read_text(TEXT, "test"), lifted=lifted)
    bench.plans.current = Plan(compile_program(before, limits=Limits(), revision=1), Rules(), 1)
    await bench.restart()
    bench.publish(type="identify", traits={"plan": "pro"})
    bench.publish(type="identify", traits={"plan": None})
    bench.publish()
    await bench.commit()
    told = {key: value and orjson.loads(value)["member"] for key, value in compacted(bench, "memberships").items()}
    assert told == {b'["c","pro"]': False, f'["c","{in_}"]'.encode(): True, f'["c","{out}"]'.encode(): False}

    bench.plans.older.append(bench.plans.current)
    after = load_data(read_text(TEXT, "test"))
    bench.plans.current = Plan(compile_program(after, limits=Limits(), revision=2), Rules(), 2)
    await bench.commit()

    gone = [f'["c","{id}"]'.encode() for id in (in_, out)]
    assert [compacted(bench, "memberships")[key] for key in gone] == [None, None]
    state = bench.worker.partitions[0].contacts.state_of(b"c")
    assert [("pro", None)] == [each for each in state.every_membership() if each[1] is None]
    assert not bench.worker.partitions[0].sizes.members.get(in_)


async def test_a_value_of_per_that_a_limit_drops_leaves_nothing_that_an_erasure_would_miss(bench: Bench) -> None:
    bench.plans.current = plan_of(TEXT, 1, values=2)
    await bench.restart()
    for cart in ("c1", "c2", "c3"):
        bench.publish(properties={"cart": cart})
    await bench.commit()
    records = compacted(bench, "memberships")
    assert records[b'["c","cart","c1"]'] is None
    assert None not in (records[b'["c","cart","c2"]'], records[b'["c","cart","c3"]'])

    bench.publish(properties={"cart": "c1"})
    await bench.commit()
    assert compacted(bench, "memberships")[b'["c","cart","c1"]'] is not None, "it has come back"
    bench.publish(type="delete")
    await bench.commit()
    assert set(compacted(bench, "memberships").values()) == {None}


async def test_nobody_is_erased_by_a_delete_of_a_stranger(bench: Bench) -> None:
    """It changes nothing, so it writes nothing but how far the worker has read, and that there was nobody."""
    bench.publish(type="delete")
    await bench.commit()

    assert bench.transitions() == []
    assert bench.broker.committed("contacts", 0) == []
    assert [False] == [receipt["known"] for receipt in receipts(bench)]


def receipts(bench: Bench) -> list[dict[str, Any]]:
    """What was written of erasures; each under the hash that it has."""
    records = bench.broker.committed("erasures", 0)
    found = [orjson.loads(record.value or b"") for record in records]
    assert [record.key for record in records] == [receipt["contact"].encode() for receipt in found]
    return found


async def test_each_delete_leaves_a_receipt_that_names_nobody_in_the_same_transaction(bench: Bench) -> None:
    """Whoever knows the id finds it by its hash, long after everything else is gone; nobody else learns who it was."""
    bench.publish(type="identify", traits={"plan": "pro"})
    await bench.commit()
    bench.publish(type="delete", traits={"email": "c@shop.example"}, messageId="c@shop.example")
    await bench.apply()
    assert [] == receipts(bench), "not before its tombstones"
    await bench.commit()
    bench.publish(type="delete")
    await bench.commit()

    first, again = receipts(bench)
    place = {"topic": "one", "partition": 0, "offset": 1}
    assert first == {"contact": contact_hash("c"), "known": True, "at": first["at"]} | place
    assert (again["known"], again["offset"]) == (False, 2)


async def test_consent_goes_into_the_record_of_the_contact(bench: Bench) -> None:
    """Whoever sends asks that record whether a message is wanted."""
    bench.publish(event="Subscribed", properties={"group": "news"})
    bench.publish(event="Unsubscribed")
    await bench.commit()

    record = compacted(bench, "contacts")[b"c"]
    assert record is not None
    consent = orjson.loads(record)["consent"]
    assert {group: each["on"] for group, each in consent.items()} == {"news": True, "": False}


async def test_an_alias_is_rejected_and_an_unlinked_id_is_counted(bench: Bench) -> None:
    """Links between partitions are to come; what is left out until then leaves a trace."""
    bench.publish(type="alias", previousId="anonymous")
    bench.publish(type="identify", anonymousId="anonymous", traits={"plan": "pro"})
    await bench.commit()

    (rejected,) = bench.broker.committed("rejected", 0)
    assert ("reason", b"not_supported") in rejected.headers
    assert b"tidegate_links_left_total 1.0" in bench.worker.metrics.text()
    assert bench.transitions() == [("c", "pro", "entered", "event")]


@pytest.mark.parametrize("reads_first", [True, False])
async def test_a_worker_that_slept_while_another_erased_a_contact_and_the_tombstone_went_does_not_know_it_any_more(
    bench: Bench, reads_first: bool
) -> None:
    """A laptop is opened again after the weekend; Kafka keeps tombstones for a day (`delete.retention.ms`)."""
    bench.publish(type="identify", traits={"plan": "pro"})
    await bench.commit()
    sleeper, bench.worker = bench.worker, bench.new_worker()
    await bench.worker.take_over({0})
    bench.publish(type="delete")
    await bench.commit()
    bench.clock.at_ms += 3 * 86_400_000
    for written in bench.broker.written["state", 0]:
        if written.record is not None and written.record.key == b"c":
            written.record = None  # compacted
    if reads_first:
        await sleeper.feed()
    await sleeper.release(1.0)
    await sleeper.take_over({0})

    assert {} == sleeper.partitions[0].committed.states


async def test_a_message_that_was_under_way_makes_nobody_known_who_was_erased_meanwhile(bench: Bench) -> None:
    """The dispatcher says that it was sent when it was: the contact may be gone by then."""
    bench.publish(type="identify", traits={"plan": "pro"})
    sent = {"event": "Sequence Step Sent", "context": {"library": {"name": "tidegate"}}}
    bench.publish(**sent)
    await bench.commit()
    state = compacted(bench, "state")[b"c"]
    bench.publish(type="delete")
    bench.publish(**sent)
    await bench.commit()

    assert state is not None and compacted(bench, "state")[b"c"] is None
    assert compacted(bench, "contacts") == {b"c": None}
