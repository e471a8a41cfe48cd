"""What every child of a job has: labels, one owner, and the selectors that find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from fedcore.spec import API_VERSION, KIND
from fedcore_operator.api.names import JOB, MANAGER, ROLE, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore_operator.api.job import StoredJob

__all__ = ["Manifest", "child_metadata", "has_all_of", "job_labels", "selector"]

Manifest: TypeAlias = dict[str, Any]


def job_labels(job: StoredJob) -> dict[str, str]:
    """Return the labels of all children of a job."""
    return {
        JOB: job.name,
        "app.kubernetes.io/name": "fedcore",
        "app.kubernetes.io/instance": job.name,
        "app.kubernetes.io/managed-by": MANAGER,
    }


def child_metadata(job: StoredJob, name: str, labels: Mapping[str, str] | None = None) -> Manifest:
    """Return a child's metadata. The owner reference is its only tie to the job: no finalizer, so nothing ever hangs in Terminating."""
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {**job_labels(job), **(labels or {})},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": job.name,
                "uid": job.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def selector(job: StoredJob, role: Role) -> dict[str, str]:
    """Return the labels that find a job's pods of a role, all attempts."""
    return {JOB: job.name, ROLE: str(role)}


def has_all_of(live: Any, wanted: Any) -> bool:
    """Say whether an object of the API server has everything that a manifest wants; what it has besides are defaults and others' fields."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return False
        # The API server leaves out what is empty.
        return all(has_all_of(live[name], value) if name in live else value in ([], {}) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(has_all_of, live, wanted))
    return bool(live == wanted)
