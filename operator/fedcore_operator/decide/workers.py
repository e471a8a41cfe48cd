"""What follows from the workers' pods: next attempts, who is given up, who retires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedcore.engine.reasons import EndReason
from fedcore.engine.restarts import Cause, GaveUp
from fedcore.spec import format_indexes, parse_indexes
from fedcore.spec.status import Ending, WorkerIndex
from fedcore_operator.api import names
from fedcore_operator.decide.classify import End, end_of, has_ended, vanished
from fedcore_operator.decide.places import after, worker_policy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from fedcore.engine.restarts import RestartPolicy
    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation, PodView

__all__ = ["follow_workers", "gone", "retire", "started_indexes"]


def started_indexes(status: Status) -> set[int]:
    """Return the workers whose current attempt has been seen."""
    return set(parse_indexes(status.workers.started)) if status.workers.started else set()


def gone(status: Status, job: Job) -> tuple[int, ...]:
    """Return the workers that will not come back unless their budget is raised."""
    return tuple(one.index for one in status.worker_indexes if one.gave_up and one.index < job.spec.workers.replicas)


def follow_workers(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status after a look at each current attempt.

    An end that another attempt would repeat sets ``ending``: the coordinator is asked to end the job.
    """
    entries = {one.index: one for one in status.worker_indexes}
    started = started_indexes(status)
    policy = worker_policy(job)
    non_retryable = job.spec.failure_policy.non_retryable_exit_codes
    coordinator = seen.pods.get(None, status.coordinator.attempt)
    ending = status.ending
    for index in range(job.spec.workers.replicas):
        entry = entries.get(index) or WorkerIndex(index=index, attempt=status.attempt_base)
        pod = seen.pods.get(index, entry.attempt)
        if pod is not None:
            started.add(index)
        if ending is not None:
            continue  # as for the coordinator: nothing is started any more
        if entry.gave_up:
            revived = _revived(entry, policy)
            if revived is not None:
                entries[index] = revived
                started.discard(index)
            continue
        if pod is None:
            end = vanished(now) if index in started else None
        else:
            end = end_of(pod, non_retryable, now) if has_ended(pod, now) else None
        if end is not None and end.cause is Cause.FINISHED and _was_stopped_before(end, coordinator):
            end = replace(end, cause=Cause.DISRUPTED)
        if end is None or end.cause is Cause.FINISHED:
            continue
        following = after(entry, end, policy)
        if not isinstance(following, GaveUp):
            entries[index] = entry.model_copy(update=following)
            started.discard(index)
        elif following.cause is Cause.FATAL:
            entries[index] = entry.model_copy(update={"last_exit": end.exit})
            ending = Ending(reason=str(EndReason.NON_RETRYABLE_EXIT), message=_fatal(job, entry, end), since=now)
        else:
            entries[index] = entry.model_copy(update={"gave_up": True, "last_exit": end.exit})
    return _with(status, entries.values(), started).model_copy(update={"ending": ending})


def retire(status: Status, job: Job, seen: Observation) -> Status:
    """Return the status with the attempts of workers above ``replicas`` lifted: their pods are leftovers from now on.

    First the index leaves the desired set, then its pod is deleted: a worker that comes back by a later scale-up is a new attempt.
    """
    replicas = job.spec.workers.replicas
    entries = {one.index: one for one in status.worker_indexes}
    started = started_indexes(status)
    for index in sorted({index for index in (*started, *seen.pods.by_index) if index is not None and index >= replicas}):
        entry = entries.get(index) or WorkerIndex(index=index, attempt=status.attempt_base)
        used = max((pod.attempt for pod in seen.pods.at(index)), default=0)
        if index in started or used >= entry.attempt:
            entries[index] = entry.model_copy(update={"attempt": max(used, entry.attempt) + 1, "not_before": None})
            started.discard(index)
    return _with(status, entries.values(), started)


def _with(status: Status, entries: Iterable[WorkerIndex], started: Iterable[int]) -> Status:
    workers = status.workers.model_copy(update={"started": format_indexes(started)})
    return status.model_copy(update={"worker_indexes": tuple(sorted(entries, key=lambda one: one.index)), "workers": workers})


def _revived(entry: WorkerIndex, policy: RestartPolicy) -> WorkerIndex | None:
    """Return the next attempt of a worker that was given up, if its budget has been raised since."""
    if entry.last_exit is None:
        return None
    following = after(entry, End(Cause.FAILED, entry.last_exit), policy)
    return None if isinstance(following, GaveUp) else entry.model_copy(update={**following, "gave_up": False})


def _was_stopped_before(end: End, coordinator: PodView | None) -> bool:
    """Say whether a coordinator that is no more told the worker to stop: the one that runs now knows of no end, and needs workers."""
    return coordinator is not None and coordinator.running_since is not None and coordinator.running_since > end.exit.time


def _fatal(job: Job, entry: WorkerIndex, end: End) -> str:
    said = f": {end.exit.message}" if end.exit.message else ""
    return f"{names.pod_name(job, entry.index, entry.attempt)} ended with exit code {end.exit.exit_code} ({end.exit.reason}){said}"
