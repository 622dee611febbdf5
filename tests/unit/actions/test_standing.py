"""Where a contact stands in sequences at an instant, and how those ended that it was in."""

import json
from pathlib import Path
from typing import Any

import pytest

from actions.standing import Standing, standing_of
from actions.standing_text import text_of
from schemas.instants import parse_instant
from segments import Limits, UnknownName
from streams.definition_files import File, check_files
from streams.revisions import InForce

TEXT = """
segments:
  - {id: trial, when: {trait: plan, eq: trial}}
  - {id: paying, when: {trait: plan, eq: pro}}
  - {id: called, when: {event: Called}}
sequences:
  - id: ending
    on: {segment: trial}
    again: every_time
    while: {segment: trial}
    goal: {segment: paying}
    exit: {when: {event: Complained}, transition: entered}
    steps:
      - {name: first, wait: 2d}
      - branch: {if: {segment: called}, then: [end]}
        name: asked
      - split:
          name: half
          paths: [{name: all, percent: 100, steps: [{name: date, wait: {until: {trait: ends}, offset: -1d}}]}]
      - {name: reply, wait_for: {segment: called, timeout: 3d}}
      - {name: morning, wait: {until: "09:00", weekdays: [mon, fri], tz: Europe/Berlin}}
      - {name: ever, wait_for: {when: {event: Replied}, transition: entered}}
      - {name: last, send: {channel: email, target: {trait: email}, template: {subject: Hi, text: hello}}}
"""
TRIAL = {
    "type": "identify",
    "traits": {"plan": "trial", "ends": "2026-03-10T12:00:00Z"},
    "timestamp": "2026-03-01T00:00:00Z",
}


def standing(at: str, *events: dict[str, Any]) -> Standing:
    """Of `c`, after these events and the beginning of its trial; another contact's events are among them."""
    checked = check_files([File("s", TEXT)], InForce(), Path())
    lines = [json.dumps({"userId": contact} | event).encode() for event in (TRIAL, *events) for contact in ("d", "c")]
    at_ms = parse_instant(at, offset_required=True)
    return standing_of(checked.definitions, checked.sequences, lines, "c", at_ms, Limits())


@pytest.mark.parametrize(
    ("at", "step", "since", "waits", "until"),
    [
        ("2026-03-01T01:00:00Z", "first", "2026-03-01T00:00:00.000Z", "waits 2d", "2026-03-03T00:00:00.000Z"),
        ("2026-03-04T00:00:00Z", "date", "2026-03-03T00:00:00.000Z", "waits for the date in trait 'ends' - 1d",
         "2026-03-09T12:00:00.000Z"),
        ("2026-03-09T12:00:00Z", "reply", "2026-03-09T12:00:00.000Z", "waits to have entered called, 3d at most",
         "2026-03-12T12:00:00.000Z"),
        ("2026-03-12T13:00:00Z", "morning", "2026-03-12T12:00:00.000Z", "waits for 09:00 on mon fri (Europe/Berlin)",
         "2026-03-13T08:00:00.000Z"),
        ("2026-04-01T00:00:00Z", "ever", "2026-03-13T08:00:00.000Z",
         "waits to have entered {event: Replied}, for ever", None),
    ],
)  # fmt: skip
def test_it_stands_at_a_step_since_an_instant_and_waits_for_something(
    at: str, step: str, since: str, waits: str, until: str | None
) -> None:
    (one,) = (each.json() for each in standing(at).running)

    assert (one["step"], one["step_since"], one["waits"], one["until"]) == (step, since, waits, until)
    assert (one["sequence"], one["version"], one["since"]) == ("ending", 1, "2026-03-01T00:00:00.000Z")


def test_conditions_answer_as_of_then_and_those_that_are_past_are_left_out() -> None:
    called = {"type": "track", "event": "Called", "timestamp": "2026-03-01T05:00:00Z"}
    (early,) = standing("2026-03-01T06:00:00Z", called).running
    (late,) = standing("2026-03-04T00:00:00Z").running

    assert [(each.role, each.says, each.member) for each in early.conditions] == [
        ("goal, ends it once entered", "paying", False),
        ("exit, once entered", "{event: Complained}", False),
        ("while, asked before each message", "trial", True),
        ("branch asked", "called", True),
    ]
    assert "branch asked" not in [each.role for each in late.conditions]
    assert late.splits == {"half": "all"}


def test_what_is_over_says_when_and_how() -> None:
    plans = [("pro", "2026-03-02T00:00:00Z"), ("trial", "2026-03-20T00:00:00Z")]
    changes = [{"type": "identify", "traits": {"plan": plan}, "timestamp": at} for plan, at in plans]
    found = standing("2026-03-20T01:00:00Z", *changes, {"type": "track", "event": "Called", "timestamp": plans[1][1]})
    ended = [each.json() for each in found.ended]

    assert [(each["since"], each["ended"], each["how"], each["step"]) for each in ended] == [
        ("2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z", "goal", "first")
    ]
    assert [each.began_ms for each in found.running] == [parse_instant(plans[1][1], offset_required=True)]


def test_people_read_what_it_is_in_and_what_was() -> None:
    change = {"type": "identify", "traits": {"plan": "pro"}, "timestamp": "2026-03-02T00:00:00Z"}

    assert text_of(standing("2026-03-01T01:00:00Z"), "c").splitlines() == [
        "c is in sequence ending (version 1) since 2026-03-01T00:00:00Z",
        "  at first since 2026-03-01T00:00:00Z: waits 2d, until 2026-03-03T00:00:00Z",
        "  no   paying  goal, ends it once entered",
        "  no   {event: Complained}  exit, once entered",
        "  yes  trial  while, asked before each message",
        "  no   called  branch asked",
    ]
    assert text_of(standing("2026-03-03T00:00:00Z", change), "c").splitlines() == [
        "c is in no sequence",
        "  earlier: ending, 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z, left by goal at first",
    ]


def test_a_contact_that_is_not_known_is_said() -> None:
    with pytest.raises(UnknownName):
        standing("2026-02-01T00:00:00Z")
