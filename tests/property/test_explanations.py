"""What `explain` says, on random definitions and histories: answers, what is behind them, and what will change."""

from math import fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import segments
from schemas.instants import parse_instant
from schemas.rejected import Rejection
from segments.conditions import EventIs, ScoreIs, SequenceIs, TraitIs
from segments.explain import explain
from segments.explain_ahead import look_ahead
from segments.explain_events import in_range, measured
from segments.explain_leaves import explain_leaf
from segments.explain_lines import Story
from segments.explain_nodes import Membership, UnknownName
from segments.explain_scene import Found, Scene, grouped
from segments.explain_sequences import explain_sequence
from segments.explain_text import text_of
from segments.explain_tree import Place, places, watched_answer
from segments.nodes import KeyedNode
from segments.predicates import finder
from segments.program import Limits
from segments.simulate import Run
from tests.histories import ALL, Case, cases

few = settings(max_examples=max(settings().max_examples // 10, 10))
OF_TIME = (
    "times",
    "regularly",
    "sequence",
    "score",
    "held",
    "hold",
    "segment",
    "per",
    "calendar",
    "link",
    "definitions",
)
OF_EVENTS = (
    "event",
    "totals",
    "distinct",
    "times",
    "ends",
    "regularly",
    "by",
    "local",
    "sequence",
    "per",
    "contact",
    "link",
    "score",
    "unchanged_for",
)
CONTACTS = ("a", "b", "x", "y")
# what a node says, and what its answer is of those below it
COMBINED = {"all": all, "any": any, "none": lambda answers: not any(answers), "not": lambda answers: not any(answers)}


def instants_ms(case: Case) -> list[int | None]:
    """Where to look: after the last line, in the midst of all, and long after."""
    start_ms, unit_ms = case.world.start_ms, case.world.unit_ms
    return [None, None, start_ms + 12 * unit_ms, start_ms + 45 * unit_ms, start_ms + 400 * unit_ms]


def stories(data: st.DataObject, construct: str) -> list[tuple[Case, Story]]:
    """Those of the contacts that a random history knows at some instant."""
    case = data.draw(cases(construct), label="case")
    at_ms = data.draw(st.sampled_from(instants_ms(case)), label="at_ms")
    found = []
    for contact in CONTACTS:
        try:
            found.append((case, Story(segments.load_data(case.definitions), case.raw(), contact, at_ms, Limits())))
        except UnknownName:
            continue
    return found


def whole_run(case: Case, at_ms: int | None) -> Run:
    """All lines through the core, without those that arrived after `at_ms`."""
    run = Run(segments.load_data(case.definitions), Limits())
    for line, raw in zip(case.lines, case.raw(), strict=True):
        arrived = line.get("receivedAt") if line.get("receivedAt") is not None else line.get("timestamp")
        if at_ms is not None and isinstance(arrived, int) and arrived > at_ms:
            continue
        try:
            list(run.take(raw))
        except Rejection:
            continue
    list(run.end(at_ms))
    return run


@pytest.mark.parametrize("construct", ["link", "delete", "definitions", ALL])
@few
@given(st.data())
def test_a_contact_found_among_the_lines_is_stepped_as_in_the_whole_run(construct: str, data: st.DataObject) -> None:
    """A line that is left out, or an arrival that is, would explain a contact that never was."""
    case = data.draw(cases(construct), label="case")
    at_ms = data.draw(st.sampled_from(instants_ms(case)), label="at_ms")
    run = whole_run(case, at_ms)
    for contact in CONTACTS:
        state = run.states.get(run.names.contact_of(contact))
        if state is None:
            with pytest.raises(UnknownName):
                Story(segments.load_data(case.definitions), case.raw(), contact, at_ms, Limits())
            continue
        story = Story(segments.load_data(case.definitions), case.raw(), contact, at_ms, Limits())
        assert story.contact == run.names.contact_of(contact)
        assert story.run.program.encode(story.state) == run.program.encode(state)


@pytest.mark.parametrize("construct", [*OF_TIME, ALL])
@few
@given(st.data())
def test_answers_agree_with_each_other_and_with_the_membership(construct: str, data: st.DataObject) -> None:
    """An explanation that contradicts what the service said is worse than none."""
    case = data.draw(cases(construct), label="case")
    at_ms = data.draw(st.sampled_from(instants_ms(case)), label="at_ms")
    run = whole_run(case, at_ms)
    definitions = segments.load_data(case.definitions)
    for contact in CONTACTS:
        name = run.names.contact_of(contact)
        state = run.states.get(name)
        if state is None:
            continue
        found = explain(definitions, case.raw(), contact, at_ms=at_ms)
        members = {(segment, key) for segment, key, _, _ in state.memberships()}
        for segment in found.segments:
            node = run.program.by_id[segment.id]
            for membership in segment.memberships:
                assert membership.member is ((segment.id, membership.key) in members)
                if not node.holds:
                    assert membership.condition.answer is membership.member
                assert_combined(membership)
        assert found.json()["contact"] == name
        assert all(one.isprintable() or one == "\n" for one in text_of(found, 80))


def assert_combined(membership: Membership) -> None:
    for node in membership.condition.walk():
        if node.says in COMBINED:
            assert node.answer is COMBINED[node.says](part.answer for part in node.parts), node.path
        elif node.says.startswith("held for "):
            assert not node.answer or node.parts[0].answer, node.path


@pytest.mark.parametrize("construct", [*OF_EVENTS, ALL])
@few
@given(st.data())
def test_what_is_behind_an_answer_gives_that_answer(construct: str, data: st.DataObject) -> None:
    """Evidence is looked up in the history, the answer in what the core kept of it: they must say the same."""
    for _, story in stories(data, construct):
        index = story.run.program
        for segment in index.definitions.segments:
            keys: list[str | None] = [None] if segment.per is None else list(story.state.keyed.get(segment.id, {}))
            for key in keys:
                scene = scene_of(story, segment.id, segment.per, key)
                for place in places(segment, index.scores_by_id).walk():
                    assert_evidence(scene, place, watched_answer(place, segment.id, key)(story.state))


def scene_of(story: Story, id: str, per: str | None, key: str | None) -> Scene:
    node = story.run.program.by_id[id]
    past = story.run.past_of(story.contact)
    scene = Scene(story.run.program, story.state, story.at_ms, past, story.survey.event_names)
    return (
        scene.of_value(node, key, per) if isinstance(node, KeyedNode) and key is not None and per is not None else scene
    )


def assert_evidence(scene: Scene, place: Place, answer: bool) -> None:
    condition = place.condition
    if isinstance(condition, EventIs):
        inside = in_range(scene, condition, Found(scene, condition.matching).events)
        groups: list[Any] = [inside]
        if condition.by is not None:
            groups = [events for _, events in grouped(inside, finder(condition.by, in_context=True)).values()]
        assert any(measured(scene, condition.measure, events)[1] for events in groups) is answer
    elif isinstance(condition, SequenceIs):
        evidence = explain_sequence(scene, condition)[0]
        assert (evidence["completed"] and "because" not in evidence) is answer
    elif isinstance(condition, ScoreIs):
        evidence = explain_leaf(scene, condition)[0]
        score = scene.index.scores_by_id[condition.id]
        shares = fsum(rule["points"] for rule in evidence["rules"])
        shares = shares if score.minimum is None else max(shares, score.minimum)
        shares = shares if score.maximum is None else min(shares, score.maximum)
        assert evidence["value"] == pytest.approx(shares, rel=1e-6, abs=1e-6)
    elif isinstance(condition, TraitIs) and condition.test.operator == "unchanged_for":
        since = explain_leaf(scene, condition)[0].get("unchanged_since")
        since_ms = None if since is None else parse_instant(since, offset_required=True)
        assert (since_ms is not None and since_ms <= scene.now_ms - condition.test.argument) is answer


@pytest.mark.parametrize("construct", [*OF_TIME, ALL])
@few
@given(st.data())
def test_what_is_said_to_change_changes_at_that_instant_and_not_before(construct: str, data: st.DataObject) -> None:
    """Someone will plan by it: neither a millisecond early nor late, and no change that wasn't announced."""
    for case, story in stories(data, construct):
        program = story.run.program
        record = program.encode(story.state)
        watched = []
        for segment in program.definitions.segments:
            keys: list[str | None] = [None] if segment.per is None else list(story.state.keyed.get(segment.id, {}))
            for key in keys:
                watched += [
                    watched_answer(place, segment.id, key) for place in places(segment, program.scores_by_id).walk()
                ]
        ahead = look_ahead(program, story.state, watched)
        assert program.encode(story.state) == record, "looking ahead must leave the state as it is"
        far_ms = story.at_ms + 1000 * case.world.unit_ms
        for answer, change in zip(watched, ahead.changes, strict=True):
            now = answer(story.state)
            copy = program.decode(story.contact, record)
            until_ms = min(far_ms, ahead.until_ms or far_ms) if change is None else change.at_ms - 1
            program.advance(copy, until_ms)
            assert answer(copy) is now
            if change is not None:
                assert change.answer is not now
                program.advance(copy, change.at_ms)
                assert answer(copy) is change.answer
