"""The pods: secure defaults with the user's template laid over them.

Bare pods, not Jobs: every restart is ours and counted, coordinator and workers have rules of their own, and a single worker comes back
into the open round without the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.spec.status import Images
from fedcore_operator.api import names
from fedcore_operator.api.names import Role
from fedcore_operator.plan.children import Manifest, child_metadata, selector
from fedcore_operator.plan.merge import overlay
from fedcore_operator.plan.placement import data_path, placed
from fedcore_operator.plan.queueing import queued
from fedcore_operator.plan.security import container_security, pod_security
from fedcore_operator.plan.storage import run_volume_source

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings

__all__ = ["TERMINATION_FILE", "coordinator_pod", "images", "worker_pod"]

TERMINATION_FILE = "/dev/termination-log"
"""Where the kubelet reads a container's last words; its default, writable below a read-only root."""
_JOIN = "/etc/fedcore/join"
_TLS = "/etc/fedcore/tls"
_JOB = "/etc/fedcore/job"
_STATE = "/var/lib/fedcore"
_RUN = "/run/fedcore"
_READY = f"{_RUN}/ready"
_TOLERATION_SECONDS = 60
"""How long a node may be unreachable before its pods are given up. Kubernetes' own default is five minutes, five rounds or so."""


def images(job: Job, settings: Settings) -> Images:
    """Return the images of all attempts: those recorded in the status, so that an upgrade of the operator changes no running job."""
    return job.status.images or Images(
        coordinator=job.spec.coordinator.image or settings.coordinator_image, worker=job.spec.workers.image or settings.worker_image
    )


