"""Warns of traits that messages ask for, and that nobody in a sample of events has: a slip that no check can tell else."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from actions.paths import value_at
from actions.reader import close
from actions.rules import Rule
from actions.sequences import Send, Sequence, Set
from schemas.events import Event
from segments.report import Report
from segments.warn_fields import KnownFields, meant

# what a sample has too many of is not remembered for the sake of a hint
_REMEMBERED_MAX: Final = 10_000


class MessageTraits:
    """What the messages of `rules` and `sequences` ask of a contact; `through` looks at events, `lines` says what was nowhere.

    What a sequence sets counts as seen.
    """

    def __init__(self, rules: Iterable[Rule], sequences: Iterable[Sequence]) -> None:
        sequences = tuple(sequences)
        sends = [step.message for sequence in sequences for step in sequence.steps if isinstance(step, Send)]
        self._asked = [(rule, trait) for rule in (*rules, *sends) for trait in _traits(rule)]
        self._missing = {trait for _, trait in self._asked}
        self._seen: set[str] = set()
        self._traits_of_events = False
        for sequence in sequences:
            for step in sequence.steps:
                if isinstance(step, Set) and step.traits:
                    self._look_at(step.traits)

    def through(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same events, looked at as they go by."""
        for event in events:
            if event.traits:
                self._traits_of_events = True
                self._look_at(event.traits)
            yield event

    def lines(self) -> list[str]:
        """A warning for each message and trait; none where the sample has no traits at all."""
        if not self._traits_of_events:
            return []
        return [
            f"{rule.called}: nobody in the sample has the trait {trait!r}{close(trait, sorted(self._seen))}, "
            "which its message asks for"
            for rule, trait in self._asked
            if trait in self._missing
        ]

    def never_had(self, known: KnownFields) -> list[str]:
        """A warning for each message and trait that no event ever had, by a catalogue of what events have had."""
        report = Report("messages")
        return [
            f"{rule.called}: its message asks for the trait {trait!r}, which no event ever had"
            f"{meant(report, trait, known.traits)}"
            for rule, trait in self._asked
            if known.lacks_trait(trait)
        ]

    def _look_at(self, traits: Mapping[str, Any]) -> None:
        self._missing = {trait for trait in self._missing if value_at(traits, trait) is None}
        if len(self._seen) < _REMEMBERED_MAX:
            self._seen.update(traits)


def _traits(rule: Rule) -> list[str]:
    """Each once: that of the target, and those that the message carries."""
    return list(dict.fromkeys((*filter(None, (rule.target_trait,)), *rule.traits)))
