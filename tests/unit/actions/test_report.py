"""What a sequence was worth, on cases that are worked out by hand."""

from typing import Any

import pytest

from actions import load_sequences
from actions.own_events import is_taken, step_sent
from actions.report import Report, VersionReport, report_of
from actions.report_facts import Facts, ValueOf, delivery_of
from actions.report_steps import StepReport
from actions.sequences import On
from schemas.deliveries import Delivery, Outcome, TransitionOf, delivery_id
from schemas.events import Event, parse_event
from schemas.instants import DAY_MS, format_instant

WELCOME = """
sequences:
  - id: welcome
    on: {segment: new}
    again: every_time
    goal: {segment: paying}
    steps:
      - split:
          name: offer
          salt: s654
          paths:
            - name: mail
              percent: 50
              steps:
                - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Hello}}
                  name: first
                - wait: 2d
                - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Again}}
                  name: second
            - {name: held-out, percent: 50, holdout: true}
"""
# numbers of the steps, as SEQUENCES.md counts them: split, send, wait, send
FIRST, SECOND = 1, 3
HOUR_MS = 3_600_000
WINDOW_MS = 30 * DAY_MS
PAYING = On("paying", "entered")
# the first 64 bits of SHA-256 of `s654:<contact>` lie in the lower half for the first of these, not the others
MAILED = ("m1", "m3", "m4", "m5")
HELD_OUT = ("m2", "m6", "m7", "m8")


@pytest.fixture
def facts() -> Facts:
    """Of `welcome` in version 1, with nothing in them."""
    return made()


def made(text: str = WELCOME) -> Facts:
    (sequence,) = load_sequences(text)
    return Facts("welcome", {1: sequence}, WINDOW_MS, ValueOf("Order Completed", "total"))


def own(facts: Facts, contact: str, name: str, at_ms: int, entry: str | None = None, **said: Any) -> None:
    properties = {"sequence": "welcome", "version": 1, "entry": entry or f"of {contact}", **said}
    facts.own(Event("track", contact, f"Sequence {name}", properties), at_ms)


def deliver(facts: Facts, contact: str, step: int, entry: str | None = None) -> str:
    began = TransitionOf(entry or f"of {contact}", "new", 1, "entered", 1, format_instant(0), "event")
    id = delivery_id(began.id, "sequence/welcome", 1, step)
    facts.delivery(
        Delivery(id, "welcome", 1, step, "email", "a@b.c", contact, 1, began, {}, format_instant(0), kind="sequence")
    )
    return id


def outcome(id: str, contact: str, step: int, status: Any, **changes: Any) -> Outcome:
    return Outcome(
        id, status, "welcome", 1, "email", contact, "new", format_instant(0), kind="sequence", step=step, **changes
    )


def send(facts: Facts, contact: str, step: int, at_ms: int, entry: str | None = None) -> str:
    id = deliver(facts, contact, step, entry)
    facts.outcome(outcome(id, contact, step, "sent", attempts=1), at_ms)
    return id


def tell(facts: Facts, contact: str, name: str, at_ms: int, message_id: str | None = None, **properties: Any) -> None:
    facts.told(Event("track", contact, name, properties, message_id=message_id), at_ms)


def only(report: Report) -> VersionReport:
    (version,) = report.versions
    return version


def stages(step: StepReport) -> dict[str, tuple[int, int | None]]:
    return {stage.stage: (stage.count, stage.median_ms) for stage in step.stages if stage.count}


def test_the_contacts_of_these_tests_take_the_paths_that_they_say() -> None:
    from actions.step_times import path_of

    (sequence,) = load_sequences(WELCOME)

    assert dict.fromkeys(MAILED, "mail") | dict.fromkeys(HELD_OUT, "held-out") == {
        contact: path_of(sequence.steps[0], contact).name  # type: ignore[arg-type]
        for contact in (*MAILED, *HELD_OUT)
    }


