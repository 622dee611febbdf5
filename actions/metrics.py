"""The dispatcher's metrics, each declared once: what it counts, and what to do when it moves."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.deliveries import CHANNELS


class DispatcherMetrics:
    """All metrics of one dispatcher. Labels are bounded sets: channels, statuses, codes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.outcomes = Counter(
            "tidegate_outcomes",
            "Outcomes written, of attempts and of deliveries. A rise of `failed` by `refused` or `gave_up`: look at "
            "`tidegate deliveries list --status failed` for the receiver's words.",
            ["channel", "status", "code"],
            registry=self.registry,
        )
        self.attempt_seconds = Histogram(
            "tidegate_attempt_seconds",
            "Duration of one attempt at a delivery. Near 15 s: a receiver doesn't answer.",
            ["channel"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self.registry,
        )
        self.in_doubt = Counter(
            "tidegate_deliveries_in_doubt",
            "Deliveries sent again, with the same id, because an attempt before has no outcome. Rises when a dispatcher "
            "was killed; otherwise attempts outlast their lease: look for a starved machine.",
            ["channel"],
            registry=self.registry,
        )
        self.rebuilds = Counter(
            "tidegate_ledger_rebuilds",
            "Times that the ledger was brought up from the outcomes because Redis had restarted or lost it. Each is a "
            "pause of all sending: find out who restarts Redis.",
            registry=self.registry,
        )
        self.ledger_away = Gauge(
            "tidegate_ledger_away",
            "1 while Redis can't be reached, refuses, or can't be brought up to the outcomes: nothing is sent meanwhile.",
            registry=self.registry,
        )
        self.waiting = Gauge(
            "tidegate_deliveries_waiting",
            "Deliveries that wait for another attempt, a crowded receiver or the end of a pause. Rises for long: a "
            "receiver is down, or a pause was forgotten (`tidegate deliveries list --status waiting`).",
            registry=self.registry,
        )
        self.under_way = Gauge(
            "tidegate_deliveries_under_way",
            "Attempts under way. At 8 a receiver for long, with lag on `deliveries`: start another dispatcher.",
            registry=self.registry,
        )
        self.unreadable = Counter(
            "tidegate_deliveries_unreadable",
            "Records of `deliveries` that are none, put into `rejected`. Any: something else writes to the topic, or a "
            "newer version does.",
            registry=self.registry,
        )
        self.behind = Counter(
            "tidegate_deliveries_behind",
            "Deliveries that were newer than what Redis has of their contact: `put_off`, or `overtaken` where that lasted for "
            "10 min and they were decided by what is there. Rises: the projector is behind or gone "
            "(`tidegate_projector_lag_records`).",
            ["what"],
            registry=self.registry,
        )
        for what in ("put_off", "overtaken"):
            self.behind.labels(what)
        for channel in CHANNELS:  # Prometheus sees no rise in what wasn't there
            self.outcomes.labels(channel, "sent", "")
            for code in ("refused", "gave_up", "template"):
                self.outcomes.labels(channel, "failed", code)
            self.attempt_seconds.labels(channel)
            self.in_doubt.labels(channel)
