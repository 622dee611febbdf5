"""The metrics of `tidegate gateway`, each declared once: what it counts, and what to do when it moves."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# what becomes of events, and why requests are refused: bounded sets
OUTCOMES: Final = ("taken", "rejected")
NOTIFIED: Final = ("taken", "rejected", "ignored", "ping")
REFUSALS: Final = (
    "no_key",
    "unknown_key",
    "origin",
    "too_large",
    "invalid_request",
    "late",
    "crowded",
    "unavailable",
)


class GatewayMetrics:
    """All metrics of one. Labels are bounded sets: paths, statuses, connections, outcomes and refusals."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidegate_gateway_requests",
            "Requests answered. Many with 400 or 401: somebody sends what can't be taken, see "
            "`tidegate_gateway_refused_total`; with 429 or 503: Kafka is slow or away; with 500: a fault of ours, see the log.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tidegate_gateway_request_seconds",
            "From a request's head to its answer, with Kafka's acknowledgement in it. Long: see "
            "`tidegate_gateway_acknowledged_seconds`; where that is short, the gateway has no CPU left, or senders are slow.",
            ["path"],
            buckets=(0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.events = Counter(
            "tidegate_gateway_events",
            "Events by connection and what became of them. `rejected` rises: a sender's events can't be read, "
            "`tidegate rejected list` says why; `taken` stands still: the sender has stopped, or is refused.",
            ["connection", "outcome"],
            registry=self.registry,
        )
        self.refused = Counter(
            "tidegate_gateway_refused",
            "Requests of which nothing was taken, by why. `unknown_key`: a sender has a wrong write key; `too_large`, "
            "`invalid_request`, `late`: senders are broken, or mean no good; `crowded`, `unavailable`: Kafka is slow or away.",
            ["why"],
            registry=self.registry,
        )
        self.notifications = Counter(
            "tidegate_gateway_notifications",
            "What vendors told, by connection and what became of it. `rejected` rises: it can't be read or has no contact, "
            "`tidegate rejected list` says why; `ignored`: the connection says so; `ping`: requests with nothing in them.",
            ["connection", "outcome"],
            registry=self.registry,
        )
        self.unproved = Counter(
            "tidegate_gateway_unproved",
            "Requests by vendor and why they are not believed. `wrong_signature`, `wrong_login`: the secret was changed, or "
            "somebody else sends; `old`: a repeat, or a clock that is off; `repeated`: came before, and was answered again.",
            ["vendor", "why"],
            registry=self.registry,
        )
        self.acknowledged_seconds = Histogram(
            "tidegate_gateway_acknowledged_seconds",
            "From a batch's first record to Kafka's acknowledgement. Long: Kafka is slow, or its replicas are behind.",
            buckets=(0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.bytes = Gauge(
            "tidegate_gateway_bytes",
            "Bytes of requests that are read, and of records that Kafka has not acknowledged. Near TIDEGATE_GATEWAY_BYTES: "
            "requests are answered with 429; look at Kafka, or start another gateway.",
            registry=self.registry,
        )
        self.connections = Gauge(
            "tidegate_gateway_open_connections",
            "Connections of senders. Near 10,000: more are refused; start another gateway, or see who opens them.",
            registry=self.registry,
        )
        self.unavailable = Gauge(
            "tidegate_gateway_unavailable",
            "1 while nothing can be taken in, as Kafka is away: look at Kafka and TIDEGATE_BROKER; it goes on by itself.",
            registry=self.registry,
        )
        for why in REFUSALS:
            self.refused.labels(why)
