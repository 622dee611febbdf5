"""Every scenario of this folder, through the oracle and through the core.

A scenario has a `name`, its definitions (`segments:` and `scores:`, or `when:`, `hold:`, `tz:`, `per:`, `carry:` of a
single segment called `s`) and `steps`. A step has `at`, a time of Monday 2026-03-02 in UTC (`2d 12:00` is two days
later) or a whole instant, and is an event (`event`, `traits` or `type` with `properties`, `context`, `contact` and the
fields of its type; `id` is its messageId, `arrives` its receivedAt, `fields` replaces any other field, `line` the whole
line), new `definitions` that arrive then, or no event, where something is due by time alone. `expect` lists what comes
out there: `segment entered for KEY of CONTACT at TIME by CAUSE`, of which only `entered` or `left` is needed. Nothing
else may come out. Time runs on to `until`, or to the last step. After a `delete` the `seq` of its contact and of those
it `forgets` begins anew, as that of a key that a step `drops` does. `carries` has the traits of each transition in order,
`silent` whether it is marked as of a silent backfill. With `only` the other engine is left out: the oracle takes every
definition for right, and knows no `limits`.

A table has a `test`, and the values of which it `holds` and `fails`: each as a trait and as a property of an event.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import segments
from tests import oracle, oracle_input

FOLDER = Path(__file__).parent
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OWN_FIELDS = ("event", "traits", "properties", "context", "anonymousId", "previousId", "groupId", "list", "action")
EXPECTED = re.compile(r"(?:(\S+) )?(entered|left)(?: for (.+?))?(?: of (\S+))?(?: at (.+?))?(?: by (\w+))?")
Pair = tuple[str, str, str | None]
Outcome = tuple[dict[Pair, list[tuple[Any, ...]]], list[int]]
"""Transitions by contact, segment and key, as (seq, transition, at, cause), and the numbers of the rejected lines."""


def time_ms(text: str) -> int:
    """`[Nd ]HH:MM[:SS[.f]]` of the Monday, or a whole instant (in UTC, where it has no offset), in ms."""
    if match := re.fullmatch(r"(?:(\d+)d )?(\d\d:\d\d.*)", text):
        moment = datetime.fromisoformat(f"1970-01-01T{match[2]}").replace(tzinfo=UTC) - EPOCH + MONDAY
        moment += timedelta(days=int(match[1] or 0))
    else:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def line_of(step: dict[str, Any], number: int) -> str:
    """The step's line of the events file."""
    if "line" in step:
        return str(step["line"])
    if "definitions" in step:
        line = {"type": "definitions", **step["definitions"], "receivedAt": oracle_input.shown(time_ms(step["at"]))}
        return json.dumps(line | step.get("fields", {}))
    event = {"type": step.get("type", "identify" if "traits" in step else "track"), "userId": step.get("contact", "c")}
    event |= {key: step[key] for key in OWN_FIELDS if key in step}
    event["timestamp"] = oracle_input.shown(time_ms(step["at"]))
    event["receivedAt"] = oracle_input.shown(time_ms(step.get("arrives", step["at"])))
    event["messageId"] = step.get("id", f"m{number}")
    event |= step.get("fields", {})
    line = json.dumps(event)
    if "filled_to" in step:
        line = line[:-1] + ', "filling": "' + "x" * (step["filled_to"] - len(line) - len(', "filling": ""')) + '"}'
    return line


def is_event(step: dict[str, Any]) -> bool:
    return bool({"event", "traits", "type", "line", "definitions"} & step.keys())


def expected(scenario: dict[str, Any]) -> Outcome:
    """What the steps say must come out."""
    emitted: dict[Pair, list[tuple[Any, ...]]] = defaultdict(list)
    counted: dict[Pair, int] = defaultdict(int)
    for step in scenario["steps"]:
        for text in step.get("expect", []):
            match = EXPECTED.fullmatch(text)
            assert match, f"expected '[segment] entered|left [for KEY] [of CONTACT] [at T] [by CAUSE]', got {text!r}"
            pair = (match[4] or step.get("contact", "c"), match[1] or "s", match[3])
            counted[pair] += 1
            at = oracle_input.shown(time_ms(match[5] or step["at"]))
            cause = match[6] or ("event" if is_event(step) else "timer")
            emitted[pair].append((counted[pair], match[2], at, cause))
        if step.get("type") == "delete":
            gone = {step.get("contact", "c"), *step.get("forgets", [])}
            counted = defaultdict(int, {pair: seq for pair, seq in counted.items() if pair[0] not in gone})
        if "drops" in step:
            counted = defaultdict(int, {pair: seq for pair, seq in counted.items() if pair[2] != step["drops"]})
    lines = [step for step in scenario["steps"] if is_event(step)]
    return dict(emitted), [number for number, step in enumerate(lines, 1) if step.get("rejected")]


