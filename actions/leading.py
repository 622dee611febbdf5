"""One contact's step through its sequences: what its transitions begin, move and end, and what falls due.

A `Lead` lives for one step. `take` is given the transitions; `go_on` what is due. Events of our own are taken by the contact
at once, with what follows from them, before anything else happens.
"""

from typing import TYPE_CHECKING, Any

from actions.own_events import ExitReason, Moment, lifecycle, set_event
from actions.progress import Progress, UnderWay, digest_of
from actions.rules import carried, target_of, too_old
from actions.sequences import (
    BEGUN_MAX,
    END,
    SETS_MAX,
    Branch,
    End,
    On,
    Send,
    Sequence,
    Set,
    Split,
    Wait,
    WaitDate,
    WaitFor,
    WaitTime,
)
from actions.step_times import date_ms, path_of, time_ms
from schemas.deliveries import Channel, Delivery, Ending, Ends, LeftOut, Outcome, delivery_id, transition_of
from schemas.instants import format_instant
from schemas.transitions import Transition

if TYPE_CHECKING:
    from actions.machine import InForce, Machine


class Lead:
    """One step of one contact, whose `state` is as of `now_ms`; transitions from `begun` on in `out` are new."""

    def __init__(
        self,
        machine: "Machine",
        program: Any,
        state: Any,
        progress: Progress,
        out: list[Transition],
        begun: int,
        now_ms: int,
        arrived_ms: int,
    ) -> None:
        self.progress = progress
        self._machine, self._program, self._state, self._out, self._at = machine, program, state, out, begun
        self._now_ms, self._arrived_ms = now_ms, arrived_ms
        self._moment = Moment(state.contact, now_ms, arrived_ms)
        self._begun = self._sets = 0
        self._moved = True  # what waits for traits has to look at them
        self._traits: dict[str, Any] | None = None
        # sequences that no transition begins yet, as members are going to be taken in
        self.taking_in: set[str] = set()

    def take(self) -> None:
        """Gives new transitions to what is under way, then begins what they begin; until there are none left."""
        while self._at < len(self._out):
            new = self._out[self._at :]
            self._at = len(self._out)
            # not those of one who has become this contact
            own = [transition for transition in new if transition.contact == self._state.contact]
            for hear in (self._hear_end, self._hear_wait):
                for transition in own:
                    for each in list(self.progress.under_way):
                        if self._is_under_way(each):
                            hear(each, transition)
            begun = [(item, transition) for transition in own for item in self._machine.begun_by(transition)]
            for item, transition in sorted(begun, key=lambda each: each[0].sequence.id):
                if item.sequence.id not in self.taking_in:
                    self._begin_by(item, transition)

    def go_on(self) -> None:
        """Goes on with what is due by now, the earliest first; and with waits for what has moved."""
        while True:
            while self._moved:
                self._moved = False
                for each in list(self.progress.under_way):
                    if self._is_under_way(each):
                        self._look_again(each)
            each_due = self._first_due()
            if each_due is None:
                return
            step = self._sequence(each_due).steps[each_due.at]
            each_due.due_ms = None
            each_due.at = step.otherwise if isinstance(step, WaitFor) else step.then  # type: ignore[union-attr]
            self._go(each_due)

    # ---- what is under way --------------------------------------------------------------------------------------------

    def _sequence(self, each: UnderWay) -> Sequence:
        return self._machine.kept[each.sequence, each.version]

    def _is_under_way(self, each: UnderWay) -> bool:
        return any(each is other for other in self.progress.under_way)

    def _first_due(self) -> UnderWay | None:
        due = [each for each in self.progress.under_way if each.due_ms is not None and each.due_ms <= self._now_ms]
        return min(due, key=lambda each: each.due_ms or 0, default=None)

    def _hear_end(self, each: UnderWay, transition: Transition) -> None:
        sequence = self._sequence(each)
        if sequence.goal is not None and not each.converted and _meant(sequence.goal, transition, sequence, each):
            each.converted = True
            self._tell(each, "Sequence Converted")
            if not self._is_under_way(each):
                return
            if sequence.goal_ends:
                self.end(each, "goal")
                return
        if any(_meant(on, transition, sequence, each) for on in sequence.exits):
            self.end(each, "exit")

    def _hear_wait(self, each: UnderWay, transition: Transition) -> None:
        sequence = self._sequence(each)
        step = sequence.steps[each.at] if each.at != END else None
        if isinstance(step, WaitFor) and _meant(step.on, transition, sequence, each):
            each.due_ms, each.at = None, step.then
            self._go(each)

    def _look_again(self, each: UnderWay) -> None:
        """What is waited for may have moved with the traits: a date, or the contact's zone."""
        sequence = self._sequence(each)
        step = sequence.steps[each.at]
        if isinstance(step, WaitDate):
            each.due_ms = date_ms(step, sequence.zone, self._state)
            if each.due_ms is None:
                self._go(each)
        elif isinstance(step, WaitTime) and each.due_ms is not None and each.due_ms > self._now_ms:
            each.due_ms = time_ms(step, sequence.zone, self._state, self._now_ms)

    def end(self, each: UnderWay, reason: ExitReason | None) -> None:
        """Ends one, and says why; None: it was completed."""
        self.progress.under_way = [other for other in self.progress.under_way if other is not each]
        self._tell(each, "Sequence Completed" if reason is None else "Sequence Exited", reason)

    def is_over(self, each: UnderWay) -> bool:
        """Whether what ends it holds already."""
        return any(self._holds(on) for on in self._sequence(each).exits)

    def _holds(self, on: On) -> bool:
        inside: bool = self._state.is_in(on.segment)
        return inside is (on.transition == "entered")

    # ---- beginning ----------------------------------------------------------------------------------------------------

    def _begin_by(self, item: "InForce", transition: Transition) -> None:
        why = item.left_out(transition, self._arrived_ms) or self._refused(item.sequence, transition)
        if why is None:
            self.begin(item, transition)
        else:
            self._skip(item, transition, *why)

    def _refused(self, sequence: Sequence, transition: Transition) -> tuple[LeftOut, str] | None:
        if self.progress.is_under_way(sequence.id, transition.key):
            return "running", "the contact is in the sequence already"
        begun = self.progress.begun.get(sequence.id)
        if begun is not None and not sequence.again.allows(begun.at_ms, begun.has(transition.key), self._now_ms):
            return "again", f"`again: {sequence.again.kind}` does not allow it: it began {format_instant(begun.at_ms)}"
        return self._full()

    def _full(self) -> tuple[LeftOut, str] | None:
        under_way = len(self.progress.under_way)
        if self._begun < BEGUN_MAX and under_way < self._machine.under_way_max:
            return None
        return "limit", f"the contact is in {under_way} sequences, and began {self._begun} just now"

    def take_in(self, item: "InForce", transition: Transition) -> None:
        """Begins one for a member, whom `transition` has made one, as far as there is room."""
        why = self._full()
        if why is None:
            self.begin(item, transition)
        else:
            self._skip(item, transition, *why)

    def begin(self, item: "InForce", transition: Transition) -> None:
        """Begins one with `transition`."""
        sequence = item.sequence
        each = UnderWay(
            sequence.id, item.version, sequence.begin, None, self._now_ms, False, {}, transition.segment,
            transition.segment_version, transition.seq, transition.at_ms, transition.cause, transition.key,
            transition.event if sequence.event_asked else None,
        )  # fmt: skip
        self._begun += 1
        remembered = sequence.existing or sequence.again.kind == "per_key"
        key = digest_of(transition.key) if remembered and transition.key is not None else None
        self.progress.note_begun(sequence.id, key, self._now_ms)
        self.progress.under_way.append(each)
        self._tell(each, "Sequence Entered")
        if self._is_under_way(each):
            self._go(each)

    # ---- steps --------------------------------------------------------------------------------------------------------

    def _go(self, each: UnderWay) -> None:
        """Takes steps until it has to wait, or ends."""
        sequence = self._sequence(each)
        while self._is_under_way(each):
            if each.at == END:
                return self.end(each, None)
            step = sequence.steps[each.at]
            if isinstance(step, End):
                return self.end(each, None)
            if isinstance(step, Send):
                self._send(each, step)
                each.at = step.then
            elif isinstance(step, Branch):
                each.at = step.then if self._state.is_in(step.segment) else step.otherwise
            elif isinstance(step, Split):
                path = path_of(step, self._state.contact)
                each.splits[step.name] = path.name
                if path.then is None:
                    return self.end(each, "held_out")
                each.at = path.then
            elif isinstance(step, Set):
                if self._sets >= SETS_MAX:
                    return self.end(each, "loop")
                self._set(each, step)
            elif not self._wait(each, sequence.zone, step):
                return None
        return None

    def _wait(self, each: UnderWay, zone: str, step: Wait | WaitTime | WaitDate | WaitFor) -> bool:
        """Whether it goes on at once, as there is nothing to wait for."""
        if isinstance(step, WaitFor):
            if self._holds(step.on):
                each.at = step.then
                return True
            each.due_ms = None if step.timeout_ms is None else self._now_ms + step.timeout_ms
            return False
        due_ms: int | None
        if isinstance(step, Wait):
            due_ms = self._now_ms + step.for_ms
        elif isinstance(step, WaitTime):
            due_ms = time_ms(step, zone, self._state, self._now_ms)
        else:
            due_ms = date_ms(step, zone, self._state)
        if due_ms is None:
            assert isinstance(step, WaitDate)
            if step.otherwise is None:
                self.end(each, "no_date")
            else:
                each.at = step.otherwise
            return True
        if due_ms <= self._now_ms:
            each.at = step.then
            return True
        each.due_ms = due_ms
        return False

    def _set(self, each: UnderWay, step: Set) -> None:
        self._sets += 1
        each.at = step.then
        fields: dict[str, Any] = {"type": "identify", "traits": step.traits}
        if step.list is not None:
            fields = {"type": "list", "list": step.list, "action": step.action}
        self._moved = True
        self._take_own(set_event(each, fields, step.name, self._moment))

    def _send(self, each: UnderWay, step: Send) -> None:
        if self._traits is None:
            self._traits = self._state.present_traits()
        message, began = step.message, each.begun_by(self._state.contact)
        target, why = target_of(message, self._traits)
        why = too_old(self._now_ms, message.max_age_ms, self._arrived_ms) or why
        if step.while_ is not None and not self._state.is_in(step.while_):
            why = "while", "the contact is not in what `while` asks for"
        if why is not None:
            self._leave_out(began, each.sequence, each.version, each.at, message.channel, *why)
            return
        self._say(
            Delivery(
                id=_delivery_id(began, each.sequence, each.version, each.at),
                rule=each.sequence,
                rule_version=each.version,
                step=each.at,
                channel=message.channel,
                target=target,
                contact=self._state.contact,
                revision=self._state.revision,
                transition=transition_of(began),
                traits=carried(message, self._traits),
                created_at=format_instant(self._arrived_ms),
                group=step.group,
                kind="sequence",
                transactional=step.transactional,
                while_segment=step.while_,
                ends=self._ends(each),
            )
        )

    def _ends(self, each: UnderWay) -> Ends | None:
        sequence = self._sequence(each)
        goal = (sequence.goal,) if sequence.goal is not None and sequence.goal_ends else ()
        on = tuple(
            Ending(on.segment, on.transition, each.key if on.segment == sequence.on.segment else None)
            for on in (*goal, *sequence.exits)
        )
        return Ends(format_instant(self._now_ms), on) if on else None

    # ---- saying so ----------------------------------------------------------------------------------------------------

    def _skip(self, item: "InForce", transition: Transition, code: LeftOut, reason: str) -> None:
        sequence = item.sequence
        channel = next((step.message.channel for step in sequence.steps if isinstance(step, Send)), None)
        self._leave_out(transition, sequence.id, item.version, 0, channel, code, reason)

    def _leave_out(
        self,
        began: Transition,
        sequence: str,
        version: int,
        step: int,
        channel: Channel | None,
        code: LeftOut,
        reason: str,
    ) -> None:
        self._say(
            Outcome(
                delivery=_delivery_id(began, sequence, version, step),
                status="skipped",
                rule=sequence,
                rule_version=version,
                channel=channel,
                contact=self._state.contact,
                segment=began.segment,
                at=format_instant(self._arrived_ms),
                code=code,
                reason=reason,
                kind="sequence",
                step=step,
            )
        )

    def _tell(self, each: UnderWay, name: str, reason: ExitReason | None = None) -> None:
        steps = self._sequence(each).steps if self._machine.has(each) else ()
        at = None if name == "Sequence Entered" or not 0 <= each.at < len(steps) else steps[each.at].name
        self._take_own(lifecycle(name, each, at, reason, self._moment))

    def _take_own(self, own: Any) -> None:
        self._say(own)
        self._program.take_own(self._state, own.event, self._out)
        self._traits = None
        self.take()

    def _say(self, what: Any) -> None:
        self._state.told.append((len(self._out), (self._now_ms, what)))


def _meant(on: On, transition: Transition, sequence: Sequence, each: UnderWay) -> bool:
    """Whether `transition` is the one that is waited for; of a segment with `per` only of the value that it began with."""
    if transition.segment != on.segment or transition.transition != on.transition:
        return False
    return on.segment != sequence.on.segment or transition.key == each.key


def _delivery_id(began: Transition, sequence: str, version: int, step: int) -> str:
    return delivery_id(began.id, f"sequence/{sequence}", version, step)
