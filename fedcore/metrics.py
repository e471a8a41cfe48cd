"""How a catalogue of metrics is declared, and how it becomes collectors of a registry of its own.

Names, labels and buckets are data, so that docs, dashboards, rules and tests read the same ones that the processes export.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry

__all__ = [
    "BUILD_INFO",
    "EPOCHS",
    "OPERATIONS",
    "ROUNDS",
    "Kind",
    "Label",
    "Labelled",
    "Metric",
    "Metrics",
    "build",
    "counter",
    "families",
    "gauge",
    "histogram",
]

ROUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600)
"""Buckets of rounds and round trips, in seconds. Buckets are constants: the histograms of two jobs must add up."""
OPERATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Buckets of single operations, in seconds."""
EPOCHS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
"""Buckets of work handed out, in epochs."""


class Kind(StrEnum):
    """Type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A label with the values it can have; none stand for values that are not known beforehand, such as a worker's name."""

    name: str
    values: tuple[str, ...] = ()
    initial: tuple[str, ...] | None = None
    """Values whose series exist from the start, where not all of ``values`` do: `rate()` has to see 0, not absence."""

    @property
    def from_start(self) -> tuple[str, ...]:
        """Values whose series exist from the start."""
        return self.values if self.initial is None else self.initial


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric of a catalogue."""

    name: str
    """As it is exposed; a counter's ends in ``_total``."""
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without the infinite one."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def series_names(self) -> tuple[str, ...]:
        """Names under which samples are exposed."""
        parts = ("_bucket", "_count", "_sum") if self.kind is Kind.HISTOGRAM else ("",)
        return tuple(self.name + part for part in parts)


def counter(name: str, help_text: str, *labels: Label) -> Metric:
    """Declare a counter."""
    return Metric(name, Kind.COUNTER, help_text, labels)


def gauge(name: str, help_text: str, *labels: Label) -> Metric:
    """Declare a gauge."""
    return Metric(name, Kind.GAUGE, help_text, labels)


def histogram(name: str, help_text: str, buckets: Sequence[float], *labels: Label) -> Metric:
    """Declare a histogram."""
    return Metric(name, Kind.HISTOGRAM, help_text, labels, tuple(float(bound) for bound in buckets))


BUILD_INFO = gauge(
    "fedcore_build_info",
    "Constant 1; which version runs on which Python",
    *(Label("version"), Label("python"), Label("component", ("coordinator", "worker", "operator"))),
)
"""Exported by every process, with the one ``component`` that it is."""


class Metrics:
    """The collectors of a catalogue, by the metric they belong to."""

    def __init__(self, collectors: dict[Metric, Counter | Gauge | Histogram]) -> None:
        self._collectors = collectors

    def counter(self, metric: Metric) -> Counter:
        """Return a counter."""
        found = self._collectors[metric]
        assert isinstance(found, Counter)
        return found

    def gauge(self, metric: Metric) -> Gauge:
        """Return a gauge."""
        found = self._collectors[metric]
        assert isinstance(found, Gauge)
        return found

    def histogram(self, metric: Metric) -> Histogram:
        """Return a histogram."""
        found = self._collectors[metric]
        assert isinstance(found, Histogram)
        return found


def build(catalogue: Iterable[Metric], registry: CollectorRegistry) -> Metrics:
    """Register a catalogue, with every series that is known beforehand.

    Parameters
    ----------
    catalogue : iterable of Metric
        No name twice.
    registry : CollectorRegistry
        The process's own; the library's global one is never used.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return Metrics({metric: _collector(metric, registry) for metric in catalogue})


def _collector(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    made: Counter | Gauge | Histogram
    match metric.kind:
        case Kind.COUNTER:
            made = Counter(metric.name, metric.help, metric.label_names, registry=registry)
        case Kind.GAUGE:
            made = Gauge(metric.name, metric.help, metric.label_names, registry=registry)
        case Kind.HISTOGRAM:
            made = Histogram(metric.name, metric.help, metric.label_names, registry=registry, buckets=metric.buckets)
    if metric.labels:
        for values in product(*(label.from_start for label in metric.labels)):
            made.labels(*values)
    return made


def families(
    catalogue: Iterable[Metric], series: Iterable[tuple[Metric, tuple[str, ...], float]], labels: Mapping[str, str] | None = None
) -> Iterator[Family]:
    """Yield gauges and counters whose values are read when they are collected.

    Parameters
    ----------
    catalogue : iterable of Metric
        All of them, in the order in which they are to be exposed; one without series is exposed with its help alone.
    series : iterable of (Metric, values of its labels, value)
        What there is.
    labels : mapping, optional
        Further labels of every series.
    """
    found = {metric: Family(metric.name.removesuffix("_total"), metric.help, metric.kind) for metric in catalogue}
    names = {metric: metric.label_names for metric in found}
    for metric, values, value in series:
        found[metric].samples.append(Sample(metric.name, {**(labels or {}), **dict(zip(names[metric], values, strict=True))}, value))
    yield from found.values()


class Labelled(Collector):
    """Gives every sample of another collector labels of its own, say the job it speaks of."""

    def __init__(self, inner: Collector, labels: dict[str, str]) -> None:
        self._inner = inner
        self._labels = labels

    def collect(self) -> Iterator[Family]:
        """Yield the inner collector's families with the labels added."""
        for family in self._inner.collect():
            family.samples = [sample._replace(labels={**self._labels, **sample.labels}) for sample in family.samples]
            yield family
