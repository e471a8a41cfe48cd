"""From the status' entries to the restart policy's records and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from fedcore.engine.restarts import GaveUp, Record, RestartPolicy, after_end
from fedcore.spec.status import CoordinatorStatus, WorkerIndex

if TYPE_CHECKING:
    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.classify import End

__all__ = ["Entry", "after", "attempts_of", "coordinator_policy", "worker_policy"]

Entry: TypeAlias = CoordinatorStatus | WorkerIndex


def coordinator_policy(job: Job) -> RestartPolicy:
    """Return the coordinator's budget."""
    return RestartPolicy(job.spec.coordinator.max_restarts, job.spec.failure_policy.restart_backoff_seconds)


def worker_policy(job: Job) -> RestartPolicy:
    """Return the budget of each worker."""
    return RestartPolicy(job.spec.workers.max_restarts_per_worker, job.spec.failure_policy.restart_backoff_seconds)


def attempts_of(status: Status) -> dict[int, int]:
    """Return the current attempts of the workers that have ended before; all others are at ``attempt_base``."""
    return {one.index: one.attempt for one in status.worker_indexes}


def after(entry: Entry, end: End, policy: RestartPolicy) -> dict[str, object] | GaveUp:
    """Return the fields of the entry that change with its end, or that it has no next attempt."""
    record = Record(
        attempt=entry.attempt,
        restarts=entry.restarts,
        disruptions=entry.disruptions,
        streak=entry.streak,
        not_before=0.0 if entry.not_before is None else entry.not_before.timestamp(),
    )
    started = None if end.started_at is None else end.started_at.timestamp()
    following = after_end(record, end.cause, started, end.exit.time.timestamp(), policy)
    if isinstance(following, GaveUp):
        return following
    return {
        "attempt": following.attempt,
        "restarts": following.restarts,
        "disruptions": following.disruptions,
        "streak": following.streak,
        "not_before": datetime.fromtimestamp(following.not_before, UTC),
        "last_exit": end.exit,
    }
