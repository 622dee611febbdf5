"""`tidegate fields`: what it says where there is nothing to say; what it lists is tested with a Redis."""

import pytest

from streams import cli


def test_a_redis_that_is_away_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting that says where it is."""
    monkeypatch.setenv("TIDEGATE_REDIS", "redis://:secret@127.0.0.1:1/0")
    assert cli.run(["fields"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "expected Redis to tell the catalogue of fields, got ConnectionError: see TIDEGATE_REDIS\n"


def test_traits_are_of_no_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Both together would list nothing, which looks like an answer."""
    assert cli.run(["fields", "--traits", "--event", "Order Completed"]) == 2
    assert "expected one of --event and --traits, got both" in capsys.readouterr().err
