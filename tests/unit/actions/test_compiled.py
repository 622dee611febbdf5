"""Sequences in force beside the versions before them."""

from __future__ import annotations

from typing import Any

import pytest

from actions import Sequence, sequence_of
from actions.compiled import compile_sequences
from actions.machine import InForce
from segments import DefinitionErrors, Definitions, load_data

SEGMENTS = [{"id": "trial", "when": {"trait": "plan", "eq": "trial"}}]


def sequence(asked: str) -> Sequence:
    """One that asks, in place, for a segment."""
    return sequence_of(
        {
            "id": "welcome",
            "on": {"segment": "trial"},
            "steps": [{"branch": {"if": {"not": {"segment": asked}}, "then": ["end"]}}, {"wait": "1d"}],
        }
    )


def load(lifted: list[dict[str, Any]]) -> Definitions:
    return load_data({"segments": SEGMENTS}, lifted=lifted)


def test_an_earlier_version_that_asks_for_what_is_gone_is_not_kept_and_the_others_are() -> None:
    """A worker must start, whatever a version of last year asked for."""
    now = InForce(sequence("trial"), 3, 0)
    definitions, machine = compile_sequences(
        [now], {("welcome", 1): sequence("gone"), ("welcome", 2): sequence("trial")}, load
    )
    assert sorted(machine.kept) == [("welcome", 2), ("welcome", 3)]
    assert len(definitions.segments) == 2, "the segment, and the one condition in place that both versions share"


def test_what_is_in_force_has_to_be_whole() -> None:
    with pytest.raises(DefinitionErrors, match="gone"):
        compile_sequences([InForce(sequence("gone"), 1, 0)], {}, load)
