"""Sequences as read and checked: what begins and ends one, and its steps as a flat list in which each knows the next.

`SEQUENCES.md` says what each means. `sequence_reading.py` makes them, `machine.py` leads contacts through them. Whatever a
sequence asks of a contact is the id of a segment: conditions that are written in place are `lifted` into segments of
their own.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from actions.rules import Rule
from schemas.transitions import Cause, Direction
from segments.conditions import GOAL as GOAL  # these are part of the model as well: taken from here
from segments.conditions import LIFTED as LIFTED
from segments.conditions import is_quiet as is_quiet

UTC: Final = "UTC"
# as a `tz`: the contact's own zone
CONTACT: Final = "contact"
# where a step leads that is the last one
END: Final = -1
UNDER_WAY_MAX: Final = 32
# at one instant of one contact
BEGUN_MAX: Final = 64
SETS_MAX: Final = 16
KEYS_MAX: Final = 1_000
# of all sequences together: with what is under way less than a contact's state may have (900 KiB)
KEYS_MAX_IN_ALL: Final = 10_000
VERSIONS_KEPT: Final = 10

AgainKind = Literal["once", "every_time", "per_key", "cooldown"]


@dataclass(frozen=True)
class Again:
    """How often a contact may begin a sequence; `cooldown_ms` of `cooldown` alone."""

    kind: AgainKind = "once"
    cooldown_ms: int = 0

    def allows(self, begun_ms: int, has_key: bool, now_ms: int) -> bool:
        """Whether a contact that last began it at `begun_ms` may again at `now_ms`; `has_key`: for this value before."""
        if self.kind == "per_key":
            return not has_key
        return self.kind == "every_time" or (self.kind == "cooldown" and now_ms - begun_ms >= self.cooldown_ms)


@dataclass(frozen=True)
class On:
    """A transition of a segment."""

    segment: str
    transition: Direction


@dataclass(frozen=True)
class Send:
    """A message; `message.id` is the sequence's. `while_`: the segment that the contact has to be in, None: any."""

    name: str
    then: int
    message: Rule
    while_: str | None
    group: str | None
    transactional: bool


@dataclass(frozen=True)
class Wait:
    """Goes on `for_ms` later."""

    name: str
    then: int
    for_ms: int


@dataclass(frozen=True)
class WaitTime:
    """Goes on when the clock of zone `tz` (an IANA name or `contact`) next shows `clock_ms` since midnight.

    `weekdays`: on these days alone, 0 for Monday; all seven where none is said.
    """

    name: str
    then: int
    clock_ms: int
    weekdays: frozenset[int]
    tz: str


@dataclass(frozen=True)
class WaitDate:
    """Goes on at the instant in a trait plus `offset_ms`; by `otherwise` where there is none (None: it ends, `no_date`)."""

    name: str
    then: int
    trait: str
    offset_ms: int
    tz: str
    otherwise: int | None


@dataclass(frozen=True)
class WaitFor:
    """Goes on by `then` once the contact is in (or out of, for `left`) a segment, by `otherwise` after `timeout_ms`."""

    name: str
    then: int
    on: On
    timeout_ms: int | None
    otherwise: int


@dataclass(frozen=True)
class Branch:
    """Goes on by `then` where the contact is in the segment, else by `otherwise`."""

    name: str
    then: int
    segment: str
    otherwise: int


@dataclass(frozen=True)
class Path:
    """A share of a split: fractions of 2^64 below `below` that no path before it has; `then` None: held out."""

    name: str
    below: int
    then: int | None


@dataclass(frozen=True)
class Split:
    """Goes on by one of `paths`, by the stable hash of `salt:contact`."""

    name: str
    salt: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Set:
    """Has the contact take an event of our own: an `identify` with `traits`, or a `list` event (`list`, `action`)."""

    name: str
    then: int
    traits: dict[str, Any] | None
    list: str | None
    action: str | None


@dataclass(frozen=True)
class End:
    """Ends the sequence."""

    name: str


Step = Send | Wait | WaitTime | WaitDate | WaitFor | Branch | Split | Set | End


class Asking(Protocol):
    """What a sequence asks in place, be the rest of it right or wrong; as of a `Sequence`."""

    @property
    def id(self) -> str:
        """The sequence's."""

    @property
    def lifted(self) -> dict[str, dict[str, Any]]:
        """Bodies of the segments that stand for conditions in place, by id."""

    @property
    def places(self) -> dict[str, str]:
        """Where in the sequence each segment that it asks for stands first, by id."""


@dataclass(frozen=True)
class Sequence:
    """One sequence, read and checked; `body` is the same as data, with templates' text in it.

    `lifted`: bodies of the segments made of the conditions in place, by id (`{id, when, tz}`). `places`: for errors, where
    in the sequence each of them stands first, and each that is named but by `on`. `begin` is the first step, `END` where
    there is none. `event_asked`: some message quotes the event behind the transition.
    """

    id: str
    on: On
    causes: frozenset[Cause]
    again: Again
    existing: bool
    max_age_ms: int
    goal: On | None
    goal_ends: bool
    exits: tuple[On, ...]
    steps: tuple[Step, ...]
    begin: int
    lifted: dict[str, dict[str, Any]]
    places: dict[str, str]
    event_asked: bool
    body: dict[str, Any]

    @property
    def zone(self) -> str:
        """Name of the zone that stands in where a contact has none of its own."""
        named = self.body.get("tz", UTC)
        return UTC if named == CONTACT else str(named)
