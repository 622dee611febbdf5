"""Sequences as they are written: what is taken, where each step leads, and what each error says."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from actions import RuleErrors
from actions.sequence_reading import load_sequences, sequence_of
from actions.sequences import (
    END,
    Again,
    Branch,
    End,
    On,
    Send,
    Sequence,
    Set,
    Split,
    Wait,
    WaitDate,
    WaitFor,
    WaitTime,
    is_quiet,
)
from schemas.deliveries import CHANNELS
from segments.read import read_text

HERE = Path(__file__).parent
GOOD = (HERE / "sequences.yaml").read_text()
GOLDEN = read_text((HERE / "bad_sequences.yaml").read_text(), "bad_sequences.yaml")
BASE: dict[str, Any] = {"id": "welcome", "on": {"segment": "signed-up"}, "steps": [{"wait": "1d"}]}
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def load(**change: Any) -> Sequence:
    (sequence,) = load_sequences(orjson.dumps({"sequences": [BASE | change]}).decode())
    return sequence


def errors_of(*sequences: Any, name: str = "file") -> list[str]:
    with pytest.raises(RuleErrors) as raised:
        load_sequences(orjson.dumps({"sequences": sequences}).decode(), name)
    return raised.value.errors


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_a_bad_sequence_is_told_what_is_wrong(case: dict[str, Any]) -> None:
    """An author who can't see what is wrong asks us instead."""
    steps = {"steps": case["steps"]} if "steps" in case else {}
    sequence = case.get("sequence", BASE | case.get("change", {}) | steps)

    assert [error.replace("CHANNELS", " or ".join(CHANNELS)) for error in case["errors"]] == errors_of(sequence)


def test_a_sequence_says_by_itself_how_it_begins() -> None:
    """Entered, by an event or time, once, no later than a day; nobody who was a member before."""
    sequence = load()

    assert sequence.on == On("signed-up", "entered")
    assert sequence.causes == {"event", "timer"}
    assert (sequence.again, sequence.existing, sequence.max_age_ms) == (Again("once"), False, DAY_MS)
    assert (sequence.goal, sequence.exits, sequence.lifted, sequence.event_asked) == (None, (), {}, False)


def test_each_step_knows_where_it_leads() -> None:
    """Steps are numbered as they stand in the file; a list within one leads on to what stands after it."""
    welcome, _ = load_sequences(GOOD)
    hello, clock, branch, vip, out, inner, day, split, warm, wait_for, _, nudge, ends, renews, done = welcome.steps
    when = {place: id for id, place in welcome.places.items()}

    assert welcome.begin == 0
    assert isinstance(hello, Send) and (hello.name, hello.then) == ("hello", 1)
    assert clock == WaitTime("wait-1", 2, 9 * HOUR_MS, frozenset({0, 4}), "contact")
    assert branch == Branch("branch-2", 3, when["$.steps[2].branch.if"], 5)
    assert vip == Set("set-3", 4, None, "vip", "added")
    assert out == End("end-4")
    assert inner == Branch("branch-5", 6, "unhappy", 7)
    assert day == Wait("wait-6", 7, 36 * HOUR_MS)
    assert isinstance(split, Split) and [path.then for path in split.paths] == [8, 9, None]
    assert isinstance(warm, Send) and warm.then == 9
    assert wait_for == WaitFor("wait_for-9", 10, On(when["$.steps[4].wait_for.when"], "entered"), 3 * DAY_MS, 11)
    assert nudge == Set("set-11", 12, {"nudge": True}, None, None)
    assert ends == WaitDate("wait-12", 13, "trial_ends_at", -DAY_MS, "Europe/Paris", 13)
    assert renews == WaitDate("wait-13", 14, "renews_at", 2 * HOUR_MS, "UTC", None)
    assert done == End("done")


def test_the_last_step_leads_nowhere() -> None:
    sequence = load(steps=[{"branch": {"if": {"segment": "a"}, "then": [{"wait": "1d"}]}}])

    assert sequence.steps == (Branch("branch-0", 1, "a", END), Wait("wait-1", END, DAY_MS))


