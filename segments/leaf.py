"""What all leaves over events share: which events they are about, and what the evaluator may ask of them.

A leaf's `kept` is plain data (numbers, text, bytes, booleans, lists, dicts keyed by text) that goes into the contact's state as
it is; None means nothing, and a leaf is false of nothing: one whose measure holds of none stands for its complement.
What is kept does not depend on the order of arrival, but for ties and limits. Leaves may change `kept` in place.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from schemas.events import Event
from segments.canonical import holds_of_nothing, leaf_key
from segments.conditions import EventIs, Names
from segments.contact import EVENTS_KEPT_MAX, VALUES_KEPT_MAX, Contact
from segments.matching import Matcher
from segments.predicates import where_predicate
from segments.ranges import Between, Stretch, stretch

# the answer, and the next instant at which it may change: maybe early, never late; None: time alone never changes it
Read = tuple[bool, int | None]
# what is kept after an event, the answer and the next instant at which it may change
Taken = tuple[Any, bool, int | None]


def encoded_bytes_max(event: Event) -> int:
    """What an event's values take at most in a state's record: `1e9,` is four bytes of JSON, and nine of MessagePack."""
    return event.size * 9 // 4


def time_of(entry: list[Any]) -> int:
    """The time of something kept one by one, which comes first in it."""
    return entry[0]  # type: ignore[no-any-return]


def put(entries: list[Any], entry: list[Any]) -> None:
    """Put an entry in its place by time, after those of the same instant."""
    if not entries or entry[0] >= entries[-1][0]:
        entries.append(entry)
    else:
        entries.insert(bisect_right(entries, entry[0], key=time_of), entry)


class EventLeaf:
    """Base of the leaves over events.

    `where`: a test of `(properties, context)` that an event must pass to be handed to `take`; None: none such. `gate`:
    another test, of an event and its time, that `take` asks itself. `traits`: the contact's traits whose change may
    change the answer: then `read` is due. `flipped`: it stands for the complement of its condition. `events_max`,
    `values_max`: how much of what is kept one by one there may be.
    """

    def __init__(self, condition: EventIs) -> None:
        matching = condition.matching
        self.key: int = leaf_key(condition)
        self.matcher: Matcher = Matcher(matching)
        self.stretch: Stretch = stretch(condition.range, matching.tz)
        self.names: Names = matching.names
        self.plain_names: tuple[str, ...] | None = self.matcher.plain_names
        self.where: Callable[[Any], bool] | None = None
        self.gate: Callable[[Event, int], bool] | None = None
        self.traits: frozenset[str] = self.matcher.traits
        self.flipped: bool = holds_of_nothing(condition)
        self.events_max: int = EVENTS_KEPT_MAX
        self.values_max: int = VALUES_KEPT_MAX
        if not self.matcher.fixed or self.matcher.is_local:
            self.gate = self.matcher.accepts
        elif matching.where is not None:
            self.where = where_predicate(matching.where, in_context=True).fixed
        if isinstance(self.stretch, Between):
            self.gate = _since_until(self.stretch, self.gate)

    def limit(self, events_max: int, values_max: int) -> None:
        """Set how many events and values may be kept, in place of the defaults."""
        self.events_max, self.values_max = events_max, values_max

    def asks(self, name: str) -> bool:
        """Whether events of this name are to be handed in."""
        return self.names.matches(name)

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        """Take an event in, at its own time, however late; None: it changed nothing, neither `kept` nor the answer.

        The answer is that at the contact's clock, which is at or after `at_ms`.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        """The answer at `now_ms`, and when it may change; drops from `kept` what can't count any more."""
        raise NotImplementedError  # pragma: no cover - abstract

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        """Two histories as one, either may be None; `other` is that of the absorbed contact. To be read again."""
        raise NotImplementedError  # pragma: no cover - abstract

    def times(self, kept: Any) -> Iterable[int]:
        """The times of what `shed` can take away."""
        return ()

    def shed(self, kept: Any, before_ms: int) -> Any:
        """What is left without what happened up to `before_ms`, where things are kept one by one. To be read again."""
        return kept

    def is_empty(self, kept: Any) -> bool:
        """Whether `kept` says no more than None."""
        return not kept


class Never(EventLeaf):
    """A condition that no event can ever meet, such as `calendar: tomorrow`. Keeps nothing."""

    def take(self, kept: Any, event: Event, at_ms: int, contact: Contact) -> Taken | None:
        return None

    def read(self, kept: Any, contact: Contact, now_ms: int) -> Read:
        return False, None

    def merge(self, kept: Any, other: Any, contact: Contact) -> Any:
        return None


def _since_until(stretch: Between, gate: Callable[[Event, int], bool] | None) -> Callable[[Event, int], bool]:
    """A gate for the events that may ever lie in the stretch."""
    first_ms, end_ms = stretch.limits_ms

    def passes(event: Event, at_ms: int) -> bool:
        return first_ms <= at_ms < end_ms and (gate is None or gate(event, at_ms))

    return passes
