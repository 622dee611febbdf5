"""Sizes of segments over time."""

import pytest

from schemas.transitions import Transition
from segments import Stats

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z


def moved(segment: str, contact: str, seq: int, at_ms: int, key: str | None = None) -> Transition:
    return Transition(segment, 1, contact, seq, START_MS + at_ms, "event", key=key)


def counted(*transitions: Transition) -> Stats:
    stats = Stats(["empty"])
    for one in transitions:
        stats.add(one)
    return stats


def test_entries_exits_members_and_contacts_are_counted() -> None:
    """Of all keys of a contact together; a contact counts once, however often it comes."""
    stats = counted(
        moved("s", "a", 1, 0, "x"), moved("s", "a", 1, 0, "y"), moved("s", "a", 2, 1, "x"), moved("s", "b", 1, 2)
    ).by_segment["s"]

    assert (stats.entries, stats.exits, stats.members, len(stats.contacts)) == (3, 1, 2, 2)


def test_a_period_has_the_size_at_its_end_also_where_nothing_happened() -> None:
    """Whoever draws it needs every hour, and transitions come in no order of time."""
    stats = counted(moved("s", "b", 1, 3 * HOUR_MS), moved("s", "a", 1, 0), moved("s", "a", 2, HOUR_MS - 1))

    assert [(one.start_ms - START_MS, one.entries, one.exits, one.size) for one in stats.periods("s")] == [
        (0, 1, 1, 0),
        (HOUR_MS, 0, 0, 0),
        (2 * HOUR_MS, 0, 0, 0),
        (3 * HOUR_MS, 1, 0, 1),
    ]


@pytest.mark.parametrize(("last_hour", "period", "count"), [(71, "hour", 72), (72, "day", 4)])
def test_more_than_three_days_are_shown_by_the_day(last_hour: int, period: str, count: int) -> None:
    """Nobody reads eight thousand hours."""
    stats = counted(moved("s", "a", 1, 0), moved("s", "a", 2, last_hour * HOUR_MS))

    assert stats.json()["period"] == period
    assert len(stats.periods("s")) == count
    assert [one.size for one in stats.periods("s")] == [1] * (count - 1) + [0]


def test_all_segments_have_the_same_periods() -> None:
    """So that they can stand in one table, those that nobody was ever in among them."""
    stats = counted(moved("s", "a", 1, 0), moved("t", "a", 1, 2 * HOUR_MS))

    assert [[one.size for one in stats.periods(id)] for id in ("s", "t", "empty")] == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_a_run_without_transitions_has_no_periods() -> None:
    """But its segments, with nobody in them."""
    assert counted().json() == {
        "period": "hour",
        "segments": [{"segment": "empty", "entries": 0, "exits": 0, "members": 0, "contacts": 0, "sizes": []}],
    }
