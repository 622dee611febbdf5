"""What a sequence was worth: one report out of `Facts`, by version and by path of each split (`SEQUENCES.md`).

Counts of the funnel are of entries; comparisons are of contacts, each by its first entry of the version, as entries of one
contact are not independent of each other.
"""

from collections import Counter
from itertools import pairwise
from typing import Final

import msgspec

from actions.report_arms import SplitReport, compare
from actions.report_facts import Entry, Facts, Message
from actions.report_paths import Paths
from actions.report_steps import StepReport, Way, step_report
from actions.sequences import LIFTED, Send, Sequence, Split
from schemas.deliveries import delivery_id
from schemas.instants import format_instant, parse_instant

# why a transition began nothing
_NOT_BEGUN: Final = ("cause", "silent", "before_rule", "too_old", "running", "again", "limit")


class Exits(msgspec.Struct, frozen=True):
    """How many left early at a step (its name, None where it is not known), for a reason."""

    reason: str
    step: str | None
    count: int


class Funnel(msgspec.Struct, frozen=True):
    """Entries, by what became of them; `converted` within the window, and before the contact's next entry."""

    entered: int
    running: int
    completed: int
    converted: int
    exited: list[Exits]
    steps: list[StepReport]


class PathFunnel(msgspec.Struct, frozen=True):
    """The entries that took a path of a split."""

    split: str
    path: str
    funnel: Funnel


class VersionReport(msgspec.Struct, frozen=True):
    """One version. `not_begun`: transitions that began nothing, by code."""

    version: int
    not_begun: dict[str, int]
    funnel: Funnel
    paths: list[PathFunnel]
    splits: list[SplitReport]
    notes: list[str]


class Report(msgspec.Struct, frozen=True):
    """One sequence: what a contact was worth is the sum of `property` in events `value`, within the window."""

    sequence: str
    as_of: str
    since: str | None
    window_ms: int
    value: str | None
    property: str | None
    versions: list[VersionReport]
    notes: list[str]


def report_of(facts: Facts, as_of_ms: int, *, version: int | None = None, since_ms: int | None = None) -> Report:
    """The report as of an instant (epoch ms): of entries from `since_ms` on, of one version or of each."""
    entries = [entry for entry in facts.entries.values() if since_ms is None or entry.began_ms >= since_ms]
    not_begun = _not_begun(facts, since_ms)
    found = {entry.version for entry in entries} | set(not_begun)
    if version is not None:
        found &= {version}
    ends = _until(facts)
    reports = [
        _version(facts, number, [entry for entry in entries if entry.version == number], ends, not_begun, as_of_ms)
        for number in sorted(found)
    ]
    notes = []
    if facts.unmatched:
        notes.append(
            f"{facts.unmatched} ends are of entries that are not in the topic: begun before its retention, or ended by a "
            "contact that has become another one; these entries count as running"
        )
    return Report(
        sequence=facts.sequence,
        as_of=format_instant(as_of_ms),
        since=None if since_ms is None else format_instant(since_ms),
        window_ms=facts.window_ms,
        value=None if facts.value is None else facts.value.event,
        property=None if facts.value is None else facts.value.property,
        versions=reports,
        notes=notes,
    )


def _version(
    facts: Facts,
    version: int,
    entries: list[Entry],
    ends: dict[str, int],
    not_begun: dict[int, Counter[str]],
    as_of_ms: int,
) -> VersionReport:
    sequence = facts.versions.get(version)
    notes: list[str] = []
    if sequence is None:
        notes.append(
            "this version is not on the definitions topic, or none that this code can take: its steps and its goal are not known"
        )
    elif sequence.goal is not None and not facts.is_followed(sequence.goal):
        what = "a condition in place that no version has any more that is kept"
        if not sequence.goal.segment.startswith(LIFTED):
            what = f"segment {sequence.goal.segment!r}, which was removed"
        notes.append(f"no conversion is counted any more: the goal is {what}")
    ways = _ways(facts, sequence, entries, ends)
    splits = [] if sequence is None else [step for _, step in Paths(sequence).splits]
    return VersionReport(
        version=version,
        not_begun=dict(sorted(not_begun.get(version, Counter()).items())),
        funnel=_funnel(sequence, ways),
        paths=[
            PathFunnel(split.name, path.name, _funnel(sequence, taken))
            for split in splits
            for path in split.paths
            if (taken := [way for way in ways if way.splits.get(split.name) == path.name])
        ],
        splits=[compare(facts, split, [(way.entry, _path(split, way)) for way in ways], as_of_ms) for split in splits],
        notes=notes,
    )


