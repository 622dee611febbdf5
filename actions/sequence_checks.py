"""What sequences and segments say of each other: that what is named is there, and that no sequence feeds itself."""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as List
from typing import Any, Final

from actions.reader import close
from actions.sequences import LIFTED, Asking, Branch, Send, Sequence, Set, WaitFor
from segments import Definitions, Segment
from segments.conditions import (
    EventIs,
    EventRule,
    Held,
    InSegment,
    Listed,
    Matching,
    Names,
    Score,
    ScoreIs,
    SequenceIs,
    TraitIs,
    TraitRule,
    Where,
    walk,
)
from segments.contact import trait_keys

# what the names of all events begin with that sequences cause
OWN: Final = "Sequence "
_LIFTED = re.compile(r"segment '(~(?:goal-)?[0-9a-f]{16})': (.*) - at \$\.when(.*)", re.DOTALL)


def lifted_bodies(sequences: Iterable[Asking]) -> list[dict[str, Any]]:
    """The segments that stand for the conditions in place of all `sequences`, each once: for `load_data`."""
    return list({id: body for sequence in sequences for id, body in sequence.lifted.items()}.values())


def in_sequence(line: str, sequences: Iterable[Asking]) -> str:
    """An error or a warning of a lifted segment, at its place in the first sequence that has it; any other as it is."""
    found = _LIFTED.fullmatch(line)
    for sequence in sequences if found else ():
        if found is not None and found[1] in sequence.lifted:
            return _said(sequence, found[2], f"{sequence.places[found[1]]}{found[3]}")
    return line


