"""How a worker ends: whatever way it goes, the log has the reason."""

from __future__ import annotations

import logging
import os

import pytest

from streams import app, ending
from streams.errors import BrokerError
from streams.log import FencedError, LogError
from streams.settings import load_settings


def test_a_worker_that_cannot_stop_in_time_has_said_why_it_was_to_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the broker away, stopping takes longer than it may: the reason came at its end, which was never reached."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    app._give_up(LogError("could not commit: no answer"))

    assert [1] == statuses
    assert "start it again: could not commit: no answer" in caplog.text


def test_a_worker_with_a_name_that_is_fenced_is_told_to_look_for_another_under_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With events coming, its checkpoint is refused before its group tells it anything."""

    async def away(_: object) -> None:
        raise BrokerError("away")

    monkeypatch.setattr(ending, "look", away)
    fenced = FencedError("could not commit")
    named = load_settings({"TIDEGATE_INSTANCE": "one"})

    assert ["could not commit"] == ending.causes(fenced, load_settings({}))
    assert any("TIDEGATE_INSTANCE=one" in line for line in ending.causes(fenced, named))
    assert ["no answer"] == ending.causes(LogError("no answer"), named)
