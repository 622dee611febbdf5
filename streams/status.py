"""How the workers of this prefix stand, and what is wrong, in words: the judgement (`status_reading.py` asks Kafka)."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from schemas.instants import format_instant

REBALANCING = ("PreparingRebalance", "CompletingRebalance")
# what a worker is behind for so long is worth a word
OVERDUE_S_MAX = 10.0
UNANSWERED_S_MAX = 10.0
UNTAKEN_S_MAX = 30.0
NAMED_MAX = 12
_COUNTED = {
    "partitions_stopped": "{:.0f} partitions are stopped, as records made the code raise; see its log",
    "contacts_quarantined": "{:.0f} contacts are quarantined; `tidegate rejected list` and its log say why",
}


@dataclasses.dataclass(frozen=True)
class WorkerSeen:
    """A member of the group: its partitions, and its metrics by name (empty: it could not be asked, `unasked` says why).

    Metrics with labels stand under `name{value}`, as far as `problems` needs them. `silent`: it was asked in vain.
    """

    name: str
    host: str
    partitions: tuple[int, ...]
    metrics: Mapping[str, float]
    unasked: str | None = None
    silent: bool = False


@dataclasses.dataclass(frozen=True)
class PartitionSeen:
    """What the last meta record of a partition says; times are epoch ms, all None where there is no such record.

    `lag` is by topic: source records that no checkpoint holds yet. `due_ms`: the first due instant that is to be played.
    `problem`: why the meta record can't be read, where it can't.
    """

    number: int
    owner: str | None
    lag: Mapping[str, int]
    revision: int | None = None
    arrival_ms: int | None = None
    due_ms: int | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Status:
    """All of it, as of `now_ms`. `surroundings`: what is wrong with topics and brokers, a sentence each.

    `rejected`: how many by reason since `rejected_since_ms`, at least (`rejected_cut`). `untaken`: how many deliveries no
    dispatcher is through with yet, at least where there are many, the first written at `untaken_since_ms`.
    """

    now_ms: int
    group: str
    group_state: str
    grace_ms: int
    revision: int
    workers: Sequence[WorkerSeen]
    partitions: Sequence[PartitionSeen]
    rejected: Mapping[str, int]
    rejected_since_ms: int
    rejected_cut: bool
    paused: Sequence[str]
    surroundings: Sequence[str]
    untaken: int = 0
    untaken_since_ms: int | None = None

    @property
    def lag(self) -> dict[str, int]:
        """By topic."""
        total: dict[str, int] = {}
        for partition in self.partitions:
            for topic, lag in partition.lag.items():
                total[topic] = total.get(topic, 0) + lag
        return total

    @property
    def overdue_s(self) -> float | None:
        """How late the oldest due instant is, by what workers say; None: none could be asked."""
        told = [each.metrics["timer_overdue_seconds"] for each in self.workers if each.metrics]
        return max(told, default=None)

    @property
    def revisions(self) -> dict[int, list[int]]:
        """Partitions by the revision of the definitions in force there."""
        found: dict[int, list[int]] = {}
        for partition in self.partitions:
            if partition.revision is not None:
                found.setdefault(partition.revision, []).append(partition.number)
        return found

    def problems(self) -> list[str]:
        """What is wrong, the worst first, a sentence each; empty when all is well."""
        unreadable = [partition.problem for partition in self.partitions if partition.problem is not None]
        return [*self.surroundings, *unreadable, *self._of_group(), *self._of_workers(), *self._of_work()]

    def _of_group(self) -> list[str]:
        if not self.workers:
            waiting = sum(self.lag.values())
            return [
                f"no worker runs in the group {self.group}, and {waiting:,} records wait: start one with `tidegate worker`",
                *self._waiting_timers(),
            ]
        if self.group_state in REBALANCING:
            return ["the group is sharing out its partitions anew; if that goes on, see the workers' logs"]
        unowned = [partition.number for partition in self.partitions if partition.owner is None]
        if unowned:
            return [f"nobody owns {_named(unowned)}: see the workers' logs", *self._waiting_timers()]
        return []

    def _waiting_timers(self) -> list[str]:
        """Due instants of partitions without an owner; with one, it plays them."""
        waiting = [
            partition.due_ms + self.grace_ms
            for partition in self.partitions
            if partition.owner is None and partition.due_ms is not None
        ]
        due_ms = min(waiting, default=self.now_ms)
        if self.now_ms - due_ms < 1000 * OVERDUE_S_MAX:
            return []
        return [f"due instants wait to be played since {format_instant(due_ms)}, for {_spent(self.now_ms - due_ms)}"]

    def _of_workers(self) -> list[str]:
        return [f"{worker.name}: {said}" for worker in self.workers for said in _said_by(worker)]

    def _of_work(self) -> list[str]:
        found = []
        behind = [
            number for revision, numbers in self.revisions.items() if revision < self.revision for number in numbers
        ]
        if behind:
            found.append(f"revision {self.revision} of the definitions is not in force yet in {_named(sorted(behind))}")
        if (overdue_s := self.overdue_s or 0.0) > OVERDUE_S_MAX:
            found.append(
                f"due instants are played {overdue_s:.0f} s late: more is due than can be played, or events from before it "
                "still wait or can't be read"
            )
        if self.rejected:
            count = f"{'at least ' if self.rejected_cut else ''}{sum(self.rejected.values()):,}"
            found.append(
                f"{count} records were rejected since {format_instant(self.rejected_since_ms)} "
                f"({', '.join(f'{reason} {many:,}' for reason, many in self.rejected.items())}): `tidegate rejected list`"
            )
        waited_ms = 0 if self.untaken_since_ms is None else self.now_ms - self.untaken_since_ms
        if waited_ms > 1000 * UNTAKEN_S_MAX:
            found.append(
                f"{self.untaken:,} deliveries wait for a dispatcher, the first for {_spent(waited_ms)}: start one with "
                "`tidegate dispatcher`, or see what the /readyz of those that run says; without Redis they wait"
            )
        if self.paused:
            found.append(f"deliveries are paused: {', '.join(self.paused)} (`tidegate deliveries resume`)")
        return found


def _said_by(worker: WorkerSeen) -> Iterator[str]:
    """What is wrong with a worker by its own metrics."""
    metrics = worker.metrics
    if worker.silent:
        yield "is in the group, but does not answer: it has ended just now (seen after TIDEGATE_SESSION), or hangs"
    for name, value in metrics.items():
        if name.startswith("stalled_seconds{") and value >= OVERDUE_S_MAX:
            yield f"stalled for {value:.0f} s ({name.partition('{')[2].rstrip('}')}); its log says where"
    if (silent_s := metrics.get("broker_unanswered_seconds", 0.0)) > UNANSWERED_S_MAX and worker.partitions:
        yield f"the broker has not answered it for {silent_s:.0f} s"
    if metrics.get("state_memory_bytes", 0.0) > metrics.get("state_memory_limit_bytes", math.inf):
        yield "reads no more events, as its contacts fill TIDEGATE_MEMORY_BYTES; start another worker"
    for name, sentence in _COUNTED.items():
        if count := metrics.get(name, 0.0):
            yield sentence.format(count)


def _named(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:NAMED_MAX]))
    more = f" and {len(numbers) - NAMED_MAX} more" if len(numbers) > NAMED_MAX else ""
    return f"partition{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _spent(ms: float) -> str:
    minutes, seconds = divmod(int(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
