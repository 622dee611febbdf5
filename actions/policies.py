"""Policies: what holds for every message, whoever sends it. Read and checked; `README.md` says what each means."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from schemas.deliveries import Channel, Delivery
from schemas.instants import DAY_MS
from segments.calendar import UTC_ZONE, Zone, zone

Then = Literal["drop", "later"]
# outcomes are kept for 30 days, and caps are counted anew from them where Redis was lost
CAP_MS_MAX: Final = 30 * DAY_MS
CONTACT: Final = "contact"
# channels by which somebody is spoken to: of the others neither consent nor quiet hours are asked unless said so
SPEAKING: Final[frozenset[Channel]] = frozenset(("email", "sms", "inapp"))
WAKING: Final[frozenset[Channel]] = frozenset(("email", "sms"))


@dataclass(frozen=True)
class Cap:
    """At most `at_most` messages to one contact in the last `within_ms`; of any channel, any group where there is none."""

    at_most: int
    within_ms: int
    channel: Channel | None = None
    group: str | None = None
    then: Then = "drop"

    def covers(self, delivery: Delivery) -> bool:
        """Whether it is about such a delivery."""
        return self.channel in (None, delivery.channel) and self.group in (None, delivery.group)


@dataclass(frozen=True)
class QuietHours:
    """From `from_ms` to `to_ms` since midnight, open at the end, maybe over midnight; `tz`: an IANA name or `contact`."""

    from_ms: int
    to_ms: int
    tz: str = CONTACT
    then: Then = "later"
    channels: frozenset[Channel] = WAKING

    def end_ms(self, now_ms: int, here: Zone) -> int | None:
        """When the quiet hours that `now_ms` lies in end, by the clock of `here`; None outside of them."""
        day = here.day(now_ms)
        begin_ms, end_ms = here.instant_ms(day, self.from_ms), here.instant_ms(day, self.to_ms)
        if self.from_ms < self.to_ms:
            return end_ms if begin_ms <= now_ms < end_ms else None
        if now_ms < end_ms:
            return end_ms
        return here.instant_ms(day + 1, self.to_ms) if now_ms >= begin_ms else None


@dataclass(frozen=True)
class Rate:
    """At most `per_second` attempts a second at one host over a channel, and `burst` at once; `host`: at this one alone."""

    channel: Channel
    per_second: float
    burst: int
    host: str | None = None


@dataclass(frozen=True)
class Policy:
    """One policy; `body` is the same as data. `zone`: of contacts that say no zone."""

    id: str
    body: dict[str, Any]
    explicit: bool = False
    caps: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    rates: tuple[Rate, ...] = ()
    zone: Zone = UTC_ZONE


@dataclass(frozen=True)
class Policies:
    """All policies in force, by id: a message has to pass every one. `explicit`: silence is no consent."""

    explicit: bool = False
    policies: tuple[Policy, ...] = ()
    caps: tuple[Cap, ...] = field(init=False)
    rates: tuple[Rate, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "caps", tuple(cap for each in self.policies for cap in each.caps))
        object.__setattr__(self, "rates", tuple(rate for each in self.policies for rate in each.rates))

    @property
    def consent_is_explicit(self) -> bool:
        """Whether silence is no consent."""
        return self.explicit or any(policy.explicit for policy in self.policies)

    def caps_of(self, delivery: Delivery) -> tuple[Cap, ...]:
        """The caps that the delivery has to pass."""
        return () if delivery.transactional else tuple(cap for cap in self.caps if cap.covers(delivery))

    def rate_of(self, channel: Channel, host: str) -> Rate | None:
        """The rate of a channel and host: the first that names the host, else the first of the channel."""
        of_channel = [rate for rate in self.rates if rate.channel == channel and rate.host in (None, host)]
        return min(of_channel, key=lambda rate: rate.host is None, default=None)

    def quiet_of(self, delivery: Delivery) -> Iterable[tuple[Policy, QuietHours]]:
        """The quiet hours that the delivery has to keep."""
        for policy in self.policies:
            quiet = policy.quiet_hours
            if quiet is not None and delivery.channel in quiet.channels and not delivery.transactional:
                yield policy, quiet


def zone_of(value: object, otherwise: Zone) -> Zone:
    """The zone that a contact says; `otherwise` where it says none."""
    return (zone(value) if isinstance(value, str) else None) or otherwise
