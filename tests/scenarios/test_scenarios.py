"""Every scenario of this folder, through the oracle and through the core.

A scenario has a `name`, its definitions (`segments:`, or `when:` and `hold:` of a single segment called `s`) and
`steps`. A step has `at`, a time of Monday 2026-03-02 in UTC (`2d 12:00` is two days later), and is an event (`event`,
`traits` or `type` with `properties`, `context`, `contact`, `id`; `arrives` is its receivedAt, `fields` replaces any
other field, `line` the whole line) or no event, where something is due by time alone. `expect` lists what comes out
there: at that time unless it says, with cause `event` or `timer` unless it says. Nothing else may come out. Time runs
on to `until`, or to the last step.

A table has a `test`, and the values of which it `holds` and `fails`: each as a trait and as a property of an event.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segments
from tests import oracle, oracle_input

FOLDER = Path(__file__).parent
MONDAY_MS = 1_772_409_600_000
Outcome = tuple[dict[tuple[str, str], list[tuple[Any, ...]]], list[int]]
"""Transitions by contact and segment, as (seq, transition, at, cause), and the numbers of the rejected lines."""


def time_ms(text: str) -> int:
    """`[Nd ]HH:MM[:SS[.f]]` of the Monday, or a whole instant, in ms."""
    if match := re.fullmatch(r"(?:(\d+)d )?(\d\d:\d\d.*)", text):
        clock = oracle_input.read_instant(f"1970-01-01T{match[2]}Z")
        assert clock is not None, text
        return MONDAY_MS + int(match[1] or 0) * 86_400_000 + clock
    instant = oracle_input.read_instant(text)
    assert instant is not None, text
    return instant


def line_of(step: dict[str, Any], number: int) -> str:
    """The step's line of the events file."""
    if "line" in step:
        return str(step["line"])
    event = {"type": step.get("type", "identify" if "traits" in step else "track"), "userId": step.get("contact", "c")}
    event |= {key: step[key] for key in ("event", "traits", "properties", "context") if key in step}
    event["timestamp"] = oracle_input.shown(time_ms(step["at"]))
    event["receivedAt"] = oracle_input.shown(time_ms(step.get("arrives", step["at"])))
    event["messageId"] = step.get("id", f"m{number}")
    event |= step.get("fields", {})
    line = json.dumps(event)
    if "filled_to" in step:
        line = line[:-1] + ', "filling": "' + "x" * (step["filled_to"] - len(line) - len(', "filling": ""')) + '"}'
    return line


def is_event(step: dict[str, Any]) -> bool:
    return bool({"event", "traits", "type", "line"} & step.keys())


def expected(scenario: dict[str, Any]) -> Outcome:
    """What the steps say must come out."""
    emitted: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for step in scenario["steps"]:
        for text in step.get("expect", []):
            match = re.fullmatch(r"(?:(\S+) )?(entered|left)(?: at (.*?))?(?: by (\w+))?", text)
            assert match, f"expected '[segment] entered|left [at TIME] [by CAUSE]', got {text!r}"
            of_one = emitted[step.get("contact", "c"), match[1] or "s"]
            at = oracle_input.shown(time_ms(match[3] or step["at"]))
            of_one.append((len(of_one) + 1, match[2], at, match[4] or ("event" if is_event(step) else "timer")))
    lines = [step for step in scenario["steps"] if is_event(step)]
    return dict(emitted), [number for number, step in enumerate(lines, 1) if step.get("rejected")]


def by_pair(transitions: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    pairs: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for one in transitions:
        pairs[one["contact"], one["segment"]].append((one["seq"], one["transition"], one["at"], one["cause"]))
    return dict(pairs)


def by_oracle(definitions: dict[str, Any], lines: list[bytes], until_ms: int | None, grace_ms: int) -> Outcome:
    transitions, rejected = oracle.simulate(definitions, lines, until_ms, grace_ms)
    return by_pair(transitions), [int(reason.split(":")[0]) for reason in rejected]


def by_core(definitions: dict[str, Any], lines: list[bytes], until_ms: int | None, grace_ms: int) -> Outcome:
    out = list(segments.simulate(segments.load(json.dumps(definitions)), lines, until_ms, grace_ms))
    transitions = [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)]
    return by_pair(transitions), [one.line for one in out if isinstance(one, segments.RejectedLine)]


ENGINES: dict[str, Callable[..., Outcome]] = {"oracle": by_oracle, "core": by_core}


def scenarios() -> list[Any]:
    found = [(path, one) for path in sorted(FOLDER.glob("*.yaml")) for one in oracle_input.load(path.read_text())]
    return [pytest.param(one, id=f"{path.stem}: {one['name']}") for path, one in found]


def outcome_by(engine: str, scenario: dict[str, Any]) -> Outcome:
    """What comes out when the engine runs the scenario's steps."""
    one = {key: scenario[key] for key in ("when", "hold") if key in scenario}
    definitions = {"segments": scenario.get("segments", [{"id": "s", **one}])}
    steps = scenario["steps"]
    lines = [line_of(step, number).encode() for number, step in enumerate(steps) if is_event(step)]
    until = scenario.get("until", None if is_event(steps[-1]) else steps[-1]["at"])
    until_ms = None if until is None else time_ms(until)
    return ENGINES[engine](definitions, lines, until_ms, oracle.duration(scenario.get("grace", "2s")))


def members_by(engine: str, test: dict[str, Any], values: list[Any]) -> set[int]:
    """Which of the values the engine finds the test true of, as a trait and as a property alike."""
    tests = {"trait": {"trait": "x", **test}, "property": {"event": "A", "where": {"x": test}}}
    definitions = {"segments": [{"id": name, "when": when} for name, when in tests.items()]}
    given = [{} if value == "absent" else {"x": value} for value in values]
    steps = [
        {"at": "00:00", "contact": str(n), "event": "A", "properties": x, "context": {"traits": x}}
        for n, x in enumerate(given)
    ]
    lines = [line_of(step, number).encode() for number, step in enumerate(steps)]
    pairs, rejected = ENGINES[engine](definitions, lines, None, 2000)
    assert rejected == []
    members = {name: {int(contact) for contact, segment in pairs if segment == name} for name in tests}
    assert members["trait"] == members["property"]
    return members["trait"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", scenarios())
def test_the_scenario_comes_out_as_it_says(scenario: dict[str, Any], engine: str) -> None:
    """Each rule of the language page has a place where it would be seen to be broken."""
    if "steps" in scenario:
        assert outcome_by(engine, scenario) == expected(scenario)
    else:
        values = scenario["holds"] + scenario["fails"]
        members = members_by(engine, scenario["test"], values)
        right = set(range(len(scenario["holds"])))
        assert [values[n] for n in sorted(members ^ right)] == [], "the test is wrong of these"


def test_names_are_told_apart() -> None:
    """Two scenarios of one name would be one in every report."""
    names = [one.values[0]["name"] for one in scenarios()]
    assert len(names) == len(set(names))
