"""The CoordinatorReady condition: what keeps the coordinator from serving, in one word and a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.spec.times import format_time
from fedcore_operator.api import names
from fedcore_operator.api.conditions import ConditionType, Reason, set_condition
from fedcore_operator.decide.classify import has_ended
from fedcore_operator.decide.lifecycle import is_active
from fedcore_operator.decide.progress import has_ended_run

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.conditions import State
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation, PodView

__all__ = ["IMAGE_PROBLEMS", "show_coordinator"]

IMAGE_PROBLEMS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
"""Words of the kubelet for an image that it cannot get."""
_NO_NODE = {"Unschedulable", "SchedulingGated"}


def show_coordinator(status: Status, job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with the coordinator as it is."""
    entry = status.coordinator
    pod = seen.pods.get(None, entry.attempt)
    reason, message = _word(status, job, seen, pod, now)
    ready = reason is Reason.READY
    shown = {"pod_name": names.pod_name(job, None, entry.attempt), "address": names.address(job)} if is_active(status, job) else {}
    entry = entry.model_copy(update={"ready": ready, **shown})
    status = status.model_copy(update={"coordinator": entry})
    state: State = "True" if ready else "False"
    return set_condition(status, ConditionType.COORDINATOR_READY, state, reason, message, generation=job.generation, now=now)


def _word(status: Status, job: Job, seen: Observation, pod: PodView | None, now: datetime) -> tuple[Reason, str]:
    entry = status.coordinator
    name = names.pod_name(job, None, entry.attempt)
    again = entry.last_exit is not None
    on_its_way = Reason.RESTARTING if again else Reason.STARTING
    if not is_active(status, job):
        return Reason.STARTING, "the job is suspended" if job.spec.suspend else "the job has not started"
    if pod is None:
        refusal = next((one for one in seen.refusals if one.index is None and one.attempt == entry.attempt), None)
        if refusal is not None:
            return Reason.POD_CREATE_FAILED, f"{name}: {refusal.message}"
        if entry.not_before is not None and entry.not_before > now:
            return on_its_way, f"{name} starts at {format_time(entry.not_before)}"
        return on_its_way, f"{name} is about to be made"
    if pod.ready and not has_ended(pod, now):
        if has_ended_run(status, seen, now):
            return Reason.READY, f"{name} has ended the run and waits for its last scrape, {job.spec.metrics.linger_seconds} s at most"
        return Reason.READY, f"{name} serves at {names.address(job)}"
    if pod.waiting is not None and pod.waiting.reason in _NO_NODE:
        return Reason.UNSCHEDULABLE, f"{name}: {pod.waiting.message or pod.waiting.reason}"
    if pod.waiting is not None and pod.waiting.reason in IMAGE_PROBLEMS:
        return Reason.IMAGE_PULL_FAILED, f"{name}: {pod.waiting.message or pod.waiting.reason}"
    return on_its_way, f"{name} starts" if pod.waiting is None else f"{name}: {pod.waiting.reason}"
