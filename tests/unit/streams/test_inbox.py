"""The merge of the source topics (I6)."""

from __future__ import annotations

import itertools
import random

import orjson
import pytest

from schemas.rejected import Rejection
from streams.inbox import FRESH_MS, HELD_RECORDS_MAX, Inbox, LostEventsError, Mark
from streams.log import Fetch, Record

NOW_MS = 1_000_000
TOPICS = ("one", "two", "three")


def record(time_ms: int, offset: int, **fields: object) -> Record:
    event = {"type": "track", "event": "A", "userId": "c", **fields}
    return time_ms, offset, b"c", orjson.dumps(event)


def tick(offset: int, at_ms: int) -> Record:
    return at_ms, offset, None, orjson.dumps({"type": "tick", "receivedAt": at_ms})


def fetch(topic: str, start: int, *records: Record, sent_ms: int = NOW_MS, more: int = 0) -> Fetch:
    end = start + len(records)
    return Fetch(topic, 0, start, end, end + more, sent_ms, records)


def popped(inbox: Inbox, now_ms: int = NOW_MS) -> list[tuple[str, int]]:
    """Topic and offset of all that comes out."""
    taken = iter(lambda: inbox.pop(now_ms), None)
    return [(each.topic, each.record[1]) for each in taken]


@pytest.fixture
def wall() -> Inbox:
    return Inbox(TOPICS, {}, arrival=False)


@pytest.fixture
def arrival() -> Inbox:
    return Inbox(TOPICS, {}, arrival=True)


def test_records_come_out_by_time_then_topic_then_offset(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0), record(20, 1)))
    wall.fill(fetch("two", 0, record(5, 0), record(20, 1)))
    wall.fill(fetch("three", 0, record(10, 0)))
    assert popped(wall) == [("two", 0), ("one", 0), ("three", 0), ("one", 1), ("two", 1)]


def test_nothing_comes_out_while_a_topic_was_not_looked_at(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0)))
    wall.fill(fetch("two", 0, record(5, 0)))
    assert popped(wall) == []


def test_a_topic_at_its_end_holds_nothing_up_for_as_long_as_that_is_fresh(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0)))
    wall.fill(fetch("two", 0, sent_ms=NOW_MS))
    wall.fill(fetch("three", 0, sent_ms=NOW_MS))
    assert popped(wall, NOW_MS + FRESH_MS + 1) == []
    assert popped(wall, NOW_MS + FRESH_MS) == [("one", 0)]


def test_a_topic_with_more_to_fetch_holds_the_others_up(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0)))
    wall.fill(fetch("two", 0, record(5, 0), more=1))
    wall.fill(fetch("three", 0))
    assert popped(wall) == [("two", 0)]
    wall.fill(fetch("two", 1, record(7, 1)))
    assert popped(wall) == [("two", 1), ("one", 0)]


def test_positions_are_those_of_what_came_out_and_pass_what_nobody_may_see(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0), record(11, 1)))
    wall.fill(Fetch("two", 0, 0, 4, 4, NOW_MS, ()))  # an aborted transaction and its marker
    wall.fill(Fetch("three", 0, 0, 3, 3, NOW_MS, [record(12, 1)]))
    assert wall.positions() == {"one": 0, "two": 4, "three": 0}
    wall.pop(NOW_MS)
    assert wall.positions() == {"one": 1, "two": 4, "three": 0}
    assert popped(wall) == [("one", 1), ("three", 1)]
    assert wall.positions() == {"one": 2, "two": 4, "three": 3}


def test_a_fetch_that_begins_elsewhere_than_the_last_ended_is_an_error(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, record(10, 0)))
    with pytest.raises(LostEventsError, match="from offset 1, but the log goes on at 3"):
        wall.fill(fetch("one", 3, record(10, 3)))


def test_with_the_arrival_clock_what_was_fetched_first_makes_no_difference() -> None:
    rng = random.Random(7)
    logs = {topic: [record(NOW_MS, 0, receivedAt=0)] for topic in TOPICS}
    for at_ms in range(0, 400, 10):
        for topic in rng.sample(TOPICS, 2):
            # some out of order, some without a time, some at one instant
            received = rng.choice([{"receivedAt": at_ms}, {"receivedAt": at_ms}, {"receivedAt": at_ms - 15}, {}])
            logs[topic].append(record(NOW_MS, len(logs[topic]), **received))
    for topic in TOPICS:
        logs[topic].append(tick(len(logs[topic]), 400))
    orders = {tuple(_in_pieces(logs, random.Random(seed))) for seed in range(30)}
    assert len(orders) == 1
    assert len(next(iter(orders))) == sum(map(len, logs.values()))


def _in_pieces(logs: dict[str, list[Record]], rng: random.Random) -> list[tuple[str, int]]:
    inbox, at, out = Inbox(TOPICS, {}, arrival=True), dict.fromkeys(logs, 0), []
    while any(at[topic] < len(logs[topic]) for topic in logs):
        topic = rng.choice(TOPICS)
        records = logs[topic][at[topic] : at[topic] + rng.randrange(1, 6)]
        inbox.fill(fetch(topic, at[topic], *records))
        at[topic] += len(records)
        if rng.random() < 0.2:
            inbox = _restarted(inbox, logs, at)
        out += popped(inbox)
    return out


