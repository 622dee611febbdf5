"""The read model, against a real Redis: what the projector writes is what the checks are told."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
import redis.asyncio as redis

from actions.facts import Facts
from actions.read_model import BeingRebuilt, Keys, Moved, ReadModel
from schemas.deliveries import Delivery, Ending, Ends
from schemas.transitions import Consent, ContactRecord, MembershipRecord, membership_key

pytestmark = pytest.mark.kafka  # it takes a Redis

Make = Callable[..., Delivery]
PARTITIONS = ["contacts/0", "memberships/0"]
AT = "2026-03-01T09:30:00.000Z"
OFF = Consent(False, AT)


def contact(revision: int, **traits: Any) -> bytes:
    return orjson.dumps(msgspec.to_builtins(ContactRecord("c-17", traits, AT, revision, consent={"promo": OFF})))


def member(revision: int, *, member: bool = True) -> bytes:
    return orjson.dumps(msgspec.to_builtins(MembershipRecord("c-17", "cart", member, AT, 1, 1, revision)))


@pytest.fixture
async def model(client: redis.Redis, prefix: str) -> ReadModel:
    """Empty, and read to the end."""
    made = ReadModel(client, prefix)
    await made.clear("before")
    assert await made.begin(PARTITIONS) == dict.fromkeys(PARTITIONS, 0)
    for partition in PARTITIONS:
        await made.filled(partition)
    return made


@pytest.fixture
def mail(make_delivery: Make) -> Delivery:
    return make_delivery(channel="email", target="Ada@home.example", while_segment="cart")


async def test_what_was_written_is_what_is_told(model: ReadModel, mail: Delivery) -> None:
    await model.apply(
        "contacts/0", 0, 2, [model.contact("c-17", contact(3)), model.contact("c-17", contact(4, timezone="UTC"))]
    )
    await model.apply("memberships/0", 0, 7, [model.membership(membership_key("c-17", "cart", None), member(2))])
    await model.apply("contacts/0", 2, 3, [model.suppressed("ada@HOME.example", "a complaint", 7)])

    expected = Facts(
        True, 4, False, {"promo": OFF}, "UTC", MembershipRecord("c-17", "cart", True, AT, 1, 1, 2), "a complaint"
    )
    assert await model.facts(mail, with_zone=True) == expected
    assert (await model.facts(mail, with_zone=False)).zone is None
    assert await model.begin(PARTITIONS) == {"contacts/0": 3, "memberships/0": 7}
    assert await model.traits("c-17") == {"timezone": "UTC"}
    assert await model.traits("c-18") is None


async def test_of_what_ends_a_sequence_each_membership_is_told_by_its_value(
    model: ReadModel, make_delivery: Make
) -> None:
    on = Ending("cart", "left", "k1"), Ending("paying", "entered"), Ending("cart", "left", "k2")
    delivery = make_delivery(ends=Ends(AT, on))
    record = MembershipRecord("c-17", "cart", False, AT, 2, 1, 7, "k2")
    write = model.membership(membership_key("c-17", "cart", "k2"), msgspec.json.encode(record))
    await model.apply("memberships/0", 0, 1, [write])

    assert (await model.facts(delivery, with_zone=False)).endings == (None, None, record)


@pytest.mark.parametrize("size", [200, 300, 70_000, 900_000])
async def test_traits_of_any_size_and_alphabet_are_told_as_they_were(
    model: ReadModel, mail: Delivery, size: int
) -> None:
    """As large as the record of a contact may be."""
    traits = {"name": "Zoë \u0000\u2028 \\ \U0001f680", "notes": "x" * size}
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", contact(2**53 + 1, **traits))])
    assert await model.traits("c-17") == traits
    assert (await model.facts(mail, with_zone=False)).revision == 2**53 + 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
async def test_of_what_is_said_of_an_address_the_last_counts_by_its_time(
    model: ReadModel, mail: Delivery, order: tuple[int, int, int]
) -> None:
    """Two contacts may have one address, and be in two partitions: which is read first says nothing."""
    words = [("a bounce", 5), (None, 9), ("a complaint", 7)]
    for at, number in enumerate(order):
        why, at_ms = words[number]
        await model.apply("contacts/0", at, at + 1, [model.suppressed(mail.target, why, at_ms)])
    assert (await model.facts(mail, with_zone=False)).suppressed is None

    await model.apply("contacts/0", 3, 4, [model.suppressed(mail.target, "a bounce", 9)])
    assert (await model.facts(mail, with_zone=False)).suppressed == "a bounce"


async def test_a_batch_is_taken_where_it_begins_and_nowhere_else(model: ReadModel, mail: Delivery) -> None:
    """A projector that was killed, or has lost its partition, finds out with what it writes next; an empty Redis says so."""
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", contact(4))])
    for start in (0, 2):
        with pytest.raises(Moved):
            await model.apply("contacts/0", start, 3, [model.contact("c-17", contact(3))])

    assert (await model.facts(mail, with_zone=False)).revision == 4


async def test_an_erased_contact_leaves_a_mark_that_ends_and_comes_back_as_anybody(
    model: ReadModel, client: redis.Redis, mail: Delivery, prefix: str
) -> None:
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", contact(4, email="ada@home.example"))])
    tombstone = model.membership(membership_key("c-17", "cart", None), None)
    await model.apply("memberships/0", 0, 1, [tombstone])
    await model.apply("contacts/0", 1, 2, [model.contact("c-17", None)])
    gone, key = Keys(prefix).gone("c-17"), Keys(prefix).contact("c-17")
    assert await model.facts(mail, with_zone=True) == Facts(gone=True, consent={})
    assert not await client.exists(key) and await client.pttl(gone) > 0

    await model.apply("contacts/0", 2, 3, [model.contact("c-17", contact(1))])
    found = await model.facts(mail, with_zone=False)
    assert (found.revision, found.gone, await client.pttl(key)) == (1, False, -1)


async def test_a_mark_of_an_earlier_version_goes_when_its_contact_is_read_anew(
    model: ReadModel, client: redis.Redis, mail: Delivery, prefix: str
) -> None:
    """It stood in the contact's own key, with an end that a contact which came back must not have."""
    key = Keys(prefix).contact("c-17")
    await client.hset(key, "gone", "1")
    await client.pexpire(key, 60_000)
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", contact(1))])

    assert await client.pttl(key) == -1
    assert b"gone" not in await client.hgetall(key)

    await client.hset(key, "gone", "1")
    await model.apply("contacts/0", 1, 2, [model.contact("c-17", None)])
    assert not await client.exists(key)


