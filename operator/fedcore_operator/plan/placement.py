"""``workers.data``: what each worker mounts and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.spec import DataEntry, parse_indexes
from fedcore_operator.plan.merge import overlay

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.plan.children import Manifest

__all__ = ["data_of", "data_path", "placed", "representatives"]


def data_of(job: Job, index: int) -> tuple[tuple[int, DataEntry], ...]:
    """Return the entries that apply to a worker, each with its place in the list."""
    return tuple((place, entry) for place, entry in enumerate(job.spec.workers.data) if index in parse_indexes(entry.indexes))


def representatives(job: Job) -> tuple[int, ...]:
    """Return one worker for each distinct set of entries: as many shapes of worker pods as there are."""
    kinds: dict[tuple[int, ...], int] = {}
    entries = [parse_indexes(entry.indexes) for entry in job.spec.workers.data]
    for index in sorted(set(range(job.spec.workers.replicas)).union(*entries)):
        kinds.setdefault(tuple(place for place, indexes in enumerate(entries) if index in indexes), index)
    return tuple(sorted(kinds.values()))


def data_path(job: Job, index: int) -> str | None:
    """Return where a worker's data is: the first thing it mounts."""
    return next((entry.mount_path for _, entry in data_of(job, index) if entry.mount_path is not None), None)


def placed(job: Job, index: int, pod: Manifest, container: str) -> Manifest:
    """Return a worker's pod with its data mounted and its place chosen; what an entry says wins over the template."""
    for place, entry in data_of(job, index):
        spec: dict[str, Any] = {}
        ours: dict[str, Any] = {"name": container}
        source = _source(entry, index)
        if source is not None:
            name = f"fedcore-data-{place}"
            spec["volumes"] = [{"name": name, **source}]
            ours["volumeMounts"] = [{"name": name, "mountPath": entry.mount_path, "readOnly": entry.read_only}]
        if entry.node_selector:
            spec["nodeSelector"] = dict(entry.node_selector)
        if entry.resources is not None:
            ours["resources"] = entry.resources
        pod = overlay(pod, {"spec": {**spec, "containers": [ours]}})
    return pod


def _source(entry: DataEntry, index: int) -> dict[str, Any] | None:
    if entry.claim_name is not None:
        return {"persistentVolumeClaim": {"claimName": entry.claim_name.replace("{index}", str(index))}}
    return None if entry.volume is None else dict(entry.volume)