def test_entries_are_counted_by_what_became_of_them(facts: Facts) -> None:
    for contact in (*MAILED, "m2"):
        own(facts, contact, "Entered", 0)
    own(facts, "m1", "Completed", DAY_MS, step="end-9")
    own(facts, "m3", "Exited", DAY_MS, reason="goal", step="wait-2")
    own(facts, "m4", "Exited", DAY_MS, reason="goal", step="wait-2")
    own(facts, "m2", "Exited", 0, reason="held_out", step="offer", split={"offer": "held-out"})

    funnel = only(report_of(facts, DAY_MS)).funnel

    assert (5, 1, 1) == (funnel.entered, funnel.running, funnel.completed)
    assert [("goal", "wait-2", 2), ("held_out", "offer", 1)] == [
        (exits.reason, exits.step, exits.count) for exits in funnel.exited
    ]


def test_each_message_is_counted_through_its_stages(facts: Facts) -> None:
    """Of four: the first is opened and clicked, the second delivered, one is left out, one has failed."""
    for contact in MAILED:
        own(facts, contact, "Entered", 0)
    one, two = (send(facts, contact, FIRST, HOUR_MS) for contact in ("m1", "m3"))
    tell(facts, "m1", "Email Delivered", 2 * HOUR_MS, delivery_id=one)
    tell(facts, "m1", "Email Opened", 5 * HOUR_MS, delivery_id=one)
    tell(facts, "m1", "Email Link Clicked", 6 * HOUR_MS, message_id=None, delivery_id=one)
    facts.told(Event("track", "m3", "Email Delivered", {"message_id": f"<{two}@shop.example>"}), 4 * HOUR_MS)
    left_out, failed = (deliver(facts, contact, FIRST) for contact in ("m4", "m5"))
    facts.outcome(outcome(left_out, "m4", FIRST, "skipped", code="consent"), HOUR_MS)
    facts.outcome(outcome(failed, "m5", FIRST, "failed", code="refused", attempts=1), HOUR_MS)

    first, second = only(report_of(facts, DAY_MS)).funnel.steps

    assert (4, 0, 1, {"consent": 1}) == (first.reached, first.waiting, first.failed, first.skipped)
    assert {
        "sent": (2, HOUR_MS),
        "delivered": (2, HOUR_MS),  # after 1 h and 3 h; the median is the lower of two
        "opened": (1, 3 * HOUR_MS),
        "clicked": (1, HOUR_MS),
    } == stages(first)
    assert [0.5, 0.5, 0.25, 0.25, 0, 0] == [stage.share for stage in first.stages]
    assert 3 * HOUR_MS == first.stages[1].p90_ms
    assert (0, "second") == (second.reached, second.name)


def test_time_to_a_message_is_from_the_message_before(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0)
    send(facts, "m1", FIRST, HOUR_MS)
    send(facts, "m1", SECOND, 50 * HOUR_MS)

    first, second = only(report_of(facts, 3 * DAY_MS)).funnel.steps

    assert {"sent": (1, HOUR_MS)} == stages(first)
    assert {"sent": (1, 49 * HOUR_MS)} == stages(second)


def test_a_conversion_counts_for_the_last_message_before_it(facts: Facts) -> None:
    """m1 pays after the first message, m3 after the second, m4 before any, m5 when the window is over."""
    for contact in MAILED:
        own(facts, contact, "Entered", 0)
        send(facts, contact, FIRST, 2 * HOUR_MS)
    send(facts, "m3", SECOND, 10 * HOUR_MS)
    for contact, at_ms in (("m1", 3 * HOUR_MS), ("m3", 11 * HOUR_MS), ("m4", HOUR_MS), ("m5", WINDOW_MS + 1)):
        facts.transition(contact, PAYING, None, at_ms)

    funnel = only(report_of(facts, 2 * WINDOW_MS)).funnel

    assert 3 == funnel.converted
    assert [(1, HOUR_MS), (1, HOUR_MS)] == [stages(step)["converted"] for step in funnel.steps]


