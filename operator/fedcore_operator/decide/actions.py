"""What has to happen for the cluster to be as the status says. Every action may be done twice, or be cut off before any other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from fedcore_operator.decide.lifecycle import is_active
from fedcore_operator.decide.places import attempts_of
from fedcore_operator.decide.workers import gone
from fedcore_operator.plan.disruption import worker_budget
from fedcore_operator.plan.jobinput import job_input
from fedcore_operator.plan.network import network_policies
from fedcore_operator.plan.pods import coordinator_pod, images, worker_pod
from fedcore_operator.plan.service import service
from fedcore_operator.plan.storage import checkpoint_claim, has_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.decide.observe import Observation, PodView
    from fedcore_operator.plan.children import Manifest

__all__ = [
    "LEAVE",
    "RETRY_AFTER",
    "Action",
    "Apply",
    "CreateCertificate",
    "CreateClaim",
    "CreateJoinSecret",
    "CreatePod",
    "DeleteJob",
    "DeletePod",
    "TellCoordinator",
    "actions_after_end",
    "actions_for",
    "may_start_at",
]

RETRY_AFTER = timedelta(seconds=30)
"""Until a creation that the API server refused is tried again."""
LEAVE = timedelta(seconds=15)
"""What pods get after the end of the job to end by themselves: workers that were told to stop leave their logs."""


@dataclass(frozen=True, slots=True)
class CreateJoinSecret:
    """Create the join Secret (`plan.secrets.join_secret`); that it exists is success."""


@dataclass(frozen=True, slots=True)
class CreateCertificate:
    """Issue a certificate and create its Secret (`plan.secrets.tls_secret`); that it exists is success."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create the checkpoint's claim; that it exists is success."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply an object on the server's side; to be left out if it was the last one applied."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class TellCoordinator:
    """Patch the job input of a pod, with its uid as precondition."""

    pod: str
    uid: str
    text: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod with its own grace period and its uid as precondition; that it is gone is success."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create a pod. What the answer means says `answers.creation`; a refusal belongs into the next observation."""

    index: int | None
    attempt: int
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete the FederatedJob, with its uid as precondition, in the background."""

    uid: str


Action: TypeAlias = CreateJoinSecret | CreateCertificate | CreateClaim | Apply | TellCoordinator | DeletePod | CreatePod | DeleteJob


def actions_for(status: Status, job: Job, seen: Observation, settings: Settings, now: datetime) -> tuple[Action, ...]:
    """Return the actions for a job that has not ended, in order: what pods need comes before them, room is made before it is taken."""
    if not is_active(status, job):
        living = (pod for pod in seen.pods.all if not pod.over and pod.deleting_at is None)
        return tuple(_delete(pod) for pod in living)
    told = job_input(job, gone(status, job), status.ending)
    pods = (*_create_coordinator(status, job, seen, settings, told, now), *_create_workers(status, job, seen, settings, now))
    return (
        *_needs(status, job, pods),
        Apply(service(job, status.coordinator.attempt)),
        *(Apply(policy) for policy in network_policies(job, settings)),
        Apply(worker_budget(job)),
        *_tell(status, seen, told),
        *(_delete(pod) for pod in _leftovers(status, seen)),
        *pods,
    )


def actions_after_end(status: Status, job: Job, seen: Observation, now: datetime) -> tuple[Action, ...]:
    """Return the actions for a job that has ended: nothing is ever made, pods go as the policy says, in the end the job itself."""
    ended = status.completion_time or now
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is not None and now >= ended + timedelta(seconds=ttl):
        return (DeleteJob(job.uid),)
    policy = job.spec.clean_pod_policy
    if policy == "None" or now < ended + LEAVE:
        return ()
    return tuple(_delete(pod) for pod in seen.pods.all if pod.deleting_at is None and (policy == "All" or not pod.over))


def may_start_at(index: int | None, attempt: int, not_before: datetime | None, seen: Observation, now: datetime) -> datetime:
    """Return when an attempt may be started, ``now`` or later."""
    refused = [one.at + RETRY_AFTER for one in seen.refusals if one.index == index and one.attempt == attempt]
    return max([now, *refused, *([] if not_before is None else [not_before])])


def _create_coordinator(status: Status, job: Job, seen: Observation, settings: Settings, told: str, now: datetime) -> Iterator[CreatePod]:
    entry = status.coordinator
    if status.ending is not None or entry.started or seen.pods.get(None, entry.attempt) is not None:
        return
    if may_start_at(None, entry.attempt, entry.not_before, seen, now) > now:
        return
    if has_volume(job) and any(pod.exit is None and not pod.over for pod in seen.pods.at(None)):
        return  # two coordinators never share a volume
    yield CreatePod(None, entry.attempt, coordinator_pod(job, settings, images(job, settings), entry.attempt, told))


def _create_workers(status: Status, job: Job, seen: Observation, settings: Settings, now: datetime) -> Iterator[CreatePod]:
    if status.ending is not None:
        return
    entries = {one.index: one for one in status.worker_indexes}
    use = images(job, settings)
    for index in range(job.spec.workers.replicas):
        entry = entries.get(index)
        attempt = status.attempt_base if entry is None else entry.attempt
        if (entry is not None and entry.gave_up) or seen.pods.get(index, attempt) is not None:
            continue
        if may_start_at(index, attempt, None if entry is None else entry.not_before, seen, now) <= now:
            yield CreatePod(index, attempt, worker_pod(job, settings, use, index, attempt))


def _needs(status: Status, job: Job, pods: tuple[CreatePod, ...]) -> Iterator[Action]:
    """Give what the pods mount. Secrets cannot be looked at, so they are made again with every pod, which mends one that was deleted."""
    if not pods:
        return
    yield CreateJoinSecret()
    if pods[0].index is None:
        claim = checkpoint_claim(job)
        if claim is not None:
            yield CreateClaim(claim)
        if job.spec.security.tls:
            yield CreateCertificate(status.coordinator.attempt)


def _tell(status: Status, seen: Observation, told: str) -> Iterator[TellCoordinator]:
    pod = seen.pods.get(None, status.coordinator.attempt)
    if pod is not None and pod.job_input != told and pod.exit is None and not pod.over and pod.deleting_at is None:
        yield TellCoordinator(pod.name, pod.uid, told)


def _leftovers(status: Status, seen: Observation) -> Iterator[PodView]:
    """Give the pods of lower attempts, but for the newest that ended: its log stays until the next end."""
    attempts = attempts_of(status)
    for index, pods in seen.pods.by_index.items():
        current = status.coordinator.attempt if index is None else attempts.get(index, status.attempt_base)
        lower = [pod for pod in pods if pod.attempt < current]
        logs = next((pod for pod in reversed(lower) if pod.over), None)
        yield from (pod for pod in lower if pod is not logs and pod.deleting_at is None)


def _delete(pod: PodView) -> DeletePod:
    return DeletePod(pod.name, pod.uid)
