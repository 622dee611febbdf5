"""The worker on a log in memory: arrival, timers, rejections, definitions, checkpoints, take-over, failure."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import Any

import orjson
import pytest
from memory_log import Fault, FencedError, LogError, MemoryBroker, MemoryLog, VirtualClock

from actions import Rules, compile_rules, load_rules
from schemas.topics import partition_of
from segments import Limits, compile_program, load
from streams.checkpoint import META_KEY, UnknownFormatError, read_meta
from streams.committed import StateError
from streams.inbox import LostEventsError
from streams.log import Outgoing
from streams.metrics import Metrics
from streams.partition import Rates
from streams.plan import Plan
from streams.showing import show
from streams.worker import Pace, Worker

START_MS = 1_767_225_600_000
TOPICS = ("one", "two")
GRACE_MS, SLACK_MS = 2_000, 500
SEGMENTS = """
segments:
  - {id: a-lately, when: {event: A, within: 10s}}
  - {id: pro, when: {trait: plan, eq: pro}}
"""
EVERYONE = "segments: [{id: all, when: {everyone: true}}]"
NOBODY = "rules: []"
RULE = 'rules: [{id: r, on: {segment: a-lately}, channel: webhook, target: "https://shop.example/", secret: S}]'


def plan_of(text: str, revision: int, **given: int) -> Plan:
    limits = Limits(grace_ms=GRACE_MS, **given)
    return Plan(compile_program(load(text, "test"), limits=limits, revision=revision), Rules(), revision)


@dataclasses.dataclass
class Plans:
    """A plan that tests replace."""

    current: Plan
    older: list[Plan] = dataclasses.field(default_factory=list)

    async def of(self, revision: int) -> Plan:
        """That of the revision; the test has to have it by now, and has the older ones where it needs them."""
        assert self.current.revision >= revision
        return next((plan for plan in self.older if plan.revision == revision), self.current)


class Bench:
    """One partition, one worker at a time."""

    def __init__(self, *, arrival: bool = False, text: str = SEGMENTS) -> None:
        self.clock = VirtualClock(START_MS)
        self.broker = MemoryBroker(self.clock, TOPICS)
        self.plans = Plans(plan_of(text, 1))
        self.rates = Rates(arrival, GRACE_MS, SLACK_MS, 1)
        self.fault: Fault = lambda what, partition: None
        self.worker = self.new_worker()

    def new_worker(self, **changes: Any) -> Worker:
        log = MemoryLog(self.broker, lambda what, partition: self.fault(what, partition), fetch_max=1_000)
        rates = dataclasses.replace(self.rates, **changes)
        return Worker(log, self.plans, self.clock, TOPICS, rates, Pace(), Metrics())

    def publish(self, topic: str = "one", contact: str = "c", **fields: Any) -> None:
        """An event; with `key` or `value` as they are given."""
        event = {"type": "track", "event": "A", "userId": contact, "timestamp": self.clock.now_ms()} | fields
        self.broker.publish(topic, 0, contact.encode(), orjson.dumps(event))

    async def apply(self) -> None:
        """Reads and applies what there is."""
        await self.worker.feed()
        while self.worker.turn():
            pass

    async def commit(self) -> None:
        """Reads, applies and commits what there is."""
        await self.apply()
        for partition in self.worker.partitions.values():
            if partition.overlay.events:
                await self.worker.checkpoint(partition)

    async def restart(self) -> None:
        """The worker is gone without a word; another one takes over."""
        self.worker = self.new_worker()
        await self.worker.take_over({0})

    def transitions(self) -> list[tuple[str, str, str, str]]:
        """Contact, segment, transition, cause of what is committed."""
        found = [orjson.loads(each.value or b"") for each in self.broker.committed("transitions", 0)]
        return [(each["contact"], each["segment"], each["transition"], each["cause"]) for each in found]


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.worker.take_over({0})
    return made


# ---- what a checkpoint holds ------------------------------------------------------------------------------------------


async def test_one_checkpoint_holds_everything_that_a_step_brings(bench: Bench) -> None:
    bench.publish(traits={"plan": "pro"}, type="identify")
    bench.publish()
    await bench.commit()
    assert bench.transitions() == [("c", "pro", "entered", "event"), ("c", "a-lately", "entered", "event")]
    (contact,) = bench.broker.committed("contacts", 0)
    assert orjson.loads(contact.value or b"")["traits"] == {"plan": "pro"}
    members = {each.key: orjson.loads(each.value or b"") for each in bench.broker.committed("memberships", 0)}
    assert {key: each["member"] for key, each in members.items()} == {b'["c","pro"]': True, b'["c","a-lately"]': True}
    keys = [each.key for each in bench.broker.committed("state", 0)]
    assert keys == [b"c", META_KEY]
    assert bench.broker.offsets == {("one", 0): 2, ("two", 0): 0}


async def test_compacted_topics_get_the_last_record_of_a_key_only(bench: Bench) -> None:
    for plan in ("pro", "free", "pro", "free"):
        bench.publish(traits={"plan": plan}, type="identify")
    await bench.commit()
    assert [each[2] for each in bench.transitions()] == ["entered", "left", "entered", "left"]
    (membership,) = bench.broker.committed("memberships", 0)
    assert orjson.loads(membership.value or b"")["member"] is False
    assert len(bench.broker.committed("contacts", 0)) == 1


async def test_a_contact_record_is_written_when_traits_change_and_not_otherwise(bench: Bench) -> None:
    bench.publish(traits={"plan": "pro"}, type="identify")
    await bench.commit()
    bench.publish()
    await bench.commit()
    assert len(bench.broker.committed("contacts", 0)) == 1


async def test_the_record_of_a_contact_that_something_is_sent_to_goes_along_with_the_delivery() -> None:
    """A dispatcher waits for a read model with the delivery's revision: a contact that stays as it is would never have it."""
    bench = Bench()
    rule = load_rules(RULE)[0]
    rules = compile_rules([rule], {rule.id: START_MS - 1}, {rule.id: 1})
    bench.plans.current = dataclasses.replace(bench.plans.current, rules=rules)
    await bench.worker.take_over({0})
    bench.publish(traits={"email": "c@home.example"}, type="identify")
    await bench.commit()
    bench.publish()
    await bench.commit()
    (delivery,) = bench.broker.committed("deliveries", 0)
    revisions = [orjson.loads(each.value or b"")["revision"] for each in bench.broker.committed("contacts", 0)]
    assert revisions == [1, orjson.loads(delivery.value or b"")["revision"]] == [1, 2]


