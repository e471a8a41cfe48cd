"""Names that the operator gives to things in the cluster. They are API: charts, monitors, policies and users select by them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from fedcore.spec import API_VERSION

if TYPE_CHECKING:
    from fedcore_operator.api.job import StoredJob

__all__ = [
    "ATTEMPT",
    "COORDINATOR_HOST",
    "DOMAIN",
    "GROUP",
    "INDEX",
    "JOB",
    "JOB_INPUT",
    "MANAGED_BY",
    "MANAGER",
    "METRICS_PORT",
    "OPERATOR_LABELS",
    "PLURAL",
    "ROLE",
    "RPC_PORT",
    "VERSION",
    "Role",
    "address",
    "claim_name",
    "join_secret_name",
    "pod_name",
    "run_name",
    "tls_secret_name",
]

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "federatedjobs"
DOMAIN = "fedcore.dev/"
"""Labels and annotations below it are ours."""
MANAGER = "fedcore-operator"
"""Field manager of everything that we apply."""
MANAGED_BY = "fedcore.dev/operator"
"""What ``spec.managedBy`` may say for us to take the job."""

JOB = f"{DOMAIN}job"
ROLE = f"{DOMAIN}role"
INDEX = f"{DOMAIN}index"
ATTEMPT = f"{DOMAIN}attempt"
JOB_INPUT = f"{DOMAIN}job-input"
"""Annotation of the coordinator's pod: the job and what we have to say of it."""

OPERATOR_LABELS = {"app.kubernetes.io/name": "fedcore", "app.kubernetes.io/component": "operator"}
"""The chart gives them to the operator's pods, and network policies let those in."""

RPC_PORT = 8470
METRICS_PORT = 9464
COORDINATOR_HOST = "coordinator"


class Role(StrEnum):
    """What a pod is. The value is the label, the container's name and the subcommand of ``fedcore``."""

    COORDINATOR = "coordinator"
    WORKER = "worker"


def pod_name(job: StoredJob, index: int | None, attempt: int) -> str:
    """Return a pod's name; ``index`` is None for the coordinator."""
    place = Role.COORDINATOR if index is None else f"{Role.WORKER}-{index}"
    return f"{job.name}-{place}-{attempt}"


def run_name(job: StoredJob) -> str:
    """Return what tells this job from an earlier one of its name: on a shared volume, and among Secrets that we cannot read."""
    return f"{job.name}-{job.uid[:8]}"


def join_secret_name(job: StoredJob) -> str:
    """Return the name of the Secret that lets a worker join."""
    return f"{run_name(job)}-join"


def tls_secret_name(job: StoredJob, attempt: int) -> str:
    """Return the name of the Secret with the certificate of one attempt of the coordinator."""
    return f"{run_name(job)}-tls-{attempt}"


def claim_name(job: StoredJob) -> str:
    """Return the name of the claim that is made from ``volumeClaimTemplate``."""
    return f"{job.name}-checkpoint"


def address(job: StoredJob) -> str:
    """Return where workers find the coordinator."""
    return f"{job.name}.{job.namespace}.svc:{RPC_PORT}"
