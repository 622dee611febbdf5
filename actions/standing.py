"""Where a contact stands in sequences at an instant, and how those ended that it was in (`tidegate explain`).

Found by stepping through the contact's own lines with the machine that workers run, and looking at what it keeps.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from actions.machine import InForce, Machine
from actions.own_events import SAID, OwnEvent
from actions.progress import UnderWay, progress_of
from actions.sequence_waits import WEEKDAYS
from actions.sequences import END, Branch, Send, Sequence, Step, Wait, WaitDate, WaitFor, WaitTime
from actions.simulated import BEFORE_MS
from schemas.instants import format_duration, format_instant
from schemas.transitions import Transition
from segments import Definitions, Limits
from segments.explain_lines import Story
from segments.explain_words import flow

_ENDS = {f"{SAID}Exited", f"{SAID}Completed"}


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a sequence asks of the contact: `role` is what for, `says` the condition, `member` whether it holds."""

    role: str
    says: str
    member: bool


@dataclasses.dataclass(frozen=True)
class Running:
    """An entry under way: in which step since when, what that waits for, and until when (None: nothing but that)."""

    sequence: str
    version: int
    key: str | None
    began_ms: int
    step: str
    came_ms: int
    waits: str
    due_ms: int | None
    converted: bool
    splits: dict[str, str]
    conditions: tuple[Condition, ...]

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        return {
            "sequence": self.sequence,
            "version": self.version,
            "key": self.key,
            "since": format_instant(self.began_ms),
            "step": self.step,
            "step_since": format_instant(self.came_ms),
            "waits": self.waits,
            "until": None if self.due_ms is None else format_instant(self.due_ms),
            "converted": self.converted,
            "splits": self.splits,
            "conditions": [dataclasses.asdict(each) for each in self.conditions],
        }


@dataclasses.dataclass(frozen=True)
class Ended:
    """An entry that is over: `how` is `completed`, or the reason why it ended early; `step` where, None behind the last."""

    sequence: str
    key: str | None
    began_ms: int
    ended_ms: int
    how: str
    step: str | None

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        return {
            "sequence": self.sequence,
            "key": self.key,
            "since": format_instant(self.began_ms),
            "ended": format_instant(self.ended_ms),
            "how": self.how,
            "step": self.step,
        }


@dataclasses.dataclass(frozen=True)
class Standing:
    """All of a contact, in the order in which it began and ended."""

    running: tuple[Running, ...]
    ended: tuple[Ended, ...]

    def json(self) -> dict[str, Any]:
        """As data for JSON."""
        return {"running": [each.json() for each in self.running], "ended": [each.json() for each in self.ended]}


def machine_of(sequences: Iterable[Sequence], limits: Limits) -> Machine:
    """The machine of a run in which these sequences are in force from the beginning."""
    return Machine(_in_force(sequences), {}, prompt_ms=limits.grace_ms)


def standing_of(
    definitions: Definitions,
    sequences: Iterable[Sequence],
    lines: Iterable[bytes],
    contact: str,
    at_ms: int | None = None,
    limits: Limits | None = None,
) -> Standing:
    """Where `contact` stands at `at_ms`; `definitions` with what `sequences` have lifted, all else as of `segments.explain`.

    Raises `UnknownName` where there is no such contact.
    """
    sequences, limits = tuple(sequences), limits or Limits()
    machine = _Watching(_in_force(sequences), {}, prompt_ms=limits.grace_ms)
    story = Story(definitions, lines, contact, at_ms, limits, machine)
    by_id = {sequence.id: sequence for sequence in sequences}
    under_way = progress_of(story.state.progress).under_way
    running = tuple(_running(each, by_id[each.sequence], machine.came_ms(each), story.state) for each in under_way)
    return Standing(running, tuple(_ended(story.said)))


def _in_force(sequences: Iterable[Sequence]) -> list[InForce]:
    return [InForce(sequence, 1, BEFORE_MS) for sequence in sequences]


