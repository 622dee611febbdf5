"""The definitions that a run goes by, as each machine has read them so far."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from script import POISON

from actions import Rules, compile_rules, rule_of
from actions.machine import InForce
from actions.machine import Machine as Sequences
from actions.sequence_reading import load_sequences
from actions.sequences import Sequence
from actions.simulated import BEFORE_MS
from schemas.events import Event
from segments import Definitions, Limits, Program, compile_program, load, load_data
from segments.read import read_text
from streams.plan import Plan

if TYPE_CHECKING:
    from machine import Machine
    from world import World

GRACE_MS, SLACK_MS = 1_000, 500
READING_S = 0.4
REVISION_TIMEOUT_S = 30.0
# whoever enters it is sent something
RULED = "three-a"
# never changed, and of nothing that is
UNCHANGED = """
  - {id: any-a, when: {event: A}}
  - {id: three-a, when: {event: A, within: 4s, count: {gte: 3}}}
  - {id: no-b, when: {event: B, within: 2s, count: 0}}
  - {id: pro, when: {trait: plan, eq: pro}}
  - {id: last-a, when: {event: A, last_at: {older_than: 1500ms}}}
  - {id: told, when: {all: [{subscribed: news}, {not: {listed: vip}}]}}
"""
FIRST = """
  - {id: held, when: {segment: three-a}, hold: {enter: 1s, leave: 500ms}}
  - {id: cart, per: cart, hold: {leave: 700ms}, when: {all: [{event: A, last_at: {older_than: 1s}}, {event: B, count: 0}]}}
  - {id: b-after-a, when: {sequence: [{event: A}, {absent: Subscribed, within: 1s}, {event: B}], completed: {within: 2s}}}
  - {id: keen, when: {score: keen, gte: 2}}
  - {id: steady, when: {held: {event: A, within: 2s}, for: 2500ms}}
"""
SCORES = "scores:\n  - {id: keen, half_life: 1s, rules: [{event: A, points: 1.3}, {trait: plan, eq: pro, points: 1}]}\n"
SECOND = """
  - {id: held, when: {segment: three-a}, hold: {enter: 300ms, leave: 1s}}
  - {id: cart, per: cart, when: {all: [{event: A, last_at: {older_than: 2s}}, {event: B, count: 0}]}}
  - {id: keen, when: {score: keen, gte: 1}}
  - {id: steady, when: {held: {event: A, within: 3s}, for: 1s}}
  - {id: lately, when: {event: B, within: 1s}}
"""
THIRD = """
  - {id: held, when: {segment: no-b}, hold: {enter: 1s}}
  - {id: lately, when: {event: A, within: 2s}}
  - {id: everyone, when: {everyone: true}}
"""
# of every revision; the last is there from the second one on, and takes members in
LEADS = """
  - id: lead
    on: {segment: three-a}
    again: every_time
    goal: {segment: pro, ends: false}
    exit: {segment: told, transition: entered}
    steps:
      - send: &message {channel: webhook, target: "https://example.org/", secret: X}
      - wait: 1s
      - split: {name: half, paths: [{name: on, percent: 60, steps: []}, {name: out, percent: 40, holdout: true}]}
      - wait_for: {when: {event: B, within: 1s}, timeout: LATER, then: [{send: *message}], else: [{set: {traits: {led: true}}}]}
      - branch: {if: {trait: led, eq: true}, then: [{wait: 1s100ms}, {send: *message}]}
  - id: carts
    on: {segment: cart}
    again: per_key
    goal: {when: {event: B, within: LATER}, ends: false}
    exit: {segment: cart}
    steps:
      - wait: 1s
      - send: *message
      - wait: {until: {trait: due}, offset: 1s, else: []}
      - set: {list: vip, action: added}
"""
EXISTING = """
  - {id: quiet, on: {segment: no-b}, existing: true, steps: [{send: *message}, {wait: 1s}, {send: *message}]}
"""
# its condition in place goes with it
BRIEF = """
  - id: brief
    on: {segment: no-b}
    again: every_time
    exit: {when: {event: A, within: 1s}}
    steps: [{wait: 1s}, {send: *message}]
