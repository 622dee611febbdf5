"""The ledger, against a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio as redis
from redis.asyncio.client import Pipeline

from actions.dispatch import outcome_of
from actions.ledger import LEASE_MS, Batch, Ledger, LockLost, Unsynced
from schemas.deliveries import Delivery, Outcome

pytestmark = pytest.mark.kafka  # it takes a Redis

Make = Callable[..., Delivery]
NOW_MS = 1_772_357_400_000


def nothing(positions: dict[str, int]) -> AsyncIterator[Batch]:
    return history()(positions)


def history(*outcomes: Outcome) -> Callable[[dict[str, int]], AsyncIterator[Batch]]:
    """Reads like Kafka does: from the position that the ledger has, one record a batch."""

    async def read(positions: dict[str, int]) -> AsyncIterator[Batch]:
        for at, outcome in enumerate(outcomes):
            if at >= positions.get("0", 0):
                yield Batch([outcome], {"0": at + 1})

    return read


@pytest.fixture
async def ledger(client: redis.Redis, prefix: str) -> Ledger:
    made = Ledger(client, prefix)
    assert await made.rebuild(NOW_MS, nothing)
    return made


@pytest.fixture
def other(ledger: Ledger, client: redis.Redis, prefix: str) -> Ledger:
    """The ledger of another dispatcher."""
    return Ledger(client, prefix)


async def test_what_is_taken_once_is_not_taken_again(ledger: Ledger, other: Ledger, make_delivery: Make) -> None:
    first = await ledger.take(make_delivery(), NOW_MS)
    second = await other.take(make_delivery(), NOW_MS)

    assert (first.state, first.attempts) == ("new", 1)
    assert (second.state, second.attempts, second.outcome) == ("taken", 1, None)


async def test_whoever_took_it_may_ask_again_until_it_has_an_outcome(ledger: Ledger, make_delivery: Make) -> None:
    """Redis may have done it and its answer may have got lost; the delivery needn't wait for the lease to end."""
    first = await ledger.take(make_delivery(), NOW_MS)
    again = await ledger.take(make_delivery(), NOW_MS + 5)

    assert first == again
    (claimed,) = await ledger.claim(NOW_MS + 5 + LEASE_MS, 10)
    assert claimed.in_doubt
    assert (await ledger.take(make_delivery(), NOW_MS)).state == "taken"


async def test_of_many_at_once_one_takes_it(
    ledger: Ledger, client: redis.Redis, prefix: str, make_delivery: Make
) -> None:
    taken = await asyncio.gather(*(Ledger(client, prefix).take(make_delivery(), NOW_MS) for _ in range(20)))

    assert [each.state for each in taken].count("new") == 1


async def test_what_became_of_it_is_told_to_whoever_asks_again(ledger: Ledger, make_delivery: Make) -> None:
    await ledger.take(make_delivery(), NOW_MS)
    outcome = outcome_of(make_delivery(), "sent", 1, NOW_MS)
    await ledger.record(outcome)
    taken = await ledger.take(make_delivery(), NOW_MS)

    assert (taken.state, taken.outcome) == ("sent", outcome)
    assert await ledger.next_due_ms() is None


async def test_what_was_taken_and_has_no_outcome_is_due_when_its_lease_ends(
    ledger: Ledger, make_delivery: Make
) -> None:
    """A dispatcher killed in an attempt; not before the end, as it may be alive and slow."""
    await ledger.take(make_delivery(), NOW_MS)

    assert await ledger.claim(NOW_MS + LEASE_MS - 1, 10) == []
    (claimed,) = await ledger.claim(NOW_MS + LEASE_MS, 10)
    assert (claimed.delivery, claimed.attempts, claimed.in_doubt) == (make_delivery(), 1, True)
    assert await ledger.claim(NOW_MS + LEASE_MS, 10) == []