def test_what_is_no_later_than_the_beginning_is_no_conversion(facts: Facts) -> None:
    own(facts, "m1", "Entered", HOUR_MS)
    facts.transition("m1", PAYING, None, HOUR_MS)
    facts.transition("m1", On("paying", "left"), None, 2 * HOUR_MS)
    facts.transition("m1", On("other", "entered"), None, 2 * HOUR_MS)

    assert 0 == only(report_of(facts, DAY_MS)).funnel.converted


def test_a_conversion_counts_for_the_entry_before_it(facts: Facts) -> None:
    """Of two entries of one contact, each has its own."""
    own(facts, "m1", "Entered", 0, "one")
    own(facts, "m1", "Completed", DAY_MS, "one")
    own(facts, "m1", "Entered", 5 * DAY_MS, "two")
    facts.transition("m1", PAYING, None, 6 * DAY_MS)

    assert 1 == only(report_of(facts, 9 * DAY_MS)).funnel.converted


def test_repeats_are_counted_once(facts: Facts) -> None:
    for _ in range(2):
        own(facts, "m1", "Entered", 0)
        id = send(facts, "m1", FIRST, HOUR_MS)
        tell(facts, "m1", "Email Opened", 2 * HOUR_MS, delivery_id=id)
        facts.transition("m1", PAYING, None, 3 * HOUR_MS)
        tell(facts, "m1", "Order Completed", 4 * HOUR_MS, "order-1", total=20)
    tell(facts, "m1", "Email Opened", 9 * HOUR_MS, delivery_id=id)
    tell(facts, "m1", "Order Completed", 5 * HOUR_MS, "order-2", total=5.5)

    version = only(report_of(facts, 2 * WINDOW_MS))

    assert (1, 1) == (version.funnel.entered, version.funnel.converted)
    assert {"sent": (1, HOUR_MS), "opened": (1, HOUR_MS), "converted": (1, HOUR_MS)} == stages(version.funnel.steps[0])
    assert 25.5 == version.splits[0].arms[0].value


def test_of_outcomes_the_one_of_the_greatest_rank_counts(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0)
    id = deliver(facts, "m1", FIRST)
    facts.outcome(outcome(id, "m1", FIRST, "sent", attempts=1, retry=1), 9 * HOUR_MS)
    facts.outcome(outcome(id, "m1", FIRST, "failed", attempts=3, code="gave_up"), HOUR_MS)

    first = only(report_of(facts, DAY_MS)).funnel.steps[0]

    assert (1, 0, 0) == (first.reached, first.failed, first.waiting)
    assert {"sent": (1, 9 * HOUR_MS)} == stages(first)


def test_messages_are_known_as_sent_by_the_event_when_outcomes_are_gone(facts: Facts) -> None:
    """`outcomes` keeps 30 days, `events.own` 400."""
    own(facts, "m1", "Entered", 0)
    id = delivery_id("of m1", "sequence/welcome", 1, FIRST)
    sent = outcome(id, "m1", FIRST, "sent", entry="of m1")
    value = step_sent(sent, "first")
    assert value is not None
    facts.own(parse_event(value), HOUR_MS)

    first = only(report_of(facts, DAY_MS)).funnel.steps[0]

    assert (1, 0) == (first.reached, first.waiting)
    assert {"sent": (1, HOUR_MS)} == stages(first)


