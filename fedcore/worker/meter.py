"""A worker's metrics, on a port of its own for a site's own Prometheus. Imported only where they are asked for."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from fedcore import __version__
from fedcore.metrics import BUILD_INFO, Kind, Labelled, build, families
from fedcore.worker import metrics as m
from fedcore.worker.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric as Family

    from fedcore.metrics import Metric

__all__ = ["Meter"]


class Meter(Observer):
    """Counts what it is told.

    Parameters
    ----------
    job : str
        Its name: every series has it as ``federatedjob``.
    """

    def __init__(self, job: str) -> None:
        counted = CollectorRegistry()
        self._metrics = build((metric for metric in m.CATALOGUE if metric.kind is not Kind.GAUGE), counted)
        counted.register(_Gauges(self))
        self.registry = CollectorRegistry()
        self.registry.register(Labelled(counted, {"federatedjob": job}))
        self.holds_session = False
        self.train_loss: float | None = None

    def serve(self, port: int) -> int:
        """Serve ``/metrics`` in a thread, and return the port: 0 takes a free one.

        Raises
        ------
        OSError
            The port cannot be used.
        """
        server, _ = start_http_server(port, registry=self.registry)
        return server.server_port

    def connected(self, *, holds: bool) -> None:
        """Note whether there is a session."""
        self.holds_session = holds

    def attempted(self, method: str, result: str) -> None:
        """Count a call."""
        self._metrics.counter(m.RPC_ATTEMPTS).labels(method, result).inc()

    def carried(self, direction: str, size_bytes: int) -> None:
        """Count bytes."""
        self._metrics.counter(m.PAYLOAD).labels(direction).inc(size_bytes)

    def trained(self, seconds: float, loss: float | None) -> None:
        """Observe a training."""
        self._metrics.histogram(m.TRAIN).observe(seconds)
        self.train_loss = loss

    def passed(self, epochs: float) -> None:
        """Count epochs."""
        self._metrics.counter(m.LOCAL_EPOCHS).inc(epochs)

    def task_ended(self, result: str) -> None:
        """Count a task."""
        self._metrics.counter(m.TASKS).labels(result).inc()


class _Gauges(Collector):
    """What is known now; a loss before any training is not."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Family]:
        series: list[tuple[Metric, tuple[str, ...], float]] = [
            (BUILD_INFO, (__version__, platform.python_version(), "worker"), 1),
            (m.CONNECTED, (), self._meter.holds_session),
        ]
        if self._meter.train_loss is not None:
            series.append((m.TRAIN_LOSS, (), self._meter.train_loss))
        yield from families((metric for metric in m.CATALOGUE if metric.kind is Kind.GAUGE), series)
