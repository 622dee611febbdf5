"""Contacts that are in sequences when these are changed, removed or applied anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from actions import sequence_of
from actions.compiled import compile_sequences
from actions.machine import InForce
from actions.progress import Progress, digest_of
from actions.sequences import GOAL, is_quiet
from actions.simulated import BEFORE_MS, Told, told_of
from schemas.events import parse_event
from schemas.transitions import Transition
from segments import Limits, Program, compile_program, load_data
from segments.state import ContactState
from tests.sequence_runs import said_of, spelled

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
A = {"id": "a", "when": {"trait": "a", "eq": True}}


class Life:
    """One contact, led through revisions; `said` since last asked: what, of which sequence."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.state: ContactState | None = None
        self.now_ms = START_MS
        self.told: list[Told] = []
        self._steps: dict[str, Any] = {}
        self._revision = 0

    def revise(
        self,
        segments: list[dict[str, Any]],
        sequences: list[dict[str, Any]],
        kept: Sequence[tuple[int, dict[str, Any]]] = (),
        version: int = 1,
        since_ms: int = BEFORE_MS,
    ) -> None:
        """Puts definitions in force, and takes the contact over; `kept`: earlier versions."""
        self._revision += 1
        before = self.program
        in_force = [InForce(sequence(body), version, since_ms) for body in sequences]
        earlier = {(body["id"], number): sequence(body) for number, body in kept}
        self._steps |= {item.sequence.id: item.sequence.steps for item in in_force}
        definitions, machine = compile_sequences(
            in_force, earlier, lambda lifted: load_data({"segments": segments, "rules": []}, lifted=lifted)
        )
        self.program = compile_program(
            definitions, limits=Limits(), versions={}, revision=self._revision, previous=before, follower=machine
        )
        if self.state is not None:
            self.take(self.program.change_over(self.state, self.now_ms))

    def identify(self, **traits: Any) -> None:
        """An event, a minute later."""
        self.now_ms += MINUTE_MS
        event = parse_event(
            orjson.dumps({"type": "identify", "userId": "c", "timestamp": self.now_ms, "traits": traits})
        )
        self.apply(event)

    def track(self, name: str, **properties: Any) -> None:
        """The same, of a `track`."""
        self.now_ms += MINUTE_MS
        fields = {"type": "track", "event": name, "userId": "c", "timestamp": self.now_ms, "properties": properties}
        self.apply(parse_event(orjson.dumps(fields)))

    def apply(self, event: Any) -> None:
        assert self.program is not None
        step = self.program.apply(self.state, event, self.now_ms, self.now_ms)
        self.state = step.state
        self.take(step.transitions)

    def advance(self, ms: int) -> None:
        """Time alone."""
        assert self.program is not None and self.state is not None
        self.now_ms += ms
        self.take(self.program.advance(self.state, self.now_ms))

    def take(self, transitions: list[Transition]) -> None:
        assert self.state is not None
        self.told += [told_of(what) for _, what in self.state.told]
        self.state.told = []

    def said(self) -> list[tuple[str, str]]:
        told, self.told = self.told, []
        said = [said_of(each, self._steps) for each in told]
        return [
            (one.sequence, f"{one.what} {one.body['reason']}" if "reason" in one.body else one.what) for one in said
        ]


def sequence(body: dict[str, Any]) -> Any:
    return sequence_of({**body, "steps": spelled(body["steps"])})


def test_of_two_sequences_removed_at_once_both_end() -> None:
    life = Life()
    one = {"id": "one", "on": {"segment": "a"}, "while": {"trait": "a", "eq": True}, "steps": [{"wait": "1d"}]}
    two = {"id": "two", "on": {"segment": "a"}, "steps": [{"wait": "1d"}]}
    life.revise([A], [one, two])
    life.identify(a=True)
    life.said()
    life.revise([A], [])
    assert life.said() == [("one", "Sequence Exited removed"), ("two", "Sequence Exited removed")]


def test_who_is_taken_in_is_not_said_to_be_left_out() -> None:
    """A segment and a sequence on it, applied together: the segment's backfill is no transition that begins it."""
    life = Life()
    life.revise([], [])
    life.identify(a=True)
    life.revise([A], [{"id": "one", "on": {"segment": "a"}, "existing": True, "steps": [{"send": "hello"}]}])
    assert life.said() == [("one", "Sequence Entered"), ("one", "send hello"), ("one", "Sequence Completed")]


def test_no_more_are_taken_in_than_a_contact_may_be_in() -> None:
    life = Life()
    cart = {"id": "cart", "per": "cart", "when": {"event": "Carted"}}
    life.revise([cart], [])
    for number in range(100):
        life.track("Carted", cart=str(number))
    body = {"id": "one", "on": {"segment": "cart"}, "existing": True, "again": "per_key", "steps": [{"wait": "1d"}]}
    life.revise([cart], [body])
    said = life.said()
    assert said.count(("one", "Sequence Entered")) == 32
    assert said.count(("one", "skipped limit")) == 68


