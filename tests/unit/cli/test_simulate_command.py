"""`tidegate check` and `tidegate simulate` as they are called."""

import gzip
import io
import json
from pathlib import Path

import pytest

from streams import cli

SEGMENTS = """
segments:
  - {id: big, when: {event: Order Completed, within: 30d, sum: {of: total, gte: 100}}}
  - {id: known, when: {everyone: true}}
"""
BAD = """
segments:
  - {id: big-spenders, when: {all: [{everyone: true}, {event: Order Completed, count: {gte: ten}}]}}
  - {id: other, when: {evnt: x}}
"""
EVENTS = [
    {"type": "track", "userId": "c-1", "event": "Order Completed", "properties": {"total": 60}, "timestamp": 1_000},
    {"type": "track", "userId": "c-1", "event": "Order Completed", "properties": {"total": 60}, "timestamp": 2_000},
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `s.yaml`, `bad.yaml` and `e.jsonl`, which is the current one."""
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    (tmp_path / "bad.yaml").write_text(BAD)
    lines = [json.dumps(EVENTS[0]), "", "no json", json.dumps(EVENTS[1]), '{"type":"track","userId":"c-2"}']
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _lines(out: str) -> list[tuple[str, str, int, str]]:
    return [(e["segment"], e["transition"], e["seq"], e["at"]) for e in map(json.loads, out.splitlines())]


def test_transitions_go_to_standard_output_and_rejected_lines_to_standard_error(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines are counted with the blank ones, and the run goes on after a bad one."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl"]) == 0
    captured = capsys.readouterr()

    assert _lines(captured.out) == [
        ("known", "entered", 1, "1970-01-01T00:00:01.000Z"),
        ("big", "entered", 1, "1970-01-01T00:00:02.000Z"),
    ]
    errors = captured.err.splitlines()
    assert [line.split(" ", 1)[0] for line in errors] == ["e.jsonl:3:", "e.jsonl:5:"]
    assert errors[1] == "e.jsonl:5: expected `event` in a track event, got none"


def test_until_plays_time_on(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first order leaves the window of 30 days, to the millisecond."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl", "--until", "1970-02-01"]) == 0

    assert ("big", "left", 2, "1970-01-31T00:00:01.000Z") in _lines(capsys.readouterr().out)


def test_gzip_is_read_as_such(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name's end."""
    assert cli.run(["simulate", "s.yaml", "e.jsonl"]) == 0
    plain = capsys.readouterr().out
    (files / "e.jsonl.gz").write_bytes(gzip.compress((files / "e.jsonl").read_bytes()))

    assert cli.run(["simulate", "s.yaml", "e.jsonl.gz"]) == 0
    assert capsys.readouterr().out == plain


def test_a_file_that_only_looks_like_gzip_is_an_error(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut off in the middle, or none at all."""
    whole = gzip.compress((files / "e.jsonl").read_bytes() * 100)
    for content in (b"no gzip", whole[: len(whole) // 2]):
        (files / "e.jsonl.gz").write_bytes(content)

        assert cli.run(["simulate", "s.yaml", "e.jsonl.gz"]) == 2
        assert "e.jsonl.gz: expected gzip, got " in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check", "bad.yaml"], ["simulate", "bad.yaml", "e.jsonl"]], ids=" ".join)
def test_all_errors_of_a_file_are_listed_in_the_form_of_the_language_page(
    command: list[str], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, and before the first event."""
    assert cli.run(command) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = captured.err.splitlines()
    assert errors[0] == "segment 'big-spenders': expected a number, got 'ten' - at $.when.all[1].count.gte"
    assert errors[1].startswith("segment 'other': ")
    assert len(errors) == 2


def test_check_says_what_it_found_sound(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted by kind."""
    assert cli.run(["check", "s.yaml"]) == 0
    assert capsys.readouterr().out == "2 segments: sound\n"


@pytest.mark.parametrize("content", [b"", b"[]", b"segments", b"{}", b"segments: []", b"segments: {a: 1}", b"\xff\xfe"])
def test_a_file_that_holds_no_definitions_is_an_error(
    content: bytes, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever else it holds."""
    (files / "x.yaml").write_bytes(content)

    assert cli.run(["check", "x.yaml"]) == 2
    assert capsys.readouterr().err.startswith("x.yaml: expected ")


def test_a_line_without_end_does_not_fill_the_memory(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond the bound is left out, and the lines after it keep their numbers."""
    monkeypatch.setattr("streams.event_lines.LINE_BYTES_MAX", 100)
    monkeypatch.setattr("streams.event_lines.BLOCK_BYTES", 64)
    from streams.event_lines import open_lines

    (files / "long.jsonl").write_bytes(b"a" * 100_000 + b"\nb\n\n  c")
    with open_lines("long.jsonl") as lines:
        read = list(lines)

    assert [number for number, _ in read] == [1, 2, 4]
    assert [line for _, line in read[1:]] == [b"b", b"c"]
    assert len(read[0][1]) <= 164


def test_standard_input_is_a_dash(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And rejected lines name it so."""
    with (files / "e.jsonl").open("rb") as events:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(events))
        assert cli.run(["simulate", "s.yaml", "-"]) == 0
        captured = capsys.readouterr()

    assert len(_lines(captured.out)) == 2
    assert captured.err.startswith("-:3: ")


def test_limits_are_those_of_the_settings(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is tried out here must come out of the service in the same way."""
    monkeypatch.setenv("TIDEGATE_LIMIT_EVENTS", "1")
    assert cli.run(["simulate", "s.yaml", "e.jsonl"]) == 0
    assert [line[0] for line in _lines(capsys.readouterr().out)] == ["known"], "one order alone makes no 100"

    assert cli.run(["explain", "s.yaml", "e.jsonl", "--contact", "c-1", "--json"]) == 0
    assert "a limit was passed once" in json.loads(capsys.readouterr().out)["notes"][0]

    (files / "deep.yaml").write_text("segments: [{id: deep, when: {not: {not: {everyone: true}}}}]")
    for command in (["check", "deep.yaml"], ["simulate", "deep.yaml", "e.jsonl"]):
        monkeypatch.setenv("TIDEGATE_LIMIT_DEPTH", "2")
        assert cli.run(command) == 2
        assert "expected at most 2 levels of conditions, got more" in capsys.readouterr().err
        monkeypatch.setenv("TIDEGATE_LIMIT_DEPTH", "3")
        assert cli.run(command) == 0
        capsys.readouterr()
