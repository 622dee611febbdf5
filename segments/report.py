"""Collects what is wrong with a definitions file: one line an error, naming segment, expected, found and path."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Report:
    """The errors found so far, and where the checker is: a subject (`segment 'x'`, or the file) and a JSON path in it."""

    def __init__(self, name: str) -> None:
        self.errors: list[str] = []
        self._subject = name
        self._path: list[str] = []

    @contextmanager
    def about(self, subject: str) -> Iterator[None]:
        """Paths start anew at `subject` inside the block."""
        outer = self._subject, self._path
        self._subject, self._path = subject, []
        try:
            yield
        finally:
            self._subject, self._path = outer

    @contextmanager
    def at(self, *steps: str | int) -> Iterator[None]:
        """One or more steps further down inside the block: keys or list indexes."""
        self._path.extend(_step(step) for step in steps)
        try:
            yield
        finally:
            del self._path[len(self._path) - len(steps) :]

    def say(self, sentence: str) -> None:
        """Add an error at the place where the checker is."""
        self.errors.append(f"{self._subject}: {sentence} - at ${''.join(self._path)}")

    def expected(self, what: str, found: Any) -> None:
        """Add `expected …, got …`."""
        self.say(f"expected {what}, got {shown(found)}")

    def unknown_key(self, key: str, known: Iterable[str], later: Iterable[str] = ()) -> None:
        """Add the error for a key that isn't known here, or that the language has and this version doesn't."""
        known = list(known)
        with self.at(key):
            if key in later:
                self.say(f"{key!r} is not supported yet")
                return
            close = difflib.get_close_matches(key, [*known, *later], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            self.say(f"expected a known key, got {key!r}; {hint}")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{step!r}]"


def shown(value: Any) -> str:
    """A value as an error shows it: short, and as YAML would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
