"""What sequences mean, worked out the slow way: the segments' oracle, and contacts led by what the page says.

Kept of a contact are its entries under way and what it has begun. Nothing is kept ready: whether an entry can go on is
asked anew after everything that happens, and when a wait ends is worked out whenever time is played. To read along
with `actions/SEQUENCES.md`; it shares nothing with `actions/` but the sequences as they were read.

At one instant: segments answer; their transitions are looked at (`look`); then steps are taken one by one (`step`), and
what an event of our own brings is looked at before the next.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from actions import sequences as model
from tests.oracle import Unsupported, take_all
from tests.oracle_contact import Contact
from tests.oracle_input import Definitions
from tests.oracle_led import Entry, InForce, Led, Told, Transition, at_of, clock_of, id_of, is_it, step_of
from tests.oracle_steps import StepsRun

__all__ = ["AtOnceRun", "InForce", "SequencesRun", "Told", "simulate"]

UNDER_WAY_MAX = 32
BEGUN_MAX = 64
KEYS_MAX = 1000


class SequencesRun(StepsRun):
    """A run of the segments' oracle in which sequences act on what is emitted."""

    def __init__(self, definitions: dict[str, Any], in_force: Iterable[InForce], grace_ms: int) -> None:
        self.in_force = sorted(in_force, key=lambda one: one.sequence.id)
        lifted = {id: body for one in self.in_force for id, body in one.sequence.lifted.items()}
        super().__init__({**definitions, "segments": [*definitions["segments"], *lifted.values()]}, grace_ms)

    def define(self, line: Definitions) -> None:
        raise Unsupported("expected no other definitions under way")

    def erase(self, contact: Contact) -> None:
        """Nothing remains of what is under way, and nothing is said of it."""
        super().erase(contact)
        self.led.pop(contact.name, None)

    # ---- what happens at an instant ----

    def answer(self, contact: Contact, cause: str, absorbed: Contact | None = None) -> None:
        assert contact.clock is not None and contact.arrival is not None
        led = self.led.setdefault(contact.name, Led(contact.clock))
        # a due instant is played once arrival has passed it by the grace, not when the next event happens to come
        led.arrived = contact.clock + self.grace_ms if cause == "timer" else contact.arrival
        self.take_answers(contact, cause, absorbed)
        self.follow(contact, led)

    def follow(self, contact: Contact, led: Led) -> None:
        """All that follows from the transitions, and from what has fallen due."""
        current: Entry | None = None
        while True:
            self.look(contact, led)
            self.take_up_existing(contact, led)
            if led.pending:
                continue
            ready = [one for one in [current, *led.under_way] if one and self.can_go_on(contact, one)]
            if not ready:
                return
            current = ready[0]
            self.step(contact, current)

    def look(self, contact: Contact, led: Led) -> None:
        """Gives the transitions to what is under way, and then begins what they begin, by the sequences' ids."""
        while led.pending:
            transitions, led.pending = led.pending, []
            for transition in transitions:
                for entry in list(led.under_way):
                    self.judge(contact, entry, transition)
            for one in self.in_force:
                for transition in transitions:
                    self.consider(contact, one, transition)

    def judge(self, contact: Contact, entry: Entry, transition: Transition) -> None:
        """Goal, then exit, then the wait; nothing for what has ended meanwhile."""
        sequence, step = entry.sequence, step_of(entry)
        if entry not in self.led[contact.name].under_way:
            return
        if transition["segment"] == sequence.on.segment and transition.get("key") != entry.key:
            return
        if sequence.goal is not None and is_it(sequence.goal, transition) and not entry.converted:
            entry.converted = True
            self.say(contact, entry, "Sequence Converted")
            if sequence.goal_ends:
                self.end(contact, entry, "goal")
                return
        if any(is_it(one, transition) for one in sequence.exits):
            self.end(contact, entry, "exit")
        elif isinstance(step, model.WaitFor) and is_it(step.on, transition):
            entry.released = True  # whatever is so when its turn comes

    def consider(self, contact: Contact, one: InForce, transition: Transition) -> None:
        """Begins the sequence with the transition, or says why not."""
        if not is_it(one.sequence.on, transition):
            return
        code = self.why_not(contact, one, transition)
        if code is None:
            self.begin(contact, one, transition)
        else:
            self.tell(contact, "outcome", {"sequence": one.sequence.id, "code": code})

    def why_not(self, contact: Contact, one: InForce, transition: Transition) -> str | None:
        sequence, at = one.sequence, at_of(transition)
        if transition["cause"] not in sequence.causes:
            return "cause"
        if at <= one.since_ms:
            return "before_rule"
        if self.led[contact.name].arrived - at > sequence.max_age_ms:
            return "too_old"
        return self.no_place(contact, sequence, transition.get("key"), at)

    def no_place(self, contact: Contact, sequence: model.Sequence, key: str | None, at: int) -> str | None:
        """Why the contact can't begin the sequence, whatever brings it there."""
        led, kind = self.led[contact.name], sequence.again.kind
        if any(entry.sequence.id == sequence.id and entry.key == key for entry in led.under_way):
            return "running"
        last = led.begun.get(sequence.id)
        if (
            (kind == "once" and last is not None)
            or (kind == "per_key" and key in led.keys.get(sequence.id, []))
            or (kind == "cooldown" and last is not None and at - last < sequence.again.cooldown_ms)
        ):
            return "again"
        full = len(led.under_way) >= UNDER_WAY_MAX or led.begun_at[clock_of(contact)] >= BEGUN_MAX
        return "limit" if full else None

    def begin(self, contact: Contact, one: InForce, transition: Transition) -> None:
        led, sequence, now = self.led[contact.name], one.sequence, clock_of(contact)
        entry = Entry(sequence, one.version, id_of(transition), transition.get("key"), sequence.begin, now)
        led.under_way.append(entry)
        led.begun[sequence.id] = now
        led.begun_at[now] += 1
        led.keys[sequence.id] = [*led.keys.get(sequence.id, []), entry.key][-KEYS_MAX:]
        self.say(contact, entry, "Sequence Entered")

    def take_up_existing(self, contact: Contact, led: Led) -> None:
        """Begins what is in force from now on for those who are members already."""
        for one in self.in_force:
            sequence, now = one.sequence, clock_of(contact)
            if not sequence.existing or sequence.id in led.taken_up or now < one.since_ms:
                continue
            led.taken_up.add(sequence.id)
            if led.first > one.since_ms:
                continue  # nobody knew the contact then: what it enters, it enters later than the sequence
            for transition in self.members(contact, sequence.on.segment):
                if self.no_place(contact, sequence, transition.get("key"), now) is None:
                    self.begin(contact, one, transition)

    def members(self, contact: Contact, segment: str) -> list[Transition]:
        """The last transition of each of the contact's memberships of the segment."""
        moves = [one for one in self.emitted if (one["contact"], one["segment"]) == (contact.name, segment)]
        last = {one.get("key"): one for one in moves}
        return [one for one in last.values() if one["transition"] == "entered"]

    # ---- time ----

    def promised(self, contact: Contact) -> Iterator[int]:
        """When waits end, too, and when a sequence comes into force that takes members up."""
        yield from super().promised(contact)
        yield from (one.since_ms for one in self.in_force if one.sequence.existing)
        entries = self.led[contact.name].under_way if contact.name in self.led else []
        yield from (due for entry in entries if (due := self.due(contact, entry)) is not None)


