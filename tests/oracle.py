"""The naive oracle: what the segment language means, worked out afresh at every instant.

It keeps every accepted event of a contact in order of arrival, and nothing that could be derived from them but the
answers as they were given (`hold` measures those) and the memberships. An answer is taken by reading the whole
history. Whatever could change by time alone is found by trying every instant that could matter: each time or date
that stands anywhere in the history, and each of those moved by each duration that stands anywhere in the definitions.

Slow and plain on purpose, to be checked by eye against the language page; it shares no code with `segments/`.
More of the language becomes one more entry in `CONDITIONS`, `OPERATORS` or `MEASURES`.
"""

import argparse
import gzip
import json
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import re2

from tests.oracle_input import (
    DURATION,
    FUTURE_MS,
    Event,
    Rejected,
    duration,
    equal,
    folded,
    instant,
    load,
    look_up,
    number_of,
    parse,
    present,
    read_instant,
    settled,
    shown,
)

DEDUP_MS = 24 * 3_600_000


class Unsupported(ValueError):
    """A part of the language that the oracle does not speak yet."""


# ---- a contact: its history, clock, answers and memberships (section 3) ----


@dataclass
class Contact:
    """All that is remembered of one contact."""

    name: str
    clock: int | None = None
    arrival: int | None = None
    events: list[Event] = field(default_factory=list)
    accepted: dict[str, int] = field(default_factory=dict)
    answers: dict[str, tuple[bool, int]] = field(default_factory=dict)
    members: dict[str, bool] = field(default_factory=dict)
    seq: dict[str, int] = field(default_factory=dict)

    def arrives(self, event: Event) -> bool:
        """Sets when the event arrived and happened; False if it is a duplicate, which changes nothing."""
        event.r = event.received if self.arrival is None else max(event.received, self.arrival)
        event.t = event.r if event.timestamp is None else event.timestamp
        if event.t > event.received + FUTURE_MS:
            event.t = event.r
        if event.message_id is not None:
            before = self.accepted.get(event.message_id)
            if before is not None and event.r - before < DEDUP_MS:
                return False
            self.accepted[event.message_id] = event.r
        self.arrival = event.r
        event.order = len(self.events)
        return True

    def by_time(self) -> list[Event]:
        return sorted(self.events, key=lambda event: (event.t, event.order))

    def traits(self) -> dict[str, Any]:
        """The last write of each trait by event time; cleared ones are None or `""`, which is absent."""
        merged: dict[str, Any] = {}
        for event in self.by_time():
            merged |= event.writes
        return merged


# ---- conditions (sections 4 to 6) ----


def holds(condition: dict[str, Any], contact: Contact, now: int) -> bool:
    """The condition's answer for the contact at `now`, from its whole history."""
    head = next(head for head in CONDITIONS if head in condition)
    return CONDITIONS[head](condition, contact, now)


def trait_holds(condition: dict[str, Any], contact: Contact, now: int) -> bool:
    """Section 5 on a trait."""
    path = condition["trait"]
    if "unchanged_for" in condition:
        since = unchanged_since(contact, path)
        return since is not None and since <= now - duration(condition["unchanged_for"])
    return passes(look_up(contact.traits(), path), {k: v for k, v in condition.items() if k != "trait"}, now)


def unchanged_since(contact: Contact, path: str) -> int | None:
    """When the latest unbroken run of writes of the trait's value began; None where it is absent."""
    run: int | None = None
    value: Any = None
    merged: dict[str, Any] = {}
    for event in contact.by_time():
        merged |= event.writes
        written = look_up(merged, path)
        if run is None or not equal(written, value):
            run, value = (event.t if written is not None else None), written
    return run


def event_holds(condition: dict[str, Any], contact: Contact, now: int) -> bool:
    """Section 6: the measure over the matching events."""
    first = now - duration(condition["within"]) if "within" in condition else None
    matches = [
        event
        for event in contact.by_time()
        if event.name is not None
        and named(event.name, condition["event"])
        and (first is None or first < event.t <= now)
        and where_holds(condition.get("where", {}), partial(event_value, event), now)
    ]
    measure = next((key for key in MEASURES if key in condition), "count")
    return MEASURES[measure](matches, condition.get(measure, {"gte": Decimal(1)}), now)


def event_value(event: Event, path: str) -> Any:
    """What stands at the path in the event: in its properties, or with `context.` in its context."""
    if path.startswith("context."):
        return look_up(event.context, path.removeprefix("context."))
    return look_up(event.properties, path)