def _path(split: Split, way: Way) -> str | None:
    """The path that an entry took, or is to take: under way behind the split it may have said nothing yet."""
    from actions.step_times import path_of

    under_way = way.entry.ended is None
    return way.splits.get(split.name) or (path_of(split, way.entry.contact).name if under_way else None)


def _ways(facts: Facts, sequence: Sequence | None, entries: list[Entry], ends: dict[str, int]) -> list[Way]:
    paths = None if sequence is None else Paths(sequence)
    ways = []
    for entry in entries:
        messages = {} if sequence is None else _messages(facts, sequence, entry)
        splits = {} if paths is None else paths.taken(entry.contact, set(messages))
        goal_ms = entry.goal_ms
        if goal_ms is not None and (
            goal_ms > entry.began_ms + facts.window_ms or goal_ms >= ends.get(entry.id, goal_ms + 1)
        ):
            goal_ms = None
        ways.append(Way(entry, messages, splits | entry.splits, goal_ms))
    return ways


def _messages(facts: Facts, sequence: Sequence, entry: Entry) -> dict[int, Message]:
    found = {}
    for number, step in enumerate(sequence.steps):
        if isinstance(step, Send):
            message = facts.messages.get(_delivery_id(facts, entry, number))
            if message is not None:
                found[number] = message
    return found


def _delivery_id(facts: Facts, entry: Entry, step: int) -> str:
    return delivery_id(entry.id, f"sequence/{facts.sequence}", entry.version, step)


def _until(facts: Facts) -> dict[str, int]:
    """When the contact next began the sequence, of each entry after which it did."""
    ends: dict[str, int] = {}
    for entries in facts.by_contact.values():
        for key in {entry.key for entry in entries}:
            ordered = sorted((entry for entry in entries if entry.key == key), key=lambda entry: entry.began_ms)
            ends |= {before.id: after.began_ms for before, after in pairwise(ordered)}
    return ends


def _not_begun(facts: Facts, since_ms: int | None) -> dict[int, Counter[str]]:
    """How many transitions began nothing, by version and code: such an outcome has the id of a first step's message."""
    begun = {_delivery_id(facts, entry, 0) for entry in facts.entries.values()}
    found: dict[int, Counter[str]] = {}
    for id, message in facts.messages.items():
        outcome = message.outcome
        if outcome is None or outcome.status != "skipped" or outcome.step != 0 or id in begun:
            continue
        at_ms = parse_instant(outcome.at, offset_required=True)
        if outcome.code in _NOT_BEGUN and (since_ms is None or (at_ms is not None and at_ms >= since_ms)):
            found.setdefault(outcome.rule_version, Counter())[str(outcome.code)] += 1
    return found


def _funnel(sequence: Sequence | None, ways: list[Way]) -> Funnel:
    exits = Counter((way.entry.ended, way.entry.step) for way in ways if way.entry.ended not in (None, "completed"))
    return Funnel(
        entered=len(ways),
        running=sum(way.entry.ended is None for way in ways),
        completed=sum(way.entry.ended == "completed" for way in ways),
        converted=sum(way.converted_ms is not None for way in ways),
        exited=[
            Exits(str(reason), step, count)
            for (reason, step), count in sorted(exits.items(), key=lambda item: (-item[1], str(item[0])))
        ],
        steps=[
            step_report(number, step, ways)
            for number, step in enumerate(() if sequence is None else sequence.steps)
            if isinstance(step, Send) and ways
        ],
    )
