"""`tidegate check`: what goes where, and with which status."""

import json
from pathlib import Path

import pytest

from streams import cli
from streams.fields import Field
from streams.fields_store import Catalogue, FieldStore, Known

GOOD = "segments: [{id: buyers, when: {event: Order Completed, where: {total: {gt: 5}}}}]"
EMPTY = "segments: [{id: nobody, when: {event: Order Completed, count: {lt: 0}}}]"
LONG = "segments: [{id: long, when: {event: Order Completed, within: 30d}}]"
SCORES = "scores: [{id: lead, rules: [{event: Order Completed, points: 5}]}]"
EVENT = {"type": "track", "userId": "c", "event": "Order Completed", "timestamp": 1, "properties": {"totl": 7}}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with definitions and events, the one worked in."""
    for name, text in {"good": GOOD, "empty": EMPTY, "long": LONG, "scores": SCORES}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "events.jsonl").write_text(json.dumps(EVENT) + "\n\nnonsense\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_warnings_go_to_standard_error_and_change_no_status(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is legal is sound."""
    assert cli.run(["check", "empty.yaml"]) == 0

    captured = capsys.readouterr()
    assert captured.out == "1 segment: sound\n"
    assert captured.err.splitlines() == [
        "warning: segment 'nobody': can never be true: no number passes its tests - at $.when.count",
        "warning: segment 'nobody': nobody can ever be in it - at $.when",
    ]


