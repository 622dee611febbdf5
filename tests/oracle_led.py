"""A contact that sequences lead, as their oracle has it, and what is asked of a transition, a zone and a clock."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from actions import sequences as model
from tests import oracle_calendar as calendar
from tests.oracle_conditions import conditions_in
from tests.oracle_contact import Contact
from tests.oracle_definitions import Plan
from tests.oracle_values import look_up, read_instant

Transition = dict[str, Any]


class InForce(NamedTuple):
    """A sequence, its version, and since when it is in force."""

    sequence: model.Sequence
    version: int
    since_ms: int


class Told(NamedTuple):
    """What came out: `kind` is `delivery`, `outcome` or `event`, `body` what is said of it."""

    kind: str
    at_ms: int
    contact: str
    body: dict[str, Any]


@dataclass(eq=False)
class Entry:
    """A contact's way through a sequence: the step before which it stands, and since when.

    `released`: the `wait_for` at which it stands has come true, if only for a moment.
    """

    sequence: model.Sequence
    version: int
    transition: str
    key: str | None
    step: int
    since: int
    released: bool = False
    busy: bool = False
    split: dict[str, str] = field(default_factory=dict)
    converted: bool = False


@dataclass
class Led:
    """What is kept of a contact. `first`: its clock when it was first heard of; `…_at`: how many by instant."""

    first: int
    arrived: int = 0
    under_way: list[Entry] = field(default_factory=list)
    begun: dict[str, int] = field(default_factory=dict)
    keys: dict[str, list[str | None]] = field(default_factory=dict)
    taken_up: set[str] = field(default_factory=set)
    begun_at: Counter[int] = field(default_factory=Counter)
    set_at: Counter[int] = field(default_factory=Counter)
    pending: list[Transition] = field(default_factory=list)


def in_order(plan: Plan, transitions: list[Transition]) -> list[Transition]:
    """The transitions of one instant in the order in which they are looked at: by segment, each after those it names.

    First the segments that name none, by id; then, along the list, those of which each is the last that they name.
    """
    named = {
        id: {one["segment"] for one in conditions_in(segment["when"]) if "segment" in one}
        for id, segment in plan.segments.items()
    }
    order = sorted(id for id in named if not named[id])
    for number, last in enumerate(order):  # grows
        order += sorted(id for id in named if last in named[id] and named[id] <= {*order[: number + 1]})
    return sorted(transitions, key=lambda transition: order.index(transition["segment"]))


def step_of(entry: Entry) -> model.Step | None:
    return None if entry.step == model.END else entry.sequence.steps[entry.step]


def is_it(on: model.On, transition: Transition) -> bool:
    return (on.segment, on.transition) == (transition["segment"], transition["transition"])


def at_of(transition: Transition) -> int:
    at = read_instant(transition["at"])
    assert at is not None
    return at


def clock_of(contact: Contact) -> int:
    assert contact.clock is not None
    return contact.clock


def id_of(transition: Transition) -> str:
    """The transition's id: the first half of SHA-256 of segment, contact, key, seq and instant as JSON."""
    parts = [transition["segment"], transition["contact"], transition.get("key"), transition["seq"], at_of(transition)]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:32]


def zone_of(contact: Contact, entry: Entry, tz: str) -> tzinfo:
    """The zone that `tz` names; `contact` is the contact's own now, or else the sequence's."""
    own = calendar.zone_named(look_up(contact.traits, "timezone")) if tz == "contact" else calendar.zone_named(tz)
    return own or calendar.zone_named(entry.sequence.body.get("tz")) or UTC


def next_time(step: model.WaitTime, zone: tzinfo, now: int) -> int:
    """The first instant from now on at which a clock in the zone shows the time, on one of the weekdays."""
    today = calendar.local_day(now, zone)
    days = [today + timedelta(days=number) for number in range(-1, 9)]
    late = time(step.clock_ms // 3_600_000, step.clock_ms // 60_000 % 60)
    shown = [calendar.at_local(datetime.combine(day, late), zone) for day in days if day.weekday() in step.weekdays]
    return min(at for at in shown if at >= now)


def plainly(value: Any) -> Any:
    """The value with its exact numbers as JSON has them."""
    if isinstance(value, dict):
        return {key: plainly(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plainly(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
