"""Steps a contact through events and time: the state in, the state and its transitions out (language page, section 3).

Work is proportional to what changed: an event's name, or a trait that was written, leads to the leaves it can touch; a
leaf that flips, to the trees above it; a tree that flips, to a transition. Time is data: every instant is handed in.
"""

import hashlib
import heapq
from typing import Any, NamedTuple

import orjson

from schemas.events import Event
from schemas.transitions import CAUSE_PROPERTIES_BYTES_MAX, Cause, CauseEvent, Transition
from segments import state as codec
from segments.leaves import EventLeaf, encoded_bytes_max
from segments.program import Compiled, Index, Leaf
from segments.state import KNOWN_BYTES, KNOWN_HASH_BYTES, ContactState
from segments.trait_leaves import TraitLeaf, UnchangedFor

# what a leaf's share of one event takes at most, properties that it keeps aside
_LEAF_BYTES = 40
# characters of an event's name that a transition quotes, and of an id that it carries at all
CAUSE_TEXT_MAX = 1_024
# what leaves keep when all that they kept has expired
_EMPTY: tuple[list[Any], ...] = ([], [0, []])


class Step(NamedTuple):
    """What an event did: the state (the one given, changed, or a new one), its transitions in order, and two marks.

    `duplicate`: its `messageId` was known and nothing changed. `late`: it happened before the contact's clock.
    """

    state: ContactState | None
    transitions: list[Transition]
    duplicate: bool = False
    late: bool = False


class _Work:
    """One step at one instant: which segments are to be asked again, and what to say if they changed."""

    __slots__ = ("affected", "cause", "event", "now_ms", "out")

    def __init__(self, now_ms: int, cause: Cause, event: Event | None, out: list[Transition]) -> None:
        self.now_ms = now_ms
        self.cause: Cause = cause
        self.event = event
        self.out = out
        self.affected: list[int] = []  # a heap, repeats allowed: each segment is asked after those that it names

    def ask(self, indexes: list[int]) -> None:
        """Have these asked again; `indexes` ascend, so they are a heap by themselves."""
        if self.affected:
            for index in indexes:
                heapq.heappush(self.affected, index)
        else:
            self.affected.extend(indexes)


