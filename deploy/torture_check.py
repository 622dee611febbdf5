"""What must hold after a torture run, whatever happened in it.

The events are taken as the log has them, which must be what was sent; what is made of them as a read-committed reader sees it,
with nothing deduplicated.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from told import (
    Committed,
    Led,
    Told,
    committed,
    ends,
    expected_all,
    led,
    members,
    members_of,
    positions_of,
    transitions_in,
)
from torture_load import TOPICS, Load, Sent

from actions.sequences import LIFTED
from schemas.instants import format_instant, parse_instant
from schemas.topics import EVENTS_OWN
from segments import Definitions, compile_program
from streams.checkpoint import META_KEY, read_meta
from streams.definition_files import Checked
from streams.settings import Settings

# contacts of which nothing is compared but what is said of them here: in foreign transactions, or with a spoilt state
FOREIGN, SPOILT = "foreign-", "spoilt-"
# what reading takes once a transaction has ended
READ_MS = 1_500
CONTEXT_ROWS = 3


class Unequal(Exception):
    """Something that must hold doesn't; the message has the first difference."""


@dataclasses.dataclass(frozen=True)
class Hold:
    """A foreign transaction was open on this partition of a source, from when to when (epoch ms)."""

    topic: str
    partition: int
    from_ms: int
    to_ms: int


@dataclasses.dataclass(frozen=True)
class Tally:
    """What was compared: counts. `aside`: contacts whose events were held back for longer than the grace allows.

    `messages`: deliveries of sequences.
    """

    events: int
    transitions: int
    by_cause: Mapping[str, int]
    contacts: int
    aside: int
    rejected: int
    messages: int


@dataclasses.dataclass(frozen=True)
class Arrived:
    """A source record and when it arrived (epoch ms), which is the order of the merge."""

    at_ms: int
    topic: str
    record: Committed


def check(settings: Settings, checked: Checked, load: Load, holds: Sequence[Hold], until_ms: int) -> Tally:
    """Compares everything, transitions up to `until_ms`; raises `Unequal`. All workers must have ended in good order."""
    definitions, source = checked.definitions, _source(settings)
    check_log(load.sent, source)
    _check_rejected(settings, load.bad)
    state = committed(settings, "state")
    _check_metas(state)
    # of events of our own the last may stand behind what was taken: they end with the workers
    found, wanted = positions_of(state), ends(settings)
    if any(found[topic] != wanted[topic] for topic in TOPICS) or found[EVENTS_OWN.name] > wanted[EVENTS_OWN.name]:
        raise Unequal(f"expected positions {wanted}, the ends of the sources, got {found}")
    written = committed(settings, "transitions")
    told = transitions_in(written, settings)
    check_sequence(told)
    _check_members(settings, definitions, told, state)
    good = [each for each in source if each.record.value not in load.bad]
    if settings.clock == "wall":
        check_not_early(written, good, settings.grace_ms)
    aside = _aside(good, holds, settings) if settings.clock == "wall" else set()
    wanted_rows, wanted_led = expected_all(definitions, checked.sequences, _lines(good), until_ms, settings.limits())
    check_as_simulated(wanted_rows, told, aside, until_ms, source)
    messages = check_led(settings, wanted_led, aside, until_ms)
    rows = [row for contact in told for row in told[contact]]
    causes = collections.Counter(row[5] for row in rows)
    return Tally(
        len(source), len(rows), dict(causes), len(told.keys() | wanted_rows.keys()), len(aside), len(load.bad), messages
    )


def _source(settings: Settings) -> list[Arrived]:
    """All source records in the order in which they are to be taken."""
    found = []
    for topic in TOPICS:
        arrived_ms: dict[int, int] = collections.defaultdict(int)
        for record in committed(settings, topic):
            at_ms = record.time_ms
            if settings.clock == "arrival":
                said_ms = _received_ms(record.value)
                at_ms = arrived_ms[record.partition] = max(arrived_ms[record.partition], said_ms or 0)
            found.append(Arrived(at_ms, topic, record))
    return sorted(
        found, key=lambda each: (each.at_ms, TOPICS.index(each.topic), each.record.partition, each.record.offset)
    )


