"""What this process counts and times of its own doing. What is true of jobs is computed from them instead: `runtime.jobseries`."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from fedcore import __version__
from fedcore.engine.reasons import EndReason
from fedcore.metrics import BUILD_INFO, build
from fedcore_operator.api.conditions import ConditionType, condition, end_reason, is_finished
from fedcore_operator.runtime import metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from fedcore.spec import Status
    from fedcore_operator.api.job import StoredJob

__all__ = ["Meters"]


class Meters:
    """Counters and histograms of a process, in its registry.

    Parameters
    ----------
    registry : CollectorRegistry
        The process's own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        made = build(metrics.COUNTED, registry)
        ProcessCollector(registry=registry)
        made.gauge(BUILD_INFO).labels(__version__, platform.python_version(), "operator").set(1)
        self._reconciles = made.histogram(metrics.RECONCILE_DURATION)
        self._failures = made.counter(metrics.RECONCILE_ERRORS)
        self._waits = made.histogram(metrics.QUEUE_WAIT)
        self._calls = made.counter(metrics.KUBE_REQUESTS)
        self._call_seconds = made.histogram(metrics.KUBE_DURATION)
        self._last_events = made.gauge(metrics.WATCH_LAST_EVENT)
        self._polls = made.counter(metrics.POLLS)
        self._events = made.counter(metrics.EVENTS)
        self._jobs_finished = made.counter(metrics.JOBS_FINISHED)
        self._job_seconds = made.histogram(metrics.JOB_DURATION)
        self._first_round_seconds = made.histogram(metrics.TIME_TO_FIRST_ROUND)
        for reason in metrics.REASONS:
            self._jobs_finished.labels(_result(reason), reason)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a pass: ``done``, ``requeue`` or ``error``."""
        self._reconciles.labels(result).observe(seconds)

    def failed(self, cause: str) -> None:
        """Count a pass that was not carried through, by the class of what was in its way."""
        self._failures.labels(cause).inc()

    def waited(self, seconds: float) -> None:
        """Note how long a key had been due when it was picked up."""
        self._waits.observe(seconds)

    def called(self, verb: str, code: int, seconds: float) -> None:
        """Count a call to the Kubernetes API."""
        self._calls.labels(verb, str(code)).inc()
        self._call_seconds.labels(verb).observe(seconds)

    def heard(self, resource: str) -> None:
        """Note that a watch has brought something."""
        self._last_events.labels(resource).set(time.time())

    def polled(self, result: str) -> None:
        """Count a poll of a coordinator."""
        self._polls.labels(result).inc()

    def posted(self, kind: str) -> None:
        """Count an event, ``Normal`` or ``Warning``."""
        self._events.labels(kind).inc()

    def changed(self, job: StoredJob, status: Status) -> None:
        """Count what a status that was written says for the first time of a job.

        Parameters
        ----------
        job : StoredJob
            With the status before.
        status : Status
            The new one.
        """
        before, met_at = job.status, status.quorum_first_met_time
        # Suspension clears that time, and whoever made the job suspended has made it wait.
        if before.quorum_first_met_time is None and met_at is not None and condition(status, ConditionType.SUSPENDED) is None:
            self._first_round_seconds.observe((met_at - job.created_at).total_seconds())
        if is_finished(status) and not is_finished(before):
            reason = end_reason(status)
            self._jobs_finished.labels(_result(reason), reason).inc()
            if status.start_time is not None and status.completion_time is not None:
                self._job_seconds.labels(_result(reason)).observe((status.completion_time - status.start_time).total_seconds())


def _result(reason: str) -> str:
    return "succeeded" if reason == EndReason.COMPLETED else "failed"
