"""The projector's metrics, each declared once: what it counts, and what to do when it moves."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.projecting import TOPICS


class ProjectorMetrics:
    """All metrics of one projector. Labels are bounded sets: topics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "tidegate_projector_records",
            "Records taken into Redis. Still, with lag: Redis is away (`tidegate_projector_redis_away`), or Kafka is.",
            ["topic"],
            registry=self.registry,
        )
        self.lag = Gauge(
            "tidegate_projector_lag_records",
            "Records of the partitions owned here that Redis hasn't got yet. Rising: start another projector; until it "
            "falls, deliveries wait (`tidegate_deliveries_behind_total`).",
            ["topic"],
            registry=self.registry,
        )
        self.filling = Gauge(
            "tidegate_projector_filling",
            "Partitions that were not read to their end once, here or elsewhere. Above 0: Redis is new, or was emptied, and no "
            "message that asks for a contact goes out until all has been read.",
            registry=self.registry,
        )
        self.redis_away = Gauge(
            "tidegate_projector_redis_away",
            "1 while Redis can't be reached or refuses: look at Redis and TIDEGATE_REDIS; it goes on by itself.",
            registry=self.registry,
        )
        self.moved = Counter(
            "tidegate_projector_moved",
            "Times that Redis stood elsewhere than where this projector had left it, which then read on from there. Many: who "
            "restarts, empties or restores Redis?",
            registry=self.registry,
        )
        self.unreadable = Counter(
            "tidegate_projector_unreadable",
            "Records that are none of a worker's, passed over. Any: something else writes to the topic.",
            ["topic"],
            registry=self.registry,
        )
        self.unnamed = Counter(
            "tidegate_projector_unnamed_bounces",
            "Bounces and complaints that don't say which address (`email` in their properties), so that mail goes on to it. "
            "Any: mend who publishes them.",
            registry=self.registry,
        )
        self.fields = FieldMetrics(self.registry)
        for topic in TOPICS:
            self.records.labels(topic.name)
            self.lag.labels(topic.name)
            self.unreadable.labels(topic.name)


class FieldMetrics:
    """Those of the catalogue of fields, which a projector keeps beside the read model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "tidegate_fields_events",
            "Events whose fields were taken into the catalogue. Still, with lag: see `tidegate_fields_stopped`.",
            registry=registry,
        )
        self.lag = Gauge(
            "tidegate_fields_lag_records",
            "Events of the partitions owned here whose fields are not in the catalogue yet. Rising for long: start another "
            "projector, as one takes a quarter of a core for this at most; nothing else waits for it.",
            registry=registry,
        )
        self.known = Gauge(
            "tidegate_fields_known",
            "Fields in the catalogue (`tidegate fields`), of at most 10,000. Near that: see which events have values as keys.",
            registry=registry,
        )
        self.left_out = Gauge(
            "tidegate_fields_left_out",
            "Fields that are not in the catalogue, about: it is full, a name is above 200 characters, or an event has more than "
            "500. Above 0: `tidegate check` no longer compares with it. Mend who publishes values as keys (`tidegate fields`); "
            "once retention has removed those events, `tidegate projector --rebuild` makes room.",
            registry=registry,
        )
        self.lost = Counter(
            "tidegate_fields_lost_events",
            "Events that retention removed before their fields were read. Any: the catalogue lacks fields that only they had.",
            registry=registry,
        )
        self.unreadable = Counter(
            "tidegate_fields_unreadable",
            "Records that are no events, passed over as workers do (`tidegate rejected` says what is wrong with them).",
            registry=registry,
        )
        self.stopped = Gauge(
            "tidegate_fields_stopped",
            "1 while no fields are gathered, which is tried again within a minute: the log says why. A Kafka with ACLs wants "
            "Read on the topics of events and on the group `projector.fields`.",
            registry=registry,
        )
