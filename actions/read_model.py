"""Contacts, memberships and suppressed addresses in Redis: the projector writes them, the dispatcher's checks read them.

Who asks for a contact or for the members of a segment does it by `streams/lookups.py`.

Invariants:
  * Records of one partition and the position after them are written by one script, which does nothing unless this Redis
    stands where they begin. So a projector may be killed anywhere, two may own one partition for a while, and a Redis that
    was emptied or restored is noticed with the next record.
  * A topic's partition is in `filling` from its first position until it has been read to the end once. While any is, nobody
    can say what is not in here.
  * Of a contact that was erased there is a mark for `GONE_MS` and nothing else: by the hash of its id, as addresses that
    are not written to are by theirs, so that nobody who is gone stands in here.
  * Members by segment, and how many they are, change in the script that writes the membership.
  * Positions are of one `VERSION` of what is kept: another begins with each topic anew. Earlier ones are deleted, so that
    an earlier version's checks wait, and nothing that its projectors write counts as read here.

Keys share one hash tag, which is not the ledger's: all of this may be thrown away.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import redis.asyncio as redis

from actions import read_model_scripts as scripts
from actions.facts import Facts
from actions.ledger import ENTRY_MS
from actions.sequences import LIFTED
from schemas.deliveries import Delivery
from schemas.erasures import contact_hash
from schemas.transitions import Consent, MembershipRecord

# as long as a delivery may wait: none that was written before goes out afterwards
GONE_MS: Final = ENTRY_MS
REBUILD_LOCK_MS: Final = 30_000
UNLINK_KEYS: Final = 1_000
REBUILDING: Final = -2
# of what is kept, and how; 2: members by segment, hashes of who is gone and of addresses
VERSION: Final = 2


def partition_name(topic: str, number: int) -> str:
    """What the read model calls a partition of a topic (its short name)."""
    return f"{topic}/{number}"


class Moved(Exception):
    """This Redis doesn't stand where a batch begins; the projector asks for the position and reads on from there."""


class BeingRebuilt(Exception):
    """Somebody empties the read model just now; the projector waits until that is through."""


class _Contact(msgspec.Struct):
    """A `ContactRecord`, of which only the counter is read: the rest goes on as it came."""

    revision: int
    changed_at: str
    traits: msgspec.Raw = msgspec.Raw(b"{}")
    consent: msgspec.Raw = msgspec.Raw(b"{}")


class _Zone(msgspec.Struct):
    timezone: Any = None


@dataclass(frozen=True)
class Write:
    """What one record does to one key: `op` and its arguments as `read_model_scripts.APPLY` has them."""

    key: str
    op: str
    arguments: tuple[str | int, ...] = ()


class Keys:
    """The keys of one prefix's read model."""

    def __init__(self, prefix: str) -> None:
        self.stem = f"{{{prefix}read}}:"
        self.positions, self.filling = (f"{self.stem}{name}.{VERSION}" for name in ("positions", "filling"))
        self.earlier = self.stem + "positions", self.stem + "filling"
        self.lock, self.sizes = self.stem + "lock", self.stem + "sizes"

    def contact(self, contact: str) -> str:
        """A hash: traits, consent, revision, changed_at."""
        return f"{self.stem}contact:{contact}"

    def gone(self, contact: str) -> str:
        """There where a contact was erased."""
        return f"{self.stem}gone:{contact_hash(contact)}"

    def memberships(self, contact: str) -> str:
        """A hash: the record of each membership of a contact, by `membership_field`."""
        return f"{self.stem}memberships:{contact}"

    def members(self, segment: str) -> str:
        """A sorted set, all of one score: who is in a segment now, each as `member_entry` has it."""
        return f"{self.stem}members:{segment}"

    def suppressed(self, address: str) -> str:
        """Since when (epoch ms) an address is not written to, and why."""
        return f"{self.stem}suppressed:{hashlib.sha256(address.lower().encode()).hexdigest()}"