def _received_ms(value: bytes | None) -> int | None:
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    found = fields.get("receivedAt") if isinstance(fields, dict) else None
    return found if isinstance(found, int) else None


def check_log(sent: Sequence[Sent], source: Sequence[Arrived]) -> None:
    """What the sources hold is what was sent: else nothing can be said of anything after them."""
    wanted, found = collections.defaultdict(list), collections.defaultdict(list)
    for each in sent:
        wanted[each.topic, each.partition].append((each.key, each.value))
    for arrived in source:
        record = arrived.record
        if not (record.key or b"").startswith(FOREIGN.encode()) and not _is_tick(record.value):
            found[arrived.topic, record.partition].append((record.key, record.value or b""))
    for place in sorted(wanted.keys() | found.keys()):
        pairs = itertools.zip_longest(wanted[place], found[place])
        if different := next((pair for pair in pairs if pair[0] != pair[1]), None):
            counts = f"{len(wanted[place])} records in {place}, found {len(found[place])}"
            raise Unequal(f"the log itself: expected {counts}; the first that differs (sent, found): {different}")


def _is_tick(value: bytes | None) -> bool:
    return value is not None and value.startswith(b'{"type":"tick"')


def _check_rejected(settings: Settings, bad: Mapping[bytes, str]) -> None:
    rejected = committed(settings, "rejected")
    found = collections.Counter((each.value or b"", each.headers["reason"].decode()) for each in rejected)
    wanted = collections.Counter(bad.items())
    if found != wanted:
        raise Unequal(
            f"expected each bad record in `rejected` once; missing: {list(wanted - found)[:2]}, too much: "
            f"{list(found - wanted)[:2]}"
        )


def _check_metas(state: Sequence[Committed]) -> None:
    """Positions and arrival time never go back."""
    last: dict[int, Any] = {}
    for record in state:
        if record.key != META_KEY:
            continue
        meta, before = read_meta(record.value or b""), last.get(record.partition)
        last[record.partition] = meta
        if before is None:
            continue
        fell = [topic for topic in TOPICS if meta.topics[topic].position < before.topics[topic].position]
        if fell or meta.arrival_ms < before.arrival_ms:
            raise Unequal(
                f"state, partition {record.partition}: {fell or 'arrival time'} fell at offset {record.offset}"
            )


def check_sequence(told: Told) -> None:
    """Entered and left in turn, counted from 1, and again from 1 after a `delete`."""
    for contact, rows in told.items():
        seqs: dict[str, int] = {}
        for segment, _, transition, seq, _, _ in rows:
            last = seqs.get(segment, 0)
            anew = seq == 1 and not last % 2  # after a `delete`
            if not (anew or seq == last + 1) or transition != ("entered" if seq % 2 else "left"):
                raise Unequal(f"{contact}, {segment}: expected number {last + 1}, got {seq}, {transition}")
            seqs[segment] = seq


def _check_members(settings: Settings, definitions: Definitions, told: Told, state: Sequence[Committed]) -> None:
    """The memberships topic, the state and what was told last are one."""
    program = compile_program(definitions, limits=settings.limits())
    last = {record.key: record.value for record in state if record.key not in (None, META_KEY)}
    in_state = set()
    for key, value in last.items():
        contact = (key or b"").decode()
        if value is not None and not contact.startswith(SPOILT):
            for segment, per, seq, _ in program.decode(contact, value).memberships():
                if segment.startswith(LIFTED):
                    continue
                in_state.add((contact, segment if per is None else f"{segment} {per}", seq))
    by_topic, by_told = members(settings), members_of(told)
    if not by_topic == by_told == in_state:
        raise Unequal(
            f"memberships: topic and transitions differ in {sorted(by_topic ^ by_told)[:3]}, "
            f"topic and state in {sorted(by_topic ^ in_state)[:3]}"
        )


