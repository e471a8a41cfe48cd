"""The objects whose dry run says whether a job can be accepted: one of each shape that the job can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.plan.jobinput import job_input
from fedcore_operator.plan.placement import representatives
from fedcore_operator.plan.pods import coordinator_pod, images, worker_pod
from fedcore_operator.plan.storage import checkpoint_claim

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.plan.children import Manifest

__all__ = ["shapes"]


def shapes(job: Job, settings: Settings) -> tuple[Manifest, ...]:
    """Return the coordinator's pod, a worker's for each distinct set of data entries, and the checkpoint's claim."""
    use = images(job, settings)
    claim = checkpoint_claim(job)
    return (
        coordinator_pod(job, settings, use, job.status.coordinator.attempt, job_input(job, (), None)),
        *(worker_pod(job, settings, use, index, job.status.attempt_base) for index in representatives(job)),
        *(() if claim is None else (claim,)),
    )