async def test_it_is_whole_when_every_partition_was_read_to_its_end_once(
    model: ReadModel, client: redis.Redis, mail: Delivery
) -> None:
    async def ready() -> bool:
        return (await model.facts(mail, with_zone=False)).ready

    assert await ready()
    assert await model.clear("t") and not await ready()
    await model.begin(PARTITIONS)
    await model.filled("contacts/0")
    assert not await ready() and await model.filling() == 1
    await model.filled("memberships/0")
    assert await ready()
    await model.begin([*PARTITIONS, "events.own/0"])
    assert not await ready(), "a topic that came later is to be read as well"


async def test_what_an_earlier_version_has_read_is_not_what_this_one_has(
    client: redis.Redis, prefix: str, mail: Delivery
) -> None:
    """It has marks of who is gone and addresses that are suppressed under other names: mail would go to them."""
    await client.hset(f"{{{prefix}read}}:positions", mapping=dict.fromkeys(PARTITIONS, 7))
    model = ReadModel(client, prefix)
    assert not (await model.facts(mail, with_zone=False)).ready
    assert await model.begin(PARTITIONS) == dict.fromkeys(PARTITIONS, 0)
    assert not (await model.facts(mail, with_zone=False)).ready


async def test_thrown_away_it_leaves_the_ledger_alone_and_whoever_writes_begins_anew(
    model: ReadModel, client: redis.Redis, mail: Delivery, prefix: str
) -> None:
    await model.apply("contacts/0", 0, 1, [model.contact("c-17", contact(4))])
    others = [f"{{{prefix}ledger}}:caps:c-17", f"{prefix}read", f"{{{prefix}readx}}:contact:c-17"]
    for key in others:
        await client.set(key, 1)
    assert await model.clear("t")

    assert await client.exists(*others) == 3
    with pytest.raises(Moved):
        await model.apply("contacts/0", 1, 2, [])
    assert await model.begin(PARTITIONS) == dict.fromkeys(PARTITIONS, 0)
    assert (await model.facts(mail, with_zone=False)).revision is None


async def test_nobody_writes_while_it_is_being_thrown_away(model: ReadModel, client: redis.Redis, prefix: str) -> None:
    await client.set(f"{{{prefix}read}}:lock", "somebody")
    assert not await model.clear("t")
    for call in (model.begin(PARTITIONS), model.apply("contacts/0", 0, 1, [])):
        with pytest.raises(BeingRebuilt):
            await call
