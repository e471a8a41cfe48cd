"""Why workers do not run yet, in a sentence: an image with a typo, no node with room, a quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.decide.places import attempts_of

if TYPE_CHECKING:
    from fedcore.spec import Status
    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.observe import Observation

__all__ = ["why_workers_wait"]

_MOST_CHARS = 300
_ON_THEIR_WAY = {"", "ContainerCreating", "PodInitializing"}


def why_workers_wait(status: Status, job: Job, seen: Observation) -> str:
    """Return how many workers wait for something that may never come, and what the first of them waits for; empty if none does."""
    attempts = attempts_of(status)
    refused = {one.index: f"the pod was refused: {one.message}" for one in seen.refusals if one.index is not None}
    found: list[str] = []
    for index in range(job.spec.workers.replicas):
        pod = seen.pods.get(index, attempts.get(index, status.attempt_base))
        if pod is not None and pod.waiting is not None and pod.waiting.reason not in _ON_THEIR_WAY:
            found.append(f"worker-{index}: {pod.waiting.reason}: {pod.waiting.message}".removesuffix(": "))
        elif pod is None and index in refused:
            found.append(f"worker-{index}: {refused[index]}")
    return f"{len(found)} wait, {found[0][:_MOST_CHARS]}" if found else ""
