"""Why an attempt ended: from a pod to a cause. The table of the design, first row that fits.

Only the *current* attempt of a place is judged. Pods of lower attempts are leftovers that we decided to replace, so our own deletions are
never counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcore.engine.restarts import Cause
from fedcore.spec.status import COORDINATOR_EXIT_CHARS, WORKER_EXIT_CHARS, LastExit

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from fedcore_operator.decide.observe import PodView

__all__ = ["LOST_AFTER", "End", "end_of", "has_ended", "vanished"]

LOST_AFTER = timedelta(seconds=30)
"""After the time by which a deleted pod should be gone: its node does not answer. That time includes the grace period."""

_DISRUPTED_PODS = {"Evicted", "NodeShutdown", "Preempting", "NodeLost", "Terminated", "Shutdown"}
"""Reasons of pods that the kubelet or a controller ended. ``Terminated`` and ``Shutdown``: a node that shuts down, by version."""
_STOPPED = "stopped"
_RUN_DIRECTORY_LOCKED = "RunDirectoryLocked"
_NAME_IN_USE = "name_in_use"
_BLAMES_OTHERS = {0, 3, 4}
"""A worker's codes: it was asked to leave, the quorum is lost, the coordinator does not answer."""


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended."""

    cause: Cause
    exit: LastExit
    started_at: datetime | None = None


def has_ended(pod: PodView, now: datetime, *, sole_writer: bool = False) -> bool:
    """Say whether an attempt is over.

    Parameters
    ----------
    sole_writer : bool
        It writes to a volume that the next attempt writes to: only what the kubelet says of it counts, or that the pod is gone.
    """
    return pod.exit is not None or pod.over or (not sole_writer and _is_lost(pod, now))


def end_of(pod: PodView, non_retryable: AbstractSet[int], now: datetime) -> End:
    """Return how an attempt that has ended did so."""
    limit = COORDINATOR_EXIT_CHARS if pod.index is None else WORKER_EXIT_CHARS
    found = pod.exit
    if found is None:
        # Evicted before it ran, refused by its kubelet, or on a node that is lost: nothing of it was its own doing.
        at = pod.over_at if pod.over and pod.over_at is not None else now
        reason = pod.pod_reason or pod.disruption or ("NodeLost" if pod.deleting_at is not None else "Failed")
        message = pod.pod_message or "ended without its container having run"
        return End(Cause.DISRUPTED, LastExit(reason=reason[:128], message=message[:limit], time=at), pod.running_since)
    cause = _cause(pod, non_retryable)
    oom = found.kubernetes_reason if found.kubernetes_reason == "OOMKilled" else ""
    others = (pod.pod_reason or pod.disruption or ("Deleted" if pod.deleting_at is not None else "")) if cause is Cause.DISRUPTED else ""
    reason = oom or others or found.reason or found.kubernetes_reason or "Error"
    message = found.message or pod.pod_message
    last = LastExit(reason=reason[:128], exit_code=found.code, message=message[:limit], time=found.at)
    return End(cause, last, found.started_at)


def vanished(now: datetime) -> End:
    """Return the end of an attempt that was seen and is gone without a trace."""
    return End(Cause.DISRUPTED, LastExit(reason="Deleted", message="the pod is gone", time=now))


def _cause(pod: PodView, non_retryable: AbstractSet[int]) -> Cause:
    found = pod.exit
    assert found is not None
    is_worker = pod.index is not None
    if is_worker and found.reason == _STOPPED:
        return Cause.FINISHED
    if _was_disrupted(pod):
        return Cause.DISRUPTED
    if is_worker and found.code in _BLAMES_OTHERS:
        return Cause.DISRUPTED
    # Both go away by themselves: the predecessor's lock with its process, its name once it is silent.
    passing = found.reason == (_NAME_IN_USE if is_worker else _RUN_DIRECTORY_LOCKED)
    if found.code in non_retryable and not passing:
        return Cause.FATAL
    return Cause.FAILED


def _was_disrupted(pod: PodView) -> bool:
    return pod.disruption is not None or pod.pod_reason in _DISRUPTED_PODS or pod.deleting_at is not None


def _is_lost(pod: PodView, now: datetime) -> bool:
    return pod.deleting_at is not None and now >= pod.deleting_at + LOST_AFTER