async def test_what_waits_is_claimed_when_it_is_due_and_is_not_in_doubt(ledger: Ledger, make_delivery: Make) -> None:
    await ledger.take(make_delivery(), NOW_MS)
    await ledger.record(outcome_of(make_delivery(), "waiting", 1, NOW_MS, "retry", "503", due_ms=NOW_MS + 5000))

    assert await ledger.next_due_ms() == NOW_MS + 5000
    assert await ledger.claim(NOW_MS + 4999, 10) == []
    (claimed,) = await ledger.claim(NOW_MS + 5000, 10)
    assert (claimed.attempts, claimed.in_doubt) == (1, False)
    assert await ledger.begin(claimed, NOW_MS + 5000) == 2


async def test_what_is_claimed_twice_is_begun_once(ledger: Ledger, other: Ledger, make_delivery: Make) -> None:
    """A claim may wait for its turn at a crowded receiver until its lease is over."""
    await ledger.park(make_delivery(), NOW_MS, "")
    (first,) = await ledger.claim(NOW_MS, 10)
    assert await other.claim(NOW_MS + LEASE_MS - 1, 10) == []
    (second,) = await other.claim(NOW_MS + LEASE_MS, 10)

    assert await other.begin(second, NOW_MS + LEASE_MS) == 1
    assert await ledger.begin(first, NOW_MS + LEASE_MS) is None
    assert await ledger.claim(NOW_MS + 2 * LEASE_MS - 1, 10) == []


async def test_what_was_claimed_and_not_begun_is_not_in_doubt(ledger: Ledger, make_delivery: Make) -> None:
    """Nobody has called the channel."""
    await ledger.park(make_delivery(), NOW_MS, "")
    await ledger.claim(NOW_MS, 10)
    (again,) = await ledger.claim(NOW_MS + LEASE_MS, 10)

    assert (again.attempts, again.in_doubt) == (0, False)


async def test_what_is_put_back_has_not_been_attempted(ledger: Ledger, make_delivery: Make) -> None:
    await ledger.park(make_delivery(), NOW_MS, "")
    (claimed,) = await ledger.claim(NOW_MS, 10)
    await ledger.put_back(claimed, NOW_MS + 100, "")
    (again,) = await ledger.claim(NOW_MS + 100, 10)

    assert (claimed.attempts, again.attempts, again.in_doubt) == (0, 0, False)


async def test_what_is_held_is_due_only_after_its_release(ledger: Ledger, make_delivery: Make) -> None:
    await ledger.park(make_delivery("a" * 32), None, "channel/email")
    await ledger.park(make_delivery("b" * 32), NOW_MS, "")
    (claimed,) = await ledger.claim(NOW_MS, 10)
    await ledger.put_back(claimed, None, "rule/mail")

    assert await ledger.helds() == ["channel/email", "rule/mail"]
    assert await ledger.claim(NOW_MS * 2, 10) == []
    assert await ledger.waiting() == 2
    await ledger.release("channel/email")
    assert [item.delivery.id for item in await ledger.claim(NOW_MS, 10)] == ["a" * 32]
    await ledger.release("rule/mail")
    assert [item.delivery.id for item in await ledger.claim(NOW_MS, 10)] == ["b" * 32]
    assert await ledger.helds() == []


async def test_what_waits_for_a_contact_that_was_erased_is_due_and_what_is_under_way_is_left_to_end(
    ledger: Ledger, make_delivery: Make
) -> None:
    """Held or put off, it would keep the contact's address for days; attempted twice at once, it would be sent twice."""
    held, later, under_way = (make_delivery(character * 32) for character in "abc")
    other = make_delivery("d" * 32, contact="c-18")
    await ledger.park(held, None, "channel/email")
    await ledger.park(later, NOW_MS + 86_400_000, "")
    await ledger.take(under_way, NOW_MS)
    await ledger.park(other, None, "channel/email")
    await ledger.forget("c-17", NOW_MS, NOW_MS + 1)

    assert {claimed.delivery.id for claimed in await ledger.claim(NOW_MS + 1, 10)} == {held.id, later.id}
    await ledger.release("channel/email")
    assert [claimed.delivery.id for claimed in await ledger.claim(NOW_MS + 1, 10)] == [other.id]


