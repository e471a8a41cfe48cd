"""The PodDisruptionBudget of the workers. The coordinator has none: a node with it must be drainable too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.engine.quorum import required
from fedcore_operator.api.names import Role
from fedcore_operator.plan.children import Manifest, child_metadata, selector

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job

__all__ = ["worker_budget"]


def worker_budget(job: Job) -> Manifest:
    """Return the budget that lets a drain take workers only while the quorum holds, and always lets it go on."""
    replicas = job.spec.workers.replicas
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(job, f"{job.name}-workers"),
        "spec": {
            # An integer: a share needs a scale subresource on the owner that every version of the controller finds.
            "minAvailable": min(required(job.spec.quorum, replicas), replicas - 1),
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(job, Role.WORKER)},
        },
    }
