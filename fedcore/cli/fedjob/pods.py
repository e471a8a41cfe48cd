"""A job's pods as a person wants to hear of them: whose they are, what they wait for, how they ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["COORDINATOR", "IMAGE_PULL_FAILED", "WORKER", "PodSight", "newest_first_by_place", "sight_pods"]

COORDINATOR, WORKER = "coordinator", "worker"
ROLE, INDEX, ATTEMPT = "fedcore.dev/role", "fedcore.dev/index", "fedcore.dev/attempt"
IMAGE_PULL_FAILED = "ImagePullFailed"
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
"""The kubelet's words for an image that it cannot get. It alternates between them, which is no news."""
_ON_ITS_WAY = {"", "ContainerCreating", "PodInitializing"}


@dataclass(frozen=True, slots=True)
class PodSight:
    """A pod."""

    name: str
    index: int | None
    """None for the coordinator."""
    attempt: int
    node: str = ""
    ready: bool = False
    started: bool = False
    """Its container runs or has run: there is a log."""
    over: bool = False
    deleting: bool = False
    waits_for: str = ""
    """A word, if it waits for something that may never come: Unschedulable, ImagePullFailed, CreateContainerConfigError, ..."""
    message: str = ""
    """A sentence of Kubernetes, on what it waits for or how it ended."""
    exit_code: int | None = None
    exit_reason: str = ""
    """The process's own word, else that of Kubernetes: OOMKilled, Evicted, invalid, ..."""

    @property
    def role(self) -> str:
        """The name of its container."""
        return COORDINATOR if self.index is None else WORKER

    @property
    def place(self) -> str:
        """Whose attempt it is: coordinator, worker-3."""
        return COORDINATOR if self.index is None else f"{WORKER}-{self.index}"


def sight_pods(raws: Iterable[Mapping[str, Any]], uid: str) -> tuple[PodSight, ...]:
    """Return the pods of the job with this uid, the coordinator's first, then by index and attempt."""
    found = [pod for raw in raws if (pod := _sight(raw, uid)) is not None]
    return tuple(sorted(found, key=lambda pod: (-1 if pod.index is None else pod.index, pod.attempt)))


def newest_first_by_place(pods: Iterable[PodSight]) -> dict[int | None, list[PodSight]]:
    """Return pods by index, newest attempt first."""
    places: dict[int | None, list[PodSight]] = {}
    for pod in pods:
        places.setdefault(pod.index, []).insert(0, pod)
    return places


def _sight(raw: Mapping[str, Any], uid: str) -> PodSight | None:
    metadata, status = raw["metadata"], raw.get("status") or {}
    labels = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or []
    role, attempt, index = labels.get(ROLE), _number(labels.get(ATTEMPT)), _number(labels.get(INDEX))
    if not any(owner.get("uid") == uid for owner in owners) or attempt is None or (role != COORDINATOR and index is None):
        return None
    container: Mapping[str, Any] = next((one for one in status.get("containerStatuses") or [] if one.get("name") == role), {})
    state = container.get("state") or {}
    ended = state.get("terminated") or {}
    waits_for, message = _waits_for(status, state)
    said = _said(str(ended.get("message") or ""))
    return PodSight(
        name=metadata["name"],
        index=None if role == COORDINATOR else index,
        attempt=attempt,
        node=str((raw.get("spec") or {}).get("nodeName") or ""),
        ready=bool(container.get("ready")),
        started="running" in state or bool(ended),
        over=bool(ended) or status.get("phase") in {"Succeeded", "Failed"},
        deleting="deletionTimestamp" in metadata,
        waits_for=waits_for,
        message=message or said.get("message", "") or str(status.get("message") or ""),
        exit_code=ended.get("exitCode"),
        exit_reason=_exit_reason(status, ended, said),
    )


def _waits_for(status: Mapping[str, Any], state: Mapping[str, Any]) -> tuple[str, str]:
    scheduled: Mapping[str, Any] = next((one for one in status.get("conditions") or [] if one.get("type") == "PodScheduled"), {})
    if status.get("phase") in {"Succeeded", "Failed"}:
        return "", ""
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason") or "Unschedulable"), str(scheduled.get("message") or "")
    initial = [(one.get("state") or {}).get("waiting") or {} for one in status.get("initContainerStatuses") or []]
    for waiting in (state.get("waiting") or {}, *initial):
        reason = str(waiting.get("reason") or "")
        if reason not in _ON_ITS_WAY:
            return IMAGE_PULL_FAILED if reason in _IMAGE else reason, str(waiting.get("message") or "")
    return "", ""


def _exit_reason(status: Mapping[str, Any], ended: Mapping[str, Any], said: Mapping[str, str]) -> str:
    if ended.get("reason") == "OOMKilled":
        return "OOMKilled"
    return str(status.get("reason") or said.get("reason") or ended.get("reason") or "")


def _said(text: str) -> dict[str, str]:
    """Return what the process said in its termination message; the end of its log if there is none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": text.strip()[-512:]}
    known = isinstance(said, dict) and said.get("schema") == 1
    return {key: str(said.get(key) or "") for key in ("reason", "message")} if known else {"message": text[:512]}


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None
