"""A pod that reads a job's run directory from its claim, once the coordinator has ended: it looks on, and is gone with the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore.cli.fedjob.scene import Scene

__all__ = ["CONTAINER", "reader_pod", "run_dir_of"]

CONTAINER = "reader"
_STATE = "/var/lib/fedcore"
_USER = 65532
_SECONDS = 1200
"""The pod ends by itself after so long, should its command have been killed."""
_PLACED_BY = ("affinity", "imagePullSecrets", "nodeSelector", "runtimeClassName", "schedulerName", "securityContext", "tolerations")
"""What of the coordinator's pod decides whether a pod gets to a node, to its image, and to the files."""


def run_dir_of(scene: Scene) -> str:
    """Return where the coordinator's pods have the run directory."""
    return f"{_STATE}/{scene.name}-{scene.uid[:8]}"


def reader_pod(scene: Scene, name: str, image: str, like: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod, which waits to be asked.

    Parameters
    ----------
    name : str
        Its name.
    image : str
        Any image with Python; the coordinator's is on some node already.
    like : Mapping
        Spec of the coordinator's pod, or what is known of it.
    """
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    identity = {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["python", "-c", f"import time; time.sleep({_SECONDS})"],
        "env": [{"name": "FEDCORE_RUN_DIR", "value": run_dir_of(scene)}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": security,
        "volumeMounts": [{"name": "run", "mountPath": _STATE, "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _SECONDS,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": identity,
        "containers": [container],
        "volumes": [{"name": "run", "persistentVolumeClaim": {"claimName": scene.claim}}],
    }
    spec |= {key: like[key] for key in _PLACED_BY if key in like}
    # No label of the job's: its Service, policies and operator must not take it for one of its pods.
    labels = {"app.kubernetes.io/name": "fedcore-report"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": scene.namespace, "labels": labels}, "spec": spec}
