"""Kueue: a job with a queue has its pods held back until all of them fit. Experimental."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.api.job import QUEUE
from fedcore_operator.plan.merge import overlay

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.plan.children import Manifest

__all__ = ["queued"]

_GROUP = "kueue.x-k8s.io/pod-group-name"
_TOTAL = "kueue.x-k8s.io/pod-group-total-count"


def queued(job: Job, pod: Manifest) -> Manifest:
    """Return the pod as a member of the job's group, unchanged for a job without a queue."""
    if job.queue is None:
        return pod
    marks = {
        "labels": {QUEUE: job.queue, _GROUP: job.name},
        "annotations": {_TOTAL: str(job.spec.workers.replicas + 1)},
    }
    return overlay(pod, {"metadata": marks})
