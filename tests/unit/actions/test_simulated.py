"""What a run with sequences has beyond that of segments."""

from __future__ import annotations

import msgspec
import orjson

from actions import lifted_bodies, load_sequences
from actions.simulated import Told, simulate_all
from schemas.deliveries import Ending, Ends, Outcome
from schemas.transitions import Transition
from segments import RejectedLine, load_data

SEGMENTS = [{"id": "trial", "when": {"trait": "plan", "eq": "trial"}}]
SEQUENCE = """
sequences:
  - id: welcome
    on: {segment: trial}
    steps:
      - wait: 1d
      - branch: {if: {event: Called, within: 7d}, then: [end]}
      - set: {traits: {reminded: true}}
"""


def at(day: int) -> str:
    return f"2026-03-{day:02d}T09:00:00Z"


def test_a_line_of_definitions_leaves_what_sequences_ask_in_place() -> None:
    sequences = load_sequences(SEQUENCE, "test", None)
    definitions = load_data({"segments": SEGMENTS}, lifted=lifted_bodies(sequences))
    lines = [
        {"type": "identify", "userId": "c", "traits": {"plan": "trial"}, "timestamp": at(1), "receivedAt": at(1)},
        {"type": "track", "event": "Called", "userId": "c", "timestamp": at(1), "receivedAt": at(1)},
        {
            "type": "definitions",
            "receivedAt": at(1),
            "segments": [*SEGMENTS, {"id": "all", "when": {"everyone": True}}],
        },
        {"type": "track", "event": "Seen", "userId": "c", "timestamp": at(3), "receivedAt": at(3)},
    ]
    found = list(simulate_all(definitions, sequences, map(orjson.dumps, lines)))
    assert not [one for one in found if isinstance(one, RejectedLine)]
    events = [one.body.get("event") or one.body["type"] for one in found if isinstance(one, Told)]
    assert events == ["Sequence Entered", "Sequence Completed"]


def test_of_conditions_in_place_the_transitions_of_goals_alone_are_told() -> None:
    """The branch asks for the same, and nobody hears of that."""
    goal = "    goal: {when: {event: Called, within: 7d}, ends: false}\n    steps:"
    sequences = load_sequences(SEQUENCE.replace("    steps:", goal), "test", None)
    definitions = load_data({"segments": SEGMENTS}, lifted=lifted_bodies(sequences))
    lines = [
        {"type": "identify", "userId": "c", "traits": {"plan": "trial"}, "timestamp": at(1), "receivedAt": at(1)},
        {"type": "track", "event": "Called", "userId": "c", "timestamp": at(2), "receivedAt": at(2)},
        {"type": "track", "event": "Seen", "userId": "c", "timestamp": at(20), "receivedAt": at(20)},
    ]
    found = [
        one for one in simulate_all(definitions, sequences, map(orjson.dumps, lines)) if isinstance(one, Transition)
    ]
    (id,) = (each for each in sequences[0].lifted if each.startswith("~goal-"))
    assert 2 == len(sequences[0].lifted)
    assert [("trial", "entered", 1), (id, "entered", 1), (id, "left", 2)] == [
        (one.segment, one.transition, one.seq) for one in found
    ]


def test_a_sequence_that_sends_nothing_leaves_out_a_beginning_in_an_outcome_that_can_be_read() -> None:
    sequences = load_sequences(SEQUENCE, "test", None)
    definitions = load_data({"segments": SEGMENTS}, lifted=lifted_bodies(sequences))
    lines = [
        {"type": "identify", "userId": "c", "traits": {"plan": plan}, "timestamp": at(day), "receivedAt": at(day)}
        for day, plan in ((1, "trial"), (2, "pro"), (9, "trial"))
    ]
    told = [one for one in simulate_all(definitions, sequences, map(orjson.dumps, lines)) if isinstance(one, Told)]
    (outcome,) = [one.body for one in told if one.kind == "outcome"]
    read = msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome)
    assert (read.code, read.channel, read.step) == ("again", None, 0)


ENDING = """
sequences:
  - id: carts
    on: {segment: carts}
    again: per_key
    goal: {when: {event: Called, within: 7d}}
    exit: [{segment: carts, transition: left}, {segment: trial, transition: left}]
    steps: [{send: {channel: email, target: {trait: email}, template: {subject: s, text: t}}}]
"""


def test_a_message_carries_what_ends_its_sequence_and_of_per_the_value_alone() -> None:
    """A goal that ends nothing is not among it."""
    segments = [*SEGMENTS, {"id": "carts", "when": {"event": "Added", "within": "7d"}, "per": "cart"}]
    who = {"userId": "c", "timestamp": at(1), "receivedAt": at(1)}
    lines = [
        {"type": "identify", **who, "traits": {"plan": "trial", "email": "c@home.example"}},
        {"type": "track", "event": "Added", "properties": {"cart": "k1"}, **who},
    ]
    for text, goals in ((ENDING, 1), (ENDING.replace("7d}}", "7d}, ends: false}"), 0)):
        sequences = load_sequences(text, "test", None)
        definitions = load_data({"segments": segments}, lifted=lifted_bodies(sequences))
        told = simulate_all(definitions, sequences, map(orjson.dumps, lines))
        (delivery,) = [one.body for one in told if isinstance(one, Told) and one.kind == "delivery"]
        goal = [Ending(id, "entered") for id in sequences[0].lifted][:goals]

        assert delivery.ends == Ends(
            "2026-03-01T09:00:00.000Z", (*goal, Ending("carts", "left", "k1"), Ending("trial", "left"))
        )
