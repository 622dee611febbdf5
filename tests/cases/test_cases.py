"""What other products' tests agree on (see README.md beside this), by the oracle and by the core."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segments
from tests import oracle, oracle_input

FOLDER = Path(__file__).parent
CASES = sorted(path.parent.name for path in FOLDER.glob("*/expect.json"))

Run = tuple[list[dict[str, Any]], list[str]]


def by_oracle(definitions: str, lines: list[bytes], until_ms: int, grace_ms: int) -> Run:
    return oracle.simulate(oracle_input.load(definitions), lines, until_ms, grace_ms)


def by_core(definitions: str, lines: list[bytes], until_ms: int, grace_ms: int) -> Run:
    out = list(segments.simulate(segments.load(definitions), lines, until_ms, grace_ms))
    rejected = [f"{one.line}: {one.reason}" for one in out if isinstance(one, segments.RejectedLine)]
    return [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)], rejected


ENGINES: dict[str, Callable[..., Run]] = {"oracle": by_oracle, "core": by_core}


def run(engine: str, case: str, check: dict[str, Any]) -> Run:
    """What the engine makes of the check's first events, run on to its `until`."""
    definitions = (FOLDER / case / check.get("segments", "segments.yaml")).read_text()
    lines = (FOLDER / case / "events.jsonl").read_bytes().splitlines()[: check["events"]]
    until_ms = oracle_input.read_instant(check["until"])
    assert until_ms is not None, check
    return ENGINES[engine](definitions, lines, until_ms, oracle_input.duration(check.get("grace", "2s")))


def by_pair(transitions: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Each contact's transitions of each segment, in order, once `seq` is seen to count them."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for one in transitions:
        pair = pairs.setdefault((one["segment"], one["contact"]), [])
        pair.append(one["transition"])
        assert (one["seq"], one["transition"]) == (len(pair), "entered" if len(pair) % 2 else "left")
    return pairs


def checks(case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / case / "expect.json").read_text())
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_the_members_are_those_that_the_other_product_expects(case: str, engine: str) -> None:
    """What several products agree on, a newcomer takes for granted."""
    for check in checks(case):
        transitions, rejected = run(engine, case, check)
        pairs = by_pair(transitions)
        assert rejected == []
        for segment, members in check.get("members", {}).items():
            inside = [who for (name, who), moves in pairs.items() if name == segment and moves[-1] == "entered"]
            assert sorted(inside) == sorted(members), (check["until"], segment)
        if "transitions" in check:
            wanted: dict[tuple[str, str], list[str]] = {}
            for segment, contact, transition, *_ in check["transitions"]:
                wanted.setdefault((segment, contact), []).append(transition)
            assert pairs == wanted, check["until"]


def test_every_case_names_its_source() -> None:
    """What was taken from others is taken with their names."""
    index = {one["id"].replace("/", "__"): one for one in json.loads((FOLDER / "index.json").read_text())}
    assert sorted(index) == CASES
    assert all(one["source"] and one["licence"] in ("MIT", "Apache-2.0") for one in index.values())
