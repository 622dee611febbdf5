"""The gauges of a worker, brought up to date when they are asked for."""

import collections

from actions.sequences import LIFTED
from streams.worker import Worker


def show(worker: Worker) -> None:
    """Sets every gauge that says how the worker stands now."""
    metrics, owned, spent_ms = worker.metrics, worker.partitions.values(), worker.clock.spent_ms()
    metrics.partitions.set(worker.rates.partitions)
    metrics.partitions_owned.set(len(owned))
    metrics.partitions_stopped.set(sum(partition.stopped for partition in owned))
    metrics.contacts_quarantined.set(sum(len(partition.poison.contacts) for partition in owned))
    metrics.assigned.set(worker.assigned)
    metrics.recovering.set(worker.recovering)
    metrics.contacts.set(sum(len(partition.committed.states) for partition in owned))
    metrics.state_bytes.set(sum(partition.committed.bytes for partition in owned))
    metrics.state_memory_bytes.set(worker.memory.used_bytes)
    metrics.state_memory_limit_bytes.set(worker.memory.limit_bytes)
    metrics.held_bytes.set(sum(partition.inbox.held_bytes for partition in owned))
    now_ms = worker.clock.now_ms()
    metrics.timer_overdue_seconds.set(max((partition.overdue_ms(now_ms) for partition in owned), default=0) / 1000)
    metrics.definitions_revision.set(min((partition.plan.revision for partition in owned), default=0))
    metrics.definitions_revision_newest.set(worker.plans.current.revision)
    metrics.contacts_to_change.set(sum(partition.to_change for partition in owned))
    metrics.commit_age_seconds.set(worker.uncommitted_ms / 1000)
    metrics.clock_skew_seconds.set(worker.skew.seconds(spent_ms))
    metrics.broker_unanswered_seconds.set(worker.unanswered_ms / 1000)
    _show_lags(worker)
    _show_sizes(worker)


def _show_lags(worker: Worker) -> None:
    family = worker.metrics.lag_records
    family.clear()
    for number, partition in worker.partitions.items():
        for topic, lag in partition.inbox.lags().items():
            family.labels(topic, str(number)).set(lag)


def _show_sizes(worker: Worker) -> None:
    metrics, owned = worker.metrics, worker.partitions.values()
    uncounted = sum(len(partition.sizes.uncounted) for partition in owned)
    metrics.segment_members_uncounted.set(uncounted)
    metrics.segment_members.clear()
    if uncounted:
        return  # a part of it would look as if most had left
    members: collections.Counter[str] = collections.Counter(dict.fromkeys(metrics.named, 0))
    for partition in owned:
        for segment, count in partition.sizes.members.items():
            if not segment.startswith(LIFTED):
                members[metrics.label_of(segment)] += count
    for label, count in members.items():
        metrics.segment_members.labels(label).set(count)
