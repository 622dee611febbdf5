"""What happens in a run, all of it drawn beforehand from one seed: a list that can be cut, to see what a failure needs.

The run itself is a function of the seed and this list: what else it draws (how long requests take, who takes the next step)
comes from the seed alone.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

TOPICS = ("one", "two")
# events of our own come back by the last
SOURCES = (*TOPICS, "events.own")
PARTITIONS = 2
CONTACTS = [f"contact-{number}" for number in range(6)]
MACHINES = 3
# an event on which our own code raises
POISON = "Poison"
ACTIVE_MS = 9_000
EVENTS = 36
OPERATIONS = (
    "fence", "read state", "bounds", "seek", "fetch", "begin", "send", "acknowledge", "send offsets", "commit", "abort",
)  # fmt: skip
# weights; a checkpoint is where most can go wrong
OPERATION_WEIGHTS = (3, 2, 1, 1, 1, 1, 2, 4, 1, 6, 1)
TAKING_OVER = OPERATIONS[:4]
STRIKES = {"kill": 5, "rebalance": 4, "freeze": 6, "stop": 3}
TROUBLES = {"fails": 4, "goes unanswered": 4, "hangs": 3}
STATES = {"join": 2, "leave": 1, "clock": 3, "slow network": 2, "slow processor": 2}
CLOCKS_MS = (3_600_000, 3_600_000, 60_000, 5_000, 200, 0, -200, -60_000, -3_600_000)
# by which clock a run goes, the rest by the wall clock: `edits` with definitions that change on the way, `apart` with
# topics that are fetched one by one, so that their records may change places (I6)
KINDS = ("arrival", "wall", "wall", "edits", "apart")


@dataclasses.dataclass(frozen=True)
class Publish:
    """An event, at the instant less how late it is; `value` instead where it is none. `held_ms`: its transaction's time."""

    at_ms: int
    topic: int
    contact: str
    event: dict[str, Any] = dataclasses.field(hash=False)
    late_ms: int = 0
    value: bytes | None = None
    held_ms: int = 0
    commit: bool = True


@dataclasses.dataclass(frozen=True)
class Tick:
    """Says to every partition that nothing earlier will follow."""

    at_ms: int


@dataclasses.dataclass(frozen=True)
class Edit:
    """The next revision of the definitions."""

    at_ms: int


@dataclasses.dataclass(frozen=True)
class Disturb:
    """`what` happens at the instant or later, as `when` says: `3 steps` of machine `who`, `before commit`, `after commit`.

    `value` is what goes with it: seconds, or ms that a clock is off. A machine that is frozen goes on before that, where
    `until` says so, when another one comes to that point of a take-over.
    """

    at_ms: int
    what: str
    who: int
    when: str
    value: float = 0.0
    until: str = ""


Action = Publish | Tick | Edit | Disturb


@dataclasses.dataclass(frozen=True)
class Script:
    """A run: `machines` at first, and the actions in the order of their instants."""

    seed: int
    kind: str
    machines: int
    actions: Sequence[Action]


def draw(seed: int) -> Script:
    """The script of a seed."""
    rng = random.Random(f"script {seed}")
    kind = rng.choice(KINDS)
    actions: list[Action] = [*_events(rng, kind)]
    if kind == "arrival":
        actions += [Tick(at_ms) for at_ms in range(400, ACTIVE_MS, 800)]
    if kind == "edits":
        edits = [Edit(rng.randrange(ACTIVE_MS)) for _ in range(rng.choice([1, 2, 3]))]
        # a slow one has more than one turn's work of what is due under the old ones
        slow = [Disturb(max(0, edit.at_ms - 200), "slow processor", 0, "", 1.0) for edit in edits if rng.random() < 0.5]
        actions += [*edits, *slow]
    actions += [_disturbance(rng) for _ in range(rng.choice([0, 1, 2, 3, 4, 6, 9]))]
    return Script(seed, kind, rng.choice([1, 2, 3]), sorted(actions, key=lambda action: action.at_ms))