class ReadModel:
    """The read model of one prefix. Every method raises redis-py's errors when Redis can't be reached."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._begin, self._apply, self._facts = (
            client.register_script(script) for script in (scripts.BEGIN, scripts.APPLY, scripts.FACTS)
        )

    # ---- records as writes --------------------------------------------------------------------------------------------

    def contact(self, contact: str, value: bytes | None) -> Write:
        """Of a record of `contacts`; None is a tombstone. Raises `msgspec.DecodeError`, `UnicodeDecodeError`."""
        key, gone = self._keys.contact(contact), self._keys.gone(contact)
        if value is None:
            return Write(key, "gone", (gone, GONE_MS))
        record = msgspec.json.decode(value, type=_Contact)
        traits, consent = bytes(record.traits).decode(), bytes(record.consent).decode()
        return Write(key, "contact", (gone, traits, consent, record.revision, record.changed_at))

    def membership(self, key: bytes, value: bytes | None) -> Write:
        """Of a record of `memberships`. Raises `msgspec.DecodeError`, `UnicodeDecodeError`."""
        contact, segment, *named = msgspec.json.decode(key, type=list[str])
        where, field = self._keys.memberships(contact), membership_field(segment, *named)
        # nobody asks for the members of what a sequence has in place of a segment
        entry = "" if segment.startswith(LIFTED) else member_entry(contact, *named)
        listed = self._keys.members(segment), segment, entry
        if value is None:
            return Write(where, "no_member", (field, *listed))
        record = msgspec.json.decode(value, type=MembershipRecord)
        return Write(where, "member" if record.member else "former", (field, *listed, value.decode()))

    def suppressed(self, address: str, why: str | None, at_ms: int) -> Write:
        """That an address is not written to any more since `at_ms`, and why; None: that it may be. The last word counts."""
        return Write(self._keys.suppressed(address), "suppressed", (at_ms, why or ""))

    # ---- the projector ----------------------------------------------------------------------------------------------

    async def begin(self, partitions: Sequence[str]) -> dict[str, int]:
        """Where each of `partitions` (`topic/number`, all there are) goes on; raises `BeingRebuilt`."""
        keys = [self._keys.positions, self._keys.filling, self._keys.lock, *self._keys.earlier]
        found = await self._begin(keys=keys, args=list(partitions))
        if found == REBUILDING:
            raise BeingRebuilt
        return {name: int(position) for name, position in zip(partitions, found, strict=True)}

    async def apply(self, partition: str, start: int, end: int, writes: Iterable[Write]) -> None:
        """Writes what the records [start, end) of a partition do, and that they are done; raises `Moved`, `BeingRebuilt`."""
        keys = [self._keys.positions, self._keys.lock, self._keys.sizes]
        told: list[str] = []
        for write in writes:
            keys.append(write.key)
            told += (write.op, *map(str, write.arguments))
        # in one argument, as redis-py takes a microsecond for each; as text, as Lua's numbers are doubles
        found = await self._apply(keys=keys, args=[partition, start, end, msgspec.msgpack.encode(told)])
        if found == REBUILDING:
            raise BeingRebuilt
        if not found:
            raise Moved

    async def restart(self, partition: str) -> None:
        """Has a partition begin anew: its topic was made anew."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.sadd(self._keys.filling, partition)
            pipeline.hset(self._keys.positions, partition, "0")
            await pipeline.execute()

    async def filled(self, partition: str) -> None:
        """Says that a partition was read to its end."""
        await self._client.srem(self._keys.filling, partition)

    async def filling(self) -> int:
        """How many partitions have not been read to their end yet."""
        return int(await self._client.scard(self._keys.filling))

    async def clear(self, token: str) -> bool:
        """Throws all of it away; False when somebody else is at it. Projectors that run read anew when it is done."""
        if not await self._client.set(self._keys.lock, token, nx=True, px=REBUILD_LOCK_MS):
            return False
        await self._client.delete(
            self._keys.positions
        )  # first: from here on the dispatcher's checks know that it is gone
        keys: list[bytes] = []
        async for key in self._client.scan_iter(match=_pattern(self._keys.stem) + "*", count=UNLINK_KEYS):
            if key != self._keys.lock.encode():
                keys.append(key)
            if len(keys) >= UNLINK_KEYS:
                await self._client.unlink(*keys)
                keys.clear()
                await self._client.pexpire(self._keys.lock, REBUILD_LOCK_MS)
        if keys:
            await self._client.unlink(*keys)
        await self._client.delete(self._keys.lock)
        return True

    # ---- the dispatcher ---------------------------------------------------------------------------------------------

    async def facts(self, delivery: Delivery, *, with_zone: bool) -> Facts:
        """What is known of the delivery's contact, all of it as of one instant; `with_zone`: its `timezone` as well."""
        address = delivery.target if delivery.channel == "email" else ""
        keys = [
            self._keys.positions,
            self._keys.filling,
            self._keys.contact(delivery.contact),
            self._keys.memberships(delivery.contact),
        ]
        ending = () if delivery.ends is None else delivery.ends.on
        fields = [membership_field(each.segment, each.key) for each in ending]
        args = [delivery.while_segment or "", "1" if with_zone else "", *fields]
        keys += [self._keys.suppressed(address), self._keys.gone(delivery.contact)]
        found = await self._facts(keys=keys, args=args)
        ready, revision, consent, gone, traits, membership, suppressed, endings = found
        return Facts(
            ready=bool(ready),
            gone=bool(gone),
            revision=None if revision is None else int(revision),
            consent=msgspec.json.decode(consent, type=dict[str, Consent]) if consent else {},
            zone=msgspec.json.decode(traits, type=_Zone).timezone if traits else None,
            membership=_membership(membership),
            suppressed=_why(suppressed.decode()) if suppressed and address else None,
            endings=tuple(map(_membership, endings)),
        )

    async def traits(self, contact: str) -> dict[str, Any] | None:
        """The contact's traits; None where it isn't known."""
        found = await self._client.hget(self._keys.contact(contact), "traits")
        return None if found is None else msgspec.json.decode(found, type=dict[str, Any])


def membership_field(segment: str, key: str | None = None) -> str:
    """Field of a membership: the segment's id; with `per` a line end, which no id has, and the value after it."""
    return segment if key is None else f"{segment}\n{key}"


def member_entry(contact: str, key: str | None = None) -> str:
    """Entry of a member: JSON `[contact]`, with `per` `[contact, key]`, as either may hold any character."""
    return msgspec.json.encode([contact] if key is None else [contact, key]).decode()


def _membership(found: bytes | None) -> MembershipRecord | None:
    return msgspec.json.decode(found, type=MembershipRecord) if found else None


def _why(suppressed: str) -> str | None:
    """Why nothing is sent to an address, None where mail may go to it again."""
    return suppressed.partition(" ")[2] or None


def _pattern(text: str) -> str:
    """`text` as a pattern that matches nothing else."""
    return "".join(f"\\{character}" if character in "*?[]\\^-" else character for character in text)
