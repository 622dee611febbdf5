"""The deterministic run (language page, section 11): definitions and lines of events in, transitions out, no broker."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from schemas.events import Event, parse_event
from schemas.rejected import Reason, Rejection
from schemas.transitions import Transition
from segments.compile import compile_program
from segments.conditions import Definitions
from segments.evaluate import Program
from segments.program import Limits
from segments.state import ContactState


class RejectedLine(NamedTuple):
    """A line that is no event: `line` counts from 1, `reason` says what was expected and what came."""

    line: int
    reason: str


def simulate(
    definitions: Definitions,
    lines: Iterable[bytes],
    until_ms: int | None = None,
    grace_ms: int = 2_000,
    limits: Limits | None = None,
) -> Iterator[Transition | RejectedLine]:
    """Transitions and rejected lines, as they come; `lines` in order of arrival, blank ones skipped.

    After the last line every contact plays what is due up to the greatest arrival less the grace and, with `until_ms`,
    up to that. Time passes for a contact by its own events alone until then.
    """
    program = compile_program(definitions, limits=limits or Limits(grace_ms=grace_ms))
    states: dict[str, ContactState] = {}
    greatest_ms: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event, received_ms = _read(line)
        except Rejection as rejection:
            yield RejectedLine(number, rejection.sentence)
            continue
        step = program.apply(states.get(event.contact), event, received_ms, received_ms)
        assert step.state is not None
        states[event.contact] = step.state
        arrived_ms = max(received_ms, step.state.arrived_ms)
        greatest_ms = arrived_ms if greatest_ms is None else max(greatest_ms, arrived_ms)
        yield from step.transitions
    if greatest_ms is not None:
        end_ms = greatest_ms - program.limits.grace_ms
        yield from _play_out(program, states, end_ms if until_ms is None else max(end_ms, until_ms))


def _read(line: bytes) -> tuple[Event, int]:
    """The event of a line and its arrival: `receivedAt`, or else the `timestamp`."""
    event = parse_event(line.strip())
    received_ms = event.received_at_ms if event.received_at_ms is not None else event.occurred_at_ms
    if received_ms is None:
        raise Rejection(Reason.UNREADABLE_TIME, "expected a `timestamp` or `receivedAt`, got neither")
    return event, received_ms


def _play_out(program: Program, states: dict[str, ContactState], until_ms: int) -> Iterator[Transition]:
    for state in states.values():
        if state.due_ms is not None and state.due_ms <= until_ms:
            yield from program.advance(state, until_ms)


def line_of(transition: Transition) -> bytes:
    """A transition as `tidegate simulate` prints it, with its newline."""
    return orjson.dumps(transition.simulated(), option=orjson.OPT_APPEND_NEWLINE)