def test_paths_are_compared_with_the_holdout(facts: Facts) -> None:
    """Mailed: 3 of 4 pay, worth 10, 20, 0 and 30; held out: 1 of 4, worth 4, 0, 0 and 0.

    Conversion: 0.75 - 0.25 = 0.5. Wilson's intervals of 3 of 4 and 1 of 4 are [0.300642, 0.954413] and
    [0.045587, 0.699358]; Newcombe's lower bound is 0.5 - sqrt(0.449358^2 + 0.449358^2) = -0.135488, the upper one
    0.5 + sqrt(0.204413^2 + 0.204413^2) = 0.789084. Value: 15 - 1 = 14; variances 166.667 and 4, so the standard error is
    sqrt(41.6667 + 1) = 6.531973, with 42.6667^2 / (41.6667^2 / 3 + 1 / 3) = 3.143885 degrees of freedom.
    """
    for contact in (*MAILED, *HELD_OUT):
        own(facts, contact, "Entered", 0)
    for contact in HELD_OUT:
        own(facts, contact, "Exited", 0, reason="held_out", step="offer", split={"offer": "held-out"})
    for contact in ("m1", "m3", "m4", "m2"):
        facts.transition(contact, PAYING, None, DAY_MS)
    for contact, total in (("m1", 10), ("m3", 20), ("m5", 30), ("m2", 4)):
        tell(facts, contact, "Order Completed", DAY_MS, total=total)
    tell(facts, "m1", "Order Completed", 0, total=1000)  # the order that it began with
    tell(facts, "m1", "Order Completed", WINDOW_MS + 1, total=1000)  # past the window
    tell(facts, "m1", "Order Completed", DAY_MS, total="a lot")
    tell(facts, "stranger", "Order Completed", DAY_MS, total=1000)

    (split,) = only(report_of(facts, WINDOW_MS)).splits
    mailed, held_out = split.arms

    assert ("held-out", True, 0) == (split.against, split.has_holdout, split.too_early)
    assert (4, 3, 0.75, 60, 15) == (
        mailed.contacts, mailed.converted, mailed.conversion, mailed.value, mailed.value_per_contact
    )  # fmt: skip
    assert (4, 1, 0.25, 4, 1, None) == (
        held_out.contacts, held_out.converted, held_out.conversion, held_out.value, held_out.value_per_contact,
        held_out.conversion_difference,
    )  # fmt: skip
    assert (0.5, 14) == (mailed.conversion_difference, mailed.value_difference)
    assert mailed.conversion_difference_interval is not None and mailed.value_difference_interval is not None
    assert (-0.135488, 0.789084) == pytest.approx(
        (mailed.conversion_difference_interval.low, mailed.conversion_difference_interval.high), abs=1e-5
    )
    # t(0.975; 3.143885) = 3.1026
    half = 3.1026 * 6.531973
    assert (14 - half, 14 + half) == pytest.approx(
        (mailed.value_difference_interval.low, mailed.value_difference_interval.high), abs=0.01
    )


def test_contacts_whose_window_is_not_over_are_in_no_arm(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0)
    own(facts, "m3", "Entered", 1)
    facts.transition("m3", PAYING, None, DAY_MS)

    (split,) = only(report_of(facts, WINDOW_MS)).splits

    assert 1 == split.too_early
    assert [1, 0] == [arm.contacts for arm in split.arms]
    assert 0 == split.arms[0].converted


def test_of_a_contact_the_first_entry_alone_is_compared(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0, "one")
    own(facts, "m1", "Completed", DAY_MS, "one")
    own(facts, "m1", "Entered", 40 * DAY_MS, "two")
    facts.transition("m1", PAYING, None, 41 * DAY_MS)

    version = only(report_of(facts, 100 * DAY_MS))

    assert (2, 1) == (version.funnel.entered, version.funnel.converted)
    assert (1, 0) == (version.splits[0].arms[0].contacts, version.splits[0].arms[0].converted)


def test_the_funnel_is_there_for_each_path(facts: Facts) -> None:
    for contact in ("m1", "m3", "m2"):
        own(facts, contact, "Entered", 0)
    send(facts, "m1", FIRST, HOUR_MS)
    own(facts, "m2", "Exited", 0, reason="held_out", step="offer", split={"offer": "held-out"})

    paths = {path.path: path.funnel for path in only(report_of(facts, DAY_MS)).paths}

    assert {"mail": (2, 2), "held-out": (1, 0)} == {name: (each.entered, each.running) for name, each in paths.items()}
    assert 0.5 == paths["mail"].steps[0].stages[0].share


