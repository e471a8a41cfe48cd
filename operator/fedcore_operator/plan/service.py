"""The Service that gives the coordinator its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.api.names import ATTEMPT, METRICS_PORT, RPC_PORT, Role
from fedcore_operator.plan.children import Manifest, child_metadata, selector

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job

__all__ = ["service"]


def service(job: Job, attempt: int) -> Manifest:
    """Return the headless Service of one attempt of the coordinator: an old one on a cut-off node cannot be found any more."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, job.name),
        "spec": {
            "clusterIP": "None",
            # A name that is looked up before the pod is ready would otherwise be remembered as unknown.
            "publishNotReadyAddresses": True,
            "selector": {**selector(job, Role.COORDINATOR), ATTEMPT: str(attempt)},
            "ports": [
                {"name": "rpc", "port": RPC_PORT, "targetPort": "rpc", "protocol": "TCP"},
                {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"},
            ],
        },
    }
