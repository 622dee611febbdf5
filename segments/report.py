"""Collects what is wrong with a definitions file: one line an error, naming segment, expected, found and path."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

# who has written more than this many errors has written something else
ERRORS_MAX = 1_000
# finding what is close takes time that grows with the square of the length, and no key of ours is longer
_CLOSE_MAX = 40
# comparisons for the sake of hints, over all errors: each takes some microseconds
_COMPARED_MAX = 100_000
_SHOWN_MAX = 80
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,79}")


class Place(NamedTuple):
    """Where something stands: the subject (`segment 'x'`, or the file) and the path in it."""

    subject: str
    path: str


class TooManyErrors(Exception):
    """There are `ERRORS_MAX` errors, and a line that says so; nothing more is looked for."""


class Report:
    """The errors found so far, and where the checker is: a subject (`segment 'x'`, or the file) and a JSON path in it."""

    def __init__(self, name: str) -> None:
        self.errors: list[str] = []
        self._name = name
        self._subject = name
        self._path: list[str | int] = []
        self._compared = 0

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
        self._path.extend(steps)
        try:
            yield
        finally:
            del self._path[len(self._path) - len(steps) :]

    def here(self) -> Place:
        """The place where the checker is, for what can be said only later."""
        return Place(self._subject, f"${''.join(map(_step, self._path))}")

    def say(self, sentence: str, place: Place | None = None) -> None:
        """Add an error at `place`, or where the checker is. Raises `TooManyErrors`."""
        subject, path = place or self.here()
        self.errors.append(f"{subject}: {sentence} - at {path}")
        if len(self.errors) >= ERRORS_MAX:
            self.errors.append(
                f"{self._name}: expected fewer than {ERRORS_MAX} errors, got more; the rest is not checked"
            )
            raise TooManyErrors

    def expected(self, what: str, found: Any) -> None:
        """Add `expected …, got …`."""
        self.say(f"expected {what}, got {shown(found)}")

    def only(self, found: Iterable[str], known: Iterable[str]) -> None:
        """Add an error for each key of `found` that is none of `known`."""
        known = tuple(known)
        for key in found:
            if key not in known:
                self.unknown_key(key, known)

    def unknown_key(self, key: str, known: Iterable[str]) -> None:
        """Add the error for a key that isn't known here."""
        known = list(known)
        with self.at(key):
            hint = self.close_to(key, known) or f"; known here: {', '.join(known)}"
            self.say(f"expected a known key, got {shown(key)}{hint}")

    def close_to(self, word: str, known: Collection[str]) -> str:
        """`; did you mean 'x'?` where one of `known` is spelled much like `word`, else nothing."""
        close = self.closest(word, known)
        return "" if close is None else f"; did you mean {close!r}?"

    def closest(self, word: str, known: Collection[str]) -> str | None:
        """The one of `known` that is spelled most like `word`; None where none is, or too many were compared already."""
        self._compared += len(known)
        if len(word) > _CLOSE_MAX or self._compared > _COMPARED_MAX:
            return None
        return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{shown(step)}]"


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
    # an integer's digits take time that grows with the square of their number, and Python refuses the longest
    if isinstance(value, int) and value.bit_length() > 1100:
        return "an integer of more than 300 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."
