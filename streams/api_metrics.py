"""The metrics of `tidegate api`, each declared once: what it counts, and what to do when it moves."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ApiMetrics:
    """All metrics of one. Labels are bounded sets: the paths that there are, statuses."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidegate_api_requests",
            "Requests answered. Many with 401: somebody has a wrong token; with 403: one without the scope; with 503: Kafka or "
            "Redis is away, or see `tidegate_api_reports_under_way`; any with 500: a fault of ours, the log has it.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tidegate_api_request_seconds",
            "From a request to its answer. Long for reports: the topics have grown; see `tidegate_api_report_seconds`.",
            ["path"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
            registry=self.registry,
        )
        self.report_seconds = Histogram(
            "tidegate_api_report_seconds",
            "Duration of one reading of the topics. Rising: they grow; ask with longer between, or raise TIDEGATE_REPORT_KEEP.",
            buckets=(1, 3, 10, 30, 100, 300, 1000),
            registry=self.registry,
        )
        self.under_way = Gauge(
            "tidegate_api_reports_under_way",
            "Reports that are read, or wait to be. At TIDEGATE_REPORT_WAITING for long: more is asked than can be read, and "
            "refused with 503.",
            registry=self.registry,
        )
        self.exports = Gauge(
            "tidegate_api_exports_under_way",
            "Exports of members under way. At 8 for long: one more is refused with 503; see who takes them slowly.",
            registry=self.registry,
        )
        self.unread = Gauge(
            "tidegate_api_definitions_unread",
            "1 while the definitions can't be read, so that nothing can be answered: look at Kafka and TIDEGATE_BROKER; it goes "
            "on by itself.",
            registry=self.registry,
        )