def check_named(sequences: Iterable[Sequence], segments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Errors of sequences that name a segment which is none of `segments` (bodies by id), or one that has to be otherwise."""
    with_per = {id for id, body in segments.items() if "per" in body}
    return [line for sequence in sequences for line in _named(sequence, segments, with_per)]


def _named(sequence: Sequence, segments: Mapping[str, Any], with_per: set[str]) -> Iterator[str]:
    for id, place in _roots(sequence):
        if id not in segments and not id.startswith(LIFTED):
            hint = close(id, sorted(segments))
            yield _said(sequence, f"expected a segment in force, got {id!r}{hint}", place)
    own = sequence.on.segment
    if sequence.again.kind == "per_key" and own in segments and own not in with_per:
        yield _said(sequence, f"expected a segment with `per` in `on` beside `per_key`, got {own!r}", "$.again")
    asked = _asked_of_contact(sequence)
    for id in sorted(asked & with_per):
        sentence = f"expected a segment without `per`, got {id!r}; its memberships are many a contact"
        yield _said(sequence, sentence, f"{sequence.places[id]}.segment")
    ending = {on.segment for on in (sequence.goal, *sequence.exits) if on is not None}
    for id in sorted((ending & with_per) - asked - {own}):
        sentence = f"expected a segment without `per`, or that of `on`, got {id!r}"
        yield _said(sequence, sentence, f"{sequence.places[id]}.segment")


def _asked_of_contact(sequence: Sequence) -> set[str]:
    """The segments of which the contact has to be in or out as a whole."""
    asked = {step.segment for step in sequence.steps if isinstance(step, Branch)}
    asked |= {step.on.segment for step in sequence.steps if isinstance(step, WaitFor)}
    return asked | {step.while_ for step in sequence.steps if isinstance(step, Send) and step.while_ is not None}


def check_loops(sequences: List[Sequence], definitions: Definitions) -> list[str]:
    """Errors of sequences that depend on events of their own, be it by way of other sequences."""
    errors: list[str] = []
    waits: dict[str, dict[str, str]] = {sequence.id: {} for sequence in sequences}
    for sequence in sequences:
        for place, segment, matching in _matchings(sequence, definitions):
            others = _sequences_asked(matching.where)
            if not _takes_own(matching.names):
                continue
            if others is None and matching.names.except_ is not None:
                continue  # a warning
            if others is None or sequence.id in others:
                where = "" if segment.startswith(LIFTED) else f" in segment {segment!r}"
                sentence = f"expected no condition on events of its own, got one{where}; ask for another sequence's, by"
                errors.append(_said(sequence, f"{sentence} `where: {{sequence: …}}`", place))
                continue
            for other in others & waits.keys():
                waits[sequence.id].setdefault(other, place)
    for sequence in sequences:
        for other, place in waits[sequence.id].items():
            reached = _reached(other, waits)
            if sequence.id in reached:
                through = ", ".join(sorted(each for each in reached if sequence.id in _reached(each, waits)))
                sentence = f"expected no circle of sequences on each other's events, got one through {through}"
                errors.append(_said(sequence, sentence, place))
    return list(dict.fromkeys(errors))


def warn_of_sequences(sequences: List[Sequence], definitions: Definitions) -> list[str]:
    """What is legal in sequences and surely not meant, a line each."""
    lines = []
    for sequence in sequences:
        for place, segment, matching in _matchings(sequence, definitions):
            if (
                matching.names.except_ is not None
                and _takes_own(matching.names)
                and not _sequences_asked(matching.where)
            ):
                where = "" if segment.startswith(LIFTED) else f" in segment {segment!r}"
                sentence = f"takes events of sequences among all others{where}, its own too; leave them out with"
                lines.append(_said(sequence, f'{sentence} `any_except: [{{prefix: "{OWN}"}}]`', place))
    lines += _warn_of_sets(sequences, definitions)
    return list(dict.fromkeys(lines))


def _warn_of_sets(sequences: Iterable[Sequence], definitions: Definitions) -> Iterator[str]:
    """Of sequences that begin every time, those that set what they begin on, be it by way of others."""
    each_time = [sequence for sequence in sequences if sequence.again.kind == "every_time"]
    asked = {sequence.id: _begins_by(sequence, definitions) for sequence in each_time}
    feeds: dict[str, dict[str, str]] = {sequence.id: {} for sequence in each_time}
    for sequence in each_time:
        for step in (step for step in sequence.steps if isinstance(step, Set)):
            for other in each_time:
                for what in _set_of(step, *asked[other.id]):
                    sentence = f"step {step.name!r} sets {what}, which segment {other.on.segment!r} of `on` asks for"
                    if other is sequence:
                        sentence += ": with `every_time` it may begin itself again and again"
                        yield _said(sequence, sentence, "$.again")
                    else:
                        feeds[sequence.id].setdefault(other.id, sentence.replace("`on`", f"{other.id!r}"))
    for sequence in each_time:
        for other_id, sentence in feeds[sequence.id].items():
            if sequence.id in _reached(other_id, feeds):
                sentence += ", and that leads back here: with `every_time` they may begin each other again and again"
                yield _said(sequence, sentence, "$.again")


def _begins_by(sequence: Sequence, definitions: Definitions) -> tuple[set[str], set[str]]:
    """The traits and the lists by which one may begin: those that its segment asks for, itself or by what it names."""
    traits: set[str] = set()
    lists: set[str] = set()
    # what a list brings has cause `manual`; but for what a hold puts off, which has `timer`
    heeds_lists = "manual" in sequence.causes
    scores = {score.id: score for score in definitions.scores}
    for each in _closure(sequence.on.segment, {segment.id: segment for segment in definitions.segments}):
        heeds_lists |= bool(each.enter_ms or each.leave_ms) and "timer" in sequence.causes
        for leaf in walk(each.when):
            if isinstance(leaf, Held):
                heeds_lists |= "timer" in sequence.causes
            elif isinstance(leaf, TraitIs):
                traits |= trait_keys(leaf.path)
            elif isinstance(leaf, Listed):
                lists.add(leaf.list)
            elif isinstance(leaf, ScoreIs):
                rules = scores[leaf.id].rules
                traits |= {
                    key for rule in rules if isinstance(rule, TraitRule) for key in trait_keys(rule.condition.path)
                }
    return traits, lists if heeds_lists else set()


def _set_of(step: Set, traits: set[str], lists: set[str]) -> list[str]:
    """Of these traits and lists those that a step sets, for people."""
    found = [f"the trait {key!r}" for key in sorted(traits & set(step.traits or ()))]
    return found + ([f"the list {step.list!r}"] if step.list in lists else [])


def _said(sequence: Asking, sentence: str, place: str) -> str:
    return f"sequence {sequence.id!r}: {sentence} - at {place}"


def _roots(sequence: Sequence) -> Iterator[tuple[str, str]]:
    """Each segment that the sequence names itself, lifted ones too, and where."""
    yield sequence.on.segment, "$.on.segment"
    for id, place in sequence.places.items():
        yield id, place if id.startswith(LIFTED) else f"{place}.segment"


def _matchings(sequence: Sequence, definitions: Definitions) -> Iterator[tuple[str, str, Matching]]:
    """Which events whatever the sequence asks for depends on: place in the sequence, segment, and the events."""
    segments = {segment.id: segment for segment in definitions.segments}
    scores = {score.id: score for score in definitions.scores}
    for root, place in _roots(sequence):
        for segment in _closure(root, segments):
            for matching in _matchings_of(segment, scores):
                yield place, segment.id, matching


def _closure(root: str, segments: Mapping[str, Segment]) -> Iterator[Segment]:
    """The segment and all that it depends on, each once."""
    met, todo = {root}, [root]
    while todo:
        segment = segments.get(todo.pop())
        if segment is not None:
            yield segment
            named = {leaf.id for leaf in walk(segment.when) if isinstance(leaf, InSegment)}
            todo += sorted(named - met)
            met |= named


def _matchings_of(segment: Segment, scores: Mapping[str, Score]) -> Iterator[Matching]:
    for leaf in walk(segment.when):
        if isinstance(leaf, EventIs):
            yield leaf.matching
        elif isinstance(leaf, SequenceIs):
            yield from (step.matching for step in leaf.steps)
        elif isinstance(leaf, ScoreIs):
            yield from (rule.matching for rule in scores[leaf.id].rules if isinstance(rule, EventRule))


def _takes_own(names: Names) -> bool:
    """Whether some event that a sequence causes may be meant."""
    if names.prefix is not None:
        return OWN.startswith(names.prefix) or names.prefix.startswith(OWN)
    if names.except_ is not None:
        return not any(OWN.startswith(prefix) for prefix in names.except_[1])
    return any(name.startswith(OWN) for name in names.names)


def _sequences_asked(where: Where | None) -> frozenset[str] | None:
    """The sequences of whose events some pass `where`; None: it doesn't say."""
    if where is None:
        return None
    if where.kind == "all":
        return next((found for part in where.parts if (found := _sequences_asked(part)) is not None), None)
    test = where.test
    if where.kind != "path" or where.path != "sequence" or test is None or test.ignore_case:
        return None
    if test.operator == "eq" and isinstance(test.argument, str):
        return frozenset((test.argument,))
    if test.operator == "in" and isinstance(test.argument, tuple) and all(isinstance(id, str) for id in test.argument):
        return frozenset(test.argument)
    return None


def _reached(start: str, waits: Mapping[str, Mapping[str, str]]) -> set[str]:
    """What one gets to from `start`, itself too."""
    met, todo = {start}, [start]
    while todo:
        more = waits[todo.pop()].keys() - met
        met |= more
        todo += more
    return met
