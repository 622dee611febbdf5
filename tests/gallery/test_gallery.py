"""The gallery `segments/examples/`: every segment has a way in and a way out here, and the tables find every segment.

A file of this folder is a list of `segment` (its id) and `steps`, as in tests/scenarios; what the other segments of the
definitions do is not looked at.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

import segments
from schemas.events import parse_event
from segments.warn import warnings
from tests import oracle_input
from tests.scenarios import test_scenarios as scenarios

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "segments" / "examples"
FILES = sorted(EXAMPLES.glob("*/*.yaml"))
KINDS = ("goal", "stage", "persona")


@functools.cache
def definitions_of(path: Path) -> dict[str, Any]:
    definitions: dict[str, Any] = oracle_input.load(path.read_text())
    return definitions


@functools.cache
def gallery() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every segment of the gallery by its id, with its file."""
    found = [(path, one) for path in FILES for one in definitions_of(path)["segments"]]
    assert len({one["id"] for _, one in found}) == len(found), "an id stands in two places"
    return {one["id"]: (path, one) for path, one in found}


@functools.cache
def ways() -> list[dict[str, Any]]:
    """The scenario of each segment."""
    return [one for path in sorted(HERE.glob("*.yaml")) for one in oracle_input.load(path.read_text())]


WAYS = [pytest.param(one, id=one["segment"]) for one in ways()]


def transitions(outcome: scenarios.Outcome, segment: str) -> dict[scenarios.Pair, list[tuple[Any, ...]]]:
    return {pair: one for pair, one in outcome[0].items() if pair[1] == segment}


def tag(segment: dict[str, Any], kind: str) -> str:
    """The segment's `goal`, `stage` or `persona`, of which it must have exactly one."""
    (found,) = [text.removeprefix(f"{kind}:") for text in segment["tags"] if text.startswith(f"{kind}:")]
    return found


@pytest.mark.parametrize("engine", scenarios.ENGINES)
@pytest.mark.parametrize("way", WAYS)
def test_the_segment_is_entered_and_left_as_its_scenario_says(way: dict[str, Any], engine: str) -> None:
    """An example that nobody can enter, or that does something else than it says, is worse than none."""
    segment = way["segment"]
    named = {"segments": [], "steps": [_of_segment(step, segment) for step in way["steps"]]}
    expected = transitions(scenarios.expected(named), segment)
    assert {"entered", "left"} <= {one[1] for pair in expected.values() for one in pair}
    run = {**way, **definitions_of(gallery()[segment][0])}
    assert transitions(scenarios.outcome_by(engine, run), segment) == expected


def _of_segment(step: dict[str, Any], segment: str) -> dict[str, Any]:
    return {**step, "expect": [f"{segment} {text}" for text in step.get("expect", [])]}


def test_every_segment_has_its_scenario() -> None:
    """A segment that is added to the gallery comes with a way in and a way out."""
    ids = [one["segment"] for one in ways()]
    assert sorted(ids) == sorted(gallery())


@pytest.mark.parametrize("path", [pytest.param(one, id=f"{one.parent.name}/{one.name}") for one in FILES])
def test_each_file_loads_by_itself(path: Path) -> None:
    """Whoever copies a file has all that it names."""
    assert len(segments.load(path.read_text()).segments) == len(definitions_of(path)["segments"])


def test_the_files_load_together_without_a_warning() -> None:
    """Whoever takes all of it gets no more to read than whoever takes one file."""
    parts = [definitions_of(path) for path in FILES]
    whole = {kind: [one for part in parts for one in part.get(kind, [])] for kind in ("scores", "segments")}
    assert [] == warnings(segments.load(json.dumps(whole)))


@pytest.mark.parametrize("way", WAYS)
def test_the_scenario_has_every_name_that_its_segment_asks_for(way: dict[str, Any]) -> None:
    """With its events as a sample nothing is missed: a name that is misspelled in either would be seen."""
    lines = [scenarios.line_of(step, number) for number, step in enumerate(way["steps"]) if scenarios.is_event(step)]
    definitions = segments.load(gallery()[way["segment"]][0].read_text())
    told = warnings(definitions, events=[parse_event(line.encode()) for line in lines])
    assert [] == [text for text in told if f"segment '{way['segment']}'" in text]


def test_each_segment_says_what_it_is_for() -> None:
    """A marketer reads the name, then the description; the tags are how it is found."""
    for path, one in gallery().values():
        assert one["name"] and one["description"].endswith("."), f"{path.name}: {one['id']} needs both"
        assert len(one["tags"]) == len(KINDS), f"{path.name}: {one['id']} needs a goal, a stage and a persona"
        assert all(tag(one, kind) for kind in KINDS)


def test_the_tables_list_every_segment_where_its_tags_say() -> None:
    """The README's rows are `goal | stage | persona | id | name | file`, sorted, and nothing else."""
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (\S+) \| `(\S+)` \| (.+?) \| \[.*?\]\((\S+)\) \|$", _readme(), re.MULTILINE
    )
    found = [
        (*(tag(one, kind) for kind in KINDS), one["id"], one["name"], _name(path)) for path, one in gallery().values()
    ]
    assert rows == sorted(found)


def _readme() -> str:
    return (EXAMPLES / "README.md").read_text()


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
