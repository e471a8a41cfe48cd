"""The end of a job: written once, and nothing flips it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import EndReason
from fedcore.spec.status import ProgressStatus, ResultStatus
from fedcore_operator.api.conditions import ConditionType, Reason, condition, is_finished, set_condition
from fedcore_operator.api.job import Job
from fedcore_operator.decide.progress import shown_metrics

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import StoredJob
    from fedcore_operator.decide.observe import Final

__all__ = ["fail", "finish"]


def finish(status: Status, job: StoredJob, final: Final, now: datetime) -> Status:
    """Return the status of a job whose coordinator has said how it ended."""
    result = ResultStatus(
        reason=str(final.reason),
        rounds=final.rounds,
        metrics=shown_metrics(dict(final.metrics)),
        artifact=final.artifact,
        sha256=final.sha256,
    )
    # A short job may be over between two looks at it; a round that closed had its quorum.
    met_at = status.quorum_first_met_time or (now if final.rounds else None)
    status = status.model_copy(update={"result": result, "quorum_first_met_time": met_at})
    if final.reason is not EndReason.COMPLETED:
        return fail(status, job, final.reason, final.message, now)
    accuracy = next((metric.value for metric in result.metrics if metric.name == "accuracy"), "")
    told = final.message or f"{final.rounds} rounds" + (f", accuracy {accuracy}" if accuracy else "")
    total = job.spec.rounds if isinstance(job, Job) else final.rounds
    shown: dict[str, Any] = {"round": final.rounds, "total_rounds": total, "display": f"{final.rounds}/{total}"}
    if result.metrics:
        shown |= {"metrics": result.metrics, "accuracy": accuracy, "metrics_version": final.rounds}
    # A job may be over before its first poll.
    progress = (status.progress or ProgressStatus()).model_copy(update=shown)
    status = status.model_copy(update={"progress": progress})
    return _ended(status, job, ConditionType.COMPLETE, EndReason.COMPLETED, told, now)


def fail(status: Status, job: StoredJob, reason: EndReason | str, message: str, now: datetime) -> Status:
    """Return the status of a job that has failed; one that has ended already stays as it is."""
    return status if is_finished(status) else _ended(status, job, ConditionType.FAILED, reason, message, now)


def _ended(status: Status, job: StoredJob, kind: ConditionType, reason: str, message: str, now: datetime) -> Status:
    generation = job.generation
    status = set_condition(status, kind, "True", str(reason), message, generation=generation, now=now)
    status = set_condition(
        status, ConditionType.COORDINATOR_READY, "False", Reason.FINISHED, "the job has ended", generation=generation, now=now
    )
    quorum = condition(status, ConditionType.QUORUM_MET)
    # The column keeps what was true at the end; without a quorum no job completes.
    met = kind is ConditionType.COMPLETE or (quorum is not None and quorum.status == "True")
    status = set_condition(
        status,
        ConditionType.QUORUM_MET,
        "True" if met else "False",
        Reason.FINISHED,
        "the job has ended",
        generation=generation,
        now=now,
    )
    coordinator = status.coordinator.model_copy(update={"ready": False})
    return status.model_copy(update={"completion_time": now, "coordinator": coordinator})
