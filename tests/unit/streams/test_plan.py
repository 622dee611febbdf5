"""The records of a step: as of which of the contact's changes its messages and memberships are."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from actions import Rules, load_sequences
from actions.compiled import compile_sequences
from actions.machine import InForce
from schemas.deliveries import Delivery
from schemas.events import parse_event
from schemas.instants import parse_instant
from schemas.transitions import MembershipRecord
from segments import compile_program, load_data
from streams.plan import Plan

SEGMENTS = [
    {"id": "quiet", "when": {"event": "Seen", "last_at": {"older_than": "1d"}}},
    {"id": "away", "when": {"event": "Seen", "last_at": {"older_than": "24h"}}},
]
SEQUENCE = """
sequences:
  - id: back
    on: {segment: quiet}
    exit: {segment: away, transition: entered}
    steps: [{send: {channel: email, target: "a@home.example", template: {subject: s, text: t}}}]
"""


def test_a_message_that_fell_due_is_as_of_the_step_that_its_memberships_are_of() -> None:
    """Else what came with its own beginning, and so ends nothing, would be later than it."""
    (sequence,) = load_sequences(SEQUENCE, "test", None)
    definitions, machine = compile_sequences(
        [InForce(sequence, 1, 0)], {}, lambda lifted: load_data({"segments": SEGMENTS}, lifted=lifted)
    )
    plan = Plan(compile_program(definitions, revision=1, follower=machine), Rules(), 1)
    seen_ms = parse_instant("2026-03-01T09:00:00Z", offset_required=True)
    assert seen_ms is not None
    line: dict[str, Any] = {"type": "track", "event": "Seen", "userId": "c", "timestamp": "2026-03-01T09:00:00Z"}
    state = plan.program.apply(None, parse_event(orjson.dumps(line)), seen_ms, seen_ms).state
    plan.act([], state, seen_ms, seen_ms)
    later_ms = seen_ms + 86_401_000
    emitted = plan.act(plan.program.advance(state, later_ms), state, later_ms, later_ms)

    (delivery,) = [msgspec.json.decode(each.value or b"", type=Delivery) for each in emitted.deliveries]
    memberships = [msgspec.json.decode(each.value or b"", type=MembershipRecord) for each in emitted.memberships]
    assert {"quiet", "away"} == {each.segment for each in memberships}
    assert {delivery.revision} == {each.revision for each in memberships} == {state.revision}
    assert delivery.ends is not None
    assert {delivery.ends.at} == {each.since for each in memberships}
