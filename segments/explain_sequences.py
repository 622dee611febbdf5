"""What is behind the answer of a sequence: the match that makes it true, or how far the best one has got.

Evidence: `steps`, one for each step of the definition: `{"step", "absent", "events", "failed", "at", "messageId",
"event", "properties"}`, `at` null where the match has not got so far; `reached`, how many event steps it has; `completes`, the
instant of completion, or null; `completed`, whether that has come; `because`, what is in the way; with `by`, the `value`
that the match is of, and `values`, how many values there are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.instants import format_duration, format_instant
from segments.chains import FOREVER_MS, Chains
from segments.conditions import SequenceIs
from segments.explain_nodes import Evidence
from segments.explain_scene import Found, Scene, asked_paths, event_shown, seen_of
from segments.explain_words import instant_words, iso
from segments.predicates import finder
from segments.simulate import Past
from segments.values import eq_key

# events that are looked at, of each value, to find which of them make up a match
LOOKED_AT_MAX = 1_000


class Chain(NamedTuple):
    """Events that meet the first event steps one after the other."""

    events: tuple[Past, ...]

    @property
    def start_ms(self) -> int:
        """When it began."""
        return self.events[0].at_ms

    @property
    def end_ms(self) -> int:
        """When its last event happened."""
        return self.events[-1].at_ms


class Group:
    """The events of one value, and the steps that each matches: those of the match that tells most, or the newest.

    `times`: of each step, when its events happened, of all. `cut`: there are more events than are looked at.
    """

    def __init__(self, condition: SequenceIs, entries: list[tuple[Past, list[int]]], now_ms: int) -> None:
        self.chains = Chains(condition.steps)
        self.times: list[list[int]] = [[] for _ in condition.steps]
        for one, steps in entries:
            for step in steps:
                self.times[step].append(one.at_ms)
        matches = self.chains.matches([[one.at_ms, steps] for one, steps in entries])
        ranked = [
            (*_standing(condition, completes_ms, start_ms, now_ms), completes_ms, start_ms)
            for completes_ms, start_ms in matches
        ]
        if ranked:
            *_, completes_ms, start_ms = max(ranked)
            end_ms = completes_ms - self.chains.trailing_ms
            entries = [(one, steps) for one, steps in entries if start_ms <= one.at_ms <= end_ms]
        self.cut = len(entries) > LOOKED_AT_MAX
        self.entries = entries[-LOOKED_AT_MAX:]

    def ends(self) -> list[list[Chain]]:
        """Of each event step, the chains that end there, each with the latest start, by when they end."""
        ends: list[list[Chain]] = [[] for _ in range(self.chains.events)]
        for one, steps in self.entries:
            for step in steps:
                place = self.chains.positions[step]
                if place == 0:
                    ends[0].append(Chain((one,)))
                elif place > 0:
                    gap = self.chains.gaps[place - 1]
                    before = [
                        chain
                        for chain in ends[place - 1]
                        if chain.end_ms < one.at_ms <= gap.limit_ms(chain.end_ms, self.times)
                    ]
                    if before:
                        best = max(before, key=lambda chain: (chain.start_ms, chain.end_ms))
                        ends[place].append(Chain((*best.events, one)))
        return ends


def explain_sequence(scene: Scene, condition: SequenceIs) -> tuple[Evidence, list[str]]:
    """Evidence and notes of a sequence."""
    found = [Found(scene, step.matching) for step in condition.steps]
    groups = _groups(scene, condition, found)
    notes = [note for one in found for note in one.notes()] + _key_notes(condition, found, groups)
    best: tuple[tuple[Any, ...], Any, Group, Chain] | None = None
    for value, entries in groups:
        group = Group(condition, entries, scene.now_ms)
        if group.cut:
            notes.append(
                f"only the newest {LOOKED_AT_MAX} events were looked at: what is shown may not be the best match"
            )
        for place, chains in enumerate(group.ends()):
            for chain in chains:
                rank = _rank(condition, group, chain, place, scene.now_ms)
                if best is None or rank >= best[0]:
                    best = rank, value, group, chain
    if best is None:
        return _shown(condition, None, scene, found), _distinct(notes)
    _, value, group, chain = best
    evidence = _shown(condition, chain, scene, found) | _outcome(condition, group, chain, scene.now_ms)
    if condition.by is not None:
        evidence |= {"by": condition.by, "value": value, "values": len(groups)}
    return evidence, _distinct(notes)


def _distinct(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))


def _groups(
    scene: Scene, condition: SequenceIs, found: Sequence[Found]
) -> list[tuple[Any, list[tuple[Past, list[int]]]]]:
    """The events that match a step, by value; one group without `by`."""
    matched = [{one.order for one in each.events} for each in found]
    find = None if condition.by is None else finder(condition.by, in_context=True)
    groups: dict[str, tuple[Any, list[tuple[Past, list[int]]]]] = {}
    events = {one.order: one for each in found for one in each.events}
    for one in sorted(events.values(), key=lambda one: (one.at_ms, one.order)):
        steps = [step for step, orders in enumerate(matched) if one.order in orders]
        value = None if find is None else find(seen_of(one.event))
        if steps and (find is None or value is not None):
            key = "" if find is None else eq_key(value)
            groups.setdefault(key, (value, []))[1].append((one, steps))
    return list(groups.values())


def _key_notes(
    condition: SequenceIs, found: Sequence[Found], groups: Sequence[tuple[Any, list[tuple[Past, list[int]]]]]
) -> list[str]:
    """A note of events that lack the property of `by`."""
    matching = len({one.order for each in found for one in each.events})
    lacking = matching - sum(len(entries) for _, entries in groups)
    return [f"{lacking} of {matching} events have no {condition.by!r}, and don't count for `by`"] if lacking else []


def _completes_ms(group: Group, chain: Chain) -> int | None:
    """When a chain through all event steps is complete, None where something forbids it, or steps are missing."""
    chains = group.chains
    if len(chain.events) < chains.events or not chains.trailing.is_kept(chain.end_ms, group.times):
        return None
    return chain.end_ms + chains.trailing_ms


def _counts_until_ms(condition: SequenceIs, completes_ms: int, start_ms: int) -> int:
    """When a match leaves its windows."""
    until_ms = FOREVER_MS if condition.completed_ms is None else completes_ms + condition.completed_ms
    return until_ms if condition.started_ms is None else min(until_ms, start_ms + condition.started_ms)


def _standing(condition: SequenceIs, completes_ms: int, start_ms: int, now_ms: int) -> tuple[bool, bool]:
    """Whether a match is complete and counts, and whether it does or will."""
    until_ms = _counts_until_ms(condition, completes_ms, start_ms)
    counts = until_ms > now_ms and until_ms > completes_ms
    return counts and completes_ms <= now_ms, counts


def _rank(condition: SequenceIs, group: Group, chain: Chain, place: int, now_ms: int) -> tuple[Any, ...]:
    """What makes one chain tell more than another: it is complete and counts, is to be, may go on; is long; is new."""
    completes_ms = _completes_ms(group, chain)
    done = counts = False
    if completes_ms is not None:
        done, counts = _standing(condition, completes_ms, chain.start_ms, now_ms)
    gaps = group.chains.gaps
    open_ = place < len(gaps) and gaps[place].limit_ms(chain.end_ms, group.times) > now_ms
    return done, counts, open_, len(chain.events), chain.end_ms


def _shown(condition: SequenceIs, chain: Chain | None, scene: Scene, found: Sequence[Found]) -> Evidence:
    events = list(chain.events) if chain is not None else []
    steps = []
    place = 0
    for number, step in enumerate(condition.steps):
        paths = asked_paths(scene, step.matching, condition.by)
        of: Evidence = {"at": None, "messageId": None, "event": None, "properties": {}}
        if not step.absent:
            if place < len(events):
                of = event_shown(events[place], paths)
            place += 1
        each = {
            "step": number,
            "absent": step.absent,
            "events": len(found[number].events),
            "failed": found[number].failed(),
        }
        steps.append(each | of)
    return {"steps": steps, "reached": len(events), "completes": None, "completed": False}


def _outcome(condition: SequenceIs, group: Group, chain: Chain, now_ms: int) -> Evidence:
    completes_ms = _completes_ms(group, chain)
    if completes_ms is not None:
        outcome: Evidence = {"completes": iso(completes_ms), "completed": completes_ms <= now_ms}
        until_ms = _counts_until_ms(condition, completes_ms, chain.start_ms)
        if until_ms <= now_ms or until_ms <= completes_ms:
            outcome["because"] = f"it left its window at {instant_words(until_ms)}"
        elif until_ms < FOREVER_MS:
            outcome["counts_until"] = iso(until_ms)
        return outcome
    return {"because": _in_the_way(condition, group, chain, now_ms)}


def _in_the_way(condition: SequenceIs, group: Group, chain: Chain, now_ms: int) -> str:
    chains, reached = group.chains, len(chain.events)
    if reached == chains.events:
        return f"what must stay absent came {_forbidden(group, chain, chains.trailing.absents)}"
    gap = chains.gaps[reached - 1]
    limit_ms = gap.limit_ms(chain.end_ms, group.times)
    step = next(at for at, place in enumerate(chains.positions) if place == reached)
    if limit_ms == FOREVER_MS:
        return f"step {step} has not come yet"
    within_ms = condition.steps[step].within_ms
    if within_ms is None or limit_ms < chain.end_ms + within_ms:
        return f"what must stay absent came {_forbidden(group, chain, gap.absents)}, before step {step}"
    if limit_ms > now_ms:
        return f"step {step} may still come, until {instant_words(limit_ms)}"
    return f"step {step} did not come within {format_duration(within_ms)}, by {instant_words(limit_ms)}"


def _forbidden(group: Group, chain: Chain, absents: Sequence[tuple[int, int | None]]) -> str:
    """When the first event came that may not."""
    came: list[int] = []
    for step, within_ms in absents:
        times = group.times[step]
        first = bisect_right(times, chain.end_ms)
        if first < len(times) and (within_ms is None or times[first] <= chain.end_ms + within_ms):
            came.append(times[first])
    return f"at {format_instant(min(came))}"