def named(name: str, names: Any) -> bool:
    """Whether the event's name is one of those the condition asks for."""
    if isinstance(names, list):
        return name in names
    if isinstance(names, dict) and "prefix" in names:
        return name.startswith(names["prefix"])
    if isinstance(names, dict):
        return not any(named(name, but) for but in names["any_except"])
    return names in ("*", name)


def where_holds(where: dict[str, Any], look: Callable[[str], Any], now: int) -> bool:
    """Whether everything in the `where` holds, of what `look` finds at each path."""
    for head, combine in COMBINE.items():
        if list(where) == [head] and isinstance(where[head], list):
            return combine(where_holds(part, look, now) for part in where[head])
    return all(passes(look(path), test, now) for path, test in where.items())


def passes(value: Any, test: Any, now: int) -> bool:
    """Whether the value passes every operator of the test; a bare scalar means `eq`, a bare list `in`."""
    if not isinstance(test, dict):
        test = {"in" if isinstance(test, list) else "eq": test}
    fold = test.get("ignore_case", False)
    return all(OPERATORS[name](value, operand, now, fold) for name, operand in test.items() if name != "ignore_case")


COMBINE: dict[str, Callable[[Iterable[bool]], bool]] = {
    "all": all,
    "any": any,
    "none": lambda answers: not any(answers),
}
CONDITIONS: dict[str, Callable[[dict[str, Any], Contact, int], bool]] = {
    "all": lambda c, who, now: all(holds(part, who, now) for part in c["all"]),
    "any": lambda c, who, now: any(holds(part, who, now) for part in c["any"]),
    "none": lambda c, who, now: not any(holds(part, who, now) for part in c["none"]),
    "not": lambda c, who, now: not holds(c["not"], who, now),
    "everyone": lambda c, who, now: True,
    "trait": trait_holds,
    "event": event_holds,
    "segment": lambda c, who, now: who.members.get(c["segment"], False),
}


# ---- operators (section 5): (value or None, operand, now, ignore_case) ----

Test = Callable[[Any, Any, int, bool], bool]


def within_bounds(number: Fraction, bounds: list[Any]) -> bool:
    lowest, highest = (exactly(bound) for bound in bounds)
    return lowest <= number <= highest


def exactly(limit: Any) -> Fraction:
    """The number that the definition gives."""
    number = number_of(limit)
    assert number is not None, limit
    return number


NUMBER_TESTS: dict[str, Callable[[Fraction, Any], bool]] = {
    "eq": lambda number, limit: number == exactly(limit),
    "ne": lambda number, limit: number != exactly(limit),
    "gt": lambda number, limit: number > exactly(limit),
    "gte": lambda number, limit: number >= exactly(limit),
    "lt": lambda number, limit: number < exactly(limit),
    "lte": lambda number, limit: number <= exactly(limit),
    "between": within_bounds,
}


def numeric(name: str) -> Test:
    """The number test as an operator; false for what is no number."""

    def test(value: Any, operand: Any, now: int, fold: bool) -> bool:
        number = number_of(value)
        return number is not None and NUMBER_TESTS[name](number, operand)

    return test


def textual(compare: Callable[[str, str], bool]) -> Test:
    """A test of a text, or of some text in an array; a number is none."""

    def test(value: Any, operand: Any, now: int, fold: bool) -> bool:
        texts = value if isinstance(value, list) else [value]
        return any(compare(folded(text, fold), folded(operand, fold)) for text in texts if isinstance(text, str))

    return test


def matches(value: Any, operand: Any, now: int, fold: bool) -> bool:
    # (?i) folds the ASCII letters of the expression; what folding may lengthen, such as ß, is none of its syntax.
    wide = re.sub(r"[^\x00-\x7f]+", lambda found: folded(found[0], fold), operand)
    search = re2.compile(f"(?i){wide}" if fold else operand).search
    texts = value if isinstance(value, list) else [value]
    return any(search(folded(text, fold)) is not None for text in texts if isinstance(text, str))


def date_passes(name: str, when: int, operand: Any, now: int) -> bool:
    """Whether the instant passes the date operator of that name."""
    if name in RELATIVE:
        return RELATIVE[name](when, duration(operand), now)
    limit = instant(operand)
    assert limit is not None, operand
    return ABSOLUTE[name](when, limit)


def dated(name: str) -> Test:
    """The date operator as a test; false for what is no date."""

    def test(value: Any, operand: Any, now: int, fold: bool) -> bool:
        when = instant(value)
        return when is not None and date_passes(name, when, operand, now)

    return test


def any_item(value: Any, operand: Any, now: int, fold: bool) -> bool:
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return any(where_holds(operand, partial(look_up, item), now) for item in items)


def has(value: Any, operand: Any) -> bool:
    """Whether the value is an array with that element."""
    return isinstance(value, list) and any(equal(element, operand) for element in value)