"""
SEQUENCES = tuple(
    "sequences:" + LEADS.replace("LATER", later) + others
    for later, others in (("1s", ""), ("1500ms", EXISTING + BRIEF), ("1500ms", EXISTING))
)
TEXTS = tuple(
    "segments:" + UNCHANGED + changed + (SCORES if "score:" in changed else "") for changed in (FIRST, SECOND, THIRD)
)


@functools.cache
def definitions_of(revision: int) -> Definitions:
    """Those of a revision, with what its sequences have lifted; they come again after the last."""
    lifted = {id: body for _, sequence in _kept(revision) for id, body in sequence.lifted.items()}
    return load_data(read_text(TEXTS[(revision - 1) % len(TEXTS)], "world"), "world", lifted=list(lifted.values()))


@functools.cache
def _sequences(revision: int) -> dict[str, tuple[int, Sequence]]:
    """Of a revision, by id: version and sequence. What is gone and comes again goes on counting."""
    found: dict[str, tuple[int, Sequence]] = {}
    versions: dict[str, tuple[int, Sequence]] = {}
    for number in range(1, revision + 1):
        found = {}
        for sequence in load_sequences(SEQUENCES[(number - 1) % len(SEQUENCES)], "world", None):
            version, last = versions.get(sequence.id, (0, None))
            if last is None or last.body != sequence.body:
                versions[sequence.id] = version + 1, sequence
            found[sequence.id] = versions[sequence.id]
    return found


def _kept(revision: int) -> list[tuple[int, Sequence]]:
    """Every version of its sequences that a contact may be in."""
    ids = _sequences(revision).keys()
    every = [item for number in range(1, revision + 1) for id, item in _sequences(number).items() if id in ids]
    return list({(sequence.id, version): (version, sequence) for version, sequence in every}.values())


def machine_of(revision: int, *, prompt_ms: int | None = None) -> Sequences:
    """The sequences of a revision, ready to follow."""
    in_force = [InForce(sequence, version, BEFORE_MS) for version, sequence in _sequences(revision).values()]
    return Sequences(
        in_force, {(sequence.id, version): sequence for version, sequence in _kept(revision)}, prompt_ms=prompt_ms
    )


def plan_of(revision: int, previous: int | None = None) -> Plan:
    """The plan of a revision, as one has it who had that of `previous` before."""
    return Plan(Touchy(revision, previous), _rules(), revision)


@functools.cache
def _rules() -> Rules:
    body = {
        "id": "hello",
        "on": {"segment": RULED},
        "channel": "webhook",
        "target": "https://example.org/",
        "secret": "X",
    }
    return compile_rules([rule_of(body)], {"hello": 0}, {"hello": 1})


@functools.cache
def _program(revision: int) -> Program:
    limits, versions = Limits(grace_ms=GRACE_MS), _versions(revision)
    return compile_program(
        definitions_of(revision),
        limits=limits,
        versions=versions,
        revision=revision,
        follower=machine_of(revision, prompt_ms=GRACE_MS),
    )


@functools.cache
def _versions(revision: int) -> dict[str, int]:
    """Versions by segment id: one more with each change, as `apply` counts them."""
    versions: dict[str, int] = {}
    last: dict[str, Any] = {}
    for number in range(1, revision + 1):
        for segment in definitions_of(number).segments:
            if last.get(segment.id) != segment.body:
                last[segment.id] = segment.body
                versions[segment.id] = versions.get(segment.id, 0) + 1
    return versions


class Touchy:
    """A program that takes half a step on an event named `POISON` and then raises.

    Compiled once for all runs, but what it follows is each machine's own.
    """

    def __init__(self, revision: int, previous: int | None) -> None:
        program = self._program = _program(revision)
        self._changes: dict[int, Any] = {}
        self.revision, self.segment_ids = revision, program.segment_ids
        self.advance, self.encode, self.decode = program.advance, program.encode, program.decode
        if previous is not None:
            self._follow(_program(previous))

    def follow(self, previous: Any) -> None:
        """As the program does it."""
        self._follow(previous._program)

    def _follow(self, previous: Program) -> None:
        self._program.changes = self._changes
        self._program.follow(previous)

    def change_over(self, state: Any, until_ms: int) -> Any:
        """As the program does it."""
        self._program.changes = self._changes
        return self._program.change_over(state, until_ms)

    def apply(self, state: Any, event: Event, arrived_ms: int, received_ms: int) -> Any:
        """As the program does it, where it is not the one."""
        step = self._program.apply(state, event, arrived_ms, received_ms)
        if event.name == POISON:
            raise ArithmeticError("poison")
        return step


@functools.cache
def unchanged() -> frozenset[str]:
    """Ids of the segments that are the same in all revisions."""
    return frozenset(segment.id for segment in load("segments:" + UNCHANGED, "world").segments)


class Plans:
    """What one machine has read, some time after it was applied."""

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self._newer = asyncio.Event()
        self._older: dict[int, Plan] = {}
        self.current = plan_of(world.revision)
        self.on_newer: Callable[[], object] = lambda: None

    def told(self) -> None:
        """There is a newer revision, which takes a while to read."""
        self._world.later(self._world.delays.random() * READING_S, self._machine.call, self._newer.set)

    async def of(self, revision: int) -> Plan:
        """That of a revision, once it has been read."""
        async with asyncio.timeout(REVISION_TIMEOUT_S):
            while self.current.revision < revision:
                await self._take()
        if self.current.revision == revision:
            return self.current
        if revision not in self._older:
            self._older[revision] = plan_of(revision)
        return self._older[revision]

    async def follow(self) -> None:
        """Takes newer revisions up, for ever."""
        while True:
            await self._take()
            self.on_newer()

    async def _take(self) -> None:
        await self._newer.wait()
        self._newer.clear()
        if self._world.revision > self.current.revision:
            self.current = plan_of(self._world.revision, self.current.revision)
            self._world.note(f"{self._machine.name} has read revision {self.current.revision}")
