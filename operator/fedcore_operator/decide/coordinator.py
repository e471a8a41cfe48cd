"""What follows from the coordinator's pods: the job's end, or the next attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fedcore.engine.reasons import EndReason
from fedcore.engine.restarts import Cause, GaveUp
from fedcore_operator.api import names
from fedcore_operator.decide.classify import end_of, has_ended, vanished
from fedcore_operator.decide.outcome import fail, finish
from fedcore_operator.decide.places import after, coordinator_policy
from fedcore_operator.decide.progress import adopt_last
from fedcore_operator.plan.storage import has_volume

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import InvalidJob, Job
    from fedcore_operator.decide.classify import End
    from fedcore_operator.decide.observe import Final, Observation, Pods

__all__ = ["final_word", "follow_coordinator", "heed_final_word", "is_serving"]

_RENEW_AFTER = timedelta(days=335)
"""A certificate is valid for a year: an older attempt is replaced in time. Only on a volume: without one the run would begin anew."""


def final_word(status: Status, pods: Pods) -> Final | None:
    """Return what the coordinator said of the job's end, if it did.

    That of a lower attempt counts if it completed the job, say while it was being suspended. Its failures do not: an old coordinator on a
    cut-off node loses its workers to the next one and then, rightly from where it stands, its quorum.
    """
    for pod in reversed(pods.at(None)):
        final = None if pod.exit is None else pod.exit.final
        if final is not None and (pod.attempt == status.coordinator.attempt or final.reason is EndReason.COMPLETED):
            return final
    return None


def heed_final_word(status: Status, job: Job | InvalidJob, seen: Observation, now: datetime) -> Status:
    """Return the status after the coordinator's last word, if it has said it."""
    final = final_word(status, seen.pods)
    return status if final is None else finish(adopt_last(status, seen, now), job, final, now)


def is_serving(status: Status, pods: Pods, now: datetime) -> bool:
    """Say whether there is a coordinator to ask for anything: a container of the current attempt that runs."""
    pod = pods.get(None, status.coordinator.attempt)
    return pod is not None and pod.running_since is not None and not has_ended(pod, now)


def follow_coordinator(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status after a look at the current attempt: counted, and the next one named, if it has ended."""
    entry = status.coordinator
    pod = seen.pods.get(None, entry.attempt)
    if pod is not None and not entry.started:
        entry = entry.model_copy(update={"started": True})
        status = status.model_copy(update={"coordinator": entry})
    if status.ending is not None:
        return status  # nothing is started any more: what is asked for is done now or decided (`deadlines`)
    if pod is None:
        return _next(status, job, vanished(now), now) if entry.started else status
    if has_ended(pod, now, sole_writer=has_volume(job)):
        return _next(status, job, end_of(pod, job.spec.failure_policy.non_retryable_exit_codes, now), now)
    if job.spec.security.tls and has_volume(job) and pod.deleting_at is None and now >= pod.created_at + _RENEW_AFTER:
        renewed = entry.model_copy(update={"attempt": entry.attempt + 1, "started": False})
        return status.model_copy(update={"coordinator": renewed})
    return status


def _next(status: Status, job: Job, end: End, now: datetime) -> Status:
    entry = status.coordinator
    following = after(entry, end, coordinator_policy(job))
    if not isinstance(following, GaveUp):
        return status.model_copy(update={"coordinator": entry.model_copy(update={**following, "started": False, "ready": False})})
    status = status.model_copy(update={"coordinator": entry.model_copy(update={"last_exit": end.exit, "ready": False})})
    pod = names.pod_name(job, None, entry.attempt)
    code = "" if end.exit.exit_code is None else f" with exit code {end.exit.exit_code}"
    said = f"{pod} ended{code} ({end.exit.reason}){f': {end.exit.message}' if end.exit.message else ''}"
    if end.cause is Cause.FATAL:
        return fail(status, job, EndReason.NON_RETRYABLE_EXIT, said, now)
    spent = f"; {entry.restarts} of {job.spec.coordinator.max_restarts} restarts are spent"
    return fail(status, job, EndReason.COORDINATOR_FAILED, said + spent, now)
