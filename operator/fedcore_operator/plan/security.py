"""What the restricted pod security level asks for, and a read-only root on top. Laid *under* the user's values."""

from __future__ import annotations

from typing import Any

__all__ = ["container_security", "pod_security"]

_USER = 65532
"""The user of our images; a number, since the kubelet cannot tell from a name that it is not root."""


def pod_security() -> dict[str, Any]:
    """Return the security context of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "fsGroupChangePolicy": "OnRootMismatch",  # else every start walks over all checkpoints
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return the security context of a container."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