class _Watching(Machine):
    """Remembers when an entry came to the step at which it stands."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._came: dict[tuple[str, str | None], tuple[int, int]] = {}

    def came_ms(self, each: UnderWay) -> int:
        """When it came to its step."""
        return self._came.get((each.sequence, each.key), (each.at, each.began_ms))[1]

    def follow(self, program: Any, state: Any, out: list[Transition], begun: int, now_ms: int, arrived_ms: int) -> None:
        super().follow(program, state, out, begun, now_ms, arrived_ms)
        self._note(state, now_ms)

    def merge(
        self, program: Any, survivor: Any, absorbed: Any, out: list[Transition], now_ms: int, arrived_ms: int
    ) -> None:
        super().merge(program, survivor, absorbed, out, now_ms, arrived_ms)
        self._note(survivor, now_ms)

    def _note(self, state: Any, now_ms: int) -> None:
        standing = {(each.sequence, each.key): each.at for each in progress_of(state.progress).under_way}
        for name, at in standing.items():
            if self._came.get(name, (None, 0))[0] != at:
                self._came[name] = at, now_ms
        self._came = {name: came for name, came in self._came.items() if name in standing}


def _running(each: UnderWay, sequence: Sequence, came_ms: int, state: Any) -> Running:
    step = sequence.steps[each.at]
    return Running(
        each.sequence, each.version, each.key, each.began_ms, step.name, came_ms, _waits(step, sequence), each.due_ms,
        each.converted, dict(each.splits), tuple(_conditions(each, sequence, state)),
    )  # fmt: skip


def _waits(step: Step, sequence: Sequence) -> str:
    if isinstance(step, Wait):
        return f"waits {format_duration(step.for_ms)}"
    if isinstance(step, WaitTime):
        hours, minutes = divmod(step.clock_ms // 60_000, 60)
        named = " ".join(WEEKDAYS[day] for day in sorted(step.weekdays))
        days = "" if len(step.weekdays) == len(WEEKDAYS) else f" on {named}"
        return f"waits for {hours:02}:{minutes:02}{days} ({step.tz})"
    if isinstance(step, WaitDate):
        sign = "-" if step.offset_ms < 0 else "+"
        offset = f" {sign} {format_duration(abs(step.offset_ms))}" if step.offset_ms else ""
        return f"waits for the date in trait {step.trait!r}{offset}"
    assert isinstance(step, WaitFor), "an entry stands nowhere else"
    timeout = ", for ever" if step.timeout_ms is None else f", {format_duration(step.timeout_ms)} at most"
    return f"waits to have {step.on.transition} {_says(step.on.segment, sequence)}{timeout}"


def _conditions(each: UnderWay, sequence: Sequence, state: Any) -> Iterator[Condition]:
    """The goal, what ends it, what messages ask for, and branches that it may still come to: what is behind it is past."""

    def asked(role: str, segment: str) -> Condition:
        return Condition(role, _says(segment, sequence), _is_in(state, segment, each, sequence))

    if sequence.goal is not None:
        yield asked(f"goal, {'ends it ' if sequence.goal_ends else ''}once entered", sequence.goal.segment)
    for on in sequence.exits:
        yield asked(f"exit, once {on.transition}", on.segment)
    whiles = [step.while_ for step in sequence.steps if isinstance(step, Send) and step.while_ is not None]
    for segment in dict.fromkeys(whiles):
        yield asked("while, asked before each message", segment)
    for step in _ahead(sequence, each.at):
        if isinstance(step, Branch):
            yield asked(f"branch {step.name}", step.segment)


def _ahead(sequence: Sequence, at: int) -> list[Step]:
    """The steps that an entry at step `at` may still come to, in the order of the file."""
    met, todo = {at}, [at]
    while todo:
        step: Any = sequence.steps[todo.pop()]
        nexts = [getattr(step, "then", END), getattr(step, "otherwise", END)]
        nexts += [path.then for path in getattr(step, "paths", ())]
        new = {each for each in nexts if each is not None and each != END} - met
        met |= new
        todo += new
    return [sequence.steps[number] for number in sorted(met)]


def _says(segment: str, sequence: Sequence) -> str:
    """A segment by its id, a condition in place as it was written."""
    lifted = sequence.lifted.get(segment)
    return segment if lifted is None else flow(lifted["when"])


def _is_in(state: Any, segment: str, each: UnderWay, sequence: Sequence) -> bool:
    if each.key is None or segment != sequence.on.segment:
        return bool(state.is_in(segment))
    keyed = state.keyed.get(segment, {}).get(each.key)
    return keyed is not None and keyed.seq & 1 == 1


def _ended(said: Iterable[Any]) -> Iterator[Ended]:
    """Out of what the machine said, in the order in which they ended."""
    began: dict[str, int] = {}
    for at_ms, what in said:
        if not isinstance(what, OwnEvent) or not (what.event.name or "").startswith(SAID):
            continue
        told = what.event.properties
        began.setdefault(told["entry"], at_ms)
        if what.event.name in _ENDS:
            how = told.get("reason", "completed")
            yield Ended(told["sequence"], told.get("key"), began[told["entry"]], at_ms, how, told.get("step"))
