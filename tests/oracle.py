"""The naive oracle: what the segment language means, worked out afresh at every instant.

It keeps every accepted event of a contact, and nothing that could be derived from them but the answers as they were
given (`hold` and `held` measure those) and the memberships. An answer is taken by reading the whole history. Whatever
could change by time alone is found by trying every instant that could matter (`oracle_instants`).

Slow and plain on purpose, to be checked by eye against the language page; it shares no code with `segments/`. To read
along with the page: `oracle_input` (section 1), this module (2, 3, 9, 11), `oracle_conditions` (4), `oracle_operators`
and `oracle_calendar` (5), `oracle_events` (6, 7), `oracle_scores` (8).
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tests.oracle_conditions import conditions_in, holds, keys_asked, name_of, names_asked, trait_holds
from tests.oracle_contact import WHEN, Answers, Contact, Here, Membership
from tests.oracle_definitions import Plan, Unsupported, plan
from tests.oracle_input import Definitions, Event, Rejected, load, parse
from tests.oracle_instants import crossing, moments
from tests.oracle_scores import parts_of
from tests.oracle_values import duration, read_instant, shown

__all__ = ["Run", "Unsupported", "duration", "simulate"]


class Run:
    """Definitions, contacts by each of their names, and what was emitted so far."""

    def __init__(self, definitions: dict[str, Any], grace_ms: int) -> None:
        self.plan = plan(definitions)
        self.grace_ms = grace_ms
        self.names: dict[str, Contact] = {}
        self.lines = 0
        self.emitted: list[dict[str, Any]] = []

    # ---- events (sections 3 and 9) ----

    def take(self, event: Event) -> None:
        """Plays the time up to the event, applies it, and takes answers."""
        contact = self.names.get(event.contact) or Contact(event.contact)
        absorbed = self.absorbed_by(event, contact)
        if (event.kind == "delete" and contact.clock is None) or not contact.arrives(event, absorbed):
            return
        self.lines += 1
        event.order = self.lines
        for one in (contact, absorbed):
            if one is not None:
                self.play(one, max(event.t - 1, event.r - self.grace_ms))
        contact.tell(max(event.t, event.r - self.grace_ms))
        if event.kind == "delete":
            self.erase(contact)
            return
        contact.add([event])
        self.names[event.contact] = contact
        if event.linked is not None and not self.keeps_its_name(event):
            self.names[event.linked] = contact
        if absorbed is not None:
            self.merge(contact, absorbed)
        else:
            self.answer(contact, cause_of(event))

    def absorbed_by(self, event: Event, contact: Contact) -> Contact | None:
        """The other contact that becomes part of the event's; None where there is none with a history."""
        if event.linked is None or self.keeps_its_name(event):
            return None
        other = self.names.get(event.linked)
        return None if other is contact else other

    def keeps_its_name(self, event: Event) -> bool:
        """Whether the name is an anonymous id that is linked already, which no second `identify` takes away."""
        owner = self.names.get(event.linked or "")
        return event.kind == "identify" and owner is not None and owner.name != event.linked

    def merge(self, contact: Contact, absorbed: Contact) -> None:
        """Makes one contact of two: the absorbed one leaves, the other's answers are taken over both histories."""
        contact.absorb(absorbed)
        assert contact.clock is not None
        absorbed.clock = contact.clock
        self.leave_all(absorbed, "merge")
        self.names = {name: contact if who is absorbed else who for name, who in self.names.items()}
        self.answer(contact, "merge", absorbed)

    def erase(self, contact: Contact) -> None:
        self.leave_all(contact, "erasure")
        self.names = {name: who for name, who in self.names.items() if who is not contact}

    def leave_all(self, contact: Contact, cause: str) -> None:
        for (segment, key), membership in contact.memberships.items():
            if membership.inside:
                self.move(contact, segment, key, cause)

    # ---- time (section 3) ----

    def play(self, contact: Contact, last: int) -> None:
        """Plays every instant after the clock up to `last`, inclusive, at which an answer could change."""
        if contact.clock is None:
            return
        tried, known = moments(self.plan, contact, contact.clock, last), len(contact.events)
        while contact.clock < last:
            clock = contact.clock
            if len(contact.events) > known:  # what an instant led to may be an event, too
                tried, known = moments(self.plan, contact, clock, last), len(contact.events)
            due = min([d for d in (*tried, *self.promised(contact)) if clock < d <= last], default=last + 1)
            due = self.crossing(contact, clock, due) or due
            if due > last:
                return
            contact.clock = due
            self.answer(contact, "timer")

    def promised(self, contact: Contact) -> Iterator[int]:
        """When a `hold` or a `held` is over, if the answers stay as they are."""
        for (name, _), membership in contact.memberships.items():
            if name not in self.plan.segments:
                continue
            segment = self.plan.segments[name]
            if WHEN in membership.answers:
                answer, since = membership.answers[WHEN]
                yield since + hold_ms(segment, answer)
            for held in held_in(segment):
                if name_of(held) in membership.answers:
                    yield membership.answers[name_of(held)][1] + duration(held["for"])

    def crossing(self, contact: Contact, after: int, before: int) -> int | None:
        here = Here(contact, after, self.plan.scores, "", {})
        parts = {name: parts_of(score, here, trait_holds) for name, score in self.plan.scores.items()}
        return crossing(self.plan, parts, after, before)

    # ---- answers and transitions (sections 2, 4, 9) ----

    def answer(self, contact: Contact, cause: str, absorbed: Contact | None = None) -> None:
        """Takes every segment's answers at the contact's clock, and emits what has changed."""
        both = [contact] if absorbed is None else [contact, absorbed]
        for segment in self.plan.segments.values():
            self.ask_contact(contact, segment, [one.membership(segment["id"]) for one in both])
            for key in keys_asked(segment, contact):
                earlier = [one.membership(segment["id"], key) for one in both]
                answer, since = self.ask(contact, segment, key, earlier)
                assert contact.clock is not None
                if contact.clock >= since + hold_ms(segment, answer):
                    self.settle(contact, segment["id"], key, answer, cause)

    def ask(
        self, contact: Contact, segment: dict[str, Any], key: str | None, earlier: list[Membership]
    ) -> tuple[bool, int]:
        """The segment's answer, and since when it is given without a break: by any of those whose last answer it was."""
        asked = [(name_of(held), held["held"]) for held in held_in(segment) if key is None or names_asked(held)]
        if key is not None:
            earlier[0].answers |= contact.membership(segment["id"]).answers
        return self.measure(contact, segment, key, earlier, [*asked, (WHEN, segment["when"])])[WHEN]

    def ask_contact(self, contact: Contact, segment: dict[str, Any], earlier: list[Membership]) -> None:
        """In a segment with `per`: what it holds of the contact is as old as that, whatever keys there are."""
        if "per" in segment:
            asked = [(name_of(held), held["held"]) for held in held_in(segment) if not names_asked(held)]
            self.measure(contact, segment, None, earlier, asked)

    def measure(
        self,
        contact: Contact,
        segment: dict[str, Any],
        key: str | None,
        earlier: list[Membership],
        asked: list[tuple[str, dict[str, Any]]],
    ) -> Answers:
        """The answers to what is asked, by name, each with the instant since which it is given."""
        now = contact.clock
        assert now is not None
        mine = earlier[0].answers
        before = [dict(membership.answers) for membership in earlier]
        here = Here(contact, now, self.plan.scores, segment["id"], mine, segment.get("per"), key).inside(segment)
        for name, condition in asked:
            answer = holds(condition, here)
            given = [answers[name] for answers in before if name in answers]
            mine[name] = answer, min((since for other, since in given if other == answer), default=now)
        return mine

    def settle(self, contact: Contact, segment: str, key: str | None, answer: bool, cause: str) -> None:
        """Makes the membership what the answer is."""
        if contact.membership(segment, key).inside != answer:
            self.move(contact, segment, key, cause)

    def move(self, contact: Contact, segment: str, key: str | None, cause: str) -> None:
        """The contact enters the segment, or leaves it: a transition at its clock."""
        membership = contact.membership(segment, key)
        membership.inside = not membership.inside
        membership.seq += 1
        assert contact.clock is not None
        self.emitted.append(
            {
                "segment": segment,
                "contact": contact.name,
                **({} if key is None else {"key": key}),
                "transition": "entered" if membership.inside else "left",
                "seq": membership.seq,
                "at": shown(contact.clock),
                "cause": cause,
            }
        )

    # ---- definitions (section 9) ----

    def define(self, line: Definitions) -> None:
        """Puts other definitions in force for every contact. Raises `Rejected`; the old ones then stay."""
        new, old = plan({"segments": line.segments, "scores": line.scores}), self.plan
        for name in new.segments.keys() & old.segments.keys():
            if new.segments[name].get("per") != old.segments[name].get("per"):
                raise Rejected(f"segment {name!r}: expected the `per` that is in force")
        contacts = self.contacts()
        for contact in contacts:
            self.play(contact, line.received - self.grace_ms)
            contact.tell(line.received - self.grace_ms)
        self.plan = new
        for contact in contacts:
            self.change_over(contact, old)

    def contacts(self) -> list[Contact]:
        return list({id(contact): contact for contact in self.names.values()}.values())

    def change_over(self, contact: Contact, old: Plan) -> None:
        """Ends the memberships of removed segments and of keys no longer asked for, and takes all other answers."""
        asked = {(name, key) for name, one in self.plan.segments.items() for key in (None, *keys_asked(one, contact))}
        for (name, key), membership in contact.memberships.items():
            if (name, key) not in asked:
                membership.answers = {}
                if membership.inside:
                    self.move(contact, name, key, "edit")
        for name, segment in self.plan.segments.items():
            anew = name not in old.segments or self.plan.asks_anew(old, name)
            cause = "edit" if name in old.segments else "backfill"
            if anew:
                contact.membership(name).answers = {}
            self.ask_contact(contact, segment, [contact.membership(name)])
            for key in keys_asked(segment, contact):
                self.take_up(contact, segment, key, cause, anew)

    def take_up(self, contact: Contact, segment: dict[str, Any], key: str | None, cause: str, anew: bool) -> None:
        """The answer to a new question takes effect at once; that to an old one is as old as it was."""
        membership = contact.membership(segment["id"], key)
        if anew:
            membership.answers = {}
        answer, since = self.ask(contact, segment, key, [membership])
        assert contact.clock is not None
        if anew or contact.clock >= since + hold_ms(segment, answer):
            self.settle(contact, segment["id"], key, answer, cause)