ABSOLUTE: dict[str, Callable[[int, int], bool]] = {
    "before": operator.lt,
    "after": operator.gt,
    "on_or_before": operator.le,
    "on_or_after": operator.ge,
}
RELATIVE: dict[str, Callable[[int, int, int], bool]] = {
    "within_last": lambda when, length, now: now - length < when <= now,
    "older_than": lambda when, length, now: when <= now - length,
    "within_next": lambda when, length, now: now < when <= now + length,
    "further_than": lambda when, length, now: when > now + length,
}
OPERATORS: dict[str, Test] = {
    "eq": lambda value, x, now, fold: equal(value, x, fold),
    "ne": lambda value, x, now, fold: not equal(value, x, fold),
    "in": lambda value, xs, now, fold: any(equal(value, x, fold) for x in xs),
    "not_in": lambda value, xs, now, fold: not any(equal(value, x, fold) for x in xs),
    "exists": lambda value, wanted, now, fold: present(value) == wanted,
    "contains": textual(lambda text, x: x in text),
    "starts_with": textual(lambda text, x: text.startswith(x)),
    "ends_with": textual(lambda text, x: text.endswith(x)),
    "matches": matches,
    "has": lambda value, x, now, fold: has(value, x),
    "has_any": lambda value, xs, now, fold: any(has(value, x) for x in xs),
    "has_all": lambda value, xs, now, fold: all(has(value, x) for x in xs),
    "any_item": any_item,
    "no_item": lambda value, where, now, fold: not any_item(value, where, now, fold),
}
OPERATORS |= {name: numeric(name) for name in ("gt", "gte", "lt", "lte", "between")}
OPERATORS |= {name: dated(name) for name in (*ABSOLUTE, *RELATIVE)}


# ---- measures (section 6): (matching events by time, operand, now) ----


def sum_holds(events: list[Event], operand: dict[str, Any], now: int) -> bool:
    numbers = [number_of(event_value(event, operand["of"])) for event in events]
    total = sum((number for number in numbers if number is not None), Fraction(0))
    return number_passes(total, {key: x for key, x in operand.items() if key != "of"})


def number_passes(number: Fraction, tests: Any) -> bool:
    """Whether the number passes every number test; a bare number is `eq`."""
    tests = tests if isinstance(tests, dict) else {"eq": tests}
    return all(NUMBER_TESTS[name](number, limit) for name, limit in tests.items())


def last_at_holds(events: list[Event], operand: dict[str, Any], now: int) -> bool:
    [(name, limit)] = operand.items()
    return bool(events) and date_passes(name, events[-1].t, limit, now)


MEASURES: dict[str, Callable[[list[Event], Any, int], bool]] = {
    "count": lambda events, tests, now: number_passes(Fraction(len(events)), tests),
    "sum": sum_holds,
    "last_at": last_at_holds,
}


# ---- the run (sections 2, 3, 4 `hold`, 11) ----


class Run:
    """Definitions, contacts, and what was emitted so far."""

    def __init__(self, definitions: dict[str, Any], grace_ms: int) -> None:
        self.segments = in_order(settled(definitions)["segments"])
        self.grace_ms = grace_ms
        self.contacts: dict[str, Contact] = {}
        self.emitted: list[dict[str, Any]] = []
        self.durations = {duration(text) for text in texts_in(self.segments) if text and DURATION.fullmatch(text)}

    def take(self, event: Event) -> None:
        """Plays the time up to the event, applies it, and takes answers."""
        contact = self.contacts.setdefault(event.contact, Contact(event.contact))
        if not contact.arrives(event):
            return
        self.play(contact, max(event.t - 1, event.r - self.grace_ms))
        contact.clock = max(event.t, event.r - self.grace_ms, *([] if contact.clock is None else [contact.clock]))
        contact.events.append(event)
        self.answer(contact, "import" if event.context.get("import") is True else "event")

    def play(self, contact: Contact, last: int) -> None:
        """Plays every instant after the clock up to `last`, inclusive, at which an answer could change."""
        if contact.clock is None:
            return
        shifts = {shift for length in (0, *self.durations) for shift in (-length, length)}
        moments = {at + shift for at in instants_in(contact) for shift in shifts if contact.clock < at + shift <= last}
        while due := [d for d in (*moments, *self.hold_ends(contact)) if contact.clock < d <= last]:
            contact.clock = min(due)
            self.answer(contact, "timer")

    def hold_ends(self, contact: Contact) -> Iterator[int]:
        for segment in self.segments:
            answer, since = contact.answers[segment["id"]]
            if answer != contact.members.get(segment["id"], False):
                yield since + hold_ms(segment, answer)

    def answer(self, contact: Contact, cause: str) -> None:
        """Takes every segment's answer at the contact's clock, and emits what has changed."""
        now = contact.clock
        assert now is not None
        for segment in self.segments:
            name, answer = segment["id"], holds(segment["when"], contact, now)
            given, since = contact.answers.get(name, (False, now))
            since = since if answer == given else now
            contact.answers[name] = answer, since
            if answer != contact.members.get(name, False) and now >= since + hold_ms(segment, answer):
                contact.members[name] = answer
                contact.seq[name] = contact.seq.get(name, 0) + 1
                moved = {"segment": name, "contact": contact.name, "transition": "entered" if answer else "left"}
                self.emitted.append({**moved, "seq": contact.seq[name], "at": shown(now), "cause": cause})


