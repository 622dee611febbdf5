"""Counters, gauges and histograms that cost as much as an addition, shown to Prometheus when it asks.

prometheus_client's own take a lock for each step, can't observe a value many times at once, and take tens of
microseconds a sample to show. A worker counts on one loop alone, tens of thousands of times a second, knows times of a
turn rather than of each event in it, and has thousands of label sets where it has many segments.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

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


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


C = TypeVar("C", Counter, Gauge, Histogram)


class Family(Generic[C]):
    """A metric's children by the values of its labels; look one up once and keep it where it is counted often."""

    def __init__(self, metric: Metric, make: Callable[[Metric], C]) -> None:
        self.metric = metric
        self._make: Callable[[Metric], C] = make
        self._children: dict[tuple[str, ...], C] = {}
        self._texts: dict[tuple[str, ...], str] = {}
        for values in metric.known if metric.labels else ((),):
            self.labels(*values)

    def labels(self, *values: str) -> C:
        """The child with these values, in the order in which the labels are declared."""
        child = self._children.get(values)
        if child is None:
            assert len(values) == len(self.metric.labels), (self.metric.name, values)
            child = self._children[values] = self._make(self.metric)
        return child

    def keep(self, firsts: Container[str]) -> None:
        """Forgets the children whose first label is none of `firsts`."""
        for values in [values for values in self._children if values[0] not in firsts]:
            del self._children[values]
            self._texts.pop(values, None)

    def clear(self) -> None:
        """Forgets all children: what is set next is all there is."""
        self._children.clear()

    def text_of(self, values: tuple[str, ...]) -> str:
        """The labels as Prometheus has them between braces; made once, as most of a scrape's time would go there."""
        text = self._texts.get(values)
        if text is None:
            named = zip(self.metric.labels, values, strict=True)
            text = self._texts[values] = ",".join(f'{name}="{_escaped(value)}"' for name, value in named)
        return text

    def items(self) -> Iterable[tuple[tuple[str, ...], C]]:
        """Values of the labels, and child."""
        return self._children.items()


def text_of(family: Family[Counter] | Family[Gauge] | Family[Histogram]) -> str:
    """The family in Prometheus' text format."""
    metric = family.metric
    told = f"{metric.help}; {metric.do}".replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {metric.full_name} {told}\n# TYPE {metric.full_name} {metric.kind}\n"]
    for values, child in family.items():
        labels = family.text_of(values)
        if isinstance(child, Histogram):
            lines += _histogram_lines(metric.full_name, labels, child)
        else:
            lines.append(f"{metric.full_name}{_braced(labels)} {_number(child.value)}\n")
    return "".join(lines)


def _histogram_lines(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    more = f"{labels}," if labels else ""
    below = 0
    for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
        below += count
        yield f'{name}_bucket{{{more}le="{_number(bound)}"}} {below}\n'
    yield f"{name}_sum{_braced(labels)} {_number(histogram.total)}\n"
    yield f"{name}_count{_braced(labels)} {below}\n"


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def markdown_table(metrics: Sequence[Metric]) -> str:
    """The table of `metrics` for people."""
    lines = ["| metric | kind, unit | what it says | when it moves |", "|---|---|---|---|"]
    for metric in metrics:
        labels = f" by {', '.join(f'`{label}`' for label in metric.labels)}" if metric.labels else ""
        cells = (f"`{metric.full_name}`{labels}", f"{metric.kind}, {metric.unit}", metric.help, metric.do)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
