"""What is asked of the read model, against a real Redis: it is what the records that were taken in say."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis

from actions.read_model import Keys, ReadModel, Write, member_entry, partition_name
from schemas.transitions import Consent, ContactRecord, MembershipRecord, membership_key
from streams.lookups import Contact, Lookups, Member, Membership, NotWhole

pytestmark = pytest.mark.kafka  # it takes a Redis

AT = "2026-03-01T09:30:00.000Z"
ON = Consent(True, AT)
CONTACTS, MEMBERSHIPS = partition_name("contacts", 0), partition_name("memberships", 0)
# as contacts' ids may be
STRANGE = ["a b", "a/b", "a\nb", 'a"b', "a\\b", "{a}", "é", "\U0001f680", "a\u0000b", "A" * 1024]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    yield made
    await made.aclose()


class Projected:
    """A read model, read to its end, and what is asked of it."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.model, self.lookups = ReadModel(client, prefix), Lookups(client, prefix)
        self._ends = {CONTACTS: 0, MEMBERSHIPS: 0}

    async def fill(self) -> None:
        await self.model.begin(list(self._ends))
        for partition in self._ends:
            await self.model.filled(partition)

    async def take(self, partition: str, *writes: Write) -> None:
        end = self._ends[partition]
        self._ends[partition] += len(writes)
        await self.model.apply(partition, end, end + len(writes), writes)

    async def contact(self, id: str, **traits: Any) -> None:
        record = ContactRecord(id, traits, AT, 1, consent={"promo": ON})
        await self.take(CONTACTS, self.model.contact(id, msgspec.json.encode(record)))

    async def put(self, id: str, segment: str, member: bool = True, key: str | None = None, seq: int = 1) -> None:
        record = MembershipRecord(id, segment, member, AT, seq, 2, seq, key)
        await self.take(
            MEMBERSHIPS, self.model.membership(membership_key(id, segment, key), msgspec.json.encode(record))
        )

    async def remove(self, id: str, segment: str, key: str | None = None) -> None:
        await self.take(MEMBERSHIPS, self.model.membership(membership_key(id, segment, key), None))

    async def all_members(self, segment: str, limit: int) -> list[Member]:
        """Page by page."""
        page = await self.lookups.members(segment, limit=limit)
        found = page.members
        while page.next is not None:
            assert len(page.members) <= limit and len(found) <= page.size
            page = await self.lookups.members(segment, page.next, limit)
            found += page.members
        return found


@pytest.fixture
async def projected(client: redis.Redis, prefix: str) -> Projected:
    made = Projected(client, prefix)
    await made.fill()
    return made


async def test_a_contact_is_told_with_traits_consent_and_memberships_those_it_has_left_too(
    projected: Projected,
) -> None:
    await projected.contact("c-17", name="Zoë", orders=[1, 2])
    await projected.put("c-17", "cart")
    await projected.put("c-17", "buyer", member=False, seq=2)
    await projected.put("c-17", "viewed", key="b")
    await projected.put("c-17", "viewed", key="a")
    await projected.put("c-17", "~goal-welcome")

    assert await projected.lookups.contact("c-17") == Contact(
        "c-17",
        {"name": "Zoë", "orders": [1, 2]},
        {"promo": ON},
        AT,
        [
            Membership("buyer", None, False, AT, 2, 2),
            Membership("cart", None, True, AT, 1, 2),
            Membership("viewed", "a", True, AT, 1, 2),
            Membership("viewed", "b", True, AT, 1, 2),
        ],
    )


async def test_who_has_memberships_alone_is_known_and_who_has_nothing_or_was_erased_is_not(
    projected: Projected,
) -> None:
    await projected.put("quiet", "cart")
    await projected.contact("gone")
    await projected.take(CONTACTS, projected.model.contact("gone", None))

    found = await projected.lookups.contact("quiet")
    assert found is not None and (found.traits, found.consent, found.changed_at) == ({}, {}, None)
    assert await projected.lookups.contact("gone") is None
    assert await projected.lookups.contact("nobody") is None


async def test_of_several_segments_each_is_told_with_per_by_any_of_its_values(projected: Projected) -> None:
    await projected.put("c-17", "cart")
    await projected.put("c-17", "buyer", member=False, seq=2)
    await projected.put("c-17", "viewed", member=False, key="a", seq=2)
    await projected.put("c-17", "viewed", key="b")
    await projected.put("c-17", "seen", member=False, key="a", seq=2)

    asked = ["cart", "buyer", "viewed", "seen", "view", "unknown"]
    assert await projected.lookups.is_member("c-17", asked) == {
        "cart": True, "buyer": False, "viewed": True, "seen": False, "view": False, "unknown": False,
    }  # fmt: skip
    assert await projected.lookups.is_member("nobody", ["cart"]) == {"cart": False}


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_members_come_page_by_page_each_once_whatever_their_ids_are(projected: Projected, limit: int) -> None:
    for id in STRANGE:
        await projected.put(id, "cart")
        await projected.put(id, "viewed", key="k\n1")
        await projected.put(id, "viewed", key="k\n2")
        await projected.put(id, "carts", member=False, seq=2)
    members = await projected.all_members("cart", limit)
    assert sorted(each.contact for each in members) == sorted(STRANGE)
    assert {(each.key, each.since, each.seq, each.version) for each in members} == {(None, AT, 1, 2)}
    viewed = await projected.all_members("viewed", limit)
    assert sorted((each.contact, each.key or "") for each in viewed) == sorted(
        (id, key) for id in STRANGE for key in ("k\n1", "k\n2")
    )
    assert await projected.all_members("carts", limit) == []
    assert await projected.lookups.sizes() == {"cart": len(STRANGE), "viewed": 2 * len(STRANGE)}