def cause_of(event: Event) -> str:
    if event.kind == "list":
        return "manual"
    return "import" if event.context.get("import") is True else "event"


def held_in(segment: dict[str, Any]) -> list[dict[str, Any]]:
    """The `held` conditions of the segment, the innermost first."""
    return [condition for condition in conditions_in(segment["when"]) if "held" in condition]


def hold_ms(segment: dict[str, Any], answer: bool) -> int:
    return duration(segment.get("hold", {}).get("enter" if answer else "leave", "0s"))


# ---- the run (section 11) ----


def simulate(
    definitions: dict[str, Any],
    lines: Iterable[bytes | str | dict[str, Any]],
    until_ms: int | None = None,
    grace_ms: int = 2000,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The transitions of section 11, as emitted, and `LINE: reason` of each rejected line."""
    run = Run(definitions, grace_ms)
    rejected = take_all(run, lines, until_ms)
    return run.emitted, rejected


def take_all(run: Run, lines: Iterable[bytes | str | dict[str, Any]], until_ms: int | None = None) -> list[str]:
    """Has the run take all lines and play the time that is left; `LINE: reason` of each rejected line."""
    rejected: list[str] = []
    arrivals: list[int] = []
    for number, line in enumerate(lines, 1):
        if isinstance(line, (bytes, str)) and not line.strip():
            continue
        try:
            read = parse(line)
            run.define(read) if isinstance(read, Definitions) else run.take(read)
            arrivals.append(read.received)
        except (Rejected, Unsupported) as why:
            rejected.append(f"{number}: {why}")
    ends = [max(arrivals) - run.grace_ms] if arrivals else []
    for contact in run.contacts():
        run.play(contact, max(ends + ([] if until_ms is None else [until_ms])))
    return rejected


def main() -> None:
    """`tidegate simulate`, by the oracle."""
    parser = argparse.ArgumentParser(description="what `tidegate simulate` should print, worked out the slow way")
    parser.add_argument("segments")
    parser.add_argument("events", help="JSON lines, one event each; - is standard input, .gz is read as such")
    parser.add_argument("--until")
    parser.add_argument("--grace", default="2s")
    args = parser.parse_args()
    with open(args.segments, encoding="utf-8") as file:
        definitions = load(file.read())
    until_ms = read_instant(args.until) if args.until else None
    reader = gzip.open if args.events.endswith(".gz") else open
    try:
        with sys.stdin.buffer if args.events == "-" else reader(args.events, "rb") as lines:
            emitted, rejected = simulate(definitions, lines, until_ms, duration(args.grace))
    except Unsupported as why:
        sys.exit(f"{args.segments}: {why}")
    for transition in emitted:
        print(json.dumps(transition, ensure_ascii=False))
    for line in rejected:
        print(f"{args.events}:{line}", file=sys.stderr)


if __name__ == "__main__":
    main()
