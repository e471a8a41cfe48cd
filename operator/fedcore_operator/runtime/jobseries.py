"""Samples of the jobs: a pure function of what is stored of them.

Nothing is remembered, so a deleted job's series are gone at the next scrape, and counters that come from the status never fall: neither a
restart of the operator nor another leader begins them anew.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, cast

from fedcore_operator.api import names
from fedcore_operator.api.conditions import ConditionType, end_reason, holds, is_finished
from fedcore_operator.api.job import Job
from fedcore_operator.runtime import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from fedcore.metrics import Metric
    from fedcore.spec import Status
    from fedcore_operator.api.job import StoredJob

__all__ = ["Sample", "job_samples", "phase_samples"]


class Sample(NamedTuple):
    """A value of a series."""

    metric: Metric
    labels: tuple[str, ...]
    """Values of the metric's labels, in order."""
    value: float


def phase_samples(jobs: Iterable[StoredJob]) -> Iterator[Sample]:
    """Yield how many jobs there are, by namespace and phase; each phase of a namespace that has a job."""
    jobs = tuple(jobs)
    counted = Counter((job.namespace, _phase(job.status)) for job in jobs)
    for place in product(sorted({job.namespace for job in jobs}), metrics.JOBS.labels[-1].values):
        yield Sample(metrics.JOBS, place, counted[place])


def job_samples(job: StoredJob, pods: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    """Yield all samples of one job.

    Parameters
    ----------
    job : StoredJob
        One that the models do not take has no more to say than its status.
    pods : iterable of mapping
        Pods that bear its label, as the API server stores them; those of an earlier job of its name do not count.
    """
    place, status = (job.namespace, job.name), job.status
    if isinstance(job, Job):
        yield Sample(metrics.JOB_INFO, (*place, job.spec.task.entrypoint, job.spec.workload.policy), 1)
        yield Sample(metrics.JOB_TARGET_ROUNDS, place, job.spec.rounds)
        yield Sample(metrics.JOB_DESIRED_WORKERS, place, job.spec.workers.replicas)
    phase = _phase(status)
    for word in metrics.JOB_PHASE.labels[-1].values:
        yield Sample(metrics.JOB_PHASE, (*place, word), word == phase)
    if is_finished(status):
        yield Sample(metrics.JOB_FINISHED, (*place, end_reason(status)), 1)
    progress = status.progress
    yield Sample(metrics.JOB_CURRENT_ROUND, place, 0 if progress is None else progress.round)
    yield Sample(metrics.JOB_READY_WORKERS, place, status.workers.ready)
    yield Sample(metrics.JOB_REQUIRED_WORKERS, place, status.quorum.required)
    yield Sample(metrics.JOB_QUORUM_MET, place, holds(status, ConditionType.QUORUM_MET))
    measured = _measured(status)
    for metric, name in ((metrics.JOB_ACCURACY, "accuracy"), (metrics.JOB_LOSS, "loss")):
        if name in measured:
            yield Sample(metric, place, measured[name])
    yield Sample(metrics.JOB_START, place, _unix(status.start_time))
    yield Sample(metrics.JOB_COMPLETION, place, _unix(status.completion_time))
    yield Sample(metrics.JOB_PROGRESS, place, _unix(None if progress is None else progress.observed_time))
    counted = Counter(_role_and_phase(raw) for raw in pods if _owner(raw) == job.uid)
    for role, word in product(*(label.values for label in metrics.JOB_PODS.labels[-2:])):
        yield Sample(metrics.JOB_PODS, (*place, role, word), counted[role, word])
    for role, counts in ((names.Role.COORDINATOR, status.coordinator), (names.Role.WORKER, status.workers)):
        yield Sample(metrics.JOB_RESTARTS, (*place, str(role)), counts.restarts)
        yield Sample(metrics.JOB_DISRUPTIONS, (*place, str(role)), counts.disruptions)


def _phase(status: Status) -> str:
    return status.phase or "Pending"  # nobody has looked at it yet, or its spec cannot be read


def _measured(status: Status) -> dict[str, float]:
    """Return the task's metrics, the final ones after the end; what is no finite number is not known."""
    said = (status.result.metrics if status.result is not None else ()) or (status.progress.metrics if status.progress is not None else ())
    values: dict[str, float] = {}
    for one in said:
        try:
            values[one.name] = float(one.value)
        except ValueError:
            continue
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _unix(time: datetime | None) -> float:
    return 0 if time is None else time.timestamp()


def _owner(raw: Mapping[str, Any]) -> str | None:
    owners = raw["metadata"].get("ownerReferences") or ()
    return cast("str | None", next((one.get("uid") for one in owners if one.get("controller")), None))


def _role_and_phase(raw: Mapping[str, Any]) -> tuple[str, str]:
    role = (raw["metadata"].get("labels") or {}).get(names.ROLE, "")
    return role, (raw.get("status") or {}).get("phase") or "Unknown"
