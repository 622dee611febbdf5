"""Caps and rates, against a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio as redis

from actions.dispatch import outcome_of
from actions.ledger import Batch, Ledger, Unsynced
from actions.limits import Limits, host_of
from actions.policies import CAP_MS_MAX, Cap, Rate
from schemas.deliveries import Delivery, Outcome
from schemas.instants import DAY_MS

pytestmark = pytest.mark.kafka  # it takes a Redis

Make = Callable[..., Delivery]
TWO = Cap(2, DAY_MS, "email", "promo")


def read(*outcomes: Outcome) -> Callable[[dict[str, int]], AsyncIterator[Batch]]:
    async def reading(positions: dict[str, int]) -> AsyncIterator[Batch]:
        yield Batch(outcomes, {"0": len(outcomes)})

    return reading


@pytest.fixture
async def ledger(client: redis.Redis, prefix: str) -> Ledger:
    made = Ledger(client, prefix)
    assert await made.rebuild(0, read())
    return made


@pytest.fixture
def limits(client: redis.Redis, ledger: Ledger) -> Limits:
    return Limits(client, ledger)


@pytest.fixture
def promo(make_delivery: Make) -> Callable[..., Delivery]:
    """E-mails of the group `promo` to one contact, by number."""
    return lambda n, **changes: make_delivery(
        id=f"{n:032}", **{"channel": "email", "group": "promo", "target": "ada@home.example", **changes}
    )


async def now_ms(client: redis.Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def test_a_cap_lets_as_many_through_as_it_says_and_a_retry_counts_once(limits: Limits, promo: Make) -> None:
    for n in (1, 2, 1, 2, 2):
        assert await limits.take(promo(n), (TWO,), None) is None
    full = await limits.take(promo(3), (TWO,), None)

    assert full is not None
    assert (full.cap, full.wait_ms) == (TWO, 0)
    assert full.reason == "expected less than 2 messages by email of group 'promo' in 1d, got that many"
    assert await limits.take(promo(4, contact="c-18"), (TWO,), None) is None


async def test_of_many_at_once_no_more_than_the_cap_pass(limits: Limits, promo: Make) -> None:
    found = await asyncio.gather(*(limits.take(promo(n), (TWO,), None) for n in range(30)))

    assert sum(each is None for each in found) == 2


async def test_a_cap_counts_its_own_channel_and_group_alone(limits: Limits, promo: Make) -> None:
    everything = Cap(3, DAY_MS)
    for n, changes in enumerate(({"group": "news"}, {"channel": "sms"})):
        assert await limits.take(promo(n, **changes), (everything,), None) is None
    assert await limits.take(promo(5), (everything, TWO), None) is None
    full = await limits.take(promo(6), (TWO, everything), None)

    assert full is not None
    assert full.cap == everything


async def test_what_is_to_go_later_goes_when_the_oldest_leaves_the_window(
    limits: Limits, client: redis.Redis, ledger: Ledger, promo: Make
) -> None:
    """Of those in the window as many must leave as are too many: with two of two in it, the older one."""
    now = await now_ms(client)
    for n, ago_ms in enumerate((100_000, 40_000, 20_000, CAP_MS_MAX + 1)):
        await client.zadd(ledger.caps("c-17"), {ledger.counted(promo(n)): now - ago_ms})
    full = await limits.take(promo(9), (Cap(2, 60_000, then="later"),), None)

    assert full is not None
    assert 19_000 < full.wait_ms <= 20_000
    assert await client.zcard(ledger.caps("c-17")) == 3, "what no cap can ask for any more is dropped"


async def test_what_an_earlier_version_has_counted_counts_on(
    limits: Limits, ledger: Ledger, client: redis.Redis, promo: Make
) -> None:
    """It had the contact's id in the key."""
    before = ledger.caps_before("c-17")
    await client.zadd(before, {ledger.counted(promo(1)): await now_ms(client)})
    assert await limits.take(promo(2), (TWO,), None) is None
    assert await limits.take(promo(3), (TWO,), None) is not None

    assert not await client.exists(before)
    assert await client.pttl(ledger.caps("c-17")) > 0


async def test_of_an_erased_contact_nothing_is_counted_but_what_came_later(
    limits: Limits, ledger: Ledger, client: redis.Redis, promo: Make
) -> None:
    """Tombstones are read again when a read model is rebuilt: who has come back since is not to be messaged beyond the cap."""
    assert await limits.take(promo(1), (TWO,), None) is None
    erased_ms = await now_ms(client) + 1
    while await now_ms(client) <= erased_ms:
        pass
    assert await limits.take(promo(2), (TWO,), None) is None
    await ledger.forget("c-17", erased_ms, 0)

    assert await limits.take(promo(3), (TWO,), None) is None
    assert await limits.take(promo(4), (TWO,), None) is not None


