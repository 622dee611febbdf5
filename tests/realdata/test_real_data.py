"""Ten segments over two sets of real events: the core's transitions against the same computed by pandas, one by one.

The pandas side starts from the files' own columns and knows neither our events nor our code. `TIDEGATE_REALDATA=full`
takes every contact; without it, those of the lowest hashes.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pandas as pd
import pytest

import segments
from deploy import journey
from schemas.instants import format_instant
from schemas.transitions import Transition
from tests.realdata import journey_frames, retail, retail_frames
from tests.realdata.grid import DAY_MS

HERE = Path(__file__).parent
FULL = os.environ.get("TIDEGATE_REALDATA") == "full"
PLAYED_OUT_MS = 30 * DAY_MS  # time goes on after the last event, so that much is left to time alone

Key = tuple[str, str]
Lines = list[str]


@dataclass(frozen=True)
class Source:
    """A set of real events: as the core reads them, as pandas does, and how many contacts are enough for every day."""

    name: str
    events: Callable[[], list[dict[str, Any]]]
    frames: ModuleType
    contacts: int

    @property
    def until_ms(self) -> int:
        """The instant up to which time is played."""
        return int(self.frames.events()["at_ms"].max()) + PLAYED_OUT_MS


def journey_events() -> list[dict[str, Any]]:
    """The Complete Journey at its own times: the shift is such that the last event stays where it was."""
    return journey.events(int(journey_frames.events()["at_ms"].max()) + journey.LAST_BEFORE_UNTIL_MS)


SOURCES = {
    "journey": Source("journey", journey_events, journey_frames, contacts=250),
    "retail": Source("retail", retail.events, retail_frames, contacts=1500),
}
SEGMENTS = [(source.name, segment) for source in SOURCES.values() for segment in source.frames.SEGMENTS]


@cache
def chosen(name: str) -> frozenset[str]:
    """The contacts to look at: all, or those of the lowest hashes."""
    contacts = sorted(
        set(SOURCES[name].frames.events()["contact"]), key=lambda one: hashlib.sha256(one.encode()).digest()
    )
    return frozenset(contacts if FULL else contacts[: SOURCES[name].contacts])


@cache
def simulated(name: str) -> dict[str, dict[Key, Lines]]:
    """What the core makes of a set, by segment; one run for its five segments."""
    source = SOURCES[name]
    lines = [orjson.dumps(event) for event in source.events() if event["userId"] in chosen(name)]
    definitions = segments.load((HERE / f"{name}.yaml").read_text())
    found: dict[str, dict[Key, Lines]] = defaultdict(lambda: defaultdict(list))
    for one in segments.simulate(definitions, lines, until_ms=source.until_ms):
        assert isinstance(one, Transition), f"a real event was rejected: {one}"
        message_id = one.event.message_id if one.event is not None else None
        line = shown(one.seq, one.transition, one.at_ms, one.cause, message_id or "")
        found[one.segment][one.contact, one.key or ""].append(line)
    return found


def computed(name: str, segment: str) -> dict[Key, Lines]:
    """What pandas makes of the same."""
    source = SOURCES[name]
    frame: pd.DataFrame = source.frames.expected(segment, set(chosen(name)), source.until_ms)
    found: dict[Key, Lines] = defaultdict(list)
    for contact, key, *rest in frame.itertuples(index=False):
        found[contact, key].append(shown(*rest))
    return found


def shown(seq: int, transition: str, at_ms: int, cause: str, message_id: str) -> str:
    """A transition as a line to compare and to read."""
    return f"{seq} {transition} {format_instant(at_ms)} {cause} {message_id}".rstrip()


def differences(expected: dict[Key, Lines], actual: dict[Key, Lines]) -> Iterable[str]:
    """Each contact (and key) whose transitions differ: the first line that does, on either side."""
    for key in sorted(expected.keys() | actual.keys()):
        left, right = expected.get(key, []), actual.get(key, [])
        if left != right:
            same = takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
            at = sum(1 for _ in same)
            yield f"{' '.join(key).strip()}, from transition {at + 1} on: expected {left[at:][:2]}, got {right[at:][:2]}"


@pytest.mark.parametrize(("name", "segment"), SEGMENTS)
def test_every_transition_of_real_customers_is_the_one_that_pandas_computes(name: str, segment: str) -> None:
    """What random histories are not: weeks apart, hundreds an event name, on the same minute, over two changes of clocks."""
    expected = computed(name, segment)
    transitions = [line.split() for lines in expected.values() for line in lines]
    assert {way for _, way, *_ in transitions} == {"entered", "left"}
    assert len(transitions) > 100, "too few transitions to tell anything"

    found = list(differences(expected, simulated(name)[segment]))

    assert not found, f"{len(found)} of {len(expected)} differ, such as\n" + "\n".join(found[:5])


@pytest.mark.parametrize("name", SOURCES)
def test_the_definitions_have_a_computation_each(name: str) -> None:
    defined = {segment.id for segment in segments.load((HERE / f"{name}.yaml").read_text()).segments}
    assert defined == set(SOURCES[name].frames.SEGMENTS)
