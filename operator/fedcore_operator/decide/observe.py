"""What is seen: pods as frozen views, the last poll, what the API server refused. Parsed once, here; nothing else reads raw objects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import EndReason
from fedcore.spec.times import parse_time
from fedcore_operator.api import names
from fedcore_operator.api.names import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from fedcore.progress import Progress
    from fedcore_operator.decide.answers import Verdict

__all__ = ["Exit", "Final", "Observation", "PodView", "Pods", "Polled", "Refusal", "Waiting", "view_pod"]

_MESSAGE_CHARS = 512
_MOST_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class Final:
    """A coordinator's last word on its job."""

    reason: EndReason
    message: str = ""
    rounds: int = 0
    metrics: tuple[tuple[str, float], ...] = ()
    artifact: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """How our container in a pod terminated."""

    code: int
    at: datetime
    started_at: datetime | None = None
    kubernetes_reason: str = ""
    """OOMKilled, Error, Completed, ..."""
    reason: str = ""
    """The process's own word, from its termination message."""
    message: str = ""
    """Its sentence, or the end of its log."""
    final: Final | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a pod is not running yet."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a job, as far as decisions go. The *container* of its role counts: a sidecar cannot keep a job alive."""

    name: str
    uid: str
    index: int | None
    """None for the coordinator."""
    attempt: int
    created_at: datetime
    over: bool = False
    """No container of it will run again."""
    over_at: datetime | None = None
    """When its conditions changed last."""
    running_since: datetime | None = None
    exit: Exit | None = None
    ready: bool = False
    deleting_at: datetime | None = None
    """When it should be gone: the time of the deletion with the grace period."""
    pod_reason: str = ""
    """Evicted, NodeLost, ..."""
    pod_message: str = ""
    disruption: str | None = None
    """Reason of a true DisruptionTarget condition."""
    waiting: Waiting | None = None
    ip: str = ""
    job_input: str = ""


