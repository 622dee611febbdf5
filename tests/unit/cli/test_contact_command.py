"""`tidegate contact` and `tidegate members`: what they say where they can't tell; what they tell is tested with a Redis."""

import pytest

from streams import cli


@pytest.mark.parametrize(
    "arguments", [["contact", "c-17"], ["contact", "c-17", "--at", "2026-03-01"], ["members", "cart"]]
)
def test_a_redis_that_is_away_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting that says where it is, and without its password."""
    monkeypatch.setenv("TIDEGATE_REDIS", "redis://:secret@127.0.0.1:1/0")
    assert cli.run(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "expected Redis to tell of contacts and segments, got ConnectionError: see TIDEGATE_REDIS\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["contact", "c-17", "--at", "soon"], "expected an instant such as 2026-03-01"),
        (
            ["contact", "c-17", "--at", "9999-01-01"],
            "expected an instant that is over in --at, got 9999-01-01T00:00:00",
        ),
        (["contact"], "Missing argument 'ID'"),
        (["members", "cart", "--limit", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_usage_is_said_before_anybody_is_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
