"""Who ends a job that should not go on: the coordinator whenever it can, the operator when it must.

The coordinator writes report and reason, so it is asked, through its job input, after ``status.ending`` is written. The operator decides
by itself only when there is no coordinator to ask, or when the one that was asked has not ended within a minute, and the time that it may
wait for its last scrape.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fedcore.engine.quorum import required
from fedcore.engine.reasons import EndReason
from fedcore.spec.status import MESSAGE_CHARS, Ending
from fedcore_operator.api.conditions import ConditionType, Reason, condition
from fedcore_operator.decide.coordinator import is_serving
from fedcore_operator.decide.outcome import fail
from fedcore_operator.decide.progress import has_ended_run
from fedcore_operator.decide.waiting import why_workers_wait
from fedcore_operator.decide.workers import gone

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation

__all__ = ["ask_for_end", "decide_end", "due_times"]

_TROUBLES = {Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.POD_CREATE_FAILED}
"""What keeps a coordinator from starting and may never end."""
_PATIENCE = timedelta(seconds=60)
"""What the coordinator has to do the end that it is asked for, or that its own clock should have brought."""


def ask_for_end(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with the end that the coordinator is to be asked for, if any is due and none was asked for before."""
    if status.ending is not None:
        return status
    wanted = _unreachable(status, job) or _overdue(status, job, seen, now)
    if wanted is None:
        return status
    reason, message = wanted
    return status.model_copy(update={"ending": Ending(reason=str(reason), message=message, since=now)})


def decide_end(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with the job failed, if it is time for the operator to say so."""
    ending = status.ending
    if ending is not None and (now >= _patience_ends(ending, status, job, seen, now) or not is_serving(status, seen.pods, now)):
        return fail(status, job, ending.reason, ending.message, now)
    lost_at = _lost_at(status, job)
    if lost_at is not None and now >= lost_at:
        quorum, grace = status.quorum, job.spec.quorum.loss_grace_period_seconds
        message = f"{quorum.present} of {quorum.required} required workers are there, for longer than {grace} s"
        return fail(status, job, EndReason.QUORUM_LOST, message, now)
    return status


def _patience_ends(ending: Ending, status: Status, job: Job, seen: Observation, now: datetime) -> datetime:
    """Return when an end that was asked for is overdue: a run that was over by then waits for its last scrape, and its own end counts."""
    lingers = timedelta(seconds=job.spec.metrics.linger_seconds) if has_ended_run(status, seen, now) else timedelta(0)
    return ending.since + _PATIENCE + lingers


def due_times(status: Status, job: Job) -> list[datetime]:
    """Return when the two functions above may have something to say."""
    times = [_startup_deadline(status, job), _active_deadline(status, job), _lost_at(status, job)]
    if status.ending is not None:
        asked_until = status.ending.since + _PATIENCE
        times += [asked_until, asked_until + timedelta(seconds=job.spec.metrics.linger_seconds)]
    return [time for time in times if time is not None]


def _unreachable(status: Status, job: Job) -> tuple[EndReason, str] | None:
    replicas, lost = job.spec.workers.replicas, gone(status, job)
    needed = required(job.spec.quorum, replicas)
    if replicas - len(lost) >= needed:
        return None
    names = ", ".join(f"worker-{index}" for index in lost[:5]) + ("" if len(lost) <= 5 else f" and {len(lost) - 5} more")
    return EndReason.QUORUM_UNREACHABLE, f"{needed} of {replicas} workers are required and {len(lost)} are given up: {names}"


def _overdue(status: Status, job: Job, seen: Observation, now: datetime) -> tuple[EndReason, str] | None:
    startup, active = _startup_deadline(status, job), _active_deadline(status, job)
    if startup is not None and now >= startup:
        quorum = status.quorum
        message = f"only {quorum.present} of {quorum.required} required workers came within {job.spec.startup_deadline_seconds} s"
        told = [message, *_what_kept_them(status, job, seen)]
        return EndReason.STARTUP_DEADLINE_EXCEEDED, "; ".join(told)[:MESSAGE_CHARS]
    if active is not None and now >= active:
        return EndReason.DEADLINE_EXCEEDED, f"the job has run for {job.spec.active_deadline_seconds} s"
    return None


def _what_kept_them(status: Status, job: Job, seen: Observation) -> list[str]:
    """Return what pods wait for at this moment: when the job has ended and they are gone, only its message still says it."""
    coordinator = condition(status, ConditionType.COORDINATOR_READY)
    told = [coordinator.message] if coordinator is not None and coordinator.reason in _TROUBLES else []
    return told + [trouble for trouble in [why_workers_wait(status, job, seen)] if trouble]


def _startup_deadline(status: Status, job: Job) -> datetime | None:
    seconds = job.spec.startup_deadline_seconds
    if not seconds or status.start_time is None or status.quorum_first_met_time is not None:
        return None
    return status.start_time + timedelta(seconds=seconds)


def _active_deadline(status: Status, job: Job) -> datetime | None:
    seconds = job.spec.active_deadline_seconds
    return None if seconds is None or status.start_time is None else status.start_time + timedelta(seconds=seconds)


def _lost_at(status: Status, job: Job) -> datetime | None:
    """Return when the operator takes the quorum for lost: a minute after the coordinator, which has a clock of its own, should have."""
    grace, since = job.spec.quorum.loss_grace_period_seconds, status.quorum.lost_since
    return None if not grace or since is None else since + timedelta(seconds=grace) + _PATIENCE