@dataclass(frozen=True, slots=True)
class Pods:
    """A job's pods by place, lowest attempt first."""

    all: tuple[PodView, ...] = ()
    by_index: Mapping[int | None, tuple[PodView, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, views: Iterable[PodView]) -> Pods:
        """Sort pods into their places."""
        ordered = sorted(views, key=lambda pod: (-1 if pod.index is None else pod.index, pod.attempt))
        places: dict[int | None, list[PodView]] = {}
        for pod in ordered:
            places.setdefault(pod.index, []).append(pod)
        return cls(tuple(ordered), {index: tuple(pods) for index, pods in places.items()})

    def at(self, index: int | None) -> tuple[PodView, ...]:
        """Return all attempts of a place; None for the coordinator's."""
        return self.by_index.get(index, ())

    def get(self, index: int | None, attempt: int) -> PodView | None:
        """Return the pod of an attempt."""
        return next((pod for pod in self.at(index) if pod.attempt == attempt), None)


@dataclass(frozen=True, slots=True)
class Polled:
    """The last poll of ``/progress`` that succeeded."""

    progress: Progress
    at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pod that the API server did not let us create."""

    index: int | None
    attempt: int
    message: str
    at: datetime
    conflict: bool = False
    """Its name is taken by somebody else's object."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision looks at besides the job and the time. Only ``pods`` is complete; the rest may be lost at any time."""

    pods: Pods = field(default_factory=Pods)
    polled: Polled | None = None
    verdict: Verdict | None = None
    """Of the dry run, if one was due."""
    refusals: tuple[Refusal, ...] = ()
    """Of the last creation of each pod, until one succeeds."""


def view_pod(raw: Mapping[str, Any], owner_uid: str) -> PodView | None:
    """Return the view of a pod; None for one that is not the job's, such as a leftover of an earlier job of that name."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    owners = metadata.get("ownerReferences") or []
    labels = metadata.get("labels") or {}
    if not any(owner.get("controller") and owner.get("uid") == owner_uid for owner in owners):
        return None
    role, attempt, index = labels.get(names.ROLE), _number(labels.get(names.ATTEMPT)), _number(labels.get(names.INDEX))
    if role not in set(Role) or attempt is None or (index is None) != (role == Role.COORDINATOR):
        return None
    containers = status.get("containerStatuses") or []
    container: Mapping[str, Any] = next((one for one in containers if one.get("name") == role), {})
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    state = container.get("state") or {}
    # The kubelet gives the phase of a pod that has ended a moment after the states of its containers, and nothing starts those again.
    ended = bool(containers) and all("terminated" in (one.get("state") or {}) for one in containers)
    over = ended or status.get("phase") in {"Succeeded", "Failed"}
    disruption = conditions.get("DisruptionTarget", {})
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        index=index,
        attempt=attempt,
        created_at=parse_time(metadata["creationTimestamp"]),
        over=over,
        over_at=max((time for one in conditions.values() if (time := _time(one.get("lastTransitionTime")))), default=None),
        running_since=_time((state.get("running") or {}).get("startedAt")),
        exit=_exit(state.get("terminated")),
        ready=bool(container.get("ready")),
        deleting_at=_time(metadata.get("deletionTimestamp")),
        pod_reason=str(status.get("reason") or ""),
        pod_message=str(status.get("message") or "")[:_MESSAGE_CHARS],
        disruption=str(disruption.get("reason") or "DisruptionTarget") if disruption.get("status") == "True" else None,
        waiting=_waiting(state.get("waiting"), conditions.get("PodScheduled", {})),
        ip=str(status.get("podIP") or ""),
        job_input=str((metadata.get("annotations") or {}).get(names.JOB_INPUT, "")),
    )


def _exit(terminated: Mapping[str, Any] | None) -> Exit | None:
    if not terminated:
        return None
    text = str(terminated.get("message") or "")
    said = _said(text)
    finished = _time(terminated.get("finishedAt"))
    return Exit(
        code=int(terminated.get("exitCode", 0)),
        at=finished or parse_time("1970-01-01T00:00:00Z"),
        started_at=_time(terminated.get("startedAt")),
        kubernetes_reason=str(terminated.get("reason") or ""),
        reason=str(said.get("reason") or "")[:64],
        # The end of a log says more than its beginning.
        message=str(said.get("message") or "")[:_MESSAGE_CHARS] if said else text.strip()[-_MESSAGE_CHARS:],
        final=_final(said),
    )


def _said(text: str) -> dict[str, Any]:
    """Return a termination message; empty if the process wrote none and there is log text in its place."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):  # anybody's image may write anything here, brackets by the thousand included
        return {}
    return said if isinstance(said, dict) and said.get("schema") == 1 else {}


def _final(said: Mapping[str, Any]) -> Final | None:
    reason = said.get("reason")
    if said.get("final") is not True or not isinstance(reason, str) or reason not in set(EndReason):
        return None
    metrics = said.get("metrics")
    rounds = said.get("rounds")
    return Final(
        reason=EndReason(reason),
        message=str(said.get("message") or "")[:_MESSAGE_CHARS],
        rounds=rounds if isinstance(rounds, int) and 0 <= rounds <= _MOST_ROUNDS else 0,
        metrics=tuple((str(name), float(value)) for name, value in metrics.items() if isinstance(value, int | float))
        if isinstance(metrics, dict)
        else (),
        artifact=str(said.get("artifact") or "")[:_MESSAGE_CHARS],
        sha256=str(said.get("sha256") or "")[:64],
    )


def _waiting(state: Mapping[str, Any] | None, scheduled: Mapping[str, Any]) -> Waiting | None:
    if scheduled.get("status") == "False":
        return Waiting(str(scheduled.get("reason") or "Unschedulable"), str(scheduled.get("message") or "")[:_MESSAGE_CHARS])
    if state:
        return Waiting(str(state.get("reason") or ""), str(state.get("message") or "")[:_MESSAGE_CHARS])
    return None


def _time(text: Any) -> datetime | None:
    return parse_time(text) if text else None


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None
