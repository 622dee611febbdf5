"""Sequences in the deterministic run: `segments.simulate` with what follows from its transitions (`tidegate simulate`)."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
import orjson

from actions.machine import InForce, Machine
from actions.own_events import OwnEvent
from actions.sequences import Sequence, is_quiet
from schemas.deliveries import Delivery
from schemas.instants import format_instant
from schemas.transitions import Transition
from segments import Definitions, Limits, RejectedLine, simulate

# sequences of a run are in force before its first event
BEFORE_MS = -(2**53)


class Told(msgspec.Struct, frozen=True):
    """What a sequence had to say: a `delivery`, an `outcome` (`skipped`), or an `event` of our own (as data).

    `at_ms` is when it happened, event time.
    """

    kind: Literal["delivery", "outcome", "event"]
    at_ms: int
    contact: str
    body: Any


def simulate_all(
    definitions: Definitions,
    sequences: Iterable[Sequence],
    lines: Iterable[bytes],
    until_ms: int | None = None,
    limits: Limits | None = None,
    *,
    keep_past: bool = True,
) -> Iterator[Transition | RejectedLine | Told]:
    """As `simulate`, with what sequences say in its place; `definitions` with what these have lifted.

    Transitions of lifted segments are left out, but for those of goals.
    """
    limits = limits or Limits()
    in_force = [InForce(sequence, 1, BEFORE_MS) for sequence in sequences]
    machine = Machine(in_force, {}, prompt_ms=limits.grace_ms)
    for one in simulate(definitions, lines, until_ms, limits=limits, keep_past=keep_past, follower=machine):
        if isinstance(one, Transition | RejectedLine):
            if isinstance(one, RejectedLine) or not is_quiet(one.segment):
                yield one
        else:
            yield told_of(one)


def told_of(said: Any) -> Told:
    """What a `Machine` said, as one shape."""
    at_ms, what = said
    if isinstance(what, OwnEvent):
        return Told("event", at_ms, what.contact, msgspec.json.decode(what.value))
    return Told("delivery" if isinstance(what, Delivery) else "outcome", at_ms, what.contact, what)


def delivery_line(told: Told, sequences: Iterable[Sequence]) -> bytes:
    """A delivery as `tidegate simulate` prints it, with its newline."""
    delivery: Delivery = told.body
    (sequence,) = (each for each in sequences if each.id == delivery.rule)
    shown = {
        "delivery": delivery.id,
        "sequence": delivery.rule,
        "step": sequence.steps[delivery.step].name,
        "contact": delivery.contact,
        "key": delivery.transition.key,
        "channel": delivery.channel,
        "target": delivery.target,
        "at": format_instant(told.at_ms),
    }
    there = {key: value for key, value in shown.items() if value is not None}
    return orjson.dumps(there, option=orjson.OPT_APPEND_NEWLINE)
