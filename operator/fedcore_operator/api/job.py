"""A FederatedJob as the API server stores it, parsed once at the border.

The schema refuses most of what is wrong. What passes it and is wrong all the same, a rule that only our validators know, becomes a
condition; it stops neither the operator nor a job that has started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fedcore.spec import Spec, Status
from fedcore.spec.times import parse_time
from fedcore_operator.api.names import MANAGED_BY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["InvalidJob", "Job", "StoredJob", "parse_job"]

QUEUE = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """What is known of any job, valid or not."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    deleting: bool
    """It is on its way out: garbage collection takes the children."""
    managed_elsewhere: bool
    """Another controller has it: we leave it alone altogether, status included."""
    queue: str | None
    """Kueue's queue, which then holds back the pods."""
    status: Status


@dataclass(frozen=True, slots=True)
class Job(StoredJob):
    """A job that the models take."""

    spec: Spec
    problem: str = ""
    """What the models do not take of it and was left out, so that the job can go on: entries of ``workers.data`` that were added."""


@dataclass(frozen=True, slots=True)
class InvalidJob(StoredJob):
    """A job that they do not take."""

    problem: str
    """All that is wrong, field by field."""


def parse_job(raw: Mapping[str, Any]) -> Job | InvalidJob:
    """Return a job from the API server's object. A status that cannot be read, somebody else's writing, counts as none."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    known: dict[str, Any] = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 0),
        "resource_version": metadata.get("resourceVersion", ""),
        "created_at": parse_time(metadata["creationTimestamp"]),
        "deleting": "deletionTimestamp" in metadata,
        "managed_elsewhere": spec.get("managedBy", MANAGED_BY) != MANAGED_BY,
        "queue": (metadata.get("labels") or {}).get(QUEUE),
        "status": _status(raw.get("status")),
    }
    try:
        return Job(**known, spec=Spec.model_validate(spec))
    except ValidationError as error:
        problem = _explained(error)
    # All that shaped the pods of a job that has started is immutable, but data may be added. A wrong entry must neither stop the job nor
    # take from its workers the data that they had.
    sound = None if known["status"].start_time is None else _without_wrong_data(spec)
    return InvalidJob(**known, problem=problem) if sound is None else Job(**known, spec=sound, problem=problem)


def _without_wrong_data(spec: Mapping[str, Any]) -> Spec | None:
    """Return the spec without the entries of ``workers.data`` that do not fit those before them; None if that does not mend it."""
    workers = spec.get("workers")
    if not isinstance(workers, dict):
        return None
    kept: list[Any] = []
    sound = _tried({**spec, "workers": {**workers, "data": []}})
    for entry in workers.get("data") or () if sound is not None else ():
        found = _tried({**spec, "workers": {**workers, "data": [*kept, entry]}})
        if found is not None:
            kept.append(entry)
            sound = found
    return sound


def _tried(spec: Mapping[str, Any]) -> Spec | None:
    try:
        return Spec.model_validate(spec)
    except ValidationError:
        return None


def _status(raw: Any) -> Status:
    try:
        return Status.model_validate(raw or {})
    except ValidationError:
        return Status()


def _explained(error: ValidationError) -> str:
    found = []
    for one in error.errors(include_url=False):
        place = ".".join(["spec", *(str(step) for step in one["loc"])])
        if one["type"] == "broken_rule":
            found += [f"{place}.{field}: {text}" for field, text in one["ctx"]["problems"]]
        else:
            found.append(f"{place}: {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(found)
