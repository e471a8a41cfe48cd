"""Where the coordinator's run directory lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore_operator.api.names import claim_name
from fedcore_operator.plan.children import Manifest, child_metadata
from fedcore_operator.plan.merge import overlay

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job

__all__ = ["checkpoint_claim", "has_volume", "run_volume_source"]


def has_volume(job: Job) -> bool:
    """Say whether the run directory outlives a pod. If so there must never be two writers."""
    checkpoint = job.spec.coordinator.checkpoint
    return checkpoint.claim_name is not None or checkpoint.volume_claim_template is not None


def run_volume_source(job: Job) -> dict[str, Any]:
    """Return the volume source of the run directory."""
    checkpoint = job.spec.coordinator.checkpoint
    if checkpoint.claim_name is not None:
        return {"persistentVolumeClaim": {"claimName": checkpoint.claim_name}}
    if checkpoint.volume_claim_template is not None:
        return {"persistentVolumeClaim": {"claimName": claim_name(job)}}
    return {"emptyDir": {}}


def checkpoint_claim(job: Job) -> Manifest | None:
    """Return the claim of ``volumeClaimTemplate``, owned by the job and deleted with it; None without one."""
    template = job.spec.coordinator.checkpoint.volume_claim_template
    if template is None:
        return None
    claim: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": child_metadata(job, claim_name(job)),
        "spec": {"accessModes": ["ReadWriteOnce"]},
    }
    return overlay(claim, template)