async def test_what_fails_for_good_is_given_back(limits: Limits, ledger: Ledger, promo: Make) -> None:
    for n in (1, 2):
        await ledger.take(promo(n), 0)
        assert await limits.take(promo(n), (TWO,), None) is None
    await ledger.record(outcome_of(promo(1), "waiting", 1, 0, "retry", due_ms=5))
    assert await limits.take(promo(3), (TWO,), None) is not None
    await ledger.record(outcome_of(promo(1), "failed", 1, 0, "refused"))
    assert await limits.take(promo(3), (TWO,), None) is None


@pytest.mark.parametrize("rebuilt", [False, True], ids=["as it was", "rebuilt"])
async def test_what_may_have_been_sent_counts_on_when_it_is_left_out(
    limits: Limits, ledger: Ledger, client: redis.Redis, promo: Make, rebuilt: bool
) -> None:
    """What was refused before it was left out, or never tried, doesn't."""
    now = await now_ms(client)
    outcomes = [
        outcome_of(promo(1), "waiting", 1, now, "quiet", due_ms=now, in_doubt=True),
        outcome_of(promo(1), "skipped", 1, now, "ended", in_doubt=True),
        outcome_of(promo(2), "waiting", 1, now, "retry", due_ms=now),
        outcome_of(promo(2), "skipped", 1, now, "ended"),
        outcome_of(promo(3), "skipped", 0, now, "ended"),
    ]
    if rebuilt:
        assert await ledger.rebuild(now, read(*outcomes))
    else:
        for n in (1, 2):
            await ledger.take(promo(n), now)
            assert await limits.take(promo(n), (TWO,), None) is None
        for outcome in outcomes:
            await ledger.record(outcome)

    assert await limits.take(promo(4), (TWO,), None) is None
    assert await limits.take(promo(5), (TWO,), None) is not None


async def test_a_redis_that_lost_the_counts_lets_nothing_pass_until_they_are_rebuilt(
    limits: Limits, ledger: Ledger, client: redis.Redis, promo: Make
) -> None:
    """From outcomes alone: what was sent counts, what failed or was left out doesn't, nor what is transactional."""
    now = await now_ms(client)
    for key in [key async for key in client.scan_iter(match=f"{ledger.key('')}*")]:
        await client.delete(key)
    with pytest.raises(Unsynced):
        await limits.take(promo(9), (TWO,), None)
    outcomes = [
        outcome_of(promo(1), "sent", 1, now - 5),
        outcome_of(promo(2), "failed", 1, now - 4, "refused"),
        outcome_of(promo(3), "skipped", 0, now - 3, "capped"),
        outcome_of(promo(4, transactional=True), "sent", 1, now - 2),
    ]
    assert await ledger.rebuild(now, read(*outcomes))

    assert await limits.take(promo(5), (TWO,), None) is None
    assert await limits.take(promo(6), (TWO,), None) is not None


async def test_a_rate_gives_a_burst_at_once_and_to_each_after_it_a_turn_of_its_own(
    limits: Limits, make_delivery: Make
) -> None:
    """Ten a second, three at once: the fourth waits for 100 ms, the fifth for 200, and whoever asks again loses nothing."""
    rate = Rate("webhook", 10, 3)
    hooks = [make_delivery(id=f"{n:032}", target="https://shop.example:8443/x") for n in range(6)]
    waits = [await limits.take(hook, (), rate) for hook in hooks]

    assert waits[:3] == [None] * 3
    waits_ms = [each.wait_ms for each in waits[3:] if each is not None]
    assert [round(wait_ms, -2) for wait_ms in waits_ms] == [100, 200, 300]
    again = await limits.take(hooks[4], (), rate)
    assert again is not None and again.wait_ms <= waits_ms[1]
    await asyncio.sleep(again.wait_ms / 1000 + 0.01)
    assert await limits.take(hooks[4], (), rate) is None
    other = make_delivery(id="o" * 32, target="https://other.example/")
    assert await limits.take(other, (), rate) is None


async def test_a_full_cap_takes_no_token_and_a_turn_to_come_counts_nothing(limits: Limits, promo: Make) -> None:
    rate, one = Rate("email", 0.001, 1), Cap(1, DAY_MS)
    assert await limits.take(promo(1), (one,), rate) is None
    full = await limits.take(promo(2), (one,), rate)
    assert full is not None and full.cap == one
    waits = await limits.take(promo(3, contact="c-18"), (one,), rate)
    assert waits is not None and waits.cap is None
    assert await limits.take(promo(4, contact="c-18"), (one,), None) is None, "the one that waits was not sent"


@pytest.mark.parametrize(
    ("channel", "target", "host"),
    [
        ("webhook", "https://Shop.example:8443/a?b", "shop.example:8443"),
        ("email", "Ada@Home.example", "home.example"),
        ("sms", "+4930901820", ""),
        ("inapp", "inapp", ""),
        ("slack", "HOT_LEADS", "hot_leads"),  # of which Slack takes one message a second each
        ("kafka", "orders", "orders"),
    ],
)
def test_a_host_is_where_a_delivery_goes(channel: str, target: str, host: str, make_delivery: Make) -> None:
    assert host_of(make_delivery(channel=channel, target=target)) == host
