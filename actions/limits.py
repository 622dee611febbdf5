"""Caps and rates, which count: in Redis, shared by all dispatchers, by Redis' own clock.

Invariants:
  * A message counts from the moment its first attempt begins, by its delivery's id, so that further attempts count nothing,
    and no longer once it has failed for good (`RECORD` in `ledger_scripts.py` takes it out). Nothing counts twice, as what
    counts is the id in a set.
  * What is counted is part of the ledger: under its epoch, rebuilt with it from the outcomes.
  * Of a rate, what finds no token is given the instant of one of its own, and takes it then: first come, first served, with
    nobody asking again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.exceptions import ResponseError

from actions import ledger_scripts as scripts
from actions.ledger import Ledger, known_error
from actions.policies import CAP_MS_MAX, Cap, Rate
from schemas.deliveries import Delivery
from schemas.instants import format_duration

SLOT_MS: Final = 3_600_000  # a turn that isn't taken by then is lost


@dataclass(frozen=True)
class Limited:
    """Which cap is full (of those that were asked), or None where it was the rate; and in how many ms it may go."""

    cap: Cap | None
    wait_ms: int

    @property
    def reason(self) -> str:
        """For people."""
        if self.cap is None:
            return "expected a turn at the receiver's rate, it comes later"
        about = [f"by {self.cap.channel}"] if self.cap.channel else []
        about += [f"of group {self.cap.group!r}"] if self.cap.group else []
        what = " ".join(["message" if self.cap.at_most == 1 else "messages", *about])
        return f"expected less than {self.cap.at_most} {what} in {format_duration(self.cap.within_ms)}, got that many"


class Limits:
    """The counters beside a ledger. Every method raises redis-py's errors when Redis can't be reached, and `Unsynced`."""

    def __init__(self, client: "redis.Redis", ledger: Ledger) -> None:
        self._ledger = ledger
        self._take = client.register_script(scripts.GUARD + scripts.LIMIT)

    async def take(self, delivery: Delivery, caps: Sequence[Cap], rate: Rate | None) -> Limited | None:
        """Counts the delivery's attempt if all of `caps` and the rate let it pass, in one step; None when they do."""
        host = host_of(delivery)
        ledger = self._ledger
        lane = f"{delivery.channel}:{host}"
        keys: list[str] = [
            ledger.epoch,
            ledger.caps(delivery.contact),
            ledger.key(f"rate:{lane}"),
            ledger.key(f"turns:{lane}"),
            ledger.caps_before(delivery.contact),
        ]
        interval_us = 0 if rate is None else round(1_000_000 / rate.per_second)
        counted = "" if delivery.transactional or not caps else ledger.counted(delivery)
        args: list[str | int] = [
            delivery.id,
            counted,
            CAP_MS_MAX,
            interval_us,
            0 if rate is None else rate.burst,
            SLOT_MS,
        ]
        flat = [
            part for cap in caps for part in (cap.channel or "", cap.group or "", cap.at_most, cap.within_ms, cap.then)
        ]
        try:
            what, at, wait_ms = await self._take(keys=keys, args=[*args, *flat])
        except ResponseError as error:
            raise known_error(error) from None
        if what == b"go":
            return None
        return Limited(caps[int(at) - 1] if what == b"capped" else None, int(wait_ms))


def host_of(delivery: Delivery) -> str:
    """Where the delivery goes: host and port of a URL, domain of an address, Slack's webhook, a topic; else nothing."""
    if delivery.channel in ("slack", "kafka"):
        return delivery.target.lower()
    if "://" in delivery.target:
        return urlsplit(delivery.target).netloc.lower()
    return delivery.target.rpartition("@")[2].lower() if "@" in delivery.target else ""