class AtOnceRun(SequencesRun):
    """The same by another reading of what the page leaves open, which is that of `machine.py`.

    What begins, and what waited for a transition, goes on at once as far as it can, before anything else is looked at; so
    is what an event of our own brings.
    """

    def follow(self, contact: Contact, led: Led) -> None:
        transitions, led.pending = led.pending, []
        for transition in transitions:
            for entry in list(led.under_way):
                self.judge(contact, entry, transition)
                self.follow_events(contact, led)
                self.go_on(contact, led, [entry] if entry.released else [])
        for one in self.in_force:
            for transition in transitions:
                before = len(led.under_way)
                self.consider(contact, one, transition)
                self.go_on(contact, led, led.under_way[before:])
        self.take_up_existing(contact, led)
        self.go_on(contact, led, led.under_way)

    def follow_events(self, contact: Contact, led: Led) -> None:
        if led.pending:
            self.follow(contact, led)

    def go_on(self, contact: Contact, led: Led, entries: list[Entry]) -> None:
        """All but what is in the middle of a step goes on, after what its beginning brought."""
        for entry in [one for one in entries if not one.busy]:
            entry.busy = True
            self.follow_events(contact, led)
            while self.can_go_on(contact, entry):
                self.step(contact, entry)
                self.follow_events(contact, led)
            entry.busy = False


def simulate(
    definitions: dict[str, Any],
    in_force: Iterable[InForce],
    lines: Iterable[bytes | str | dict[str, Any]],
    until_ms: int | None = None,
    grace_ms: int = 2000,
    run_class: type[SequencesRun] = SequencesRun,
) -> tuple[list[Told], list[Transition], list[str]]:
    """What sequences said and did, the transitions, and `LINE: reason` of each rejected line."""
    run = run_class(definitions, in_force, grace_ms)
    rejected = take_all(run, lines, until_ms)
    return run.told, run.emitted, rejected
