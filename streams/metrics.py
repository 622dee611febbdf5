"""The worker's metrics as it counts them; `metric_table.py` declares them.

One registry a worker, so that tests can have several in one process. Counted per turn and per checkpoint, where they are
of every event; brought into Prometheus' form when it asks.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from actions.own_events import ExitReason, Said
from schemas.deliveries import LeftOut
from streams.instruments import C, Counter, Family, Gauge, Histogram, text_of
from streams.log import Outgoing
from streams.metric_table import METRICS, OTHER
from streams.plan import Emitted, Plan

SEGMENTS_MAX = 200
_BY_NAME = {metric.name: metric for metric in METRICS}


class Metrics:
    """The worker's metrics."""

    def __init__(self, segments_max: int = SEGMENTS_MAX) -> None:
        """At most `segments_max` segments are labels of their own, and as many sequences."""
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._segments_max = segments_max
        self.named: frozenset[str] = frozenset()
        self._before: frozenset[str] = frozenset()
        self._families: list[Family[Counter] | Family[Gauge] | Family[Histogram]] = []
        self._count_events()
        self._count_output()
        self._measure_work()
        self._show_partitions()
        self._show_surroundings()
        assert len(self._families) == len(METRICS), "each that is declared is counted"
        # looking a child up by its labels costs as much as a leaf
        self._transitions: dict[tuple[str, str, str], Counter] = {}
        self._sequences: frozenset[str] = frozenset()
        self._sequences_before: frozenset[str] = frozenset()

    def name(self, plan: Plan) -> None:
        """The segments and sequences in force: the first of each by id are labels, with those of before.

        These may still be left: they are forgotten with the next change.
        """
        named = frozenset(sorted(plan.segment_ids)[: self._segments_max])
        if named != self.named:
            self._transitions.clear()
            self._before, self.named = self.named, named
        sequences = frozenset(sorted(plan.sequence_ids)[: self._segments_max])
        if sequences != self._sequences:
            self._sequences_before, self._sequences = self._sequences, sequences
            self._show_sequences()

    def label_of(self, segment: str) -> str:
        """The segment's id, or `other`."""
        return segment if segment in self.named else OTHER

    def emitted(self, emitted: Emitted) -> None:
        """Counts what one step has brought."""
        for transition in emitted.told:
            named = transition.segment, transition.transition, transition.cause
            counter = self._transitions.get(named)
            if counter is None:
                counter = self._transitions[named] = self._counter_of(*named)
            counter.value += 1
        if emitted.deliveries:
            self.deliveries_emitted.inc(len(emitted.deliveries))
        if emitted.outcomes:
            self.deliveries_skipped.inc(len(emitted.outcomes))
        for sequence, event, reason in emitted.sequence_events:
            label = self._label_of_sequence(sequence)
            self.sequence_events.labels(label, event).inc()
            if reason is not None:
                self.sequence_exits.labels(label, reason).inc()
        for sequence, code in emitted.sequence_skipped:
            self.sequence_skipped.labels(self._label_of_sequence(sequence), code).inc()

    def taken(self, by_topic: Mapping[str, int]) -> None:
        """Counts what was taken in, by topic."""
        for topic, taken in by_topic.items():
            if taken:
                self.events_taken.labels(topic).inc(taken)

    def rejected(self, records: Iterable[Outgoing]) -> None:
        """Counts the records of `rejected` by their reason."""
        for record in records:
            self.events_rejected.labels(dict(record.headers or [])["reason"].decode()).inc()

    def committed(self, taken: Iterable[tuple[int, int]], played: Iterable[tuple[int, int]], now_ms: int) -> None:
        """Observes how long ago what is committed now was put in the log, or due; of each, the instant and how many."""
        for first_ms, events in taken:
            self.end_to_end_seconds.observe(max(0, now_ms - first_ms) / 1000, events)
        for due_ms, timers in played:
            self.timer_lag_seconds.observe(max(0, now_ms - due_ms) / 1000, timers)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self._process) + "".join(map(text_of, self._families)).encode()

    def _counter_of(self, segment: str, transition: str, cause: str) -> Counter:
        label = segment if segment in self.named or segment in self._before else OTHER
        return self.transitions_emitted.labels(label, transition, cause)

    def _label_of_sequence(self, id: str) -> str:
        """The sequence's id, or `other`."""
        return id if id in self._sequences or id in self._sequences_before else OTHER

    def _show_sequences(self) -> None:
        """Has every series of a sequence in force begin at 0, as Prometheus sees no rise in what wasn't there."""
        for family, values in (
            (self.sequence_events, get_args(Said)),
            (self.sequence_exits, get_args(ExitReason)),
            (self.sequence_skipped, get_args(LeftOut)),
        ):
            family.keep({*self._sequences, *self._sequences_before, OTHER})
            for sequence in sorted(self._sequences):
                for value in values:
                    family.labels(sequence, value)

    def _family(self, name: str, make: type[C]) -> Family[C]:
        family = Family(_BY_NAME[name], make)
        self._families.append(family)
        return family

    def _counter(self, name: str) -> Counter:
        return self._family(name, Counter).labels()

    def _gauge(self, name: str) -> Gauge:
        return self._family(name, Gauge).labels()

    def _histogram(self, name: str) -> Histogram:
        return self._family(name, Histogram).labels()

    def _count_events(self) -> None:
        self.events_taken = self._family("events_taken", Counter)
        self.events_rejected = self._family("events_rejected", Counter)
        self.events_duplicate = self._counter("events_duplicate")
        self.events_late = self._counter("events_late")
        self.events_late_read = self._counter("events_late_read")
        self.links_left = self._counter("links_left")
        self.limits_passed = self._counter("limits_passed")

    def _count_output(self) -> None:
        self.transitions_emitted = self._family("transitions_emitted", Counter)
        self.segment_members = self._family("segment_members", Gauge)
        self.segment_members_uncounted = self._gauge("segment_members_uncounted")
        self.deliveries_emitted = self._counter("deliveries_emitted")
        self.deliveries_skipped = self._counter("deliveries_skipped")
        self.sequence_events = self._family("sequence_events", Counter)
        self.sequence_exits = self._family("sequence_exits", Counter)
        self.sequence_skipped = self._family("sequence_skipped", Counter)
        self.timers_played = self._counter("timers_played")

    def _measure_work(self) -> None:
        self.evaluation_seconds = self._histogram("evaluation_seconds")
        self.end_to_end_seconds = self._histogram("end_to_end_seconds")
        self.timer_lag_seconds = self._histogram("timer_lag_seconds")
        self.turn_seconds = self._counter("turn_seconds")
        self.loop_lag_seconds = self._histogram("loop_lag_seconds")
        self.checkpoint_seconds = self._histogram("checkpoint_seconds")
        self.checkpoint_records = self._family("checkpoint_records", Counter)
        self.transactions = self._family("transactions", Counter)
        self.commit_age_seconds = self._gauge("commit_age_seconds")

    def _show_partitions(self) -> None:
        self.partitions = self._gauge("partitions")
        self.partitions_owned = self._gauge("partitions_owned")
        self.partitions_stopped = self._gauge("partitions_stopped")
        self.contacts_quarantined = self._gauge("contacts_quarantined")
        self.assigned = self._gauge("assigned")
        self.rebalances = self._counter("rebalances")
        self.takeover_seconds = self._histogram("takeover_seconds")
        self.recovering = self._gauge("recovering")
        self.recovery_records = self._counter("recovery_records")
        self.recovery_partitions_left = self._gauge("recovery_partitions_left")
        self.contacts = self._gauge("contacts")
        self.state_bytes = self._gauge("state_bytes")
        self.state_memory_bytes = self._gauge("state_memory_bytes")
        self.state_memory_limit_bytes = self._gauge("state_memory_limit_bytes")
        self.lag_records = self._family("lag_records", Gauge)
        self.held_bytes = self._gauge("held_bytes")
        self.timer_overdue_seconds = self._gauge("timer_overdue_seconds")
        self.definitions_revision = self._gauge("definitions_revision")
        self.definitions_revision_newest = self._gauge("definitions_revision_newest")
        self.contacts_to_change = self._gauge("contacts_to_change")

    def _show_surroundings(self) -> None:
        self.clock_skew_seconds = self._gauge("clock_skew_seconds")
        self.broker_unanswered_seconds = self._gauge("broker_unanswered_seconds")
        self.surroundings_problems = self._gauge("surroundings_problems")
        self.stalled_seconds = self._family("stalled_seconds", Gauge)