def test_a_split_behind_a_wait_is_known_of_those_that_have_had_a_message_behind_it() -> None:
    """While one is under way, nothing else says so."""
    text = WELCOME.replace("    steps:\n      - split:", "    steps:\n      - wait: 1d\n      - split:", 1)
    facts = made(text)
    own(facts, "m1", "Entered", 0)
    own(facts, "m3", "Entered", 0)
    send(facts, "m1", 2, DAY_MS)

    paths = {path.path: path.funnel.entered for path in only(report_of(facts, 2 * DAY_MS)).paths}

    assert {"mail": 1} == paths


def test_transitions_that_began_nothing_are_counted_by_their_reason(facts: Facts) -> None:
    """A first step that was left out has an id made alike, and is no such thing."""
    own(facts, "m1", "Entered", 0)
    facts.outcome(outcome(delivery_id("of m1", "sequence/welcome", 1, 0), "m1", 0, "skipped", code="too_old"), 0)
    facts.outcome(outcome(delivery_id("of m3", "sequence/welcome", 1, 0), "m3", 0, "skipped", code="running"), 0)

    assert {"running": 1} == only(report_of(facts, DAY_MS)).not_begun


def test_entries_before_since_and_of_other_versions_are_left_out(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0)
    own(facts, "m3", "Entered", 2 * DAY_MS)
    own(facts, "m4", "Entered", 2 * DAY_MS, version=2)

    report = report_of(facts, 9 * DAY_MS, version=1, since_ms=DAY_MS)

    assert [(1, 1)] == [(version.version, version.funnel.entered) for version in report.versions]


def test_an_end_without_a_beginning_is_said(facts: Facts) -> None:
    own(facts, "m1", "Completed", DAY_MS)

    report = report_of(facts, 2 * DAY_MS)

    assert [] == report.versions
    assert report.notes and report.notes[0].startswith("1 ends are of entries that are not in the topic")


def test_an_end_that_is_read_before_its_beginning_counts(facts: Facts) -> None:
    """Partitions are read one beside the other."""
    own(facts, "m1", "Completed", DAY_MS)
    own(facts, "m1", "Entered", 0)

    assert 1 == only(report_of(facts, 2 * DAY_MS)).funnel.completed


def test_a_goal_that_is_a_condition_in_place_is_counted_by_its_own_transitions() -> None:
    facts = made(WELCOME.replace("{segment: paying}", "{when: {event: Order Completed}}"))
    goal = facts.versions[1].goal
    assert goal is not None and goal.segment.startswith("~goal-")
    for contact in ("m1", "m3"):
        own(facts, contact, "Entered", 0)
    facts.transition("m1", goal, None, DAY_MS)
    facts.transition("m3", PAYING, None, DAY_MS)

    version = only(report_of(facts, 2 * WINDOW_MS))

    assert (2, 1) == (version.splits[0].arms[0].contacts, version.splits[0].arms[0].converted)
    assert [] == version.notes


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("{segment: paying}", "segment 'paying', which was removed"),
        ("{when: {event: Order Completed}}", "a condition in place"),
    ],
)
def test_a_goal_that_nobody_follows_any_more_is_said(goal: str, said: str) -> None:
    (sequence,) = load_sequences(WELCOME.replace("{segment: paying}", goal))
    for segments, notes in ((set(), 1), ({"paying", *sequence.lifted}, 0)):
        facts = Facts("welcome", {1: sequence}, WINDOW_MS, None, segments)
        own(facts, "m1", "Entered", 0)
        version = only(report_of(facts, DAY_MS))
        assert notes == len(version.notes)
        assert all(f"no conversion is counted any more: the goal is {said}" in note for note in version.notes)


def test_a_version_that_is_not_known_is_not_compared(facts: Facts) -> None:
    own(facts, "m1", "Entered", 0, version=2)

    version = only(report_of(facts, 2 * WINDOW_MS))

    assert ([], 1) == (version.splits, version.funnel.entered)
    assert "its goal are not known" in version.notes[0]


