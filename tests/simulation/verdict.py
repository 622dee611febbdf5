"""What must hold after a run, whatever happened in it."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from plans import GRACE_MS, RULED, SLACK_MS, definitions_of, machine_of, plan_of, unchanged
from script import PARTITIONS, TOPICS

from actions.own_events import OwnEvent
from actions.sequences import is_quiet
from schemas.events import parse_event
from schemas.instants import parse_instant
from schemas.transitions import Transition
from segments import simulate
from segments.simulate import told_with
from streams.checkpoint import META_KEY, Meta, read_meta

if TYPE_CHECKING:
    from world import World

FIELDS = ("segment", "key", "transition", "seq", "at", "cause")
Told = dict[str, list[tuple[Any, ...]]]
Memberships = set[tuple[str, str, str | None]]


def check(world: World) -> None:
    """Raises AssertionError with the first thing that is wrong."""
    told = told_by(world)
    _check_sequence(world, told)
    members = recorded(world, members=True)
    assert members == in_state(world), (
        f"memberships and state differ: {sorted(map(str, members ^ in_state(world)))[:3]}"
    )
    shown = {named for named in members if not is_quiet(named[1])}
    assert shown == in_transitions(told), "memberships differ from what transitions said last"
    _check_kept(world)
    _check_sizes(world, members)
    _check_contacts(world)
    _check_deliveries(world, told)
    _check_times(world)
    _check_metas(world)
    _check_rejected(world)
    _check_against_simulate(world, told)


def told_by(world: World) -> Told:
    """What readers of committed transitions see, by contact, nothing deduplicated."""
    told: Told = collections.defaultdict(list)
    for number in range(PARTITIONS):
        for record in world.broker.committed("transitions", number):
            fields = orjson.loads(record.value or b"")
            told[fields["contact"]].append(tuple(map(fields.get, FIELDS)))
        for topic in ("events.own", "deliveries", "outcomes"):
            for record in world.broker.committed(topic, number):
                fields = orjson.loads(record.value or b"")
                if topic == "events.own" or fields.get("kind") == "sequence":
                    told[f"{(record.key or b'').decode()} led"].append(_led(fields))
    return told


def expected_of(world: World) -> Told:
    """What `simulate` says of the events in the order of the merge."""
    lines = [line for *_, line in sorted(world.published)]
    until_ms = int(world.true_ms()) - SLACK_MS - GRACE_MS
    told: Told = collections.defaultdict(list)
    follower = machine_of(1, prompt_ms=GRACE_MS)
    for each in simulate(
        definitions_of(1), lines, until_ms=until_ms, grace_ms=GRACE_MS, keep_past=False, follower=follower
    ):
        _add(told, each)
    return told


def _add(told: Told, each: Any) -> None:
    """A transition, unless it is of a lifted segment that is no goal; or what a sequence said."""
    if not isinstance(each, Transition):
        _, what = each
        fields = (
            orjson.loads(what.value) if isinstance(what, OwnEvent) else msgspec.json.decode(msgspec.json.encode(what))
        )
        told[f"{what.contact} led"].append(_led(fields))
    elif not is_quiet(each.segment):
        told[each.contact].append(tuple(map(each.simulated().get, FIELDS)))


def _led(fields: dict[str, Any]) -> tuple[Any, ...]:
    """Of an own event, a delivery or an outcome what doesn't depend on when it was read."""
    if "messageId" in fields:
        said = fields.get("event") or fields["type"]
        return "event", fields["messageId"], said, fields["timestamp"], str(fields.get("properties"))
    return (
        fields.get("status", "delivery"),
        fields.get("id") or fields["delivery"],
        fields.get("step", 0),
        fields.get("code"),
    )


def expected_under_edits(world: World) -> Told:
    """The same, each partition taking newer definitions up where its meta records say that it did.

    `simulate` has a line for that, but it knows the past then, which workers don't.
    """
    told: Told = collections.defaultdict(list)
    until_ms = int(world.true_ms()) - SLACK_MS - GRACE_MS
    for number in range(PARTITIONS):
        metas = metas_of(world, number)
        run = _Run(told, metas[0].revision if metas else 1)
        events = [each for each in sorted(world.published) if each[3] == number]
        for before, after in itertools.pairwise(metas):
            if before.revision < after.revision:
                taken = [each for each in events if each[2] < before.topics[TOPICS[each[1]]].position]
                run.apply(taken)
                assert after.effective_ms is not None
                run.change_over(after.revision, after.effective_ms)
                events = events[len(taken) :]
        run.apply(events)
        run.advance(until_ms)
    return told