def hold_ms(segment: dict[str, Any], answer: bool) -> int:
    return duration(segment.get("hold", {}).get("enter" if answer else "leave", "0s"))


def instants_in(contact: Contact) -> set[int]:
    """Every time and date that stands anywhere in the contact's history."""
    found = {event.t for event in contact.events}
    for event in contact.events:
        dates = map(instant, scalars_in([event.properties, event.context, event.writes]))
        found |= {date for date in dates if date is not None}
    return found


def scalars_in(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (dict, list)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from scalars_in(part)
    else:
        yield tree


def texts_in(tree: Any) -> Iterator[str]:
    return (scalar for scalar in scalars_in(tree) if isinstance(scalar, str))


def in_order(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The segments, each after those that it names; raises `Unsupported` for what is not spoken yet."""
    ordered_segments: list[dict[str, Any]] = []

    def put(segment: dict[str, Any]) -> None:
        if segment not in ordered_segments:
            check_spoken(segment)
            for name in named_in(segment["when"]):
                put(next(other for other in segments if other["id"] == name))
            ordered_segments.append(segment)

    for segment in segments:
        put(segment)
    return ordered_segments


def named_in(condition: dict[str, Any]) -> Iterator[str]:
    if "segment" in condition:
        yield condition["segment"]
    for part in parts_of(condition):
        yield from named_in(part)


def parts_of(condition: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [condition[head] for head in ("all", "any", "none") if head in condition]
    return [part for parts in lists for part in parts] + ([condition["not"]] if "not" in condition else [])


def check_spoken(segment: dict[str, Any]) -> None:
    """Raises `Unsupported` naming the first key that the oracle does not speak; definitions are not checked further."""
    expect_keys(
        segment,
        {"id", "name", "description", "tags", "owner", "when", "hold", *(["tz"] if segment.get("tz") == "UTC" else [])},
    )
    conditions = [segment["when"]]
    while conditions:
        condition = conditions.pop()
        conditions += parts_of(condition)
        if "trait" in condition:
            expect_keys(condition, {"trait", "unchanged_for", "ignore_case", *OPERATORS})
        elif "event" in condition:
            expect_keys(condition, {"event", "where", "within", *MEASURES})
            expect_keys(condition.get("last_at", {}), {*ABSOLUTE, *RELATIVE})
        else:
            expect_keys(condition, set(CONDITIONS))
        unspoken = [test for test in mappings_in(condition) if set(test) == {"trait"} or set(test) & UNSPOKEN]
        if unspoken:
            raise Unsupported(f"not supported yet: {unspoken[0]!r}")


UNSPOKEN = {"on_day", "calendar", "anniversary", "age", "tz"}


def mappings_in(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []:
        yield from mappings_in(part)


def expect_keys(mapping: dict[str, Any], keys: set[str]) -> None:
    if others := [key for key in mapping if key not in keys]:
        raise Unsupported(f"not supported yet: {others[0]!r}")


def simulate(
    definitions: dict[str, Any],
    lines: Iterable[bytes | str | dict[str, Any]],
    until_ms: int | None = None,
    grace_ms: int = 2000,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The transitions of section 11, as emitted, and `LINE: reason` of each rejected line."""
    run = Run(definitions, grace_ms)
    rejected: list[str] = []
    arrivals: list[int] = []
    for number, line in enumerate(lines, 1):
        if isinstance(line, (bytes, str)) and not line.strip():
            continue
        try:
            event = parse(line)
        except Rejected as why:
            rejected.append(f"{number}: {why}")
            continue
        arrivals.append(event.received)
        run.take(event)
    ends = [max(arrivals) - grace_ms] if arrivals else []
    for contact in run.contacts.values():
        run.play(contact, max(ends + ([] if until_ms is None else [until_ms])))
    return run.emitted, rejected


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
