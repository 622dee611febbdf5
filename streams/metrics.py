"""Every metric of the worker, declared once; its help says what to do when it moves.

One registry a worker, so that tests can have several in one process. Counted per turn and per checkpoint, not per event.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.transitions import Transition
from streams.plan import Emitted

_CHECKPOINT_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
_TAKEOVER_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 180.0)


class Metrics:
    """The worker's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # looking a child up by its labels costs as much as a leaf
        self._transitions: dict[tuple[str, str], Counter] = {}
        self._count_events()
        self._count_output()
        self._measure_work()
        self._show_partitions()

    def emitted(self, transitions: Sequence[Transition], emitted: Emitted) -> None:
        """Counts what one step has brought."""
        for transition in transitions:
            named = transition.transition, transition.cause
            counter = self._transitions.get(named)
            if counter is None:
                counter = self._transitions[named] = self.transitions_emitted.labels(*named)
            counter.inc()
        if emitted.deliveries:
            self.deliveries_emitted.inc(len(emitted.deliveries))
        if emitted.outcomes:
            self.deliveries_skipped.inc(len(emitted.outcomes))

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"tidegate_{name}", help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str) -> Gauge:
        return Gauge(f"tidegate_{name}", help, registry=self.registry)

    def _count_events(self) -> None:
        self.events_taken = self._counter(
            "events_taken",
            "source records taken, rejected ones and ticks among them; still with lag: look at checkpoints",
        )
        self.events_duplicate = self._counter(
            "events_duplicate", "events known by their messageId; many: a publisher repeats itself"
        )
        self.events_late = self._counter(
            "events_late",
            "events that happened before the contact's clock; many: raise TIDEGATE_GRACE or mend a publisher",
        )
        self.events_late_read = self._counter(
            "events_late_read", "events read after time was played past their arrival; many: raise TIDEGATE_SLACK"
        )
        self.events_rejected = self._counter(
            "events_rejected", "records that could not be taken, by reason; see `tidegate tail rejected`", ("reason",)
        )

        self.links_left = self._counter(
            "links_left",
            "identify events with two ids that were taken without linking them: links come with a later version",
        )
        self.limits_passed = self._counter(
            "limits_passed",
            "limits that a contact passed, so that the oldest of something was dropped; `tidegate explain` says whose",
        )

    def _count_output(self) -> None:
        self.transitions_emitted = self._counter(
            "transitions_emitted", "transitions, before their checkpoint is committed", ("transition", "cause")
        )
        self.deliveries_emitted = self._counter("deliveries_emitted", "deliveries asked for by rules")
        self.deliveries_skipped = self._counter(
            "deliveries_skipped", "deliveries that rules left out; `outcomes` says why"
        )
        self.timers_played = self._counter(
            "timers_played", "contacts whose due instant came without an event of theirs"
        )

    def _measure_work(self) -> None:
        self.checkpoint_seconds = Histogram(
            "tidegate_checkpoint_seconds",
            "from the start of a checkpoint to its commit; rising: the broker is slow, and latency rises with it",
            buckets=_CHECKPOINT_S,
            registry=self.registry,
        )
        self.checkpoint_records = self._counter(
            "checkpoint_records", "records written by checkpoints, by topic", ("topic",)
        )
        self.takeover_seconds = Histogram(
            "tidegate_takeover_seconds",
            "from an assignment to reading on; rising: state has grown, or the broker is slow",
            buckets=_TAKEOVER_S,
            registry=self.registry,
        )
        self.turn_seconds = self._counter("turn_seconds", "time spent applying; near 1 a second: add a worker")

    def _show_partitions(self) -> None:
        self.partitions_owned = self._gauge(
            "partitions_owned", "partitions of this worker; 0 for long: more workers than work"
        )
        self.contacts = self._gauge("contacts", "contacts whose state this worker keeps in memory")
        self.lag_records = self._gauge("lag_records", "source records not applied yet; rising: add a worker")
        self.held_bytes = self._gauge("held_bytes", "read ahead and not applied yet; bounded, high: see lag_records")
        self.timer_overdue_seconds = self._gauge(
            "timer_overdue_seconds", "how late the oldest due instant is; rising: more is due than can be played"
        )
        self.revision = self._gauge("definitions_revision", "revision of the definitions in force here")
        self.contacts_to_change = self._gauge(
            "contacts_to_change", "contacts still to be taken over into that revision; not falling: see checkpoints"
        )
