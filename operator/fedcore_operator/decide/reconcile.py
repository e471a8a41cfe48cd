"""One look at a job: what its status is, what has to happen, when to look again. The whole order stands here; the steps are elsewhere.

The caller writes the status first, then acts, then posts the events. A pass that is cut off before the write is repeated as if it had not
been; after it, the status already says what the next pass will want.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore_operator.api.conditions import ConditionType, Reason, is_finished, set_condition
from fedcore_operator.api.job import InvalidJob
from fedcore_operator.decide.acceptance import accept, refuse
from fedcore_operator.decide.actions import actions_after_end, actions_for
from fedcore_operator.decide.coordinator import follow_coordinator, heed_final_word
from fedcore_operator.decide.deadlines import ask_for_end, decide_end
from fedcore_operator.decide.events import events_between, refused_event
from fedcore_operator.decide.lifecycle import is_active, start, suspend_or_resume
from fedcore_operator.decide.phase import phase
from fedcore_operator.decide.progress import adopt
from fedcore_operator.decide.quorum import count_workers, judge_quorum
from fedcore_operator.decide.readiness import show_coordinator
from fedcore_operator.decide.wake import wake_after_end, wake_at
from fedcore_operator.decide.workers import follow_workers, retire
from fedcore_operator.plan.pods import images

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.decide.actions import Action
    from fedcore_operator.decide.events import Event
    from fedcore_operator.decide.observe import Observation

__all__ = ["Decision", "reconcile"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a look at a job."""

    status: Status
    """To be written if it differs from the job's; the actions hold only once it is."""
    actions: tuple[Action, ...] = ()
    """To be done in this order; neighbours of one kind may be done together."""
    events: tuple[Event, ...] = ()
    """To be posted in the end."""
    wake_at: datetime | None = None
    """When to look again at the latest; None if only a change can matter."""


def reconcile(job: Job | InvalidJob, seen: Observation, settings: Settings, now: datetime) -> Decision:
    """Decide what follows from a job and all that is seen of it."""
    now = now.replace(microsecond=0)  # as all times of the API: what is written reads back equal
    before = job.status
    if job.managed_elsewhere or job.deleting:
        return Decision(before)
    if isinstance(job, InvalidJob):
        return Decision(before) if is_finished(before) else _held(job, seen, now)
    if is_finished(before):
        return Decision(before, actions_after_end(before, job, seen, now), wake_at=wake_after_end(before, job, seen, now))
    status = _next_status(before, job, seen, settings, now)
    status = status.model_copy(update={"observed_generation": job.generation, "phase": phase(status)})
    events = events_between(job, before, status)
    if is_finished(status):
        return Decision(status, actions_after_end(status, job, seen, now), events, wake_after_end(status, job, seen, now))
    return Decision(status, actions_for(status, job, seen, settings, now), events, wake_at(status, job, seen, settings, now))


def _held(job: InvalidJob, seen: Observation, now: datetime) -> Decision:
    """Decide on a job that cannot be read: what runs of it runs on, nothing is made, and its coordinator's last word counts."""
    status = heed_final_word(refuse(job, now), job, seen, now)
    if is_finished(status):
        status = status.model_copy(update={"phase": phase(status)})
    return Decision(status, events=refused_event(job.status, status))


def _next_status(status: Status, job: Job, seen: Observation, settings: Settings, now: datetime) -> Status:
    status = heed_final_word(status, job, seen, now)
    if is_finished(status):
        return status
    status = accept(status, job, seen, now)
    status = suspend_or_resume(status, job, seen, now)
    status = start(status, job, images(job, settings), now)
    if not is_active(status, job):
        return _resting(status, job, seen, now)
    status = follow_coordinator(status, job, seen, now)
    if is_finished(status):
        return count_workers(status, job, seen, now)
    for step in (follow_workers, _retired, count_workers, adopt, judge_quorum, ask_for_end, decide_end):
        status = step(status, job, seen, now)
    return status if is_finished(status) else show_coordinator(status, job, seen, now)


def _retired(status: Status, job: Job, seen: Observation, _now: datetime) -> Status:
    return retire(status, job, seen)


def _resting(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status of a job that is to have no pods: suspended, or not accepted yet."""
    status = count_workers(status, job, seen, now)
    status = show_coordinator(status, job, seen, now)
    why = "the job is suspended" if job.spec.suspend else "the job has not started"
    return set_condition(status, ConditionType.QUORUM_MET, "False", Reason.NOT_STARTED, why, generation=job.generation, now=now)