class Program(Index):
    """A compiled program with the verbs: `apply` an event, `advance` time, `change_over` to these definitions."""

    def encode(self, state: ContactState) -> bytes:
        """The state's record (`segments.state`)."""
        return codec.encode(state)

    def decode(self, contact: str, record: bytes) -> ContactState:
        """The state of `contact` in a record; raises `StateError`."""
        return codec.decode(contact, record)

    def apply(self, state: ContactState | None, event: Event, arrived_ms: int, received_ms: int) -> Step:
        """Play what was due before `event`, then the event.

        `arrived_ms` is when it counts as having arrived, `received_ms` what stands in for a missing timestamp; outside
        a service both are its `receivedAt`. `state` is None for a contact that isn't known; it is changed in place.
        """
        limits = self.limits
        r_ms = arrived_ms if state is None or state.arrived_ms <= arrived_ms else state.arrived_ms
        digest = None
        if event.message_id is not None:
            digest = hashlib.blake2b(event.message_id.encode(), digest_size=KNOWN_HASH_BYTES).digest()
            if state is not None and state.known and state.knows(digest, r_ms - limits.dedup_horizon_ms):
                return Step(state, [], duplicate=True)
        t_ms = event.occurred_at_ms
        if t_ms is None or t_ms > received_ms + limits.future_ms:
            t_ms = received_ms if state is None or state.arrived_ms <= received_ms else state.arrived_ms
        out: list[Transition] = []
        new = state is None
        if state is None:
            state = ContactState(event.contact, self.revision)
            state.first_ms = t_ms
        else:
            assert state.program_revision == self.revision, "changed over first"
            if state.due_ms is not None:
                self._play(state, max(t_ms - 1, r_ms - limits.grace_ms), out)
            if t_ms < state.first_ms:
                state.first_ms = t_ms
        late = t_ms < state.clock_ms
        if not late:
            state.clock_ms = t_ms
        if r_ms - limits.grace_ms > state.clock_ms:
            state.clock_ms = r_ms - limits.grace_ms
        state.arrived_ms = r_ms
        state.revision += 1
        if digest is not None:
            state.learn(digest, r_ms, r_ms - limits.dedup_horizon_ms)
        work = _Work(state.clock_ms, "import" if event.context.get("import") is True else "event", event, out)
        if new:
            work.ask(self.at_once)
        self._take(state, event, t_ms, work)
        if state.due_ms is not None and state.due_ms <= state.clock_ms:
            self._read_due(state, work)
        if work.affected:
            self._settle(state, work)
        state.find_due()
        state.bytes_estimated += encoded_bytes_max(event)
        if state.bytes_estimated > limits.state_bytes:
            self._bound(state, work)
        return Step(state, out, late=late)

    def advance(self, state: ContactState, until_ms: int) -> list[Transition]:
        """Play the due instants up to and including `until_ms`, each transition with its instant and cause `timer`."""
        assert state.program_revision == self.revision, "changed over first"
        out: list[Transition] = []
        self._play(state, until_ms, out)
        if out:
            state.revision += 1
        return out

    def _play(self, state: ContactState, until_ms: int, out: list[Transition]) -> None:
        while state.due_ms is not None and state.due_ms <= until_ms:
            work = _Work(state.due_ms, "timer", None, out)
            state.clock_ms = max(state.clock_ms, state.due_ms)
            self._read_due(state, work)
            self._settle(state, work)
            state.find_due()

    def _read_due(self, state: ContactState, work: _Work) -> None:
        """Ask again what is due by now: leaves, and segments whose hold ends."""
        due = [key for key, due_ms in state.dues.items() if due_ms <= work.now_ms]
        for key in due:
            leaf = self.leaves.get(key)
            if leaf is not None:
                self._read(state, leaf, work)
                if state.kept.get(key) in _EMPTY:
                    del state.kept[key]
            elif key in self.held:
                work.ask([self.held[key]])
            else:
                state.set_due(key, None)
        state.due_stale = True

    # ---- what an event brings ---------------------------------------------------------------------------------------

    def _take(self, state: ContactState, event: Event, t_ms: int, work: _Work) -> None:
        if event.traits is not None:
            for trait in self._merge(state, event.traits, t_ms):
                self._read(state, trait, work)
                if isinstance(trait, UnchangedFor):
                    state.bytes_estimated += encoded_bytes_max(event)
        if event.name is None:
            return
        seen, kept, dues, true = (event.properties, event.context), state.kept, state.dues, state.true
        leaves = self.by_name.get(event.name) or self.leaves_of_event(event.name)
        state.bytes_estimated += _LEAF_BYTES * len(leaves)
        for leaf in leaves:
            if leaf.where is not None and not leaf.where(seen, 0):
                continue
            key = leaf.key
            taken = leaf.take(kept.get(key), event, t_ms, state)
            if taken is None:
                continue
            kept[key], answer, due_ms = taken
            if dues.get(key) != due_ms:
                state.set_due(key, due_ms)
            if answer is not (key in true):
                self._flip(state, key, answer, work)

    def _merge(self, state: ContactState, written: dict[str, Any], t_ms: int) -> list[TraitLeaf]:
        """Merge traits, last write by event time; the leaves that may answer otherwise now, each once."""
        touched: dict[int, TraitLeaf] = {}
        traits = state.traits
        for key, value in written.items():
            if value == "":
                value = None
            entry = traits.pop(key, None)  # put back at the end: the trait seen longest ago comes first
            wins = entry is None or t_ms >= entry[1]
            changes = wins and (
                value is not None if entry is None else value != entry[0] or type(value) is not type(entry[0])
            )
            traits[key] = [value, t_ms] if wins or entry is None else entry
            for leaf in self.by_trait.get(key, ()):
                if isinstance(leaf, UnchangedFor):
                    state.kept[leaf.key] = leaf.write(state.kept.get(leaf.key), key, value, t_ms, state)
                    touched[leaf.key] = leaf
                elif changes:
                    touched[leaf.key] = leaf
            state.traits_changed |= changes
        while len(traits) > self.limits.traits:
            self._drop_trait(state, touched)
        return list(touched.values())

    def _drop_trait(self, state: ContactState, touched: dict[int, TraitLeaf]) -> None:
        key = next(iter(state.traits))
        del state.traits[key]
        state.limits_passed += 1
        state.traits_changed = True
        for leaf in self.by_trait.get(key, ()):
            if isinstance(leaf, UnchangedFor):
                state.kept.pop(leaf.key, None)
            touched[leaf.key] = leaf

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _read(self, state: ContactState, leaf: Leaf, work: _Work) -> None:
        """Ask a leaf again."""
        kept = state.kept.get(leaf.key)
        if isinstance(leaf, EventLeaf):
            answer, due_ms = leaf.read(kept, work.now_ms)
        else:
            answer, due_ms = leaf.read(kept, state.traits, work.now_ms)
        self._note(state, leaf.key, answer, due_ms, work)

    def _note(self, state: ContactState, key: int, answer: bool, due_ms: int | None, work: _Work) -> None:
        """Take a leaf's answer; where it flipped, the trees above it are to be asked."""
        if state.dues.get(key) != due_ms:
            state.set_due(key, due_ms)
        if answer is not (key in state.true):
            self._flip(state, key, answer, work)

    def _flip(self, state: ContactState, key: int, answer: bool, work: _Work) -> None:
        """Note the other answer of a leaf, or of a segment that others name; the trees above it are to be asked."""
        if answer:
            state.true.add(key)
        else:
            state.true.discard(key)
        work.ask(self.above[key])

    def _settle(self, state: ContactState, work: _Work) -> None:
        """Ask the affected segments, each after those it names, and put out what changed."""
        affected = work.affected
        while affected:
            index = heapq.heappop(affected)
            while affected and affected[0] == index:
                heapq.heappop(affected)
            segment = self.segments[index]
            answer = segment.tree(state.true)
            if answer is _is_member(state, segment.id):
                if segment.holds and state.pending.pop(segment.id, None) is not None:
                    state.set_due(segment.hold_key, None)
            elif not segment.holds or self._held(state, segment, answer, work.now_ms):
                self._change(state, segment, work)

    def _held(self, state: ContactState, segment: Compiled, answer: bool, now_ms: int) -> bool:
        """Whether the answer has been given for as long as `hold` says; if not, when it will have been is noted."""
        since_ms = state.pending.setdefault(segment.id, now_ms)
        due_ms = since_ms + (segment.enter_ms if answer else segment.leave_ms)
        if due_ms > now_ms:
            state.set_due(segment.hold_key, due_ms)
            return False
        del state.pending[segment.id]
        state.set_due(segment.hold_key, None)
        return True

    def _change(self, state: ContactState, segment: Compiled, work: _Work) -> None:
        seq = _count_up(state, segment.id, work.now_ms)
        event = _cause_event(work.event) if work.event is not None else None
        work.out.append(Transition(segment.id, segment.version, state.contact, seq, work.now_ms, work.cause, event))
        if segment.key in self.named:
            self._flip(state, segment.key, seq & 1 == 1, work)

    # ---- other definitions ------------------------------------------------------------------------------------------

    def change_over(self, state: ContactState, until_ms: int) -> list[Transition]:
        """Take a state written under other definitions over to these, as of `until_ms`: net transitions, at the clock.

        The clock becomes at least `until_ms`, the instant at which these definitions take effect: what was due before it
        has been played under the old ones. What the new leaves ask of events counts from now on. A segment entered for
        the first time under version 1 has cause `backfill`, all others `edit`. A hold that runs goes on; else answers
        take effect at once. A state of these definitions is left as it is.
        """
        if state.program_revision == self.revision:
            return []
        state.program_revision = self.revision
        state.revision += 1
        now_ms = state.clock_ms = max(state.clock_ms, until_ms)
        state.kept = {key: kept for key, kept in state.kept.items() if key in self.leaves}
        state.true = {segment.key for segment in self.segments if _is_member(state, segment.id)} & self.named
        state.dues = {}
        state.due_ms = None
        out: list[Transition] = []
        self._remove(state, now_ms, out)
        work = _Work(now_ms, "edit", None, out)
        seeded = False
        for leaf in self.trait_leaves:
            seeded = self._seed(state, leaf) or seeded
            self._read(state, leaf, work)
        for key in list(state.kept):
            leaf_of_key = self.leaves[key]
            if isinstance(leaf_of_key, EventLeaf):
                self._read(state, leaf_of_key, work)
        for segment in self.segments:
            self._change_segment(state, segment, work)
        work.affected.clear()
        state.find_due()
        if seeded:
            self._bound(state, work)
        return out

    def _remove(self, state: ContactState, now_ms: int, out: list[Transition]) -> None:
        """Members of segments that are no more leave them; the last `seq` stays."""
        for id in [id for id, member in state.members.items() if id not in self.by_id and member[0] & 1]:
            seq = _count_up(state, id, now_ms)
            out.append(Transition(id, 0, state.contact, seq, now_ms, "edit"))
        state.pending = {id: since_ms for id, since_ms in state.pending.items() if id in self.by_id}

    def _seed(self, state: ContactState, leaf: TraitLeaf) -> bool:
        """A new `unchanged_for` knows the last write of each trait, and nothing before; whether it took any in."""
        if not isinstance(leaf, UnchangedFor) or leaf.key in state.kept:
            return False
        for key, _ in leaf.ways:
            if key in state.traits:
                value, at_ms = state.traits[key]
                state.kept[leaf.key] = leaf.write(state.kept.get(leaf.key), key, value, at_ms, state)
        return leaf.key in state.kept

    def _change_segment(self, state: ContactState, segment: Compiled, work: _Work) -> None:
        answer = segment.tree(state.true)
        if answer is _is_member(state, segment.id):
            state.pending.pop(segment.id, None)
            return
        if segment.id in state.pending and not self._held(state, segment, answer, work.now_ms):
            return
        work.cause = "backfill" if segment.version == 1 and segment.id not in state.members else "edit"
        self._change(state, segment, work)

    # ---- bounds -----------------------------------------------------------------------------------------------------

    def _bound(self, state: ContactState, work: _Work) -> None:
        """Keep the record within its limit: the oldest kept events go first, then known messages, then traits.

        The estimate counts every event at the most that it can take; the record is measured when that passes the limit,
        and brought down to three quarters of it where it is really over, so that a contact at its limit isn't cut at
        every event.
        """
        limit = self.limits.state_bytes
        goal = limit * 3 // 4
        if len(codec.encode(state)) <= limit:
            return
        touched: dict[int, Leaf] = {}
        while len(codec.encode(state)) > goal and (before_ms := _middle_ms(state)) is not None:
            for key, kept in list(state.kept.items()):
                leaf = self.leaves[key]
                state.kept[key] = leaf.shed(kept, before_ms)
                if state.kept[key] in _EMPTY:
                    del state.kept[key]
                touched[key] = leaf
            state.limits_passed += 1
        if len(codec.encode(state)) > goal and state.known:
            half = len(state.known) // KNOWN_BYTES // 2 * KNOWN_BYTES
            state.known = state.known[half:]
            state.limits_passed += 1
        while len(codec.encode(state)) > limit and state.traits:
            dropped: dict[int, TraitLeaf] = {}
            self._drop_trait(state, dropped)
            touched.update(dropped)
        for leaf in touched.values():
            self._read(state, leaf, work)
        self._settle(state, work)
        state.find_due()
        codec.encode(state)  # the estimate starts anew from what it really is