def test_a_sequence_may_have_no_steps() -> None:
    """It measures how many reach its goal by themselves."""
    assert (load(steps=[]).steps, load(steps=[]).begin) == ((), END)


def test_a_message_is_that_of_a_rule() -> None:
    """With the sequence's id, age and group where it has none of its own."""
    welcome, cart = load_sequences(GOOD)
    hello, warm = (step for step in welcome.steps if isinstance(step, Send))
    (paid,) = (step for step in cart.steps if isinstance(step, Send))

    assert (hello.message.id, hello.message.traits, hello.message.max_age_ms) == ("welcome", ("first_name",), DAY_MS)
    assert (hello.group, hello.transactional) == ("news", False)
    assert (warm.group, warm.message.secret, warm.message.max_age_ms) == ("sales", "CRM", 2 * HOUR_MS)
    assert (paid.group, paid.transactional, paid.message.max_age_ms) == (None, True, HOUR_MS)
    assert hello.while_ == warm.while_ is not None and paid.while_ is None


def test_a_condition_in_place_is_lifted_and_the_same_twice_is_one() -> None:
    """Its id is a function of the condition and its zone; a segment that is named is that segment."""
    pro = {"trait": "plan", "eq": "pro"}
    steps = [{"branch": {"if": pro, "then": [{"wait": "1d"}]}}, {"wait_for": {"when": {"segment": "paying"}}}]
    sequence = load(**{"while": dict(reversed(pro.items()))}, steps=steps, tz="Asia/Tokyo")
    elsewhere = load(**{"while": pro})
    ((id, body),) = sequence.lifted.items()

    assert body == {"id": id, "when": pro, "tz": "Asia/Tokyo"}
    assert sequence.places == {id: "$.while", "paying": "$.steps[1].wait_for.when"}
    assert [*elsewhere.lifted] == ["~3a22ed485042ef80"] != [id]


def test_a_goal_in_place_has_an_id_of_its_own_as_its_transitions_alone_are_told() -> None:
    """Whatever else asks for the same; a change of what does leaves what is told of it whole."""
    pro = {"trait": "plan", "eq": "pro"}
    sequence = load(**{"while": pro}, exit={"when": pro}, goal={"when": pro})
    named = load(goal={"when": {"segment": "paying"}})

    assert sequence.goal == On("~goal-3a22ed485042ef80", "entered")
    assert sequence.places == {"~3a22ed485042ef80": "$.while", "~goal-3a22ed485042ef80": "$.goal.when"}
    assert [True, False, False] == [is_quiet(id) for id in (*sequence.places, "paying")]
    assert named.goal == On("paying", "entered")


