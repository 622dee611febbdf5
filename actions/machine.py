"""Sequences in force, ready to lead contacts: what follows a contact's transitions in its own step (`segments.following`).

Pure: contact state, transitions and instants in; deliveries, outcomes and events of our own out, in `state.told`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.leading import Lead
from actions.progress import RESTING, WAITING_UNTIL, Progress, UnderWay, joined, progress_of
from actions.rules import left_out
from actions.sequences import CONTACT, UNDER_WAY_MAX, Sequence, Step, WaitDate, WaitFor, WaitTime
from schemas.deliveries import LeftOut
from schemas.transitions import Direction, Transition
from segments.following import WAITING


@dataclass(frozen=True)
class InForce:
    """A sequence in force since `since_ms` in this version."""

    sequence: Sequence
    version: int
    since_ms: int

    def left_out(self, transition: Transition, arrived_ms: int) -> tuple[LeftOut, str] | None:
        """Why `transition` begins nothing, as far as that has nothing to do with the contact."""
        sequence = self.sequence
        if sequence.existing and 0 <= self.since_ms - transition.at_ms <= sequence.max_age_ms:
            return None  # a member as of then, whom no change of definitions has found: it came before this was read
        return left_out("sequence", sequence.causes, self.since_ms, sequence.max_age_ms, transition, arrived_ms)


class Machine:
    """All sequences of one revision. `kept`: by id and version those that a contact may be in.

    `prompt_ms`: in a run that nobody is behind in, how long after its instant what is due is played.
    """

    under_way_max = UNDER_WAY_MAX

    def __init__(
        self,
        in_force: Iterable[InForce],
        kept: Mapping[tuple[str, int], Sequence],
        *,
        prompt_ms: int | None = None,
    ) -> None:
        self._prompt_ms = prompt_ms
        self.in_force = {item.sequence.id: item for item in sorted(in_force, key=lambda item: item.sequence.id)}
        self.kept = {(item.sequence.id, item.version): item.sequence for item in self.in_force.values()} | {
            (id, version): sequence for (id, version), sequence in kept.items() if id in self.in_force
        }
        self._begins: dict[tuple[str, Direction], list[InForce]] = {}
        for item in self.in_force.values():
            self._begins.setdefault((item.sequence.on.segment, item.sequence.on.transition), []).append(item)
        self._heard = {(on.segment, on.transition) for sequence in self.kept.values() for on in _heard(sequence)}
        self._moving = any(_moves(step) for sequence in self.kept.values() for step in sequence.steps)
        # of earlier revisions, the sequences that were in force and took members in
        self._existing_at: dict[int, frozenset[tuple[str, str]]] = {}

    @property
    def existing(self) -> frozenset[tuple[str, str]]:
        """Sequences that begin for those who are members when they come into force, and of which segment."""
        return frozenset((id, item.sequence.on.segment) for id, item in self.in_force.items() if item.sequence.existing)

    def succeed(self, revision: int, previous: "Machine | None") -> None:
        """Has contacts of `revision`, where `previous` was in force, begin what is new and takes members in."""
        self._existing_at[revision] = frozenset() if previous is None else previous.existing

    def has(self, each: UnderWay) -> bool:
        """Whether one that is under way can go on."""
        return (each.sequence, each.version) in self.kept

    def begun_by(self, transition: Transition) -> list[InForce]:
        """What a transition may begin, by id."""
        return self._begins.get((transition.segment, transition.transition), [])

    # ---- as `segments.following.Follower` -----------------------------------------------------------------------------

    def follow(self, program: Any, state: Any, out: list[Transition], begun: int, now_ms: int, arrived_ms: int) -> None:
        """Leads the contact through what is new in `out`, and what is due."""
        if not self._concerns(state, out, begun, now_ms):
            return
        if self._prompt_ms is not None:
            arrived_ms = min(arrived_ms, now_ms + self._prompt_ms)
        lead = Lead(self, program, state, progress_of(state.progress), out, begun, now_ms, arrived_ms)
        lead.take()
        lead.go_on()
        _keep(state, lead.progress)

    def change_over(
        self, program: Any, state: Any, out: list[Transition], revision: int, now_ms: int, arrived_ms: int
    ) -> None:
        """Ends what is no more, takes the transitions of the change in, and begins what takes members in."""
        new = self.existing - self._existing_at.get(revision, self.existing)
        if not (state.progress or new or any(map(self.begun_by, out))):
            return
        lead = Lead(self, program, state, progress_of(state.progress), out, 0, now_ms, arrived_ms)
        lead.taking_in = {id for id, _ in new}
        gone = [each for each in lead.progress.under_way if not self.has(each)]
        lead.progress.under_way = [each for each in lead.progress.under_way if self.has(each)]
        for each in gone:
            lead.end(each, "version" if each.sequence in self.in_force else "removed")
        lead.take()
        for id, _ in sorted(new):
            self._take_in(program, state, lead, self.in_force[id])
        lead.go_on()
        _keep(state, lead.progress)

    def merge(
        self, program: Any, survivor: Any, absorbed: Any, out: list[Transition], now_ms: int, arrived_ms: int
    ) -> None:
        """Makes one of two contacts' progress."""
        survivor.told = absorbed.told + survivor.told
        if not (survivor.progress or absorbed.progress or any(map(self.begun_by, out))):
            return
        progress, theirs = progress_of(survivor.progress), progress_of(absorbed.progress)
        moved = list(theirs.under_way)
        left = joined(progress, theirs)
        begun = next((at for at, one in enumerate(out) if one.contact == survivor.contact), len(out))
        lead = Lead(self, program, survivor, progress, out, begun, now_ms, arrived_ms)
        for each in moved:
            if any(each is other for other in left):
                lead.end(each, "merged")
            elif lead.is_over(each):
                lead.end(each, "exit")
        lead.take()
        lead.go_on()
        _keep(survivor, lead.progress)

    # ---- helpers ------------------------------------------------------------------------------------------------------

    def _concerns(self, state: Any, out: list[Transition], begun: int, now_ms: int) -> bool:
        """Whether there is anything to do: most steps of most contacts have nothing to do with any sequence."""
        kept: bytes = state.progress
        if kept and kept[0] != RESTING:
            due_ms = state.due_of(WAITING)
            if kept[0] == WAITING_UNTIL and (due_ms is None or due_ms <= now_ms):
                return True
            if self._moving and state.contact_changed:
                return True
            heard = self._heard
            if any((one.segment, one.transition) in heard for one in out[begun:]):
                return True
        return any((one.segment, one.transition) in self._begins for one in out[begun:])

    def _take_in(self, program: Any, state: Any, lead: Lead, item: InForce) -> None:
        segment = item.sequence.on.segment
        lead.taking_in.discard(item.sequence.id)
        for id, key, seq, since_ms in list(state.memberships()):
            if id != segment or lead.progress.is_under_way(item.sequence.id, key):
                continue
            begun = lead.progress.begun.get(item.sequence.id)
            # by `once` and `cooldown` all values of a contact count together
            one_by_one = key is not None and item.sequence.again.kind in ("per_key", "every_time")
            if begun is None or (one_by_one and not begun.has(key)):
                version = program.by_id[segment].version
                lead.take_in(item, Transition(segment, version, state.contact, seq, since_ms, "edit", key=key))


def _moves(step: Step) -> bool:
    """Whether what a step waits for may move with the contact's traits."""
    return isinstance(step, WaitDate) or (isinstance(step, WaitTime) and step.tz == CONTACT)


def _heard(sequence: Sequence) -> list[Any]:
    goal = [] if sequence.goal is None else [sequence.goal]
    return [*goal, *sequence.exits, *(step.on for step in sequence.steps if isinstance(step, WaitFor))]


def _keep(state: Any, progress: Progress) -> None:
    before = len(state.progress)
    state.progress = progress.encoded()
    state.bytes_estimated += max(0, len(state.progress) - before)
    state.set_due(WAITING, progress.due_ms)
