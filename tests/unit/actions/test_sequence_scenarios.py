"""Every scenario of `sequence_scenarios`, through the oracle and through the core.

A scenario has `segments` (each by its id: its `when`, or its body where it has one), a `sequence` (whose id is `s`) or
several `sequences`, in force from `since` (default: before everything), and `steps`: events as those of
`tests/scenarios`, or with `from` and `to` one for each number between, for which `{}` stands. Time runs on to `until`,
or to the last step.

`expect` lists all that comes out, of one contact and sequence in order: the time, `CONTACT:` where it isn't `c`, the
sequence where there are several, and `send STEP`, `skipped CODE`, `set {…}`, `entered`, `converted`, `completed` or
`exited REASON`, with the value of `per` in brackets. `bodies` are parts of what is said there, null for what must not
be. Where much comes out, `count` says how often each comes instead. With `only` the other engine is left out; `differs`
says what the core does instead, which the page may mean as well.
"""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.oracle_input import load
from tests.scenarios.test_scenarios import line_of, time_ms
from tests.sequence_runs import Said, by_core, by_oracle, in_force

FOLDER = Path(__file__).parent / "sequence_scenarios"
SCENARIOS = [scenario for path in sorted(FOLDER.glob("*.yaml")) for scenario in load(path.read_text())]
Spoken = dict[tuple[str, str], list[tuple[int, str]]]
"""(at, what) by contact and sequence."""


def definitions_of(scenario: dict[str, Any]) -> dict[str, Any]:
    segments = scenario["segments"].items()
    return {"segments": [{"id": id, **(body if "when" in body else {"when": body})} for id, body in segments]}


def events_of(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps, with each number of a range in its place."""
    return [event for step in scenario["steps"] for event in (numbered(step) if "from" in step else [step])]


def numbered(step: dict[str, Any]) -> list[dict[str, Any]]:
    rest = json.dumps({key: part for key, part in step.items() if key not in ("from", "to")})
    numbers = range(step["from"], step["to"] + 1)
    return [json.loads(rest.replace("{}", str(number)).replace("{:02}", f"{number:02}")) for number in numbers]


def what_of(said: Said) -> str:
    """What is said, in the words of a scenario."""
    what = said.what.removeprefix("Sequence ").lower() if said.what.startswith("Sequence ") else said.what
    what += f" {said.body['reason']}" if "reason" in said.body and what == "exited" else ""
    what += f" {json.dumps(said.body, sort_keys=True)}" if what == "set" else ""
    return what + (f" ({said.body['key']})" if "key" in said.body and what != "set" else "")


def expected(scenario: dict[str, Any]) -> Spoken:
    """What the scenario's `expect` says."""
    found: Spoken = defaultdict(list)
    for line in scenario["expect"].splitlines():
        at, what = line.split("  ", 1)
        what, contact, sequence = what.strip(), "c", "s"
        if ": " in what and " " not in what.split(": ")[0]:
            contact, what = what.split(": ", 1)
        if what.startswith("set "):
            sequence = ""
        elif "sequences" in scenario:
            sequence, what = what.split(" ", 1)
        found[contact, sequence].append((time_ms(at), what))
    return dict(found)


def run(scenario: dict[str, Any], engine: str) -> list[Said]:
    written = scenario.get("sequences") or [{"id": "s", **scenario["sequence"]}]
    since = {"since_ms": time_ms(scenario["since"])} if "since" in scenario else {}
    lines = [line_of(step, number).encode() for number, step in enumerate(events_of(scenario))]
    until_ms = time_ms(scenario.get("until", events_of(scenario)[-1]["at"]))
    engines = {"oracle": by_oracle, "core": by_core}
    said, _ = engines[engine](definitions_of(scenario), [in_force(one, **since) for one in written], lines, until_ms)
    return said


def cases() -> list[Any]:
    """Each scenario with each engine that it is for."""
    return [
        pytest.param(scenario, engine, id=f"{scenario['name']}-{engine}", marks=marks_of(scenario, engine))
        for scenario in SCENARIOS
        for engine in ("oracle", "core")
        if scenario.get("only", engine) == engine
    ]


def marks_of(scenario: dict[str, Any], engine: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=scenario["differs"])] if engine == "core" and "differs" in scenario else []


@pytest.mark.parametrize(("scenario", "engine"), cases())
def test_scenario(scenario: dict[str, Any], engine: str) -> None:
    said = run(scenario, engine)
    if "count" in scenario:
        assert Counter(re.sub(r" [({].*", "", what_of(one)) for one in said) == scenario["count"]
    else:
        assert spoken(said) == expected(scenario)
    for body in scenario.get("bodies", []):
        named = {"contact": "c", **body}
        fitting = [one for one in said if (one.contact, what_of(one)) == (named["contact"], named["what"])]
        asked = {key: part for key, part in body.items() if key not in ("contact", "what")}
        assert [{key: one.body.get(key) for key in asked} for one in fitting] == [asked]


def spoken(said: list[Said]) -> Spoken:
    found: Spoken = defaultdict(list)
    for one in said:
        found[one.contact, one.sequence].append((one.at_ms, what_of(one)))
    return dict(found)