def test_a_date_that_another_sequence_sets_is_looked_at_at_once() -> None:
    life = Life()
    waiting = {
        "id": "b-waits",
        "on": {"segment": "a"},
        "steps": [{"wait": {"until": {"trait": "ends"}}}, {"send": "over"}],
    }
    setting = {
        "id": "a-sets",
        "on": {"segment": "a"},
        "steps": [{"wait": "1h"}, {"set": {"traits": {"ends": "2026-01-01T02:00:00Z"}}}],
    }
    life.revise([A], [waiting, setting])
    life.identify(a=True, ends="2026-02-01")
    life.advance(61 * MINUTE_MS)
    assert life.state is not None
    life.state.contact_changed = False  # as a checkpoint does
    life.said()
    life.advance(60 * MINUTE_MS)
    assert life.said() == [("b-waits", "send over"), ("b-waits", "Sequence Completed")]


def test_what_begins_at_one_instant_begins_by_the_sequences_ids() -> None:
    life = Life()
    late = {"id": "b", "when": {"trait": "a", "eq": True}}
    sequences = [
        {"id": f"{4 - at}", "on": {"segment": each}, "steps": [{"send": "hello"}]} for at, each in enumerate("aba")
    ]
    life.revise([A, late], sequences)
    life.identify(a=True)
    assert [one for one, what in life.said() if what == "Sequence Entered"] == ["2", "3", "4"]


def test_of_all_sequences_together_no_more_values_are_remembered_than_a_state_can_hold() -> None:
    progress = Progress()
    for number in range(60_000):
        progress.note_begun(f"s{number % 60}", digest_of(str(number)), START_MS + number)
    assert len(progress.encoded()) < 256 * 1024
    assert progress.begun["s59"].has("59999") and not progress.begun["s0"].has("0"), "the latest are"


@pytest.mark.parametrize("again", ["once", {"cooldown": "1d"}])
def test_of_many_memberships_a_member_is_taken_in_by_one_where_all_count_together(again: Any) -> None:
    life = Life()
    cart = {"id": "cart", "per": "cart", "when": {"event": "Carted"}}
    life.revise([cart], [])
    for number in range(3):
        life.track("Carted", cart=str(number))
    life.revise(
        [cart],
        [{"id": "one", "on": {"segment": "cart"}, "existing": True, "again": again, "steps": [{"send": "hello"}]}],
    )
    assert [what for _, what in life.said()].count("send hello") == 1


def test_members_of_another_segment_are_taken_in_when_the_sequence_turns_to_it() -> None:
    """Nobody else would: what made them members is before the sequence."""
    life = Life()
    b = {"id": "b", "when": {"trait": "b", "eq": True}}
    body = {"id": "one", "on": {"segment": "a"}, "existing": True, "steps": [{"send": "hello"}]}
    life.revise([A, b], [body])
    life.identify(b=True)
    assert life.said() == []
    life.revise([A, b], [{**body, "on": {"segment": "b"}}], [(1, body)], version=2)
    assert life.said() == [("one", "Sequence Entered"), ("one", "send hello"), ("one", "Sequence Completed")]


@pytest.mark.parametrize("existing", [True, False])
def test_who_became_a_member_before_the_sequence_by_what_is_read_after_it_is_taken_in(existing: bool) -> None:
    """A worker takes a revision up at its arrival time, which is the grace behind, and whatever it lags."""
    life = Life()
    life.revise([A], [])
    life.identify(b=True)
    body = {"id": "one", "on": {"segment": "a"}, "existing": existing, "steps": [{"send": "hello"}]}
    life.revise([A], [body], since_ms=life.now_ms + 2 * MINUTE_MS)
    life.identify(a=True)
    begun = [("one", "Sequence Entered"), ("one", "send hello"), ("one", "Sequence Completed")]
    assert life.said() == (begun if existing else [("one", "skipped before_rule")])


def test_history_that_is_read_after_a_sequence_takes_nobody_in() -> None:
    life = Life()
    life.revise([A], [])
    life.identify(b=True)
    body = {"id": "one", "on": {"segment": "a"}, "existing": True, "steps": [{"send": "hello"}]}
    life.revise([A], [body], since_ms=life.now_ms + 1441 * MINUTE_MS + 1)
    life.identify(a=True)
    assert life.said() == [("one", "skipped before_rule")]


def test_an_edited_condition_in_place_leaves_nothing_in_the_state() -> None:
    """Else a sequence that is tuned every day weighs on every contact that was ever in one of its versions; a goal counts."""
    life = Life()

    def body(number: int) -> dict[str, Any]:
        goal, exit_ = ({"trait": "a", "in": [True, kind, number]} for kind in ("goal", "exit"))
        return {"id": "one", "on": {"segment": "b"}, "goal": {"when": goal}, "exit": {"when": exit_}, "steps": []}

    b = {"id": "b", "when": {"trait": "b", "eq": True}}
    life.revise([A, b], [body(0)])
    life.identify(a=True)
    for number in range(1, 5):
        life.revise([A, b], [body(number)], version=number + 1)
        assert life.state is not None
        known = [segment for segment, _ in life.state.every_membership()]
        goals = sum(segment.startswith(GOAL) for segment in known)
        assert (number + 1, 1) == (goals, sum(map(is_quiet, known)))
        assert number == len(life.state.forgotten)