async def test_what_is_over_names_nobody(ledger: Ledger, client: redis.Redis, prefix: str, make_delivery: Make) -> None:
    """An entry outlives what it is of by weeks. Who reads the delivery again is told of its contact all the same."""
    delivery = make_delivery(channel="email", target="ada@home.example")
    await ledger.take(delivery, NOW_MS)
    await ledger.record(outcome_of(delivery, "waiting", 1, NOW_MS, "retry", "no ada@home.example here", due_ms=NOW_MS))
    await ledger.record(outcome_of(delivery, "failed", 2, NOW_MS, "refused", "no ada@home.example here"))

    async for key in client.scan_iter(match=f"*{prefix}ledger*"):
        kind = await client.type(key)
        value = await (client.hgetall(key) if kind == b"hash" else client.dump(key))
        for word in (b"c-17", b"ada@home.example"):
            assert word not in key and word not in repr(value).encode(), (key, value)
    outcome = (await ledger.take(delivery, NOW_MS)).outcome
    assert outcome is not None
    assert (outcome.contact, outcome.status, outcome.attempts) == ("c-17", "failed", 2)


async def test_a_failed_delivery_is_taken_again_when_a_person_asks_and_a_sent_one_never(
    ledger: Ledger, other: Ledger, make_delivery: Make
) -> None:
    failed, sent = make_delivery("f" * 32), make_delivery("5" * 32)
    for delivery, status in ((failed, "failed"), (sent, "sent")):
        await ledger.take(delivery, NOW_MS)
        await ledger.record(outcome_of(delivery, status, 1, NOW_MS))  # type: ignore[arg-type]

    assert (await ledger.take(make_delivery("f" * 32), NOW_MS)).state == "failed"
    assert (await ledger.take(make_delivery("f" * 32, retry=1), NOW_MS)).state == "new"
    assert (await other.take(make_delivery("f" * 32, retry=1), NOW_MS)).state == "taken"
    assert (await ledger.take(make_delivery("5" * 32, retry=1), NOW_MS)).state == "sent"


async def test_of_two_outcomes_the_later_attempts_stays_whatever_their_order(
    ledger: Ledger, make_delivery: Make
) -> None:
    sent = outcome_of(make_delivery(), "sent", 2, NOW_MS)
    await ledger.record(sent)
    await ledger.record(outcome_of(make_delivery(), "waiting", 1, NOW_MS, "retry", "503", due_ms=NOW_MS))
    await ledger.record(outcome_of(make_delivery(), "waiting", 2, NOW_MS, "in_doubt", "?", due_ms=NOW_MS))

    assert (await ledger.take(make_delivery(), NOW_MS)).outcome == sent
    assert await ledger.claim(NOW_MS * 2, 10) == []


async def test_entries_outlive_the_deliveries_topic(ledger: Ledger, client: redis.Redis, make_delivery: Make) -> None:
    await ledger.take(make_delivery(), NOW_MS)
    await ledger.record(outcome_of(make_delivery(), "sent", 1, NOW_MS))
    (key,) = [key async for key in client.scan_iter(match=f"*{ledger._stem[1:-2]}*entry*")]

    assert await client.pttl(key) > 40 * 86_400_000


async def test_an_empty_redis_takes_nothing_before_a_rebuild(
    client: redis.Redis, prefix: str, make_delivery: Make
) -> None:
    ledger = Ledger(client, prefix)
    for call in (ledger.take(make_delivery(), NOW_MS), ledger.claim(NOW_MS, 1), ledger.park(make_delivery(), 1, "")):
        with pytest.raises(Unsynced):
            await call


