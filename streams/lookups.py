"""Who is in which segment, asked of the read model in Redis: one contact, several segments, the members of one, sizes.

An answer is as new as the projector is. There is none while the read model isn't whole (`NotWhole`): what it lacks would be
told as not being so. What sequences have in place of segments is left out everywhere.
"""

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

from actions.read_model import Keys, membership_field, partition_name
from actions.read_model_scripts import ASK
from actions.sequences import LIFTED
from schemas.topics import MEMBERSHIPS
from schemas.transitions import Consent, MembershipRecord
from streams.dispatcher_setup import connect
from streams.errors import StreamsError
from streams.settings import Settings

MEMBERS_MAX: Final = 1_000
# there once a projector that lists members by segment has begun
_MARK: Final = partition_name(MEMBERSHIPS.name, 0)


class NotWhole(StreamsError):
    """The read model is still being read, or nobody reads it; whoever asked asks again later, or starts a projector."""


class Membership(msgspec.Struct, frozen=True):
    """Whether a contact is in a segment, since the instant when that was last told, by transition `seq` of that version.

    `key`: the value that it is of, in a segment with `per`.
    """

    segment: str
    key: str | None
    member: bool
    since: str
    seq: int
    version: int


class Contact(msgspec.Struct, frozen=True):
    """What is known of a contact: `traits` and `consent` (by message group, `""` every one), as told at `changed_at`.

    `memberships` has those that it was once in as well, by segment and key. `changed_at` is null where nothing was told but
    memberships.
    """

    contact: str
    traits: dict[str, Any]
    consent: dict[str, Consent]
    changed_at: str | None
    memberships: list[Membership]


class Member(msgspec.Struct, frozen=True):
    """A contact that is in a segment, since when, by which transition and version."""

    contact: str
    key: str | None
    since: str
    seq: int
    version: int


class Members(msgspec.Struct, frozen=True):
    """Some members of a segment, of `size` in all; `next`: what to ask for those after them, null where there are none."""

    segment: str
    size: int
    members: list[Member]
    next: str | None


class Lookups:
    """Asks the read model of one prefix. Every method raises `NotWhole`, and redis-py's errors when Redis can't be reached."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._client, self._keys = client, Keys(prefix)
        self._script = client.register_script(ASK)

    async def contact(self, contact: str) -> Contact | None:
        """What is known of a contact, as of one instant; None where it isn't known, or was erased."""
        keys = self._keys
        known, held = map(
            _pairs, await self._ask(("HGETALL", keys.contact(contact)), ("HGETALL", keys.memberships(contact)))
        )
        memberships = [_membership(value) for field, value in held.items() if not field.startswith(LIFTED)]
        if "revision" not in known and not memberships:
            return None
        return Contact(
            contact,
            msgspec.json.decode(known.get("traits", "{}"), type=dict[str, Any]),
            msgspec.json.decode(known.get("consent", "{}"), type=dict[str, Consent]),
            known.get("changed_at"),
            sorted(memberships, key=lambda each: (each.segment, each.key or "")),
        )

    async def is_member(self, contact: str, segments: Collection[str]) -> dict[str, bool]:
        """Of each of `segments`, whether a contact is in it; of one with `per`: with any of its values."""
        (held,) = await self._ask(("HGETALL", self._keys.memberships(contact)))
        asked, found = {each for each in segments if not each.startswith(LIFTED)}, dict.fromkeys(segments, False)
        for field, value in _pairs(held).items():
            segment = field.partition("\n")[0]
            if segment in asked and not found[segment]:
                found[segment] = _membership(value).member
        return found

    async def members(self, segment: str, after: str | None = None, limit: int = MEMBERS_MAX) -> Members:
        """At most `limit` members of a segment, 1 to `MEMBERS_MAX`, after those up to `after` (the `next` of an answer).

        They are in one order whatever happens meanwhile: who was a member all the time is told once. A page may have fewer
        than `limit` and a `next` all the same.
        """
        key = self._keys.members(segment)
        start = "-" if after is None else f"({after}"
        size, entries = await self._ask(("ZCARD", key), ("ZRANGEBYLEX", key, start, "+", "LIMIT", "0", str(limit + 1)))
        page = entries[:limit]
        last = page[-1] if len(entries) > limit else None
        return Members(segment, size, await self._details(segment, page), last)

    async def sizes(self) -> dict[str, int]:
        """How many members each segment has that has any; of one with `per`, a contact counts with each of its values."""
        (found,) = await self._ask(("HGETALL", self._keys.sizes))
        return {segment: int(count) for segment, count in sorted(_pairs(found).items())}

    async def _ask(self, *commands: tuple[str, ...]) -> Sequence[Any]:
        """What Redis answers to `commands`, each with its key next, as of one instant, at which the read model was whole."""
        questions = msgspec.msgpack.encode([(command, *arguments) for command, _, *arguments in commands])
        keys = [self._keys.positions, self._keys.filling, *(key for _, key, *_ in commands)]
        # in one script and one answer, as redis-py takes twenty microseconds for each command
        began, filling, answers = await self._script(keys=keys, args=[_MARK, questions])
        if not began:
            raise NotWhole(
                "expected contacts and memberships in Redis, no projector of this version has begun to read them: "
                "start one (`tidegate projector`)"
            )
        if filling:
            raise NotWhole(
                f"expected all contacts and memberships in Redis, they are still being read ({filling} partitions to go): "
                "ask again later, and see that a projector runs"
            )
        return msgspec.msgpack.decode(answers, type=list[Any])

    async def _details(self, segment: str, entries: Sequence[str]) -> list[Member]:
        """The members that `entries` name; who has left since they were asked for is left out."""
        named = [msgspec.json.decode(entry, type=list[str]) for entry in entries]
        found = await self._ask(
            *(("HGET", self._keys.memberships(contact), membership_field(segment, *key)) for contact, *key in named)
        )
        held = [(contact, _membership(value)) for (contact, *_), value in zip(named, found, strict=True) if value]
        return [Member(contact, each.key, each.since, each.seq, each.version) for contact, each in held if each.member]


@contextlib.asynccontextmanager
async def lookups(settings: Settings) -> AsyncIterator[Lookups]:
    """What asks the read model of `settings`, for as long as a command takes; raises `StreamsError` when Redis is away."""
    client = connect(settings)
    try:
        yield Lookups(client, settings.prefix)
    except (RedisError, OSError) as error:
        raise StreamsError(
            f"expected Redis to tell of contacts and segments, got {type(error).__name__}: see TIDEGATE_REDIS"
        ) from None
    finally:
        await client.aclose()


def _pairs(listed: Sequence[str]) -> dict[str, str]:
    """A hash, as Redis tells it to a script: a field, its value, and so on."""
    return dict(zip(listed[::2], listed[1::2], strict=True))


def _membership(value: str) -> Membership:
    record = msgspec.json.decode(value, type=MembershipRecord)
    return Membership(record.segment, record.key, record.member, record.since, record.seq, record.segment_version)
