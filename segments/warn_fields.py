"""Warns of traits and properties that no event ever had, by a catalogue of those that events have had."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from segments.conditions import Names
from segments.report import Place, Report, shown


@dataclass(frozen=True)
class SeenField:
    """A trait or property that events have had: from how many `sources`, and when it came last (a date, for people).

    With no sources it is one that is yet to be made, by a sequence.
    """

    sources: int
    last: str


@dataclass(frozen=True)
class KnownFields:
    """All that events have had, by dotted path: traits, and properties by event. Deeper than `depth` keys it isn't known."""

    traits: Mapping[str, SeenField]
    properties: Mapping[str, Mapping[str, SeenField]]
    depth: int

    def lacks_trait(self, path: str) -> bool:
        """Whether no event had the trait; False where that can't be known."""
        return path not in self.traits and self._can_be_known(path)

    def of_events(self, names: Names, path: str) -> dict[str, SeenField] | None:
        """All properties of the events of these names where none has `path`; None where one has, or it can't be known."""
        if path.startswith("context.") or not self._can_be_known(path):
            return None
        there = [fields for name, fields in self.properties.items() if names.matches(name)]
        if not there or any(path in fields for fields in there):
            return None
        return {name: seen for fields in there for name, seen in fields.items()}

    def _can_be_known(self, path: str) -> bool:
        return path.count(".") < self.depth


def meant(report: Report, path: str, known: Mapping[str, SeenField]) -> str:
    """`, did you mean 'plan' (seen from 3 sources, last 2026-03-01)?` where one of `known` is spelled much like `path`."""
    close = report.closest(path, known)
    return "" if close is None else f", did you mean {close!r}{_seen(known[close])}?"


def _seen(field: SeenField) -> str:
    if not field.sources:
        return ""
    return f" (seen from {field.sources} source{'' if field.sources == 1 else 's'}, last {field.last})"


def warn_of_fields(
    report: Report,
    traits: Iterable[tuple[Place, str]],
    properties: Iterable[tuple[Place, Names, str]],
    known: KnownFields,
) -> None:
    """Adds a warning for each that definitions ask for at a place, and that no event ever had."""
    for place, names, path in dict.fromkeys(properties):
        there = known.of_events(names, path)
        if there is not None:
            hint = meant(report, path, there)
            report.say(f"no event of its name ever had the property {shown(path)}{hint}", place)
    for place, path in dict.fromkeys(traits):
        if known.lacks_trait(path):
            hint = meant(report, path, known.traits)
            report.say(f"no event ever had the trait {shown(path)}{hint}", place)
