"""What is known of a job at one moment: the resource, its pods, what was told of it. Read leniently: a newer operator may write more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fedcore.cli.fedjob.pods import PodSight, sight_pods
from fedcore.engine.quorum import required
from fedcore.spec import Quorum, Status
from fedcore.spec.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from fedcore.spec import Condition
    from fedcore.spec.status import WorkerIndex

__all__ = ["OPERATOR", "Scene", "Told", "set_scene"]

OPERATOR = "fedcore.dev/operator"


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the job, or of one of its pods."""

    uid: str
    about: str
    """Kind and name: FederatedJob/mnist, Pod/mnist-worker-0-1."""
    type: str
    reason: str
    message: str
    at: datetime | None


@dataclass(frozen=True)
class Scene:
    """A job, parsed."""

    name: str
    namespace: str
    uid: str
    created: datetime
    deleting: bool
    managed_by: str
    generation: int
    suspend: bool
    replicas: int
    rounds: int
    quorum: Quorum
    worker_restarts: int
    coordinator_restarts: int
    startup_deadline: int
    active_deadline: int | None
    claim: str
    """Name of the claim that the coordinator keeps its run directory on; empty if that goes with its pod."""
    coordinator_pod: Mapping[str, Any]
    """``spec.coordinator.template.spec``: what the user laid over the coordinator's pod."""
    status: Status
    pods: tuple[PodSight, ...]
    told: tuple[Told, ...]
    """Oldest first."""

    @property
    def required(self) -> int:
        """Updates that close a round."""
        return required(self.quorum, self.replicas)

    def condition(self, kind: str) -> Condition | None:
        """Return a condition, None if it was never set."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    @property
    def end(self) -> Condition | None:
        """Complete or Failed, whichever is true."""
        return next((one for one in self.status.conditions if one.type in {"Complete", "Failed"} and one.status == "True"), None)

    @cached_property
    def entries(self) -> dict[int, WorkerIndex]:
        """What is remembered of workers that have ended before."""
        return {one.index: one for one in self.status.worker_indexes}

    @cached_property
    def attempts(self) -> dict[int | None, int]:
        """The current attempt of each place that should be filled; None is the coordinator's."""
        attempts: dict[int | None, int] = {None: self.status.coordinator.attempt}
        for index in range(self.replicas):
            attempts[index] = self.entries[index].attempt if index in self.entries else self.status.attempt_base
        return attempts

    @cached_property
    def current(self) -> dict[int | None, PodSight]:
        """Pods of current attempts."""
        return {pod.index: pod for pod in self.pods if self.attempts.get(pod.index) == pod.attempt}


def set_scene(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = (), events: Iterable[Mapping[str, Any]] = ()) -> Scene:
    """Return what the API server's objects say together."""
    metadata, spec = job["metadata"], job["spec"]
    workers, coordinator, quorum = spec.get("workers") or {}, spec.get("coordinator") or {}, spec.get("quorum") or {}
    checkpoint = coordinator.get("checkpoint") or {}
    created = parse_time(metadata["creationTimestamp"])
    # Pods that are gone too: their events outlive them by an hour, and say what they waited for.
    ours = re.compile(rf"FederatedJob/{re.escape(metadata['name'])}|Pod/{re.escape(metadata['name'])}-(coordinator|worker-\d+)-\d+")
    told = [one for one in map(_told, events) if ours.fullmatch(one.about) and (one.at is None or one.at >= created)]
    return Scene(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        created=created,
        deleting="deletionTimestamp" in metadata,
        managed_by=str(spec.get("managedBy") or OPERATOR),
        generation=int(metadata.get("generation") or 0),
        suspend=bool(spec.get("suspend")),
        replicas=int(workers.get("replicas") or 1),
        rounds=int(spec.get("rounds") or 1),
        quorum=Quorum(
            percent=int(quorum.get("percent", 75)),
            min_workers=int(quorum.get("minWorkers", 1)),
            round_timeout_seconds=int(quorum.get("roundTimeoutSeconds", 600)),
            loss_grace_period_seconds=int(quorum.get("lossGracePeriodSeconds", 900)),
        ),
        worker_restarts=int(workers.get("maxRestartsPerWorker", 3)),
        coordinator_restarts=int(coordinator.get("maxRestarts", 3)),
        startup_deadline=int(spec.get("startupDeadlineSeconds", 1800)),
        active_deadline=spec.get("activeDeadlineSeconds"),
        claim=str(checkpoint.get("claimName") or (f"{metadata['name']}-checkpoint" if "volumeClaimTemplate" in checkpoint else "")),
        coordinator_pod=(coordinator.get("template") or {}).get("spec") or {},
        status=_status(job.get("status")),
        pods=sight_pods(pods, metadata["uid"]),
        told=tuple(sorted(told, key=lambda one: one.at or created)),
    )


def _status(raw: Any) -> Status:
    try:
        return Status.model_validate(raw or {})
    except ValidationError:
        return Status()


def _told(raw: Mapping[str, Any]) -> Told:
    about = raw.get("involvedObject") or {}
    at = (raw.get("series") or {}).get("lastObservedTime") or raw.get("lastTimestamp") or raw.get("eventTime") or raw.get("firstTimestamp")
    return Told(
        uid=str(raw["metadata"].get("uid", raw["metadata"].get("name", ""))),
        about=f"{about.get('kind', '')}/{about.get('name', '')}",
        type=str(raw.get("type") or "Normal"),
        reason=str(raw.get("reason") or ""),
        message=str(raw.get("message") or ""),
        at=parse_time(at) if at else None,
    )