def coordinator_pod(job: Job, settings: Settings, use: Images, attempt: int, told: str) -> Manifest:
    """Return the pod of one attempt of the coordinator.

    Parameters
    ----------
    use : Images
        Those recorded in the status.
    told : str
        The job input.
    """
    tls = job.spec.security.tls
    env = {
        **_env(job, Role.COORDINATOR, attempt),
        "FEDCORE_JOB_FILE": f"{_JOB}/job.json",
        "FEDCORE_RUN_DIR": f"{_STATE}/{names.run_name(job)}",
        **({"FEDCORE_TLS_CERT_FILE": f"{_TLS}/tls.crt", "FEDCORE_TLS_KEY_FILE": f"{_TLS}/tls.key"} if tls else {}),
        **({"FEDCORE_METRICS_MONITORED": "1"} if settings.metrics_monitored else {}),
    }
    container = {
        **_container(Role.COORDINATOR, use.coordinator, settings.coordinator_pull_policy, env),
        "ports": [
            {"name": "rpc", "containerPort": names.RPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names.METRICS_PORT, "protocol": "TCP"},
        ],
        # Reading a large checkpoint and making the first listening port may take minutes: five of them.
        "startupProbe": _probe("/readyz", period=5, failures=60),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "volumeMounts": [
            _mount("fedcore-run", _STATE),
            _mount("fedcore-job", _JOB, read_only=True),
            _mount("fedcore-join", _JOIN, read_only=True),
            *([_mount("fedcore-tls", _TLS, read_only=True)] if tls else []),
            _mount("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
        ],
    }
    annotation = {"path": "job.json", "fieldRef": {"fieldPath": f"metadata.annotations['{names.JOB_INPUT}']"}}
    volumes = [
        {"name": "fedcore-run", **run_volume_source(job)},
        {"name": "fedcore-job", "downwardAPI": {"items": [annotation]}},
        _secret_volume("fedcore-join", names.join_secret_name(job)),
        *([_secret_volume("fedcore-tls", names.tls_secret_name(job, attempt))] if tls else []),
        {"name": "tmp", "emptyDir": {}},
    ]
    metadata = child_metadata(job, names.pod_name(job, None, attempt), {names.ROLE: str(Role.COORDINATOR), names.ATTEMPT: str(attempt)})
    metadata["annotations"] = {
        names.JOB_INPUT: told,
        # Against mere consolidation; they do not hold back spot interruption, expiry or node repair.
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }
    spec = {
        **_spec(job, settings, names.COORDINATOR_HOST, grace_seconds=60),
        "containers": [container],
        "volumes": volumes,
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return queued(job, overlay(pod, job.spec.coordinator.template or {}))


def worker_pod(job: Job, settings: Settings, use: Images, index: int, attempt: int) -> Manifest:
    """Return the pod of one attempt of a worker."""
    tls = job.spec.security.tls
    path = data_path(job, index)
    env = {
        **_env(job, Role.WORKER, attempt),
        "FEDCORE_INDEX": str(index),
        "FEDCORE_COORDINATOR": f"{'https' if tls else 'http'}://{names.address(job)}",
        "FEDCORE_ENTRYPOINT": job.spec.task.entrypoint,
        "FEDCORE_READY_FILE": _READY,
        **({"FEDCORE_CA_FILE": f"{_JOIN}/ca.crt"} if tls else {}),
        **({} if path is None else {"FEDCORE_DATA": path}),
    }
    container = {
        **_container(Role.WORKER, use.worker, settings.worker_pull_policy, env),
        # Ready means registered. Nothing is asked whether it lives: a worker that trains has no time to answer, and its silence is judged
        # by the coordinator.
        "readinessProbe": {"exec": {"command": ["cat", _READY]}, "periodSeconds": 15, "timeoutSeconds": 5, "failureThreshold": 1},
        "volumeMounts": [
            _mount("fedcore-spool", _STATE),
            _mount("fedcore-ready", _RUN),
            _mount("fedcore-join", _JOIN, read_only=True),
            _mount("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
        ],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "fedcore-spool", "emptyDir": {}},
        {"name": "fedcore-ready", "emptyDir": {}},
        _secret_volume("fedcore-join", names.join_secret_name(job)),
        {"name": "tmp", "emptyDir": {}},
    ]
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(job, Role.WORKER)},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    labels = {names.ROLE: str(Role.WORKER), names.INDEX: str(index), names.ATTEMPT: str(attempt)}
    spec = {
        **_spec(job, settings, f"{Role.WORKER}-{index}", grace_seconds=30),
        "topologySpreadConstraints": spread,
        "containers": [container],
        "volumes": volumes,
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": child_metadata(job, names.pod_name(job, index, attempt), labels), "spec": spec}
    return queued(job, placed(job, index, overlay(pod, job.spec.workers.template or {}), str(Role.WORKER)))


def _spec(job: Job, settings: Settings, host: str, grace_seconds: int) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "hostname": host,
        "subdomain": job.name,
        # A Service called "fedcore" would put FEDCORE_PORT=tcp://... into the environment.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": pod_security(),
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{taint}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _TOLERATION_SECONDS,
            }
            for taint in ("not-ready", "unreachable")
        ],
        **({"imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets]} if settings.image_pull_secrets else {}),
    }


def _container(role: Role, image: str, pull_policy: str, env: dict[str, str]) -> dict[str, Any]:
    return {
        "name": str(role),
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["fedcore", str(role)],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _env(job: Job, role: Role, attempt: int) -> dict[str, str]:
    return {
        "HOME": "/tmp",  # noqa: S108 - the root is read-only, and libraries want to write below their home
        "FEDCORE_JOB": job.name,
        "FEDCORE_NAMESPACE": job.namespace,
        "FEDCORE_ROLE": str(role),
        "FEDCORE_ATTEMPT": str(attempt),
        "FEDCORE_TOKEN_FILE": f"{_JOIN}/token",
        "FEDCORE_TERMINATION_FILE": TERMINATION_FILE,
    }


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _mount(volume: str, path: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"name": volume, "mountPath": path, **({"readOnly": True} if read_only else {})}


def _secret_volume(name: str, secret: str) -> dict[str, Any]:
    # 0440 for the group of the pod: fsGroup gives it to our user.
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