class _Run:
    """One partition's contacts, in order."""

    def __init__(self, told: Told, revision: int) -> None:
        self._told = told
        self._states: dict[str, Any] = {}
        self._plan = plan_of(revision)

    def apply(self, events: Iterable[tuple[int, int, int, int, bytes]]) -> None:
        """Events as they arrived."""
        for received_ms, *_, line in events:
            event = parse_event(line)
            before = self._states.get(event.contact)
            step = self._plan.program.apply(before, event, received_ms, received_ms)
            self._states[event.contact] = step.state
            self._tell(step.transitions, step.state or before)

    def advance(self, until_ms: int) -> None:
        """What is due up to then."""
        for state in self._states.values():
            if state is not None and state.due_ms is not None and state.due_ms <= until_ms:
                self._tell(self._plan.program.advance(state, until_ms), state)

    def change_over(self, revision: int, effective_ms: int) -> None:
        """Newer definitions, once what was due under these has been played."""
        self.advance(effective_ms)
        self._plan = plan_of(revision, self._plan.revision)
        for state in self._states.values():
            if state is not None:
                self._tell(self._plan.program.change_over(state, effective_ms), state)

    def _tell(self, transitions: Sequence[Transition], state: Any) -> None:
        for each in transitions if state is None else told_with(list(transitions), state):
            _add(self._told, each)


def metas_of(world: World, number: int) -> list[Meta]:
    """The partition's meta records."""
    records = world.broker.committed("state", number)
    return [read_meta(each.value or b"") for each in records if each.key == META_KEY]


def recorded(world: World, *, members: bool = False) -> Memberships:
    """Of which memberships the compacted topic has a record; those alone that say who is in, with `members`."""
    last: dict[bytes | None, bytes | None] = {}
    for number in range(PARTITIONS):
        last |= {record.key: record.value for record in world.broker.committed("memberships", number)}
    found = set()
    for name, value in last.items():
        if value is not None and (orjson.loads(value)["member"] or not members):
            contact, segment, *key = orjson.loads(name or b"")
            found.add((contact, segment, key[0] if key else None))
    return found


def states_of(world: World, number: int) -> Iterable[tuple[str, Any]]:
    """Contacts and their states, as committed."""
    records = {each.key: each.value for each in world.broker.committed("state", number) if each.key != META_KEY}
    decode = plan_of(1).program.decode
    for key, record in records.items():
        if record is not None and key is not None:
            yield key.decode(), decode(key.decode(), record)


def in_state(world: World) -> Memberships:
    """Who is in, by the state records."""
    found = set()
    for number in range(PARTITIONS):
        for contact, state in states_of(world, number):
            assert state.program_revision == world.revision, f"{contact}: left under revision {state.program_revision}"
            found |= {(contact, segment, value) for segment, value, _, _ in state.memberships()}
    return found


def _check_kept(world: World) -> None:
    """An erasure leaves tombstones for what the state knows, which has nothing of conditions that nobody asks any more."""
    asked = plan_of(world.revision).program.segment_ids
    known = {
        (contact, segment, key)
        for number in range(PARTITIONS)
        for contact, state in states_of(world, number)
        for segment, key in state.every_membership()
    }
    assert not [each for each in known if is_quiet(each[1]) and each[1] not in asked], (
        "kept of a condition that is gone"
    )
    unknown = recorded(world) - known
    assert not unknown, f"an erasure would leave what the state doesn't know: {sorted(map(str, unknown))[:3]}"


def in_transitions(told: Told) -> Memberships:
    """Who is in, by what was said last."""
    inside = {}
    for contact, rows in of_segments(told):
        for segment, key, transition, *_ in rows:
            inside[contact, segment, key] = transition == "entered"
    return {named for named, member in inside.items() if member}


