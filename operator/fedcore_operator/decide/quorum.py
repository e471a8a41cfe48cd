"""How many workers there are, whether they are enough, and since when they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.engine.quorum import required
from fedcore.engine.reasons import Phase
from fedcore.engine.restarts import Cause
from fedcore.spec.status import QuorumStatus
from fedcore_operator.api.conditions import ConditionType, Reason, condition, set_condition
from fedcore_operator.api.names import Role
from fedcore_operator.decide.classify import end_of, has_ended
from fedcore_operator.decide.places import attempts_of
from fedcore_operator.decide.progress import FRESH, fresh, has_ended_run
from fedcore_operator.decide.waiting import why_workers_wait
from fedcore_operator.decide.workers import gone
from fedcore_operator.plan.children import selector

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.conditions import State
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation

__all__ = ["count_workers", "judge_quorum"]


def count_workers(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with its counts of workers."""
    attempts = attempts_of(status)
    replicas = job.spec.workers.replicas
    active = ready = finished = 0
    for index in range(replicas):
        pod = seen.pods.get(index, attempts.get(index, status.attempt_base))
        if pod is None:
            continue
        if has_ended(pod, now):
            finished += end_of(pod, frozenset(), now).cause is Cause.FINISHED
        else:
            active += 1
            ready += pod.ready
    entries = status.worker_indexes
    workers = status.workers.model_copy(
        update={
            "desired": replicas,
            "active": active,
            "ready": ready,
            "finished": finished,
            "failed": len(gone(status, job)),
            "restarts": sum(one.restarts for one in entries),
            "disruptions": sum(one.disruptions for one in entries),
            "display": f"{ready}/{replicas}",
            "selector": ",".join(f"{key}={value}" for key, value in selector(job, Role.WORKER).items()),
        }
    )
    return status.model_copy(update={"workers": workers, "restarts": workers.restarts + status.coordinator.restarts})


def judge_quorum(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with the quorum: shown as the engine sees it, its loss clock as the pods show it.

    The clock decides a job's fate, and polled progress never does: it can only stop the clock.
    """
    needed = required(job.spec.quorum, job.spec.workers.replicas)
    present = status.workers.ready + status.workers.finished
    polled = fresh(status, seen, now)
    engine_met = polled is not None and polled.progress.quorum_met and polled.progress.phase != Phase.STARTING
    status = _with_condition(status, job, seen, present, needed, now)
    first_met = status.quorum_first_met_time or (now if present >= needed or engine_met else None)
    lost = first_met is not None and present < needed and not engine_met
    quorum = QuorumStatus(required=needed, present=present, lost_since=(status.quorum.lost_since or now) if lost else None)
    return status.model_copy(update={"quorum": quorum, "quorum_first_met_time": first_met})


def _with_condition(status: Status, job: Job, seen: Observation, present: int, needed: int, now: datetime) -> Status:
    if has_ended_run(status, seen, now) and condition(status, ConditionType.QUORUM_MET) is not None:
        return status  # what was true at the end stays, while workers leave
    polled = fresh(status, seen, now)
    told = [f"{present} of {job.spec.workers.replicas} workers are ready, {needed} are required"]
    shown = status.progress  # what was adopted: the message changes no more often than that
    if polled is not None and shown is not None:
        told.append(f"round {shown.display} has {shown.accepted} updates, {shown.registered} workers are registered")
    told += [trouble for trouble in [why_workers_wait(status, job, seen)] if trouble]
    state: State
    if polled is not None:
        said = polled.progress
        met = said.quorum_met and said.phase != Phase.STARTING
        state, reason = ("True", Reason.ENOUGH) if met else ("False", Reason.BELOW_QUORUM)
    elif _said_lately(status, now):
        return status  # after a restart of the operator: what was said a moment ago still holds
    elif present < needed:
        state, reason = "False", Reason.BELOW_QUORUM
    else:
        state, reason = "Unknown", Reason.COORDINATOR_UNREACHABLE
        told.append("the coordinator does not answer polls")
    message = "; ".join(told)
    return set_condition(status, ConditionType.QUORUM_MET, state, reason, message, generation=job.generation, now=now)


def _said_lately(status: Status, now: datetime) -> bool:
    progress, known = status.progress, condition(status, ConditionType.QUORUM_MET)
    recent = progress is not None and progress.observed_time is not None and now - progress.observed_time <= FRESH
    return recent and known is not None and known.reason in {Reason.ENOUGH, Reason.BELOW_QUORUM}