def test_the_shares_of_a_split_are_exact() -> None:
    """Three times a third of 99.9 and the rest: no contact falls between two paths, or through the last."""
    welcome, _ = load_sequences(GOOD)
    (split,) = (step for step in welcome.steps if isinstance(step, Split))

    assert [path.below for path in split.paths] == [333 * 2**64 // 1000, 666 * 2**64 // 1000, 2**64]


@pytest.mark.parametrize(
    ("split", "salt", "name"),
    [
        ({"name": "offer"}, "welcome.offer", "offer"),
        ({}, "welcome.0", "split-0"),
        ({"name": "offer", "salt": "spring"}, "spring", "offer"),
    ],
)
def test_a_split_is_salted_with_its_name_or_its_place(split: dict[str, Any], salt: str, name: str) -> None:
    (step,) = load(steps=[{"split": {"paths": [{"name": "a", "percent": 100}], **split}}]).steps

    assert isinstance(step, Split) and (step.salt, step.name) == (salt, name)


@pytest.mark.parametrize(
    ("text", "asked"),
    [("{{ traits.plan }}", False), ("{{ event.name }}", True), ("{{ transition.event.name }}", True)],
)
def test_the_event_is_kept_only_for_messages_that_quote_it(text: str, asked: bool) -> None:
    """It may have 16 KiB, and the contact carries it through the whole sequence."""
    message = {"channel": "email", "target": {"trait": "email"}, "template": {"subject": "x", "text": text}}

    assert load(steps=[{"send": message}]).event_asked is asked


def test_a_webhook_carries_the_event_by_itself() -> None:
    message = {"channel": "webhook", "target": "https://crm.example/", "secret": "CRM"}

    assert load(steps=[{"send": message}]).event_asked


def test_a_sequence_comes_back_from_its_body() -> None:
    """Workers read it from the topic, where its templates are in place."""
    for sequence in load_sequences(GOOD):
        assert sequence_of(orjson.loads(orjson.dumps(sequence.body))) == sequence


def test_templates_are_found_by_name_and_travel_with_the_sequence(tmp_path: Path) -> None:
    """And what was read from the file is left as it was: a step may be an alias of another."""
    (tmp_path / "hi.txt").write_text("Subject: Hi\n\nHello {{ traits.city }}\n")
    text = """
    sequences:
      - id: a
        on: {segment: s}
        steps: [&hi {send: {channel: email, target: {trait: email}, template: hi}}, {wait: 1d}, *hi]
    """
    (sequence,) = load_sequences(text, templates=tmp_path)
    first, _, last = sequence.steps

    assert isinstance(first, Send) and isinstance(last, Send)
    assert first.message.template == last.message.template
    assert first.message.traits == ("city",)
    assert sequence_of(sequence.body) == sequence


def test_a_template_that_is_not_there_is_said_at_its_step(tmp_path: Path) -> None:
    steps = [{"send": {"channel": "email", "target": {"trait": "email"}, "template": "hi"}}]
    text = orjson.dumps({"sequences": [BASE | {"steps": steps}]}).decode()
    with pytest.raises(RuleErrors) as raised:
        load_sequences(text, templates=tmp_path)

    assert raised.value.errors[0].endswith("got none - at $.steps[0].send.template")


def test_the_sequences_of_the_documentation_are_sequences(tmp_path: Path) -> None:
    """The block of `actions/SEQUENCES.md`."""
    root = HERE.parents[2]
    text = (root / "actions" / "SEQUENCES.md").read_text().split("```yaml\n")[1].split("```")[0]
    for name in ("trial-ending", "pro-offer", "discount", "plain"):
        (tmp_path / f"{name}.txt").write_text("Subject: x\n\ny\n")

    assert [sequence.id for sequence in load_sequences(text, "SEQUENCES.md", tmp_path)] == ["trial-ending"]


def test_the_other_keys_of_a_file_are_none_of_ours() -> None:
    assert load_sequences("rules: 5") == ()


def test_an_id_twice_is_an_error() -> None:
    assert errors_of(BASE, BASE) == ["sequence 'welcome': expected an id of its own, got it twice - at $.id"]


def test_all_errors_of_a_file_are_reported() -> None:
    """An author corrects them in one go."""
    errors = errors_of(BASE | {"max_age": 5}, BASE | {"id": "other", "tz": 7}, 8)

    assert [error.rpartition(" - at ")[2] for error in errors] == ["$.max_age", "$.tz", "$.sequences[2]"]


def test_a_step_more_than_there_may_be_is_said_once() -> None:
    """And 64 are taken, wherever they stand."""
    path = {"name": "a", "percent": 100, "steps": [{"wait": "1d"}] * 62}
    full = [{"split": {"paths": [path]}}, {"wait": "1d"}]

    assert len(load(steps=full).steps) == 64
    assert errors_of(BASE | {"steps": [*full, {"wait": "1d"}, {"wait": "1d"}]}) == [
        "sequence 'welcome': expected at most 64 steps in a sequence, got more - at $.steps[2]"
    ]


def test_a_trait_is_set_only_to_what_an_event_may_say() -> None:
    """It would be rejected, when it is too late."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    (error,) = errors_of(BASE | {"steps": [{"set": {"traits": {"a": deep}}}]})
    with pytest.raises(RuleErrors) as unheld:
        load_sequences("sequences: [{id: a, on: {segment: s}, steps: [{set: {traits: {a: .nan}}}]}]")

    assert "levels of nesting" in error and error.endswith(" - at $.steps[0].set.traits")
    assert "expected numbers that a double can hold" in unheld.value.errors[0]
