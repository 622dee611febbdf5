"""Definitions that only say otherwise what they said: whatever the definitions and the history, nobody hears of it."""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

import segments
from segments.questions import questions
from tests.histories import ALL, Definitions, cases
from tests.histories_conditions import Condition
from tests.oracle_values import duration
from tests.property.engines import by_core, by_oracle, untils_ms

DURATIONS = ("within", "for", "enter", "leave", "half_life", "expires", "unchanged_for", "every")
OF_EVENTS = ("where", "latest", "earliest", "any_item", "no_item")
TESTED = ("trait", "eq", "tz", "ignore_case")


@st.composite
def respelled(draw: st.DrawFn, tree: Any, key: str = "") -> Any:
    """The tree with conditions in another order, durations in ms, `in` for `eq`, and twice `not` around conditions.

    What stands under `where` and the like, a language of its own, stays.
    """
    if key in OF_EVENTS:
        return tree
    if isinstance(tree, list):
        parts = [draw(respelled(part, key)) for part in tree]
        return draw(st.permutations(parts)) if key in ("all", "any", "none") else parts
    if isinstance(tree, dict):
        made: Condition = {name: draw(respelled(part, name)) for name, part in tree.items()}
        if "trait" in made and "eq" in made and not isinstance(made["eq"], dict) and set(made) <= set(TESTED):
            made["in"] = [made.pop("eq")]
        if key in ("when", "all", "any", "none", "not", "held") and draw(st.integers(0, 3)) == 0:
            made = {"not": {"not": made}}
        return made
    return f"{duration(tree)}ms" if key in DURATIONS and isinstance(tree, str) else tree


@st.composite
def other_words(draw: st.DrawFn, definitions: Definitions) -> Definitions:
    """The definitions in other words; rules of scores stay in their order, which tells nothing to people alone."""
    made: Definitions = {
        "segments": [{**one, "when": draw(respelled(one["when"], "when"))} for one in definitions["segments"]]
    }
    for one in made["segments"]:
        if "hold" in one:
            one["hold"] = draw(respelled(one["hold"]))
    return made | ({"scores": draw(respelled(definitions["scores"]))} if "scores" in definitions else {})


@given(st.data())
def test_definitions_in_other_words_ask_the_same_and_move_nobody(data: st.DataObject) -> None:
    """Neither where they come in the middle, whatever is held then, nor where they are there from the start."""
    construct = data.draw(st.sampled_from(["held", "held", "hold", "per", "score", ALL]), label="construct")
    case = data.draw(cases(construct, leave_out=("definitions",)), label="case")
    others = data.draw(other_words(case.definitions), label="others")
    assume(others != case.definitions)
    until_ms = data.draw(st.sampled_from(untils_ms(case)), label="until_ms")
    at = data.draw(st.integers(0, len(case.lines)), label="at")
    received = case.lines[at - 1]["receivedAt"] if at else case.world.start_ms
    assume(received is not None)

    def with_line(definitions: Definitions) -> list[bytes]:
        line = {"type": "definitions", **definitions, "receivedAt": received}
        return [json.dumps(each).encode() for each in (*case.lines[:at], line, *case.lines[at:])]

    assert questions(segments.load_data(others)) == questions(segments.load_data(case.definitions))
    in_the_middle = by_core(case.definitions, with_line(others), until_ms)
    assert in_the_middle == by_core(case.definitions, with_line(case.definitions), until_ms)
    assert by_oracle(others, case.raw(), until_ms) == by_oracle(case.definitions, case.raw(), until_ms)
