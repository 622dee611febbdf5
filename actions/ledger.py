"""The ledger in Redis: which deliveries were taken, what became of them, and which wait for another attempt.

Invariants:
  * A delivery is taken here before its channel is called; what was taken and has no outcome may have been sent.
  * Taking comes with a lease, longer than any attempt: until it ends nobody else attempts the delivery. After it, the
    delivery is due again and said to be in doubt.
  * Every script first compares `epoch` with the run id of the Redis that it runs in. A Redis that was flushed, restored,
    restarted or replaced fails that test, and nothing is taken until `rebuild` has caught up with the outcomes in Kafka
    from the positions that this Redis holds: none in an empty one, old ones in a restored one.
  * Entries outlive the retention of the `deliveries` topic, so that no record read again can be taken for new.
  * What caps count (`limits.py`) is written with the outcomes, and so rebuilt with them.
  * Of two outcomes of one delivery the one with the greater rank stays (`Outcome.rank`), whatever the order they came.
  * A contact stands by name in what waits or is under way alone, and `forget` makes that due: everything else has its hash.

All keys share one hash tag, so that a Redis Cluster keeps them together.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import redis.asyncio as redis
from redis.exceptions import ResponseError

from actions import ledger_scripts as scripts
from actions.policies import CAP_MS_MAX
from schemas.deliveries import Delivery, Outcome
from schemas.erasures import contact_hash
from schemas.instants import parse_instant
from schemas.topics import DAY_MS

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

# deliveries are kept for 30 days; one that is read on the last of them may wait for a day's retries and a long pause
ENTRY_MS: Final = 45 * DAY_MS
LEASE_MS: Final = 45_000
REBUILD_LOCK_MS: Final = 60_000
LEARN_MAX: Final = 500  # outcomes at once: ten thousand took longer than a connection may
BEHIND_KEPT_MS: Final = 3_600_000


class Unsynced(Exception):
    """This Redis isn't known to hold all that was sent; `rebuild` from the outcomes comes first."""


class OutcomesUnread(Exception):
    """Kafka doesn't give the outcomes just now: a rebuild must wait."""


class LockLost(Exception):
    """The rebuild took too long between two steps, or Redis lost it: it starts over."""


@dataclass(frozen=True)
class Taken:
    """What `take` found. `state` is `new` (ours to attempt, number `attempts`) or how the delivery stands already.

    `outcome` is there for one that is `sent`, `failed` or `skipped`.
    """

    state: str
    attempts: int
    outcome: Outcome | None


@dataclass(frozen=True)
class Claimed:
    """A delivery that is due after `attempts` attempts; `in_doubt` says that the last of them may have sent it."""

    delivery: Delivery
    attempts: int
    in_doubt: bool