def test_strict_makes_a_warning_count(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 1, as there is no error; without a warning it changes nothing."""
    assert cli.run(["check", "--strict", "empty.yaml"]) == 1
    assert capsys.readouterr().out == ""
    assert cli.run(["check", "--strict", "good.yaml", "scores.yaml"]) == 0
    assert capsys.readouterr() == ("1 segment, 1 score: sound\n", "")


def test_an_error_is_told_without_warnings(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are about definitions, and there are none."""
    (files / "bad.yaml").write_text("segments: [{id: bad, when: {evnt: x}}]")

    assert cli.run(["check", "--strict", "bad.yaml", "empty.yaml"]) == 2
    assert "warning" not in capsys.readouterr().err


def test_a_message_to_a_topic_of_ours_is_refused_by_the_prefix_that_is_set(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when it is applied; another's topics are for them to say."""
    rule = {"id": "r", "on": {"segment": "buyers"}, "channel": "kafka", "target": "shop.transitions"}
    (files / "rules.yaml").write_text(json.dumps({"rules": [rule]}))
    assert cli.run(["check", "good.yaml", "rules.yaml"]) == 0
    monkeypatch.setenv("TIDEGATE_PREFIX", "shop.")
    assert cli.run(["check", "good.yaml", "rules.yaml"]) == 2
    assert capsys.readouterr().err == (
        "rule 'r': expected a topic of yours, got 'shop.transitions', which is one of ours by its prefix 'shop.'\n"
    )


def test_the_retention_may_be_another(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of the topics, where it isn't what `topics create` makes it."""
    assert cli.run(["check", "--retention", "7d", "long.yaml"]) == 0
    assert "warning: segment 'long': looks back 30 d" in capsys.readouterr().err
    assert cli.run(["check", "long.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_a_sample_of_events_is_read_and_its_bad_lines_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By their number, as everywhere."""
    assert cli.run(["check", "--events", "events.jsonl", "good.yaml"]) == 0

    rejected, warned = capsys.readouterr().err.splitlines()
    assert rejected.startswith("events.jsonl:3: expected JSON")
    assert warned.startswith("warning: segment 'buyers': no event of its name in the sample has it, of 1")
    assert warned.endswith("did you mean 'totl'? - at $.when.where.total")


def test_a_sample_that_is_not_there_is_an_error(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And two files on one standard input are."""
    assert cli.run(["check", "--events", "none.jsonl", "good.yaml"]) == 2
    assert "none.jsonl: expected a file of events" in capsys.readouterr().err
    assert cli.run(["check", "--events", "-", "-"]) == 2
    assert "expected one of FILE and EVENTS on standard input, got both" in capsys.readouterr().err


WELCOME = """
segments: [{id: dormant, when: {event: "*", within: 30d, count: 0}}]
sequences: [{id: welcome, on: {segment: dormant}, goal: {when: {event: Order Completed, count: {lt: 0}}}, steps: []}]
"""


def test_warnings_of_sequences_are_told_at_their_place_in_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has written the segment that a condition in place becomes."""
    (files / "welcome.yaml").write_text(WELCOME)

    assert cli.run(["check", "--strict", "welcome.yaml"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "warning: sequence 'welcome': can never be true: no number passes its tests - at $.goal.when.count",
        "warning: sequence 'welcome': nobody can ever be in it - at $.goal.when",
        "warning: sequence 'welcome': takes events of sequences among all others in segment 'dormant', its own too; leave "
        'them out with `any_except: [{prefix: "Sequence "}]` - at $.on.segment',
    ]
    assert cli.run(["check", "welcome.yaml"]) == 0
    assert capsys.readouterr().out == "1 segment, 1 sequence: sound\n"


def test_a_message_that_asks_for_a_trait_that_nobody_in_the_sample_has_is_warned_of(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every such message would be left out, or fail; what the sequence sets itself is there."""
    text = "{{ traits.first_nme }} {{ traits.won }} {{ traits.address.city }}"
    mail = {"channel": "email", "target": {"trait": "mail"}, "template": {"subject": "Hi", "text": text}}
    steps = [{"set": {"traits": {"won": True}}}, {"name": "hello", "send": mail}]
    sequence = {"id": "welcome", "on": {"segment": "buyers"}, "steps": steps}
    rule = {"id": "told", "on": {"segment": "buyers"}, **mail, "target": {"trait": "email"}}
    (files / "messages.yaml").write_text(
        json.dumps({"sequences": [sequence], "rules": [rule | {"template": {"subject": "Hi", "text": "x"}}]})
    )
    traits = {"email": "a@b.example", "first_name": "Ada", "address": {"city": "Rome"}}
    (files / "people.jsonl").write_text(
        json.dumps({"type": "identify", "userId": "c", "traits": traits, "timestamp": 1})
    )

    assert cli.run(["check", "good.yaml", "messages.yaml", "--events", "people.jsonl"]) == 0

    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "nobody in the sample" in line] == [
        "warning: sequence 'welcome', step 'hello': nobody in the sample has the trait 'mail' (did you mean 'email'?), "
        "which its message asks for",
        "warning: sequence 'welcome', step 'hello': nobody in the sample has the trait 'first_nme' "
        "(did you mean 'first_name'?), which its message asks for",
    ]


PLAN = "segments: [{id: pro, when: {all: [{trait: plann, eq: pro}, {trait: won, eq: true}, {event: Order Completed}]}}]"


def test_a_redis_that_is_away_is_told_in_a_line_and_the_check_goes_on(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked where TIDEGATE_REDIS says which one, or --fields does; otherwise a check needs nothing but its files."""
    line = "nothing is compared with the fields that events have had: Redis is away (ConnectionError: see TIDEGATE_REDIS)\n"
    assert cli.run(["check", "good.yaml"]) == 0
    assert capsys.readouterr() == ("1 segment: sound\n", "")
    monkeypatch.setenv("TIDEGATE_REDIS", "redis://127.0.0.1:1/0")
    assert cli.run(["check", "--strict", "good.yaml"]) == 0
    assert capsys.readouterr() == ("1 segment: sound\n", line)
    assert cli.run(["check", "--no-fields", "good.yaml"]) == 0
    assert capsys.readouterr() == ("1 segment: sound\n", "")


def test_traits_that_no_event_ever_had_are_warned_of_in_segments_and_messages(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sequence sets will be there."""
    plan = Known(Field("trait", "", "plan"), {"crm": {"text": 1_772_000_000_000}})
    total = Known(Field("property", "Order Completed", "total"), {"shop": {"number": 1_772_000_000_000}})

    async def read(_: object) -> Catalogue:
        return Catalogue([plan, total], 0, 0, True)

    monkeypatch.setattr(FieldStore, "read", read)
    mail = {"channel": "email", "target": {"trait": "plam"}, "template": {"subject": "Hi", "text": "{{ traits.won }}"}}
    steps = [{"set": {"traits": {"won": True}}}, {"name": "hello", "send": mail}]
    sequence = {"id": "welcome", "on": {"segment": "pro"}, "steps": steps}
    (files / "messages.yaml").write_text(json.dumps({"sequences": [sequence]}))
    (files / "pro.yaml").write_text(PLAN)
    assert cli.run(["check", "--strict", "--fields", "pro.yaml", "messages.yaml"]) == 1
    hint = "did you mean 'plan' (seen from 1 source, last 2026-02-25)?"
    assert capsys.readouterr().err.splitlines() == [
        f"warning: segment 'pro': no event ever had the trait 'plann', {hint} - at $.when.all[0].trait",
        f"warning: sequence 'welcome', step 'hello': its message asks for the trait 'plam', which no event ever had, {hint}",
    ]


@pytest.mark.parametrize(
    ("catalogue", "why"),
    [
        (Catalogue([], 0, 0, False), "no projector has read any events yet"),
        (Catalogue([], 0, 3, True), "a projector still reads events, 3 partitions to go"),
        (Catalogue([], 7, 0, True), "it lacks about 7 fields (`tidegate fields` says why)"),
    ],
)
def test_a_catalogue_that_is_not_whole_warns_of_nothing(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    catalogue: Catalogue,
    why: str,
) -> None:
    """What isn't in it may be in some event."""

    async def read(_: object) -> Catalogue:
        return catalogue

    monkeypatch.setattr(FieldStore, "read", read)
    (files / "pro.yaml").write_text(PLAN)
    assert cli.run(["check", "--strict", "--fields", "pro.yaml"]) == 0
    assert capsys.readouterr().err == f"nothing is compared with the fields that events have had: {why}\n"