def _middle_ms(state: ContactState) -> int | None:
    """The median time of what is kept one by one over all leaves, None where nothing is; shedding up to it leaves less."""
    times: list[int] = []
    for kept in state.kept.values():
        if type(kept) is not list:
            continue
        summed = len(kept) == 2 and type(kept[0]) is not list and type(kept[1]) is list
        entries = kept[1] if summed else kept
        times.extend(entry if type(entry) is int else entry[0] for entry in entries)
    times.sort()
    return times[len(times) // 2] if times else None


def _is_member(state: ContactState, segment: str) -> bool:
    member = state.members.get(segment)
    return member is not None and member[0] & 1 == 1


def _count_up(state: ContactState, segment: str, at_ms: int) -> int:
    """The next `seq` of a membership, noted with its instant."""
    member = state.members.get(segment)
    seq = 1 if member is None else member[0] + 1
    state.members[segment] = [seq, at_ms]
    return seq


def _cause_event(event: Event) -> CauseEvent:
    """What a transition says of its event: properties over 16 KiB are left out and marked so, as are ids over 1,024."""
    message_id = event.message_id
    if message_id is not None and len(message_id) > CAUSE_TEXT_MAX:
        message_id = None
    if event.name is None:
        return CauseEvent(message_id=message_id)
    cut = event.size > CAUSE_PROPERTIES_BYTES_MAX and len(orjson.dumps(event.properties)) > CAUSE_PROPERTIES_BYTES_MAX
    return CauseEvent(event.name[:CAUSE_TEXT_MAX], message_id, None if cut else event.properties, cut)
