"""The definitions as data: what a segment file says once it has been read and checked (language page, sections 4-8).

Durations and instants are epoch milliseconds here, names are sorted, and nothing is left that needs checking. This is
the vocabulary that the compiler reads; how it was spelled in the file is forgotten, but for the bodies.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final


@dataclasses.dataclass(frozen=True)
class Tz:
    """The zone of calendar words: the IANA `name`, or with `contact` the contact's own, and `name` where it has none."""

    name: str = "UTC"
    contact: bool = False


UTC = Tz()

# what the ids of segments begin with that stand for conditions of sequences: no segment that anybody wrote has such an id
LIFTED: Final = "~"
# what ids of lifted segments begin with that are goals
GOAL: Final = f"{LIFTED}goal-"


def is_quiet(segment: str) -> bool:
    """Whether nobody is told of a segment's transitions: it is lifted, and no goal, whose transitions are conversions.

    Which it is stands in the id, so that it doesn't change as sequences do, and what is told of a segment is whole.
    """
    return segment.startswith(LIFTED) and not segment.startswith(GOAL)


@dataclasses.dataclass(frozen=True)
class Local:
    """An instant by the local calendar: `day` since 1970-01-01, `ms` since midnight by the clock; the zone is known later."""

    day: int
    ms: int = 0


@dataclasses.dataclass(frozen=True)
class TraitRef:
    """`{trait: path}` on the right side: the value that the trait has now."""

    path: str


@dataclasses.dataclass(frozen=True)
class Span:
    """A calendar word: the periods `first` to `last` (inclusive, 0 is the one that holds now) of `unit`.

    `unit`: `day`, `week` (from Monday), `month` or `year`. `yesterday` is `day, -1, -1`; `last_weeks: 2` is `week, -1, 0`.
    """

    unit: str
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Test:
    """One operator of section 5 with its right side, checked.

    `argument`: a literal or a tuple of them; number or `(low, high)`; bool for `exists`; text; a `Where` for items; ms
    for rolling operators; epoch ms or `Local` (only where `tz` is the contact's) for absolute ones; a tuple of days
    since 1970 for `on_day`; `Span` for `calendar` and `anniversary`; a tuple of number tests for `age`; or a `TraitRef`.
    `tz` is that of the condition around it.
    """

    operator: str
    argument: Any
    ignore_case: bool = False
    tz: Tz = UTC


@dataclasses.dataclass(frozen=True)
class Where:
    """A test of an event's properties: `kind` is `all`, `any` or `none` over `parts`, or `path` with one test."""

    kind: str
    parts: tuple["Where", ...] = ()
    path: str = ""
    test: Test | None = None


@dataclasses.dataclass(frozen=True)
class Names:
    """Which events: those in `names`, or with `except_`, all but the names and prefixes in it; or a `prefix`."""

    names: tuple[str, ...] = ()
    prefix: str | None = None
    except_: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def matches(self, name: str) -> bool:
        """Whether an event of this name is meant."""
        if self.except_ is not None:
            names, prefixes = self.except_
            return name not in names and not (prefixes and name.startswith(prefixes))
        return name in self.names if self.prefix is None else name.startswith(self.prefix)


@dataclasses.dataclass(frozen=True)
class Matching:
    """Which events count: of these `names`, passing `where`, at a local time and on a local weekday of their own.

    `local_time`: `(from, to)` in ms since midnight, from <= t < to, past midnight where to <= from; `to` may be 24 h.
    `weekdays`: ascending, 0 is Monday.
    """

    names: Names
    where: Where | None = None
    local_time: tuple[int, int] | None = None
    weekdays: tuple[int, ...] | None = None
    tz: Tz = UTC


@dataclasses.dataclass(frozen=True)
class Within:
    """In (now - `ms`, now]."""

    ms: int


@dataclasses.dataclass(frozen=True)
class Ago:
    """At or before now - `near_ms`, and after now - `far_ms` where that is given."""

    near_ms: int
    far_ms: int | None = None


@dataclasses.dataclass(frozen=True)
class Fixed:
    """`since` <= t < `until`; either may be None, each epoch ms or (with the contact's zone) `Local`."""

    since: int | Local | None = None
    until: int | Local | None = None


Range = Within | Ago | Fixed | Span


@dataclasses.dataclass(frozen=True)
class Measure:
    """What is measured over the matching events in the range; `kind` is its key of section 6.

    `tests`: number tests of `count sum avg min max distinct` (all hold), the one date test of `first_at last_at`.
    `path`: what `of` names. `where`: of `earliest latest`. `every_ms periods at_least times`: of `regularly`.
    """

    kind: str
    tests: tuple[Test, ...] = ()
    path: str = ""
    where: Where | None = None
    every_ms: int = 0
    periods: int = 0
    at_least: int = 0
    times: int = 1