def _events(rng: random.Random, kind: str) -> list[Publish]:
    made: list[Publish] = []
    at_ms = 0
    for number in range(EVENTS):
        at_ms = min(at_ms + rng.choice([1, 1, 3, 40, 150, 400, 800]), ACTIVE_MS - 1)
        topic, contact = rng.randrange(len(TOPICS)), rng.choice(CONTACTS)
        drawn = rng.random()
        if drawn < 0.03:
            made.append(Publish(at_ms, topic, contact, {}, value=b"{nope"))
        elif drawn < 0.05 and kind != "edits":
            # right after a change of definitions such a one stops the partition, as it ought to
            event = {"userId": contact, "type": "track", "event": POISON, "properties": {"number": number}}
            made.append(Publish(at_ms, topic, contact, event))
        elif drawn < 0.1 and made and (again := rng.choice(made)).event.get("event", POISON) != POISON:
            # a repeat, under the same messageId
            made.append(
                dataclasses.replace(again, at_ms=at_ms, topic=topic, late_ms=again.late_ms + at_ms - again.at_ms)
            )
        else:
            event = {"messageId": f"m{number}", "userId": contact} | _content(rng)
            late_ms = rng.choice([0, 0, 0, 0, 1, 300, 1_200, 4_000])
            held_ms = rng.choice([20, 300, 3_000]) if rng.random() < 0.03 else 0
            made.append(Publish(at_ms, topic, contact, event, late_ms, None, held_ms, rng.random() < 0.7))
    return made


def _repeatable(published: Publish) -> bool:
    return published.value is None and "messageId" in published.event


def _content(rng: random.Random) -> dict[str, Any]:
    drawn = rng.random()
    if drawn < 0.2:
        return {"type": "identify", "traits": {"plan": rng.choice(["pro", "free", None])}}
    if drawn < 0.23:
        return {"type": "delete"}
    if drawn < 0.28:
        return {"type": "list", "list": "vip", "action": rng.choice(["added", "removed"])}
    if drawn < 0.34:
        return {"type": "track", "event": rng.choice(["Subscribed", "Unsubscribed"])}
    return {"type": "track", "event": rng.choice("AAB"), "properties": {"cart": rng.choice([None, "c1", 3])}}


def _disturbance(rng: random.Random) -> Disturb:
    at_ms, who = rng.randrange(ACTIVE_MS), rng.randrange(MACHINES)
    kinds = STRIKES | TROUBLES | STATES
    (what,) = rng.choices(list(kinds), list(kinds.values()))
    (operation,) = rng.choices(OPERATIONS, OPERATION_WEIGHTS)
    if what in TROUBLES:
        when = f"{rng.choice(['before', 'after'])} {operation}"
        return Disturb(at_ms, what, who, when, rng.choice([0.3, 1.5, 7.0]) if what == "hangs" else 0.0)
    if what in STATES:
        value = float(rng.choice(CLOCKS_MS)) if what == "clock" else rng.choice([0.5, 3.0])
        return Disturb(at_ms, what, who, "", value)
    when = rng.choice([f"{rng.randrange(40)} steps", f"before {operation}", f"after {operation}"])
    if what == "freeze" and rng.random() < 0.5:
        return Disturb(at_ms, what, who, when, 9.0, f"{rng.choice(['before', 'after'])} {rng.choice(TAKING_OVER)}")
    value = {"freeze": rng.choice([0.3, 2.0, 6.0]), "stop": rng.choice([0.0, 0.004, 0.02, 2.0])}.get(what, 0.0)
    return Disturb(at_ms, what, who, when, value)


def shrunk(script: Script, fails: Callable[[Script], bool], tries: int = 400) -> Script:
    """The script with what `fails` doesn't need cut out: ever smaller parts of its actions, for so many tries at most."""
    left, size = list(script.actions), max(1, len(script.actions) // 2)
    while tries > 0:
        at = before = len(left)
        while at > 0 and tries > 0:
            at = max(0, at - size)
            shorter = left[:at] + left[at + size :]
            tries -= 1
            if fails(dataclasses.replace(script, actions=shorter)):
                left = shorter
        if size == 1 and len(left) == before:
            break
        size = max(1, size // 2)
    return dataclasses.replace(script, actions=left)