async def test_who_stays_is_told_once_whoever_comes_and_goes_between_two_pages(projected: Projected) -> None:
    for number in range(0, 20, 2):
        await projected.put(f"c-{number:02}", "cart")
    first = await projected.lookups.members("cart", limit=4)
    assert [each.contact for each in first.members] == ["c-00", "c-02", "c-04", "c-06"]
    await projected.put("c-06", "cart", member=False, seq=2)  # on which the next page stands
    await projected.put("c-08", "cart", member=False, seq=2)
    await projected.put("c-01", "cart")
    await projected.put("c-11", "cart")

    second = await projected.lookups.members("cart", first.next, 4)
    assert [each.contact for each in second.members] == ["c-10", "c-11", "c-12", "c-14"]
    assert second.size == 10


async def test_who_leaves_between_the_list_and_what_is_told_of_it_is_left_out(
    projected: Projected, client: redis.Redis, prefix: str
) -> None:
    """A page is made in two steps, and a projector may write between them."""
    for id in ("left", "erased", "stays"):
        await projected.put(id, "cart")
    listed = Keys(prefix).members("cart")
    await projected.put("left", "cart", member=False, seq=2)
    await projected.remove("erased", "cart")
    await client.zadd(listed, {member_entry(id): 0 for id in ("left", "erased")})

    assert [each.contact for each in (await projected.lookups.members("cart")).members] == ["stays"]


async def test_the_size_follows_who_enters_leaves_comes_again_and_is_erased(projected: Projected) -> None:
    """The same record again, as after a projector's restart, counts once."""

    async def size() -> int:
        found = await projected.lookups.sizes()
        assert (await projected.lookups.members("cart")).size == found.get("cart", 0)
        return found.get("cart", 0)

    sizes = []
    for member, seq in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 3)):
        await projected.put("c-1", "cart", member, seq=seq)
        sizes.append(await size())
    await projected.put("c-2", "cart")
    sizes.append(await size())
    for id in ("c-1", "c-1", "c-2"):
        await projected.remove(id, "cart")
        sizes.append(await size())
    assert sizes == [1, 1, 0, 0, 1, 2, 1, 1, 0]
    assert await projected.lookups.sizes() == {}


async def test_what_sequences_have_in_place_of_segments_is_left_out(projected: Projected) -> None:
    await projected.put("c-17", "~goal-welcome")
    assert await projected.lookups.sizes() == {}
    assert (await projected.lookups.members("~goal-welcome")).members == []
    assert await projected.lookups.is_member("c-17", ["~goal-welcome"]) == {"~goal-welcome": False}
    assert await projected.lookups.contact("c-17") is None


async def test_nothing_is_told_before_all_is_read_and_while_it_is_read_anew(client: redis.Redis, prefix: str) -> None:
    """Half of an answer would say of the rest that it isn't so."""
    projected = Projected(client, prefix)

    async def refused() -> str:
        said = set()
        for asked in (
            projected.lookups.contact("c"), projected.lookups.is_member("c", ["s"]),
            projected.lookups.members("s"), projected.lookups.sizes(),
        ):  # fmt: skip
            with pytest.raises(NotWhole) as error:
                await asked
            said.add(str(error.value))
        return said.pop()

    assert "no projector" in await refused()
    await projected.model.begin([CONTACTS, MEMBERSHIPS])
    assert "(2 partitions to go)" in await refused()
    await projected.fill()
    assert await projected.lookups.sizes() == {}
    assert await projected.model.clear("t")
    assert "no projector" in await refused()


async def test_a_read_model_of_an_earlier_version_is_read_anew_and_told_of_only_then(
    client: redis.Redis, prefix: str
) -> None:
    """It lists no members, and has who is gone, and whom no mail goes to, by name."""
    keys = Keys(prefix)
    await client.hset(f"{keys.stem}positions", mapping={"contacts/0": 7, "memberships/0": 9})
    projected = Projected(client, prefix)
    with pytest.raises(NotWhole, match="no projector of this version"):
        await projected.lookups.sizes()

    assert await projected.model.begin([CONTACTS, MEMBERSHIPS]) == {CONTACTS: 0, MEMBERSHIPS: 0}
    with pytest.raises(NotWhole, match="2 partitions to go"):
        await projected.lookups.sizes()
    assert not await client.exists(f"{keys.stem}positions"), "or the checks of that version would go by what it was"
