"""Who is said to have applied definitions."""

import getpass
import os

import pytest

from streams.cli.segments import _author
from streams.errors import InputError


def test_a_user_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)

    assert _author("ada", "") == "ada"
    assert _author("", "") == f"uid {os.getuid()}"


def test_a_name_that_nobody_would_read_is_refused() -> None:
    """It is in each listing."""
    with pytest.raises(InputError, match="expected an author of at most 200 characters, got 201"):
        _author("a" * 201, "")