def test_a_split_without_a_holdout_is_compared_with_its_first_path() -> None:
    facts = made(
        WELCOME.replace(
            "{name: held-out, percent: 50, holdout: true}", "{name: other, percent: 50, steps: [{wait: 1d}]}"
        )
    )
    for contact in ("m1", "m2"):
        own(facts, contact, "Entered", 0)

    (split,) = only(report_of(facts, 2 * WINDOW_MS)).splits

    assert ("mail", False) == (split.against, split.has_holdout)


def test_conversions_of_another_value_of_per_count_for_another_entry() -> None:
    """Where the goal is on the sequence's own segment, as leaving it."""
    (sequence,) = load_sequences(WELCOME.replace("{segment: paying}", "{segment: new}"))
    facts = Facts("welcome", {1: sequence}, WINDOW_MS)
    own(facts, "m1", "Entered", 0, key="red")
    facts.transition("m1", On("new", "entered"), "blue", HOUR_MS)
    assert 0 == only(report_of(facts, DAY_MS)).funnel.converted

    facts.transition("m1", On("new", "entered"), "red", 2 * HOUR_MS)
    assert 1 == only(report_of(facts, DAY_MS)).funnel.converted


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"delivery_id": "a", "message_id": "<b@shop.example>"}, "a"),
        ({"message_id": "<b@shop.example>"}, "b"),
        ({"message_id": " b@shop.example"}, "b"),
        ({"message_id": 7}, None),
        ({}, None),
    ],
)
def test_a_mail_event_names_its_delivery_by_either_property(properties: dict[str, Any], expected: str | None) -> None:
    assert expected == delivery_of(properties)


def test_step_sent_is_a_function_of_the_outcome() -> None:
    """Written again after a crash, it has the same messageId; nothing marks it as taken."""
    sent = outcome("d" * 32, "m1", FIRST, "sent", entry="of m1")
    value = step_sent(sent, "first")

    assert value is not None and value == step_sent(sent, "first")
    event = parse_event(value)
    assert ("Sequence Step Sent", "m1", False) == (event.name, event.contact, is_taken(event))
    assert {
        "sequence": "welcome", "version": 1, "entry": "of m1", "step": "first", "channel": "email", "delivery_id": "d" * 32
    } == event.properties  # fmt: skip
    assert step_sent(outcome("d" * 32, "m1", FIRST, "failed"), "first") is None


def test_what_others_write_to_the_topic_is_passed_over(facts: Facts) -> None:
    """Whoever may write to `events.own` may write anything."""
    own(facts, "m1", "Entered", 0, version="1")
    own(facts, "m3", "Entered", 0, version=None)
    own(facts, "m4", "Entered", 0)
    own(facts, "m4", "Completed", DAY_MS, split=["offer"])

    assert (1, 1) == (
        only(report_of(facts, DAY_MS)).funnel.entered,
        only(report_of(facts, DAY_MS)).funnel.completed,
    )


def test_who_still_waits_behind_a_split_counts_in_its_path_as_much_as_who_has_ended_there() -> None:
    """Else a path would have of its contacts those alone that have converted, and the holdout all."""
    facts = made(
        WELCOME.replace("    steps:\n      - split:", "    steps:\n      - wait: 1d\n      - split:").replace(
            "                - send: {channel: email, target: {trait: email}, template: {subject: Hi, text: Hello}}\n"
            "                  name: first\n",
            "                - wait_for: {segment: connected}\n",
        )
    )
    for contact in (*MAILED, *HELD_OUT):
        own(facts, contact, "Entered", 0)
    for contact in HELD_OUT:
        own(facts, contact, "Exited", DAY_MS, reason="held_out", step="offer", split={"offer": "held-out"})
    own(facts, "m1", "Exited", 2 * DAY_MS, reason="goal", step="wait_for-2", split={"offer": "mail"})
    for contact in ("m1", "m2"):
        facts.transition(contact, PAYING, None, 2 * DAY_MS)

    (split,) = only(report_of(facts, 40 * DAY_MS)).splits

    assert [("mail", 4, 1, 0.0), ("held-out", 4, 1, None)] == [
        (arm.path, arm.contacts, arm.converted, arm.conversion_difference) for arm in split.arms
    ]