async def test_group_offsets_go_along_once_a_second(bench: Bench) -> None:
    for _ in range(3):
        bench.publish()
        await bench.commit()
    assert bench.broker.offsets["one", 0] == 1
    bench.clock.at_ms += 1_000
    bench.publish()
    await bench.commit()
    assert bench.broker.offsets["one", 0] == 4


async def test_a_large_overlay_is_encoded_in_pieces_and_no_turn_is_taken_meanwhile(bench: Bench) -> None:
    for number in range(200):
        bench.publish(contact=f"c{number}")
    await bench.apply()
    partition = bench.worker.partitions[0]
    freezing = partition.freeze()
    assert not freezing.encode(bench.clock, bench.clock.spent_ms() - 1)
    assert partition.full()
    pieces = 1
    while not freezing.encode(bench.clock, bench.clock.spent_ms() - 1):
        pieces += 1
    assert 5 <= pieces <= 30
    assert len(freezing.frozen().states) == 200
    partition.thaw()
    assert not partition.full()


async def test_what_is_applied_during_a_checkpoint_is_in_the_next_one(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    running = asyncio.ensure_future(bench.worker.checkpoint(bench.worker.partitions[0]))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    bench.publish(contact="d")
    await bench.apply()
    await running
    assert {each[0] for each in bench.transitions()} == {"c"}
    await bench.commit()
    assert {each[0] for each in bench.transitions()} == {"c", "d"}


# ---- failure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["begin", "send", "acknowledge", "commit"])
async def test_a_checkpoint_that_fails_leaves_nothing_and_ends_the_worker(bench: Bench, what: str) -> None:
    bench.publish()
    await bench.apply()
    bench.fault = lambda doing, partition: LogError("injected") if doing == what else None
    with pytest.raises(LogError, match="injected"):
        await bench.worker.checkpoint(bench.worker.partitions[0])
    bench.fault = lambda doing, partition: None
    bench.publish()
    await bench.apply()
    with pytest.raises(LogError, match="start it again"):
        await bench.worker.checkpoint(bench.worker.partitions[0])
    await bench.worker.release(1.0)
    assert bench.broker.committed("state", 0) == []
    await bench.restart()
    await bench.commit()
    assert bench.transitions() == [("c", "a-lately", "entered", "event")]


async def test_what_a_failed_checkpoint_told_comes_again_with_the_same_id(bench: Bench) -> None:
    """Whoever reads uncommitted sees it twice, and can tell."""
    bench.publish()
    await bench.apply()
    bench.fault = lambda doing, partition: LogError("injected") if doing == "commit" else None
    with pytest.raises(LogError):
        await bench.worker.checkpoint(bench.worker.partitions[0])
    bench.fault = lambda doing, partition: None
    bench.clock.at_ms += 1_000
    await bench.restart()
    await bench.commit()
    written = [each for each in bench.broker.written["transitions", 0] if each.record is not None]
    assert [each.state for each in written] == ["aborted", "committed"]
    assert len({orjson.loads(each.record.value or b"")["id"] for each in written if each.record is not None}) == 1


async def test_a_commit_whose_answer_is_lost_is_found_by_the_next_owner(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    bench.fault = lambda doing, partition: LogError("injected") if doing == "answer" else None
    with pytest.raises(LogError):
        await bench.worker.checkpoint(bench.worker.partitions[0])
    bench.fault = lambda doing, partition: None
    await bench.restart()
    await bench.commit()
    assert bench.transitions() == [("c", "a-lately", "entered", "event")]


async def test_who_has_lost_the_partition_cannot_commit(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    old = bench.worker
    await bench.restart()
    with pytest.raises(FencedError):
        await old.checkpoint(old.partitions[0])
    await bench.commit()
    assert bench.transitions() == [("c", "a-lately", "entered", "event")]


async def test_who_is_fenced_has_nothing_to_give_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's client would take that for a slip of ours, and the log would have a warning that means nothing."""
    bench.publish()
    await bench.apply()
    bench.fault = lambda doing, partition: FencedError("injected") if doing == "commit" else None
    aborted: list[None] = []

    async def abort() -> None:
        aborted.append(None)

    claim = bench.worker.partitions[0].claim
    monkeypatch.setattr(claim, "abort", abort)
    with pytest.raises(FencedError):
        await bench.worker.checkpoint(bench.worker.partitions[0])

    assert [] == aborted


async def test_release_makes_a_last_checkpoint_with_offsets_and_lets_go(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.publish()
    await bench.apply()
    claim: Any = bench.worker.partitions[0].claim
    await bench.worker.release(1.0)
    assert bench.broker.offsets["one", 0] == 2
    assert claim.closed
    assert not bench.worker.partitions


async def test_release_is_bounded_when_the_log_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.publish()
    await bench.apply()
    claim: Any = bench.worker.partitions[0].claim

    async def hang(_topics: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(claim, "begin", hang)
    async with asyncio.timeout(5):
        await bench.worker.release(0.05)
    with pytest.raises(LogError):
        await bench.worker.take_over({0})


# ---- take-over --------------------------------------------------------------------------------------------------------


async def test_a_kept_partition_reads_the_tail_of_its_state_only(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    starts: list[int] = []
    read: Any = bench.worker.log.read_state

    def noted(asked: dict[int, int]) -> Any:
        starts.append(asked[0])
        return read(asked)

    bench.worker.log.read_state = noted  # type: ignore[method-assign]
    await bench.worker.release(1.0)
    await bench.worker.take_over({0})
    assert starts[0] >= len(bench.broker.written["state", 0]) - 1
    assert set(bench.worker.partitions[0].committed.states) == {b"c"}


async def test_state_without_a_meta_record_is_an_error(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.broker.written["state", 0] = [
        each for each in bench.broker.written["state", 0] if each.record is None or each.record.key != META_KEY
    ]
    with pytest.raises(StateError, match="expected a meta record beside 1 state records"):
        await bench.restart()


async def test_a_position_that_retention_has_passed_is_an_error(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    for _ in range(3):
        bench.publish()
    bench.broker.deleted_before["one", 0] = 3
    with pytest.raises(StateError, match="retention has removed 2 records"):
        await bench.restart()


async def test_so_is_one_that_retention_passes_while_the_worker_runs(bench: Bench) -> None:
    for _ in range(3):
        bench.publish()
    bench.broker.deleted_before["one", 0] = 2
    with pytest.raises(LostEventsError):
        await bench.worker.feed()


async def test_a_position_beyond_the_end_is_an_error(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.broker.events["one", 0].clear()
    with pytest.raises(StateError, match="made anew"):
        await bench.restart()


async def test_a_new_partition_begins_at_what_the_log_still_has() -> None:
    bench = Bench()
    bench.publish()
    bench.publish(contact="d")
    bench.broker.deleted_before["one", 0] = 1
    await bench.worker.take_over({0})
    await bench.commit()
    assert {each[0] for each in bench.transitions()} == {"d"}


async def test_a_take_over_that_fails_lets_go_of_its_claims(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.broker.deleted_before["one", 0] = 9
    bench.worker = bench.new_worker()
    with pytest.raises(StateError):
        await bench.worker.take_over({0})
    assert bench.broker.claims[0].closed


def test_a_meta_record_of_a_later_version_is_refused() -> None:
    with pytest.raises(UnknownFormatError, match="format 1, got 2"):
        read_meta(b'{"format":2,"arrival_ms":0,"revision":0,"topics":{}}')


# ---- what can't be taken ----------------------------------------------------------------------------------------------


async def test_a_rejected_record_is_committed_with_the_batch_and_the_rest_is_unharmed(bench: Bench) -> None:
    bench.publish()
    bench.broker.publish("one", 0, b"c", b"{nope")
    bench.broker.publish("one", 0, b"c", None)
    bench.broker.publish("one", 0, None, orjson.dumps({"type": "track", "event": "A", "userId": "d"}))
    bench.broker.publish("one", 0, b"other", orjson.dumps({"type": "track", "event": "A", "userId": "d"}))
    bench.broker.publish("one", 0, b"c", orjson.dumps({"type": "track", "event": "A", "userId": "d"}))
    bench.broker.publish("one", 0, b"d", orjson.dumps({"type": "tick", "receivedAt": START_MS}))
    bench.publish(contact="e")
    await bench.commit()
    assert {each[0] for each in bench.transitions()} == {"c", "e"}
    rejected = bench.broker.committed("rejected", 0)
    reasons = [dict(each.headers or [])["reason"] for each in rejected]
    assert reasons == [b"not_json", b"not_json", b"no_key", b"wrong_key", b"wrong_key", b"tick"]
    assert rejected[0] == Outgoing(b"c", b"{nope", rejected[0].headers)
    assert dict(rejected[0].headers or [])["offset"] == b"1"


async def test_a_key_on_another_partition_than_its_own_is_rejected() -> None:
    bench = Bench()
    bench.worker = bench.new_worker(partitions=2)
    astray = next(name for name in map(str, range(99)) if partition_of(name.encode(), 2) == 1)
    bench.publish(contact=astray)
    await bench.worker.take_over({0})
    await bench.commit()
    (rejected,) = bench.broker.committed("rejected", 0)
    assert b"murmur2_random" in dict(rejected.headers or [])["sentence"]


# ---- time -------------------------------------------------------------------------------------------------------------


async def test_time_alone_is_played_once_arrival_time_has_passed_grace_and_slack(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    due_ms = START_MS + 10_000
    bench.clock.at_ms = due_ms + GRACE_MS + SLACK_MS - 1
    await bench.commit()
    assert len(bench.transitions()) == 1
    bench.clock.at_ms += 1
    await bench.commit()
    assert bench.transitions()[1:] == [("c", "a-lately", "left", "timer")]
    last = orjson.loads(bench.broker.committed("transitions", 0)[-1].value or b"")
    assert last["at"] == "2026-01-01T00:00:10.000Z"


async def test_timers_are_found_again_from_the_state_alone(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    await bench.restart()
    bench.clock.at_ms += 20_000
    await bench.commit()
    assert bench.transitions()[1:] == [("c", "a-lately", "left", "timer")]


async def test_time_stands_still_while_something_is_left_to_read(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.clock.at_ms += 20_000
    bench.publish(contact="d")  # not fetched yet, and the last fetch is stale
    bench.worker.turn()
    assert not bench.worker.partitions[0].overlay.events
    await bench.commit()
    assert ("c", "a-lately", "left", "timer") in bench.transitions()


async def test_an_event_that_was_long_under_way_arrives_when_it_was_put_in_the_log(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.clock.at_ms += 4_900
    await bench.commit()  # time is played up to 4.4 s
    bench.clock.at_ms += 100
    bench.publish(receivedAt=START_MS + 1_000)
    await bench.commit()
    state = bench.worker.partitions[0].contacts.states[b"c"]
    assert state.arrived_ms == START_MS + 5_000


async def test_an_event_read_after_time_was_played_past_it_arrives_when_it_is_read(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.clock.at_ms += 30_000
    await bench.commit()  # arrival time is now 29.5 s
    at_ms = bench.clock.at_ms
    bench.clock.at_ms = START_MS + 20_000
    bench.publish()
    bench.clock.at_ms = at_ms
    await bench.commit()
    state = bench.worker.partitions[0].contacts.states[b"c"]
    assert state.arrived_ms == at_ms
    assert bench.worker.metrics.events_late_read.value == 1


async def test_with_the_arrival_clock_time_stands_still_and_ticks_move_it() -> None:
    bench = Bench(arrival=True)
    await bench.worker.take_over({0})
    bench.publish(receivedAt=START_MS)
    bench.broker.publish("two", 0, None, orjson.dumps({"type": "tick", "receivedAt": START_MS}))
    await bench.commit()
    bench.clock.at_ms += 100_000
    await bench.commit()
    assert len(bench.transitions()) == 1
    for topic in TOPICS:
        tick = {"type": "tick", "receivedAt": START_MS + 10_000 + GRACE_MS}
        bench.broker.publish(topic, 0, None, orjson.dumps(tick))
    await bench.commit()
    assert bench.transitions()[1:] == [("c", "a-lately", "left", "timer")]


async def test_arrival_time_never_falls_over_a_restart(bench: Bench) -> None:
    bench.publish()
    bench.clock.at_ms += 60_000
    await bench.commit()
    bench.publish(contact="d")
    await bench.commit()
    before_ms = bench.worker.partitions[0].arrival_ms
    await bench.restart()
    assert bench.worker.partitions[0].arrival_ms == before_ms > START_MS


async def test_a_crowd_of_timers_shares_the_turn_with_events(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        bench.publish(contact=f"c{number}")
    await bench.commit()
    bench.clock.at_ms += 60_000
    bench.publish(contact="new")
    await bench.worker.feed()
    spent = iter(range(10**9))
    monkeypatch.setattr(bench.clock, "spent_ms", lambda: float(next(spent)))
    assert bench.worker.turn()
    partition = bench.worker.partitions[0]
    assert b"new" in partition.overlay.dirty
    assert len(partition.overlay.dirty) < 20


# ---- definitions ------------------------------------------------------------------------------------------------------


async def test_newer_definitions_reach_every_contact_without_an_event_of_theirs(bench: Bench) -> None:
    for number in range(5):
        bench.publish(contact=f"c{number}")
    await bench.commit()
    bench.plans.current = plan_of(EVERYONE, 2)
    await bench.commit()
    told = [each[1:] for each in bench.transitions()[5:]]
    assert sorted(told) == [("a-lately", "left", "edit")] * 5 + [("all", "entered", "backfill")] * 5
    assert bench.worker.partitions[0].to_change == 0
    meta = bench.worker.partitions[0].committed.meta
    assert meta is not None
    assert meta.revision == 2


async def test_they_come_into_force_only_when_all_before_them_is_committed(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    bench.plans.current = plan_of(EVERYONE, 2)
    bench.publish(contact="d")
    await bench.apply()
    partition = bench.worker.partitions[0]
    assert partition.plan.revision == 1
    assert b"d" not in partition.overlay.dirty
    await bench.worker.checkpoint(partition)
    await bench.commit()
    assert partition.plan.revision == 2
    assert ("d", "all", "entered", "event") in bench.transitions() or (
        "d",
        "all",
        "entered",
        "backfill",
    ) in bench.transitions()


async def test_a_change_over_that_was_cut_short_is_finished_by_the_next_owner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        bench.publish(contact=f"c{number}")
    await bench.commit()
    bench.plans.current = plan_of(EVERYONE, 2)
    with monkeypatch.context() as patch:
        spent = iter(range(10**9))
        patch.setattr(bench.clock, "spent_ms", lambda: float(next(spent)))
        bench.worker.turn()
    assert 0 < bench.worker.partitions[0].to_change < 50
    await bench.worker.checkpoint(bench.worker.partitions[0])
    await bench.restart()
    await bench.commit()
    entered = [each[0] for each in bench.transitions() if each[1:3] == ("all", "entered")]
    assert sorted(entered) == sorted(f"c{number}" for number in range(50))


HELD = "segments: [{id: b, when: {event: B}}, {id: s, when: {event: %s}, hold: {enter: 1h}}]"


@pytest.mark.parametrize("restart", ["never", "before they are taken up", "when some are taken over"])
async def test_contacts_are_taken_over_by_what_differs_whoever_was_there_before(
    monkeypatch: pytest.MonkeyPatch, restart: str
) -> None:
    """A worker that started later held everything for unchanged: an hour's hold went on under the other condition."""
    bench = Bench(text=HELD % "A")
    await bench.worker.take_over({0})
    for number in range(4):
        bench.publish(contact=f"c{number}")
        bench.publish(contact=f"c{number}", event="B")
    await bench.commit()
    bench.clock.at_ms += 1_800_000
    await bench.commit()
    bench.plans.older = [bench.plans.current]
    bench.plans.current = plan_of(HELD % "B", 2)
    if restart == "before they are taken up":
        await bench.restart()
    elif restart == "when some are taken over":
        ticking = itertools.count()
        with monkeypatch.context() as patch:
            patch.setattr(bench.clock, "spent_ms", lambda: next(ticking) * 10.0)
            await bench.worker.feed()
            assert bench.worker.turn()
            assert 0 < bench.worker.partitions[0].to_change < 4
            await bench.worker.checkpoint(bench.worker.partitions[0])
        bench.plans.current = plan_of(HELD % "B", 2)
        await bench.restart()
    await bench.commit()
    told = [each for each in bench.transitions() if each[1] == "s"]
    assert sorted(told) == [(f"c{number}", "s", "entered", "edit") for number in range(4)]


async def test_without_any_definitions_contacts_are_kept() -> None:
    bench = Bench(text=NOBODY)
    await bench.worker.take_over({0})
    bench.publish()
    await bench.commit()
    assert bench.transitions() == []
    assert [each.key for each in bench.broker.committed("state", 0)] == [b"c", META_KEY]


# ---- bounds and pace --------------------------------------------------------------------------------------------------


async def test_nothing_more_is_applied_while_too_much_is_uncommitted() -> None:
    bench = Bench()
    bench.worker = bench.new_worker(checkpoint_events=10)
    await bench.worker.take_over({0})
    for number in range(100):
        bench.publish(contact=f"c{number}")
    await bench.worker.feed()
    while bench.worker.turn():
        pass
    assert bench.worker.partitions[0].overlay.events <= 40 + bench.rates.chunk_events
    assert not bench.worker.ready()


async def test_a_checkpoint_comes_soon_after_the_first_change_and_at_once_when_there_is_much(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    assert bench.worker._start_due() == pytest.approx(50, abs=1)
    bench.worker.pace = Pace(events=1)
    assert bench.worker._start_due() is None
    assert bench.worker.busy
    await asyncio.gather(*bench.worker._jobs.values())
    assert bench.transitions()


async def test_checkpoints_that_take_long_come_less_often_but_often_enough(bench: Bench) -> None:
    bench.publish()
    await bench.apply()
    partition = bench.worker.partitions[0]
    for took_ms, expected_ms in ((5.0, 50), (20.0, 60), (400.0, 120)):
        partition.checkpoint_ms = took_ms
        assert bench.worker._start_due() == pytest.approx(expected_ms, abs=1)


async def test_a_partition_far_behind_commits_seldom(bench: Bench) -> None:
    bench.worker.pace = Pace(events=8)
    for number in range(200):
        bench.publish(contact=f"c{number}")
    bench.worker.log.fetch_max = 4  # type: ignore[attr-defined]
    await bench.worker.feed()
    bench.worker.turn()
    assert bench.worker._start_due() == pytest.approx(3_000, abs=1)


@pytest.mark.parametrize(("owned", "times"), [(1, 36), (4, 9), (12, 3), (100, 3)])
async def test_behind_one_partition_takes_as_much_into_a_checkpoint_as_twelve_do_together(
    owned: int, times: int
) -> None:
    """Else it would write a busy contact's state many times where each of twelve writes it once."""
    bench = Bench()
    bench.worker.pace = Pace(events=8)
    await bench.worker.take_over(set(range(owned)))
    for number in range(200):
        bench.publish(contact=f"c{number}")
    bench.worker.log.fetch_max = 4  # type: ignore[attr-defined]
    await bench.worker.feed()
    bench.worker.turn()
    partition = bench.worker.partitions[0]
    since_ms = partition.overlay.since_ms
    assert since_ms is not None
    partition.overlay.events = 8 * times - 1
    assert bench.worker._due_ms(partition) == since_ms + 3_000
    partition.overlay.events += 1
    assert bench.worker._due_ms(partition) == since_ms
    assert not partition.full()


async def test_the_metrics_say_what_was_done(bench: Bench) -> None:
    bench.publish(messageId="m")
    bench.publish(messageId="m")
    await bench.commit()
    bench.plans.current = plan_of(EVERYONE, 2)  # read, and not in force yet
    show(bench.worker)
    text = bench.worker.metrics.text().decode()
    for line in (
        'tidegate_events_taken_total{topic="one"} 2.0',
        "tidegate_events_duplicate_total 1.0",
        'tidegate_transitions_emitted_total{segment="a-lately",transition="entered",cause="event"} 1.0',
        "tidegate_partitions_owned 1.0",
        "tidegate_contacts 1.0",
        'tidegate_lag_records{topic="one",partition="0"} 0.0',
        'tidegate_segment_members{segment="a-lately"} 1.0',
        'tidegate_transactions_total{result="committed"} 1.0',
        "tidegate_state_bytes ",
        'tidegate_end_to_end_seconds_bucket{le="+Inf"} 2',
        "tidegate_definitions_revision 1.0",
        "tidegate_definitions_revision_newest 2.0",
        'tidegate_checkpoint_records_total{topic="state"} 2.0',
    ):
        assert line in text


async def test_due_instants_are_overdue_by_the_wall_clock_where_nothing_is_read(bench: Bench) -> None:
    """Arrival time stands still then; by that, nothing would ever be late."""
    bench.publish()
    await bench.commit()
    bench.clock.at_ms += 10_000 + GRACE_MS + SLACK_MS + 30_000
    show(bench.worker)
    assert 29.0 <= bench.worker.metrics.timer_overdue_seconds.value <= 30.0

    await bench.commit()
    show(bench.worker)
    assert 0.0 == bench.worker.metrics.timer_overdue_seconds.value


SUMS = "segments: [{id: s, when: {event: A, within: 1d, sum: {of: total, gte: 100}}}]"
CARTS = "segments: [{id: s, per: cart_id, when: {event: A}}]"


@pytest.mark.parametrize(
    ("text", "limit", "passed"), [(SUMS, {"events": 3}, 2), (CARTS, {"values": 3}, 2), (SUMS, {"traits": 3}, 1)]
)
async def test_a_limit_that_is_passed_is_in_the_metrics(text: str, limit: dict[str, int], passed: int) -> None:
    """Who operates this must see that answers lack something."""
    bench = Bench()
    bench.plans.current = plan_of(text, 1, **limit)
    await bench.worker.take_over({0})
    for number in range(5):
        bench.publish(properties={"total": 1, "cart_id": f"c{number}"})
    bench.publish(type="identify", traits={"a": 1, "b": 2, "c": 3, "d": 4})
    await bench.commit()

    assert bench.worker.metrics.limits_passed.value == passed


async def test_a_limit_that_is_passed_by_time_alone_is_in_the_metrics(bench: Bench) -> None:
    """Nobody's event passed it: values come in as they grow old enough."""
    text = "segments: [{id: s, when: {event: A, ago: 10s, distinct: {of: item, gte: 20}}}]"
    bench.plans.current = plan_of(text, 2, values=3)
    for number in range(6):
        bench.publish(properties={"item": number})
    await bench.commit()
    assert bench.worker.metrics.limits_passed.value == 0
    bench.clock.at_ms += 20_000
    await bench.commit()

    assert bench.worker.metrics.limits_passed.value == 2


async def test_a_limit_that_new_definitions_pass_is_in_the_metrics(bench: Bench) -> None:
    """Nobody's event passed it."""
    bench.plans.current = plan_of(CARTS, 2)
    for number in range(5):
        bench.publish(properties={"cart_id": f"c{number}"})
    await bench.commit()
    bench.plans.current = plan_of(CARTS, 3, state_bytes=200)
    await bench.commit()

    assert bench.worker.metrics.limits_passed.value > 0


async def test_a_fetch_that_comes_back_while_a_take_over_ends_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that was under way when reading began anew has moved the reader on: dropped, it would leave a hole."""
    bench.publish()
    await bench.worker.release(1.0)
    seek = bench.worker.log.seek

    async def seek_and_fetch(positions: Any) -> None:
        await seek(positions)
        await bench.worker.feed()

    monkeypatch.setattr(bench.worker.log, "seek", seek_and_fetch)
    await bench.worker.take_over({0})
    assert len(bench.worker.partitions[0].inbox) == 1
    await bench.commit()
    assert bench.transitions() == [("c", "a-lately", "entered", "event")]


async def test_a_take_over_that_cannot_begin_reading_lets_go_of_its_claims(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.worker.release(1.0)

    async def refuse(positions: Any) -> None:
        raise LogError("injected")

    monkeypatch.setattr(bench.worker.log, "seek", refuse)
    with pytest.raises(LogError):
        await bench.worker.take_over({0})
    assert not bench.worker.partitions
    assert bench.broker.claims[0].closed
