"""What the checker says can never be true, or always is, against the oracle: a warning that is wrong is worse than none."""

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

import segments
from segments.warn import warnings
from tests.histories import ALL, Case, cases, focus_of, histories, worlds
from tests.histories_conditions import CONSTRUCTS, scores
from tests.property.engines import by_oracle, members, untils_ms

NOBODY, EVERYONE = "nobody can ever be in it", "every known contact is in it"
KNOWN = {"id": "known", "when": {"everyone": True}}


@st.composite
def pairs(draw: st.DrawFn) -> Case:
    """Definitions in which conditions of one construct stand together, with and without a negation, and a history."""
    world, focus = draw(worlds(ALL)), focus_of(ALL, ("per", "definitions"))
    defined: list[dict[str, Any]] = []
    for number in range(4):
        construct = CONSTRUCTS[draw(st.sampled_from(sorted(CONSTRUCTS)))](world)
        parts = draw(st.lists(construct, min_size=1, max_size=2))
        parts += [{"not": part} for part in draw(st.lists(st.sampled_from(parts) | construct, max_size=2))]
        head = draw(st.sampled_from(["all", "any", "none"]))
        defined.append({"id": f"s{number}", "when": {head: parts}})
    first = {"segments": defined, "scores": [draw(scores(world, name)) for name in ("p", "q")]}
    return Case(first, draw(histories(world, focus, first)), world)


def assert_right(case: Case, until_ms: int | None) -> None:
    """Fails where somebody is in a segment that nobody can be in, or isn't in one that everyone is in."""
    defined = {**case.definitions, "segments": [*case.definitions["segments"], KNOWN]}
    said = {
        line.split("'")[1]: EVERYONE in line
        for line in warnings(segments.load_data(defined))
        if line.startswith("segment ") and (NOBODY in line or EVERYONE in line)
    }
    bodies = {body["id"]: body for body in defined["segments"]}
    transitions, _ = by_oracle(defined, case.raw(), until_ms)
    inside = members(transitions)
    for id, everyone in said.items():
        if not everyone:
            event("nobody can be in it")
            assert [one for one in transitions if one["segment"] == id] == []
        elif not {"per", "hold"} & set(bodies[id]):
            event("everyone is in one that was not meant to be" if id != "known" else "everyone is known")
            assert {pair[0] for pair in inside if pair[1] == id} == {pair[0] for pair in inside if pair[1] == "known"}


@settings(max_examples=settings().max_examples // 2)
@given(st.data())
def test_what_is_warned_of_is_so_where_conditions_of_one_kind_stand_together(data: st.DataObject) -> None:
    """There is most to be said."""
    case = data.draw(pairs(), label="case")
    assert_right(case, data.draw(st.sampled_from(untils_ms(case)), label="until_ms"))


@settings(max_examples=settings().max_examples // 5)
@given(st.data())
def test_what_is_warned_of_is_so_in_any_definitions(data: st.DataObject) -> None:
    """And in most there is nothing to be said."""
    case = data.draw(cases(ALL, leave_out=("definitions",)), label="case")
    assert_right(case, data.draw(st.sampled_from(untils_ms(case)), label="until_ms"))
