"""What a pod template must not say, since the operator says it, and what is no template at all.

Found before anything is laid over anything, so that the merge can rely on the shape of what it is given. All else is for the API
server's dry run to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore_operator.api.names import DOMAIN, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fedcore.spec import Spec

__all__ = ["COORDINATOR_ENV", "RESERVED_PATHS", "WORKER_ENV", "template_problems"]

_EITHER_ENV = ("FEDCORE_JOB", "FEDCORE_NAMESPACE", "FEDCORE_ROLE", "FEDCORE_ATTEMPT", "FEDCORE_TOKEN_FILE", "FEDCORE_TERMINATION_FILE")
COORDINATOR_ENV = (
    *_EITHER_ENV,
    "FEDCORE_JOB_FILE",
    "FEDCORE_RUN_DIR",
    "FEDCORE_TLS_CERT_FILE",
    "FEDCORE_TLS_KEY_FILE",
    "FEDCORE_METRICS_MONITORED",
)
"""Variables that the operator sets on a coordinator."""
WORKER_ENV = (*_EITHER_ENV, "FEDCORE_COORDINATOR", "FEDCORE_ENTRYPOINT", "FEDCORE_INDEX", "FEDCORE_CA_FILE", "FEDCORE_READY_FILE")
"""Variables that the operator sets on a worker."""
RESERVED_PATHS = ("/etc/fedcore", "/var/lib/fedcore", "/run/fedcore")

_POD_FIELDS = ("restartPolicy", "hostname", "subdomain")
_LISTS = ("containers", "initContainers", "volumes", "tolerations", "imagePullSecrets")
_CONTAINER_LISTS = ("env", "volumeMounts", "ports")
_VOLUMES = "fedcore-"


def template_problems(spec: Spec) -> list[str]:
    """Return what is wrong with the templates of a job and the mounts of its data, a sentence each."""
    problems = [*_problems(spec.coordinator.template, "coordinator", Role.COORDINATOR, COORDINATOR_ENV)]
    problems += _problems(spec.workers.template, "workers", Role.WORKER, WORKER_ENV)
    for place, entry in enumerate(spec.workers.data):
        if entry.mount_path is not None and _is_reserved(entry.mount_path):
            problems.append(f"spec.workers.data[{place}].mountPath: {entry.mount_path} belongs to the operator")
    claim = spec.coordinator.checkpoint.volume_claim_template
    if claim is not None:
        problems += _claim_problems(claim)
    return problems


def _problems(template: Mapping[str, Any] | None, field: str, role: Role, variables: tuple[str, ...]) -> Iterator[str]:
    if template is None:
        return
    at = f"spec.{field}.template"
    yield from (f"{at}.{name}: unknown field; allowed: metadata, spec" for name in template if name not in {"metadata", "spec"})
    yield from _metadata_problems(template.get("metadata", {}), f"{at}.metadata")
    pod = template.get("spec", {})
    if not isinstance(pod, dict):
        yield f"{at}.spec: has to be a mapping"
        return
    yield from (f"{at}.spec.{name}: belongs to the operator; leave it out" for name in _POD_FIELDS if name in pod)
    for name in _LISTS:
        if not _is_list_of_mappings(pod.get(name, [])):
            yield f"{at}.spec.{name}: has to be a list of mappings"
            return
    yield from (
        f"{at}.spec.volumes: the name {volume['name']} belongs to the operator"
        for volume in pod.get("volumes", [])
        if str(volume.get("name", "")).startswith(_VOLUMES)
    )
    for name in ("containers", "initContainers"):
        for place, container in enumerate(pod.get(name, [])):
            ours = name == "containers" and container.get("name") == str(role)
            yield from _container_problems(container, f"{at}.spec.{name}[{place}]", variables if ours else ())


def _container_problems(container: Mapping[str, Any], at: str, variables: tuple[str, ...]) -> Iterator[str]:
    for name in _CONTAINER_LISTS:
        if not _is_list_of_mappings(container.get(name, [])):
            yield f"{at}.{name}: has to be a list of mappings"
            return
    for one in container.get("env", []):
        if one.get("name") in variables:
            yield f"{at}.env: {one['name']} is set by the operator; leave it out"
    for mount in container.get("volumeMounts", []):
        if _is_reserved(str(mount.get("mountPath", ""))):
            yield f"{at}.volumeMounts: {mount['mountPath']} belongs to the operator"


def _metadata_problems(metadata: Any, at: str) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield f"{at}: has to be a mapping"
        return
    for name in metadata:
        if name not in {"labels", "annotations"}:
            yield f"{at}.{name}: belongs to the operator; allowed: labels, annotations"
    for name in ("labels", "annotations"):
        marks = metadata.get(name, {})
        if not isinstance(marks, dict):
            yield f"{at}.{name}: has to be a mapping"
            continue
        yield from (f"{at}.{name}: {mark} belongs to the operator" for mark in marks if str(mark).startswith(DOMAIN))


def _claim_problems(claim: Mapping[str, Any]) -> Iterator[str]:
    at = "spec.coordinator.checkpoint.volumeClaimTemplate"
    yield from (f"{at}.{name}: unknown field; allowed: metadata, spec" for name in claim if name not in {"metadata", "spec"})
    yield from _metadata_problems(claim.get("metadata", {}), f"{at}.metadata")
    if not isinstance(claim.get("spec", {}), dict):
        yield f"{at}.spec: has to be a mapping"


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_reserved(path: str) -> bool:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return any(parts[: len(ours)] == ours for ours in ([part for part in reserved.split("/") if part] for reserved in RESERVED_PATHS))