class Ledger:
    """The ledger of one prefix. Every method raises redis-py's errors when Redis can't be reached."""

    def __init__(self, client: "redis.Redis", prefix: str, *, lease_ms: int = LEASE_MS) -> None:
        self._client = client
        self._lease_ms = lease_ms
        self._owner = secrets.token_hex(8)
        self._stem = f"{{{prefix}ledger}}:"
        self.epoch, self._due = self._stem + "epoch", self._stem + "due"
        self._lock, self._positions, self._helds = self._stem + "lock", self._stem + "positions", self._stem + "helds"
        script = client.register_script
        self._take, self._claim, self._put_back = (
            script(scripts.GUARD + scripts.TAKE),
            script(scripts.GUARD + scripts.CLAIM),
            script(scripts.GUARD + scripts.PUT_BACK),
        )
        self._record, self._release = script(scripts.GUARD + scripts.RECORD), script(scripts.GUARD + scripts.RELEASE)
        self._begin = script(scripts.GUARD + scripts.BEGIN)
        self._learn = script(scripts.LOCK_GUARD + scripts.RECORD)
        self._forget = script(scripts.FORGET)
        self._set_positions, self._set_epoch = script(scripts.POSITIONS), script(scripts.OPEN)

    async def take(self, delivery: Delivery, now_ms: int) -> Taken:
        """Takes a delivery that was read from Kafka for its first attempt, unless it is known; raises `Unsynced`.

        May be asked again when Redis's answer got lost: what this very ledger took is new to it still.
        """
        return await self._take_or_park(delivery, self._due, now_ms + self._lease_ms, "take")

    async def park(self, delivery: Delivery, due_ms: int | None, held: str) -> Taken:
        """Lets a delivery that was read from Kafka wait, unless it is known; `due_ms` None: until `release` of `held`."""
        if due_ms is not None:
            return await self._take_or_park(delivery, self._due, due_ms, "park")
        await self._client.sadd(self._helds, self._held(held))
        return await self._take_or_park(delivery, self._held(held), 0, "park")

    async def _take_or_park(self, delivery: Delivery, where: str, score: int, what: str) -> Taken:
        keys = [self.epoch, *self._keys(delivery.id), where, self._open(delivery.contact)]
        body = msgspec.json.encode(delivery)
        state, attempts, outcome = await self._run(
            self._take, keys, [delivery.id, delivery.retry, body, score, what, ENTRY_MS, self._owner]
        )
        found = msgspec.json.decode(outcome, type=Outcome) if outcome else None
        if found is not None:
            found = msgspec.structs.replace(found, contact=delivery.contact)
        return Taken(state.decode(), attempts, found)

    async def claim(self, now_ms: int, limit: int) -> list[Claimed]:
        """Reserves up to `limit` deliveries that are due, earliest first, for as long as a lease; raises `Unsynced`."""
        stems = [self._stem + "entry:", self._stem + "body:"]
        args = [now_ms, now_ms + self._lease_ms, limit, *stems]
        found = await self._run(self._claim, [self.epoch, self._due], args)
        return [
            Claimed(msgspec.json.decode(body, type=Delivery), attempts, state == b"taken")
            for body, attempts, state in found
        ]

    async def begin(self, claimed: Claimed, now_ms: int) -> int | None:
        """Takes a claimed delivery for its next attempt, with a fresh lease; the attempt's number.

        None when somebody else has taken it, as it was claimed too long ago. Raises `Unsynced`.
        """
        delivery = claimed.delivery
        state = "taken" if claimed.in_doubt else "waiting"
        args = [delivery.id, delivery.retry, claimed.attempts, state, now_ms + self._lease_ms]
        keys = [self.epoch, self._keys(delivery.id)[0], self._due]
        return await self._run(self._begin, keys, args) or None

    async def put_back(self, claimed: Claimed, due_ms: int | None, held: str) -> None:
        """Lets a claimed delivery wait until `due_ms`, or (None) until `release` of `held`; raises `Unsynced`."""
        id, where = claimed.delivery.id, self._due
        if due_ms is None:
            where = self._held(held)
            await self._client.sadd(self._helds, where)
        await self._run(self._put_back, [self.epoch, self._due, where], [id, due_ms or 0])

    async def record(self, outcome: Outcome) -> None:
        """Writes down what became of an attempt, unless something later is known; raises `Unsynced`."""
        await self._run(self._record, *self._record_args(self.epoch, outcome, 0))

    async def forget(self, contact: str, before_ms: int, due_ms: int) -> None:
        """Of a contact that was erased at `before_ms`: what it was sent until then is counted no more.

        What waits is due at `due_ms`, to be left out unless the contact has come back; what is under way ends first. Needs no
        ledger that has caught up.
        """
        keys = [self._open(contact), self.caps(contact), self.caps_before(contact), self._due, self._helds]
        await self._run(self._forget, keys, [before_ms, due_ms, self._stem + "entry:"])

    async def helds(self) -> list[str]:
        """What deliveries are held for."""
        stem = self._held("")
        return sorted(_text(member).removeprefix(stem) for member in await self._client.smembers(self._helds))

    async def release(self, held: str) -> None:
        """Makes due what is held for `held`; raises `Unsynced`."""
        await self._run(self._release, [self.epoch, self._held(held), self._due, self._helds], [])

    async def next_due_ms(self) -> int | None:
        """When the next delivery is due, epoch ms; None when none waits."""
        found = await self._client.zrange(self._due, 0, 0, withscores=True)
        return int(found[0][1]) if found else None

    async def waiting(self) -> int:
        """How many deliveries wait for an attempt or have one under way, those held among them."""
        keys = [self._due, *(self._held(held) for held in await self.helds())]
        return sum([await self._client.zcard(key) for key in keys])

    async def in_sync(self) -> bool:
        """Whether this very Redis is known to hold all that was sent."""
        try:
            await self._run(self._claim, [self.epoch, self._due], [0, 0, 0, "", ""])
        except Unsynced:
            return False
        return True

    async def reconnect(self) -> None:
        """Drops connections that are idle: after an error they are most likely dead as well."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def rebuild(self, now_ms: int, read: "Callable[[dict[str, int]], AsyncIterator[Batch]]") -> bool:
        """Catches up with the outcomes in Kafka; False when somebody else is at it.

        `read` is given the positions that this Redis holds and yields batches from there to the end. Raises `LockLost`.
        """
        token = secrets.token_hex(16)
        if not await self._client.set(self._lock, token, nx=True, px=REBUILD_LOCK_MS):
            return False
        try:
            positions = {_text(k): int(v) for k, v in (await self._client.hgetall(self._positions)).items()}
            async for batch in read(positions):
                await self._learn_batch(batch, token, now_ms)
            await self._run(self._set_epoch, [self._lock, self.epoch], [token])
        except BaseException:
            await self._unlock(token)
            raise
        return True

    async def _learn_batch(self, batch: "Batch", token: str, now_ms: int) -> None:
        # an attempt under way when Redis was lost ends within the lease: nothing found waiting is attempted before
        not_before_ms, outcomes = now_ms + self._lease_ms, list(batch.outcomes)
        for first in range(0, len(outcomes), LEARN_MAX):
            calls = [self._record_args(self._lock, each, not_before_ms) for each in outcomes[first : first + LEARN_MAX]]
            async with self._client.pipeline(transaction=False) as pipeline:
                for keys, args in calls:
                    await self._learn(keys=keys, args=[*args, token], client=pipeline)
                await _executed(pipeline)
        flat = [part for item in batch.positions.items() for part in item]
        await self._run(self._set_positions, [self._lock, self._positions], [*flat, REBUILD_LOCK_MS, token])

    async def _unlock(self, token: str) -> None:
        """Best effort: the lock ends by itself."""
        try:
            if await self._client.get(self._lock) == token.encode():
                await self._client.delete(self._lock)
        except (redis.RedisError, OSError):
            pass

    def _record_args(self, guard: str, outcome: Outcome, not_before_ms: int) -> tuple[list[str], list[Any]]:
        body, due_ms, where = b"", 0, self._due
        if outcome.again is not None:
            body = msgspec.json.encode(outcome.again)
            due_ms = parse_instant(outcome.due_at, offset_required=True) or 0 if outcome.due_at else 0
        keys = [guard, *self._keys(outcome.delivery), self._due, where]
        keys += [self.caps(outcome.contact), self._open(outcome.contact)]
        # it outlives the contact, and a reason may quote the address
        kept = msgspec.json.encode(msgspec.structs.replace(outcome, contact="", reason=None, again=None))
        args = [outcome.delivery, outcome.retry, outcome.attempts, outcome.status, kept, body]
        counted = "" if outcome.transactional else self.counted(outcome)
        at_ms = parse_instant(outcome.at, offset_required=True) or 0
        in_doubt = "1" if outcome.in_doubt or outcome.code == "in_doubt" else ""
        return keys, [*args, due_ms, ENTRY_MS, not_before_ms, in_doubt, counted, at_ms, CAP_MS_MAX]

    def caps(self, contact: str) -> str:
        """Key of the messages to a contact that caps count."""
        return self.key(f"sent:{contact_hash(contact)}")

    def caps_before(self, contact: str) -> str:
        """The same as earlier versions named it."""
        return self.key(f"caps:{contact}")

    def counted(self, message: Delivery | Outcome) -> str:
        """What caps count of a message: channel and group, and the delivery's id, by which it counts once."""
        id = message.id if isinstance(message, Delivery) else message.delivery
        return f"{message.channel}\n{message.group or ''}\n{id}"

    def key(self, name: str) -> str:
        """A key beside the ledger's own, on the same node."""
        return self._stem + name

    async def uncount(self, delivery: Delivery) -> None:
        """Takes a delivery that is over out of what caps count."""
        await self._client.zrem(self.caps(delivery.contact), self.counted(delivery))

    async def behind_ms(self, delivery: Delivery, now_ms: int) -> int:
        """For how long the read model has been found behind a delivery: 0 when first."""
        key = self.key(f"behind:{delivery.id}")
        since = await self._client.set(key, now_ms, nx=True, get=True, px=BEHIND_KEPT_MS)
        return 0 if since is None else max(0, now_ms - int(since))

    def _keys(self, id: str) -> tuple[str, str]:
        return f"{self._stem}entry:{id}", f"{self._stem}body:{id}"

    def _open(self, contact: str) -> str:
        """Key of the deliveries to a contact that have no final outcome."""
        return f"{self._stem}open:{contact_hash(contact)}"

    def _held(self, held: str) -> str:
        return f"{self._stem}held:{held}"

    async def _run(self, script: Any, keys: list[str], args: list[Any]) -> Any:
        try:
            return await script(keys=keys, args=args)
        except ResponseError as error:
            raise known_error(error) from None


@dataclass(frozen=True)
class Batch:
    """Outcomes read from Kafka, and the positions after them by `topic-partition`."""

    outcomes: Iterable[Outcome]
    positions: dict[str, int]


async def _executed(pipeline: "Pipeline") -> None:
    try:
        await pipeline.execute()
    except ResponseError as error:
        raise known_error(error) from None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def known_error(error: ResponseError) -> Exception:
    """What a script refused with, as an exception of ours where it is one."""
    text = str(error)
    if "UNSYNCED" in text:
        return Unsynced("expected a ledger that has caught up with the outcomes")
    return LockLost("expected the rebuild's own lock") if "LOST" in text else error
