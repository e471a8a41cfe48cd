"""What the operator may do in a cluster. The chart's roles are compared with this list, and `check` asks the API server for each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JOB_RIGHTS", "LEASE", "OWN_RIGHTS", "Right"]


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one resource; with names, on these objects only."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


JOB_RIGHTS = (
    Right("fedcore.dev", "federatedjobs", ("get", "list", "watch", "delete")),
    Right("fedcore.dev", "federatedjobs/status", ("patch",)),
    Right("fedcore.dev", "federatedjobs/finalizers", ("update",)),  # for blockOwnerDeletion, where that admission check is on
    Right("", "pods", ("get", "list", "watch", "create", "patch", "delete")),
    Right("", "services", ("get", "create", "patch")),
    Right("", "persistentvolumeclaims", ("get", "create")),
    # Neither get nor patch: the answer to an empty patch is the whole Secret.
    Right("", "secrets", ("create",)),
    Right("policy", "poddisruptionbudgets", ("get", "create", "patch")),
    Right("networking.k8s.io", "networkpolicies", ("get", "create", "patch")),
    Right("events.k8s.io", "events", ("create",)),
)
"""In every namespace whose jobs it serves."""

LEASE = "fedcore-operator"

OWN_RIGHTS = (
    Right("", "secrets", ("create",)),
    Right("coordination.k8s.io", "leases", ("create",)),
    Right("coordination.k8s.io", "leases", ("get", "update"), (LEASE,)),
)
"""In its own namespace."""
