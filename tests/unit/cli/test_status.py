"""What `tidegate status` says of what it found."""

from __future__ import annotations

import dataclasses

import pytest

from streams.status import PartitionSeen, Status, WorkerSeen
from streams.status_reading import reachable

NOW_MS = 1_767_225_600_000
LAG = {"events.product": 5, "events.billing": 0}


def worker(name: str, *partitions: int, **metrics: float) -> WorkerSeen:
    return WorkerSeen(name, "10.0.0.1", partitions, {"contacts": 7.0, "timer_overdue_seconds": 0.0} | metrics)


def seen(*workers: WorkerSeen, count: int = 4) -> Status:
    """A healthy group of these workers."""
    owners = {number: each.name for each in workers for number in each.partitions}
    partitions = [PartitionSeen(n, owners.get(n), LAG, 3, NOW_MS - 500, NOW_MS - 60_000) for n in range(count)]
    return Status(NOW_MS, "t.worker", "Stable", 2_000, 3, workers, partitions, {}, NOW_MS - 3_600_000, False, [], [])


def test_a_healthy_group_has_no_problems() -> None:
    found = seen(worker("a", 0, 1), worker("b", 2, 3))
    assert found.problems() == []
    assert found.lag == {"events.product": 20, "events.billing": 0}
    assert found.overdue_s == 0.0
    assert found.revisions == {3: [0, 1, 2, 3]}


def test_without_a_worker_it_says_what_waits_and_since_when() -> None:
    first, second = seen().problems()
    assert first == "no worker runs in the group t.worker, and 20 records wait: start one with `tidegate worker`"
    assert second == "due instants wait to be played since 2025-12-31T23:59:02.000Z, for 58 s"


def test_what_is_wrong_around_them_comes_first() -> None:
    found = dataclasses.replace(seen(), surroundings=["t.state: expected cleanup.policy=compact, found delete"])
    partitions = [
        dataclasses.replace(found.partitions[0], problem="t.state, partition 0: bytes"),
        *found.partitions[1:],
    ]
    found = dataclasses.replace(found, partitions=partitions)
    assert found.problems()[0].startswith("t.state: expected")
    assert found.problems()[1] == "t.state, partition 0: bytes"
    assert len(found.problems()) == 4


def test_a_partition_without_an_owner_is_named_unless_the_group_is_sharing_out() -> None:
    found = seen(worker("a", 0, 1, 3))
    assert "nobody owns partition 2" in found.problems()[0]
    sharing = dataclasses.replace(found, group_state="PreparingRebalance")
    assert "sharing out" in sharing.problems()[0]
    assert "nobody owns" not in " ".join(sharing.problems())


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"stalled_seconds{commit}": 40.0}, "a: stalled for 40 s (commit)"),
        ({"broker_unanswered_seconds": 12.0}, "a: the broker has not answered it for 12 s"),
        ({"state_memory_bytes": 5e9, "state_memory_limit_bytes": 4e9}, "a: reads no more events"),
        ({"partitions_stopped": 1.0}, "a: 1 partitions are stopped"),
        ({"contacts_quarantined": 2.0}, "a: 2 contacts are quarantined"),
        ({"timer_overdue_seconds": 90.0}, "due instants are played 90 s late"),
    ],
)
def test_what_a_worker_says_of_itself_is_said(metrics: dict[str, float], said: str) -> None:
    (problem,) = seen(worker("a", 0, 1, 2, 3, **metrics)).problems()
    assert said in problem


def test_an_older_revision_rejected_records_and_pauses_are_said() -> None:
    found = seen(worker("a", 0, 1, 2, 3))
    partitions = [dataclasses.replace(found.partitions[0], revision=2), *found.partitions[1:]]
    rejected = {"wrong_key": 1200, "not_json": 3}
    changed = dataclasses.replace(
        found, partitions=partitions, rejected=rejected, rejected_cut=True, paused=["rule/cart-mail"]
    )
    revision, refused, paused = changed.problems()
    assert revision == "revision 3 of the definitions is not in force yet in partition 0"
    assert "at least 1,203 records were rejected" in refused
    assert "wrong_key 1,200, not_json 3" in refused
    assert "rule/cart-mail" in paused


@pytest.mark.parametrize(
    ("told", "host", "expected"),
    [
        ("http://127.0.0.1:6066", "127.0.0.1", "http://127.0.0.1:6066"),
        ("http://127.0.0.1:6066", "10.0.0.7", None),
        ("http://localhost:6066", "10.0.0.7", None),
        ("http://0.0.0.0:6066", "10.0.0.7", "http://10.0.0.7:6066"),
        ("http://0.0.0.0:6066", "fd00::7", "http://[fd00::7]:6066"),
        ("http://worker-1.example:6066/", "10.0.0.7", "http://worker-1.example:6066"),
        ("http://worker.invalid/a", "10.0.0.7", None),
    ],
)
def test_a_worker_is_asked_where_it_can_be_reached_and_never_another_on_our_own_loopback(
    told: str, host: str, expected: str | None
) -> None:
    assert reachable(told, host) == expected


def test_deliveries_that_no_dispatcher_takes_are_said_once_they_wait_for_long() -> None:
    """All else may be well: workers do without Redis, and without dispatchers."""
    waiting = dataclasses.replace(seen(worker("a", 0, 1, 2, 3)), untaken=1_200, untaken_since_ms=NOW_MS - 20_000)
    assert waiting.problems() == []

    (said,) = dataclasses.replace(waiting, untaken_since_ms=NOW_MS - 65_000).problems()
    assert said.startswith("1,200 deliveries wait for a dispatcher, the first for 1 min 5 s: start one with")