@dataclasses.dataclass(frozen=True)
class All:
    """Every one of `conditions` is true."""

    conditions: tuple["Condition", ...]


@dataclasses.dataclass(frozen=True)
class Any_:
    """At least one of `conditions` is true."""

    conditions: tuple["Condition", ...]


@dataclasses.dataclass(frozen=True)
class Not:
    """`condition` is false."""

    condition: "Condition"


@dataclasses.dataclass(frozen=True)
class Held:
    """`condition` is true and has been for at least `for_ms` without a break."""

    condition: "Condition"
    for_ms: int


@dataclasses.dataclass(frozen=True)
class Everyone:
    """The contact is known: true for whoever has a state."""


@dataclasses.dataclass(frozen=True)
class Known:
    """The time of the contact's first event, of any type, passes the date operator `test`."""

    test: Test


@dataclasses.dataclass(frozen=True)
class TraitIs:
    """The trait at `path` passes `test`."""

    path: str
    test: Test


@dataclasses.dataclass(frozen=True)
class EventIs:
    """`measure` holds over the `matching` events in `range` (None: ever), with `by` for some value of that property."""

    matching: Matching
    range: Range | None
    measure: Measure
    by: str | None = None


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a sequence: an event, or with `absent` none such; `within_ms` None: any time later."""

    matching: Matching
    within_ms: int | None = None
    absent: bool = False


@dataclasses.dataclass(frozen=True)
class SequenceIs:
    """Events that match the `steps` one after the other; `by`, `completed_ms` and `started_ms` as in section 7."""

    steps: tuple[Step, ...]
    by: str | None = None
    completed_ms: int | None = None
    started_ms: int | None = None


@dataclasses.dataclass(frozen=True)
class EventRule:
    """`points` for each matching event: with `expires_ms` until then, with `lasting` for ever, else decaying.

    A rule of a score without `half_life` that says neither is `lasting`.
    """

    matching: Matching
    points: Any
    expires_ms: int | None = None
    lasting: bool = False


@dataclasses.dataclass(frozen=True)
class TraitRule:
    """`points` while the trait condition holds."""

    condition: TraitIs
    points: Any


@dataclasses.dataclass(frozen=True)
class Score:
    """A checked score: the sum of its rules, clamped to `minimum` and `maximum` where given."""

    id: str
    rules: tuple[EventRule | TraitRule, ...]
    half_life_ms: int | None = None
    minimum: Any = None
    maximum: Any = None
    body: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False, compare=False)


@dataclasses.dataclass(frozen=True)
class ScoreIs:
    """The value of the score `id` passes the number `test`."""

    id: str
    test: Test


@dataclasses.dataclass(frozen=True)
class InSegment:
    """The contact is in the segment `id`, after that one's hold."""

    id: str


@dataclasses.dataclass(frozen=True)
class Subscribed:
    """Consent to the message group is on; `default` before anything was heard of it."""

    group: str
    default: bool = False


@dataclasses.dataclass(frozen=True)
class Listed:
    """The contact is on the static list."""

    list: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """The contact falls into the first `percent` of the sample that `salt` names."""

    percent: Any
    salt: str


Leaf = Known | TraitIs | EventIs | SequenceIs | ScoreIs | Subscribed | Listed | Sample
Condition = All | Any_ | Not | Held | Everyone | InSegment | Leaf


@dataclasses.dataclass(frozen=True)
class Segment:
    """A checked definition: `when` must hold for `enter_ms` before entered, and fail for `leave_ms` before left.

    `per`: the property whose values key the memberships. `carry`: traits given with each transition. `silent`: what its
    backfill changes is left alone by actions. `body` is as it was written.
    """

    id: str
    when: Condition
    enter_ms: int
    leave_ms: int
    body: dict[str, Any] = dataclasses.field(hash=False, compare=False)
    per: str | None = None
    carry: tuple[str, ...] = ()
    silent: bool = False


@dataclasses.dataclass(frozen=True)
class Definitions:
    """The segments and scores of one or more files, as they were written; every score that a segment reads is there."""

    segments: tuple[Segment, ...]
    scores: tuple[Score, ...] = ()


def parts_of(condition: Condition) -> tuple[Condition, ...]:
    """The conditions right below this one."""
    if isinstance(condition, All | Any_):
        return condition.conditions
    return (condition.condition,) if isinstance(condition, Not | Held) else ()


def walk(condition: Condition) -> Iterator[Condition]:
    """The condition and all below it, each before those below it."""
    yield condition
    for part in parts_of(condition):
        yield from walk(part)
