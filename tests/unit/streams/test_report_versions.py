"""Which versions of a sequence there are, and which segments are followed, as the definitions topic says."""

from typing import Any

import pytest

from actions.sequences import VERSIONS_KEPT
from streams.report_versions import UnknownSequence, versions_of
from streams.revisions import Revisions, messages, revise

Records = list[tuple[bytes, bytes]]
NEW = {"id": "new", "when": {"trait": "plan", "eq": "trial"}}


def apply(records: Records, *sequences: dict[str, Any], removed: str | None = None) -> None:
    """As `tidegate segments apply` and `remove` do."""
    revisions = Revisions()
    for key, value in records:
        revisions.add(key, value)
    bodies: dict[Any, Any] = {("segment", "new"): NEW} | {("sequence", each["id"]): each for each in sequences}
    gone: Any = () if removed is None else (("sequence", removed),)
    revised = revise(revisions.in_force, bodies, gone, len(records))
    assert revised is not None
    records += messages(revised)


def sequence(wait: str, goal: dict[str, Any], id: str = "welcome") -> dict[str, Any]:
    return {"id": id, "on": {"segment": "new"}, "goal": goal, "steps": [{"wait": wait}]}


def in_place(event: str) -> dict[str, Any]:
    return {"when": {"event": event}}


def test_a_goal_in_place_is_followed_while_a_version_is_kept_that_has_it() -> None:
    records: Records = []
    apply(records, sequence("1d", in_place("A")))
    for days in range(2, VERSIONS_KEPT + 2):
        apply(records, sequence(f"{days}d", in_place("B")))
    versions, segments = versions_of("welcome", records)
    goals = [version.goal.segment for version in versions.values() if version.goal is not None]
    assert [True] * (VERSIONS_KEPT + 1) == [goal in segments for goal in goals]
    assert "new" in segments

    apply(records, sequence("60d", in_place("B")))
    versions, segments = versions_of("welcome", records)
    assert [*range(1, VERSIONS_KEPT + 3)] == sorted(versions)
    assert goals[0] not in segments and goals[1] in segments


def test_of_a_sequence_that_was_removed_nothing_is_followed_but_what_others_ask() -> None:
    records: Records = []
    apply(records, sequence("1d", in_place("A")), sequence("1d", in_place("B"), "other"))
    apply(records, removed="welcome")
    versions, segments = versions_of("welcome", records)

    assert [1] == sorted(versions)
    assert {"new", *versions_of("other", records)[0][1].lifted} == segments


def test_a_version_that_this_code_refuses_is_left_out() -> None:
    records: Records = []
    apply(records, sequence("1d", in_place("A")))
    apply(records, sequence("2d", in_place("A")))
    records = [(key, value.replace(b'"1d"', b'"999d"')) for key, value in records]

    assert [2] == sorted(versions_of("welcome", records)[0])


def test_one_that_never_was_is_refused_with_those_that_are() -> None:
    records: Records = []
    apply(records, sequence("1d", in_place("A")))

    with pytest.raises(UnknownSequence, match=r"expected the id of a sequence \(welcome\), got 'nope'"):
        versions_of("nope", records)