def by_pair(transitions: list[dict[str, Any]]) -> dict[Pair, list[tuple[Any, ...]]]:
    pairs: dict[Pair, list[tuple[Any, ...]]] = defaultdict(list)
    for one in transitions:
        pair = (one["contact"], one["segment"], one.get("key"))
        pairs[pair].append((one["seq"], one["transition"], one["at"], one["cause"]))
    return dict(pairs)


def by_oracle(definitions: dict[str, Any], lines: list[bytes], until_ms: int | None, grace_ms: int) -> Outcome:
    transitions, rejected = oracle.simulate(definitions, lines, until_ms, grace_ms)
    return by_pair(transitions), [int(reason.split(":")[0]) for reason in rejected]


def by_core(
    definitions: dict[str, Any],
    lines: list[bytes],
    until_ms: int | None,
    grace_ms: int,
    limits: segments.Limits | None = None,
) -> Outcome:
    out = list(segments.simulate(segments.load(json.dumps(definitions)), lines, until_ms, grace_ms, limits))
    transitions = [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)]
    return by_pair(transitions), [one.line for one in out if isinstance(one, segments.RejectedLine)]


ENGINES: dict[str, Callable[..., Outcome]] = {"oracle": by_oracle, "core": by_core}


def scenarios() -> list[Any]:
    found = [(path, one) for path in sorted(FOLDER.glob("*.yaml")) for one in oracle_input.load(path.read_text())]
    return [pytest.param(one, id=f"{path.stem}: {one['name']}") for path, one in found]


def arguments_of(scenario: dict[str, Any]) -> tuple[dict[str, Any], list[bytes], int | None, int]:
    """The scenario's definitions, lines, end and grace in ms."""
    one = {key: scenario[key] for key in ("when", "hold", "tz", "per", "carry") if key in scenario}
    definitions = {"segments": scenario.get("segments", [{"id": "s", **one}])}
    definitions |= {"scores": scenario["scores"]} if "scores" in scenario else {}
    steps = scenario["steps"]
    lines = [line_of(step, number).encode() for number, step in enumerate(steps) if is_event(step)]
    until = scenario.get("until", None if is_event(steps[-1]) else steps[-1]["at"])
    until_ms = None if until is None else time_ms(until)
    return definitions, lines, until_ms, oracle_input.duration(scenario.get("grace", "2s"))


def outcome_by(engine: str, scenario: dict[str, Any]) -> Outcome:
    """What comes out when the engine runs the scenario's steps."""
    definitions, lines, until_ms, grace_ms = arguments_of(scenario)
    if "limits" not in scenario:
        return ENGINES[engine](definitions, lines, until_ms, grace_ms)
    limits = segments.Limits(grace_ms=grace_ms, **scenario["limits"])
    return by_core(definitions, lines, until_ms, grace_ms, limits)


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
    members = {name: {int(contact) for contact, segment, _ in pairs if segment == name} for name in tests}
    assert members["trait"] == members["property"]
    return members["trait"]


def runs() -> list[Any]:
    """Every scenario with each engine that it is for."""
    return [
        pytest.param(*one.values, engine, id=f"{one.id}-{engine}")
        for one in scenarios()
        for engine in ENGINES
        if one.values[0].get("only", engine) == engine
    ]


@pytest.mark.parametrize("scenario, engine", runs())
def test_the_scenario_comes_out_as_it_says(scenario: dict[str, Any], engine: str) -> None:
    """Each rule of the language page has a place where it would be seen to be broken."""
    if "steps" in scenario:
        assert outcome_by(engine, scenario) == expected(scenario)
    else:
        values = scenario["holds"] + scenario["fails"]
        members = members_by(engine, scenario["test"], values)
        right = set(range(len(scenario["holds"])))
        assert [values[n] for n in sorted(members ^ right)] == [], "the test is wrong of these"


def of_core(scenario: dict[str, Any]) -> list[Any]:
    """The core's transitions in full."""
    definitions, lines, until_ms, grace_ms = arguments_of(scenario)
    out = segments.simulate(segments.load(json.dumps(definitions)), lines, until_ms, grace_ms)
    return [one for one in out if not isinstance(one, segments.RejectedLine)]


@pytest.mark.parametrize("scenario", [one for one in scenarios() if "carries" in one.values[0]])
def test_transitions_carry_the_traits_they_are_asked_for(scenario: dict[str, Any]) -> None:
    """Whoever is told of a transition knows the contact as of its instant, with no look-up of his own."""
    assert scenario["carries"] == [one.traits for one in of_core(scenario)]


@pytest.mark.parametrize("scenario", [one for one in scenarios() if "silent" in one.values[0]])
def test_what_a_silent_backfill_changes_is_marked(scenario: dict[str, Any]) -> None:
    """Else everybody who has belonged for years would be written to as if they had come today."""
    assert scenario["silent"] == [one.silent for one in of_core(scenario)]


def test_names_are_told_apart() -> None:
    """Two scenarios of one name would be one in every report."""
    names = [one.values[0]["name"] for one in scenarios()]
    assert len(names) == len(set(names))