def check_not_early(written: Sequence[Committed], source: Sequence[Arrived], grace_ms: int) -> None:
    """No timer before its instant and the grace, but by a later event of the contact, which plays it at once."""
    events: dict[bytes | None, list[tuple[int, int]]] = collections.defaultdict(list)
    for arrived in source:
        events[arrived.record.key].append((arrived.at_ms, _occurred_ms(arrived)))
    for record in written:
        fields = record.json()
        at_ms = parse_instant(fields["at"], offset_required=True) or 0
        if fields["cause"] != "timer" or record.time_ms >= at_ms + grace_ms:
            continue
        if not any(came_ms <= record.time_ms and at_ms <= of_ms for came_ms, of_ms in events[record.key]):
            raise Unequal(f"a timer came {at_ms + grace_ms - record.time_ms} ms early: {fields}")


def _occurred_ms(arrived: Arrived) -> int:
    found = orjson.loads(arrived.record.value or b"")["timestamp"]
    assert isinstance(found, int)
    return found


def _aside(source: Sequence[Arrived], holds: Sequence[Hold], settings: Settings) -> set[str]:
    """Contacts of which an event was held back until time had been played past it: by how much depends on the moment."""
    found = set()
    for hold in holds:
        for each in source:
            here = (each.topic, each.record.partition) == (hold.topic, hold.partition)
            if here and hold.from_ms <= each.at_ms <= hold.to_ms + READ_MS:
                found.add((each.record.key or b"").decode())
    return found


def _lines(source: Sequence[Arrived]) -> Iterator[bytes]:
    """The events as `simulate` reads them, each arriving when it did."""
    for each in source:
        if not _is_tick(each.record.value):
            yield orjson.dumps(orjson.loads(each.record.value or b"") | {"receivedAt": each.at_ms})


def check_as_simulated(wanted: Told, told: Told, aside: set[str], until_ms: int, source: Sequence[Arrived]) -> None:
    """Of each contact but those `aside`, what was told up to `until_ms` is what is wanted, in that order."""
    until = format_instant(until_ms)
    for contact in sorted(wanted.keys() | told.keys()):
        if contact in aside:
            continue
        rows = [row for row in told.get(contact, []) if row[4] <= until]
        if rows != wanted.get(contact, []):
            raise Unequal(_difference(contact, wanted.get(contact, []), rows, source))


def check_led(settings: Settings, wanted: Led, aside: set[str], until_ms: int) -> int:
    """What sequences said of contacts but those `aside`: all that is wanted, each once; beyond it what came later alone."""
    found, at = led(settings)
    until = format_instant(until_ms)
    missing = [named for named in wanted if named not in found and named[0] not in aside]
    repeated = [named for named, times in found.items() if times > 1]
    more = [named for named in found if named not in wanted and named[0] not in aside and at[named] <= until]
    if missing or repeated or more:
        raise Unequal(
            f"sequences: {len(missing)} missing, such as {missing[:2]}; {len(repeated)} more than once, such as "
            f"{repeated[:2]}; {len(more)} that nobody expected, such as {[(each, at[each]) for each in more[:2]]}"
        )
    return sum(named[1] == "delivery" for named in found)


def _difference(contact: str, wanted: Sequence[Any], rows: Sequence[Any], source: Sequence[Arrived]) -> str:
    pairs = list(itertools.zip_longest(wanted, rows))
    first = next(number for number, (one, other) in enumerate(pairs) if one != other)
    shown = pairs[max(0, first - CONTEXT_ROWS) : first + CONTEXT_ROWS + 1]
    lines = [
        f"{contact}: simulate has {len(wanted)} transitions, the workers told {len(rows)}; around the first difference:"
    ]
    lines += [f"{'  ' if one == other else '≠ '}expected {one}\n  got      {other}" for one, other in shown]
    lines.append("its events:")
    for each in source:
        if each.record.key == contact.encode():
            place = f"{each.topic} {each.record.partition}/{each.record.offset}"
            lines.append(
                f"  {format_instant(each.at_ms)} {place}: {(each.record.value or b'').decode(errors='replace')}"
            )
    return "\n".join(lines)
