"""Hand-written pods for tests: what a person would apply without an operator, at pod security level restricted."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.commands import PATIENCE, wait_until
from tests.cluster.kubernetes import Kubernetes, Manifest

USER = 65532


@dataclass(frozen=True)
class Ended:
    """How a pod's container ended."""

    exit_code: int
    message: str
    log: str

    @property
    def outcome(self) -> dict[str, Any]:
        """The termination message, which is JSON if FedCore wrote it."""
        return dict(json.loads(self.message))


@dataclass(frozen=True)
class Pod:
    """One container with a read-only root file system, as uid 65532, with /tmp and /var/lib/fedcore to write to."""

    name: str
    image: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    config_map: str = ""
    """Mounted at /etc/fedcore/job."""
    secret: str = ""
    """Mounted at /etc/fedcore/join."""
    claim: str = ""
    """Mounted at /claim."""
    node: str = ""

    def manifest(self) -> Manifest:
        """The Pod, for ``kubectl apply``."""
        volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "emptyDir": {}}]
        mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/var/lib/fedcore"}]
        if self.config_map:
            volumes.append({"name": "job", "configMap": {"name": self.config_map}})
            mounts.append({"name": "job", "mountPath": "/etc/fedcore/job"})
        if self.secret:
            volumes.append({"name": "join", "secret": {"secretName": self.secret}})
            mounts.append({"name": "join", "mountPath": "/etc/fedcore/join"})
        if self.claim:
            volumes.append({"name": "claim", "persistentVolumeClaim": {"claimName": self.claim}})
            mounts.append({"name": "claim", "mountPath": "/claim"})
        restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "main",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": self.command,
            "env": [{"name": name, "value": value} for name, value in self.environment.items()],
            "volumeMounts": mounts,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": restricted,
        }
        identity = {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec: Manifest = {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": identity,
            "containers": [container],
            "volumes": volumes,
        }
        if self.node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": self.node}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name, "labels": self.labels}, "spec": spec}


def run(cluster: Kubernetes, namespace: str, pod: Pod) -> Ended:
    """Run a pod to its end."""
    cluster.apply(pod.manifest(), namespace=namespace)
    return ended(cluster, namespace, pod.name)


def ended(cluster: Kubernetes, namespace: str, name: str, *, seconds: float = PATIENCE) -> Ended:
    """Wait for the end of a pod's container."""
    seen: list[Manifest] = []

    def terminated() -> bool:
        status = cluster.get(f"pod/{name}", f"--namespace={namespace}")["status"]
        seen[:] = [
            container["state"]["terminated"] for container in status.get("containerStatuses", []) if "terminated" in container["state"]
        ]
        return bool(seen)

    try:
        wait_until(f"end of pod {name}", terminated, seconds=seconds)
    except Exception as error:
        error.add_note(cluster.kubectl("describe", f"pod/{name}", f"--namespace={namespace}")[-3000:])
        raise
    log = cluster.kubectl("logs", name, f"--namespace={namespace}")
    return Ended(seen[0]["exitCode"], seen[0].get("message", ""), log)


def wait_ready(cluster: Kubernetes, namespace: str, *names: str) -> None:
    """Wait until pods run."""
    pods = [f"pod/{name}" for name in names]
    cluster.kubectl("wait", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", f"--namespace={namespace}", *pods, seconds=PATIENCE + 10)