def of_segments(told: Told) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Of what was told, transitions."""
    return [(contact, rows) for contact, rows in told.items() if not contact.endswith(" led")]


def _check_sequence(world: World, told: Told) -> None:
    for contact, rows in of_segments(told):
        seqs: dict[tuple[str, str | None], int] = {}
        for segment, key, transition, seq, _, cause in rows:
            last = seqs.get((segment, key), 0)
            # counted anew after an erasure, or where a segment was gone for a time
            anew = seq == 1 and not last % 2 and (contact in world.erased or segment not in unchanged())
            assert anew or seq == last + 1, f"{contact}, {segment}: expected seq {last + 1}, got {seq}"
            assert transition == ("entered" if seq % 2 else "left"), (contact, segment, transition, seq)
            assert cause != "erasure" or transition == "left", (contact, segment)
            assert cause != "edit" or segment not in unchanged(), f"{contact}, {segment}: changed by an edit of others"
            seqs[segment, key] = seq


def _check_sizes(world: World, members: Memberships) -> None:
    """What owners count of their segments' members, for the metrics."""
    counted: collections.Counter[str] = collections.Counter()
    for machine in world.machines:
        if machine is not None and not machine.ended:
            for partition in machine.worker.partitions.values():
                counted.update(partition.sizes.members)
    assert +counted == collections.Counter(segment for _, segment, _ in members), "sizes of segments differ"
    assert min(counted.values(), default=0) >= 0, "a segment has fewer than no members"


def _check_contacts(world: World) -> None:
    """The compacted topic has the traits that are in the state."""
    for number in range(PARTITIONS):
        told = {each.key: each.value for each in world.broker.committed("contacts", number)}
        for contact, state in states_of(world, number):
            record = told.get(contact.encode())
            traits = {} if record is None else orjson.loads(record)["traits"]
            assert traits == state.present_traits(), (
                f"{contact}: expected traits {state.present_traits()}, got {traits}"
            )


def _check_deliveries(world: World, told: Told) -> None:
    """Each transition that a rule is for has one delivery, or one outcome that says why not."""
    entered = {
        (contact, row[4]) for contact, rows in of_segments(told) for row in rows if row[:3] == (RULED, None, "entered")
    }
    acted: list[tuple[str, str]] = []
    for number in range(PARTITIONS):
        for record in world.broker.committed("deliveries", number):
            fields = orjson.loads(record.value or b"")
            if fields.get("kind") != "sequence":
                acted.append((fields["contact"], fields["transition"]["at"]))
        for record in world.broker.committed("outcomes", number):
            fields = orjson.loads(record.value or b"")
            if fields.get("kind") != "sequence":
                acted.append((fields["contact"], fields["at"]))
    assert sorted(acted) == sorted(entered), "expected one delivery or outcome for each transition"


def _check_times(world: World) -> None:
    """No timer early, by the true time at which it could be read; a later event of the contact plays it at once."""
    for number in range(PARTITIONS):
        for written in world.broker.readable("transitions", number):
            assert written.record is not None
            fields = orjson.loads(written.record.value or b"")
            at_ms, ended_ms = parse_instant(fields["at"], offset_required=True), written.transaction.ended_ms
            assert at_ms is not None and ended_ms is not None
            contact, from_ms = fields["contact"], at_ms + GRACE_MS
            # what is read late counts as arriving by the worker's clock as it is, which may be some of the slack ahead
            played = any(at_ms <= arrived_ms <= ended_ms for arrived_ms in world.arrived_ms[contact])
            if played or contact in world.late:
                from_ms = at_ms
            early = fields["cause"] == "timer" and ended_ms < from_ms
            assert not early, f"{contact}, {fields['segment']}: {from_ms - ended_ms} ms early"


def _check_metas(world: World) -> None:
    """Positions, arrival time and revision never go back."""
    for number in range(PARTITIONS):
        for before, after in itertools.pairwise(metas_of(world, number)):
            assert before.arrival_ms <= after.arrival_ms, f"partition {number}: arrival time fell"
            assert before.revision <= after.revision, f"partition {number}: revision fell"
            for topic in TOPICS:
                assert before.topics[topic].position <= after.topics[topic].position, (
                    f"partition {number}: position fell"
                )


def _check_rejected(world: World) -> None:
    rejected = [each.value for number in range(PARTITIONS) for each in world.broker.committed("rejected", number)]
    assert sorted(map(bytes, rejected)) == sorted(world.bad), "expected each bad record in `rejected` once"  # type: ignore[arg-type]


def _check_against_simulate(world: World, told: Told) -> None:
    expected = expected_of(world) if world.revision == 1 else expected_under_edits(world)
    for contact in sorted(expected.keys() | told.keys()):
        found, right = told.get(contact, []), expected.get(contact, [])
        if contact.endswith(" led"):  # in three topics, each in its own order
            found, right = sorted(found, key=lambda row: row[0]), sorted(right, key=lambda row: row[0])
        rows = itertools.zip_longest(found, right)
        differing = [pair for pair in rows if pair[0] != pair[1]]
        assert contact.removesuffix(" led") in world.late or not differing, (
            f"{contact}: (told, by simulate) {differing[:2]}"
        )