async def test_a_rebuild_knows_what_was_sent_and_what_waits(
    client: redis.Redis, prefix: str, make_delivery: Make
) -> None:
    """What waits is not attempted before an attempt that was under way can have ended."""
    sent, waiting = make_delivery("5" * 32), make_delivery("a" * 32)
    ledger = Ledger(client, prefix)
    outcomes = [
        outcome_of(sent, "waiting", 1, NOW_MS, "retry", "503", due_ms=NOW_MS),
        outcome_of(waiting, "waiting", 3, NOW_MS, "retry", "503", due_ms=NOW_MS),
        outcome_of(sent, "sent", 2, NOW_MS),
    ]
    assert await ledger.rebuild(NOW_MS, history(*outcomes))

    assert (await ledger.take(sent, NOW_MS)).state == "sent"
    assert (await ledger.take(waiting, NOW_MS)).state == "waiting"
    assert await ledger.claim(NOW_MS + LEASE_MS - 1, 10) == []
    (claimed,) = await ledger.claim(NOW_MS + LEASE_MS, 10)
    assert (claimed.delivery, claimed.attempts) == (waiting, 3)


async def test_a_second_rebuild_reads_only_what_is_new(client: redis.Redis, prefix: str, make_delivery: Make) -> None:
    """A Redis that merely restarted holds up sending for as long as the last minute's outcomes take to read."""
    ledger = Ledger(client, prefix)
    outcomes = [outcome_of(make_delivery(str(n) * 32), "sent", 1, NOW_MS) for n in range(3)]
    seen: list[dict[str, int]] = []

    def read(positions: dict[str, int]) -> AsyncIterator[Batch]:
        seen.append(positions)
        return history(*outcomes)(positions)

    await ledger.rebuild(NOW_MS, read)
    await ledger.rebuild(NOW_MS, read)

    assert seen == [{}, {"0": 3}]


