"""Tables and progress as people and programs get them."""

import json

import pytest

from streams.cli.terminal import print_table, progress


def test_a_table_is_aligned_and_has_no_blanks_at_line_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """To be read, and to be cut by awk."""
    print_table(("id", "last_seen"), [("a", None), ("long-id", 5)], False)

    assert capsys.readouterr().out == "id       last seen\na        -\nlong-id  5\n"


def test_as_json_a_table_is_an_array_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """With nothing shortened."""
    print_table(("id", "name"), [("a", "two\nlines"), ("b", None)], True)

    assert json.loads(capsys.readouterr().out) == [{"id": "a", "name": "two\nlines"}, {"id": "b", "name": None}]


def test_text_from_elsewhere_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A segment's name is whatever its author, or an attacker, wrote."""
    print_table(("name",), [("a\x1b[2Jb\nc\x9b",)], False)

    assert capsys.readouterr().out == "name\na\ufffd[2Jb c\ufffd\n"


def test_progress_is_plain_lines_where_nobody_watches_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Now and then one, on standard error, with no control characters."""
    now_s = 0.0
    monkeypatch.setattr("streams.cli.terminal.time.monotonic", lambda: now_s)
    with progress("events", 1_000) as advance:
        for second in range(1, 12):
            now_s = float(second)
            advance(second * 1_000, second * 50)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "5,000 events, 1,000/s, 25 %\n10,000 events, 1,000/s, 50 %\n"
