"""When a job is to be looked at again, though nothing may have happened to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fedcore_operator.decide.actions import LEAVE, may_start_at
from fedcore_operator.decide.classify import LOST_AFTER
from fedcore_operator.decide.deadlines import due_times
from fedcore_operator.decide.lifecycle import is_active
from fedcore_operator.decide.places import attempts_of

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.decide.observe import Observation

__all__ = ["wake_after_end", "wake_at"]

_UNHEARD = timedelta(seconds=30)
"""While a job waits to be accepted or to get rid of its pods: what it waits for may change without an event."""


def wake_at(status: Status, job: Job, seen: Observation, settings: Settings, now: datetime) -> datetime | None:
    """Return when to look again at a job that has not ended; None for a suspended one whose pods are gone."""
    if job.spec.suspend and not any(not pod.over for pod in seen.pods.all):
        return None
    times = [now + (timedelta(seconds=settings.progress_poll_seconds) if is_active(status, job) else _UNHEARD)]
    if is_active(status, job):
        times += due_times(status, job)
        times += [pod.deleting_at + LOST_AFTER for pod in seen.pods.all if pod.deleting_at is not None]
        times.append(may_start_at(None, status.coordinator.attempt, status.coordinator.not_before, seen, now))
        attempts = attempts_of(status)
        waits = {one.index: one.not_before for one in status.worker_indexes}
        times += [
            may_start_at(index, attempts.get(index, status.attempt_base), waits.get(index), seen, now)
            for index in {*waits, *(one.index for one in seen.refusals if one.index is not None)}
        ]
    return min(time for time in times if time > now)


def wake_after_end(status: Status, job: Job, seen: Observation, now: datetime) -> datetime | None:
    """Return when to look again at a job that has ended; None if nothing is left to be done for it."""
    ended = status.completion_time or now
    times = [ended + LEAVE] if any(pod.deleting_at is None for pod in seen.pods.all) else []
    if job.spec.ttl_seconds_after_finished is not None:
        times.append(ended + timedelta(seconds=job.spec.ttl_seconds_after_finished))
    return min((time for time in times if time > now), default=None)