async def test_a_rebuild_asks_for_a_bounded_number_of_outcomes_at_once(
    client: redis.Redis, prefix: str, make_delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute's outcomes in one request took longer than a connection may, and Redis counted as away."""
    monkeypatch.setattr("actions.ledger.LEARN_MAX", 2)
    at_once: list[int] = []
    execute = Pipeline.execute

    async def counted(pipeline: Pipeline) -> Any:
        at_once.append(len(pipeline.command_stack))
        return await execute(pipeline)

    monkeypatch.setattr(Pipeline, "execute", counted)
    ledger = Ledger(client, prefix)
    sent = [make_delivery(str(n) * 32) for n in range(5)]

    async def read(_: dict[str, int]) -> AsyncIterator[Batch]:
        yield Batch([outcome_of(each, "sent", 1, NOW_MS) for each in sent], {"0": 5})

    await ledger.rebuild(NOW_MS, read)

    assert at_once == [2, 2, 1]
    assert [(await ledger.take(each, NOW_MS)).state for each in sent] == ["sent"] * 5


async def test_a_rebuild_leaves_alone_what_goes_on_meanwhile(ledger: Ledger, make_delivery: Make) -> None:
    """It runs once a minute beside the sending; the outcomes that it reads are old news."""
    delivery = make_delivery()
    old = outcome_of(delivery, "waiting", 1, NOW_MS, "retry", "503", due_ms=NOW_MS)
    await ledger.record(old)
    (claimed,) = await ledger.claim(NOW_MS, 10)
    await ledger.rebuild(NOW_MS, history(old))

    assert await ledger.begin(claimed, NOW_MS) == 2
    assert (await ledger.take(delivery, NOW_MS)).state == "taken"


@pytest.mark.parametrize("status", ["sent", "waiting"])
async def test_a_rebuild_settles_what_only_kafka_knows(ledger: Ledger, make_delivery: Make, status: Any) -> None:
    """A dispatcher killed after Kafka had the outcome and before the ledger had it: nothing is in doubt."""
    await ledger.take(make_delivery(), NOW_MS)
    (claimed,) = await ledger.claim(NOW_MS + LEASE_MS, 10)
    code = "retry" if status == "waiting" else None
    await ledger.rebuild(NOW_MS, history(outcome_of(make_delivery(), status, 1, NOW_MS, code, due_ms=NOW_MS)))

    assert await ledger.begin(claimed, NOW_MS + LEASE_MS) is None


async def test_a_rebuild_leaves_in_doubt_what_nobody_knows(ledger: Ledger, make_delivery: Make) -> None:
    await ledger.take(make_delivery(), NOW_MS)
    (claimed,) = await ledger.claim(NOW_MS + LEASE_MS, 10)
    await ledger.rebuild(NOW_MS, history(outcome_of(make_delivery(), "waiting", 1, NOW_MS, "in_doubt", due_ms=NOW_MS)))

    assert await ledger.begin(claimed, NOW_MS + LEASE_MS) == 2


async def test_one_rebuild_at_a_time(client: redis.Redis, prefix: str) -> None:
    one, other = Ledger(client, prefix), Ledger(client, prefix)
    answers: list[bool] = []

    async def read(positions: dict[str, int]) -> AsyncIterator[Batch]:
        answers.append(await other.rebuild(NOW_MS, nothing))
        yield Batch([], {})

    assert await one.rebuild(NOW_MS, read)
    assert answers == [False]


@pytest.mark.parametrize("empty", [False, True], ids=["restarted", "restarted empty"])
async def test_a_redis_that_restarted_is_out_of_sync_until_a_rebuild(
    own_redis: Any, prefix: str, make_delivery: Make, empty: bool
) -> None:
    """Whether it holds all that was sent can't be seen from within; only Kafka's outcomes tell."""
    client = redis.Redis.from_url(own_redis.url)
    ledger = Ledger(client, prefix)
    await ledger.rebuild(NOW_MS, nothing)
    await ledger.take(make_delivery(), NOW_MS)
    await asyncio.to_thread(own_redis.restart, empty=empty)
    await client.connection_pool.disconnect()

    with pytest.raises(Unsynced):
        await ledger.take(make_delivery(), NOW_MS)
    assert await ledger.rebuild(NOW_MS, nothing)
    assert (await Ledger(client, prefix).take(make_delivery(), NOW_MS)).state == ("new" if empty else "taken")
    await client.aclose()


async def test_a_redis_emptied_under_a_rebuild_is_not_taken_for_rebuilt(
    own_redis: Any, prefix: str, make_delivery: Make
) -> None:
    client = redis.Redis.from_url(own_redis.url)
    ledger = Ledger(client, prefix)

    async def read(positions: dict[str, int]) -> AsyncIterator[Batch]:
        yield Batch([outcome_of(make_delivery(), "sent", 1, NOW_MS)], {"0": 1})
        await client.flushall()

    with pytest.raises(LockLost):
        await ledger.rebuild(NOW_MS, read)
    assert not await ledger.in_sync()
    await client.aclose()


async def test_what_was_left_out_is_over_whatever_comes_late(ledger: Ledger, make_delivery: Make) -> None:
    """Its putting off may be written down after it, by a dispatcher that was slow."""
    delivery = make_delivery()
    await ledger.park(delivery, NOW_MS, "")
    await ledger.record(outcome_of(delivery, "skipped", 0, NOW_MS, "consent"))
    await ledger.record(outcome_of(delivery, "waiting", 0, NOW_MS, "quiet", due_ms=NOW_MS))

    assert (await ledger.take(delivery, NOW_MS)).state == "skipped"
    assert await ledger.claim(NOW_MS, 10) == []


async def test_what_is_put_off_in_doubt_is_in_doubt_still_when_it_is_due_also_after_a_rebuild(
    client: redis.Redis, prefix: str, make_delivery: Make
) -> None:
    """At once where the ledger knows it, and from the outcome alone."""
    delivery = make_delivery()
    put_off = outcome_of(delivery, "waiting", 1, NOW_MS, "quiet", due_ms=NOW_MS, in_doubt=True)
    for name, known in (("empty", False), ("known", True)):
        ledger = Ledger(client, prefix + name)
        if known:
            assert await ledger.rebuild(NOW_MS, nothing)
            await ledger.take(delivery, NOW_MS - LEASE_MS)
        assert await ledger.rebuild(NOW_MS, history(put_off))
        assert (await ledger.take(delivery, NOW_MS)).state == ("new" if known else "taken")

        (claimed,) = await ledger.claim(NOW_MS + LEASE_MS, 10)
        assert (claimed.attempts, claimed.in_doubt) == (1, True), name
