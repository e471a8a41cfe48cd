"""Whether a job may start: what its templates say that they must not, and what the API server's dry run says of its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from fedcore_operator.api.conditions import ConditionType, Reason, condition, is_finished, set_condition
from fedcore_operator.api.job import InvalidJob
from fedcore_operator.decide.answers import Verdict
from fedcore_operator.plan.reserved import template_problems

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.conditions import State
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation

__all__ = ["accept", "dry_run_due", "is_accepted", "refuse"]


def dry_run_due(job: Job | InvalidJob) -> TypeGuard[Job]:
    """Say whether the shapes of a job are to be tried: once per spec, and again while a namespace does not let them in."""
    if isinstance(job, InvalidJob) or job.managed_elsewhere or job.deleting:
        return False
    if is_finished(job.status) or job.problem or template_problems(job.spec):
        return False
    known = condition(job.status, ConditionType.ACCEPTED)
    if known is None or known.observed_generation != job.generation:
        return True
    return known.reason in {Reason.POD_FORBIDDEN, Reason.NAME_CONFLICT}


def is_accepted(status: Status, job: Job) -> bool:
    """Say whether this very spec was accepted."""
    known = condition(status, ConditionType.ACCEPTED)
    return known is not None and known.status == "True" and known.observed_generation == job.generation


def accept(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status after what is known of the job's shapes; unchanged if nothing is."""
    found = _verdict(job, seen)
    if found is None:
        return status
    message = found.message or "the pods of this job pass the API server's dry run"
    state: State = "True" if found.accepted else "False"
    return set_condition(status, ConditionType.ACCEPTED, state, found.reason, message, generation=job.generation, now=now)


def refuse(job: InvalidJob, now: datetime) -> Status:
    """Return the status of a job that the models do not take. What runs of it runs on."""
    status = set_condition(job.status, ConditionType.ACCEPTED, "False", Reason.INVALID_JOB, job.problem, generation=job.generation, now=now)
    return status.model_copy(update={"observed_generation": job.generation, "phase": status.phase or "Pending"})


def _verdict(job: Job, seen: Observation) -> Verdict | None:
    if job.problem:
        return Verdict(Reason.INVALID_JOB, f"left out, the job goes on without it: {job.problem}")
    problems = template_problems(job.spec)
    if problems:
        return Verdict(Reason.INVALID_POD_TEMPLATE, "; ".join(problems))
    conflict = next((refusal for refusal in seen.refusals if refusal.conflict), None)
    return seen.verdict if conflict is None else Verdict(Reason.NAME_CONFLICT, conflict.message)
