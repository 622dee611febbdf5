"""The definitions that a run goes by, as each machine has read them so far."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from script import POISON

from actions import Rules, compile_rules, rule_of
from schemas.events import Event
from segments import Definitions, Limits, Program, compile_program, load
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
TEXTS = tuple(
    "segments:" + UNCHANGED + changed + (SCORES if "score:" in changed else "") for changed in (FIRST, SECOND, THIRD)
)


@functools.cache
def definitions_of(revision: int) -> Definitions:
    """Those of a revision; they come again after the last."""
    return load(TEXTS[(revision - 1) % len(TEXTS)], "world")


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
    return compile_program(definitions_of(revision), limits=limits, versions=versions, revision=revision)


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