def _restarted(inbox: Inbox, logs: dict[str, list[Record]], at: dict[str, int]) -> Inbox:
    """The inbox of a new owner, which reads again what the old one had read ahead."""
    again = Inbox(TOPICS, inbox.marks(), arrival=True)
    for topic, position in again.positions().items():
        again.fill(fetch(topic, position, *logs[topic][position : at[topic]]))
    return again


def test_with_the_arrival_clock_a_quiet_topic_lets_through_what_is_not_later_than_its_last(arrival: Inbox) -> None:
    arrival.fill(fetch("one", 0, record(NOW_MS, 0, receivedAt=100)))
    arrival.fill(fetch("two", 0, record(NOW_MS, 0, receivedAt=50), record(NOW_MS, 1, receivedAt=100)))
    arrival.fill(fetch("three", 0, tick(0, 70)))
    assert popped(arrival) == [("two", 0), ("three", 0)]
    arrival.fill(fetch("three", 1, tick(1, 100)))
    # nothing of topic one can come before its own record at 100, nor of two before one's
    assert popped(arrival) == [("one", 0)]
    arrival.fill(fetch("one", 1, tick(1, 100)))
    assert popped(arrival) == [("one", 1), ("two", 1)]
    arrival.fill(fetch("two", 2, tick(2, 100)))
    assert popped(arrival) == [("two", 2), ("three", 1)]


def test_a_record_without_receivedat_takes_that_of_the_one_before_it_in_its_topic(arrival: Inbox) -> None:
    arrival.fill(fetch("one", 0, record(NOW_MS, 0, receivedAt=40), (NOW_MS, 1, b"c", b"{nope"), record(NOW_MS, 2)))
    for topic in ("two", "three"):
        arrival.fill(fetch(topic, 0, tick(0, 90)))
    taken = [arrival.pop(NOW_MS) for _ in range(3)]
    assert [each.received_ms for each in taken if each] == [40, 40, 40]
    assert [type(each.event) is Rejection for each in taken if each] == [False, True, False]


def test_what_is_no_event_does_not_move_arrival_time_to_today(arrival: Inbox) -> None:
    arrival.fill(fetch("one", 0, (NOW_MS, 0, b"c", b"{nope"), record(NOW_MS, 1, receivedAt=40)))
    for topic in ("two", "three"):
        arrival.fill(fetch(topic, 0, tick(0, 90)))
    assert [each.received_ms for each in iter(lambda: arrival.pop(NOW_MS), None) if each] == [0, 40]


def test_with_the_wall_clock_receivedat_counts_unless_it_is_later_than_the_record(wall: Inbox) -> None:
    records = [record(100, 0, receivedAt=90), record(100, 1, receivedAt=170), record(100, 2)]
    wall.fill(fetch("one", 0, *records))
    for topic in ("two", "three"):
        wall.fill(fetch(topic, 0))
    assert [each.received_ms for each in iter(lambda: wall.pop(NOW_MS), None) if each] == [90, 100, 100]


def test_the_end_is_seen_only_when_all_topics_were_found_at_theirs_of_late(wall: Inbox) -> None:
    for topic, sent_ms in zip(TOPICS, (NOW_MS - 10, NOW_MS, NOW_MS), strict=True):
        assert wall.end_seen_ms(NOW_MS) is None
        wall.fill(fetch(topic, 0, sent_ms=sent_ms))
    assert wall.end_seen_ms(NOW_MS) == NOW_MS - 10
    assert wall.end_seen_ms(NOW_MS + FRESH_MS) is None
    wall.fill(fetch("one", 0, record(5, 0)))
    assert wall.end_seen_ms(NOW_MS) is None


def test_reading_ahead_pauses_when_much_is_held_and_goes_on_when_most_is_gone(wall: Inbox) -> None:
    offsets = itertools.count()
    wall.fill(fetch("one", 0, *(record(10, next(offsets)) for _ in range(HELD_RECORDS_MAX + 2))))
    assert wall.full("one", held=False)
    for topic in ("two", "three"):
        wall.fill(fetch(topic, 0))
        assert not wall.full(topic, held=False)
    for _ in range(HELD_RECORDS_MAX // 2):
        wall.pop(NOW_MS)
    assert not wall.full("one", held=False)
    assert wall.full("one", held=True)
    popped(wall)
    assert not wall.full("one", held=True)
    assert wall.held_bytes == 0


def test_few_large_records_pause_it_as_well(wall: Inbox) -> None:
    wall.fill(fetch("one", 0, *(record(10, at, properties={"x": "y" * 200_000}) for at in range(6))))
    assert wall.full("one", held=False)


def test_so_do_few_with_large_keys(wall: Inbox) -> None:
    """A publisher that takes key and value for each other would fill the memory."""
    wall.fill(fetch("one", 0, *((10, at, b"k" * 200_000, b"c") for at in range(6))))
    assert wall.full("one", held=False)
    for topic in ("two", "three"):
        wall.fill(fetch(topic, 0))
    popped(wall)
    assert wall.held_bytes == 0


def test_a_new_owner_goes_on_from_the_marks() -> None:
    inbox = Inbox(TOPICS, {"one": Mark(7, 40, 40, True), "two": Mark(3)}, arrival=True)
    assert inbox.positions() == {"one": 7, "two": 3, "three": 0}
    assert inbox.marks()["one"] == Mark(7, 40, 40, True)
