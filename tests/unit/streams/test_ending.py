"""How a worker ends: whatever way it goes, the log has the reason."""

from __future__ import annotations

import logging
import os

import pytest

from streams import app
from streams.log import LogError


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
