"""`tidegate explain`, and `tidegate simulate --stats`, as they are called."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from streams import cli

SEGMENTS = """
segments:
  - {id: big, name: Big spenders, when: {event: Order Completed, within: 30d, sum: {of: total, gte: 100}}}
  - {id: known, when: {everyone: true}}
"""
EVENTS = [
    {"type": "track", "userId": "c-1", "event": "Order Completed", "properties": {"total": 60}, "timestamp": 1_000},
    {"type": "track", "userId": "c-2", "event": "Other", "timestamp": 1_500},
    {"type": "track", "userId": "c-1", "event": "Order Completed", "properties": {"total": 60}, "timestamp": 2_000},
]
LEAVES = "1970-01-31T00:00:01.000Z"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `s.yaml` and `e.jsonl`, which is the current one."""
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    lines = [json.dumps(EVENTS[0]), "", "no json, but c-1", *map(json.dumps, EVENTS[1:])]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.run(["explain", "s.yaml", "e.jsonl", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_person_reads_first_what_it_comes_to(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And in no colour, where it isn't a terminal that reads."""
    assert cli.run(["explain", "s.yaml", "e.jsonl", "--contact", "c-1"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "c-1 as of 1970-01-01T00:00:02Z, known since 1970-01-01T00:00:01Z"
    reason = "event: Order Completed, within: 30d, sum: {of: total, gte: … turns false"
    assert f"c-1 is in big since 1970-01-01T00:00:02Z; it will leave at 1970-01-31T00:00:01Z ({reason})" in lines
    assert "\x1b" not in "".join(lines)


def test_on_a_terminal_answers_have_a_colour(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Green for yes, red for no."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli.run(["explain", "s.yaml", "e.jsonl", "--contact", "c-2"]) == 0
    out = capsys.readouterr().out

    assert "\x1b[32m\x1b[1myes\x1b[0m  {everyone: true}" in out
    assert "\x1b[31mno \x1b[0m  {event: Order Completed" in out


def test_json_says_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on one line."""
    found = explained(capsys, "--contact", "c-1")
    big, known = found["segments"]

    assert [big["segment"], big["name"], known["segment"]] == ["big", "Big spenders", "known"]
    assert big["memberships"][0]["changes"] == {"at": LEAVES, "to": "left"}
    assert big["memberships"][0]["condition"]["evidence"]["measured"] == 120
    assert found["rejected"]["count"] == 1
    assert found["rejected"]["lines"][0]["line"] == 3


def test_one_segment_may_be_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Most have one that they don't understand."""
    assert [one["segment"] for one in explained(capsys, "--contact", "c-1", "--segment", "known")["segments"]] == [
        "known"
    ]


def test_at_an_instant_time_is_played_up_to_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the millisecond."""
    before = explained(capsys, "--contact", "c-1", "--at", "1970-01-31T00:00:00.999Z")
    then = explained(capsys, "--contact", "c-1", "--at", "1970-01-31T00:00:01Z")

    assert [found["segments"][0]["memberships"][0]["member"] for found in (before, then)] == [True, False]
    assert then["at"] == LEAVES


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--contact", "c-3"], "expected a contact that some event is about, got 'c-3'; did you mean 'c-2' or 'c-1'?"),
        (
            ["--contact", "c-1", "--segment", "bug"],
            "expected a segment that is defined, got 'bug'; did you mean 'big'?",
        ),
    ],
)
def test_an_unknown_contact_or_segment_is_an_error_that_names_what_is_close(
    arguments: list[str], error: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2 and nothing on standard output."""
    assert cli.run(["explain", "s.yaml", "e.jsonl", *arguments]) == 2
    captured = capsys.readouterr()

    assert (captured.out, captured.err.strip()) == ("", error)


def test_a_key_without_its_segment_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Carts and subscriptions have keys that mean different things."""
    assert cli.run(["explain", "s.yaml", "e.jsonl", "--contact", "c-1", "--key", "7"]) == 2
    assert "expected --segment beside --key" in capsys.readouterr().err


def test_standard_input_and_gzip_are_read_twice_as_well(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe can't be: it is kept."""
    expected = explained(capsys, "--contact", "c-1")
    (files / "e.jsonl.gz").write_bytes(gzip.compress((files / "e.jsonl").read_bytes()))
    assert cli.run(["explain", "s.yaml", "e.jsonl.gz", "--json", "--contact", "c-1"]) == 0
    assert json.loads(capsys.readouterr().out) == expected
    with (files / "e.jsonl").open("rb") as events:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(events))
        assert cli.run(["explain", "s.yaml", "-", "--json", "--contact", "c-1"]) == 0
    assert json.loads(capsys.readouterr().out) == expected


def test_stats_are_a_table_of_sizes_over_time(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In place of the transitions."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl", "--stats", "--until", "1970-02-01"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split() for line in lines] == [
        ["segment", "entries", "exits", "members", "contacts", "1970-01-01", "1970-01-11", "1970-01-21", "1970-01-31"],
        ["big", "1", "1", "0", "1", "1", "1", "1", "0"],
        ["known", "2", "0", "2", "2", "2", "2", "2", "2"],
    ]
    assert max(map(len, lines)) <= 100


def test_stats_as_json_have_every_day(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only those that a terminal is wide enough for."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl", "--stats", "--json", "--until", "1970-02-01"]) == 0
    found = json.loads(capsys.readouterr().out)
    big, _ = found["segments"]

    assert found["period"] == "day"
    assert [day["size"] for day in big["sizes"]] == [1] * 30 + [0]
    assert big["sizes"][-1] == {"from": "1970-01-31T00:00:00.000Z", "entries": 0, "exits": 1, "size": 0}


def test_json_without_stats_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Transitions are JSON lines anyway."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl", "--json"]) == 2
    assert "expected --stats beside --json" in capsys.readouterr().err


def test_with_sequences_it_says_where_the_contact_stands_in_them(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the segments, and under a key of its own in JSON; conditions in place are no segments of their own."""
    welcome = {
        "id": "welcome",
        "on": {"segment": "big"},
        "exit": {"when": {"event": "Left"}, "transition": "entered"},
        "steps": [{"wait": "2d"}],
    }
    (files / "q.yaml").write_text(json.dumps({"sequences": [welcome]}))
    arguments = ["--contact", "c-1", "--sequences", "q.yaml", "--at", "1970-01-02"]

    assert cli.run(["explain", "s.yaml", "e.jsonl", *arguments]) == 0
    text = capsys.readouterr().out
    found = explained(capsys, *arguments)

    assert "c-1 is in sequence welcome (version 1) since 1970-01-01T00:00:02Z" in text
    assert "  at wait-0 since 1970-01-01T00:00:02Z: waits 2d, until 1970-01-03T00:00:02Z" in text
    assert [each["segment"] for each in found["segments"]] == ["big", "known"]
    assert [each["step"] for each in found["sequences"]["running"]] == ["wait-0"]
    assert "sequences" not in explained(capsys, "--contact", "c-1")
