"""The time ranges of section 6 as stretches of instants that move with now: which events lie in them, and until when.

A stretch is `[start, end)` in epoch ms. Events never lie after the clock, so a stretch that reaches beyond now holds no
more than one that ends there. Where the zone is the contact's, a change of its `timezone` moves the stretch at once, to
and fro: an event is forgotten only when no zone on earth can bring it back.
"""

from segments.calendar import UTC_ZONE, Zone
from segments.conditions import Ago, Fixed, Local, Range, Span, Tz, Within
from segments.contact import TIMEZONE, Contact, fixed_zone, zone_of
from segments.dates import comes_and_goes_ms, turns_ms
from segments.predicate import NO_TRAITS, first_after

# before and after all instants that an event can have
BEFORE_ALL_MS = -(2**53)
AFTER_ALL_MS = 2**53
# no zone is further from UTC than 15 h 57 min (Manila's local mean time until 1844)
OFFSET_MS_MAX = 16 * 3_600_000
_DAYS_CACHED_MAX = 512
ZONE_TRAITS = frozenset((TIMEZONE,))


class Stretch:
    """The instants that a range holds; this one holds all, as where no range is given.

    `moves`: time alone changes what it holds. `traits`: whose change does, the contact's zone. `rolling_ms`: W of
    `within: W`, which leaves on the hot path reckon with themselves, else 0.
    """

    def __init__(self) -> None:
        self.moves: bool = False
        self.traits: frozenset[str] = NO_TRAITS
        self.rolling_ms: int = 0

    def bounds(self, now_ms: int, contact: Contact) -> tuple[int, int]:
        """`[start, end)` at `now_ms`."""
        return BEFORE_ALL_MS, AFTER_ALL_MS

    def next_ms(self, at_ms: int, now_ms: int, contact: Contact) -> int | None:
        """The first instant after now at which an event of `at_ms` comes in or goes out; None: never again."""
        return None

    def forgotten_ms(self, now_ms: int) -> int:
        """No event before this instant will ever be in again."""
        return BEFORE_ALL_MS


class Rolling(Stretch):
    """`within` and `ago`: (now - far, now - near]; without `far_ms`, all that is at or before now - near."""

    def __init__(self, near_ms: int, far_ms: int | None) -> None:
        super().__init__()
        self.moves = True
        self.near_ms = near_ms
        self.far_ms = far_ms
        self.rolling_ms = far_ms if near_ms == 0 and far_ms is not None else 0

    def bounds(self, now_ms: int, contact: Contact) -> tuple[int, int]:
        return self.forgotten_ms(now_ms), now_ms - self.near_ms + 1

    def next_ms(self, at_ms: int, now_ms: int, contact: Contact) -> int | None:
        if at_ms + self.near_ms > now_ms:
            return at_ms + self.near_ms
        if self.far_ms is not None and at_ms + self.far_ms > now_ms:
            return at_ms + self.far_ms
        return None

    def forgotten_ms(self, now_ms: int) -> int:
        return BEFORE_ALL_MS if self.far_ms is None else now_ms - self.far_ms + 1


class Between(Stretch):
    """`since` and `until`: the same instants at all times, but where they are local to the contact's zone.

    `limits_ms`: `[first, end)` of the events that it may ever hold, in whatever zone.
    """

    def __init__(self, since: int | Local | None, until: int | Local | None, tz: Tz) -> None:
        super().__init__()
        if isinstance(since, Local) or isinstance(until, Local):
            self.traits = ZONE_TRAITS
        self.since = since
        self.until = until
        self.tz = tz
        self.limits_ms = (
            _limit(since, BEFORE_ALL_MS, -OFFSET_MS_MAX),
            _limit(until, AFTER_ALL_MS, OFFSET_MS_MAX),
        )

    def bounds(self, now_ms: int, contact: Contact) -> tuple[int, int]:
        if not self.traits:
            return self.limits_ms
        zone = zone_of(self.tz, contact)
        return _instant_ms(self.since, BEFORE_ALL_MS, zone), _instant_ms(self.until, AFTER_ALL_MS, zone)

    def forgotten_ms(self, now_ms: int) -> int:
        return self.limits_ms[0]


class Periods(Stretch):
    """A calendar word: the periods of a `Span`, by the clock of `tz`."""

    def __init__(self, span: Span, tz: Tz) -> None:
        super().__init__()
        self.moves = True
        if tz.contact:
            self.traits = ZONE_TRAITS
        self.span = span
        self.tz = tz
        self._zone = fixed_zone(tz)
        # of a fixed zone, by day, the bounds and the instants [from, to) at which they are those: most events are of a few
        self._by_day: dict[int, tuple[int, int, int, int]] = {}
        # those looked up last
        self._latest: tuple[int, int, int, int] = (0, 0, 0, 0)
        # of a fixed zone, by day, when its events come in and go out
        self._turns: dict[int, tuple[int, int]] = {}

    def bounds(self, now_ms: int, contact: Contact) -> tuple[int, int]:
        return (
            zone_of(self.tz, contact).span_ms(self.span, now_ms) if self._zone is None else self._fixed_bounds(now_ms)
        )

    def _fixed_bounds(self, now_ms: int) -> tuple[int, int]:
        start_ms, end_ms, from_ms, to_ms = self._latest
        if from_ms <= now_ms < to_ms:
            return start_ms, end_ms
        assert self._zone is not None
        day = self._zone.day(now_ms)
        found = self._by_day.get(day)
        if found is None:
            if len(self._by_day) >= _DAYS_CACHED_MAX:
                self._by_day.clear()
            from_ms, to_ms = self._zone.span_ms(Span(self.span.unit, 0, 0), now_ms)
            found = self._by_day[day] = (*self._zone.span_ms(self.span, now_ms), from_ms, to_ms)
        self._latest = found
        return found[0], found[1]

    def next_ms(self, at_ms: int, now_ms: int, contact: Contact) -> int | None:
        zone = self._zone
        if zone is None:
            zone = zone_of(self.tz, contact)
            return turns_ms(zone, self.span, zone.day(at_ms), now_ms)
        day = zone.day(at_ms)
        turns = self._turns.get(day)
        if turns is None:
            if len(self._turns) >= _DAYS_CACHED_MAX:
                self._turns.clear()
            turns = self._turns[day] = comes_and_goes_ms(zone, self.span, day)
        return first_after(now_ms, *turns)

    def forgotten_ms(self, now_ms: int) -> int:
        if self._zone is not None:
            return self._fixed_bounds(now_ms)[0]
        return UTC_ZONE.span_ms(self.span, now_ms - OFFSET_MS_MAX)[0] - OFFSET_MS_MAX


EVER = Stretch()


def stretch(range: Range | None, tz: Tz) -> Stretch:
    """The stretch that a range of a condition in `tz` means."""
    if range is None:
        return EVER
    if isinstance(range, Within):
        return Rolling(0, range.ms)
    if isinstance(range, Ago):
        return Rolling(range.near_ms, range.far_ms)
    if isinstance(range, Fixed):
        return Between(range.since, range.until, tz)
    return Periods(range, tz)


def _instant_ms(instant: int | Local | None, default_ms: int, zone: Zone) -> int:
    if instant is None:
        return default_ms
    return instant if isinstance(instant, int) else zone.instant_ms(instant.day, instant.ms)


def _limit(instant: int | Local | None, default_ms: int, apart_ms: int) -> int:
    """The earliest or latest instant that it can be, in whatever zone."""
    return _instant_ms(instant, default_ms, UTC_ZONE) + (apart_ms if isinstance(instant, Local) else 0)
