"""What a measure keeps of its events where they only ever come in: the base of `amounts.py` and `moments.py`."""

from collections.abc import Iterable
from typing import Any

from schemas.events import Event
from segments.conditions import Measure
from segments.contact import Contact
from segments.leaf import Read


class Summary:
    """A measure of events that only come in; `kept` None: none did.

    `traits`: whose change may change the answer. `flipped`: tests that hold of no event, which stand for their complement.
    """

    def __init__(self, measure: Measure, flipped: bool) -> None:
        self.traits: frozenset[str] = frozenset()
        self.flipped = flipped

    def value(self, event: Event) -> Any:
        """What a matching event adds; None: it has no such value, and is skipped."""
        return True

    def add(self, kept: Any, at_ms: int, value: Any) -> Any:
        """What is kept once a value, of an event at `at_ms`, has come in."""
        raise NotImplementedError  # pragma: no cover - abstract

    def limit(self, values_max: int) -> None:
        """Set how many values may be kept where each is, in place of the default."""

    def bound(self, kept: Any, contact: Contact) -> None:
        """Drop the values seen longest ago of too many, where each is kept."""

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and the next instant at which it may change."""
        raise NotImplementedError  # pragma: no cover - abstract

    def merge(self, kept: Any, other: Any) -> Any:
        """Two summaries as one; neither is None."""
        raise NotImplementedError  # pragma: no cover - abstract

    def bytes_max(self, kept: Any, event: Event) -> int:
        """What the last event, or the text of a number, may take in the state beside times and numbers."""
        return 0

    def times(self, kept: Any) -> Iterable[int]:
        """The times of what `shed` can take away."""
        return ()

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without values last seen up to `before_ms`, where each is kept."""
        return kept
