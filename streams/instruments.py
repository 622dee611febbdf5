"""Counters, gauges and histograms that cost as much as an addition, shown to Prometheus when it asks.

prometheus_client's own take a lock for each step and can't observe a value many times at once; a worker counts on one
loop alone, tens of thousands of times a second, and knows times of a turn rather than of each event in it.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Shown

PREFIX = "tidegate_"


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric as it is declared: name without prefix (a counter's without `_total`), what it says, what to do.

    `buckets` are a histogram's upper bounds, closed, in its unit; `known` the values of its labels that are shown from
    the start, as Prometheus sees no rise in what wasn't there.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    do: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()

    @property
    def full_name(self) -> str:
        """As queries have it (a histogram's without `_bucket`, `_sum`, `_count`)."""
        return f"{PREFIX}{self.name}" + ("_total" if self.kind == "counter" else "")


class Counter:
    """A sum that only rises."""

    __slots__ = ("value",)

    def __init__(self, metric: Metric) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Adds `by`."""
        self.value += by


class Gauge:
    """A value as of now."""

    __slots__ = ("value",)

    def __init__(self, metric: Metric) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Puts `value` in place of what was there."""
        self.value = value


class Histogram:
    """How many values lay below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, metric: Metric) -> None:
        self.bounds = metric.buckets
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Takes `value` in, as often as `times` says."""
        self.counts[bisect.bisect_left(self.bounds, value)] += times
        self.total += value * times

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """`(upper bound, values up to it)`, as Prometheus has them."""
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            yield "+Inf" if math.isinf(bound) else repr(bound), below


C = TypeVar("C", Counter, Gauge, Histogram)


class Family(Generic[C]):
    """A metric's children by the values of its labels; look one up once and keep it where it is counted often."""

    def __init__(self, metric: Metric, make: Callable[[Metric], C]) -> None:
        self.metric = metric
        self._make: Callable[[Metric], C] = make
        self._children: dict[tuple[str, ...], C] = {}
        for values in metric.known if metric.labels else ((),):
            self.labels(*values)

    def labels(self, *values: str) -> C:
        """The child with these values, in the order in which the labels are declared."""
        child = self._children.get(values)
        if child is None:
            assert len(values) == len(self.metric.labels), (self.metric.name, values)
            child = self._children[values] = self._make(self.metric)
        return child

    def clear(self) -> None:
        """Forgets all children: what is set next is all there is."""
        self._children.clear()

    def items(self) -> Iterable[tuple[tuple[str, ...], C]]:
        """Values of the labels, and child."""
        return self._children.items()


def shown(family: Family[Counter] | Family[Gauge] | Family[Histogram]) -> Shown:
    """The family as prometheus_client writes it."""
    metric = family.metric
    name, text, labels = PREFIX + metric.name, f"{metric.help}; {metric.do}", metric.labels
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, child in family.items():
            assert isinstance(child, Histogram)
            histogram.add_metric(values, list(child.cumulative()), child.total)
        return histogram
    one = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
    for values, child in family.items():
        assert not isinstance(child, Histogram)
        one.add_metric(values, child.value)
    return one


def markdown_table(metrics: Sequence[Metric]) -> str:
    """The table of `metrics` for people."""
    lines = ["| metric | kind, unit | what it says | when it moves |", "|---|---|---|---|"]
    for metric in metrics:
        labels = f" by {', '.join(f'`{label}`' for label in metric.labels)}" if metric.labels else ""
        cells = (f"`{metric.full_name}`{labels}", f"{metric.kind}, {metric.unit}", metric.help, metric.do)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
