"""``/metrics``: what is counted and what is known at this moment, in the format that the client wants.

State is read in the loop's thread, where it does not change meanwhile; the text is made in another one, so that a thousand workers' series
hold up a round for no longer than a switch of threads.
"""

from __future__ import annotations

import asyncio
import gzip
import platform
import time
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from fedcore import __version__
from fedcore.coordinator import metrics as m
from fedcore.coordinator.app import Page
from fedcore.coordinator.gauges import job_series, read_workers, worker_series
from fedcore.coordinator.linger import was_awaited
from fedcore.coordinator.meter import READ_COUNTERS
from fedcore.coordinator.perworker import Choice
from fedcore.metrics import BUILD_INFO, Kind, Labelled, families
from fedcore.report.trackers import Trackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric as Family

    from fedcore.coordinator.gauges import Series
    from fedcore.coordinator.service import Service
    from fedcore.metrics import Metric

__all__ = ["Exposition"]

_READ = tuple(metric for metric in m.CATALOGUE if metric.kind is Kind.GAUGE or metric in READ_COUNTERS)
_GZIP_LEVEL = 1
"""Text of this kind shrinks to an eighth at the lowest level, in a fifth of the time that the highest takes for a tenth."""


class Exposition:
    """The metrics of one job's coordinator.

    Parameters
    ----------
    service : Service
        The job, and what was counted of it.
    job : str
        Its name: every series has it as ``federatedjob``.
    tls : bool
        Whether workers are served under TLS.
    trackers : Trackers
        Those of the run.
    """

    def __init__(self, service: Service, job: str, *, tls: bool, trackers: Trackers | None = None) -> None:
        self._service = service
        self._job = {"federatedjob": job}
        self._tls = str(tls).lower()
        self._trackers = trackers or Trackers()
        self._choice = Choice()

    async def page(self, headers: Mapping[str, str]) -> Page:
        """Answer a scrape."""
        scrapes, began = self._service.scrapes, time.monotonic()
        scrapes.begun()
        final = self._service.engine.end is not None
        read = _Snapshot(_READ, list(self._series()), self._job, beside=self._service.meter.registry)
        encode, content_type = _encoder(headers.get("accept", ""))
        compress = gzip_accepted(headers.get("accept-encoding", ""))

        def render() -> bytes:
            text = encode(read)
            return gzip.compress(text, _GZIP_LEVEL) if compress else text

        body = await asyncio.get_running_loop().run_in_executor(None, render)
        more = {"Content-Encoding": "gzip"} if compress else {}

        def answered() -> None:
            scrapes.answered(final=final and was_awaited(headers, time.monotonic() - began))

        return Page(content_type, body, headers=more, answered=answered)

    def outcome(self) -> Collector:
        """Return what is known of the job as a whole, for those who keep it when the process has gone: nothing of workers and requests."""
        known = [metric for metric in _READ if metric not in {*m.PER_WORKER, m.SERIES_DROPPED}]
        return _Snapshot(known, list(self._series(workers=False)), self._job)

    def _series(self, *, workers: bool = True) -> Iterator[Series]:
        service = self._service
        engine, history = service.engine, service.meter.history
        spec = engine.spec
        yield BUILD_INFO, (__version__, platform.python_version(), "coordinator"), 1
        yield m.RUN_INFO, (engine.run_id, spec.task.entrypoint, spec.workload.policy, spec.aggregation.algorithm, self._tls), 1
        sent, received = history.carried or (service.bytes_sent, service.bytes_received)
        yield m.PAYLOAD, ("sent",), sent
        yield m.PAYLOAD, ("received",), received
        for tracker, errors in self._trackers.errors.items():
            yield m.TRACKER_ERRORS, (tracker,), errors
        yield m.UPLOADS_IN_FLIGHT, (), service.uploads_in_flight
        yield from job_series(engine, history, resumes=service.journal.resume)
        readings, counts = read_workers(engine, history, service.now(), time.time())
        yield from counts
        if workers:
            yield from worker_series(readings, self._choice.among(spec.metrics.per_worker, readings, history.closes))


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Choose a format; who asks for a version that is no number gets the plain one."""
    try:
        return choose_encoder(accept)
    except TypeError:
        return choose_encoder("")


class _Snapshot(Collector):
    """State of one moment, and beside it counters, which may be read at any."""

    def __init__(self, known: Sequence[Metric], series: list[Series], job: dict[str, str], *, beside: Collector | None = None) -> None:
        self._known = known
        self._series = series
        self._job = job
        self._beside = beside

    def collect(self) -> Iterator[Family]:
        if self._beside is not None:
            yield from Labelled(self._beside, self._job).collect()
        yield from families(self._known, self._series, self._job)
