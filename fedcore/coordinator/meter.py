"""Counts what happens: events of the run by what they say, requests by what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

from fedcore.coordinator import metrics as m
from fedcore.coordinator.history import History
from fedcore.metrics import Kind, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from fedcore.metrics import Metric

__all__ = ["READ_COUNTERS", "Meter"]

READ_COUNTERS = {m.PAYLOAD, m.TRACKER_ERRORS}
"""Counters that others keep anyway, read with the gauges."""


class Meter:
    """Counters and histograms of one process, and the history that its gauges need.

    Parameters
    ----------
    past : iterable of events
        What an earlier process of the same run has written; its state counts, what it has counted does not.
    """

    def __init__(self, past: Iterable[Mapping[str, Any]] = ()) -> None:
        self.registry = CollectorRegistry()
        self._metrics = build(
            (metric for metric in m.CATALOGUE if metric.kind is not Kind.GAUGE and metric not in READ_COUNTERS), self.registry
        )
        ProcessCollector(registry=self.registry)
        self._adders: dict[tuple[Metric, tuple[str, ...]], Callable[[float], None]] = {}
        self.history = History()
        for event in past:
            self.history.feed(event)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event that this process has written."""
        for metric, labels, value in self.history.feed(event):
            self._add(metric, labels, value)

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count a request that was answered."""
        self._add(m.RPC_REQUESTS, (method, code), 1)
        self._add(m.RPC_DURATION, (method,), seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused before anybody was asked, or broken off."""
        self._add(m.REQUESTS_REFUSED, (reason,), 1)

    def _add(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        add = self._adders.get((metric, labels))
        if add is None:  # a child is looked up once: that costs more than adding to it
            if metric.kind is Kind.COUNTER:
                counter = self._metrics.counter(metric)
                add = (counter.labels(*labels) if labels else counter).inc
            else:
                histogram = self._metrics.histogram(metric)
                add = (histogram.labels(*labels) if labels else histogram).observe
            self._adders[metric, labels] = add
        add(value)
