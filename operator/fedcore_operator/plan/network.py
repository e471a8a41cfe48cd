"""Network policies: the coordinator hears its workers and whoever scrapes, workers hear nobody and reach the coordinator and DNS.

Policies add up, so users open more by policies of their own on the same labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.api.names import METRICS_PORT, OPERATOR_LABELS, RPC_PORT, Role
from fedcore_operator.plan.children import Manifest, child_metadata, selector

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings

__all__ = ["network_policies"]


def network_policies(job: Job, settings: Settings) -> tuple[Manifest, ...]:
    """Return the job's policies; none where the settings switch them off."""
    if not settings.network_policy:
        return ()
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}},
        "podSelector": {"matchLabels": OPERATOR_LABELS},
    }
    coordinator = _policy(
        job,
        f"{job.name}-coordinator",
        Role.COORDINATOR,
        ingress=[
            {"from": [{"podSelector": {"matchLabels": selector(job, Role.WORKER)}}], "ports": _ports("TCP", RPC_PORT)},
            {"from": [operator, *settings.monitoring_from], "ports": _ports("TCP", METRICS_PORT)},
        ],
        egress=[],
    )
    workers = _policy(
        job,
        f"{job.name}-workers",
        Role.WORKER,
        ingress=[],
        egress=[
            {"to": [{"podSelector": {"matchLabels": selector(job, Role.COORDINATOR)}}], "ports": _ports("TCP", RPC_PORT)},
            # To any address: caches on the node have one outside the cluster's.
            {"ports": [*_ports("UDP", 53), *_ports("TCP", 53)]},
            *settings.worker_egress,
        ],
    )
    return coordinator, workers


def _policy(job: Job, name: str, role: Role, *, ingress: list[Manifest], egress: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(job, name),
        "spec": {
            "podSelector": {"matchLabels": selector(job, role)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _ports(protocol: str, port: int) -> list[Manifest]:
    return [{"protocol": protocol, "port": port}]
