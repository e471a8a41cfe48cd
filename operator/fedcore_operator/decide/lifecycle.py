"""Start, suspend, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.spec.status import QuorumStatus
from fedcore_operator.api.conditions import ConditionType, Reason, condition, holds, set_condition
from fedcore_operator.decide.acceptance import is_accepted

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore.spec.status import Images
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation

__all__ = ["is_active", "start", "suspend_or_resume"]


def is_active(status: Status, job: Job) -> bool:
    """Say whether the job has pods, or is to have them."""
    return status.start_time is not None and not job.spec.suspend


def suspend_or_resume(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status after a change of ``suspend``.

    Suspending lifts every attempt above all that were used, before any pod is deleted: what is deleted then belongs to lower attempts,
    which nobody judges, and a pass that was cut off half-way goes on where it was.
    """
    suspended = holds(status, ConditionType.SUSPENDED)
    if job.spec.suspend and not suspended:
        if status.start_time is not None:
            status = _lifted(status, seen)
        return _said(status, job, now, state=True)
    if not job.spec.suspend and suspended:
        if status.start_time is not None:
            status = status.model_copy(update={"start_time": now})
        return _said(status, job, now, state=False)
    return status


def start(status: Status, job: Job, images: Images, now: datetime) -> Status:
    """Return the status of a job whose first pod is about to be made, if it may be."""
    if job.spec.suspend or status.start_time is not None or not is_accepted(status, job):
        return status
    return status.model_copy(update={"start_time": now, "images": images})


def _lifted(status: Status, seen: Observation) -> Status:
    workers = [pod.attempt for pod in seen.pods.all if pod.index is not None]
    base = 1 + max([status.attempt_base, *(one.attempt for one in status.worker_indexes), *workers])
    coordinators = [pod.attempt for pod in seen.pods.at(None)]
    coordinator = status.coordinator.model_copy(
        update={"attempt": 1 + max([status.coordinator.attempt, *coordinators]), "started": False, "ready": False, "not_before": None}
    )
    entries = tuple(one.model_copy(update={"attempt": base, "not_before": None}) for one in status.worker_indexes)
    return status.model_copy(
        update={
            "attempt_base": base,
            "coordinator": coordinator,
            "worker_indexes": entries,
            "workers": status.workers.model_copy(update={"started": ""}),
            "quorum_first_met_time": None,
            "quorum": QuorumStatus(required=status.quorum.required),
            "ending": None,
        }
    )


def _said(status: Status, job: Job, now: datetime, *, state: bool) -> Status:
    if state:
        word, reason, message = "True", Reason.SUSPENDED, "pods are deleted; state and counters are kept"
    else:
        word, reason, message = "False", Reason.RESUMED, "the job goes on with the round after its newest checkpoint"
    known = condition(status, ConditionType.SUSPENDED)
    if known is None and not state:
        return status
    return set_condition(
        status, ConditionType.SUSPENDED, "True" if word == "True" else "False", reason, message, generation=job.generation, now=now
    )
