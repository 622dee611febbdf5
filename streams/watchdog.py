"""What should move and doesn't, and for how long: the judgement, without clocks, threads or Kafka (`guard.py` has those).

What an operator on call wants of it:
  * Restarting helps where this process is stuck, and only there. While the broker doesn't answer, or a partition of ours
    has no leader, a restart changes nothing: that is said, and time stands still for the stall. It has all its time
    again when the broker is back, for clients to find their way.
  * A process that was paused has not stalled. A look that comes much too late begins anew.
  * A warning comes first, with what to look at; then, if it goes on, the end, with state as it was committed.
"""

import dataclasses
from collections.abc import Hashable, Mapping

from streams.worker import Worker

# a look later than this after the one before, or than half the time to the end where that is shorter, means that the process
# did not run
PAUSED_MS = 10_000.0
# it is said from here on, or from half the time to the end where that is shorter
WARN_MS = 30_000.0
# where the process never ends by itself, `/livez` says so from here on
LIVE_MS = 120_000.0

Thing = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Stall:
    """One of `metric_table.PROBLEMS`, the partition that has it for longest (-1: none in particular), and for how long."""

    problem: str
    partition: int
    stalled_ms: float


class Watchdog:
    """Remembers since when each thing stands where it stands."""

    def __init__(self, exit_ms: float) -> None:
        """`exit_ms`: from when on a stall is the end; 0: never."""
        self.exit_ms = exit_ms
        self.warn_ms = min(WARN_MS, exit_ms / 2) if exit_ms else WARN_MS
        self.paused_ms = min(PAUSED_MS, exit_ms / 2) if exit_ms else PAUSED_MS
        self.stalls: list[Stall] = []
        self._since: dict[Thing, tuple[Hashable, float]] = {}
        self._looked_ms: float | None = None

    def look(self, standing: Mapping[Thing, Hashable], now_ms: float, *, answers: bool) -> None:
        """Takes in how far each thing is that ought to move (`standing_of`); `answers`: whether the broker does."""
        late = self._looked_ms is not None and now_ms - self._looked_ms > self.paused_ms
        if late or not answers:
            self._since = {}
        self._looked_ms = now_ms
        before = self._since
        self._since = {
            thing: before[thing] if thing in before and before[thing][0] == at else (at, now_ms)
            for thing, at in standing.items()
        }
        longest: dict[str, Stall] = {}
        for (problem, partition), (_, since_ms) in self._since.items():
            stall = longest.get(problem)
            if stall is None or now_ms - since_ms > stall.stalled_ms:
                longest[problem] = Stall(problem, partition, now_ms - since_ms)
        self.stalls = list(longest.values())

    @property
    def told(self) -> list[Stall]:
        """What has stalled long enough to be said."""
        return [stall for stall in self.stalls if stall.stalled_ms >= self.warn_ms]

    @property
    def fatal(self) -> Stall | None:
        """What is the end of this process, if something is."""
        return self._first(self.exit_ms) if self.exit_ms else None

    @property
    def dead(self) -> Stall | None:
        """What makes `/livez` say no, for a supervisor that asks."""
        return self._first(self.exit_ms or LIVE_MS)

    def _first(self, from_ms: float) -> Stall | None:
        return next((stall for stall in self.stalls if stall.stalled_ms >= from_ms), None)


def standing_of(worker: Worker) -> dict[Thing, Hashable]:
    """How far each thing is that ought to move now.

    With the arrival clock a partition may wait for ticks for ever: lag that stands still is no stall there.
    """
    standing: dict[Thing, Hashable] = {}
    if worker.recovering:
        standing["recovery", -1] = worker.metrics.recovery_records.value, worker.metrics.recovery_partitions_left.value
    elif not worker.assigned:
        standing["assignment", -1] = None
    elif worker.partitions:
        standing["reading", -1] = worker.answered_ms
    for number, partition in worker.partitions.items():
        if partition.inbox.lag and not worker.rates.arrival and not partition.stopped and not worker.memory.full:
            # what plays a crowd before newer definitions takes no events meanwhile: its checkpoints show that it moves
            played = partition.committed.end if partition.settling else 0
            standing["position", number] = sum(partition.inbox.positions().values()) + played
        if (since_ms := partition.uncommitted_since_ms) is not None:
            standing["commit", number] = since_ms
    return standing
